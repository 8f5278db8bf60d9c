"""The table of contents of image archives, hostile ones included."""

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.image.archive.bundle import BadArchive, Bundle, Directory, NotAnArchive, Tar
from support import oci


def opened(data, tmp_path, name="archive"):
    path = tmp_path / name
    path.write_bytes(data)
    return Tar(str(path), os.open(path, os.O_RDONLY))


def archive(*members, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members(tmp_path, form):
    long = "/".join(["d" * 60] * 3) + "/name"
    data = archive(oci.directory("d"), oci.entry("d/a", b"1" * 700), oci.entry("./b", b"2"),
                   oci.entry(long, b"3"), oci.entry("empty"), form=form)  # fmt: skip
    with opened(data, tmp_path) as bundle:
        assert bundle.read("d/a", 1000) == b"1" * 700
        assert bundle.read("b", 10) == b"2"
        assert bundle.read(long, 10) == b"3"
        assert bundle.read("empty", 10) == b""
        assert bundle.has("b") and not bundle.has("c") and not bundle.has("d")


def test_links_inside_are_followed(tmp_path):
    data = archive(oci.entry("a/layer.tar", b"x"), oci.symlink("b/layer.tar", "../a/layer.tar"),
                   oci.hardlink("c", "a/layer.tar"), oci.symlink("d", "b/layer.tar"))  # fmt: skip
    with opened(data, tmp_path) as bundle:
        assert [bundle.read(n, 9) for n in ("b/layer.tar", "c", "d")] == [b"x"] * 3


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "nothing", "evil"])
def test_links_that_lead_nowhere_good(tmp_path, target):
    with opened(archive(oci.symlink("evil", target)), tmp_path) as bundle:
        assert not bundle.has("evil")
        with pytest.raises(BadArchive):
            bundle.read("evil", 10)


@pytest.mark.parametrize("name", ["/manifest.json", "../manifest.json", "a/../../manifest.json"])
def test_names_that_lead_out_are_not_there(tmp_path, name):
    with opened(archive(oci.entry(name, b"x")), tmp_path) as bundle:
        assert not bundle.has("manifest.json") and not bundle.has(name)


def test_what_is_no_file_is_passed_over(tmp_path):
    data = archive(oci.entry("fifo", type=tarfile.FIFOTYPE), oci.entry("dev", type=tarfile.CHRTYPE),
                   oci.entry("a", b"1"))  # fmt: skip
    with opened(data, tmp_path) as bundle:
        assert bundle.has("a") and not bundle.has("fifo") and not bundle.has("dev")


def test_one_name_twice(tmp_path):
    with pytest.raises(BadArchive, match="twice"):
        opened(archive(oci.entry("a", b"1"), oci.entry("./a", b"2")), tmp_path)


def test_limits(tmp_path):
    with opened(archive(oci.entry("a", b"1" * 100)), tmp_path) as bundle:
        assert bundle.read("a", 100)
        with pytest.raises(BadArchive, match="MiB"):
            bundle.read("a", 99)


def header(**change):
    """A member's header with fields overwritten: (offset, bytes)."""
    block = bytearray(archive(oci.entry("a", b"x"), form=tarfile.USTAR_FORMAT)[:512])
    for offset, value in change.values():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "data",
    [
        header(size=(124, b"77777777777\0")),
        header(size=(124, b"\x80" + b"\xff" * 11)),
        header(size=(124, b"xxxxxxxxxxx\0")),
        header(kind=(156, b"L"), size=(124, b"00077777777\0")),
        header(kind=(156, b"x"), size=(124, b"00000000020\0")) + b"9999 path=a\n".ljust(512, b"\0"),
        header(kind=(156, b"x"), size=(124, b"00000000020\0")) + b"0 path=a\n".ljust(512, b"\0"),
        header(kind=(156, b"x"), size=(124, b"00000000013\0")) + b"11 size=-5\n".ljust(512, b"\0"),
        header() + b"x".ljust(512, b"\0") + b"not a header at all".ljust(512, b"!"),
    ],
)
def test_headers_that_lie(tmp_path, data):
    with pytest.raises(BadArchive):
        opened(data, tmp_path).close()


@pytest.mark.parametrize("data", [b"not a tar" * 100, b"\x7fELF" + b"\1" * 600, b"PK\3\4" * 200])
def test_what_is_no_tar(tmp_path, data):
    with pytest.raises(NotAnArchive):
        opened(data, tmp_path)


def test_nothing_at_all(tmp_path):
    with opened(b"", tmp_path) as bundle:
        assert not bundle.has("manifest.json")


def test_a_cut_archive(tmp_path):
    data = archive(oci.entry("a", b"x" * 2000))
    with pytest.raises(BadArchive, match="too early"):
        opened(data[:1200], tmp_path)


@given(
    st.lists(st.tuples(st.integers(0, 1100), st.binary(min_size=1, max_size=12)), max_size=6),
    st.integers(0, 2600),
)
def test_junk_ends_in_an_error_or_not_at_all(tmp_path_factory, edits, cut):
    data = bytearray(archive(oci.entry("a", b"1" * 20), oci.symlink("b", "a")))
    for offset, value in edits:
        data[offset : offset + len(value)] = value
    try:
        opened(bytes(data[:cut]), tmp_path_factory.mktemp("junk")).close()
    except (BadArchive, NotAnArchive):
        pass


def test_descriptors_are_closed_after_an_error(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(NotAnArchive):
            opened(b"x" * 600, tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


# --- directories ---------------------------------------------------------------------------


def test_a_directory(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/a").write_bytes(b"1")
    with Directory(str(tmp_path)) as bundle:
        assert isinstance(bundle, Bundle) and bundle.has("blobs/a")
        assert bundle.read("blobs/a", 5) == b"1"


def test_a_directory_that_lies(tmp_path):
    (tmp_path / "secret").write_bytes(b"s")
    root = tmp_path / "layout"
    root.mkdir()
    os.symlink("../secret", root / "link")
    os.symlink("..", root / "up")
    os.mkfifo(root / "fifo")
    with Directory(str(root)) as bundle:
        for path in ("link", "up/secret", "../secret", "/etc/passwd", "fifo", "", "."):
            assert not bundle.has(path)
