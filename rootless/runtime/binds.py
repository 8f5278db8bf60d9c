"""The steps that show something of the host, or of another container, in the root."""

import os

from rootless.kernel import mount
from rootless.runtime import ops
from rootless.runtime.rootdir import RootDir


class Bind(ops.Op):
    """Show a path of the host (or of the store) on ``destination`` in the root.

    ``chown``: "user" or "root", the owner in the container that the files get first.
    """

    __slots__ = ("source", "destination", "recursive", "attributes", "clear", "propagation",
                 "copy_up", "chown", "_tree")

    def __init__(self, source, destination, recursive=True, attributes=0, clear=0,
                 propagation=mount.MS_PRIVATE, copy_up=None, chown=None):
        self.source = source
        self.destination = destination
        self.recursive = recursive
        self.attributes = attributes
        self.clear = clear
        self.propagation = propagation
        self.copy_up = copy_up
        self.chown = chown
        self._tree = None

    def gather(self, stage):
        try:
            source = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
            try:
                if self.copy_up:
                    fill_volume(stage, self.source, self.destination)
                if self.chown:
                    chown_tree(self.source, *stage.owner_of(self.chown))
                self._tree = self._clone(source)
            finally:
                os.close(source)
        except OSError as error:
            raise ops.StepFailed(f"mounting {self.source} on {self.destination}",
                                 error.strerror) from None

    def _clone(self, source):
        tree = mount.clone_tree("", source, recursive=self.recursive)
        if self.attributes or self.clear:
            mount.set_attributes(tree, self.attributes, self.clear, recursive=self.recursive)
        if self.propagation:
            mount.set_attributes(tree, propagation=self.propagation, recursive=self.recursive)
        return tree

    def execute(self, stage):
        from stat import S_ISDIR

        if self._tree is None:
            self.gather(stage)
        if S_ISDIR(os.fstat(self._tree).st_mode):
            target = stage.root.directory(self.destination)
        else:
            target = stage.root.file(self.destination)
        try:
            mount.attach(self._tree, target)
        except OSError as error:
            raise ops.StepFailed(f"mounting {self.source} on {self.destination}",
                                 error.strerror) from None
        os.close(target)
        os.close(self._tree)


class OverlayBind(ops.Op):
    """Show an overlay of host directories (``-v SRC:DST:O``, image mounts) in the root."""

    __slots__ = ("rootfs", "destination", "attributes", "_tree")

    def __init__(self, rootfs, destination, attributes=0):
        self.rootfs = rootfs
        self.destination = destination
        self.attributes = attributes
        self._tree = None

    def gather(self, stage):
        self._tree = ops.union(self.rootfs)

    def execute(self, stage):
        if self._tree is None:
            self.gather(stage)
        mount.set_attributes(self._tree, self.attributes, propagation=mount.MS_PRIVATE)
        target = stage.root.directory(self.destination)
        mount.attach(self._tree, target)
        os.close(target)
        os.close(self._tree)


class SharedMemory(ops.Op):
    """The /dev/shm of the container whose IPC namespace is joined.

    Its mount is of another mount namespace, which ``borrow`` visits in a process of its own.
    """

    __slots__ = ("destination", "attributes", "_tree")

    def __init__(self, destination, attributes):
        self.destination = destination
        self.attributes = attributes
        self._tree = None

    def borrow(self):
        """In the other mount namespace: the mount, detached, as a descriptor."""
        place = RootDir(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            return mount.clone_tree("", place.open("/dev/shm"), recursive=False)
        except OSError as error:
            raise ops.StepFailed("sharing /dev/shm", error.strerror) from None

    def keep(self, tree):
        """What ``borrow`` gave, back in this namespace."""
        self._tree = tree

    def execute(self, stage):
        mount.set_attributes(self._tree, self.attributes, propagation=mount.MS_PRIVATE)
        target = stage.root.directory(self.destination)
        mount.attach(self._tree, target)
        os.close(target)
        os.close(self._tree)


def fill_volume(stage, source, destination):
    """Copy what the image has at ``destination`` into the new volume at ``source``."""
    from rootless.runtime.fill import fill

    try:
        image = stage.root.open(destination, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        image = None
    try:
        fill(image, source, lambda: stage.owner_of("user"))
    finally:
        if image is not None:
            os.close(image)


def chown_tree(path, uid, gid):
    """Give ``path`` and everything below it to uid and gid; follows no links."""
    from stat import S_ISDIR

    if not S_ISDIR(os.stat(path, follow_symlinks=False).st_mode):
        os.chown(path, uid, gid, follow_symlinks=False)
        return
    for _, directories, files, here in os.fwalk(path, follow_symlinks=False):
        for name in (*directories, *files):
            os.chown(name, uid, gid, dir_fd=here, follow_symlinks=False)
        os.fchown(here, uid, gid)
