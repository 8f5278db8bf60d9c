"""The tar reader and writer, against Python's own and against each other."""

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rootless.errors import RlError
from rootless.store import tarread
from rootless.store.codec import PIECE, detect, plain
from rootless.store.tarread import BadArchive, Stream, TarReader
from rootless.store.tarwrite import TarWriter


def read(data, size=1000):
    """[(entry, its data)] of an archive that comes in pieces of ``size`` bytes."""
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    reader = TarReader(Stream(pieces))
    return [(entry, b"".join(reader.views(entry.size))) for entry in reader]


def written(*members):
    parts = []
    writer = TarWriter(parts.append)
    for name, kind, content, facts in members:
        writer.header(name, kind, size=len(content), **facts)
        if content:
            file = os.memfd_create("content")
            os.write(file, content)
            os.lseek(file, 0, os.SEEK_SET)
            writer.content(file, len(content))
            os.close(file)
    writer.finish()
    return b"".join(parts)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [1, 511, 512, 10_000])
def test_reads_what_tarfile_writes(form, size):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for number in range(5):
            info = tarfile.TarInfo("d/" * number + "n" * (20 * number + 1))
            info.size, info.mtime, info.uid, info.mode = number * 300, 12345, 7, 0o4750
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    found = read(buffer.getvalue(), size)
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue())) as tar:
        wanted = tar.getmembers()
    assert [entry.name.decode() for entry, _ in found] == [member.name for member in wanted]
    for entry, data in found:
        assert (entry.mode, entry.uid, entry.mtime) == (0o4750, 7, 12345 * 10**9)
        assert data == b"x" * entry.size


def test_large_numbers():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.uid, info.gid, info.mtime = 4_000_000_000, 3_000_000, -5
        tar.addfile(info)
    (entry, _), = read(buffer.getvalue())
    assert (entry.uid, entry.gid, entry.mtime) == (4_000_000_000, 3_000_000, -5 * 10**9)


@pytest.mark.parametrize(("text", "value"), [
    (b"1", 10**9), (b"1.5", 1_500_000_000), (b"-1.5", -1_500_000_000), (b"0.000000001", 1),
    (b"1350244992.023960108", 1350244992023960108), (b"7.", 7 * 10**9),
    (b"1.1234567899", 1_123_456_789),
])  # fmt: skip
def test_nanoseconds(text, value):
    assert tarread.nanoseconds(text) == value


@pytest.mark.parametrize("text", [b"", b"x", b"1e9", b"--1", b"1.x", b"9" * 30, b"."])
def test_no_time(text):
    with pytest.raises(BadArchive):
        tarread.nanoseconds(text)


def test_pax_records():
    data = b"11 path=foo\n" b"13 a=b=\nc=d\n"
    assert tarread.parse_pax(b"12 path=foo\n") == {b"path": b"foo"}
    assert tarread.parse_pax(b"12 path=foo\n12 path=bar\n") == {b"path": b"bar"}
    assert tarread.parse_pax(b"12 a=b=\nc=d\n") == {b"a": b"b=\nc=d"}
    with pytest.raises(BadArchive):
        tarread.parse_pax(data)


@pytest.mark.parametrize("data", [b"hello, this is not a tar " * 100, b"\xff" * 1024])
def test_what_is_no_archive_is_called_so(data):
    with pytest.raises(BadArchive, match="it is no tar archive"):
        next(TarReader(Stream([data])))


def test_errors_show_text():
    with pytest.raises(BadArchive, match="hostile: 'x' is not a time"):
        tarread.nanoseconds(b"x")


@given(some.binary(max_size=300))
def test_no_pax_header_breaks_it(data):
    try:
        tarread.parse_pax(data)
    except BadArchive:
        pass


@given(some.binary(max_size=3000))
def test_no_bytes_break_it(data):
    try:
        read(data)
    except RlError as error:
        assert "\n" not in error.message


@given(some.lists(some.tuples(some.integers(0, 511), some.integers(0, 255)), max_size=6))
def test_no_header_breaks_it(changes):
    block = bytearray(written((b"name", b"0", b"", {}))[:512])
    for at, value in changes:
        block[at] = value
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    try:
        read(bytes(block) + bytes(1024))
    except RlError as error:
        assert "\n" not in error.message


NAMES = some.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)


@given(
    some.lists(
        some.tuples(
            NAMES, some.binary(max_size=1500), some.integers(0, 2**32 - 1),
            some.integers(-(2**40), 2**40),
        ),
        max_size=5,
    )
)
def test_what_is_written_can_be_read(members):
    data = written(*(
        (name, b"0", content, {"uid": uid, "mtime": mtime, "mode": 0o640})
        for name, content, uid, mtime in members
    ))
    assert len(data) % 512 == 0
    found = [
        (entry.name, content, entry.uid, entry.mtime // 10**9) for entry, content in read(data)
    ]
    assert found == [(name, content, uid, mtime) for name, content, uid, mtime in members]


def test_tarfile_reads_what_is_written():
    data = written(
        (b"d/", b"5", b"", {"mode": 0o755}),
        (b"d/" + b"n" * 200, b"0", b"content", {"uid": 3_000_000, "xattrs": {"user.a": b"b"}}),
        (b"l", b"2", b"", {"link": b"t" * 150}),
        (b"h", b"1", b"", {"link": b"l"}),
        (b"dev", b"3", b"", {"major": 1, "minor": 3}),
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = tar.getmembers()
        assert tar.extractfile(found[1]).read() == b"content"
    assert [member.type for member in found] == [b"5", b"0", b"2", b"1", b"3"]
    assert found[1].uid == 3_000_000 and found[1].pax_headers["SCHILY.xattr.user.a"] == "b"
    assert found[2].linkname == "t" * 150
    assert (found[4].devmajor, found[4].devminor) == (1, 3)


def test_only_what_has_a_known_beginning_is_decompressed():
    for head, codec in (
        (b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"), (b"\x50\x2a\x4d\x18", "zstd"), (b"", ""), (b"etc/", ""),
    ):
        assert detect(head) == codec
    data = os.urandom(3 * PIECE)
    pieces = list(plain("", io.BytesIO(data).read))
    assert b"".join(pieces) == data and max(map(len, pieces)) <= PIECE
