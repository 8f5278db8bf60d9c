"""Is everything in the store what it says it is, and can it be put right?

Blobs are compared with their digests, layers with the list made when they were unpacked
and, in a thorough check, with the content of their blob; records with what they name.
Repair uses what is here: a layer is unpacked again from its blob, an image's record is
made again from its configuration and manifest, what is beyond help is taken out, so that
it can be pulled again.  Nothing here stops because something is damaged.
"""

import os
import zlib

from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.store import digests, gc, records, shape


class Problem:
    """Something wrong: ``kind`` (see KINDS), ``what`` it is about, ``detail`` as text."""

    def __init__(self, kind, what, detail):
        self.kind = kind
        self.what = what
        self.detail = detail

    @property
    def text(self):
        """One line about it."""
        return f"{KINDS[self.kind]} {self.what}: {self.detail}"

    def __repr__(self):
        return f"<Problem {self.text}>"


KINDS = {
    "blob": "damaged blob",
    "layer": "damaged layer",
    "layer-missing": "missing layer",
    "image": "damaged image record",
    "image-blob": "image without a part",
    "layer-blob": "image that can't be pushed",
    "ref": "damaged tag",
    "ref-dangling": "tag without an image",
    "container": "damaged container record",
    "container-layer": "container without a layer",
    "stray": "unknown file",
}
# What `rl system check` fails for; the others only limit what can be done.
REMARKS = ("layer-blob",)


def check(store, quick=False, progress=None):
    """Look at everything; a list of Problem, those first that others follow from.

    ``quick`` leaves out reading content: blobs by size, layers by their list.
    ``progress(text)`` hears what is being looked at.
    """
    tell = progress or (lambda text: None)
    problems = []
    tell("blobs")
    damaged = _blobs(store, quick, problems)
    tell("layers")
    sources = blob_of_layers(store)
    for layer in store.layers.list():
        source = None if quick else sources.get(layer)
        detail = check_layer(store, layer, None if source in damaged else source)
        if detail:
            problems.append(Problem("layer", layer, detail))
    tell("images")
    _images(store, damaged, problems)
    _refs(store, problems)
    tell("containers")
    _containers(store, problems)
    _strays(store, problems)
    return [problem for problem in problems if not _gone(store, problem)]


def _gone(store, problem):
    """Whether somebody else has removed meanwhile what a problem is about: then it is none."""
    kind, what = problem.kind, problem.what
    if kind == "blob":
        algorithm, name = digests.split(what)
        return name not in store.names(f"blobs/{algorithm}")
    if kind == "layer":
        return digests.hexdigits(what) not in store.names("layers")
    if kind == "layer-missing":
        return not any(what in record["layers"] for record in store.images.scan()[0])
    if kind == "ref-dangling":
        image = store.images.refs.all().get(what)
        return image is None or image in store.names("images")
    for beginning, home in (("image", "images"), ("layer-blob", "images"), ("ref", "refs"),
                            ("container", "containers")):  # fmt: skip
        if kind.startswith(beginning):
            return what not in store.names(home)
    return False


def _blobs(store, quick, problems):
    damaged = set()
    for digest in store.blobs.list():
        try:
            detail = None if quick else _verify_blob(store, digest)
            if quick and store.blobs.size(digest) == 0 and digest not in _EMPTY:
                detail = "it is empty"
        except OSError as error:
            detail = error.strerror
        if detail:
            damaged.add(digest)
            problems.append(Problem("blob", digest, detail))
    return damaged


_EMPTY = ("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",)


def _verify_blob(store, digest):
    """None if the blob has the content its name says, else what is wrong."""
    found = store.blobs.digest_on_disk(digest)
    return None if found == digest else f"its content has the digest {found}"


def blob_of_layers(store):
    """{diff id: digest of the compressed layer} as the manifests here have it."""
    found = {}
    for digest in store.blobs.list():
        if (store.blobs.size(digest) or gc.MANIFEST_LIMIT) >= gc.MANIFEST_LIMIT:
            continue
        document = gc.load(store, digest)
        config, entries = document.get("config"), document.get("layers")
        if not isinstance(config, dict) or not isinstance(entries, list):
            continue
        layers = gc.config_layers(store, config.get("digest"))
        if len(layers) == len(entries):
            for layer, entry in zip(layers, entries, strict=True):
                blob = entry.get("digest") if isinstance(entry, dict) else None
                if isinstance(blob, str) and _has(store, blob):
                    found.setdefault(layer, blob)
    return found


