"""A person at a terminal: a pty with a program that it controls."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time


class Terminal:
    """A program in a session of its own whose terminal is a pty; use it in a ``with``.

    ``seen`` holds all bytes that the program has written so far.
    """

    def __init__(self, argv, env, cwd, size=(24, 80)):
        self.seen = b""
        self.code = None
        self._after = 0
        self._ended = False
        gate, self._go = os.pipe()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.close(self._go)
                # The size is set before the program looks at it.
                os.read(gate, 1)
                os.close(gate)
                os.chdir(cwd)
                os.execve(argv[0], argv, env)
            finally:
                os._exit(127)
        os.close(gate)
        self.resize(*size)
        os.close(self._go)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def resize(self, rows, columns):
        """Change the window: the program gets SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def attributes(self):
        """The terminal's settings, as ``termios.tcgetattr`` gives them."""
        return termios.tcgetattr(self.master)

    def send(self, text):
        """Type ``text`` (str or bytes)."""
        data = text.encode() if isinstance(text, str) else text
        while data:
            data = data[os.write(self.master, data) :]

    def _read(self, seconds):
        """Wait for output; whether the program's side is still open."""
        if self._ended:
            return False
        if select.select([self.master], [], [], max(0, seconds))[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # EIO: the last holder of the other side is gone
                data = b""
            self.seen += data
            self._ended = not data
        return not self._ended

    def expect(self, pattern, timeout=20):
        """Wait until output after the last match matches the regular expression (str or
        bytes): the match.  AssertionError at the time-out or the program's end."""
        wanted = re.compile(pattern.encode() if isinstance(pattern, str) else pattern)
        deadline = time.monotonic() + timeout
        while True:
            match = wanted.search(self.seen, self._after)
            if match:
                self._after = match.end()
                return match
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                match = wanted.search(self.seen, self._after)
                assert match, f"{pattern!r} is not in {self.seen[self._after :]!r}"

    def wait(self, timeout=20):
        """Read to the program's end: its exit code, -N after signal N."""
        deadline = time.monotonic() + timeout
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < deadline, f"still running after {self.seen!r}"
            if not self._read(0.05):
                time.sleep(0.01)
        while self._read(0) and select.select([self.master], [], [], 0)[0]:
            pass
        return self.code

    def close(self):
        """Hang up, and end the program if that doesn't."""
        if self.master is None:
            return
        os.close(self.master)
        self.master = None
        if self.code is None:
            deadline = time.monotonic() + 5
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    break
                time.sleep(0.01)
            self.code = -signal.SIGHUP
