"""The records of builds (rootless.build.solve.cache), as the store sees them: what they keep.

One JSON file for each step in build-cache/, with the layer it made.  Nothing depends on a
record: who can't read one does the step again.
"""

import os
import time

from rootless.errors import RlError
from rootless.store import digests, records

HOME = "build-cache"
_PATIENCE = 600  # seconds


def is_there(store):
    """Whether anything was ever built here; makes nothing."""
    return os.path.isdir(store.path(HOME))


def scan(store):
    """Every record that can be read, each with its "key" and "used" (seconds since 1970)."""
    if not is_there(store):
        return
    home = store.directory(HOME)
    for name in store.names(HOME):
        if not _is_key(name):
            continue
        try:
            record = records.read(home, name, f"{HOME}/{name}", 1 << 20)
            record["used"] = os.stat(name, dir_fd=home).st_mtime
        except (RlError, OSError):
            continue
        if record.get("key") == name:
            yield record


def needs(record):
    """The digests (list of str) that a record keeps: a layer and its blob."""
    layer = record.get("layer")
    if not isinstance(layer, dict):
        return []
    return [layer[name] for name in ("diff_id", "blob") if isinstance(layer.get(name), str)]


def kept(store):
    """The digests (set) that all records keep."""
    found = set()
    for record in scan(store):
        found.update(needs(record))
    return found


def remove(store, wanted=None):
    """Remove the records for which ``wanted(record)`` is true: a list of those removed.

    Without ``wanted`` all go, and whatever else builds noted to be faster.  Damaged records
    go in any case; files that are being written stay.
    """
    done = []
    if not is_there(store):
        return done
    home = store.directory(HOME)
    whole = {record["key"]: record for record in scan(store)}
    for name in os.listdir(home):
        record = whole.get(name)
        if record is not None:
            goes = wanted is None or wanted(record)
        else:
            goes = _is_stale(home, name) if name[0] == "." else wanted is None or _is_key(name)
        if not goes:
            continue
        try:
            os.unlink(name, dir_fd=home)
        except OSError:
            continue  # gone meanwhile, or a directory that somebody else looks after
        if record is not None:
            done.append(record)
    return done


def _is_key(name):
    return len(name) == 64 and digests.is_hex(name)


def _is_stale(home, name):
    """Whether a temporary file is of a writer that must be dead by now."""
    try:
        return time.time() - os.lstat(name, dir_fd=home).st_mtime > _PATIENCE
    except OSError:
        return False
