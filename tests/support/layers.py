"""Layer archives for tests of the store, and a store to put them into."""

import gzip
import hashlib
import io
import os
import tarfile

from rootless.kernel import userns
from rootless.model.idmap import Ids, keep
from rootless.store import drivers
from rootless.store.store import open_store
from support import tools

TIME = 1_600_000_000


def best_ids():
    """The ids that the user of this test may map."""
    names = ("newuidmap", "newgidmap")
    return userns.find_ids({name: tools.find(name) for name in names})


def rungs():
    """The rungs of the id ladder that the user of this test has."""
    return ["single"] if best_ids().single else ["range", "single"]


def ids_of(rung):
    """The Ids of a rung."""
    return userns.single_ids() if rung == "single" else best_ids()


def turned(ids, at):
    """The map of ``--userns=keep-id`` for a user that is ``at`` inside."""
    return Ids(keep(ids.uids, at), keep(ids.gids, at), ids.rung, ids.direct, ids.programs)


class Archive:
    """A tar archive under construction; every method returns the archive itself."""

    def __init__(self, form=tarfile.PAX_FORMAT):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=form)

    def add(self, name, kind=tarfile.REGTYPE, content=b"", pax=None, **changes):
        """A member; ``changes`` are attributes of tarfile.TarInfo."""
        info = tarfile.TarInfo(name)
        info.type, info.mtime = kind, TIME
        info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        info.size = len(content)
        info.pax_headers = pax or {}
        for key, value in changes.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(content))
        return self

    def file(self, name, content=b"", **changes):
        return self.add(name, content=content, **changes)

    def directory(self, name, **changes):
        return self.add(name, tarfile.DIRTYPE, **changes)

    def symlink(self, name, target):
        return self.add(name, tarfile.SYMTYPE, linkname=target)

    def link(self, name, target):
        return self.add(name, tarfile.LNKTYPE, linkname=target)

    def data(self):
        """The archive's bytes; nothing can be added afterwards."""
        self.tar.close()
        return self.buffer.getvalue()


def diff_id(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def packed(data):
    return gzip.compress(data, 1, mtime=0)


def put(store, archive):
    """Unpack an Archive (or bytes) into the store: its diff id."""
    data = archive if isinstance(archive, bytes) else archive.data()
    with store.layers.unpack(diff_id(data)) as unpack:
        unpack.write(packed(data))
        unpack.finish()
    return diff_id(data)


def image(store, layers, names=("localhost/test:latest",)):
    """An image of layers that are archives' bytes, with all its blobs: its record."""
    import json

    entries, ids = [], []
    for data in layers:
        blob = store.blobs.put(packed(data))
        ids.append(put(store, data))
        entries.append({"digest": blob, "size": store.blobs.size(blob)})
    config = store.blobs.put(json.dumps(
        {"architecture": "amd64", "os": "linux",
         "rootfs": {"type": "layers", "diff_ids": ids}}).encode())
    manifest = store.blobs.put(json.dumps(
        {"schemaVersion": 2, "config": {"digest": config}, "layers": entries}).encode())
    return store.images.add(manifest, config, ids, names=names)


def fresh_store(path, rung="single"):
    return open_store(path, ids_of(rung))


class Container:
    """A directory with a writable layer over layers of a store."""

    def __init__(self, store, path, driver, layers, **how):
        self.store, self.path = store, path
        self.driver = drivers.named(store, driver, tools.find("fuse-overlayfs"))
        self.paths = store.layers.paths(layers)
        os.mkdir(path, 0o700)
        self.rootfs = self.driver.prepare(path, self.paths, **how)

    def do(self, function, *args, write=True):
        """``function(root, *args)`` in the mounted root, as root of the namespace."""
        return self.driver.view(self.path, self.paths, function, *args, write=write)

    def read(self):
        """What is in it: {path: (kind, mode, uid, gid, content or target)}."""
        return self.do(listing, write=False)

    def changes(self):
        return self.driver.changes(self.path, self.paths)


def listing(root):
    """{path: (kind, mode, uid, gid, content or target)} of all below a descriptor."""
    found = {}
    for at, directories, names, here in os.fwalk(".", dir_fd=root):
        for name in directories + names:
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            kind, content = status.st_mode & 0o170000, None
            if kind == 0o100000:
                with open(os.open(name, os.O_RDONLY, dir_fd=here), "rb") as file:
                    content = file.read()
            elif kind == 0o120000:
                content = os.readlink(name, dir_fd=here)
            path = os.path.normpath(f"{at}/{name}")
            found[path] = (kind, status.st_mode & 0o7777, status.st_uid, status.st_gid, content)
    return found


def contents(root):
    """{path: content} of ordinary files, {path: None} of the others."""
    return {path: facts[4] for path, facts in listing(root).items()}
