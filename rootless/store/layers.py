"""Layers: one unpacked tree per diff id, with an index of what the tree itself can't tell."""

import os

from rootless.errors import RlError
from rootless.store import digests, records

INDEX_LIMIT = 1 << 30


class NoLayer(RlError):
    """the layer {diff_id} is missing from the store"""

    hint = "rl system check --repair makes it again; else pull or load the image again"


class Layers:
    """The layers/ directory of a store.

    A layer is known by its diff id: the digest of its uncompressed archive.  Whatever is
    listed here is whole: it came by one rename after everything in it was on disk.
    """

    def __init__(self, store):
        self.store = store

    def has(self, diff_id):
        """True if the layer is here."""
        # A path from the root needs no descriptor of layers/: `run` asks for nothing else.
        return os.path.isdir(self.path(diff_id))

    def needed(self, diff_id):
        """As ``has``, for a layer that a record names: a collection may have it in hand."""
        return self.has(diff_id) or (self.store.tmp.wait_for_collectors() and self.has(diff_id))

    def path(self, diff_id):
        """The absolute path of its tree (str), what an overlay takes as a lower directory."""
        return self.store.path("layers", digests.hexdigits(diff_id), "tree")

    def paths(self, diff_ids):
        """The paths of several layers, in the order given; NoLayer if one is missing."""
        found = []
        for diff_id in diff_ids:
            if not self.needed(diff_id):
                raise NoLayer(diff_id=diff_id)
            found.append(self.path(diff_id))
        return found

    def index(self, diff_id):
        """What was noted when the layer was unpacked; NoLayer or DamagedRecord.

        A dict: "diff_id"; "size" of the archive and "bytes" of the files; "entries";
        "rung" of the ids then; "whiteouts" and "opaques", lists of paths; "owners",
        {path: [uid, gid]} of files whose owner could not be set; "devices", {path: [kind,
        mode, uid, gid, major, minor, mtime]}; "xattrs", {path: {name: hex}} that could not
        be set; "unmapped", how many owners the id map lacked.  Paths are relative, bytes
        that aren't UTF-8 as lone surrogates (store.names.raw).
        """
        name = digests.hexdigits(diff_id)
        return read_index(self.path(diff_id).rpartition("/")[0], f"layers/{name}/index", diff_id)

    def size(self, diff_id):
        """The bytes of all files in the layer, as its archive had them; 0 if unknown."""
        try:
            return int(self.index(diff_id).get("bytes", 0))
        except (RlError, ValueError, TypeError):
            return 0

    def list(self):
        """The diff ids of all layers, a list of str."""
        found = []
        for name in self.store.names("layers"):
            if digests.is_hex(name) and len(name) in digests.SIZES.values():
                found.append(digests.join(name))
        return found

    def unpack(self, diff_id, progress=None, wait=True):
        """A context that takes the layer's bytes; see store.unpack.Unpack.

        The compression is seen from the bytes themselves; what the manifest says about it
        doesn't matter.  ``progress(n)`` is told how many bytes were taken.
        """
        from rootless.store.unpack import Unpack

        return Unpack(self.store, diff_id, progress, wait)

    def adopt(self, compress=True):
        """A context that takes a layer nobody knows the digest of yet; see store.adopt.Adopt."""
        from rootless.store.adopt import Adopt

        return Adopt(self.store, compress)


def read_index(directory, shown, diff_id="?"):
    """The index in a layer's directory (a path); what isn't there has its empty value."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoLayer(diff_id=diff_id) from None
    try:
        found = records.read(descriptor, "index", shown, INDEX_LIMIT)
    except FileNotFoundError:
        raise records.DamagedRecord(path=shown, problem="it is missing") from None
    finally:
        os.close(descriptor)
    empty = {"whiteouts": [], "opaques": [], "owners": {}, "devices": {}, "xattrs": {}}
    for key, value in empty.items():
        if not isinstance(found.setdefault(key, value), type(value)):
            raise records.DamagedRecord(path=shown, problem=f"{key} makes no sense")
    return found
