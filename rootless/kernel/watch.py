"""Waiting for a file to change (inotify(7))."""

import os
import select

from rootless.kernel import ctype, libc

_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO, _IN_DELETE = 0x2, 0x100, 0x80, 0x200
_init = libc.function("inotify_init1", ctype.c_int)
_add = libc.function("inotify_add_watch", ctype.c_int, ctype.c_char_p, ctype.c_uint32)


class Watch:
    """Tells when something in one of several directories changes; for a ``with``."""

    def __init__(self, paths):
        self._descriptor = libc.call(_init, os.O_CLOEXEC | os.O_NONBLOCK)
        wanted = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO | _IN_DELETE
        for path in paths:
            libc.call(_add, self._descriptor, os.fsencode(path), wanted, path=path)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def wait(self, seconds=None):
        """Until something changes or ``seconds`` have passed; True if it did."""
        if not self._poll.poll(None if seconds is None else seconds * 1000):
            return False
        try:
            while os.read(self._descriptor, 1 << 16):
                pass
        except BlockingIOError:
            pass
        return True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self._descriptor)
