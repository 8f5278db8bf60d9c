"""The steps that turn a mount namespace into a container's: small, in order, printable.

``plan.py`` makes the list, ``init.py`` executes it as root of the container's user
namespace, before pivot_root: host paths can still be opened, and the container's root is
``stage.root`` (a rootdir.RootDir).  ``describe()`` is what ``rl --debug`` prints.

``gather`` is called before, and only where the container's root may not open what the
caller may (runtime/staging.py): it takes hold of the host's files with the caller's rights.
"""

import os

from rootless.errors import RlError
from rootless.kernel import libc, mount, netns, overlay
from rootless.runtime.rootdir import RootDir


class StepFailed(RlError):
    """{0}: {1}"""


class Op:
    """One step.  ``execute(stage)`` may raise RlError or OSError."""

    __slots__ = ()

    def describe(self):
        """The step in a few words (str)."""
        words = [f"{name}={getattr(self, name)!r}" for name in self.__slots__ if name[0] != "_"]
        return f"{type(self).__name__} {' '.join(words)}"

    def gather(self, stage):
        """Open what ``execute`` needs of the host, if anything."""

    def execute(self, stage):
        """Do it."""
        raise AssertionError(f"{type(self).__name__} has no execute")


def descriptor_path(descriptor):
    """A name for ``descriptor`` that mount options can carry, however long its path is."""
    return f"/proc/self/fd/{descriptor}"


