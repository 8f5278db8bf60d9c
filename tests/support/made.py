"""The layer that a COPY made, looked at from all sides."""

import io
import os
import tarfile

from rootless.kernel import userns
from rootless.store import check
from support import layers

OLD = 1_500_000_000


class Made:
    """A layer: ``facts``, ``files`` {path: (kind, mode, owner, size, mtime, content)}."""

    def __init__(self, store, facts):
        self.store = store
        self.facts = facts
        self.id = facts["diff_id"]
        self.index = store.layers.index(self.id)
        with open(store.blobs.path(facts["blob"]), "rb") as file:
            self.tar = file.read()
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as archive:
            self.members = {member.name: member for member in archive}
        found = userns.call_in(store.ids, self._list, store.layers.path(self.id))
        self.files = {
            path: (*rest[:2], tuple(self.index["owners"].get(path, rest[2])), *rest[3:])
            for path, rest in found.items()
        }

    @staticmethod
    def _list(path):
        found = {}
        for at, inner, outer in os.walk(path):
            for name in inner + outer:
                full = os.path.join(at, name)
                status = os.lstat(full)
                content = None
                if os.path.islink(full):
                    content = os.readlink(full)
                elif status.st_mode & 0o170000 == 0o100000:
                    with open(full, "rb") as file:
                        content = file.read()
                found[os.path.relpath(full, path)] = (
                    status.st_mode >> 12, status.st_mode & 0o7777,
                    (status.st_uid, status.st_gid), status.st_size, int(status.st_mtime), content,
                )  # fmt: skip
        return found

    def mode(self, path):
        return self.files[path][1]

    def owner(self, path):
        return self.files[path][2]

    def content(self, path):
        return self.files[path][5]

    def is_sound(self):
        """What the store has is what unpacking the blob gives."""
        assert check.check_layer(self.store, self.id) is None
        other = layers.fresh_store(f"{self.store.root}-2", self.index["rung"])
        try:
            with other.layers.unpack(self.id) as unpack:
                unpack.write(self.tar)
                unpack.finish()
            again = other.layers.index(self.id)
            assert again == self.index
            with open(self.store.path("layers", self.id[7:], "entries"), "rb") as one:
                with open(other.path("layers", self.id[7:], "entries"), "rb") as two:
                    assert one.read() == two.read()
            assert userns.call_in(other.ids, self._list, other.layers.path(self.id)) == {
                path: (*rest[:2], userns_owner(self, path), *rest[3:])
                for path, rest in self.files.items()
            }
        finally:
            other.close()


def userns_owner(made, path):
    return (0, 0) if path in made.index["owners"] else made.owner(path)


def base_layer(store, *archives):
    return [layers.put(store, one) for one in archives]
