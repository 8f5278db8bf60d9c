"""Times and sizes as Go programs write them: ``1h30m``, ``1.5s``, ``100ms``; ``64m``."""

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_BINARY = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_LONGEST = 1 << 63
_DIGITS = frozenset("0123456789")


def nanoseconds(text):
    """``1h30m`` as int nanoseconds (time.ParseDuration of Go). ValueError says why not."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError("it is empty")
    if len(rest) > 64:
        raise ValueError("it is too long")
    total = 0
    while rest:
        whole, rest = _digits(rest)
        fraction = ""
        if rest.startswith("."):
            fraction, rest = _digits(rest[1:])
        if not whole and not fraction:
            raise ValueError(f"{text!r} isn't a duration")
        end = next((i for i, char in enumerate(rest) if char in _DIGITS or char == "."), len(rest))
        name, rest = rest[:end], rest[end:]
        if name not in _UNITS:
            missing = "a unit is missing" if not name else f"{name!r} isn't a unit of time"
            raise ValueError(f"{missing} in {text!r}")
        unit = _UNITS[name]
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
    if total >= _LONGEST:
        raise ValueError(f"{text!r} is longer than 292 years")
    return sign * total


def _digits(text):
    end = next((i for i, char in enumerate(text) if char not in _DIGITS), len(text))
    return text[:end], text[end:]


def size(text):
    """``64m``, ``1.5g``, ``512`` as int bytes; units are binary. ValueError says why not."""
    number = text.strip().lower()
    for ending in ("ib", "b"):
        if number.endswith(ending):
            number = number[: -len(ending)]
            break
    unit = number[-1:] if number[-1:] in _BINARY else ""
    number = number.removesuffix(unit).rstrip()
    whole, point, fraction = number.partition(".")
    good = whole and len(number) < 32 and not set(whole + fraction) - _DIGITS
    if not good or (point and not fraction):
        raise ValueError(f"{text!r} isn't a size; sizes look like 512, 64k, 100m, 1.5g")
    scale = 1 << _BINARY[unit]
    return int(whole) * scale + int(fraction or "0") * scale // 10 ** len(fraction)
