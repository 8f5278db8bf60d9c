"""What ``rl events`` shows: the log of engine/events.py, filtered and followed."""

import os
import time

from rootless.engine import events, filters
from rootless.errors import RlError
from rootless.kernel.watch import Watch
from rootless.model import jsontext

FILTERS = ("container", "event", "image", "label", "network", "type", "volume", "id", "name")
_CHUNK = 1 << 20
# docker's words, and short ones, for podman's.
_ALIASES = {"die": "died", "destroy": "remove", "rm": "remove", "delete": "remove",
            "load": "loadfromarchive", "loadFromArchive": "loadfromarchive"}


class BadTime(RlError):
    """{0} {1!r} is not a point in time"""

    hint = "a date, 2026-01-31T12:00:00Z, a Unix time, or a duration: 10m"


class Wanted:
    """Which events are wanted.

    ``texts`` of --filter; ``since``: a point in time or how long ago, ``until``: a point in
    time or how long from now (podman-events(1)); either may be None.
    """

    def __init__(self, texts=(), since=None, until=None):
        self.by_key = {}
        for key, value in filters.parse(texts, FILTERS):
            self.by_key.setdefault(key, []).append(value)
        self.since = _moment("--since", since, -1)
        self.until = _moment("--until", until, 1)
        self.names = {}

    def takes(self, event):
        """Whether an event passes: of filters with one key any must fit, of keys all.

        The monitor of a container that was renamed goes on with the old name: it is put right.
        """
        if event["Type"] == "container":
            if event["Status"] == "rename":
                self.names[event["ID"]] = event["Name"]
            event["Name"] = self.names.get(event["ID"], event["Name"])
        moment = filters.moment(event["Time"])
        if self.since is not None and moment < self.since:
            return False
        if self.until is not None and moment > self.until:
            return False
        return all(any(_fits(event, key, value) for value in values)
                   for key, values in self.by_key.items())


def _moment(option, text, sign):
    if text is None:
        return None
    span = filters.seconds(text) if not text.replace(".", "", 1).isdecimal() else None
    if span is not None:
        return time.time() + sign * span
    try:
        return filters.moment(text)
    except filters.BadFilter:
        raise BadTime(option, text) from None


def _fits(event, key, value):
    if key == "event":
        return event["Status"] == _ALIASES.get(value, value)
    if key == "type":
        return event["Type"] == value
    if key == "label":
        return filters.has_label(event.get("Attributes") or {}, value)
    if key in ("id", "name"):
        return event["ID"].startswith(value) if key == "id" else event["Name"] == value
    if key == "image":
        name = event.get("Image", "") if event["Type"] == "container" else event["Name"]
        plain = name.rpartition("/")[2]
        own = event["Type"] == "image" and event["ID"].startswith(value)
        return own or value in (name, plain, plain.partition(":")[0]) and event["Type"] != "volume"
    return event["Type"] == key and (event["Name"] == value or event["ID"].startswith(value))


def read(engine, wanted, past, follow, show):
    """Call ``show(event)`` for each event (dict) that is wanted, in the order they came.

    ``past``: those that were; ``follow``: those to come, until ``wanted.until`` has passed.
    """
    log = events.path(engine)
    root = engine.store.root  # made if it isn't there
    with Watch([root]) as watch:
        _follow_from(log, wanted, past, follow, show, watch)


def _follow_from(log, wanted, past, follow, show, watch):
    """Everything up to now, shown or only taken notice of, then what comes."""
    shown = show if past else (lambda event: None)
    _show(_whole(f"{log}.1"), wanted, shown)
    descriptor, rest = None, b""
    try:
        while True:
            if descriptor is None:
                descriptor, rest = _open(log), b""
            if descriptor is not None:
                rest = _show(rest + _all(descriptor), wanted, shown)
                if not _is_current(descriptor, log):
                    rest = _show(rest + _all(descriptor), wanted, shown)
                    os.close(descriptor)
                    descriptor = None
                    continue
            shown = show
            if not follow or _left(wanted) == 0:
                return
            watch.wait(_left(wanted))
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _whole(name):
    try:
        with open(name, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _all(descriptor):
    parts = []
    while part := os.read(descriptor, _CHUNK):
        parts.append(part)
    return b"".join(parts)


def _left(wanted):
    """Seconds to wait at most, None for ever."""
    return None if wanted.until is None else max(0, wanted.until - time.time())


def _open(name):
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _is_current(descriptor, name):
    try:
        return os.fstat(descriptor).st_ino == os.stat(name).st_ino
    except FileNotFoundError:
        return False


def _show(content, wanted, show):
    """Show the complete lines; what is left of an incomplete one."""
    *lines, rest = content.split(b"\n")
    for line in lines:
        try:
            event = jsontext.loads(line)
            if wanted.takes(event):
                show(event)
        except (jsontext.DecodeError, KeyError, TypeError, AttributeError):
            continue  # cut short by a crash
    return rest
