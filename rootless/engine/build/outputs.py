"""--output of a build: what was asked for, and the forms that are files.

    DIR  -  type=local,dest=DIR  type=tar,dest=FILE  type=oci|docker,dest=FILE
    type=image,name=NAMES,push=true  type=registry,ref=NAME  type=cacheonly
"""

import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import reference
from rootless.model.oci import BadDocument

_FLAGS = ("push", "tar", "oci-mediatypes", "push-by-digest", "platform-split", "store")
_PACKING = ("compression", "compression-level")
# type → the options it knows beside type
_KNOWN = {
    "local": ("dest", "platform-split"),
    "tar": ("dest",),
    "oci": ("dest", "name", "tar"),
    "docker": ("dest", "name"),
    "image": ("name", "push", "push-by-digest", "oci-mediatypes", "store", *_PACKING),
    "registry": ("name", "ref", "push", "push-by-digest", "oci-mediatypes", *_PACKING),
    "cacheonly": (),
}
_ANNOTATION = "annotation."
_CODECS = {"gzip": "gzip", "zstd": "zstd", "uncompressed": None}


class BadOutput(RlError):
    """--output {text!r}: {why}"""

    hint = "such as --output DIR, type=tar,dest=FILE or type=image,name=NAME,push=true"


class ToTerminal(RlError):
    """--output {text!r}: an archive can't be shown on a terminal"""

    hint = "name a file: --output type={kind},dest=FILE"


class TwoToStdout(RlError):
    """only one --output can go to standard output"""


class OnePlatform(RlError):
    """--output type={kind} takes one platform, this build has {count}"""

    hint = "--output type=oci and type=local take several"


class Conflict(RlError):
    """cannot write the files into {path}: {why}"""

    hint = "remove what is in the way, or name another directory"


class Output:
    """One --output: ``kind`` (the type), ``dest`` (path, None for standard output),
    ``names`` (texts), ``options`` (dict), ``flags`` (dict of bool), ``text`` as typed."""

    def __init__(self, text):
        self.text = text
        fields = _fields(text)
        self.kind = fields.pop("type")
        self.annotations = []
        self.flags = {}
        self.options = {}
        for key, value in fields.items():
            if key.startswith(_ANNOTATION) and self.kind in ("image", "registry", "oci"):
                self.annotations.append(f"{key[len(_ANNOTATION) :]}={value}")
            elif key not in _KNOWN[self.kind]:
                raise BadOutput(text=text, why=f"type={self.kind} has no option {key}")
            elif key in _FLAGS:
                self.flags[key] = _truth(text, key, value)
            else:
                self.options[key] = value
        self.dest = self.options.get("dest")
        if self.dest == "-":
            self.dest = None
        self._check(fields)

    def _check(self, fields):
        if self.kind == "local" and not self.options.get("dest"):
            raise BadOutput(text=self.text, why="which directory? dest=DIR")
        if self.kind == "local" and self.dest is None:
            raise BadOutput(text=self.text, why="files go into a directory; type=tar can be -")
        if not self.flags.get("tar", True) and self.dest is None:
            raise BadOutput(text=self.text, why="tar=false needs dest=DIRECTORY")
        if not self.flags.get("store", True):
            raise BadOutput(text=self.text, why="images of rl are always kept here first")
        if self.kind == "registry" and fields.get("push", "true").lower() not in _TRUE:
            raise BadOutput(text=self.text, why="type=registry means push=true")
        if self.options.get("compression", "gzip") not in _CODECS:
            raise BadOutput(text=self.text, why="compression is gzip, zstd or uncompressed")
        level = self.options.get("compression-level")
        if level is not None and not (level.isascii() and level.isdecimal()):
            raise BadOutput(text=self.text, why="compression-level is a number")
        texts = [self.options.get("name"), self.options.get("ref")]
        self.names = [name for text in texts if text for name in text.split(",") if name]
        for name in self.names:
            reference.parse(name)

    @property
    def pushes(self):
        """Whether the image goes to a registry."""
        return self.kind == "registry" or self.flags.get("push", False)

    @property
    def wants_image(self):
        """Whether there has to be an image here for it."""
        return self.kind in ("image", "registry", "oci", "docker")

    @property
    def keeps_image(self):
        """Whether the image is to stay here."""
        return self.kind == "image"

    def packing(self):
        """The image.push.Packing for a push. Raises BadLevel."""
        from rootless.image.push import FORMATS, Packing

        codec = self.options.get("compression")
        if codec == "uncompressed":
            raise BadOutput(text=self.text, why="registries get layers compressed")
        level = self.options.get("compression-level")
        if level is not None and codec is None:
            codec = "gzip"
        media = None
        if "oci-mediatypes" in self.flags:
            media = FORMATS["oci" if self.flags["oci-mediatypes"] else "docker"]
        return Packing(codec, int(level) if level is not None else None, media)


