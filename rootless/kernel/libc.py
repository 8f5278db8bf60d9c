"""The one door to system calls that Python's os module lacks.

Every other module of this package builds on ``call`` and ``syscall``: both return the
result or raise ``OSError`` with the errno and, where given, the path it is about.
"""

import os

from rootless.kernel import ctype

_libc = ctype.Library()
_syscall = _libc.function("syscall")
_syscall.restype = ctype.c_long

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_RECURSIVE = 0x8000

# Numbers that all 64-bit architectures share since Linux 4.20 (asm-generic/unistd.h), and
# the ones that differ, for the machines rl is built for.
_X86 = {
    "clone": 56,
    "pivot_root": 155,
    "capget": 125,
    "capset": 126,
    "setns": 308,
    "unshare": 272,
    "keyctl": 250,
    "renameat2": 316,
    "name_to_handle_at": 303,
    "seccomp": 317,
    "mknodat": 259,
}
_GENERIC = {
    "clone": 220,
    "pivot_root": 41,
    "capget": 90,
    "capset": 91,
    "setns": 268,
    "unshare": 97,
    "keyctl": 219,
    "renameat2": 276,
    "name_to_handle_at": 264,
    "seccomp": 277,
    "mknodat": 33,
}
NUMBERS = dict(_X86 if os.uname().machine == "x86_64" else _GENERIC)
NUMBERS.update(
    pidfd_send_signal=424,
    open_tree=428,
    move_mount=429,
    fsopen=430,
    fsconfig=431,
    fsmount=432,
    pidfd_open=434,
    close_range=436,
    openat2=437,
    mount_setattr=442,
)


def _fail(path=None):
    number = ctype.get_errno()
    if path is None:
        raise OSError(number, os.strerror(number))
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def function(name, *argtypes, restype=ctype.c_int):
    """The libc function ``name`` with its argument types declared, for ``call``."""
    found = _libc.function(name)
    found.argtypes = argtypes
    found.restype = restype
    return found


def call(found, *args, path=None):
    """Call a libc function that returns -1 on failure; its result as int, or OSError."""
    result = found(*args)
    if result == -1:
        _fail(path)
    return result


def syscall(name, *args, path=None):
    """Call the system call ``name`` by number; its result as int, or OSError.

    int arguments are passed as 64-bit words, bytes and objects of ctype as pointers.
    """
    words = [ctype.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = _syscall(ctype.c_long(NUMBERS[name]), *words)
    if result == -1:
        _fail(path)
    return result
