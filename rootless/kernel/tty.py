"""Terminals: size, raw mode, new ptys and their other ends (ioctl_tty(2), pty(7)).

Everything works on descriptors and raises OSError.  Neither ``tty`` nor ``pty`` of the
standard library is imported: the hot path comes by here.
"""

import fcntl
import os
import termios
from struct import pack, unpack

# asm-generic/ioctls.h; Python's termios has neither before 3.13.
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_PTMX = (5, 2)  # its device number, in every devpts
_ENOTTY = 25

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6


def window_size(fd):
    """(rows, columns) of the terminal ``fd``, or None if it isn't one or doesn't know."""
    try:
        rows, columns, _, _ = unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


def set_window_size(fd, rows, columns):
    """Set the size of the terminal; programs in its foreground get SIGWINCH if it changes."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, pack("HHHH", rows, columns, 0, 0))


def raw_attributes(attributes):
    """What ``tcgetattr`` gave, changed to raw mode: termios(3), cfmakeraw."""
    raw = list(attributes)
    raw[_IFLAG] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    raw[_OFLAG] &= ~termios.OPOST
    raw[_LFLAG] &= ~(
        termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
    )
    raw[_CFLAG] = raw[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[_CC] = list(raw[_CC])
    raw[_CC][termios.VMIN] = 1
    raw[_CC][termios.VTIME] = 0
    return raw


class Raw:
    """The terminal ``fd`` in raw mode, for a ``with``; what it was before comes back.

    ``enter`` and ``leave`` may be called any number of times in between (job control).
    """

    def __init__(self, fd):
        self.fd = fd
        self._before = None

    def enter(self):
        """Switch to raw mode; output that is under way is sent first."""
        try:
            if self._before is None:
                self._before = termios.tcgetattr(self.fd)
            termios.tcsetattr(self.fd, termios.TCSADRAIN, raw_attributes(self._before))
        except termios.error as error:
            raise OSError(*error.args) from None

    def leave(self):
        """Put the terminal back; a terminal that is gone needs nothing."""
        if self._before is None:
            return
        before, self._before = self._before, None
        try:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, before)
        except termios.error:
            pass

    def __enter__(self):
        self.enter()
        return self

    def __exit__(self, *_):
        self.leave()


def open_master(path="/dev/ptmx", opener=os.open):
    """A new pty, unlocked: its master.

    ``path`` is the ptmx of the devpts to use, opened by ``opener(path, flags)``; OSError
    with ENOTTY if something else stands there.
    """
    master = opener(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        device = os.fstat(master).st_rdev
        if (os.major(device), os.minor(device)) != _PTMX:
            raise OSError(_ENOTTY, os.strerror(_ENOTTY), path)
        os.set_blocking(master, True)
        fcntl.ioctl(master, _TIOCSPTLCK, pack("i", 0))
    except OSError:
        os.close(master)
        raise
    return master


def open_peer(master):
    """The other end of the pty, without a path that something could stand in (ioctl_tty(2),
    TIOCGPTPEER)."""
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def make_controlling(fd):
    """Make ``fd`` the controlling terminal of this session leader (setsid(2) came before)."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
