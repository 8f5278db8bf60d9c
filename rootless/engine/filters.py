"""The --filter options that listing and pruning verbs share (podman-volume-ls(1), -prune(1))."""

import time

from rootless.errors import RlError

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LAST = 253402300799  # of the year 9999


class BadFilter(RlError):
    """--filter {0}: {1}"""

    hint = "filters are KEY=VALUE, such as label=tier=web"


class BadMoment(BadFilter):
    """{0!r}: not a point in time"""

    hint = "a Unix time stamp, 2026-01-31, 2026-01-31T12:00:00Z, or a duration ago: 1h30m"


def parse(texts, allowed):
    """``KEY=VALUE`` texts as a list of (key, value); "label!" is the key of label!=….

    ``allowed`` are the keys that the verb knows.  Raises BadFilter.
    """
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadFilter(text, "expected KEY=VALUE")
        if key not in allowed:
            raise BadFilter(text, "unknown filter", hint="known here: " + ", ".join(allowed))
        pairs.append((key, value))
    return pairs


def has_label(labels, wanted):
    """Whether the dict ``labels`` has KEY, or KEY with that value for KEY=VALUE."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def truth(key, value):
    """A filter's true or false, as strconv.ParseBool reads it. Raises BadFilter."""
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise BadFilter(f"{key}={value}", "expected true or false")


def seconds(text):
    """A Go duration ("90s", "1h30m", "1.5h") in seconds as float; None if it isn't one."""
    total, rest, sign = 0.0, text, 1
    if rest[:1] in ("-", "+"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if not rest:
        return None
    while rest:
        digits = 0
        while digits < len(rest) and (rest[digits].isdecimal() or rest[digits] == "."):
            digits += 1
        letters = digits
        while letters < len(rest) and not (rest[letters].isdecimal() or rest[letters] == "."):
            letters += 1
        try:
            total += float(rest[:digits]) * _UNITS[rest[digits:letters]]
        except (ValueError, KeyError):
            return None
        rest = rest[letters:]
    return sign * total


def moment(text, now=None):
    """A point in time as seconds since 1970 (float): a Unix time stamp, a date, or how
    long ago as a Go duration. Raises BadMoment."""
    try:
        return _near(float(text), text)
    except ValueError:
        pass
    ago = seconds(text)
    if ago is not None:
        return _near((time.time() if now is None else now) - ago, text)
    from datetime import datetime

    try:
        # Python 3.10 knows neither Z nor nanoseconds.
        return datetime.fromisoformat(_plain_date(text)).timestamp()
    except ValueError:
        raise BadMoment(text) from None


def _near(stamp, text):
    if abs(stamp) <= _LAST:
        return stamp
    raise BadMoment(text)  # also for what isn't a number


def _plain_date(text):
    text = text[:-1] + "+00:00" if text.endswith("Z") else text
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = 0
    while digits < len(tail) and tail[digits].isdecimal():
        digits += 1
    return f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}"
