"""Installing a seccomp filter (seccomp(2))."""

import sys

from rootless.kernel import ctype, libc

_SET_MODE_FILTER = 1

# linux/seccomp.h: how a filter is installed
FLAG_TSYNC = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4
FLAG_NEW_LISTENER = 8

INSTRUCTION = 8  # bytes: struct sock_filter
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS


def well_formed(program):
    """Whether ``program`` (bytes) has a length that the kernel could accept."""
    count, rest = divmod(len(program), INSTRUCTION)
    return rest == 0 and 0 < count <= MAX_INSTRUCTIONS


def install(program, flags=0):
    """Put ``program`` (BPF as bytes) before every later system call of this thread.

    What seccomp(2) returns: 0, or a listener.  The caller has CAP_SYS_ADMIN in its user
    namespace, or no_new_privs is set.  Raises OSError: EACCES if neither holds, EINVAL if the
    kernel refuses the program.
    """
    if not well_formed(program):
        raise ValueError(f"{len(program)} bytes are not a filter")
    count = len(program) // INSTRUCTION
    text = (ctype.c_uint64 * count).from_buffer_copy(program)
    # struct sock_fprog: a short, and at the next multiple of 8 the filter's address.
    length = count if sys.byteorder == "little" else count << 48
    holder = (ctype.c_uint64 * 2)(length, ctype.addressof(text))
    return libc.syscall("seccomp", _SET_MODE_FILTER, flags, holder)


def listen(program):
    """As ``install``, for a program that asks: the descriptor of its listener."""
    return install(program, FLAG_NEW_LISTENER)
