"""JSON text to values and back, without the 8 ms that ``import json`` costs.

The standard package spends nearly all of its import time on ``re``.  Its C half is enough
to read and write ordinary documents; where an interpreter has no such half, or has it
in another shape, the standard package is used.
"""


class DecodeError(ValueError):
    """The text is not a JSON document."""


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = None
    memo = {}


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _standard_loads(text):
    import json

    return json.loads(text, parse_constant=_refuse_constant)


def _standard_dumps(value, indent=None, sort_keys=False):
    import json

    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, indent=indent, sort_keys=sort_keys, separators=separators)


try:
    from _json import encode_basestring_ascii as _quote
    from _json import make_encoder as _make_encoder
    from _json import make_scanner as _make_scanner

    _Context.parse_constant = staticmethod(_refuse_constant)
    _scan = _make_scanner(_Context())
    _make_encoder(None, None, _quote, None, ":", ",", False, False, False)
except (ImportError, TypeError, AttributeError):
    _scan = None

_SPACE = " \t\r\n"


def loads(text):
    """The value of a JSON document.

    ``text`` is str, bytes or bytearray (UTF-8).  Raises DecodeError (RFC 8259).
    """
    if not isinstance(text, str):
        try:
            text = bytes(text).decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"not UTF-8: {error}") from None
    if _scan is not None:
        try:
            value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
            if not text[end:].strip(_SPACE):
                return value
        except (StopIteration, ValueError, RecursionError, SystemError):
            pass  # the C half can't word its own errors: read it again to say what is wrong
    try:
        return _standard_loads(text)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    except RecursionError:
        raise DecodeError("nested too deeply") from None


def dumps(value, indent=None, sort_keys=False):
    """``value`` as JSON text (str, ASCII); on one line unless ``indent`` gives spaces."""
    if _scan is None or indent is not None:
        return _standard_dumps(value, indent, sort_keys)
    encode = _make_encoder({}, _refuse_type, _quote, None, ":", ",", sort_keys, False, False)
    if isinstance(value, str):
        return _quote(value)
    return "".join(encode(value, 0))


def _refuse_type(value):
    raise TypeError(f"{type(value).__name__} has no JSON form")
