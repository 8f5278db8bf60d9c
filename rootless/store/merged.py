"""The tree that stacked layers make together, read without mounting anything.

What hides what comes from the layers' indexes, so file systems without attributes or
device nodes do as well; marks on disk count too (a container's upper layer has no index).
Runs inside the user namespace: only its root may read every directory.
"""

import os

from rootless.kernel import files
from rootless.store import layers, names, records

_IFMT, _IFDIR, _IFCHR = 0o170000, 0o040000, 0o020000


class Level:
    """One layer of the stack: ``descriptor`` of its tree, and what it hides below."""

    def __init__(self, descriptor, index=None):
        self.descriptor = descriptor
        index = index or {}
        self.opaques = {names.raw(path) for path in index.get("opaques", ())}
        self.owners = index.get("owners", {})
        self.devices = index.get("devices", {})
        self.xattrs = index.get("xattrs", {})
        self.hidden = {}
        for text in index.get("whiteouts", ()):
            parent, _, name = names.raw(text).rpartition(b"/")
            self.hidden.setdefault(parent, set()).add(name)

    def list(self, path):
        """(entries {name: (kind, status)}, hidden names, opaque) of a directory here.

        None if this layer has no such directory.  ``kind`` is the type of st_mode.
        """
        try:
            descriptor = files.open_beneath(self.descriptor, path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno != 40:  # ELOOP: a link here, a directory in another layer
                raise
            return None
        try:
            return self._list(descriptor, path)
        finally:
            os.close(descriptor)

    def _list(self, descriptor, path):
        found, hidden = {}, set(self.hidden.get(path, ()))
        opaque = path in self.opaques or _marked_opaque(descriptor)
        for name, status in scan(descriptor).items():
            if name.startswith(names.WHITEOUT):
                if name == names.OPAQUE:
                    opaque = True
                elif not name.startswith(names.META):
                    hidden.add(name[len(names.WHITEOUT) :])
            elif status.st_mode & _IFMT == _IFCHR and status.st_rdev == 0:
                hidden.add(name)
            else:
                found[name] = status
        return found, hidden, opaque


def scan(descriptor):
    """{name (bytes): lstat result} of a directory; what vanishes meanwhile is left out."""
    found = {}
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                found[os.fsencode(entry.name)] = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                pass
    return found


def _marked_opaque(descriptor):
    for name in names.OPAQUE_XATTRS:
        try:
            if os.getxattr(descriptor, name) == b"y":
                return True
        except OSError:
            pass
    return False


class Merged:
    """A stack of Levels, topmost first."""

    def __init__(self, levels):
        self.levels = levels

    def list(self, path, stack=None):
        """{name: (status, levels)} of the merged directory ``path``.

        ``stack``: the levels to look at, topmost first; by default all.  In the result
        ``levels`` are those that may have a part of a directory (pass them on as ``stack``),
        or just the one that has the file.
        """
        found, closed = {}, set()
        for level in self.levels if stack is None else stack:
            listed = level.list(path)
            if listed is None:
                continue
            entries, hidden, opaque = listed
            for name, status in entries.items():
                if name in closed:
                    continue
                is_directory = status.st_mode & _IFMT == _IFDIR
                known = found.get(name)
                if known is None:
                    found[name] = (status, [level])
                elif is_directory:
                    known[1].append(level)
                if not is_directory:
                    closed.add(name)
            closed |= hidden
            if opaque:
                break
        return found

    def walk(self):
        """Every merged directory as (path, {name: (status, levels)}), parents first."""
        waiting = [(b"", None)]
        while waiting:
            path, stack = waiting.pop()
            listed = self.list(path, stack)
            yield path, listed
            for name, (status, levels) in listed.items():
                if status.st_mode & _IFMT == _IFDIR:
                    waiting.append((join(path, name), levels))

    def close(self):
        """Close the trees."""
        for level in self.levels:
            os.close(level.descriptor)


def join(path, name):
    """``name`` below ``path`` (bytes; b"" is the root)."""
    return path + b"/" + name if path else name


def stack(layer_paths):
    """The Merged of layers given bottom first by the paths of their trees."""
    levels = []
    for path in reversed(layer_paths):
        try:
            index = layers.read_index(os.path.dirname(path), path)
        except records.DamagedRecord:
            index = None  # damaged: what is marked on disk still counts
        levels.append(Level(os.open(path, files.DIRECTORY), index))
    return Merged(levels)
