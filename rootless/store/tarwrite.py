"""Writing tar archives that are the same bytes for the same tree: ustar with pax records.

Times are whole seconds, as all engines write them in layers; user and group names are left
empty; a pax header comes only where ustar can't say something.
"""

import os

from rootless.store.tarread import BLOCK

_IFMT, _IFDIR, _IFREG, _IFLNK, _IFIFO = 0o170000, 0o040000, 0o100000, 0o120000, 0o010000
_PIECE = 1 << 20
_LARGEST_ID = 0o7777777
_LARGEST_SIZE = 0o77777777777


class Changed(OSError):
    """The file became shorter while it was written into an archive."""


class TarWriter:
    """Writes members through ``write`` (a function that takes all the bytes it is given)."""

    def __init__(self, write, newest=None):
        self._sink = write
        self._parts = []
        self._waiting = 0
        self.newest = newest
        self.stamp = None  # the time (seconds) of all members, if there is one

    def _write(self, data):
        # Headers and small files go out together: one system call for many members.
        self._parts.append(data)
        self._waiting += len(data)
        if self._waiting >= _PIECE:
            self.flush()

    def flush(self):
        """Hand on what is waiting."""
        if self._parts:
            self._sink(b"".join(self._parts))
            self._parts, self._waiting = [], 0

    def header(self, name, kind, mode=0, uid=0, gid=0, size=0, mtime=0, link=b"",
               major=0, minor=0, xattrs=None):
        """Write a member's header; ``kind`` is its type flag (bytes), ``mtime`` seconds."""
        if self.newest is not None:
            mtime = min(mtime, self.newest)
        if self.stamp is not None:
            mtime = self.stamp
        records = {}
        if len(name) > 100:
            records[b"path"] = name
        if len(link) > 100:
            records[b"linkpath"] = link
        for key, value, largest in (
            (b"uid", uid, _LARGEST_ID), (b"gid", gid, _LARGEST_ID), (b"size", size, _LARGEST_SIZE)
        ):
            if value > largest:
                records[key] = b"%d" % value
        if not 0 <= mtime <= _LARGEST_SIZE:
            records[b"mtime"] = b"%d" % mtime
        for key in sorted(xattrs or ()):
            records[b"SCHILY.xattr." + os.fsencode(key)] = xattrs[key]
        if records:
            data = b"".join(_record(key, value) for key, value in records.items())
            short = b"PaxHeaders.0/" + name.rpartition(b"/")[2][:80]
            self._write(_block(short, b"x", 0o644, 0, 0, len(data), 0, b"", 0, 0))
            self._write(data + bytes(-len(data) % BLOCK))
        self._write(_block(
            name[:100], kind, mode, min(uid, _LARGEST_ID), min(gid, _LARGEST_ID),
            min(size, _LARGEST_SIZE), max(0, min(mtime, _LARGEST_SIZE)), link[:100], major, minor,
        ))

    def content(self, descriptor, size, pad=False):
        """Write ``size`` bytes of a file; Changed if it has fewer, or zeros with ``pad``."""
        left = size
        while left:
            piece = os.read(descriptor, min(left, _PIECE))
            if not piece and pad:
                piece = bytes(min(left, _PIECE))
            if not piece:
                raise Changed(5, "it became shorter while it was read")
            self._write(piece)
            left -= len(piece)
        if size % BLOCK:
            self._write(bytes(-size % BLOCK))

    def data(self, data):
        """Write a whole file's content (bytes)."""
        self._write(data)
        if len(data) % BLOCK:
            self._write(bytes(-len(data) % BLOCK))

    def piece(self, data):
        """Write a part of a file's content; ``pad`` ends it."""
        self._write(data)

    def pad(self, size):
        """Fill the last block of a file of ``size`` bytes that came by ``piece``."""
        if size % BLOCK:
            self._write(bytes(-size % BLOCK))

    def finish(self):
        """Write the end mark."""
        self._write(bytes(2 * BLOCK))
        self.flush()


def _record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def _block(name, kind, mode, uid, gid, size, mtime, link, major, minor):
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:136] = b"%07o\0%07o\0%07o\0%011o\0" % (mode & 0o7777, uid, gid, size)
    block[136:148] = b"%011o\0" % mtime
    block[148:156] = b"        "
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    block[329:345] = b"%07o\0%07o\0" % (major, minor)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
