"""The functions of ``--format`` templates: Go's own, and those docker and podman add."""

from rootless.model import jsontext


def _template():
    from rootless.cli import template

    return template


def _show(value):
    return _template().show(value)


def _number(value):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise TypeError(f"{_show(value)} is not a number")


def _text(value):
    if isinstance(value, str):
        return value
    raise TypeError(f"{_show(value)} is not a text")


def _json(value):
    return jsontext.dumps(None if value is _template().NO_VALUE else value)


def _len(value):
    if isinstance(value, (str, list, tuple, dict)):
        return len(value)
    raise TypeError(f"{_show(value)} has no length")


def _index(value, *keys):
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, _template().NO_VALUE)
        elif isinstance(value, (list, tuple, str)):
            if not 0 <= _number(key) < len(value):
                raise IndexError(f"there are {len(value)} items, not {key + 1}")
            value = value[key]
        else:
            raise TypeError(f"{_show(value)} has no items")
    return value


def _slice(value, start=0, end=None):
    if not isinstance(value, (list, tuple, str)):
        raise TypeError(f"{_show(value)} has no items")
    if not 0 <= start <= (len(value) if end is None else end) <= len(value):
        raise IndexError(f"there are {len(value)} items")
    return value[start:end]


def _join(value, separator):
    # docker has join LIST SEPARATOR; in a pipe the list comes last, so take either order.
    if isinstance(value, str) and isinstance(separator, (list, tuple)):
        value, separator = separator, value
    if value is None:
        return ""
    return _text(separator).join(map(_show, value))


def _title(value):
    return " ".join(word[:1].upper() + word[1:] for word in _text(value).split(" "))


def _pad(value, before, after):
    return " " * before + _show(value) + " " * after


def _truncate(value, width):
    return _show(value)[:width]


def _print(*values):
    return "".join(map(_show, values))


def _println(*values):
    return " ".join(map(_show, values)) + "\n"


def _printf(pattern, *values):
    out, rest, values = [], _text(pattern), list(values)
    while rest:
        before, percent, rest = rest.partition("%")
        out.append(before)
        if not percent:
            break
        size = 0
        while size < len(rest) and rest[size] in "+-# 0123456789.":
            size += 1
        options, verb, rest = rest[:size], rest[size : size + 1], rest[size + 1 :]
        if verb == "%":
            out.append("%")
        elif not values:
            raise ValueError(f"a value for %{options}{verb} is missing")
        else:
            out.append(_format_one(options, verb, values.pop(0)))
    return "".join(out)


def _format_one(options, verb, value):
    if verb in ("s", "v"):
        return f"%{options}s" % _show(value)
    if verb == "q":
        return f"%{options}s" % jsontext.dumps(_show(value))
    if verb == "t":
        return f"%{options}s" % _show(bool(value))
    if verb in ("d", "x", "X", "o"):
        return f"%{options}{verb}" % int(_number(value))
    if verb in ("f", "e", "g"):
        return f"%{options}{verb}" % float(_number(value))
    raise ValueError(f"unknown %{verb}")


def _compare(test):
    def function(first, second):
        try:
            return test(first, second)
        except TypeError:
            raise TypeError(f"{_show(first)} and {_show(second)} can't be compared") from None

    return function


def _eq(first, *others):
    if not others:
        raise TypeError("a second value is missing")
    return any(first == other and isinstance(first, bool) == isinstance(other, bool)
               for other in others)  # fmt: skip


def _and(*values):
    for value in values:
        if not value:
            return value
    return values[-1]


def _or(*values):
    for value in values:
        if value:
            return value
    return values[-1]


FUNCTIONS = {
    "and": _and,
    "eq": _eq,
    "ge": _compare(lambda a, b: a >= b),
    "gt": _compare(lambda a, b: a > b),
    "index": _index,
    "join": _join,
    "json": _json,
    "le": _compare(lambda a, b: a <= b),
    "len": _len,
    "lower": lambda value: _text(value).lower(),
    "lt": _compare(lambda a, b: a < b),
    "ne": lambda first, second: not _eq(first, second),
    "not": lambda value: not value,
    "or": _or,
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": lambda value, separator: _text(value).split(_text(separator)),
    "title": _title,
    "truncate": _truncate,
    "upper": lambda value: _text(value).upper(),
}


def _heading(*values):
    """What any function makes of a heading: the heading."""
    names = [value for value in values if isinstance(value, str) and value.isupper()]
    return names[0] if names else ""


HEADING_FUNCTIONS = dict.fromkeys(FUNCTIONS, _heading)
