"""What differs between two trees of files, images or containers: for ``rl diff``.

Both are stacks of layers (store.merged); what comes from the same layer in both is the
same, all else is told apart by what lstat(2) says, as other engines do.
"""

import os

from rootless.kernel import files, userns
from rootless.store import changes, merged, names

_IFMT, _IFDIR, _IFREG, _IFLNK = 0o170000, 0o040000, 0o100000, 0o120000


def differences(store, new, old):
    """How ``new`` differs from ``old``: a sorted list of (path from "/", "A", "C" or "D").

    A side is a dict: ``layers``, paths of trees, bottom first; for a container also
    ``driver``, the name of its storage driver, and ``home``, its directory.
    """
    found = userns.call_in(store.ids, _differences, new, old)
    return [("/" + names.text(path), kind) for path, kind in found]


def _differences(new, old):
    new, old = _Side(new), _Side(old)
    try:
        return changes.ordered(_compare(new, old))
    finally:
        new.stack.close()
        old.stack.close()


class _Side:
    """One tree: ``stack`` (store.merged.Merged) and how its owners are to be read."""

    def __init__(self, facts):
        self.owner = None
        driver = facts.get("driver")
        self.stack = merged.stack(() if driver == "clone" else facts["layers"])
        if driver is not None:
            self._add_container(driver, facts["home"])
        self.places = {}
        for level in self.stack.levels:
            status = os.fstat(level.descriptor)
            self.places[level] = (status.st_dev, status.st_ino)

    def _add_container(self, driver, path):
        home = os.open(path, files.DIRECTORY)
        try:
            if driver == "clone":
                self.owner = changes.seen_owner(changes.clone_facts(home)[0])
            top = os.open("rootfs" if driver == "clone" else "upper", files.DIRECTORY,
                          dir_fd=home)
            self.stack.levels.insert(0, merged.Level(top))
        finally:
            os.close(home)

    def origin(self, levels):
        """What tells whether two entries come from the same files on disk."""
        return [self.places[level] for level in levels]

    def owner_of(self, path, status, levels):
        recorded = levels[0].owners.get(names.text(path))
        if recorded is not None:
            return tuple(recorded)
        if self.owner is not None:
            return self.owner(status.st_uid, status.st_gid)
        return status.st_uid, status.st_gid


def _compare(new, old):
    found = {}
    waiting = [(b"", new.stack.levels, old.stack.levels)]
    while waiting:
        path, new_levels, old_levels = waiting.pop()
        here = new.stack.list(path, new_levels)
        there = old.stack.list(path, old_levels) if old_levels else {}
        for name in there:
            if name not in here:
                found[merged.join(path, name)] = "D"
        for name, (status, levels) in here.items():
            below = merged.join(path, name)
            known = there.get(name)
            if known is None:
                found[below] = "A"
            elif new.origin(levels) == old.origin(known[1]):
                continue
            elif _differs(below, new, old, (status, levels), known):
                found[below] = "C"
            if _is_directory(status):
                was = known is not None and _is_directory(known[0])
                waiting.append((below, levels, known[1] if was else []))
    return found


def _is_directory(status):
    return status.st_mode & _IFMT == _IFDIR


def _differs(path, new, old, here, there):
    (one, one_levels), (two, two_levels) = here, there
    if one.st_mode != two.st_mode or one.st_rdev != two.st_rdev:
        return True
    if new.owner_of(path, one, one_levels) != old.owner_of(path, two, two_levels):
        return True
    kind = one.st_mode & _IFMT
    if kind in (_IFREG, _IFLNK) and one.st_size != two.st_size:
        return True
    # Archives made by some engines have whole seconds only.
    return kind != _IFLNK and one.st_mtime_ns // 1_000_000_000 != two.st_mtime_ns // 1_000_000_000
