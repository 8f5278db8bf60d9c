"""Progress of long work: bars on a terminal, plain lines elsewhere, nothing with --quiet.

Everything goes to standard error, so that standard output is only the result.
"""

import os
import sys
import time
from _thread import allocate_lock

from rootless.cli.output import escape, size
from rootless.image.progress import Silent

_TICK = 0.1  # seconds between two drawings
_BAR = 24


def choose(quiet=False, stream=None):
    """The progress for this call: an object with start, advance, done and message."""
    stream = sys.stderr if stream is None else stream
    if quiet:
        return Quiet()
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Bars(stream)
    return Lines(stream)


class Quiet(Silent):
    """Shows nothing; the base of those that do.

    All may be called from several threads.  ``close`` (or leaving a ``with``) comes last.
    """

    def close(self):
        """Nothing more will be shown."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Lines(Quiet):
    """One plain line when a piece of work has ended."""

    def __init__(self, stream):
        self._stream = stream
        self._labels = {}

    def start(self, key, label, total=None):
        """See Silent."""
        self._labels[key] = label

    def done(self, key, text=""):
        """See Silent."""
        self.message(f"{self._labels.pop(key, key)}: {text or 'done'}")

    def message(self, text):
        """See Silent."""
        self._stream.write(escape_line(self._stream, text))
        self._stream.flush()


def escape_line(stream, text):
    """``text`` as one line for ``stream``."""
    return (escape(text) if stream.isatty() else text).replace("\n", " ") + "\n"


class Bars(Quiet):
    """A bar for each piece of work, redrawn in place below what has been said."""

    def __init__(self, stream, clock=time.monotonic, width=None):
        self._stream = stream
        self._clock = clock
        self._width = width
        self._work = {}  # key → [label, done, total, text at the end]
        self._drawn = 0
        self._next = 0.0
        self._lock = allocate_lock()

    def start(self, key, label, total=None):
        """See Silent."""
        with self._lock:
            self._work[key] = [label, 0, total, None]
            self._draw()

    def advance(self, key, count):
        """See Silent."""
        with self._lock:
            if key in self._work:
                self._work[key][1] += count
            if self._clock() >= self._next:
                self._draw()

    def done(self, key, text=""):
        """See Silent."""
        with self._lock:
            if key in self._work:
                self._work[key][3] = text or "done"
            self._settle()

    def message(self, text):
        """See Silent."""
        with self._lock:
            self._draw([escape(text).replace("\n", " ")])

    def close(self):
        """Leave the bars as they are and go on below them."""
        with self._lock:
            if self._work:
                self._draw()
            self._work.clear()
            self._drawn = 0

    def _settle(self):
        """Move what has ended from the top of the bars to what has been said."""
        said = []
        for key in list(self._work):
            if self._work[key][3] is None:
                break
            said.append(self._line(*self._work.pop(key)))
        self._draw(said)

    def _draw(self, said=()):
        lines = [*said, *(self._line(*work) for work in self._work.values())]
        # Up to the first bar, then each line over what was there, then nothing below.
        text = f"\x1b[{self._drawn}A" if self._drawn else ""
        text += "".join(f"\r{line}\x1b[K\n" for line in lines) + "\x1b[J"
        self._stream.write(text)
        self._stream.flush()
        self._drawn = len(self._work)
        self._next = self._clock() + _TICK

    def _line(self, label, done, total, text):
        width = self._columns()
        label = escape(str(label)).replace("\n", " ")
        if text is not None:
            return f"{label}  {escape(text)}"[: width - 1]
        if not total:
            return f"{label}  {size(done) if done else ''}".rstrip()[: width - 1]
        share = min(1.0, done / total)
        filled = int(share * _BAR)
        bar = "=" * filled + (">" if filled < _BAR else "") + " " * (_BAR - filled - 1)
        return f"{label}  [{bar}]  {size(done)} / {size(total)}"[: width - 1]

    def _columns(self):
        if self._width is not None:
            return self._width
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80
