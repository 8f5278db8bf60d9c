"""Whatever is done to an archive, reading it gives entries or one of rl's errors, in the end."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rootless.errors import RlError
from rootless.store import codec, tarread
from support.layers import Archive


def pax():
    made = Archive().directory("d").file("d/a", b"x" * 700).symlink("l", "d/a").link("h", "d/a")
    return made.file("p", b"z", pax={"SCHILY.xattr.user.a": "b", "mtime": "1.5"}).data()


def gnu():
    made = Archive(tarfile.GNU_FORMAT).file("n" * 300, b"y" * 1500)
    return made.symlink("k" * 200, "t" * 200).data()


def spoiled(data, changes):
    """``data`` with bytes replaced, and checksums that are right again."""
    data = bytearray(data)
    for at, text in changes:
        at %= len(data)
        data[at : at + len(text)] = text
        start = at // 512 * 512
        block = data[start : start + 512]
        if len(block) == 512:
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
            data[start : start + 512] = block
    return bytes(data)


FIELD = some.one_of(some.binary(min_size=1, max_size=12),
                    some.text("01234567-", min_size=1, max_size=12).map(str.encode))  # fmt: skip
CHANGES = some.lists(some.tuples(some.integers(0, 1 << 20), FIELD), min_size=1, max_size=4)


@pytest.mark.parametrize("make", [pax, gnu])
@given(changes=CHANGES, piece=some.integers(1, 2000))
def test_any_archive(make, changes, piece):
    data = spoiled(make(), changes)
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    try:
        reader = tarread.TarReader(tarread.Stream(pieces))
        for number, entry in enumerate(reader):
            assert 0 <= entry.uid < 1 << 32 and 0 <= entry.mode < 0o10000
            if number % 2:
                assert sum(map(len, reader.views(entry.size))) == entry.size
    except RlError:
        pass


@given(at=some.integers(10, 1 << 16), flip=some.integers(1, 255))
def test_any_compressed_stream(at, flip):
    plain = pax()
    packed = bytearray(gzip.compress(plain, mtime=0))
    packed[at % (len(packed) - 10) + 10] ^= flip  # behind the header
    try:
        found = b"".join(codec.plain("gzip", io.BytesIO(packed).read))
    except RlError:
        return
    assert found == plain
