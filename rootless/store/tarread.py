"""A streaming reader of tar archives: ustar, pax, GNU and star headers, sparse files.

Written for archives that may be hostile: nothing is looked up, sizes of metadata are
limited, and every odd number or cut is a BadArchive.  Where the formats leave a choice it
follows Go's archive/tar, which all other engines read layers with, so that nobody sees
another tree than they do.  See POSIX pax, "pax Interchange Format", and GNU tar, "Basic
Tar Format" and "Storing Sparse Files".
"""

from rootless.errors import RlError

BLOCK = 512
META_LIMIT = 1 << 20
_ZERO = bytes(BLOCK)

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0", "1", "2", "3", "4", "5", "6"
_KINDS = {
    0x30: REGULAR,
    0: REGULAR,
    0x37: REGULAR,
    0x31: LINK,
    0x32: SYMLINK,
    0x33: CHARACTER,
    0x34: BLOCK_DEVICE,
    0x35: DIRECTORY,
    0x36: FIFO,
    0x53: REGULAR,
}
_XATTR = b"SCHILY.xattr."
_XATTR_BASE64 = b"LIBARCHIVE.xattr."


class BadArchive(RlError):
    """the archive is damaged or hostile: {problem}"""

    hint = "fetch it again; if that doesn't help, it was made wrongly at its source"


class Stream:
    """Bytes in order, out of an iterator of pieces."""

    def __init__(self, pieces):
        self._next = iter(pieces).__next__
        self._view = memoryview(b"")
        self._at = 0
        self._left = 0

    def _more(self):
        """Take the next piece; False at the end."""
        try:
            piece = self._next()
        except StopIteration:
            return False
        self._view = memoryview(piece)
        self._at = 0
        self._left = len(piece)
        return True

    def take(self, size):
        """The next ``size`` bytes, as bytes; b"" at the very end, BadArchive in between."""
        at = self._at
        if size <= self._left:
            self._at = at + size
            self._left -= size
            return bytes(self._view[at : at + size])
        chunks = []
        while size:
            if not self._left and not self._more():
                if chunks:
                    raise BadArchive(problem="it ends in the middle of an entry")
                return b""
            taken = self._view[self._at : self._at + size]
            self._at += len(taken)
            self._left -= len(taken)
            size -= len(taken)
            chunks.append(taken)
        return b"".join(chunks)

    def need(self, size):
        """The next ``size`` bytes; BadArchive if there are fewer."""
        taken = self.take(size)
        if len(taken) != size:
            raise BadArchive(problem="it ends in the middle of an entry")
        return taken

    def views(self, size):
        """The next ``size`` bytes as memoryviews, without copying them."""
        while size:
            if not self._left and not self._more():
                raise BadArchive(problem="it ends in the middle of a file")
            at = self._at
            taken = self._view[at : at + size]
            count = len(taken)
            self._at = at + count
            self._left -= count
            size -= count
            yield taken

    def skip(self, size):
        """Pass over ``size`` bytes."""
        if size <= self._left:
            self._at += size
            self._left -= size
            return
        for _ in self.views(size):
            pass

    def drain(self):
        """Read to the end; the number of bytes passed over."""
        count = self._left
        while self._more():
            count += self._left
        self._left = 0
        return count


class Entry:
    """One member: what its headers say, nothing checked against any file system.

    ``name``, ``link``: bytes as they stand; ``kind``: one of the constants of this module;
    ``size``: bytes of data in the archive; ``length``: bytes of the file (more, if it is
    sparse); ``sparse``: (offset, size) pairs or None; ``mtime``: nanoseconds;
    ``xattrs``: {name (bytes): value (bytes)} or None.
    """

    __slots__ = (
        "name", "kind", "mode", "uid", "gid", "size", "length", "mtime", "link",
        "major", "minor", "xattrs", "sparse",
    )


def _shown(text):
    """Bytes that make no sense, for a message."""
    return repr(text[:30].decode("latin-1"))


