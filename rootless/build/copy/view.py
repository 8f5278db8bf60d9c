"""Trees that files are copied from and to, looked at one way: a directory, or layers.

A view has ``root()``, ``child(place, name)``, ``children(place)``, ``readlink(place)``,
``owner(place)``, ``xattrs(place, descriptor)``.  A Place is one thing in it.  Everything is
by descriptor and follows no link; ``resolve`` follows links inside the view.
"""

import errno
import os

from rootless.build.copy.errors import TooManyLinks, Unreadable
from rootless.kernel import files
from rootless.store import changes, export, merged, names

IFMT, IFDIR, IFREG, IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
IFIFO, IFSOCK, IFCHR, IFBLK = 0o010000, 0o140000, 0o020000, 0o060000
_MOST_LINKS = 40
# What one sees whose file was removed or replaced between two looks.
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Place:
    """One thing in a view: ``path`` (bytes, relative), ``status`` (lstat), ``kind``.

    ``descriptor`` is of the tree that has it; ``levels`` are those that a merged directory
    is made of, topmost first.
    """

    __slots__ = ("path", "status", "kind", "descriptor", "levels")

    def __init__(self, path, status, descriptor, levels=()):
        self.path = path
        self.status = status
        self.kind = status.st_mode & IFMT
        self.descriptor = descriptor
        self.levels = levels

    @property
    def is_directory(self):
        return self.kind == IFDIR


class Directory:
    """The view of a directory: ``descriptor`` of its top, ``ignore`` (Patterns) or None.

    What is ignored isn't there; a directory that is, and may hold something that isn't, is.
    """

    what = "the build context"
    owned = False

    def __init__(self, descriptor, ignore=None, what=None):
        self.descriptor = descriptor
        self.ignore = ignore
        if what:
            self.what = what

    def root(self):
        return Place(b"", os.fstat(self.descriptor), self.descriptor)

    def hidden(self, path, is_directory):
        """Whether ``path`` (bytes) is left out, with all below it."""
        if self.ignore is None:
            return False
        text = os.fsdecode(path)
        if not self.ignore.ignored(text, is_directory):
            return False
        return not (is_directory and self.ignore.may_contain(text))

    def left_out(self, place):
        """Whether a directory is there only for what may be below it."""
        return (
            self.ignore is not None
            and place.path != b""
            and self.ignore.ignored(os.fsdecode(place.path), place.is_directory)
        )

    def child(self, place, name):
        path = merged.join(place.path, name)
        holder = self._open(place)
        try:
            status = os.lstat(name, dir_fd=holder)
        except OSError as error:
            if error.errno not in (*GONE, errno.ENAMETOOLONG):
                raise self._unreadable(path, error) from None
            return None
        finally:
            os.close(holder)
        found = Place(path, status, self.descriptor)
        return None if self.hidden(path, found.is_directory) else found

    def _open(self, place):
        try:
            return files.open_beneath(self.descriptor, place.path)
        except OSError as error:
            raise self._unreadable(place.path, error) from None

    def _unreadable(self, path, error):
        return Unreadable(os.fsdecode(path) or ".", self.what, error.strerror)

    def children(self, place):
        """The Places in a directory, by name: a sorted list of (name, Place)."""
        found, top, path = [], self.descriptor, place.path
        before = path + b"/" if path else b""
        holder = self._open(place)
        try:
            with os.scandir(holder) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    below = Place(before + name, status, top)
                    if self.ignore is None or not self.hidden(below.path, below.is_directory):
                        found.append((name, below))
        except OSError as error:
            raise self._unreadable(path, error) from None
        finally:
            os.close(holder)
        found.sort(key=lambda pair: pair[0])
        return found

    def readlink(self, place):
        return readlink(place)

    def owner(self, place):
        return 0, 0

    def xattrs(self, place, descriptor):
        """{name: value}: of the attributes only those that don't speak of ids."""
        found = changes.xattrs(descriptor)
        return {key: value for key, value in found.items() if not key.startswith("system.")}

    def devices(self):
        return {}

    def close(self):
        """The descriptor belongs to the source."""


class Stack:
    """The view of layers: their merged tree, with whiteouts and noted owners seen."""

    owned = True
    ignore = None

    def __init__(self, paths, what="the image"):
        self.what = what
        self.merged = merged.stack(paths)
        self.levels = self.merged.levels
        self._listed = {}

    def root(self):
        if not self.levels:
            return Place(b"", _EMPTY_ROOT, -1)
        top = self.levels[0].descriptor
        return Place(b"", os.fstat(top), top, self.levels)

    def left_out(self, place):
        return False

    def child(self, place, name):
        # The way to one file passes the same few directories again and again.
        if place.path not in self._listed:
            self._listed[place.path] = dict(self.children(place))
        return self._listed[place.path].get(name)

    def children(self, place):
        listed = self.merged.list(place.path, place.levels) if place.levels else {}
        before = place.path + b"/" if place.path else b""
        return sorted(
            (name, Place(before + name, status, levels[0].descriptor, levels))
            for name, (status, levels) in listed.items()
        )

    def readlink(self, place):
        return readlink(place)

    def owner(self, place):
        noted = place.levels[0].owners.get(names.text(place.path)) if place.levels else None
        if noted:
            return tuple(noted)
        return place.status.st_uid, place.status.st_gid

    def xattrs(self, place, descriptor):
        found = changes.xattrs(descriptor)
        noted = place.levels[0].xattrs.get(names.text(place.path)) if place.levels else None
        for key, value in (noted or {}).items():
            found[key] = bytes.fromhex(value)
        return found

    def devices(self):
        """{path: facts} of the device nodes that only indexes have."""
        return export.devices_of(self.merged)

    def close(self):
        """Close the trees."""
        self.merged.close()


_EMPTY_ROOT = os.stat_result((0o040755, 0, 0, 2, 0, 0, 0, 0, 0, 0))


def readlink(place):
    """What the symbolic link says (bytes)."""
    parent, _, name = place.path.rpartition(b"/")
    holder = files.open_beneath(place.descriptor, parent, files.O_PATH | os.O_DIRECTORY)
    try:
        return os.fsencode(os.readlink(name, dir_fd=holder))
    finally:
        os.close(holder)


def walk(view, path, follow=True):
    """The Places from the root of the view to ``path``, links followed inside it.

    None if it isn't there.  ``..`` stays inside.  With ``follow`` off the last part of the
    path may be a link.
    """
    found, links = [view.root()], 0
    parts = path.split(b"/")[::-1]
    while parts:
        part = parts.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if len(found) > 1:
                found.pop()
            continue
        if not found[-1].is_directory:
            return None
        place = view.child(found[-1], part)
        if place is None:
            return None
        if place.kind == IFLNK and (follow or any(parts)):
            links += 1
            if links > _MOST_LINKS:
                raise TooManyLinks(os.fsdecode(path))
            target = view.readlink(place)
            if target.startswith(b"/"):
                del found[1:]
            parts.extend(target.split(b"/")[::-1])
            continue
        found.append(place)
    return found


def resolve(view, path, follow=True):
    """The Place at ``path``; None if there is none."""
    found = walk(view, path, follow)
    return found[-1] if found else None
