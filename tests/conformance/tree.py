"""What an image is: its configuration and its files, read from archives of any builder.

Independent of rl's own code, so that a mistake there can't hide itself.
"""

import hashlib
import json
import os
import stat
import tarfile

TYPES = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}
XATTR = "SCHILY.xattr."


class Built:
    """An image: ``config`` its "config" object, ``document`` the whole configuration,
    ``tree`` {path: str that tells all about the file}, ``contents`` {path: bytes}."""

    def __init__(self, document, layers):
        self.document = document
        self.config = document.get("config") or {}
        self.layers = len(document["rootfs"]["diff_ids"])
        self.tree, self.contents = {}, {}
        for layer in layers:
            with layer:
                self._add(layer)

    def _add(self, archive):
        """Put a layer on top, whiteouts first."""
        members = archive.getmembers()
        for member in members:
            directory, name = os.path.split(_path(member.name))
            if name == ".wh..wh..opq":
                self._remove_below(directory)
            elif name.startswith(".wh."):
                self._remove(os.path.join(directory, name[4:]))
        for member in members:
            path = _path(member.name)
            if os.path.basename(path).startswith(".wh.") or path == "/":
                continue
            if member.islnk():
                target = _path(member.linkname)
                self._remove(path)
                self.tree[path], self.contents[path] = self.tree[target], self.contents[target]
                continue
            if not member.isdir():
                self._remove(path)
            data = archive.extractfile(member).read() if member.isreg() else b""
            self.tree[path] = describe(member, data)
            self.contents[path] = data

    def _remove(self, path):
        self.tree.pop(path, None)
        self._remove_below(path)

    def _remove_below(self, path):
        start = path.rstrip("/") + "/"
        for below in [name for name in self.tree if name.startswith(start)]:
            del self.tree[below]


def _path(name):
    return "/" + os.path.normpath(name).lstrip("/") if name not in (".", "./") else "/"


def describe(member, data):
    """One line about a file: type and mode, owners, contents or target, extended attributes."""
    kind = stat.filemode(TYPES[member.type] | member.mode & 0o7777)
    words = [kind, f"{member.uid}:{member.gid}"]
    if member.issym():
        words.append(f"-> {member.linkname}")
    elif member.isreg():
        words.append(f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:12]}")
    elif member.isdev():
        words.append(f"{member.devmajor},{member.devminor}")
    words += sorted(
        f"{key[len(XATTR):]}={value.encode('utf-8', 'surrogateescape').hex()}"
        for key, value in member.pax_headers.items()
        if key.startswith(XATTR)
    )
    return " ".join(words)


def from_docker_archive(path):
    """The Built in what ``save --format docker-archive`` wrote."""
    with tarfile.open(path) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        document = json.load(archive.extractfile(entry["Config"]))
        return Built(document, [tarfile.open(fileobj=archive.extractfile(name))
                                for name in entry["Layers"]])  # fmt: skip


def from_directory(path):
    """The Built in what ``push … dir:PATH`` of other engines wrote."""
    with open(f"{path}/manifest.json", encoding="utf-8") as file:
        manifest = json.load(file)
    names = [descriptor["digest"].partition(":")[2] for descriptor in manifest["layers"]]
    with open(f"{path}/{manifest['config']['digest'].partition(':')[2]}", encoding="utf-8") as file:
        document = json.load(file)
    return Built(document, [tarfile.open(f"{path}/{name}") for name in names])


KEYS = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
        "StopSignal", "Healthcheck", "OnBuild", "Shell")  # fmt: skip


def facts(built):
    """{what: value} of everything that two builders should agree on.

    ``config NAME`` for the keys of a configuration, without the empty ones (null, "", [] and {}
    mean the same), one for each label; ``/PATH`` for files.
    """
    found = {}
    for key in KEYS:
        value = built.config.get(key)
        if key == "Labels":
            found.update({f"label {name}": text for name, text in (value or {}).items()})
        elif key in ("Volumes", "ExposedPorts"):
            value = sorted(value or ())
            found.update({f"config {key}": value} if value else {})
        elif value:  # the order of variables means nothing: buildah puts a changed one last
            found[f"config {key}"] = sorted(value) if key == "Env" else value
    for key in ("architecture", "os", "author"):
        if built.document.get(key):
            found[key] = built.document[key]
    found.update(built.tree)
    return found


def differences(one, other):
    """[(what, in one, in other)], sorted; None for what isn't there."""
    first, second = facts(one), facts(other)
    return [
        (what, first.get(what), second.get(what))
        for what in sorted({*first, *second})
        if first.get(what) != second.get(what)
    ]
