"""The four ways in which GNU tar writes files with holes.

Old GNU headers (type S), and the pax formats 0.0, 0.1 and 1.0; see "Storing Sparse Files"
in the manual of GNU tar.
"""

from rootless.store.tarread import BLOCK, META_LIMIT, BadArchive, _number, _octal

_MOST = META_LIMIT // 24


def read(reader, entry, block, pax):
    """Set ``sparse``, ``length`` and perhaps ``name`` of an entry that is, or looks, sparse."""
    if block[156] == 0x53:
        pairs = _old_gnu(reader, block)
        length = _octal(block[483:495])
    elif b"GNU.sparse.major" in pax:
        if (pax[b"GNU.sparse.major"], pax.get(b"GNU.sparse.minor")) != (b"1", b"0"):
            raise BadArchive(problem="a sparse file is of an unknown version")
        pairs = _in_data(reader)
        length = _number(pax.get(b"GNU.sparse.realsize", b""), "size")
    elif b"GNU.sparse.map" in pax:
        words = pax[b"GNU.sparse.map"].split(b",")
        pairs = _pairs(words if words != [b""] else [])
        length = _number(pax.get(b"GNU.sparse.size", b""), "size")
    elif b"GNU.sparse.pairs" in pax:
        pairs = _pairs(pax[b"GNU.sparse.pairs"])
        length = _number(pax.get(b"GNU.sparse.size", b""), "size")
    else:
        return
    if pax.get(b"GNU.sparse.name"):
        entry.name = pax[b"GNU.sparse.name"]
    _check(pairs, length, reader.left)
    entry.sparse, entry.length, entry.size = pairs, length, reader.left


def _check(pairs, length, stored):
    """Refuse maps that overlap, run backwards or don't match the data."""
    if length < 0 or length >> 62:
        raise BadArchive(problem="a sparse file has an impossible size")
    position = total = 0
    for offset, size in pairs:
        if offset < position or size < 0 or offset + size > length:
            raise BadArchive(problem="the map of a sparse file makes no sense")
        position = offset + size
        total += size
    if total != stored:
        raise BadArchive(problem="the map of a sparse file doesn't match its data")


def _pairs(words):
    if len(words) % 2 or len(words) > 2 * _MOST:
        raise BadArchive(problem="the map of a sparse file makes no sense")
    numbers = [_number(word, "place in a file") for word in words]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _old_gnu(reader, block):
    pairs = _slots(block, 386, 4)
    more = block[482]
    while more:
        block = reader.stream.need(BLOCK)
        pairs += _slots(block, 0, 21)
        more = block[504]
        if len(pairs) > _MOST:
            raise BadArchive(problem="the map of a sparse file is too long")
    return pairs


def _slots(block, at, count):
    pairs = []
    for start in range(at, at + 24 * count, 24):
        if not block[start]:
            break
        pairs.append((_octal(block[start : start + 12]), _octal(block[start + 12 : start + 24])))
    return pairs


def _in_data(reader):
    """Format 1.0: the map is decimal lines at the start of the data, padded to a block."""
    text, lines, wanted = b"", [], None
    while wanted is None or len(lines) < wanted:
        if reader.left < BLOCK or len(lines) > 2 * _MOST:
            raise BadArchive(problem="the map of a sparse file makes no sense")
        text += b"".join(reader.views(BLOCK))
        *whole, text = text.split(b"\n")
        if len(text) > BLOCK:
            raise BadArchive(problem="the map of a sparse file makes no sense")
        lines += whole
        if wanted is None and lines:
            wanted = 1 + 2 * _number(lines[0], "count")
    return _pairs(lines[1:wanted])
