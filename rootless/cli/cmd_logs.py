"""rl logs"""

import os
import sys

from rootless.cli.output import escape
from rootless.engine import attach, lifecycle, logs
from rootless.errors import RlError

_COLOURS = (31, 32, 33, 34, 35, 36)


class FollowOne(RlError):
    """--follow is for one container at a time"""

    hint = "start one rl logs --follow for each"


def main(engine, request):
    """Show what containers have written."""
    items = lifecycle.select(engine, request)
    if request.follow and len(items) > 1:
        raise FollowOne()
    wanted = logs.Wanted(request.since, request.until, request.tail, request.follow)
    for number, record in enumerate(items):
        label = _label(record, number, request)

        def put(lines, label=label):
            for stream, data in logs.shown(lines, request.timestamps, label):
                attach.write_all(stream, memoryview(_safe(stream, data)))

        logs.read(engine, record, wanted, put)
    return 0


def _label(record, number, request):
    if not request.names and not request.color:
        return b""
    label = f"{record['name']} " if request.names else f"{record['id'][:12]} "
    if request.color and sys.stdout.isatty():
        label = f"\x1b[{_COLOURS[number % len(_COLOURS)]}m{label}\x1b[0m"
    return label.encode()


def _safe(stream, data):
    """A container's output as a terminal may get it: colours stay, nothing else that acts.

    A log is read later, by somebody who didn't ask for the program's control of the screen.
    """
    if not os.isatty(stream) or data.isascii() and b"\x1b" not in data and b"\r" not in data:
        return data
    text = data.decode("utf-8", "surrogateescape")
    lines = []
    for part in text.split("\x1b["):
        lines.append(part)
    safe = escape(lines[0])
    for part in lines[1:]:
        end = 0
        while end < len(part) and part[end] in "0123456789;":
            end += 1
        if part[end : end + 1] == "m":
            safe += f"\x1b[{part[: end + 1]}" + escape(part[end + 1 :])
        else:
            safe += escape(f"\x1b[{part}")
    return safe.encode("utf-8", "surrogateescape")
