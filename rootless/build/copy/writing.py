"""The entries of a Layout into a layer, or just through a hash."""

import errno
import hashlib
import os

from rootless.build.copy import layout, view
from rootless.build.copy.errors import SourceChanged, Unreadable
from rootless.kernel import files

_PIECE = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PARENT = files.O_PATH | os.O_DIRECTORY
# A new hash object.  A copy: making one takes locks of OpenSSL's, which another thread may
# have held when this process was forked.
sha256 = hashlib.sha256().copy


def digest_of(data):
    """The SHA-256 (bytes) of bytes."""
    hasher = sha256()
    hasher.update(data)
    return hasher.digest()


class Opener:
    """Opens the files of Places; remembers the directory, as neighbours follow each other."""

    def __init__(self):
        self._key = None
        self._holder = -1

    def open(self, place, flags=_READ):
        """A descriptor; OSError."""
        parent, _, name = place.path.rpartition(b"/")
        key = (place.descriptor, parent)
        if key != self._key:
            self.close()
            self._holder = files.open_beneath(place.descriptor, parent, _PARENT)
            self._key = key
        return os.open(name or b".", flags, dir_fd=self._holder)

    def regular(self, opened, place):
        """(descriptor, fstat) of an ordinary file that is still the one that was selected."""
        try:
            descriptor = self.open(place)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise Unreadable(os.fsdecode(place.path), opened.what, error.strerror) from None
            if error.errno in (*view.GONE, errno.ENXIO):
                raise SourceChanged(os.fsdecode(place.path), opened.what) from None
            raise
        status = os.fstat(descriptor)
        if status.st_mode & view.IFMT != view.IFREG or status.st_ino != place.status.st_ino:
            os.close(descriptor)
            raise SourceChanged(os.fsdecode(place.path), opened.what)
        return descriptor, status

    def close(self):
        if self._holder != -1:
            os.close(self._holder)
            self._holder = -1
            self._key = None


def attributes(xattrs):
    """Extended attributes as bytes that say them."""
    return b"".join(
        b"%b=%d:%b " % (os.fsencode(name), len(xattrs[name]), xattrs[name])
        for name in sorted(xattrs)
    )


def whole(descriptor, size):
    """The content of a small file: bytes, None if it has another size by now."""
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    return None


class Writer:
    """Writes entries through a store.compose.Composer."""

    def __init__(self, composer):
        self.composer = composer
        self.opener = Opener()
        self.links = {}

    def write(self, entries):
        """All ``entries`` ({path: Entry}), sorted."""
        for path in sorted(entries, key=lambda path: path.replace(b"/", b"\0")):
            self._entry(path, entries[path])
        self.opener.close()

    def _entry(self, path, entry):
        if entry.source == layout.NEW:
            self.composer.directory(path, entry.mode, *entry.owner, entry.mtime)
        elif entry.source == layout.DEVICE:
            self.composer.device(path, entry.data)
        elif entry.source == layout.DATA:
            self._data(path, entry)
        elif entry.kind == view.IFREG:
            self._regular(path, entry)
        elif entry.kind == view.IFDIR:
            self._directory(path, entry)
        elif entry.kind == view.IFLNK:
            target = entry.view.readlink(entry.place)
            self.composer.symlink(path, target, *entry.owner, entry.mtime)
        else:
            self.composer.fifo(path, entry.mode, *entry.owner, entry.mtime)

    def _data(self, path, entry):
        common = (path, entry.mode, *entry.owner, entry.mtime)
        if isinstance(entry.data, bytes):
            self.composer.data(*common, entry.data)
        else:
            size, pieces = entry.data.read()
            self.composer.stream(*common, size, pieces)

    def _directory(self, path, entry):
        place = entry.place
        descriptor = files.open_beneath(place.descriptor, place.path)
        try:
            xattrs = entry.view.xattrs(place, descriptor)
        finally:
            os.close(descriptor)
        if entry.item is not None:
            entry.item.digest = attributes(xattrs)
        self.composer.directory(path, entry.mode, *entry.owner, entry.mtime, xattrs)

    def _regular(self, path, entry):
        place = entry.place
        descriptor, status = self.opener.regular(entry.view, place)
        try:
            common = (path, entry.mode, *entry.owner, entry.mtime)
            if status.st_nlink > 1:
                key = (status.st_dev, status.st_ino, entry.mode, entry.owner)
                first = self.links.setdefault(key, (path, entry.item))
                if first[0] != path:
                    if entry.item is not None:
                        entry.item.digest = first[1].digest
                    self.composer.link(path, first[0], *common[1:])
                    return
            xattrs = entry.view.xattrs(place, descriptor)
            size = status.st_size
            if size <= _PIECE:
                data = whole(descriptor, size)
                if data is None:
                    raise SourceChanged(os.fsdecode(place.path), entry.view.what)
                entry.item.digest = digest_of(data) + attributes(xattrs)
                self.composer.data(*common, data, xattrs)
            else:
                self._large(common, entry, descriptor, status, xattrs)
        finally:
            os.close(descriptor)

    def _large(self, common, entry, descriptor, status, xattrs):
        hasher = sha256()
        size = status.st_size

        def pieces(part):
            at, left = part
            while left:
                piece = os.pread(descriptor, min(left, _PIECE), at)
                if not piece:
                    raise SourceChanged(os.fsdecode(entry.place.path), entry.view.what)
                at, left = at + len(piece), left - len(piece)
                yield piece

        if status.st_blocks * 512 < size:
            parts = data_parts(descriptor, size)
            self.composer.stream(*common, size, pieces, xattrs, hasher.update, parts)
        else:
            self.composer.stream(*common, size, pieces((0, size)), xattrs, hasher.update)
        after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (size, status.st_mtime_ns):
            raise SourceChanged(os.fsdecode(entry.place.path), entry.view.what)
        entry.item.digest = hasher.digest() + attributes(xattrs)


def data_parts(descriptor, size):
    """The (offset, size) pairs of a sparse file's data."""
    found, at = [], 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            return [(at, size - at), *[]] if not found else [*found, (at, size - at)]
        start, end = min(start, size), min(end, size)
        if end > start:
            found.append((start, end - start))
        at = max(end, at + 1)
    return found
