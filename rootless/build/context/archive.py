"""A context that comes as an archive: unpacked into a private directory.

The same confined child as for layers of images does it.  Owners don't count in a context, so
none is set; device nodes and whiteouts, which no context can have, are refused.
"""

from rootless.build.context.errors import BadContextArchive
from rootless.kernel import userns
from rootless.store import codec, tarread, unpack, unpacker

_HEAD = 1 << 16


class Extraction(unpack.Unpack):
    """A context: ``write`` the archive, ``finish``; the files are below ``path`` until
    ``close``."""

    what = "the archive"

    def __init__(self, store, what):
        self.what = what
        super().__init__(store)

    def _child_of(self, layer, reading, hasher, algorithm):
        return userns.start_in(self.store.ids, _extract, layer, reading, hasher, self.what)

    def finish(self):
        """Wait until all is there; raises BadArchive, BadContextArchive, NoSpace, …"""
        return self._result()

    @property
    def path(self):
        """The directory with the files."""
        return f"{self._work.path}/{unpack.BUILD}/{unpack.TREE}"


def _extract(layer, reading, hasher, what):
    unpack.let_go()
    feed = unpack.Feed(reading, hasher)
    facts = unpack.in_tree(layer, lambda listing: _make(feed, listing))
    for key, why in (("whiteouts", "a whiteout"), ("opaques", "a whiteout"),
                     ("devices", "a device")):  # fmt: skip
        if facts[key]:
            raise BadContextArchive(what, f"{sorted(facts[key])[0]!r} is {why}")
    return {"entries": facts["entries"]}


def _make(feed, listing):
    maker = unpacker.Unpacker(True, listing)
    feed.start()
    stream = tarread.Stream(feed)
    unpack.add_all(maker, tarread.TarReader(stream))
    maker.finish()
    stream.drain()
    return maker.index()


def looks_like_one(head):
    """Whether ``head``, the first bytes of a stream, begins a tar archive, packed or not.

    None if it is packed, but no archive is inside.
    """
    name = codec.detect(head)
    if not name:
        return len(head) >= tarread.BLOCK and tarread.is_header(head[: tarread.BLOCK])
    rest = head

    def read(size):
        nonlocal rest
        data, rest = rest[:size], rest[size:]
        return data

    plain = b""
    try:
        for piece in codec.plain(name, read):
            plain += piece
            if len(plain) >= tarread.BLOCK:
                break
    except codec.BadCompression:
        pass  # only its beginning is here
    if len(plain) >= tarread.BLOCK and tarread.is_header(plain[: tarread.BLOCK]):
        return True
    return None


def head_of(read):
    """The first bytes (up to 64 KiB) that ``read(n)`` gives, b"" at the end."""
    data = b""
    while len(data) < _HEAD:
        more = read(_HEAD - len(data))
        if not more:
            break
        data += more
    return data
