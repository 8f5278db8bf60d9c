"""/etc/ld.so.cache: where the dynamic loader looks libraries up (glibc elf/cache.c).

Two headers are in use: the new one alone, and the new one behind a table of the old kind.
Offsets of strings count from the new header.  Entries are sorted for a binary search.
"""

import struct

_OLD = b"ld.so-1.7.0\0"
_NEW = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sIIB3xI12x")
_ENTRY = struct.Struct("=iIIIQ")
_MAX_ENTRIES = 1 << 20


class Cache:
    """``entries``: (library's name, path, flags, osversion, hwcap) in the file's order."""

    def __init__(self, entries=()):
        self.entries = list(entries)
        self._by_name = {}
        for entry in self.entries:
            self._by_name.setdefault(entry[0], []).append(entry)

    def find(self, name):
        """The paths that the loader would try for a library, without those for special
        processors: the base one does everywhere."""
        return [entry[1] for entry in self._by_name.get(name, ()) if entry[4] == 0]

    def only(self, pairs):
        """A Cache with the entries whose (name, path) is in ``pairs``."""
        return Cache(e for e in self.entries if (e[0], e[1]) in pairs and e[4] == 0)

    def to_bytes(self):
        """The file, as the loader reads it."""
        strings, positions = bytearray(), {}
        start = _HEADER.size + _ENTRY.size * len(self.entries)
        for entry in self.entries:
            for text in entry[:2]:
                if text not in positions:
                    positions[text] = start + len(strings)
                    strings += text.encode("utf-8", "surrogateescape") + b"\0"
        # 2: "little endian" in flags (glibc 2.33+); 0 would mean unknown, which is read too.
        out = bytearray(_HEADER.pack(_NEW, len(self.entries), len(strings), 0, 0))
        for name, path, flags, version, hwcap in self.entries:
            out += _ENTRY.pack(flags, positions[name], positions[path], version, hwcap)
        return bytes(out + strings)


def parse(data):
    """The Cache in ``data`` (bytes); an empty one if that makes no sense to us."""
    base = 0
    if data.startswith(_OLD) and len(data) >= 16:
        # The header is 12 + 4 bytes, an entry 12; what follows starts at a multiple of 8.
        base = -(-(16 + 12 * struct.unpack_from("=I", data, 12)[0]) // 8) * 8
    if len(data) < base + _HEADER.size or not data.startswith(_NEW, base):
        return Cache()
    count = _HEADER.unpack_from(data, base)[1]
    if count > _MAX_ENTRIES or base + _HEADER.size + count * _ENTRY.size > len(data):
        return Cache()
    found = []
    for number in range(count):
        flags, key, value, version, hwcap = _ENTRY.unpack_from(
            data, base + _HEADER.size + number * _ENTRY.size
        )
        name, path = _string(data, base + key), _string(data, base + value)
        found.append((name, path, flags, version, hwcap))
    return Cache(found)


def _string(data, start):
    end = data.find(b"\0", start)
    return data[start : end if end >= 0 else start].decode("utf-8", "surrogateescape")


def load(path="/etc/ld.so.cache"):
    """The Cache in the file ``path``; an empty one if there is none."""
    try:
        with open(path, "rb") as file:
            return parse(file.read())
    except OSError:
        return Cache()
