"""Mounts by descriptor: the file-descriptor based mount calls (Linux 5.2, 5.12).

A mount is first made detached, as a descriptor, then attached on the descriptor of its
target, so that no path is looked up twice.  See fsopen(2), open_tree(2), move_mount(2),
mount_setattr(2).
"""

import os

from rootless.kernel import ctype, libc

MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40

_mount = libc.function(
    "mount", ctype.c_char_p, ctype.c_char_p, ctype.c_char_p, ctype.c_ulong, ctype.c_char_p
)
_umount2 = libc.function("umount2", ctype.c_char_p, ctype.c_int)


def _bytes(text):
    return None if text is None else os.fsencode(text)


def mount(source, target, fstype=None, flags=0, data=None):
    """mount(2)."""
    libc.call(
        _mount, _bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data), path=target
    )


def unmount(target, flags=MNT_DETACH):
    """umount2(2)."""
    libc.call(_umount2, _bytes(target), flags, path=target)


def set_propagation(target, flags):
    """Change how mount events cross ``target`` (MS_PRIVATE and the like, MS_REC)."""
    mount(None, target, None, flags)


def pivot_root(new, old):
    """pivot_root(2)."""
    libc.syscall("pivot_root", _bytes(new), _bytes(old), path=new)


class FilesystemError(OSError):
    """OSError with what the kernel logged about the mount (fsopen(2), "message log")."""


def _log(context):
    lines = []
    while True:
        try:
            lines.append(os.read(context, 4096).decode("utf-8", "replace").strip())
        except OSError:
            return "; ".join(lines)


def new_filesystem(fstype, options=(), attributes=0, source=None):
    """A detached mount of a new instance of ``fstype``, as a descriptor.

    ``options`` are (key, value) pairs in order, value None for a flag; ``attributes`` are
    MOUNT_ATTR_*.  Raises FilesystemError with the kernel's own words.
    """
    context = libc.syscall("fsopen", fstype.encode(), _FSOPEN_CLOEXEC)
    try:
        if source is not None:
            options = [("source", source), *options]
        for key, value in options:
            if value is None:
                libc.syscall("fsconfig", context, _FSCONFIG_SET_FLAG, key.encode(), 0, 0)
            else:
                libc.syscall(
                    "fsconfig", context, _FSCONFIG_SET_STRING, key.encode(), _bytes(value), 0
                )
        libc.syscall("fsconfig", context, _FSCONFIG_CMD_CREATE, 0, 0, 0)
        return libc.syscall("fsmount", context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        words = _log(context)
        text = f"{error.strerror}: {words}" if words else error.strerror
        raise FilesystemError(error.errno, text, fstype) from None
    finally:
        os.close(context)


def clone_tree(source, directory=libc.AT_FDCWD, recursive=True, follow=True):
    """A detached bind mount of ``source``, as a descriptor.

    ``source`` is a path relative to the descriptor ``directory``; "" means that
    descriptor itself.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    if recursive:
        flags |= libc.AT_RECURSIVE
    if source == "":
        flags |= libc.AT_EMPTY_PATH
    if not follow:
        flags |= libc.AT_SYMLINK_NOFOLLOW
    return libc.syscall("open_tree", directory, _bytes(source), flags, path=source)


def set_attributes(tree, attributes=0, clear=0, propagation=0, recursive=False):
    """Set and clear MOUNT_ATTR_* and the propagation of the mount at descriptor ``tree``."""
    change = (ctype.c_uint64 * 4)(attributes, clear, propagation, 0)
    flags = libc.AT_EMPTY_PATH | (libc.AT_RECURSIVE if recursive else 0)
    libc.syscall("mount_setattr", tree, b"", flags, ctype.byref(change), ctype.sizeof(change))


def attach(tree, target):
    """Attach the detached mount ``tree`` on ``target``, both descriptors."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    libc.syscall("move_mount", tree, b"", target, b"", flags)
