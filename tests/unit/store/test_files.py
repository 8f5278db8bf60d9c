"""kernel.files and kernel.tree on real directories."""

import contextlib
import errno
import fcntl
import os

import pytest

from rootless.kernel import files, tree


@pytest.fixture
def home(workdir):
    descriptor = os.open(workdir, files.DIRECTORY)
    yield descriptor
    os.close(descriptor)


def put(path, content=b"x", mode=0o644):
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


@pytest.fixture(params=["openat2", "without openat2"])
def opening(request, monkeypatch):
    if request.param != "openat2":
        def missing(*_, **__):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(files, "openat2", missing)


def test_nothing_above_and_no_link_is_opened(home, workdir, opening):
    os.makedirs(f"{workdir}/a/b")
    put(f"{workdir}/a/b/f", b"found")
    os.symlink("a", f"{workdir}/link")
    os.symlink("f", f"{workdir}/a/b/last")
    file = files.open_beneath(home, b"a/b/f", os.O_RDONLY)
    assert os.read(file, 9) == b"found"
    os.close(file)
    for path in ("link/b/f", "a/b/last", "a/../../etc", "a/b/f/g", "a/none"):
        with pytest.raises(OSError):
            files.open_beneath(home, path, os.O_RDONLY)
    os.close(files.open_beneath(home, ""))


def test_a_root_is_never_left(home, workdir):
    os.makedirs(f"{workdir}/etc")
    put(f"{workdir}/etc/passwd", b"inside")
    os.symlink("/etc/passwd", f"{workdir}/absolute")
    os.symlink("../../../../etc/passwd", f"{workdir}/up")
    for path in ("absolute", "up", "/etc/passwd", "../../etc/passwd"):
        file = files.openat2(home, path, os.O_RDONLY)
        assert os.read(file, 9) == b"inside"
        os.close(file)


def test_atomic_writing(home, workdir, monkeypatch):
    files.write_atomic(home, "f", b"one")
    files.write_atomic(home, "f", b"two", mode=0o640)
    assert files.read_limited(home, "f", 100) == b"two"

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    for step in ("fsync", "rename"):
        with monkeypatch.context() as patch, pytest.raises(OSError):
            patch.setattr(os, step, fail)
            files.write_atomic(home, "f", b"three")
    assert os.listdir(workdir) == ["f"] and files.read_limited(home, "f", 100) == b"two"


def test_limited_reading(home, workdir):
    put(f"{workdir}/f", b"12345")
    os.mkfifo(f"{workdir}/fifo")
    os.symlink("f", f"{workdir}/link")
    os.mkdir(f"{workdir}/d")
    assert files.read_limited(home, "f", 5) == b"12345"
    for name, number in (("f", errno.EFBIG), ("fifo", errno.EINVAL), ("link", errno.ELOOP),
                         ("d", errno.EINVAL), ("none", errno.ENOENT)):
        with pytest.raises(OSError) as caught:
            files.read_limited(home, name, 4)
        assert caught.value.errno == number


def test_locks(home, workdir):
    put(f"{workdir}/lock")
    one, two = os.open(f"{workdir}/lock", os.O_RDWR), os.open(f"{workdir}/lock", os.O_RDWR)
    assert files.lock(one) and not files.lock(two, wait=False)
    files.unlock(one)
    assert files.lock(two, exclusive=False, wait=False) and files.lock(one, False, False)
    os.close(one)
    os.close(two)


def test_copying_keeps_holes(workdir):
    with open(f"{workdir}/a", "wb") as file:
        file.seek(4 << 20)
        file.write(b"data")
        file.truncate(9 << 20)
    one = os.open(f"{workdir}/a", os.O_RDONLY)
    two = os.open(f"{workdir}/b", os.O_RDWR | os.O_CREAT)
    assert files.copy_range(two, one, 9 << 20) == 9 << 20
    assert os.fstat(two).st_blocks * 512 < 1 << 20
    assert os.pread(two, 4, 4 << 20) == b"data"
    os.close(one)
    os.close(two)


