"""Digests of files that an earlier build has read: a file that hasn't changed isn't read again.

One table per context, in the store.  A file is known by device, inode, size, and the times of
its last change of content and of anything else (ctime, which no program can set).  What
changed a moment ago isn't noted: it might change once more within one tick of the clock.
"""

import hashlib
import os
import struct
import time

from rootless.kernel import files
from rootless.store.cache import HOME

PREFIX = "files-"
_MAGIC = b"rl known files 1\n"
_RECORD = struct.Struct("<QQQqq32s")
_LIMIT = 256 << 20
_MOST = 1_000_000
_MOMENT = 2_000_000_000  # nanoseconds


class Known:
    """The table of the context at ``path`` in a store; ``save`` it when the build is over."""

    def __init__(self, store, path):
        self.store = store
        name = os.path.realpath(path)
        self.name = PREFIX + hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
        self.now = time.time_ns()
        self.changed = False
        self._table = None
        self._used = {}

    @property
    def _old(self):
        if self._table is None:
            self._table = self._load()
        return self._table

    def _load(self):
        """{(device, inode): (size, mtime, ctime, digest)}; nothing if there is no table."""
        try:
            data = files.read_limited(self.store.directory(HOME), self.name, _LIMIT)
        except OSError:
            return {}
        body = data[len(_MAGIC) : -32]
        if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != data[-32:]:
            return {}
        return {
            (device, inode): rest for device, inode, *rest in _RECORD.iter_unpack(body)
        }  # fmt: skip

    def get(self, status):
        """The digest (bytes) of the file with that lstat result; None if it has to be read."""
        key = (status.st_dev, status.st_ino)
        found = self._used.get(key) or self._old.get(key)
        if found is None:
            return None
        size, mtime, ctime, digest = found
        if (size, mtime, ctime) != (status.st_size, status.st_mtime_ns, status.st_ctime_ns):
            return None
        self._used[key] = found
        return digest

    def put(self, status, digest):
        """Note the digest of a file that was read just now."""
        latest = max(status.st_mtime_ns, status.st_ctime_ns)
        if len(digest) == 32 and latest < self.now - _MOMENT:
            key = (status.st_dev, status.st_ino)
            self._used[key] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, digest)
            self.changed = True

    def save(self):
        """Write the table, if it changed; what this build didn't look at stays, up to a limit."""
        if not self.changed:
            return
        table = self._used
        if len(self._old) + len(table) <= _MOST:
            table = {**self._old, **table}
        body = b"".join(_RECORD.pack(*key, *rest) for key, rest in table.items())
        digest = hashlib.sha256(body).digest()
        files.write_atomic(
            self.store.directory(HOME), self.name, _MAGIC + body + digest, sync=False
        )
        self.changed = False
