"""What earlier builds made: one small file for each step, found by the step's key.

A key is a digest of all that led to a step: the configuration of the image below, and of
each instruction since what it means with its values and the content that it reads.  Same
key, same result.  A record keeps its layer from garbage collection (store.gc) until it is
pruned; a record that is lost, damaged, or whose layer is gone is a step to be done again.
"""

import hashlib
import os
import time

from rootless.errors import RlError
from rootless.model import jsontext
from rootless.store import digests, records
from rootless.store.cache import HOME, is_there

_LIMIT = 1 << 20
_FORM = 1  # a higher number makes all older records misses


def key_of(*parts):
    """The digest (hex) of plain data: strings, numbers, lists, None."""
    text = jsontext.dumps([_FORM, *parts], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Cache:
    """The records of a store, as one build uses them.

    ``usable``: look anything up at all; ``oldest``: records made before that time (seconds
    since 1970) don't count; ``keep``: write down what is done.

    ``fetch(key)`` is asked for a record that isn't here: it puts the layer into the store
    and gives the record, or None.  ``met`` collects {key: record} of every step that was
    found or done, in order: what an export takes.
    """

    def __init__(self, store, usable=True, oldest=None, keep=True, fetch=None):
        self.store = store
        self.usable = usable
        self.oldest = oldest
        self.keep = keep
        self.fetch = fetch
        self.met = {}

    def find(self, key, anew=False):
        """The record of ``key``, whose layer is here and stays; None if there is none.

        ``anew``: this step is wanted done again.
        """
        if not self.usable or anew:
            return None
        record = self._read(key)
        if record is None and self.fetch is not None:
            record = self.fetch(key)
            if record is not None and self._is_old(record):
                record = None
            if record is not None:
                record = {**record, "key": key}
                self._write(key, record)
        if record is None or not self._is_whole(record):
            return None
        self.met[key] = record
        return record

    def _read(self, key):
        if not is_there(self.store):
            return None
        try:
            record = records.read(self.store.directory(HOME), key, f"{HOME}/{key}", _LIMIT)
            if record.get("key") != key or self._is_old(record):
                return None
            os.utime(key, dir_fd=self.store.directory(HOME))  # when it was last of use
        except (RlError, OSError):
            return None
        return record

    def _is_old(self, record):
        if self.oldest is None:
            return False
        made = record.get("made")
        return not isinstance(made, (int, float)) or made < self.oldest

    def _is_whole(self, record):
        layer = record.get("layer")
        if layer is None:
            return isinstance(record.get("created"), str)
        try:
            # First said that it is needed, then looked at: a collection sees one of both.
            self.store.tmp.hold(layer["diff_id"], layer["blob"])
            if not isinstance(layer["size"], int) or not isinstance(layer["compression"], str):
                return False
            return (self.store.layers.has(layer["diff_id"])
                    and self.store.blobs.size(layer["blob"]) == layer["blob_size"])  # fmt: skip
        except (KeyError, TypeError, digests.BadDigest):
            return False

    def note(self, key, record):
        """Write down what a step made: {"parent", "text", "created", "layer" or None, …}."""
        record = {**record, "key": key, "made": time.time()}
        self.met[key] = record
        self._write(key, record)

    def _write(self, key, record):
        if self.keep:
            # Not synced: what a power cut leaves is whole, or a step to be done again.
            records.write(self.store.directory(HOME), key, record, sync=False)

    # --- what is derived from layers ---

    def remembered(self, kind, *parts):
        """(key, what was noted under it or None) of something worked out from digests."""
        key = key_of(kind, *parts)
        record = self._read(key) if self.keep else None
        return key, record.get("value") if record else None

    def remember(self, key, kind, value):
        """Note what was worked out, for ``remembered``."""
        self._write(key, {"key": key, "kind": kind, "value": value, "made": time.time()})
