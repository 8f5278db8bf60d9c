"""Small values of the command line: sizes, signals, paths, lists.  All pure."""

from rootless.errors import RlError

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_TRUE = ("true", "1", "t", "yes", "y")
_FALSE = ("false", "0", "f", "no", "n")

# signal(7): the numbers of all architectures of Linux but MIPS, Alpha, SPARC and PA-RISC.
SIGNALS = {
    name: number
    for number, name in enumerate(
        "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT"
        " STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(),
        1,
    )
}
SIGNALS.update(IOT=6, CLD=17, POLL=29, UNUSED=31, RTMIN=34, RTMAX=64)


class BadOption(RlError):
    """{0} {1}: {2}"""


def fail(option, value, why, hint=None):
    """Raise BadOption: ``option`` with its dashes, the ``value`` as typed, what is wrong."""
    if hint is None and option.startswith("-"):
        hint = f"man rl-run describes {option.partition(' ')[0]}"
    raise BadOption(option, value, why, hint=hint and hint.replace("{", "{{").replace("}", "}}"))


def size(option, text):
    """Bytes (int) of NUMBER[UNIT]: b, k, m, g, t, p, also kb, kib; powers of 1024."""
    digits = text.rstrip("bBkKmMgGtTpPiI")
    unit = text[len(digits) :].lower()
    unit = unit[:1] if unit[1:] in ("", "b", "ib") and not unit.startswith("bb") else None
    whole, dot, fraction = digits.partition(".")
    good = whole.isdecimal() and (fraction.isdecimal() or not dot) and digits.isascii()
    if unit not in _UNITS or not good or len(digits) > 20:
        fail(option, text, "not a size", "a number and a unit, for example 64m or 1g")
    value = int(float(digits) * _UNITS[unit]) if dot else int(digits) * _UNITS[unit]
    if value >= 1 << 63:
        fail(option, text, "more than any machine has", "a number and a unit, for example 64m")
    return value


def truth(option, key, text):
    """bool of what stands behind ``key=``; an empty text (the key alone) is True."""
    if text is None or text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    fail(option, f"{key}={text}", "neither true nor false")


def signal(option, text):
    """The number (int) of a signal: TERM, SIGTERM, 15, SIGRTMIN+3, RTMAX-1."""
    name = text.upper().removeprefix("SIG")
    if name.isdecimal() and name.isascii() and len(name) < 4:
        if 1 <= int(name) <= 64:
            return int(name)
    elif name in SIGNALS:
        return SIGNALS[name]
    else:
        for base, sign in (("RTMIN+", 1), ("RTMAX-", -1)):
            offset = name.removeprefix(base)
            if name.startswith(base) and offset.isdecimal() and int(offset) <= 30:
                return SIGNALS[base[:-1]] + sign * int(offset)
    fail(option, text, "no such signal", "a name or a number of signal(7), for example SIGINT or 2")


def number(option, text, low, high, base=10):
    """An int of ``text`` from ``low`` to ``high``; BadOption."""
    digits = text[1:] if text[:1] == "-" else text
    allowed = "01234567" if base == 8 else "0123456789"
    if digits and set(digits) <= set(allowed) and len(digits) < 20:
        value = int(text, base)
        if low <= value <= high:
            return value
    fail(option, text, f"not a number from {low} to {high}" if base == 10 else "not an octal mode")


def csv(option, text):
    """The fields of one line of comma-separated values; "" in quotes is one quote."""
    fields, rest = [], text
    while True:
        if rest.startswith('"'):
            field, position = "", 1
            while True:
                end = rest.find('"', position)
                if end < 0:
                    fail(option, text, "a quotation mark is not closed")
                field += rest[position:end]
                if rest[end + 1 : end + 2] != '"':
                    break
                field, position = field + '"', end + 2
            rest = rest[end + 1 :]
            if rest and not rest.startswith(","):
                fail(option, text, "there is text behind a closing quotation mark")
        else:
            field = rest.partition(",")[0]
            rest = rest[len(field) :]
        fields.append(field)
        if not rest:
            return fields
        rest = rest[1:]


def container_path(option, value, path):
    """An absolute path of the container, cleaned lexically ("/a//b/../c" is "/a/c").

    The container resolves links itself; this only makes two spellings compare equal.
    """
    if not path.startswith("/"):
        fail(option, value, f"{path!r} is not an absolute path of the container")
    if "\0" in path or "\n" in path:
        fail(option, value, "a path of the container has no line break and no NUL")
    parts = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def key_values(option, entries):
    """KEY=VALUE entries as a dict; KEY alone has the value "".  BadOption if a key is empty."""
    found = {}
    for entry in entries:
        key, _, value = entry.partition("=")
        if not key.strip():
            fail(option, repr(entry), "it has no key", f"write it as {option} KEY=VALUE")
        found[key] = value
    return found


def read_lines(option, path, limit=1 << 20):
    """The lines (str, without their ends) of a file that the user named; BadOption."""
    import os

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb", 0) as file:
            content = b""
            while len(content) <= limit:
                chunk = file.read(limit + 1 - len(content))
                if not chunk:
                    break
                content += chunk
    except OSError as error:
        fail(option, path, error.strerror)
    if len(content) > limit:
        fail(option, path, "it is larger than 1 MiB")
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError:
        fail(option, path, "it is not UTF-8 text")
    if "\0" in text:
        fail(option, path, "it has a NUL character")
    return [line.removesuffix("\r") for line in text.split("\n")]
