"""Putting results on standard output: tables, JSON, templates, quantities for people."""

import sys

from rootless.errors import RlError
from rootless.model import jsontext

_GAP = 2
_NARROWEST = 12  # of a column, as podman's tables have it


class CannotWrite(RlError):
    """cannot write to standard output: {0}"""


# --- writing -------------------------------------------------------------------------------


def write(text):
    """Write ``text`` to standard output, escaped if that is a terminal. Raises CannotWrite."""
    try:
        sys.stdout.write(escape_for(sys.stdout, text))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotWrite(error.strerror) from None


def line(text=""):
    """Write one line to standard output; see ``write``."""
    write(f"{text}\n")


def warn(text):
    """Write one line about something to know to standard error."""
    sys.stderr.write(escape_for(sys.stderr, f"Warning: {text}\n"))
    sys.stderr.flush()


def escape_for(stream, text):
    """``text`` as it may go to ``stream``: escaped for a terminal, else unchanged."""
    return escape(text) if stream.isatty() else text


def escape(text):
    """``text`` without what a terminal would obey or be fooled by.

    Control characters but tab and newline (C0, DEL, C1) and the marks that turn the
    direction of writing (CVE-2021-42574) come out as ``\\x1b`` or ``\\u202e``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape_one, text))


def _escape_one(char):
    code = ord(char)
    if 0x20 <= code < 0x7F or char in "\n\t":
        return char
    if code < 0xA0:
        return f"\\x{code:02x}"
    if 0xDC80 <= code < 0xDD00:  # a byte that isn't UTF-8: it may be a C1 control
        return f"\\x{code - 0xDC00:02x}"
    if code in _BIDI:
        return f"\\u{code:04x}"
    return char


_BIDI = frozenset((0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)))


# --- tables --------------------------------------------------------------------------------


def columns(rows):
    """Rows of cells (sequences of str) as text in aligned columns (str, with newlines)."""
    rows = [[cell.replace("\n", "\\n").replace("\t", " ") for cell in row] for row in rows]
    widths = []
    for row in rows:
        for index, cell in enumerate(row[:-1]):
            if index == len(widths):
                widths.append(_NARROWEST)
            widths[index] = max(widths[index], len(cell) + _GAP)
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join((*cells, *row[-1:])).rstrip())
    return "".join(f"{text}\n" for text in lines)


def listing(items, fields, *, format=None, noheading=False, raw=None, hidden=()):
    """Write a list as ``--format`` wants it.

    ``items``    list of dicts: field → what is shown of it (str, or anything for templates);
                 fields that begin with _ are the caller's own and never shown
    ``fields``   the columns: ((heading, field), ...)
    ``format``   the option: None or "table" (the columns), "json", a template for each
                 item, or "table " and a template
    ``noheading`` leave the headings out
    ``raw``      what JSON shows, if not ``items``
    ``hidden``   further (heading, field) that only ``table`` templates may name
    Raises TemplateError.
    """
    if format is None or format.strip() == "table":
        rows = [] if noheading else [[heading for heading, _ in fields]]
        rows += [[str(item[field]) for _, field in fields] for item in items]
        if sys.stdout.isatty():  # before the widths are taken
            rows = [[escape(cell) for cell in row] for row in rows]
        write(columns(rows))
    elif format.strip() == "json":
        write(f"{pretty(_public(items) if raw is None else raw)}\n")
    else:
        from rootless.cli import template

        headings = {field: heading for heading, field in (*fields, *hidden)}
        write(template.render_list(format, _public(items), headings, noheading))


def _public(items):
    return [
        {field: value for field, value in item.items() if field[:1] != "_"} for item in items
    ]


def document(value, format=None):
    """Write one value as ``--format`` wants it: JSON, or a template over it."""
    if format is None or format.strip() == "json":
        write(f"{pretty(value)}\n")
        return
    from rootless.cli import template

    write(template.render(format, value) + "\n")


def pretty(value, indent="    ", _margin="\n"):
    """``value`` as JSON text over several lines, for people and scripts."""
    if isinstance(value, dict) and value:
        inner = _margin + indent
        parts = (
            f"{inner}{jsontext.dumps(str(key))}: {pretty(part, indent, inner)}"
            for key, part in value.items()
        )
        return "{" + ",".join(parts) + _margin + "}"
    if isinstance(value, (list, tuple)) and value:
        inner = _margin + indent
        return "[" + ",".join(inner + pretty(part, indent, inner) for part in value) + _margin + "]"
    return jsontext.dumps(value)


# --- quantities ----------------------------------------------------------------------------


def size(count):
    """A number of bytes for people: ``5.24 MB`` (units of 1000, three digits)."""
    value, units = float(count), iter(("B", "kB", "MB", "GB", "TB", "PB", "EB"))
    unit = next(units)
    while abs(value) >= 999.5 and unit != "EB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


_SPANS = (
    # below this many seconds: (seconds of the unit, its name)
    (60, 1, "second"),
    (3600, 60, "minute"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (730 * 86400, 30 * 86400, "month"),
)


def duration(seconds):
    """A length of time for people: ``2 minutes``, ``About an hour``."""
    seconds = int(seconds)
    if seconds < 1:
        return "Less than a second"
    if 60 <= seconds < 120:
        return "About a minute"
    if 3600 <= seconds < 7200:
        return "About an hour"
    unit, name = next(
        ((unit, name) for below, unit, name in _SPANS if seconds < below), (365 * 86400, "year")
    )
    count = seconds // unit
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def ago(then, now=None):
    """How long ago ``then`` (seconds since 1970) was: ``2 minutes ago``."""
    if now is None:
        import time

        now = time.time()
    return f"{duration(max(0, now - then))} ago"


def short(text, width, trunc=True):
    """``text`` cut to ``width`` characters with an ellipsis, if ``trunc``."""
    return text if not trunc or len(text) <= width else text[: width - 1] + "…"
