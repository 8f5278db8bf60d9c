"""Writing a layer's tar archive: the same input gives the same bytes, everywhere.

POSIX.1-2017 ustar, with a pax header where a name is too long for it.  ``tarfile`` would
take 10 ms to import, more than the built-in image takes in all.
"""

_BLOCK = 512
_ZEROS = bytes(_BLOCK)

FILE, LINK, DIRECTORY = b"0", b"2", b"5"


def header(name, kind, mode, size=0, mtime=0, target=""):
    """The header (bytes) of a member owned by root; ``name`` has no leading slash."""
    path = name.encode("utf-8", "surrogateescape")
    link = target.encode("utf-8", "surrogateescape")
    extended = b""
    if len(path) > 100:
        extended += _record(b"path", path)
    if len(link) > 100:
        extended += _record(b"linkpath", link)
    if size >= 8**11:
        extended += _record(b"size", str(size).encode())
    if not extended:
        return _block(path, kind, mode, size, mtime, link)
    first = _block(b"pax", b"x", 0o644, len(extended), 0, b"")
    size = 0 if size >= 8**11 else size
    return first + pad(extended) + _block(path[:100], kind, mode, size, mtime, link[:100])


def _record(key, value):
    """A pax record: its own length, which counts itself, then KEY=VALUE."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _block(path, kind, mode, size, mtime, link):
    fields = (
        path.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,
        b"%011o\0" % size,
        b"%011o\0" % max(0, int(mtime)),
        b" " * 8,
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000",
        b"root".ljust(32, b"\0") * 2,
        b"0000000\0" * 2,
    )
    block = bytearray(b"".join(fields).ljust(_BLOCK, b"\0"))
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pad(data):
    """``data`` (bytes) filled up to whole blocks."""
    return data + _ZEROS[: -len(data) % _BLOCK]


def padding(size):
    """The zeros behind a file of ``size`` bytes."""
    return _ZEROS[: -size % _BLOCK]


END = _ZEROS * 2
