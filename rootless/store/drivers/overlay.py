"""The kernel's overlayfs: an upper and a work directory for each container.

Mounted inside the user namespace with ``userxattr`` (Linux 5.11; Documentation/
filesystems/overlayfs.rst, "User xattr"), by the runtime, in the container's own mount
namespace: nothing stays mounted outside, and nothing needs to be cleaned up.
"""

import os

from rootless.kernel import files

# A tree's root gets this time when its archive had no entry for it (store.unpacker).
_UNKNOWN_BEFORE = 2


class Overlay:
    """Driver "overlay"."""

    name = "overlay"

    def __init__(self, store):
        self.store = store

    def prepare(self, container_dir, layer_paths, shift_uids=(), shift_gids=(), volatile=False):
        """Make what is missing in ``container_dir``; the rootfs dict for the runtime.

        ``layer_paths``: trees, bottom first.  ``volatile`` leaves out all syncs of the
        upper layer: for containers that are removed when they end.  Only who is about to
        start the container may ask for that: it mustn't be mounted anywhere.
        """
        home = os.open(container_dir, files.DIRECTORY)
        try:
            self._directories(home, layer_paths, volatile)
        finally:
            os.close(home)
        options = ["userxattr", "volatile"] if volatile else ["userxattr"]
        return {
            "driver": self.name,
            "lowers": stacked(layer_paths) or [f"{container_dir}/lower"],
            "upper": f"{container_dir}/upper",
            "work": f"{container_dir}/work",
            "options": options,
        }

    def _directories(self, home, layer_paths, volatile):
        if not layer_paths:
            _directory(home, "lower")  # FROM scratch: overlayfs wants one lower directory
        if not _directory(home, "work") and volatile:
            self._forget_volatile(home)
        try:
            os.stat("upper", dir_fd=home)
        except FileNotFoundError:
            self._make_upper(home, layer_paths)

    def _forget_volatile(self, home):
        """A volatile upper layer refuses a second mount while its mark is there.

        That is work/work/incompat/volatile, in a directory that nobody may enter
        (Documentation/filesystems/overlayfs.rst, "Volatile mount").
        """
        from rootless.store import removal

        removal.remove(self.store, home, "work")
        _directory(home, "work")

    def _make_upper(self, home, layer_paths):
        """The upper root is the container's root directory: it looks like the image's."""
        path, status = described_root(layer_paths)
        temporary = ".upper"
        _directory(home, temporary)
        if status is None:
            _finish_root(home, temporary, 0o755, None)
        elif (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid()):
            _finish_root(home, temporary, status.st_mode, status.st_mtime_ns)
        else:
            from rootless.kernel import userns

            userns.call_in(self.store.ids, _copy_root, home, temporary, path)
        os.rename(temporary, "upper", src_dir_fd=home, dst_dir_fd=home)

    def remove(self, container_dir):
        """Remove the writable layer; missing parts are fine."""
        from rootless.store import removal

        try:
            home = os.open(container_dir, files.DIRECTORY)
        except FileNotFoundError:
            return
        try:
            for name in ("upper", ".upper", "work", "lower"):
                removal.remove(self.store, home, name)
        finally:
            os.close(home)

    def changes(self, container_dir, layer_paths):
        """What the container changed: a sorted list of (path, "A", "C" or "D").

        Paths are str, from "/"; directories that only have changes in them are "C".
        """
        from rootless.store import changes

        return changes.list_changes(self.store, self, container_dir, layer_paths)

    def view(self, container_dir, layer_paths, function, *args, write=False):
        """Call ``function(root, *args)`` with a descriptor of the stopped container's root.

        In a child, as root of the store's namespace (kernel.userns.call_in); the result
        must be plain data.  Read-only unless ``write``.
        """
        from rootless.store.drivers import viewing

        return viewing.view(self, container_dir, layer_paths, function, args, write)


def _directory(home, name):
    """Make a directory; False if it was there."""
    try:
        os.mkdir(name, 0o700, dir_fd=home)
    except FileExistsError:
        return False
    return True


def stacked(layer_paths):
    """Trees given bottom first as lower directories, top first.

    A layer that comes twice (an empty one, mostly) would be ELOOP.  The upper one of the two
    hides all of the lower one, so that can be left out.
    """
    return list(dict.fromkeys(reversed(layer_paths)))


def described_root(layer_paths):
    """(path, lstat result) of the topmost tree whose archive described its root.

    (None, None) where none did.
    """
    for path in reversed(layer_paths):
        status = os.stat(path)
        if status.st_mtime_ns >= _UNKNOWN_BEFORE:
            return path, status
    return None, None


def _finish_root(home, name, mode, mtime):
    # The umask doesn't matter to chmod; the time makes stat agree with the image.
    os.chmod(name, mode & 0o7777, dir_fd=home)
    if mtime is not None:
        os.utime(name, ns=(mtime, mtime), dir_fd=home)


def _copy_root(home, name, path):
    """In the namespace, where owners can be seen and set: make ``name`` look like ``path``."""
    status = os.stat(path)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=home)
    _finish_root(home, name, status.st_mode, status.st_mtime_ns)