def test_removing_everything(home, workdir):
    top = f"{workdir}/t"
    os.makedirs(f"{top}/closed/inner")
    put(f"{top}/closed/inner/f", mode=0)
    os.symlink("/etc", f"{top}/link")
    os.mkfifo(f"{top}/fifo")
    os.chmod(f"{top}/closed/inner", 0)
    os.chmod(f"{top}/closed", 0)
    os.chmod(top, 0o500)
    tree.remove_tree(home, "t")
    tree.remove_tree(home, "t")
    assert os.listdir(workdir) == [] and os.path.isdir("/etc")
    with pytest.raises(FileNotFoundError):
        tree.remove_tree(home, "t", missing_ok=False)


def test_removing_what_is_deeper_than_any_path(home, workdir):
    os.mkdir(f"{workdir}/t")
    current = os.open(f"{workdir}/t", files.DIRECTORY)
    for number in range(1500):
        os.mkdir("d" * 30, dir_fd=current)
        deeper = os.open("d" * 30, files.DIRECTORY, dir_fd=current)
        os.close(current)
        current = deeper
        if number % 100 == 0:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=current))
    os.close(current)
    tree.remove_tree(home, "t")
    assert os.listdir(workdir) == []


def test_removing_follows_no_link(home, workdir):
    os.mkdir(f"{workdir}/kept")
    put(f"{workdir}/kept/f")
    os.mkdir(f"{workdir}/t")
    os.symlink("../kept", f"{workdir}/t/link")
    os.symlink("kept", f"{workdir}/top")
    tree.remove_tree(home, "t")
    tree.remove_tree(home, "top")
    assert os.listdir(workdir) == ["kept"] and os.listdir(f"{workdir}/kept") == ["f"]


def test_copying_a_tree(workdir):
    source, target = f"{workdir}/a", f"{workdir}/b"
    os.makedirs(f"{source}/d/e")
    os.mkdir(target)
    put(f"{source}/d/f", b"content", 0o4751)
    os.link(f"{source}/d/f", f"{source}/hard")
    os.symlink("/etc/passwd", f"{source}/link")
    os.mkfifo(f"{source}/fifo")
    put(f"{source}/skipped")
    os.setxattr(f"{source}/d/f", "user.kept", b"1")
    os.setxattr(f"{source}/d/f", "user.dropped", b"1")
    for name in ("d/f", "d/e", "d"):
        os.utime(f"{source}/{name}", ns=(5, 1_234_567_890_123_456_789))
    one, two = os.open(source, files.DIRECTORY), os.open(target, files.DIRECTORY)
    copier = tree.copy_tree(
        one, two, keep_xattr=lambda name: name == "user.kept",
        skip=lambda path, status: path == b"skipped",
    )
    assert copier.files == 3 and copier.lost == 0
    assert sorted(os.listdir(target)) == ["d", "fifo", "hard", "link"]
    status = os.stat(f"{target}/d/f")
    assert status.st_mode & 0o7777 == 0o4751 and status.st_nlink == 2
    assert status.st_mtime_ns == os.stat(f"{target}/d").st_mtime_ns == 1_234_567_890_123_456_789
    assert os.readlink(f"{target}/link") == "/etc/passwd"
    assert [n for n in os.listxattr(f"{target}/d/f") if n.startswith("user.")] == ["user.kept"]
    assert not os.path.samefile(f"{source}/d/f", f"{target}/d/f")
    with pytest.raises(FileExistsError):
        tree.copy_tree(one, two)
    os.close(one)
    os.close(two)


def flags(path):
    """The flags of a file, as lsattr(1) has them; None where there are none."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return int.from_bytes(fcntl.ioctl(descriptor, 0x80086601, bytes(8))[:4], "little")
        finally:
            os.close(descriptor)


def test_directories_are_spread(workdir):
    descriptor = os.open(workdir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = flags(workdir)
        files.spread(descriptor)
        files.spread(descriptor)
        kind = files.filesystem(descriptor)
    finally:
        os.close(descriptor)
    os.mkdir(f"{workdir}/below")
    if kind == "ext4":
        assert flags(workdir) == before | 0x20000 and not flags(f"{workdir}/below") & 0x20000
    else:
        assert flags(workdir) == before


def test_to_spread_needs_nothing(workdir):
    descriptor = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        files.spread(descriptor)
    finally:
        os.close(descriptor)