def _octal(field):
    """A numeric header field: octal text, or base-256 where the first bit is set."""
    if field[0] & 0x80:
        return _base256(field)
    text = field.partition(b"\0")[0].strip()
    if not text:
        return 0
    try:
        return int(text, 8)
    except ValueError:
        raise BadArchive(problem=f"{_shown(text)} is not a number") from None


def _base256(field):
    value = int.from_bytes(field, "big")
    bits = 8 * len(field)
    value &= (1 << (bits - 1)) - 1
    if field[0] & 0x40:
        value -= 1 << (bits - 1)
    if abs(value) >> 63:
        raise BadArchive(problem="a number is out of range")
    return value


def _checksum_fits(block):
    try:
        wanted = _octal(block[148:156])
    except BadArchive:
        return False
    unsigned = sum(block) - sum(block[148:156]) + 256
    if unsigned == wanted:
        return True
    # Some old tars added the bytes up as signed ones.
    return unsigned - 256 * sum(1 for b in block[:148] + block[156:] if b > 127) == wanted


def is_header(block):
    """Whether ``block`` (512 bytes) looks like the header of a member."""
    return block != _ZERO and _checksum_fits(block)


def _number(text, what):
    """A decimal pax value."""
    if not text.isdigit() or len(text) > 19:
        raise BadArchive(problem=f"{_shown(text)} is not a {what}")
    return int(text)


def nanoseconds(text):
    """A pax time ("1350244992.023960108", maybe negative) in nanoseconds, exactly."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not digits.isdigit() or (fraction and not fraction.isdigit()) or len(digits) > 18:
        raise BadArchive(problem=f"{_shown(text)} is not a time")
    value = int(digits) * 1_000_000_000 + int((fraction + b"000000000")[:9])
    return -value if negative else value


def parse_pax(data):
    """The records of a pax header, {key: value} in bytes; later ones win.

    The two keys of the oldest sparse format repeat; their values come as one list under
    b"GNU.sparse.pairs".
    """
    found, at, pairs = {}, 0, []
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        if space < 0 or not data[at:space].isdigit():
            if not data[at:].strip(b"\0"):
                break
            raise BadArchive(problem="a pax header has a record without a length")
        end = at + int(data[at:space])
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or not equals or not key or record[-1:] != b"\n":
            raise BadArchive(problem="a pax header has a record of the wrong length")
        value = value[:-1]
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pairs.append(value)
        else:
            found[key] = value
        at = end
    if pairs:
        found[b"GNU.sparse.pairs"] = pairs
    return found


class TarReader:
    """Iterates over the entries of a Stream.

    Before the next entry the data of the last one (``entry.size`` bytes) may be read from
    ``stream`` in whole or in part with ``views`` and ``consumed``; the rest is passed over.
    """

    def __init__(self, stream):
        self.stream = stream
        self.left = 0
        self.padding = 0
        self.begun = self.ended = False

    def views(self, size):
        """``size`` bytes of the current entry's data, as memoryviews."""
        if size > self.left:
            raise BadArchive(problem="a file is shorter than its sparse map says")
        self.left -= size
        return self.stream.views(size)

    def __iter__(self):
        return self

    def __next__(self):
        pax, name, link = None, None, None
        stream = self.stream
        while True:
            if self.left or self.padding:
                stream.skip(self.left + self.padding)
                self.left = self.padding = 0
            block = stream.take(BLOCK)
            if not block or block == _ZERO:
                self._end(block, pax is not None or name or link)
                raise StopIteration
            if not _checksum_fits(block):
                why = "a header's checksum is wrong" if self.begun else "it is no tar archive"
                raise BadArchive(problem=why)
            self.begun = True
            flag = block[156]
            if flag in (0x78, 0x58):  # x, X: pax header of the next entry
                pax = parse_pax(self._meta(block))
            elif flag == 0x4C:  # L: GNU long name
                name = self._meta(block).partition(b"\0")[0]
            elif flag == 0x4B:  # K: GNU long link
                link = self._meta(block).partition(b"\0")[0]
            elif flag == 0x67:  # g: global pax header; other engines ignore what it says
                self._meta(block)
            elif flag == 0x56:  # V: volume label
                self._begin(_octal(block[124:136]))
            else:
                return self._entry(block, flag, pax, name, link)

    def _end(self, block, dangling):
        if dangling:
            raise BadArchive(problem="it ends behind an extended header")
        if block:
            second = self.stream.take(BLOCK)
            if second and second != _ZERO:
                raise BadArchive(problem="there is data behind its end mark")
            self.ended = True

    def _begin(self, size):
        if size < 0 or size >> 62:
            raise BadArchive(problem="an entry has an impossible size")
        self.left = size
        self.padding = -size % BLOCK

    def _meta(self, block):
        size = _octal(block[124:136])
        if not 0 <= size <= META_LIMIT:
            raise BadArchive(problem="an extended header is larger than 1 MiB")
        data = self.stream.need(size)
        self.stream.skip(-size % BLOCK)
        return data

    def _entry(self, block, flag, pax, name, link):
        kind = _KINDS.get(flag)
        if kind is None:
            raise BadArchive(problem=f"an entry is of the unknown type {chr(flag)!r}")
        entry = Entry()
        entry.kind = kind
        entry.name = name if name is not None else _name(block)
        entry.link = link if link is not None else block[157:257].partition(b"\0")[0]
        entry.mode = _octal(block[100:108]) & 0o7777
        entry.uid = _octal(block[108:116])
        entry.gid = _octal(block[116:124])
        size = _octal(block[124:136])
        entry.mtime = _octal(block[136:148]) * 1_000_000_000
        entry.major = entry.minor = 0
        if kind in (CHARACTER, BLOCK_DEVICE):
            entry.major, entry.minor = _octal(block[329:337]), _octal(block[337:345])
        entry.xattrs = entry.sparse = None
        if pax:
            size = _apply_pax(entry, pax, size)
        if flag == 0 and entry.name.endswith(b"/"):
            kind = entry.kind = DIRECTORY  # as tars before 1988 had it
        self._begin(size if kind == REGULAR else 0)
        entry.size = entry.length = self.left
        if flag == 0x53 or pax and any(key.startswith(b"GNU.sparse.") for key in pax):
            from rootless.store import tarsparse

            tarsparse.read(self, entry, block, pax or {})
        if not 0 <= entry.uid < 1 << 32 or not 0 <= entry.gid < 1 << 32:
            raise BadArchive(problem=f"an entry has the impossible owner {entry.uid}:{entry.gid}")
        return entry


