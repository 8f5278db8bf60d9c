"""How a build is shown: live on a terminal, line by line elsewhere, as JSON for programs.

Everything goes to standard error.  The forms have the methods of build.solve.progress.Silent
(the build reports to them from one thread; what counts bytes may be told from several), and
``platform`` and ``close`` for the verb.  What a step's program wrote is shown escaped on a
terminal: it may come from anywhere.
"""

import os
import sys
import time
from _thread import allocate_lock

from rootless.build.solve.progress import Silent
from rootless.cli.output import escape, size
from rootless.errors import RlError

_KEPT = 4 << 20  # bytes of a step's output that are kept for the case that it fails
_TAIL = 6  # lines of a running step's output
_TICK = 0.1  # seconds between two drawings
_SLOWEST = 8  # transfers of one step that are shown at once


class NoTerminal(RlError):
    """--progress=tty needs a terminal"""

    hint = "rl build --progress=plain writes lines"


def choose(options, stream=None):
    """The view that the options (engine.build.options.Options) ask for; a context.

    Raises NoTerminal, and OSError for a log file.
    """
    stream = sys.stderr if stream is None else stream
    if options.logfile:
        return Log(options.logfile, options.logsplit)
    form = options.progress
    able = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if form == "tty" and not able:
        raise NoTerminal()
    if options.quiet or form == "quiet":
        return Quiet(stream)
    if form == "rawjson":
        from rootless.cli.build_json import Raw

        return Raw(stream)
    return Live(stream) if able and form in ("auto", "tty") else Plain(stream)


