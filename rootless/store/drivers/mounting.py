"""Mounting a rootfs inside a mount namespace of our own: for probes and for views.

(The runtime mounts containers' roots by itself, from the same dict.)
"""

import os
import time

from rootless.kernel import mount, overlay, process, userns

_PATIENCE = 10.0
_EINVAL = 22


def mount_rootfs(rootfs, target, write=True, apart=True):
    """Mount ``rootfs`` and return (descriptor of its root, pid of its server or None).

    ``target``: an empty directory (path), used where a mount needs one.  ``apart``: this
    process may go into another mount namespace, to leave that of a server: then the server
    ends with us, however we end.
    """
    if rootfs["driver"] == "clone":
        return os.open(rootfs["path"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), None
    if rootfs["driver"] == "overlay":
        return _attached(_overlay(rootfs, write), target), None
    tree, pid = overlay.start_fuse(rootfs, write)
    if apart:
        userns.unshare(userns.CLONE_NEWNS)
    return _attached(tree, target), pid


def _overlay(rootfs, write):
    if write:
        return overlay.make(rootfs["lowers"], rootfs["upper"], rootfs["work"], ["userxattr"])
    # Without an upper directory overlayfs is read-only, and its own opaque marks and
    # whiteouts count in the topmost lower one just the same.
    return overlay.make([rootfs["upper"], *rootfs["lowers"]], options=["userxattr"])


def _attached(tree, target):
    """Attach the detached mount, and open it for reading."""
    try:
        where = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount.attach(tree, where)
        finally:
            os.close(where)
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(tree)


def unmount(target, root, server):
    """End what mount_rootfs began, so that a server has written everything."""
    os.chdir("/")  # whoever worked in there may have left us there, keeping it busy
    os.close(root)
    try:
        mount.unmount(target)
    except OSError as error:
        if error.errno != _EINVAL:  # a clone needs no mount
            raise
    if server is None:
        return
    deadline = time.monotonic() + _PATIENCE
    while not os.waitpid(server, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            # It has nothing unwritten: fuse-overlayfs passes every write on at once.
            os.kill(server, 9)
            process.wait_exit(server)
            return
        time.sleep(0.001)
