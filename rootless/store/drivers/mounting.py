"""Mounting a rootfs inside a mount namespace of our own: for probes and for views.

(The runtime mounts containers' roots by itself, from the same dict.)
"""

import os
import time

from rootless.kernel import mount, overlay, process, userns

_PATIENCE = 10.0
_EINVAL = 22


def mount_rootfs(rootfs, target, write=True, apart=True):
    """Mount ``rootfs`` and return (descriptor of its root, pids of its servers, topmost first).

    ``target``: an empty directory (path), used where a mount needs one.  ``apart``: this
    process may go into another mount namespace, to leave that of a server: then the server
    ends with us, however we end.
    """
    if rootfs["driver"] == "clone":
        return os.open(rootfs["path"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), ()
    if "capped" in rootfs:
        tree, servers = _capped(rootfs, write)
    elif rootfs["driver"] == "overlay":
        tree, servers = _overlay(rootfs, write), ()
    else:
        tree, pid = overlay.start_fuse(rootfs, write)
        servers = (pid,)
    if servers and apart:
        userns.unshare(userns.CLONE_NEWNS)
    return _attached(tree, target), servers


def _capped(rootfs, write):
    """Above a file system with a size (kernel.capped), which ends with what is above it."""
    from rootless.kernel import capped

    space, writer = capped.open_space(rootfs["capped"], rootfs["like"])
    try:
        if rootfs["driver"] == "overlay":
            return _overlay(rootfs, write), ()
        tree, pid = overlay.start_fuse(rootfs, write)
        return tree, (pid, writer) if writer else (pid,)
    finally:
        capped.let_go(rootfs["capped"])
        os.close(space)


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


def unmount(target, root, servers):
    """End what mount_rootfs began, so that a server has written everything."""
    os.chdir("/")  # whoever worked in there may have left us there, keeping it busy
    os.close(root)
    try:
        mount.unmount(target)
    except OSError as error:
        if error.errno != _EINVAL:  # a clone needs no mount
            raise
    for number, server in enumerate(servers):
        deadline = time.monotonic() + _PATIENCE
        while not os.waitpid(server, os.WNOHANG)[0]:
            # fuse-overlayfs has nothing unwritten, it passes every write on at once; the
            # file system below it may have, for as long as the disk takes.
            if number == 0 and time.monotonic() > deadline:
                os.kill(server, 9)
                process.wait_exit(server)
                break
            time.sleep(0.001)