class Lines:
    """Bytes as they come, to whole lines of text: what a terminal would show of each."""

    def __init__(self):
        self._rest = b""

    def take(self, data):
        """The lines (str) that ``data`` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > 1 << 16:  # a line without end
            whole, self._rest = [*whole, self._rest], b""
        return [_shown(line) for line in whole]

    def end(self):
        """The last line if nothing has ended it, as a list."""
        rest, self._rest = self._rest, b""
        return [_shown(rest)] if rest else []


def _shown(line):
    """A line as text; of one that was written over with \\r, what stood there last."""
    parts = [part for part in line.split(b"\r") if part]
    return parts[-1].decode("utf-8", "surrogateescape") if parts else ""


class _Step:
    """What is known of a step that runs."""

    def __init__(self, number, name, start):
        self.number = number
        self.name = name
        self.start = start
        self.lines = {1: Lines(), 2: Lines()}
        self.tail = []
        self.kept = []
        self.size = 0
        self.lost = False
        self.transfers = {}

    def keep(self, data):
        """Remember output, the last of it if it is very much."""
        self.kept.append(data)
        self.size += len(data)
        while self.size > _KEPT and len(self.kept) > 1:
            self.size -= len(self.kept.pop(0))
            self.lost = True


class View(Silent):
    """What all forms share: steps with numbers, warnings for the end."""

    def __init__(self, stream, clock=time.monotonic):
        self._stream = stream
        self._clock = clock
        self._steps = {}
        self._count = 0
        self._total = 0
        self._ended = 0
        self._warnings = []
        self._lock = allocate_lock()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.finish(error)
        self.close()

    def close(self):
        """Nothing more will be shown."""

    def platform(self, text):
        """What follows is the build for this platform (str), of several."""

    def begin(self, stages):
        """See Silent."""
        self._total += sum(count for _, count in stages)

    def _start(self, key, name):
        self._count += 1
        step = self._steps[key] = _Step(self._count, self._text(name), self._clock())
        return step

    def _text(self, name):
        return self._line(name)

    def _line(self, text):
        """``text`` as one line for this stream."""
        text = " ".join(text.split("\n"))
        return escape(text) if self._stream.isatty() else text

    def _write(self, text):
        self._stream.write(text)
        self._stream.flush()

    def warning(self, text, line=None):
        """See Silent."""
        self._warnings.append(text if line is None else f"{text} (line {line})")

    def _say_warnings(self):
        found, self._warnings = self._warnings, []
        return "".join(f"Warning: {self._line(text)}\n" for text in found)

    def finish(self, error=None):
        """See Silent."""
        text = self._say_warnings()
        if text:
            self._write(text)


class Quiet(View):
    """Shows nothing, but for the output of a step that fails."""

    def step_started(self, key, name, line):
        """See Silent."""
        self._start(key, name)

    def step_output(self, key, stream, data):
        """See Silent."""
        if data and key in self._steps:
            self._steps[key].keep(data)

    def step_done(self, key, seconds):
        """See Silent."""
        self._steps.pop(key, None)

    def step_cancelled(self, key):
        """See Silent."""
        self._steps.pop(key, None)

    def step_failed(self, key, error):
        """See Silent."""
        step = self._steps.pop(key, None)
        if step and step.kept:
            self._write(_report(step, self._line))

    def finish(self, error=None):
        """See Silent."""
        self._warnings = []


def _report(step, line):
    """The whole output of a step that failed, under its name."""
    lines = Lines()
    shown = [f"------ {step.name}:\n"]
    if step.lost:
        shown.append(f"(only the last {size(step.size)} of it)\n")
    for data in step.kept:
        shown += [f"{line(text)}\n" for text in lines.take(data)]
    shown += [f"{line(text)}\n" for text in lines.end()]
    return "".join([*shown, "------\n"])


class Plain(View):
    """Each thing that happens is a line, after the number of its step."""

    def __init__(self, stream, clock=time.monotonic):
        super().__init__(stream, clock)
        self._last = None

    def _say(self, step, *texts):
        shown = ""
        if self._last is not step:
            shown = ("\n" if self._last else "") + f"#{step.number} {step.name}\n"
            self._last = step
        shown += "".join(f"#{step.number} {self._line(text)}\n" for text in texts)
        self._write(shown)

    def step_started(self, key, name, line):
        """See Silent."""
        with self._lock:
            self._say(self._start(key, name))

    def step_output(self, key, stream, data):
        """See Silent."""
        with self._lock:
            step = self._steps.get(key)
            if step:
                self._say_output(step, step.lines[stream].take(data))

    def _say_output(self, step, lines):
        if lines:
            passed = self._clock() - step.start
            self._say(step, *(f"{passed:.3f} {text}" for text in lines))

    def step_cached(self, key, name, line):
        """See Silent."""
        with self._lock:
            self._say(self._start(key, name), "CACHED")
            del self._steps[key]

    def _end(self, key, text):
        with self._lock:
            step = self._steps.pop(key, None)
            if step:
                for stream in (1, 2):
                    self._say_output(step, step.lines[stream].end())
                self._say(step, text)

    def step_done(self, key, seconds):
        """See Silent."""
        self._end(key, f"DONE {seconds:.1f}s")

    def step_failed(self, key, error):
        """See Silent."""
        self._end(key, f"ERROR: {str(error).partition(chr(10))[0]}")

    def step_cancelled(self, key):
        """See Silent."""
        self._end(key, "CANCELED")

    def transfer(self, key):
        """See Silent."""
        return _Said(self, key)

    def said(self, key, text):
        """Something about the bytes that come for a step."""
        with self._lock:
            step = self._steps.get(key)
            if step:
                self._say(step, text)


class _Said:
    """The bytes of one step for Plain: a line for each piece that has come."""

    def __init__(self, view, key):
        self._view = view
        self._key = key
        self._labels = {}

    def start(self, key, label, total=None):
        """See image.progress.Silent."""
        self._labels[key] = label

    def advance(self, key, count):
        """See image.progress.Silent."""

    def done(self, key, text=""):
        """See image.progress.Silent."""
        self.message(f"{self._labels.pop(key, key)}: {text or 'done'}")

    def message(self, text):
        """See image.progress.Silent."""
        self._view.said(self._key, text)

    def close(self):
        """Nothing more comes."""


class Log(Plain):
    """As Plain, into a file; ``split``: one for each platform."""

    def __init__(self, path, split, clock=time.monotonic):
        self._path = path
        self._split = split
        super().__init__(_open(path), clock)

    def platform(self, text):
        """See View."""
        if self._split:
            self._stream.close()
            self._stream = _open(f"{self._path}_{text.replace('/', '_')}")
            self._last = None

    def close(self):
        """See View."""
        self._stream.close()


class NoLog(RlError):
    """cannot write the log file {path}: {why}"""


def _open(path):
    try:
        return open(path, "w", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise NoLog(path=path, why=error.strerror) from None


class Live(View):
    """Running steps below, redrawn in place; what has ended stays above them."""

    def __init__(self, stream, clock=time.monotonic, area=None):
        super().__init__(stream, clock)
        self._area = area
        self._drawn = 0
        self._next = 0.0
        self._began = clock()

    def step_started(self, key, name, line):
        """See Silent."""
        with self._lock:
            self._start(key, name)
            self._draw()

    def step_output(self, key, stream, data):
        """See Silent."""
        with self._lock:
            step = self._steps.get(key)
            if step is None:
                return
            if data:
                step.keep(data)
            step.tail = [*step.tail, *step.lines[stream].take(data)][-_TAIL:]
            self._draw_soon()

    def step_cached(self, key, name, line):
        """See Silent."""
        with self._lock:
            self._ended += 1
            self._draw([self._row("CACHED " + self._text(name), "")])

    def step_done(self, key, seconds):
        """See Silent."""
        self._end(key, "", f"{seconds:.1f}s")

    def step_cancelled(self, key):
        """See Silent."""
        self._end(key, "CANCELED ", "")

    def step_failed(self, key, error):
        """See Silent."""
        step = self._steps.get(key)
        report = _report(step, self._line) if step and step.kept else ""
        self._end(key, "ERROR ", "", report)

    def _end(self, key, word, time, report=""):
        with self._lock:
            step = self._steps.pop(key, None)
            if step:
                self._ended += 1
                self._draw([self._row(word + step.name, time)], report)

    def transfer(self, key):
        """See Silent."""
        return _Counted(self, key)

    def transferred(self, key, inner, label, count, total):
        """``count`` of ``total`` bytes of a step's piece ``inner`` are here; None: all."""
        with self._lock:
            step = self._steps.get(key)
            if step is None:
                return
            if count is None:
                step.transfers.pop(inner, None)
            else:
                step.transfers[inner] = (label, count, total)
            self._draw_soon()

    def said(self, key, text):
        """See Plain: one line more of the step's last ones."""
        with self._lock:
            step = self._steps.get(key)
            if step:
                step.tail = [*step.tail, text][-_TAIL:]
                self._draw_soon()

    def tick(self):
        """See View."""
        with self._lock:
            if self._steps:
                self._draw_soon()

    def finish(self, error=None):
        """See Silent."""
        with self._lock:
            self._steps.clear()
            self._draw((), self._say_warnings())

    # -- drawing --

    def _draw_soon(self):
        if self._clock() >= self._next:
            self._draw()

    def _draw(self, said=(), report=""):
        columns, rows = self._size()
        live = self._live(columns, rows) if self._steps else []
        # Up to the first line, then each line over what was there, then nothing below.
        text = f"\x1b[{self._drawn}A" if self._drawn else ""
        text += "".join(f"\r{line}\x1b[K\n" for line in said)
        if report:
            text += "\r\x1b[J" + report
        text += "".join(f"\r{line}\x1b[K\n" for line in live) + "\x1b[J"
        self._write(text)
        self._drawn = len(live)
        self._next = self._clock() + _TICK

    def _live(self, columns, rows):
        """The lines of what runs, as many as there is room for."""
        now = self._clock()
        total = max(self._total, self._ended + len(self._steps))
        lines = [f"[+] Building {now - self._began:.1f}s ({self._ended}/{total})"]
        room = max(1, rows - 2)
        steps = list(self._steps.values())[: room - 1] or list(self._steps.values())[:1]
        spare = max(0, room - 1 - len(steps)) // len(steps)
        for step in steps:
            lines.append(self._row(step.name, f"{now - step.start:.1f}s", columns))
            for text in self._below(step, spare):
                lines.append(_cut(f" => => {self._line(text)}", columns - 1))
        return lines

    def _below(self, step, room):
        moving = [
            f"{label}  {size(count)} / {size(total)}" if total else f"{label}  {size(count)}"
            for label, count, total in list(step.transfers.values())[:_SLOWEST]
        ]
        found = [*step.tail, *moving]
        return found[-min(room, _TAIL + len(moving)) :] if room else []

    def _row(self, text, time, columns=None):
        columns = columns or self._size()[0]
        room = max(8, columns - 6 - len(time))
        return f" => {_cut(text, room):{room}} {time}".rstrip()

    def _size(self):
        """(columns, rows) of the terminal."""
        if self._area is not None:
            return self._area
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24


