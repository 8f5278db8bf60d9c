"""D-Bus messages as bytes: what one call to systemd needs of the D-Bus specification.

Little-endian, protocol version 1 (dbus.freedesktop.org, "Message Protocol"); no descriptors.
Our own, because the libraries cost more than the whole start: importing jeepney takes 41 ms,
dbus-fast 150 ms, all of rootless/cgroup 4 ms (docs/limits.md).
"""

from _struct import Struct, error, pack

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
# Header fields ("Header Fields"): code → signature of the value.
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
_FIELDS = {PATH: "o", INTERFACE: "s", MEMBER: "s", ERROR_NAME: "s", REPLY_SERIAL: "u",
           DESTINATION: "s", SENDER: "s", SIGNATURE: "g"}  # fmt: skip
_NUMBERS = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_ALIGN = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}
LONGEST = 1 << 20  # no answer of systemd's to us is longer
_HEAD = Struct("<BBBBIII")


class Malformed(ValueError):
    """Bytes that are no D-Bus message."""


# --- writing -------------------------------------------------------------------------------


def types(signature):
    """The complete types of a signature: "sa(sv)" is ["s", "a(sv)"]."""
    found, position = [], 0
    while position < len(signature):
        end = _end(signature, position)
        found.append(signature[position:end])
        position = end
    return found


def _end(signature, position):
    while signature[position : position + 1] == "a":
        position += 1
    first = signature[position : position + 1]
    if not first:
        raise Malformed("a signature ends too early")
    if first in "({":
        if signature[position + 1 : position + 2] in ")}":
            raise Malformed("a struct of nothing")  # an array of these would never end
        depth = 0
        for place in range(position, len(signature)):
            depth += (signature[place] in "({") - (signature[place] in ")}")
            if not depth:
                return place + 1
        raise Malformed("a bracket of a signature is not closed")
    return position + 1


def _pad(data, alignment):
    data += bytes(-len(data) % alignment)


def put(data, kind, value):
    """Append ``value`` of the complete type ``kind`` to the bytearray ``data``."""
    code = kind[0]
    _pad(data, _ALIGN.get(code, 4))
    if code in _NUMBERS:
        data += pack("<" + _NUMBERS[code], value)
    elif code == "b":
        data += pack("<I", bool(value))
    elif code in "so":
        text = value.encode()
        data += pack("<I", len(text)) + text + b"\0"
    elif code == "g":
        data += bytes([len(value)]) + value.encode() + b"\0"
    elif code == "v":
        inner, content = value
        put(data, "g", inner)
        put(data, inner, content)
    elif code == "(":
        for part, content in zip(types(kind[1:-1]), value, strict=True):
            put(data, part, content)
    elif code == "a":
        _put_array(data, kind[1:], value)
    else:
        raise Malformed(f"type {kind!r}")


def _put_array(data, kind, values):
    place = len(data)
    data += bytes(4)
    _pad(data, _ALIGN.get(kind[0], 4))
    begin = len(data)
    for value in values:
        put(data, kind, value)
    data[place : place + 4] = pack("<I", len(data) - begin)


def call(serial, destination, path, interface, member, signature="", *arguments):
    """The bytes of a method call."""
    body = bytearray()
    for kind, value in zip(types(signature), arguments, strict=True):
        put(body, kind, value)
    fields = [(PATH, path), (INTERFACE, interface), (MEMBER, member), (DESTINATION, destination)]
    if signature:
        fields.append((SIGNATURE, signature))
    data = bytearray(b"l\x01\x00\x01" + pack("<II", len(body), serial))
    put(data, "a(yv)", [(code, (_FIELDS[code], value)) for code, value in fields])
    _pad(data, 8)
    return bytes(data + body)


# --- reading -------------------------------------------------------------------------------


class Reader:
    """Values out of the bytes of a message, from ``position`` on; raises Malformed."""

    def __init__(self, data, position=0):
        self.data = data
        self.position = position

    def get(self, kind):
        """The value of the complete type ``kind``."""
        code = kind[0]
        self._align(_ALIGN.get(code, 4))
        if code in _NUMBERS:
            return self._number(_NUMBERS[code])
        if code == "b":
            return bool(self._number("I"))
        if code in "so":
            return self._text(self._number("I"))
        if code == "g":
            return self._text(self._number("B"))
        if code == "v":
            inner = types(self._text(self._number("B")))
            if len(inner) != 1:
                raise Malformed("a variant has not one type")
            return self.get(inner[0])
        if code in "({":
            return tuple(self.get(part) for part in types(kind[1:-1]))
        if code == "a":
            return self._array(kind[1:])
        raise Malformed(f"type {kind!r}")

    def _array(self, kind):
        length = self._number("I")
        self._align(_ALIGN.get(kind[0], 4))
        end = self.position + length
        if end > len(self.data):
            raise Malformed("an array is longer than its message")
        found = []
        while self.position < end:
            found.append(self.get(kind))
        return found

    def _align(self, alignment):
        self.position += -self.position % alignment

    def _number(self, code):
        layout = Struct("<" + code)
        try:
            (value,) = layout.unpack_from(self.data, self.position)
        except error as what:
            raise Malformed(str(what)) from None
        self.position += layout.size
        return value

    def _text(self, length):
        end = self.position + length
        if end >= len(self.data):
            raise Malformed("a text is longer than its message")
        text = bytes(self.data[self.position : end]).decode("utf-8", "replace")
        self.position = end + 1
        return text


class Message:
    """A message that came: ``kind`` (CALL, RETURN, ERROR, SIGNAL), ``fields`` by code, ``body``
    (list of values)."""

    def __init__(self, kind, fields, body):
        self.kind = kind
        self.fields = fields
        self.body = body


def parse(data):
    """(Message, bytes used) of the first message in ``data``; (None, 0) if it isn't whole.

    Raises Malformed, also for a message longer than LONGEST.
    """
    if len(data) < 16:
        return None, 0
    order, kind, _, version, body_length, _, fields_length = _HEAD.unpack_from(data)
    if order != ord("l") or version != 1:
        raise Malformed("not a little-endian D-Bus message")
    start = 16 + fields_length
    start += -start % 8
    whole = start + body_length
    if whole > LONGEST:
        raise Malformed("a message is too long")
    if len(data) < whole:
        return None, 0
    data = bytes(data[:whole])
    try:
        fields = dict(Reader(data, 12).get("a(yv)"))
        body = Reader(data[start:])
        signature = fields.get(SIGNATURE, "")
        if not isinstance(signature, str):
            raise Malformed("the signature is no text")
        values = [body.get(part) for part in types(signature)]
    except RecursionError:
        raise Malformed("nested too deeply") from None
    return Message(kind, fields, values), whole
