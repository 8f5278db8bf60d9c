"""Look-ups in a hostile root never leave it."""

import os
import stat

import pytest

from rootless.runtime.rootdir import BadTarget, RootDir


@pytest.fixture
def place(tmp_path):
    """(root, RootDir): a root with links to outside, beside something to protect."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "dir" / "deep").mkdir(parents=True)
    (root / "file").write_text("content")
    os.mkfifo(root / "fifo")
    for name, target in (
        ("absolute", str(tmp_path / "outside")), ("climb", "../../../../../../etc"),
        ("up", ".."), ("here", "."), ("self", "self"), ("one", "two"), ("two", "one"),
        ("dangling", "not/there"), ("to-dir", "dir"), ("to-root", "/"), ("rel", "dir/../file"),
        ("proc", "/proc/self/root"),
    ):  # fmt: skip
        os.symlink(target, root / name)
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield root, RootDir(descriptor)
    os.close(descriptor)
    assert sorted(os.listdir(tmp_path / "outside")) == ["secret"]
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]


def same(descriptor, path):
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path, leads", [
    ("/", "."), ("", "."), ("..", "."), ("../../..", "."), ("up", "."), ("up/up/file", "file"),
    ("to-dir/deep", "dir/deep"), ("/rel", "file"), ("here/here/file", "file"),
    ("to-root/file", "file"), ("dir/../../../file", "file"),
])  # fmt: skip
def test_open(place, path, leads):
    root, found = place
    assert same(found.open(path), root / leads)


@pytest.mark.parametrize("path", ["absolute", "absolute/secret", "climb/passwd", "self", "one",
                                  "dangling", "proc/etc", "nothing"])  # fmt: skip
def test_what_is_not_inside_is_not_there(place, path):
    _, found = place
    with pytest.raises(OSError):
        found.open(path)
    assert not found.exists(path)
    assert found.read(path, 100) is None


def test_read(place):
    root, found = place
    assert found.read("/file", 100) == b"content" and found.read("rel", 3) == b"con"
    assert found.read("fifo", 100) is None and found.read("dir", 100) is None


@pytest.mark.parametrize("path, leads", [
    ("/new/and/deeper", "new/and/deeper"), ("up/../made", "made"), ("to-dir/x", "dir/x"),
    ("dangling", "not/there"), ("dangling/below", "not/there/below"),
    ("climb/made", "etc/made"), ("dir", "dir"), ("to-root/a/b", "a/b"),
])  # fmt: skip
def test_directories_are_made_inside(place, path, leads):
    root, found = place
    assert same(found.directory(path), root / leads)
    assert stat.S_ISDIR(os.stat(root / leads).st_mode)


def test_an_absolute_link_is_followed_inside(place):
    root, found = place
    made = found.directory("absolute/made")
    inside = root / os.readlink(root / "absolute").lstrip("/") / "made"
    assert same(made, inside)


@pytest.mark.parametrize("path, leads", [
    ("/dir/f", "dir/f"), ("dangling", "not/there"), ("file", "file"), ("climb/f", "etc/f"),
])  # fmt: skip
def test_files_are_made_inside(place, path, leads):
    root, found = place
    assert same(found.file(path), root / leads)
    assert stat.S_ISREG(os.stat(root / leads).st_mode)
    assert (root / "file").read_text() == "content"


@pytest.mark.parametrize("path", ["self", "self/x", "one/two", "file/x", "fifo/x"])
def test_impossible_targets(place, path):
    _, found = place
    for make in (found.directory, found.file):
        with pytest.raises(BadTarget) as error:
            make(path)
        assert path.split("/")[0] in error.value.message


@pytest.mark.parametrize("path", ["/", "up", "here", "to-root", "dir/..", "to-root/up/here"])
def test_nothing_is_mounted_on_the_root_itself(place, path):
    _, found = place
    with pytest.raises(BadTarget, match="root itself"):
        found.directory(path)


def test_plain(place):
    root, found = place
    assert same(found.directory("dir/deep", plain=True), root / "dir/deep")
    assert same(found.directory("fresh/one", plain=True), root / "fresh/one")
    for path in ("to-dir", "to-dir/deep", "here/dir", "dangling", "absolute/x"):
        with pytest.raises(BadTarget, match="symbolic link"):
            found.directory(path, plain=True)


def test_no_descriptor_is_lost(place):
    _, found = place
    before = os.listdir("/proc/self/fd")
    for path in ("to-dir", "up", "self", "dangling", "a/b", "file/x"):
        for make in (found.directory, found.file, lambda p: found.directory(p, plain=True)):
            try:
                os.close(make(path))
            except BadTarget:
                pass
    assert len(os.listdir("/proc/self/fd")) == len(before)
