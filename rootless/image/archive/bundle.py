"""The files of an image archive by name: out of a tar file or a directory.

Nothing of an archive is written anywhere under its own name; the outer tar is only a table
of contents, read here with limits and without ``tarfile`` (which seeks wherever a header
says).  Formats: POSIX.1-2017 pax, and GNU's long names.
"""

import os
import stat

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import codec

_BLOCK = 512
_MAX_ENTRIES = 100_000
_MAX_EXTENDED = 1 << 20
_MAX_LINKS = 8


class NotAnArchive(RlError):
    """{name} is not an image archive: {why}"""

    hint = "rl load takes docker-archive, oci-archive, OCI directories; rl import any tarball"


class BadArchive(RlError):
    """the archive {name} is damaged or hostile: {why}"""


class Bundle:
    """Files by name.  ``name`` is what errors call the whole; a context that closes it."""

    def __init__(self, name):
        self.name = name

    def read(self, path, limit):
        """A small file as bytes. BadArchive if it isn't there or has more than ``limit``."""
        descriptor, offset, size = self.open(path)
        try:
            if size > limit:
                raise self.bad(f"{path} has more than {limit >> 20} MiB")
            data = os.pread(descriptor, size, offset)
        finally:
            self.release(descriptor)
        if len(data) != size:
            raise self.bad(f"{path} ends too early")
        return data

    def bad(self, why):
        """A BadArchive about this archive."""
        return BadArchive(name=self.name, why=why)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Directory(Bundle):
    """An OCI layout in a directory; links that lead out of it count as missing."""

    def __init__(self, path):
        super().__init__(path)
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def has(self, path):
        """Whether there is a regular file of that name."""
        try:
            self.release(self.open(path)[0])
        except BadArchive:
            return False
        return True

    def open(self, path):
        """(descriptor, offset of the first byte, size) of a file; ``release`` it later."""
        try:
            descriptor = files.open_beneath(self._root, path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise self.bad(f"{path}: {error.strerror}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise self.bad(f"{path} is not a regular file")
        return descriptor, 0, status.st_size

    def release(self, descriptor):
        os.close(descriptor)

    def close(self):
        os.close(self._root)


class Tar(Bundle):
    """The members of an uncompressed tar file that can be read at any offset.

    Takes over ``descriptor``.  Raises NotAnArchive, BadArchive.
    """

    def __init__(self, name, descriptor):
        super().__init__(name)
        self._file = descriptor
        self._size = os.fstat(descriptor).st_size
        try:
            self._members = self._index()
        except BaseException:
            os.close(descriptor)
            raise

    def has(self, path):
        """Whether there is a regular file (or a link to one) of that name."""
        try:
            self.open(path)
        except BadArchive:
            return False
        return True

    def open(self, path):
        """(descriptor, offset of the first byte, size) of a member."""
        for _ in range(_MAX_LINKS):
            found = self._members.get(path)
            if found is None:
                raise self.bad(f"{path} is missing")
            if not isinstance(found, str):
                return (self._file, *found)
            path = found
        raise self.bad(f"{path}: links in a circle")

    def release(self, descriptor):
        """The descriptor is the archive's own: it stays open."""

    def close(self):
        os.close(self._file)

    def _index(self):
        members, position, extended = {}, 0, {}
        count = 0
        while True:
            block = os.pread(self._file, _BLOCK, position)
            if not block.strip(b"\0"):
                return members  # the end; some writers leave the empty blocks out
            position += _BLOCK
            kind, name, size, link = self._header(block, position == _BLOCK)
            count += 1
            if count > _MAX_ENTRIES:
                raise self.bad(f"it has more than {_MAX_ENTRIES} members")
            if kind in (b"x", b"g", b"L", b"K"):
                extended.update(self._extended(kind, position, size))
                position += _round_up(size)
                continue
            name = extended.get("path", name)
            link = extended.get("linkpath", link)
            size = int(extended.get("size", size))
            extended = {}
            if not 0 <= size <= self._size - position and kind in (b"0", b"\0", b"7"):
                raise self.bad(f"{name!r} ends too early")
            self._add(members, kind, name, position, size, link)
            if kind in (b"0", b"\0", b"7"):
                position += _round_up(size)

    def _add(self, members, kind, name, position, size, link):
        """Note a member that can be of use; names that lead out can't be, nor can devices."""
        path, found = _clean(name), None
        if kind in (b"0", b"\0", b"7"):
            found = (position, size)
        elif path and kind == b"2":
            found = _clean(f"{path.rpartition('/')[0]}/{link}".lstrip("/"))
        elif kind == b"1":
            found = _clean(link)
        if path is None or found is None:
            return
        if members.get(path, found) != found:
            raise self.bad(f"it has {name!r} twice")
        members[path] = found

    def _header(self, block, first):
        wanted = _octal(block[148:156])
        if len(block) < _BLOCK or wanted is None:
            wanted = -1
        if sum(block) - sum(block[148:156]) + 8 * 32 != wanted:
            if first:
                raise NotAnArchive(name=self.name, why="it is not a tar file")
            raise self.bad("a header's checksum is wrong")
        size = _number(block[124:136])
        if size is None:
            raise self.bad("a header makes no sense")
        name = _text(block[:100])
        if block[257:263] == b"ustar\0" and block[345] != 0:
            name = f"{_text(block[345:500])}/{name}"
        return block[156:157], name, size, _text(block[157:257])

    def _extended(self, kind, position, size):
        """What an extended header says about the next member (pax "x", GNU "L" and "K")."""
        if not 0 <= size <= _MAX_EXTENDED:
            raise self.bad("an extended header is too large")
        data = os.pread(self._file, size, position)
        if kind == b"L":
            return {"path": _text(data)}
        if kind == b"K":
            return {"linkpath": _text(data)}
        if kind == b"g":
            return {}
        found = {}
        while data:
            length, space, _ = data.partition(b" ")
            if not space or not length.isdigit() or not len(length) < int(length) <= len(data):
                raise self.bad("an extended header makes no sense")
            record = data[len(length) + 1 : int(length)].rstrip(b"\n")
            data = data[int(length) :]
            key, _, value = record.partition(b"=")
            if key == b"size" and not value.isdigit():
                raise self.bad("an extended header makes no sense")
            found[key.decode("utf-8", "replace")] = _text(value)
        return {key: found[key] for key in ("path", "linkpath", "size") if key in found}


def _round_up(size):
    return -(-size // _BLOCK) * _BLOCK


def _text(data):
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _octal(data):
    digits = data.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        return None


def _number(data):
    if data[0] == 0x80:  # GNU: base 256 where octal digits don't suffice
        return int.from_bytes(data[1:], "big")
    return _octal(data)


def _clean(path):
    """A member's name without "." components; None if it is absolute or leads out."""
    if path.startswith("/"):
        return None
    parts = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or None


# --- opening -------------------------------------------------------------------------------


def open_bundle(store, path, descriptor=None):
    """The Bundle at ``path``, or in ``descriptor`` (which it takes over; ``path`` names it).

    What is compressed or can't be read at any offset (a pipe) is first written to the
    store's tmp/.  Raises OSError, NotAnArchive, BadArchive, codec.BadCompression.
    """
    if descriptor is None:
        if os.path.isdir(path):
            return Directory(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if plain and os.lseek(descriptor, 0, os.SEEK_CUR) == 0:
            head = os.pread(descriptor, codec.LONGEST_MAGIC, 0)
            if not codec.detect(head):
                return Tar(path, os.dup(descriptor))
        return Tar(path, _spool(store, descriptor))
    finally:
        os.close(descriptor)


def _spool(store, source):
    """A descriptor of a file without a name in tmp/ with what ``source`` holds, plain."""
    with store.tmp.make("spool") as work:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open("data", flags, 0o600, dir_fd=work.descriptor)
        try:
            head = b""
            while len(head) < codec.LONGEST_MAGIC and (piece := os.read(source, 1 << 18)):
                head += piece
            read = _Prefixed(head, source)
            for piece in codec.plain(codec.detect(head), read):
                files.write_all(target, piece)
        except BaseException:
            os.close(target)
            raise
    return target


class _Prefixed:
    """A read function over a descriptor that gives ``head`` first."""

    def __init__(self, head, source):
        self.head = head
        self.source = source

    def __call__(self, size):
        if self.head:
            taken, self.head = self.head[:size], self.head[size:]
            return taken
        return os.read(self.source, size)
