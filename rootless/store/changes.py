"""What a container changed, against its image: for diff, commit and export.

The kinds are podman's: "A" added, "C" changed, "D" deleted.  Runs in the user namespace;
upper layers are read from disk, a clone is compared with the merged layers.
"""

import os

from rootless.kernel import files, userns
from rootless.model import jsontext
from rootless.store import merged, names

_IFMT, _IFDIR, _IFREG, _IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
_PIECE = 1 << 20


def list_changes(store, driver, container_dir, layer_paths):
    """See Overlay.changes: a sorted list of (path, kind), paths str from "/"."""
    found = userns.call_in(store.ids, find, driver.name, container_dir, list(layer_paths))
    return [("/" + names.text(path), kind) for path, kind in found]


def find(name, container_dir, layer_paths):
    """In the namespace: the sorted [(path, kind)] of a container, paths bytes, relative.

    ``name`` is the driver's.  Parents of changes are there too, always before them.
    """
    stacked = merged.stack(layer_paths)
    home = os.open(container_dir, files.DIRECTORY)
    try:
        try:
            os.stat("rootfs" if name == "clone" else "upper", dir_fd=home)
        except FileNotFoundError:
            found = {}  # never started: it has no writable layer yet
        else:
            found = _Comparison(home, stacked).run() if name == "clone" else _upper(home, stacked)
    finally:
        os.close(home)
        stacked.close()
    return ordered(found)


def ordered(found):
    """{path: kind} as a sorted list of pairs, with "C" for the parents of what changed."""
    for path in list(found):
        parent = path.rpartition(b"/")[0]
        while parent and parent not in found:
            found[parent] = "C"
            parent = parent.rpartition(b"/")[0]
    return sorted(found.items(), key=lambda item: item[0].split(b"/"))


# --- overlay, fuse-overlayfs ---------------------------------------------------------------


def _upper(home, stacked):
    level = merged.Level(os.open("upper", files.DIRECTORY, dir_fd=home))
    found = {}
    waiting = [(b"", stacked.levels)]
    try:
        while waiting:
            path, below = waiting.pop()
            listed = level.list(path)
            if listed is None:
                continue  # the container runs, and has just removed it
            lower = stacked.list(path, below) if below else {}
            _upper_directory(path, listed, lower, found, waiting)
    finally:
        os.close(level.descriptor)
    return found


def _upper_directory(path, listed, lower, found, waiting):
    entries, hidden, opaque = listed
    for name in lower if opaque else hidden:
        if name in lower and name not in entries:
            found[merged.join(path, name)] = "D"
    for name, status in entries.items():
        below = merged.join(path, name)
        known = lower.get(name)
        found[below] = "A" if known is None else "C"
        if status.st_mode & _IFMT == _IFDIR:
            was_directory = known is not None and known[0].st_mode & _IFMT == _IFDIR
            waiting.append((below, known[1] if was_directory else []))


# --- clone ---------------------------------------------------------------------------------


class _Comparison:
    """A clone against the layers it was made from.

    Whatever was last changed before the copy was complete is as it was copied; all else is
    compared, with its content.
    """

    def __init__(self, home, stacked):
        self.stacked = stacked
        self.root = os.open("rootfs", files.DIRECTORY, dir_fd=home)
        facts, self.since = clone_facts(home)
        self.owner = _owner(facts)
        self.found = {}

    def run(self):
        try:
            waiting = [(b"", self.stacked.levels)]
            while waiting:
                path, below = waiting.pop()
                self._directory(path, below, waiting)
            return self.found
        finally:
            os.close(self.root)

    def _directory(self, path, below, waiting):
        lower = self.stacked.list(path, below) if below else {}
        try:
            descriptor = files.open_beneath(self.root, path)
        except (FileNotFoundError, NotADirectoryError):
            return  # the container runs, and has just removed it
        try:
            here = merged.scan(descriptor)
            for name in lower:
                if name not in here:
                    self.found[merged.join(path, name)] = "D"
            for name, status in here.items():
                self._entry(path, name, status, lower.get(name), descriptor, waiting)
        finally:
            os.close(descriptor)

    def _entry(self, path, name, status, known, descriptor, waiting):
        below = merged.join(path, name)
        kind = status.st_mode & _IFMT
        try:
            if known is None:
                self.found[below] = "A"
            elif self._differs(path, name, status, known, descriptor):
                self.found[below] = "C"
        except FileNotFoundError:
            return  # removed or replaced between two looks
        if kind == _IFDIR:
            was_directory = known is not None and known[0].st_mode & _IFMT == _IFDIR
            waiting.append((below, known[1] if was_directory else []))

    def _differs(self, path, name, status, known, descriptor):
        if status.st_ctime_ns < self.since:
            return False
        old, levels = known
        uid, gid = old.st_uid, old.st_gid
        if self.owner is not None:
            uid, gid = self.owner(uid, gid)
        kind = status.st_mode & _IFMT
        if (status.st_mode, status.st_uid, status.st_gid) != (old.st_mode, uid, gid):
            return True
        if status.st_mtime_ns != old.st_mtime_ns and kind != _IFLNK:
            return True
        if kind == _IFDIR:
            return False
        origin = files.open_beneath(levels[0].descriptor, path)
        try:
            if kind == _IFLNK:
                return os.readlink(name, dir_fd=origin) != os.readlink(name, dir_fd=descriptor)
            if kind != _IFREG:
                return status.st_rdev != old.st_rdev
            return status.st_size != old.st_size or _content_differs(origin, descriptor, name)
        finally:
            os.close(origin)


def _content_differs(first, second, name):
    """Whether the two files called ``name`` differ in content or attributes."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    one = os.open(name, flags, dir_fd=first)
    try:
        two = os.open(name, flags, dir_fd=second)
        try:
            if xattrs(one) != xattrs(two):
                return True
            while True:
                piece = os.read(one, _PIECE)
                if piece != os.read(two, _PIECE):
                    return True
                if not piece:
                    return False
        finally:
            os.close(two)
    finally:
        os.close(one)


def xattrs(descriptor):
    """{name: value} of the attributes that belong into an image."""
    try:
        found = os.listxattr(descriptor)
    except OSError:
        return {}
    kept = {}
    for name in found:
        if names.keep_xattr(name):
            try:
                kept[name] = os.getxattr(descriptor, name)
            except OSError:
                continue
    return kept


def clone_facts(home):
    """(facts of the clone, change time in ns that parts copied from changed)."""
    try:
        facts = jsontext.loads(files.read_limited(home, "clone", 1 << 16))
        since = os.stat("clone", dir_fd=home).st_ctime_ns
    except (OSError, ValueError):
        return {}, 0  # without them everything is compared
    # Kernel time moves in steps of up to 10 ms.
    return facts if isinstance(facts, dict) else {}, since - 20_000_000


def _owner(facts):
    from rootless.store.drivers.clone import owner_function

    return owner_function(facts.get("shift_uids", ()), facts.get("shift_gids", ()))


def seen_owner(facts):
    """The reverse: the function (uid, gid) on disk → what the container sees; None: the same."""
    from rootless.store.drivers.clone import owner_function

    def reverse(pieces):
        return [(stored, container, count) for container, stored, count in pieces]

    return owner_function(
        reverse(facts.get("shift_uids", ())), reverse(facts.get("shift_gids", ()))
    )
