"""Tags: one small file each, named by the percent-encoded reference."""

import os

from rootless.errors import RlError
from rootless.store import records

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@+=,")
_LONGEST = 200


class BadName(RlError):
    """{0!r} can't be the name of an image"""

    hint = "names look like docker.io/library/debian:latest"


def encode(name):
    """The file name for a reference (str): percent-encoded, shortened by a digest if long.

    A name that begins with a dot is encoded too: those are temporary files.
    """
    if not name or len(name) > 1024:
        raise BadName(name[:100])
    raw = name.encode("utf-8", "surrogateescape")
    text = "".join(chr(b) if b in _PLAIN else f"%{b:02X}" for b in raw)
    if text[0] == ".":
        text = "%2E" + text[1:]
    if len(text) > _LONGEST:
        import hashlib

        text = f"{text[:120]}~{hashlib.sha256(raw).hexdigest()}"
    return text


class Refs:
    """The refs/ directory of a store."""

    def __init__(self, store):
        self.store = store

    def get(self, name):
        """The image id (str) that ``name`` stands for; None if nobody has the name.

        A damaged file counts as one: the name can be given again, or taken away.
        """
        try:
            return self._read(encode(name))["image"]
        except (FileNotFoundError, records.DamagedRecord):
            return None

    def _read(self, file):
        found = records.read(self.store.directory("refs"), file, f"refs/{file}", 1 << 16)
        image, name = found.get("image"), found.get("name")
        if not isinstance(image, str) or not isinstance(name, str):
            raise records.DamagedRecord(path=f"refs/{file}", problem="it names no image")
        return found

    def set(self, name, image):
        """Make ``name`` stand for the image id ``image``, whatever it stood for before."""
        found = {"name": name, "image": image}
        records.write(self.store.directory("refs"), encode(name), found)

    def remove(self, name):
        """Take the name away; True if it was there."""
        return self.remove_file(encode(name))

    def remove_file(self, file):
        """Take a name away by its file's name; True if it was there."""
        home = self.store.directory("refs")
        try:
            os.unlink(file, dir_fd=home)
        except FileNotFoundError:
            return False
        os.fsync(home)
        return True

    def all(self):
        """{name: image id} of every tag that can be read."""
        return self.scan()[0]

    def scan(self):
        """({name: image id}, {file name: the DamagedRecord or OSError}) of all tags."""
        found, damaged = {}, {}
        for file in self.store.names("refs"):
            try:
                entry = self._read(file)
            except FileNotFoundError:
                continue
            except (RlError, OSError) as error:
                damaged[file] = error
                continue
            found[entry["name"]] = entry["image"]
        return found, damaged