_TRUE = ("true", "1", "t")
_FALSE = ("false", "0", "f")


def _truth(text, key, value):
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise BadOutput(text=text, why=f"{key} is true or false")


def pairs(text, error):
    """{key: value} of KEY=VALUE,… as a line of CSV; ``error(why)`` makes what is raised."""
    import csv

    try:
        parts = next(csv.reader([text], strict=True), [])
    except csv.Error as problem:
        raise error(str(problem)) from None
    found = {}
    for part in parts:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise error(f"{part!r} is not KEY=VALUE")
        if key in found:
            raise error(f"{key} is there twice")
        found[key] = value
    return found


def _fields(text):
    """{key: value} of what was typed, with "type"."""
    if not text:
        raise BadOutput(text=text, why="it is empty")
    if text == "-":
        return {"type": "tar", "dest": "-"}
    if "=" not in text and "," not in text:
        return {"type": "local", "dest": text}
    found = pairs(text, lambda why: BadOutput(text=text, why=why))
    if "type" not in found:
        raise BadOutput(text=text, why="the type is missing")
    if found["type"] not in _KNOWN:
        raise BadOutput(text=text, why=f"there is no type {found['type']!r}; known are "
                        + ", ".join(sorted(_KNOWN)))  # fmt: skip
    return found


def read(texts, terminal):
    """The Outputs of all --output (texts). ``terminal``: standard output is one.

    What can be seen to be wrong before the work is said here: BadOutput, ToTerminal,
    TwoToStdout, NotWritten.
    """
    found = [Output(text) for text in texts]
    to_stdout = [one for one in found
                 if one.dest is None and one.kind in ("tar", "oci", "docker")]  # fmt: skip
    if len(to_stdout) > 1:
        raise TwoToStdout()
    for one in to_stdout:
        if terminal:
            raise ToTerminal(text=one.text, kind=one.kind)
    for one in found:
        if one.dest is not None and one.kind != "local":
            check_writable(one.dest)
        if one.pushes:
            one.packing()
    return found


def check_writable(path):
    """Say before the work, not after it, that a file can't be made."""
    from rootless.engine import images_push

    images_push.check_writable(path)


def uses_stdout(outputs):
    """Whether one of them writes to standard output."""
    return any(o.dest is None and o.kind in ("tar", "oci", "docker") for o in outputs)


# --- files ---------------------------------------------------------------------------------


def write_tar(store, diff_ids, path):
    """The files of stacked layers as a plain tar: to ``path``, None for standard output."""
    from rootless.image.archive import save as writer
    from rootless.store import merge

    paths = store.layers.paths(diff_ids)

    def work(descriptor):
        merge.export_stacked(
            store, paths, lambda data: files.write_all(descriptor, data), True
        )

    if path is None:
        work(1)
        return
    with writer.Output(path) as descriptor:
        work(descriptor)


def write_local(store, diff_ids, path):
    """Write the files of stacked layers into the directory ``path``, as files of the caller.

    No link is followed below it, set-id bits are dropped.  How many things were left out
    (device nodes).  Raises Conflict.
    """
    from rootless.engine.copying import take
    from rootless.store import merge
    from rootless.store.tarread import BadArchive

    path = os.path.abspath(path)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise Conflict(path=path, why=error.strerror) from None
    child, reading = merge.start_stacked(store, store.layers.paths(diff_ids), True)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        left_out = take.take(root, reading, path, False, take.Rules(archive=True))
    except BaseException as error:
        child.kill()
        if isinstance(error, take.InTheWay):
            raise Conflict(path=path, why=f"{error.args[1]}: {error.args[2]}") from None
        if isinstance(error, OSError):
            shown = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            raise Conflict(path=path, why=f"{shown}{error.strerror}") from None
        if isinstance(error, BadArchive):
            raise BadDocument(kind="layer", why=error.message) from None
        raise
    finally:
        os.close(root)
        os.close(reading)
    child.wait()
    return left_out


def save(store, record, names, kind, path, as_directory, progress):
    """Write an image (or a list, with "list" in its ``record``) as an archive of the ``kind``
    oci or docker: to ``path``, None for standard output."""
    from rootless.image.archive import save as writer

    form = {"oci": "oci-archive", "docker": "docker-archive"}[kind]
    item = writer.Item(record, list(names))
    if as_directory:
        writer.save(store, [item], "oci-dir", None, path, progress)
    elif path is None:
        writer.save(store, [item], form, 1, None, progress)
    else:
        with writer.Output(path) as descriptor:
            writer.save(store, [item], form, descriptor, path, progress)