def _name(block):
    """The name in a header; the prefix field belongs to it in ustar and star, not in GNU."""
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        end = 476 if block[508:512] == b"tar\0" else 500
        return block[345:end].partition(b"\0")[0] + b"/" + name
    return name


def _apply_pax(entry, pax, size):
    """Let the pax records replace what the header says; returns the size."""
    for key, value in pax.items():
        if key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key == b"size":
            size = _number(value, "size")
        elif key == b"mtime":
            entry.mtime = nanoseconds(value)
        elif key == b"uid":
            entry.uid = _number(value, "uid")
        elif key == b"gid":
            entry.gid = _number(value, "gid")
        elif key.startswith(_XATTR) or key.startswith(_XATTR_BASE64):
            if entry.xattrs is None:
                entry.xattrs = {}
            _xattr(entry.xattrs, key, value)
    return size


def _xattr(found, key, value):
    if key.startswith(_XATTR):
        found[key[len(_XATTR) :]] = value
        return
    import binascii

    name = _unquote(key[len(_XATTR_BASE64) :])
    try:
        found.setdefault(name, binascii.a2b_base64(value + b"=" * (-len(value) % 4)))
    except binascii.Error:
        raise BadArchive(problem="an extended attribute is not base64") from None


def _unquote(name):
    """libarchive writes attribute names percent-encoded."""
    head, *parts = name.split(b"%")
    for part in parts:
        try:
            head += bytes((int(part[:2], 16),)) + part[2:]
        except ValueError:
            head += b"%" + part
    return head
