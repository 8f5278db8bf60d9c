"""What rl needs of ctypes, straight from the extension module that ctypes is made of.

The package ctypes describes thirty types and loads struct with them, which takes 2 ms of
every start.  The names here are its own; the two can be used side by side.
"""

from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    addressof,
    byref,
    dlopen,
    get_errno,
    sizeof,
)

__all__ = [
    "Library", "addressof", "byref", "c_char_p", "c_int", "c_int64", "c_long", "c_uint",
    "c_uint32", "c_uint64", "c_ulong", "c_void_p", "get_errno", "sizeof",
]  # fmt: skip


class c_int(_SimpleCData):  # noqa: N801
    """int"""

    _type_ = "i"


class c_uint(_SimpleCData):  # noqa: N801
    """unsigned int"""

    _type_ = "I"


class c_long(_SimpleCData):  # noqa: N801
    """long"""

    _type_ = "l"


class c_ulong(_SimpleCData):  # noqa: N801
    """unsigned long"""

    _type_ = "L"


class c_char_p(_SimpleCData):  # noqa: N801
    """char *: bytes or None"""

    _type_ = "z"


class c_void_p(_SimpleCData):  # noqa: N801
    """void *"""

    _type_ = "P"


# All machines that rl is built for have 64-bit longs.
c_uint32, c_int64, c_uint64 = c_uint, c_long, c_ulong


class _Function(CFuncPtr):
    """A function that sets errno, kept apart from the interpreter's own."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = c_int


class Library:
    """What is linked into this process: the C library."""

    def __init__(self):
        self._handle = dlopen(None, 0)

    def function(self, name):
        """The function ``name``, as ctypes.CDLL has it; AttributeError if there is none."""
        return _Function((name, self))