class MountRoot(Op):
    """Mount the root that a store driver prepared, and make it the stage's root."""

    __slots__ = ("rootfs", "target", "_tree")

    def __init__(self, rootfs, target):
        self.rootfs = rootfs
        self.target = target
        self._tree = None

    def serve(self, tree):
        """Take the mount that a program serves; made before all other namespaces."""
        self._tree = tree

    def _make(self, stage):
        if self._tree is not None:
            return self._tree
        if self.rootfs["driver"] == "overlay":
            return self._capped(stage) if "capped" in self.rootfs else union(self.rootfs)
        tree = mount.clone_tree(self.rootfs["path"])
        mount.set_attributes(tree, propagation=mount.MS_PRIVATE, recursive=True)
        return tree

    def _capped(self, stage):
        """An overlay whose upper layer is a tmpfs with a size; the monitor keeps hold of that."""
        from rootless.kernel import capped

        space, _ = capped.open_space(self.rootfs["capped"], self.rootfs["like"])
        try:
            tree = union(self.rootfs)
        finally:
            capped.let_go(self.rootfs["capped"])
        stage.job.hand_over("layer", space)
        os.close(space)
        return tree

    def gather(self, stage):
        self._tree = self._make(stage)
        stage.root = RootDir(self._tree)

    def execute(self, stage):
        tree = self._make(stage)
        if stage.job.staged:
            # The launcher made the target the working directory: no path leads there.
            mount.attach(tree, libc.AT_FDCWD)
        else:
            where = os.open(self.target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            mount.attach(tree, where)
            os.close(where)
        stage.root = RootDir(tree)


def union(rootfs):
    """The detached overlay mount of a rootfs dict, as a descriptor."""
    return overlay.make(rootfs["lowers"], rootfs.get("upper"), rootfs.get("work"),
                        rootfs.get("options", ()))


class MountFilesystem(Op):
    """Mount a new instance of a file system on ``destination`` in the root.

    ``plain``: links in the image must not lead it elsewhere (/proc, /sys, /dev).
    """

    __slots__ = ("fstype", "destination", "options", "attributes", "copy_up", "fallback", "chown",
                 "plain")

    def __init__(self, fstype, destination, options=(), attributes=0, copy_up=False, fallback=None,
                 chown=None, plain=False):
        self.fstype = fstype
        self.destination = destination
        self.options = tuple(options)
        self.attributes = attributes
        self.copy_up = copy_up
        self.fallback = fallback
        self.chown = chown
        self.plain = plain

    def execute(self, stage):
        target = stage.root.directory(self.destination, plain=self.plain)
        try:
            tree = self._make()
        except OSError as error:
            if self.fallback is None:
                raise StepFailed(f"mounting {self.fstype} on {self.destination}",
                                 error.strerror) from None
            # Inside another container the kernel refuses a fresh proc or sysfs that would
            # show more than the one already there: show that one.
            os.close(target)
            self.fallback.execute(stage)
            return
        if self.copy_up:
            self._copy(tree, stage)
        if self.chown:
            os.chown(descriptor_path(tree), *stage.owner_of(self.chown))
        mount.attach(tree, target)
        os.close(target)
        os.close(tree)

    def _make(self):
        try:
            return mount.new_filesystem(self.fstype, self.options, self.attributes, self.fstype)
        except OSError as error:
            rest = [option for option in self.options if option[0] != "gid"]
            if self.fstype != "devpts" or error.errno != 22 or len(rest) == len(self.options):
                raise
            # A namespace to join has its own ideas of which groups there are.
            return mount.new_filesystem(self.fstype, rest, self.attributes, self.fstype)

    def _copy(self, tree, stage):
        from rootless.kernel.tree import copy_tree

        readable = stage.root.open(self.destination, os.O_RDONLY | os.O_DIRECTORY)
        into = os.open(descriptor_path(tree), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mode = os.fstat(into).st_mode & 0o7777
            copy_tree(readable, into)
            if any(key == "mode" for key, _ in self.options):
                os.fchmod(into, mode)
        finally:
            os.close(readable)
            os.close(into)


class Device(Op):
    """A device node of the host, bound into the container's /dev."""

    __slots__ = ("source", "destination", "attributes")

    def __init__(self, source, destination, attributes=0):
        self.source = source
        self.destination = destination
        self.attributes = attributes

    def execute(self, stage):
        from stat import S_ISBLK, S_ISCHR

        try:
            device = os.open(self.source, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            raise StepFailed(f"device {self.source}", error.strerror) from None
        mode = os.fstat(device).st_mode
        if not (S_ISCHR(mode) or S_ISBLK(mode)):
            raise StepFailed(f"device {self.source}", "it is not a device")
        tree = mount.clone_tree("", device, recursive=False)
        attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC | self.attributes
        mount.set_attributes(tree, attributes, propagation=mount.MS_PRIVATE)
        target = stage.root.file(self.destination)
        mount.attach(tree, target)
        for descriptor in (device, tree, target):
            os.close(descriptor)


class Link(Op):
    """A symbolic link in the container's own /dev, which is always a fresh tmpfs."""

    __slots__ = ("target", "path")

    def __init__(self, target, path):
        self.target = target
        self.path = path

    def execute(self, stage):
        directory, _, name = self.path.rpartition("/")
        above = stage.root.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.symlink(self.target, name, dir_fd=above)
        except FileExistsError:
            pass
        finally:
            os.close(above)


class PlaceFile(Op):
    """A copy of a host's file in the container's own /dev: never the engine's own inode."""

    __slots__ = ("source", "path", "mode", "_content")

    def __init__(self, source, path, mode):
        self.source = source
        self.path = path
        self.mode = mode
        self._content = None

    def gather(self, stage):
        with open(self.source, "rb", 0) as file:
            self._content = file.read()

    def execute(self, stage):
        if self._content is None:
            self.gather(stage)
        directory, _, name = self.path.rpartition("/")
        above = stage.root.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(name, flags, self.mode, dir_fd=above)
        os.write(made, self._content)
        os.fchmod(made, self.mode)
        os.close(made)
        os.close(above)


class PlaceText(Op):
    """A small file of rl's own in the root, where the directory ``only_if`` exists."""

    __slots__ = ("path", "text", "only_if")

    def __init__(self, path, text, only_if):
        self.path = path
        self.text = text
        self.only_if = only_if

    def execute(self, stage):
        if stage.root.exists(self.only_if):
            write_file(stage.root, self.path, self.text.encode(), keep=True)


class MountTable(Op):
    """/etc/mtab, for programs that have not heard of /proc/mounts."""

    __slots__ = ()

    def execute(self, stage):
        try:
            above = stage.root.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return  # an image without /etc has no such programs
        try:
            os.symlink("/proc/mounts", "mtab", dir_fd=above)
        except OSError:
            pass  # it is there, or the root can't be written: nothing depends on it
        finally:
            os.close(above)


class Accounts(Op):
    """Lines in /etc/passwd and /etc/group for the user that runs (--passwd).

    ``paths``: those of the two that are the container's own.
    """

    __slots__ = ("wanted", "paths")

    def __init__(self, wanted, paths):
        self.wanted = wanted
        self.paths = paths

    def execute(self, stage):
        from rootless.runtime import users

        both = ("/etc/passwd", "/etc/group")
        files = [stage.root.read(path, users.LIMIT) for path in both]
        changed = users.amended(*files, stage.resolve_user(), self.wanted)
        for path, text in zip(both, changed, strict=True):
            if text is not None and path in self.paths:
                write_file(stage.root, path, text)


def write_file(root, path, content, keep=False):
    """Give the ordinary file ``path`` this content; ``keep`` leaves one that is there.

    Written beside it and renamed in the directory that the name really is in, so that a
    link in the image can't send the content elsewhere.
    """
    directory, _, name = path.rpartition("/")
    try:
        above = root.open(directory or "/", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # an image without such a directory has nobody who would read it
    draft = f".{name}.{os.urandom(6).hex()}"
    try:
        if keep and name in os.listdir(above):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(draft, flags, 0o644, dir_fd=above)
        os.write(made, content)
        os.fchmod(made, 0o644)
        os.close(made)
        try:
            os.rename(draft, name, src_dir_fd=above, dst_dir_fd=above)
        except IsADirectoryError:
            os.unlink(draft, dir_fd=above)  # the image knows better what that is
    except PermissionError:
        pass  # a root that this user can't write needs no account of it
    finally:
        os.close(above)


class Mask(Op):
    """Hide a path: a file under the null device, a directory under an empty tmpfs."""

    __slots__ = ("path",)

    def __init__(self, path):
        self.path = path

    def execute(self, stage):
        from stat import S_ISCHR, S_ISDIR

        try:
            target = stage.root.open(self.path)
        except OSError:
            return  # nothing there to hide
        if S_ISDIR(os.fstat(target).st_mode):
            options = [("nr_blocks", "1"), ("nr_inodes", "1"), ("mode", "555")]
            tree = mount.new_filesystem("tmpfs", options, mount.MOUNT_ATTR_RDONLY)
        else:
            null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
            status = os.fstat(null)
            if not (S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)):
                raise StepFailed("masking " + self.path, "/dev/null is not the null device")
            tree = mount.clone_tree("", null, recursive=False)
            os.close(null)
        mount.attach(tree, target)
        os.close(tree)
        os.close(target)


class ReadOnly(Op):
    """Make what is below a path read-only in the container."""

    __slots__ = ("path",)

    def __init__(self, path):
        self.path = path

    def execute(self, stage):
        try:
            target = stage.root.open(self.path)
        except OSError:
            return  # nothing there to protect
        tree = mount.clone_tree("", target)
        mount.set_attributes(tree, mount.MOUNT_ATTR_RDONLY, recursive=True)
        mount.attach(tree, target)
        os.close(tree)
        os.close(target)


class RootReadOnly(Op):
    """Make the root file system itself read-only; what is mounted in it stays as it is."""

    __slots__ = ()

    def execute(self, stage):
        again = os.open(descriptor_path(stage.root.descriptor), os.O_PATH | os.O_CLOEXEC)
        mount.set_attributes(again, mount.MOUNT_ATTR_RDONLY)
        os.close(again)


class PlaceToMount(Op):
    """An empty file for a mount that comes when its directory may be read-only already."""

    __slots__ = ("path",)

    def __init__(self, path):
        self.path = path

    def execute(self, stage):
        os.close(stage.root.file(self.path, 0o620))


class MountReadOnly(Op):
    """Make one mount read-only, now that everything in it has been made."""

    __slots__ = ("destination",)

    def __init__(self, destination):
        self.destination = destination

    def execute(self, stage):
        mounted = stage.root.open(self.destination)
        mount.set_attributes(mounted, mount.MOUNT_ATTR_RDONLY)
        os.close(mounted)


class Sysctl(Op):
    """Write a kernel parameter of the container's namespaces (sysctl(8)).

    A ``soft`` one is rl's own wish: where the kernel has none of it, nothing is lost.
    """

    __slots__ = ("key", "value", "soft")

    def __init__(self, key, value, soft=False):
        self.key = key
        self.value = value
        self.soft = soft

    def execute(self, stage):
        name = self.key.replace(".", "/")
        path, directory = f"/proc/sys/{name}", os.path.dirname(name)
        try:
            descriptor = stage.root.open(path, os.O_WRONLY)
            try:
                os.write(descriptor, self.value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self.soft:
                raise StepFailed(f"sysctl {self.key}={self.value}", error.strerror,
                                 hint=f"look at /proc/sys/{directory} in a container") from None


class Loopback(Op):
    """Bring up ``lo`` in the container's own network namespace."""

    __slots__ = ()

    def execute(self, stage):
        netns.loopback_up()


class Hostname(Op):
    """Set the host name of the container's UTS namespace."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def execute(self, stage):
        from rootless.kernel import libc

        name = self.name.encode()
        try:
            libc.call(libc.function("sethostname"), name, len(name))
        except PermissionError:
            # Inside another container its filter may forbid the call, whatever we may do
            # in our own namespace: the name of that container stays.
            pass
