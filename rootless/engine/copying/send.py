"""The end of a copy that reads: files into a tar stream.

It may run inside a container, whose programs may change everything meanwhile: all files are
opened by descriptor and through no link, and what vanishes is left out.
"""

import os

from rootless.engine.copying.places import NoSource, Place, base
from rootless.kernel import files
from rootless.store import changes, merged
from rootless.store.export import Members
from rootless.store.tarwrite import TarWriter

_IFMT, _IFDIR, _IFREG, _IFLNK, _IFIFO = 0o170000, 0o040000, 0o100000, 0o120000, 0o010000
_KINDS = (_IFDIR, _IFREG, _IFLNK, _IFIFO)
# Windows into the kernel: nothing in them is a file to be copied with a directory.
_WINDOWS = ("proc", "sysfs", "27e0eb", "63677270", "1cd1", "64626720", "74726163", "cafe4a11",
            "19800202", "73636673")  # fmt: skip
_MOST_UNSIZED = 16 << 20


def send(root, output, path, confined, owner=None):
    """Write ``path`` as a tar to the descriptor ``output``.

    ``path``: from "/", whose directory is ``root``.  A directory comes as NAME/ and all
    that is in it, as ./ if only its content was asked for; anything else as NAME.
    ``owner``: the function (uid, gid) on disk → the container's.  Returns how many entries
    can't be copied: sockets and device nodes.
    """
    place = Place(root, confined)
    name, contents = base(path)
    try:
        found = place.open(path)
    except OSError as error:
        hint = None if confined else "it is looked for here; a container's is written NAME:PATH"
        raise NoSource(path, error.strerror, hint=hint) from None
    writer = TarWriter(lambda data: files.write_all(output, data))
    members = None
    try:
        kind = os.fstat(found).st_mode & _IFMT
        if kind == _IFDIR:
            top = os.open(".", files.DIRECTORY, dir_fd=found)
            members = _Directory(writer, top, owner)
            members.prefix = b"./" if contents else os.fsencode(name) + b"/"
            members.walk()
        elif kind in (_IFREG, _IFIFO):
            holder, real = place.final(path)
            members = _File(writer, holder, owner)
            members.name = os.fsencode(name)
            members.add(os.fsencode(real))
        else:
            raise NoSource(path, "it is a device or a socket")
    except PermissionError as error:
        where = os.fsdecode(error.filename) if error.filename else path
        raise NoSource(path, f"{where}: {error.strerror}") from None
    finally:
        os.close(found)
        if members is not None:
            os.close(members.root)
    members.finish()
    return members.left_out


class _Sender(Members):
    def __init__(self, writer, root, owner):
        super().__init__(writer, root, owner)
        self.live = True
        self.left_out = 0

    def regular(self, shown, name, holder, common):
        """As Members.regular; files of /proc don't say how long they are."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=holder)
        try:
            status = os.fstat(file)
            if status.st_mode & _IFMT != _IFREG:
                raise FileNotFoundError(2, "it was replaced while it was read", name)
            attributes = changes.xattrs(file)
            if status.st_size:
                self.writer.header(shown, b"0", size=status.st_size, xattrs=attributes, **common)
                self.writer.content(file, status.st_size, pad=True)
                return
            data = b""
            while len(data) < _MOST_UNSIZED and (piece := os.read(file, 1 << 16)):
                data += piece
            self.writer.header(shown, b"0", size=len(data), xattrs=attributes, **common)
            self.writer.data(data)
        finally:
            os.close(file)


class _File(_Sender):
    def shown(self, path):
        return self.name


class _Directory(_Sender):
    def walk(self):
        """The directory itself, then everything in it, sorted."""
        status = os.fstat(self.root)
        self.writer.header(
            self.prefix, b"5", mode=status.st_mode & 0o7777, mtime=int(status.st_mtime),
            **dict(zip(("uid", "gid"), self._owner_of(b"", status), strict=True)),
        )
        waiting = [(b"", status.st_dev)]
        while waiting:
            path, device = waiting.pop()
            if not path or self.add(path):
                waiting.extend(reversed(self._entries(path, device)))

    def _entries(self, path, device):
        """Add what is in the directory ``path``; its subdirectories, to be walked later."""
        try:
            descriptor = files.open_beneath(self.root, path)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if error.errno != 40:  # ELOOP: it was replaced by a link
                raise
            return []
        directories = []
        try:
            here = os.fstat(descriptor).st_dev
            if path and here != device and files.filesystem(descriptor) in _WINDOWS:
                return []
            for name, status in sorted(merged.scan(descriptor).items()):
                below = merged.join(path, name)
                kind = status.st_mode & _IFMT
                if kind == _IFDIR:
                    directories.append((below, here))
                elif kind in _KINDS:
                    self.add(below)
                else:
                    self.left_out += 1
        finally:
            os.close(descriptor)
        return directories
