"""Reading what containers have written (docs/monitor.md, "Log formats").

The monitor's k8s-file entries have a prefix of constant length, so whole chunks are turned
into output without looking at each line twice.
"""

import os

from rootless.engine import filters, records
from rootless.errors import RlError
from rootless.model import jsontext

_CHUNK = 1 << 20
_STAMP = 30  # 2026-01-02T03:04:05.000000006Z
_PREFIX = 40  # the stamp, " stdout F "
_KIND = slice(31, 39)  # "stdout F"
_PLAIN = b"stdout F"
_PATIENCE = 0.3  # how long the end of a container may go unnoticed while following


class NoLog(RlError):
    """the log driver of container {0} is {1}: rl keeps nothing to show"""

    hint = "run it with: --log-driver k8s-file"


class Wanted:
    """Which entries are wanted.

    ``since`` and ``until``: RFC 3339 stamps as bytes, or None; ``tail``: how many of the
    last lines, None for all; ``follow``: go on until the container ends.
    """

    def __init__(self, since=None, until=None, tail=None, follow=False):
        self.since = stamp(since)
        self.until = stamp(until)
        self.tail = None if tail is None or tail < 0 else tail
        self.follow = follow

    @property
    def all(self):
        return self.since is None and self.until is None


def stamp(text):
    """A --since or --until as the beginning of entries has it (bytes); BadFilter."""
    if text is None:
        return None
    import time

    if len(text) == _STAMP and text[-1] == "Z" and text[10] == "T":
        return text.encode()  # as rl logs -t shows it, to the nanosecond
    moment = filters.moment(text)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1_000_000_000):09d}Z".encode()


def paths(engine, record):
    """The files of a container's log, oldest first; NoLog where the driver keeps none."""
    log = record["log"]
    if log["driver"] not in ("k8s-file", "json-file"):
        raise NoLog(record["name"], log["driver"])
    name = log.get("path") or f"{records.directory(engine, record['id'])}/ctr.log"
    return [f"{name}.1", name]


def read(engine, record, wanted, put):
    """Call ``put(lines)`` with lists of entries, as bytes without their newline.

    Every entry is in the k8s-file form, whatever the driver.
    """
    old, new = paths(engine, record)
    plain = record["log"]["driver"] == "k8s-file"
    reader = _Reader(plain, wanted, put)
    alive = wanted.follow and records.is_alive(records.run_directory(engine, record["id"]))
    if wanted.tail is None:
        reader.whole(old)
        position = reader.whole(new)
    else:
        lines, position = _tail((old, new), wanted.tail, plain)
        reader.give(lines)
    if alive:
        try:
            _follow(engine, record, new, position, reader)
        except FileNotFoundError:
            pass  # removed with its log since we looked
    reader.finish()


class _Reader:
    def __init__(self, plain, wanted, put):
        self.plain = plain
        self.wanted = wanted
        self.put = put
        self.rest = b""

    def whole(self, path):
        """Give all of a file; how far it was read."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            return self.onward(descriptor)
        finally:
            os.close(descriptor)

    def onward(self, descriptor):
        """Give what comes from the descriptor's position on; the position reached."""
        while chunk := os.read(descriptor, _CHUNK):
            lines = (self.rest + chunk).split(b"\n")
            self.rest = lines.pop()
            self.give(lines)
        return os.lseek(descriptor, 0, os.SEEK_CUR) - len(self.rest)

    def finish(self):
        """What an interrupted monitor left without a newline is an entry too."""
        if self.rest:
            self.give([self.rest])
            self.rest = b""

    def give(self, lines):
        if not self.plain:
            lines = [_from_json(line) for line in lines]
        if self.wanted.since is not None:
            lines = [line for line in lines if line[:_STAMP] >= self.wanted.since]
        if self.wanted.until is not None:
            lines = [line for line in lines if line[:_STAMP] <= self.wanted.until]
        if lines:
            self.put(lines)


def _from_json(line):
    try:
        entry = jsontext.loads(line)
        text = entry["log"]
        kind = "F" if text.endswith("\n") else "P"
        text = text.removesuffix("\n")
        return f"{entry['time']} {entry['stream']} {kind} {text}".encode("utf-8", "surrogateescape")
    except (jsontext.DecodeError, KeyError, TypeError, AttributeError):
        return b"0001-01-01T00:00:00.000000000Z stdout F " + line


def _tail(files, count, plain):
    """The entries of the last ``count`` lines, and how far the newest file was read."""
    found, needed, position = [], count, 0
    for path in reversed(files):
        try:
            with open(path, "rb", 0) as file:
                size = file.seek(0, os.SEEK_END)
                if path == files[-1]:
                    position = size
                lines, needed = _backwards(file, size, needed, plain)
        except FileNotFoundError:
            continue
        found = lines + found
        if needed <= 0:
            break
    return found, position


def _backwards(file, size, needed, plain):
    """The last entries of one file that make up ``needed`` lines; how many are missing."""
    at, content = size, b""
    while at > 0:
        step = min(_CHUNK, at)
        at -= step
        file.seek(at)
        content = file.read(step) + content
        if content.count(b"\n") > needed + 1:
            break
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if at > 0:
        lines = lines[1:]  # begins in the middle
    ends = [index for index, line in enumerate(lines) if _ends_line(line, plain)]
    if len(ends) <= needed:
        return (lines if at == 0 else lines[(ends[0] + 1 if ends else 0) :]), needed - len(ends)
    return lines[ends[len(ends) - needed - 1] + 1 :], 0


def _ends_line(line, plain):
    return line[38:39] == b"F" if plain else b'\\n","stream"' in line


def _follow(engine, record, path, position, reader):
    """Go on reading while the container lives; a rotated file is read to its end first."""
    from rootless.kernel.watch import Watch

    run_dir = records.run_directory(engine, record["id"])
    with Watch([os.path.dirname(path)]) as watch:
        descriptor = _reopen(path)
        os.lseek(descriptor, position, os.SEEK_SET)
        while True:
            alive = records.is_alive(run_dir)
            reader.onward(descriptor)
            if not _same(descriptor, path):
                reader.onward(descriptor)
                if not _same(descriptor, f"{path}.1"):
                    reader.whole(f"{path}.1")  # rotated twice since the last look
                os.close(descriptor)
                descriptor = _reopen(path)
                continue
            if not alive:
                break
            watch.wait(_PATIENCE)
        os.close(descriptor)


def _reopen(path):
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _same(descriptor, path):
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return True  # between the two steps of a rotation, or removed with the container
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


# --- from entries to what is shown -----------------------------------------------------------


def shown(lines, timestamps=False, label=b""):
    """Entries as output: a list of (1 for stdout or 2 for stderr, bytes)."""
    if not timestamps and not label and {line[_KIND] for line in lines} == {_PLAIN}:
        return [(1, b"\n".join([line[_PREFIX:] for line in lines]) + b"\n")]
    found, number, parts = [], 0, []
    for line in lines:
        stream = 2 if line[31:37] == b"stderr" else 1
        if stream != number and parts:
            found.append((number, b"".join(parts)))
            parts = []
        number = stream
        text = line[_PREFIX:]
        if timestamps:
            text = line[:_STAMP] + b" " + text
        parts.append(label + text + (b"\n" if line[38:39] == b"F" else b""))
    if parts:
        found.append((number, b"".join(parts)))
    return found
