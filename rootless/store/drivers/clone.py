"""The store's own copy-on-write: one merged copy of the image for each container.

Content shares blocks with the layers where the file system can (FICLONE: btrfs, xfs,
bcachefs, some NFS servers), else it is copied, once, when the container is made.  Nothing
writable is ever hard-linked to a layer.  Needs no mount, no attributes, no device nodes.
"""

import os

from rootless.kernel import files
from rootless.model import jsontext

_ROOT = "rootfs"
_FACTS = "clone"
_IFMT, _IFDIR = 0o170000, 0o040000


class Clone:
    """Driver "clone"."""

    name = "clone"

    def __init__(self, store):
        self.store = store

    def prepare(self, container_dir, layer_paths, shift_uids=(), shift_gids=(), volatile=False):
        """Make the copy if it isn't there; the rootfs dict for the runtime.

        ``layer_paths``: trees, bottom first.  Owners are set so that a container with these
        pieces (model.idmap.shift) sees the ones of the image.  ``volatile`` changes nothing.
        """
        home = os.open(container_dir, files.DIRECTORY)
        try:
            try:
                os.stat(_ROOT, dir_fd=home)
            except FileNotFoundError:
                self._copy(home, layer_paths, shift_uids, shift_gids)
        finally:
            os.close(home)
        return {"driver": self.name, "path": f"{container_dir}/{_ROOT}"}

    def _copy(self, home, layer_paths, shift_uids, shift_gids):
        from rootless.kernel import userns
        from rootless.store import removal

        temporary = f".{_ROOT}"
        removal.remove(self.store, home, temporary)
        os.mkdir(temporary, 0o700, dir_fd=home)
        facts = userns.call_in(
            self.store.ids, clone, home, temporary, layer_paths,
            [tuple(piece) for piece in shift_uids], [tuple(piece) for piece in shift_gids],
        )
        # Its change time is the border between what was copied and what was changed since.
        facts.update(shift_uids=list(shift_uids), shift_gids=list(shift_gids))
        files.write_atomic(home, _FACTS, jsontext.dumps(facts).encode(), sync=False)
        os.rename(temporary, _ROOT, src_dir_fd=home, dst_dir_fd=home)

    def remove(self, container_dir):
        """Remove the copy; missing parts are fine."""
        from rootless.store import removal

        try:
            home = os.open(container_dir, files.DIRECTORY)
        except FileNotFoundError:
            return
        try:
            for name in (_ROOT, f".{_ROOT}", _FACTS):
                removal.remove(self.store, home, name)
        finally:
            os.close(home)

    def changes(self, container_dir, layer_paths):
        """As Overlay.changes."""
        from rootless.store import changes

        return changes.list_changes(self.store, self, container_dir, layer_paths)

    def view(self, container_dir, layer_paths, function, *args, write=False):
        """As Overlay.view."""
        from rootless.store.drivers import viewing

        return viewing.view(self, container_dir, layer_paths, function, args, write)


def shifter(pieces):
    """The function id of the image → id to store, so that a container shows the first.

    ``pieces``: (container's id, store's id, count).  Ids it doesn't have stay.
    """
    if not pieces:
        return None

    def shifted(number):
        for container, stored, count in pieces:
            if container <= number < container + count:
                return stored + number - container
        return number

    return shifted


def owner_function(uids, gids):
    """The pair of both, for Copier; None where nothing changes."""
    user, group = shifter(uids), shifter(gids)
    if user is None and group is None:
        return None
    return lambda uid, gid: (user(uid) if user else uid, group(gid) if group else gid)


def clone(home, name, layer_paths, shift_uids, shift_gids):
    """In the namespace: merge the layers into the empty directory ``name`` of ``home``."""
    from rootless.kernel import tree
    from rootless.store import merged, names

    os.umask(0o077)
    target = os.open(name, files.DIRECTORY, dir_fd=home)
    owner = owner_function(shift_uids, shift_gids)
    copier = tree.Copier(target, owner, names.keep_xattr)
    stacked = merged.stack(layer_paths)
    finish = []
    for path, entries in stacked.walk():
        _fill(copier, path, entries, finish)
    for path, level in reversed(finish):
        _finish(copier, path, level)
    _finish_root(copier, target, layer_paths, stacked)
    stacked.close()
    return {"files": copier.files, "bytes": copier.bytes, "lost": copier.lost,
            "reflink": copier.reflink}


def _fill(copier, path, entries, finish):
    """Copy the files of one merged directory, and make its subdirectories."""
    from rootless.store import merged

    copy = files.open_beneath(copier.target, path)
    sources = {}
    try:
        for name, (status, levels) in entries.items():
            below = merged.join(path, name)
            if status.st_mode & _IFMT == _IFDIR:
                os.mkdir(name, 0o700, dir_fd=copy)
                finish.append((below, levels[0]))
                continue
            level = levels[0]
            if level not in sources:
                sources[level] = files.open_beneath(level.descriptor, path)
            copier.entry(sources[level], name, status, copy, below)
    finally:
        for descriptor in (copy, *sources.values()):
            os.close(descriptor)


def _finish(copier, path, level):
    origin = files.open_beneath(level.descriptor, path)
    try:
        copy = files.open_beneath(copier.target, path)
        try:
            copier.metadata(copy, os.fstat(origin), origin)
        finally:
            os.close(copy)
    finally:
        os.close(origin)


def _finish_root(copier, target, layer_paths, stacked):
    from rootless.store.drivers.overlay import described_root

    path, _ = described_root(layer_paths)
    if path is None:
        os.fchmod(target, 0o755)
        return
    level = stacked.levels[len(layer_paths) - 1 - layer_paths.index(path)]
    copier.metadata(target, os.fstat(level.descriptor), level.descriptor)
