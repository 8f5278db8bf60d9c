"""Where the files go: the entries of the new layer, over what the image has already.

Destinations follow the image's links, inside the image.  Rules: docs.docker.com/reference/
dockerfile#copy; where it is silent, what BuildKit does.
"""

import os

from rootless.build.copy import view
from rootless.build.copy.errors import InTheWay, NoDirectory, NoName, TooManyLinks
from rootless.build.copy.select import check_name
from rootless.store import merged

NEW, IMPLIED, FILE, DATA, DEVICE = "new", "implied", "file", "data", "device"
_MOST_LINKS = 40


class Entry:
    """One path of the layer.

    ``source``: NEW (a directory that is made), IMPLIED (a directory of the image, told again
    because something is put below it), FILE (an Item), DATA (a heredoc, a download), DEVICE.
    """

    __slots__ = ("source", "kind", "place", "view", "item", "mode", "owner", "mtime", "data")

    def __init__(self, source, kind, view=None, place=None, item=None, mode=0o755,
                 owner=None, mtime=None, data=None):  # fmt: skip
        self.source = source
        self.kind = kind
        self.view = view
        self.place = place
        self.item = item
        self.mode = mode
        self.owner = owner
        self.mtime = mtime
        self.data = data


class Layout:
    """``base``: the view of the image, None for a layer that doesn't know what is below.

    ``owner``: (uid, gid) of all that is made, None for the source's own, 0:0 for what has no
    source; ``mode``: function (mode, is_directory) → mode for what is copied, or None;
    ``created``: nanoseconds, the time of what has none.
    """

    def __init__(self, base, owner=None, mode=None, created=0):
        self.base = base
        self.owner = owner
        self.mode = mode
        self.created = created
        self.entries = {}
        self._places = {}

    # --- looking ---

    def _place(self, path):
        """What the image has at ``path``, no link followed; None if nothing."""
        if self.base is None:
            return None
        if path not in self._places:
            if not path:
                self._places[path] = self.base.root()
            else:
                parent, _, name = path.rpartition(b"/")
                above = self._place(parent)
                found = above is not None and above.is_directory
                self._places[path] = self.base.child(above, name) if found else None
        return self._places[path]

    def look(self, path):
        """(kind, Entry or None, Place or None) of ``path``; None if nothing is there."""
        if not path:
            return view.IFDIR, None, None
        entry = self.entries.get(path)
        if entry is not None:
            return entry.kind, entry, None
        place = self._place(path)
        return None if place is None else (place.kind, None, place)

    def is_directory(self, path):
        found = self.look(path)
        return found is not None and found[0] == view.IFDIR

    def _target(self, found):
        _, entry, place = found
        if entry is not None:
            return entry.view.readlink(entry.place)
        return self.base.readlink(place)

    def follow(self, path):
        """The real path for ``path``, whether it exists or not."""
        real, links = [], 0
        parts = path.split(b"/")[::-1]
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del real[-1:]
                continue
            found = self.look(b"/".join((*real, part)))
            if found is None or found[0] != view.IFLNK:
                real.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise TooManyLinks(os.fsdecode(path))
            target = self._target(found)
            if target.startswith(b"/"):
                real.clear()
            parts.extend(target.split(b"/")[::-1])
        return b"/".join(real)

    # --- placing ---

    def directory(self, path, mtime=None):
        """Make sure that the real ``path`` is a directory of the layer, with all above it."""
        if not path:
            return
        found = self.look(path)
        if found is not None and found[1] is not None and found[0] == view.IFDIR:
            return
        self.directory(path.rpartition(b"/")[0])
        if found is None:
            check_name(path)
            self.entries[path] = Entry(
                NEW, view.IFDIR, owner=self.owner or (0, 0),
                mtime=self.created if mtime is None else mtime,
            )  # fmt: skip
        elif found[0] == view.IFDIR:
            self._imply(path, found[2])
        else:
            raise InTheWay("/" + os.fsdecode(path), "it is not a directory in the image")

    def _imply(self, path, place):
        self.entries[path] = Entry(
            IMPLIED, view.IFDIR, self.base, place, mode=place.status.st_mode & 0o7777,
            owner=self.base.owner(place), mtime=place.status.st_mtime_ns,
        )  # fmt: skip

    def target(self, dest, base, into):
        """The real path that a file called ``base`` gets.

        ``into`` says that ``dest`` was written with a slash at its end.
        """
        path = self.follow(dest)
        if into or self.is_directory(path):
            if base in (b"", b".", b"..") or b"/" in base:
                raise NoName(os.fsdecode(dest).rstrip("/") + "/")
            path = merged.join(path, base)
        self.directory(path.rpartition(b"/")[0])
        return path

    def _free(self, path):
        """Check that a file can be put at ``path``: what isn't a directory is replaced."""
        check_name(path)
        if self.is_directory(path):
            raise InTheWay("/" + os.fsdecode(path), "a directory is there")

    def data(self, dest, into, name, mode, mtime, data):
        """A file that no tree has: ``data`` is bytes or a sources.Download."""
        path = self.target(dest, name, into)
        self._free(path)
        self.entries[path] = Entry(
            DATA, view.IFREG, mode=self.mode(mode, False) if self.mode else mode,
            owner=self.owner or (0, 0), mtime=self.created if mtime is None else mtime, data=data,
        )  # fmt: skip

    def selection(self, selection, dest, into):
        """The files of a Selection, by the rules of COPY."""
        top = selection.items[0]
        if selection.remade:
            self._parents(selection, dest)
        elif not selection.is_directory:
            self._file(self.target(dest, selection.base, into), selection, top)
        else:
            path = self.follow(dest)
            self.directory(path, top.place.status.st_mtime_ns)
            self._contents(path, selection)

    def _parents(self, selection, dest):
        """--parents: the destination is a directory, the path below it is made anew."""
        root = self.follow(dest)
        self.directory(root)
        for name, place in selection.above:
            path = merged.join(root, name)
            if not self.is_directory(path):
                self._directory(path, selection, place, None)
            else:
                self.directory(path)
        path = merged.join(root, selection.base)
        top = selection.items[0]
        if selection.is_directory:
            self._directory(path, selection, top.place, top)
            self._contents(path, selection)
        else:
            self._file(path, selection, top)

    def _contents(self, path, selection):
        before = path + b"/" if path else b""
        for item in selection.items[1:]:
            if item.place.kind == view.IFDIR:
                self._directory(before + item.name, selection, item.place, item)
            else:
                self._file(before + item.name, selection, item)
        for name, facts in selection.devices.items():
            self._free(before + name)
            self.entries[before + name] = Entry(DEVICE, view.IFCHR, data=self._device(facts))

    def _device(self, facts):
        kind, mode, uid, gid, major, minor, mtime = facts
        if self.owner:
            uid, gid = self.owner
        return [kind, self.mode(mode, False) if self.mode else mode, uid, gid, major, minor, mtime]

    def archive(self, selection, implied, dest):
        """What an archive held: extracted over the destination, which is a directory.

        ``implied``: names of directories that the archive has no entry for; where there are
        such they stay as they are.
        """
        root = self.follow(dest)
        self.directory(root)
        before = root + b"/" if root else b""
        moved = {b"": root}
        for item in selection.items[1:]:
            parent, _, name = item.name.rpartition(b"/")
            path = merged.join(moved[parent], name)
            if item.place.is_directory:
                # As tar does: a link to a directory is one.
                path = self.follow(path)
                moved[item.name] = path
                if item.name in implied:
                    self.directory(path)
                    continue
                self._directory(path, selection, item.place, item)
            else:
                self._file(path, selection, item)
        for name, facts in selection.devices.items():
            self._free(before + name)
            self.entries[before + name] = Entry(DEVICE, view.IFCHR, data=self._device(facts))

    def _owned(self, selection, place):
        return self.owner or selection.view.owner(place)

    def _directory(self, path, selection, place, item):
        """A directory with what its source says, also where there is one already."""
        found = self.look(path)
        if found is None:
            check_name(path)
            self.directory(path.rpartition(b"/")[0])
        elif found[0] != view.IFDIR:
            raise InTheWay("/" + os.fsdecode(path), "it is not a directory, the source is one")
        elif not path:
            return
        else:
            self.directory(path.rpartition(b"/")[0])
        mode = place.status.st_mode & 0o7777
        self.entries[path] = Entry(
            FILE, view.IFDIR, selection.view, place, item,
            self.mode(mode, True) if self.mode else mode,
            self._owned(selection, place), place.status.st_mtime_ns,
        )  # fmt: skip

    def _file(self, path, selection, item):
        self._free(path)
        place = item.place
        mode = place.status.st_mode & 0o7777
        self.entries[path] = Entry(
            FILE, place.kind, selection.view, place, item,
            self.mode(mode, False) if self.mode else mode,
            self._owned(selection, place), place.status.st_mtime_ns,
        )  # fmt: skip


def one_file(selections, dest, into, layout):
    """NoDirectory if several files would be put into one place."""
    files = 0
    for one in selections:
        if not (getattr(one, "is_directory", False) or getattr(one, "remade", False)):
            files += 1
    if files > 1 and not into and not layout.is_directory(layout.follow(dest)):
        raise NoDirectory(os.fsdecode(dest))