def _cut(text, width):
    """``text`` as what takes at most ``width`` columns: a line that wraps would be left over."""
    text = text.expandtabs()
    if text.isascii():
        return text if len(text) <= width else text[: max(0, width - 1)] + "…"
    from unicodedata import east_asian_width

    room = width - 1
    for at, char in enumerate(text):
        room -= 2 if east_asian_width(char) in "WF" else 1
        if room < 0:
            return text[:at] + "…"
    return text


class _Counted:
    """The bytes of one step for Live."""

    def __init__(self, view, key):
        self._view = view
        self._key = key
        self._pieces = {}

    def start(self, key, label, total=None):
        """See image.progress.Silent."""
        self._pieces[key] = [label, 0, total]
        self._tell(key)

    def advance(self, key, count):
        """See image.progress.Silent."""
        if key in self._pieces:
            self._pieces[key][1] += count
            self._tell(key)

    def done(self, key, text=""):
        """See image.progress.Silent."""
        self._pieces.pop(key, None)
        self._view.transferred(self._key, key, None, None, None)

    def message(self, text):
        """See image.progress.Silent."""
        self._view.said(self._key, text)

    def close(self):
        """Nothing more comes."""

    def _tell(self, key):
        self._view.transferred(self._key, key, *self._pieces[key])


def show_findings(findings, stream=None):
    """Print what --check found (texts of build.language.lint); the exit code."""
    stream = sys.stdout if stream is None else stream
    for text in findings:
        stream.write((escape(text) if stream.isatty() else text) + "\n")
    if not findings:
        stream.write("Check complete, no warnings found.\n")
    return 1 if findings else 0
