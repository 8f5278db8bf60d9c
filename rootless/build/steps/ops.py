"""Steps of the set-up that only builds have: what RUN --mount shows in the root."""

import os

from rootless.kernel import files, mount
from rootless.runtime import ops
from rootless.runtime.rootdir import RootDir

_CONFINED = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV


class Private(ops.Op):
    """A tmpfs on the directory ``path`` of the host, which only this mount namespace has.

    ``files``: (name, content, mode, uid, gid) of each; they never reach a disk.
    """

    __slots__ = ("path", "files")

    def __init__(self, path, files):
        self.path = path
        self.files = files

    def describe(self):
        return f"Private path={self.path!r}"

    def execute(self, stage):
        tree = mount.new_filesystem("tmpfs", [("mode", "700")], _CONFINED)
        where = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mount.attach(tree, where)
        os.close(where)
        inside = os.open(self.path, files.DIRECTORY)
        for name, content, mode, uid, gid in self.files:
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=inside)
            files.write_all(made, content)
            os.fchown(made, uid, gid)
            os.fchmod(made, mode)
            os.close(made)
        os.close(inside)
        os.close(tree)


class Within(ops.Op):
    """Show what ``source`` leads to inside a tree, its links followed in there only.

    rootfs     the tree: a dict for an overlay (store.drivers), or the path of a directory
    place      empty directory of the host that the overlay is mounted on meanwhile
    what       the tree in words, for errors
    """

    __slots__ = ("rootfs", "source", "destination", "attributes", "place", "what")

    def __init__(self, rootfs, source, destination, attributes, place, what):
        self.rootfs = rootfs
        self.source = source
        self.destination = destination
        self.attributes = attributes | _CONFINED
        self.place = place
        self.what = what

    def execute(self, stage):
        tree = open_tree(self.rootfs, self.place)
        found = find(tree, self.source, self.destination, self.what)
        shown = mount.clone_tree("", found, recursive=False)
        mount.set_attributes(shown, self.attributes, propagation=mount.MS_PRIVATE)
        attach(stage, shown, self.destination)
        for descriptor in (tree, found):
            os.close(descriptor)


class Cache(ops.Op):
    """Show the directory of a cache; a new one is first filled and given its owner.

    path     of the directory of this machine
    fresh    path of the mark of a new one, None if it has been used before
    owner    (mode, uid, gid) of a new one
    origin   (rootfs, source, place, what) it is filled from, or None
    """

    __slots__ = ("path", "destination", "fresh", "owner", "origin", "readonly")

    def __init__(self, path, destination, fresh, owner, origin, readonly):
        self.path = path
        self.destination = destination
        self.fresh = fresh
        self.owner = owner
        self.origin = origin
        self.readonly = readonly

    def execute(self, stage):
        inside = os.open(self.path, files.DIRECTORY)
        if self.fresh:
            mode, uid, gid = self.owner
            if self.origin:
                self._fill(inside)
            os.fchown(inside, uid, gid)
            os.fchmod(inside, mode)
            os.unlink(self.fresh)
        shown = mount.clone_tree("", inside, recursive=False)
        attributes = mount.MOUNT_ATTR_RDONLY if self.readonly else 0
        mount.set_attributes(shown, attributes | _CONFINED, propagation=mount.MS_PRIVATE)
        attach(stage, shown, self.destination)
        os.close(inside)

    def _fill(self, inside):
        from rootless.kernel import tree as trees

        rootfs, source, place, what = self.origin
        tree = open_tree(rootfs, place)
        found = find(tree, source, self.destination, what)
        try:
            readable = os.open(ops.descriptor_path(found), os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError:
            raise ops.StepFailed(
                f"filling the cache on {self.destination}", f"{what} has a file at {source}"
            ) from None
        trees.copy_tree(readable, inside)
        for descriptor in (tree, found, readable):
            os.close(descriptor)


class Socket(ops.Op):
    """Show a socket of this step, with the owner and mode that were asked for."""

    __slots__ = ("path", "destination", "mode", "uid", "gid")

    def __init__(self, path, destination, mode, uid, gid):
        self.path = path
        self.destination = destination
        self.mode = mode
        self.uid = uid
        self.gid = gid

    def execute(self, stage):
        os.chown(self.path, self.uid, self.gid)
        os.chmod(self.path, self.mode)
        attach(stage, mount.clone_tree(self.path, recursive=False), self.destination)


def open_tree(rootfs, place):
    """A descriptor of the root of a tree, mounted on ``place`` if it has to be."""
    if isinstance(rootfs, str):
        return os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = ops.union(rootfs)
    where = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.attach(tree, where)
    os.close(where)
    return tree


def find(tree, source, destination, what):
    """What ``source`` leads to in the tree; StepFailed if it isn't there."""
    try:
        return RootDir(tree).open(source)
    except OSError as error:
        raise ops.StepFailed(
            f"mounting {source} of {what} on {destination}", error.strerror
        ) from None


def attach(stage, tree, destination):
    """Mount a detached tree in the root, on what is made there if need be."""
    from stat import S_ISDIR

    if S_ISDIR(os.fstat(tree).st_mode):
        target = stage.root.directory(destination)
    else:
        target = stage.root.file(destination)
    mount.attach(tree, target)
    os.close(target)
    os.close(tree)
