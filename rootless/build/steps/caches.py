"""The directories of RUN --mount=type=cache, which outlive their build.

    build-cache/mounts/HEX/    HEX: the digest of the cache's id
        data/    what steps see
        id       that id, for people
        fresh    there until the first step has filled data/ and given it its owner
        lock     flock(2): shared by steps that share it, exclusive for one that has it alone

The lock lives as long as the step, however that ends, so whoever prunes takes only caches
that nobody uses.
"""

import hashlib
import os

from rootless.kernel import files
from rootless.store import removal
from rootless.store.cache import HOME

PLACE = f"{HOME}/mounts"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Taken:
    """A cache in use: ``path`` of its data, ``fresh`` (path of that mark, or None), ``lock``."""

    def __init__(self, path, fresh, lock):
        self.path = path
        self.fresh = fresh
        self.lock = lock


def take(store, name, sharing="shared"):
    """The Taken of the cache with the id ``name``; the caller closes its ``lock``.

    "shared": beside others; "locked": waits until nobody else has it; "private": another
    one if somebody has it.
    """
    home = _home(store)
    number = 0
    try:
        while True:
            text = f"{name}\0{number}" if number else name
            found = _enter(home, text, sharing)
            if found is not None:
                lock, fresh = found
                path = f"{store.path(PLACE)}/{_hex(text)}"
                return Taken(f"{path}/data", f"{path}/fresh" if fresh else None, lock)
            number += sharing == "private"
    finally:
        os.close(home)


def _home(store):
    path = store.path(PLACE)
    os.makedirs(path, 0o700, exist_ok=True)
    return os.open(path, files.DIRECTORY)


def _hex(text):
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _enter(home, text, sharing):
    """(lock, whether it is fresh); None if somebody has it or it was pruned just now."""
    try:
        os.mkdir(_hex(text), 0o700, dir_fd=home)
    except FileExistsError:
        pass
    try:
        inside = os.open(_hex(text), files.DIRECTORY, dir_fd=home)
        lock = os.open("lock", _FLAGS, 0o600, dir_fd=inside)
    except FileNotFoundError:
        return None
    try:
        if not files.lock(lock, exclusive=sharing != "shared", wait=sharing != "private"):
            return _let_go(lock)
        fresh = _is_fresh(inside)
        if fresh and sharing == "shared":
            # Whoever comes first makes it ready: alone, until the end of the step.
            files.lock(lock)
            fresh = _is_fresh(inside)
            if not fresh:
                files.lock(lock, exclusive=False)
        if not os.fstat(lock).st_nlink:
            return _let_go(lock)
        if fresh:
            _prepare(inside, text)
        os.utime(inside)
        return lock, fresh
    except BaseException:
        os.close(lock)
        raise
    finally:
        os.close(inside)


def _let_go(lock):
    os.close(lock)
    return None


def _is_fresh(inside):
    names = os.listdir(inside)
    return "fresh" in names or "data" not in names


def _prepare(inside, text):
    """Make what a new cache has; one that was given up half-way is emptied before."""
    for name in ("fresh", "id"):
        made = os.open(name, _FLAGS | os.O_TRUNC, 0o600, dir_fd=inside)
        files.write_all(made, text.encode("utf-8", "surrogateescape") if name == "id" else b"")
        os.close(made)
    try:
        os.mkdir("data", 0o700, dir_fd=inside)
    except FileExistsError:
        pass


def prune(store, keep=lambda seconds: False):
    """Remove the caches that nobody uses; their number.

    ``keep(seconds)``: whether one last used at that time (since 1970) stays.
    """
    if not os.path.isdir(store.path(PLACE)):
        return 0
    home, count = _home(store), 0
    try:
        for name in os.listdir(home):
            count += _prune_one(store, home, name, keep)
    finally:
        os.close(home)
    return count


def _prune_one(store, home, name, keep):
    try:
        inside = os.open(name, files.DIRECTORY, dir_fd=home)
    except OSError:
        return 0
    try:
        if keep(os.fstat(inside).st_mtime):
            return 0
        lock = os.open("lock", _FLAGS, 0o600, dir_fd=inside)
        try:
            if not files.lock(lock, wait=False):
                return 0
            # The lock first: whoever waits for it sees that it has no name any more.
            os.unlink("lock", dir_fd=inside)
            removal.remove(store, home, name)
            return 1
        finally:
            os.close(lock)
    finally:
        os.close(inside)
