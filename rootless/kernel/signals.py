"""Waiting so that no signal is missed.

A Python handler runs between two instructions of the interpreter.  A signal that comes just
before a system call that waits has been noted, but the call doesn't know and waits: the
handler runs when something else ends it, perhaps never.  A pipe that the noting itself
writes to (signal.set_wakeup_fd) makes it end at once.
"""

import _signal
import os
import select

from rootless.kernel import process


class Wakeup:
    """A descriptor, ``fileno()``, that becomes readable with every signal; for a ``with``."""

    def __enter__(self):
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *error):
        _signal.set_wakeup_fd(self._before)
        os.close(self._read)
        os.close(self._write)

    def fileno(self):
        """The end to poll."""
        return self._read

    def drain(self):
        """Read what is there; the handlers have run by then."""
        try:
            while os.read(self._read, 512):
                pass
        except BlockingIOError:
            pass


def wait_exit(pid):
    """process.wait_exit for a child, during which signal handlers run at once."""
    try:
        ended = process.pidfd(pid)
    except OSError:
        return process.wait_exit(pid)
    try:
        with Wakeup() as wakeup:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.register(wakeup, select.POLLIN)
            while all(fd != ended for fd, _ in poll.poll()):
                wakeup.drain()
    finally:
        os.close(ended)
    return process.wait_exit(pid)