def _has(store, digest):
    try:
        return store.blobs.needed(digest)
    except digests.BadDigest:
        return False


# --- layers --------------------------------------------------------------------------------


def check_layer(store, layer, source=None):
    """None if the layer is as it was unpacked, else what is wrong (str).

    ``source``: the digest of its blob, to compare the content of every file with.
    """
    try:
        store.layers.index(layer)  # a list that cannot be read
    except RlError as error:
        return error.message
    home = store.directory("layers")
    name = digests.hexdigits(layer)
    blob = None
    try:
        if source is not None:
            blob = os.open(store.blobs.path(source), os.O_RDONLY | os.O_CLOEXEC)
        return userns.call_in(store.ids, _compare, home, name, blob)
    except OSError as error:
        return error.strerror
    except RlError as error:
        return error.message
    finally:
        if blob is not None:
            os.close(blob)


def _compare(home, name, blob):
    """In the namespace: the first difference between a layer and its list, or None."""
    directory = os.open(name, files.DIRECTORY, dir_fd=home)
    try:
        listed = _listing(directory)
        tree = os.open("tree", files.DIRECTORY, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        return _compare_tree(tree, listed) or (
            _compare_content(tree, blob) if blob is not None else None
        )
    finally:
        os.close(tree)


def _listing(directory):
    """{path: (type, mode, size, mtime)} of the file ``entries``; what came last counts."""
    packed = files.read_limited(directory, "entries", 1 << 30)
    try:
        text = zlib.decompress(packed)
    except zlib.error:
        raise OSError(5, "its list of entries is damaged") from None
    found = {}
    for line in text.split(b"\0")[:-1]:
        kind, mode, size, mtime, path = line.split(b" ", 4)
        found[path] = (kind, int(mode, 8), int(size), None if mtime == b"-" else int(mtime))
    return found


_TYPES = {b"f": 0o100000, b"d": 0o040000, b"l": 0o120000, b"p": 0o010000}


def _compare_tree(tree, listed):
    replaced = {path for path, facts in listed.items() if facts[0] != b"d"}
    parents = {}
    try:
        for path, (kind, mode, size, _) in listed.items():
            if not path or _below_file(path, replaced):
                continue
            parent, _, name = path.rpartition(b"/")
            try:
                holder = _holder(tree, parent, parents)
                status = os.lstat(name, dir_fd=holder)
            except OSError as error:
                return f"{path.decode('utf-8', 'replace')}: {error.strerror}"
            problem = _difference(kind, mode, size, status)
            if problem:
                return f"{path.decode('utf-8', 'replace')}: {problem}"
    finally:
        for descriptor in parents.values():
            os.close(descriptor)
    return None


def _below_file(path, replaced):
    """Whether a later entry put something else where a directory above ``path`` was."""
    parent = path.rpartition(b"/")[0]
    while parent:
        if parent in replaced:
            return True
        parent = parent.rpartition(b"/")[0]
    return False


def _holder(tree, parent, parents):
    found = parents.get(parent)
    if found is None:
        if len(parents) > 100:
            os.close(parents.pop(next(iter(parents))))
        found = parents[parent] = files.open_beneath(tree, parent, files.O_PATH | os.O_DIRECTORY)
    return found


def _difference(kind, mode, size, status):
    if kind == b"h":
        return None  # the file it is a name of has its own line
    if status.st_mode & 0o170000 != _TYPES[kind]:
        return "it is of another type now"
    if kind == b"f" and status.st_size != size:
        return f"it has {status.st_size} bytes instead of {size}"
    if kind != b"l" and status.st_mode & 0o7777 != mode:
        return f"its mode is {status.st_mode & 0o7777:o} instead of {mode:o}"
    return None


def _compare_content(tree, blob):
    """Compare every ordinary file with the archive the layer came from."""
    from rootless.store import codec, tarread, unpacker

    head = os.pread(blob, codec.LONGEST_MAGIC, 0)
    stream = tarread.Stream(codec.plain(codec.detect(head), lambda size: os.read(blob, size)))
    reader = tarread.TarReader(stream)
    last = {}
    for entry in reader:
        path = unpacker.clean(entry.name)
        if entry.kind == tarread.REGULAR and not path.rpartition(b"/")[2].startswith(b".wh."):
            same = entry.sparse is not None or _same(tree, path, entry, reader)
            last[path] = same
        else:
            last.pop(path, None)
    for path, same in last.items():
        if not same:
            return f"{path.decode('utf-8', 'replace')}: its content has changed"
    return None


def _same(tree, path, entry, reader):
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = files.openat2(tree, path, flags)
    except OSError:
        return True  # replaced by a later entry: the list has been compared before
    try:
        if os.fstat(file).st_size != entry.size:
            return True  # the same
        for view in reader.views(entry.size):
            if os.read(file, len(view)) != view:
                return False
        return True
    finally:
        os.close(file)


# --- records -------------------------------------------------------------------------------


def _images(store, damaged, problems):
    found, broken = store.images.scan()
    for image, error in broken.items():
        problems.append(Problem("image", image, _words(error)))
    missing = {}
    for record in found:
        for layer in record["layers"]:
            if not _layer_here(store, layer):
                missing.setdefault(layer, []).append(record["id"][:12])
        for key in ("manifest", "config"):
            digest = record.get(key)
            if not isinstance(digest, str) or not _has(store, digest) or digest in damaged:
                problems.append(Problem("image-blob", record["id"], f"its {key} is missing"))
        for blob in gc.manifest_blobs(store, record.get("manifest")):
            if blob != record.get("config") and (not _has(store, blob) or blob in damaged):
                problems.append(Problem("layer-blob", record["id"], f"{blob} is missing"))
    for layer, users in missing.items():
        problems.append(Problem("layer-missing", layer, f"image {', '.join(users)} needs it"))


def _words(error):
    if isinstance(error, OSError):
        return error.strerror
    return error.fields.get("problem") or error.message


def _refs(store, problems):
    found, damaged = store.images.refs.scan()
    for file, error in damaged.items():
        problems.append(Problem("ref", file, _words(error)))
    known = set(store.names("images"))
    for name, image in found.items():
        if image not in known:
            problems.append(Problem("ref-dangling", name, f"there is no image {image[:12]}"))


def _containers(store, problems):
    home = store.directory("containers")
    for name in store.names("containers"):
        try:
            directory = os.open(name, files.DIRECTORY, dir_fd=home)
        except OSError:
            continue
        try:
            record = records.read(directory, "record.json", f"containers/{name}/record.json")
        except FileNotFoundError:
            continue
        except (RlError, OSError) as error:
            problems.append(Problem("container", name, _words(error)))
            continue
        finally:
            os.close(directory)
        problem = shape.problem(record, name)
        if problem:
            problems.append(Problem("container", name, problem))
            continue
        for layer in record["layers"]:
            if not _layer_here(store, layer):
                problems.append(Problem("container-layer", name, f"{layer} is missing"))


def _layer_here(store, layer):
    try:
        return store.layers.needed(layer)
    except digests.BadDigest:
        return False


def _strays(store, problems):
    for name in store.names("layers"):
        if not (digests.is_hex(name) and len(name) in digests.SIZES.values()):
            problems.append(Problem("stray", f"layers/{name}", "it is not a layer"))
    for algorithm in store.names("blobs"):
        size = digests.SIZES.get(algorithm)
        for name in store.names(f"blobs/{algorithm}"):
            if not (digests.is_hex(name) and len(name) == size):
                problems.append(Problem("stray", f"blobs/{algorithm}/{name}", "it is not a blob"))


# --- repair --------------------------------------------------------------------------------


def repair(store, problems, force=False, used_by=None):
    """Put right what ``problems`` says; [(Problem, what was done as text, or None)].

    ``force`` also removes images that can't be repaired; those that containers use
    (``used_by``: {image id: [container, …]}) are left.  None means that it stays.
    """
    from rootless.store.repairing import Repair

    return Repair(store, force, used_by or {}).run(problems)
