"""The table of files that an earlier build has read."""

import os

import pytest

from rootless.build.copy import apply, content, plan, sources
from rootless.build.copy.known import Known


class Store:
    """As much of a store as the table needs."""

    def __init__(self, path):
        os.makedirs(path, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def directory(self, name):
        return self._descriptor

    def close(self):
        os.close(self._descriptor)


@pytest.fixture
def store(workdir):
    found = Store(f"{workdir}/store")
    yield found
    found.close()


@pytest.fixture
def reads(monkeypatch):
    """The paths that are read, as they are."""
    found, real = [], content._file

    def note(opened, place, opener):
        found.append(place.path.decode())
        return real(opened, place, opener)

    monkeypatch.setattr(content, "_file", note)
    return found


@pytest.fixture
def build(workdir, store, reads):
    """A function that works out a key as a build does, some seconds ``later`` than now."""
    os.mkdir(f"{workdir}/context")

    def run(later=10):
        del reads[:]
        known = Known(store, f"{workdir}/context")
        known.now += later * 10**9
        step = plan.CopyStep([sources.Tree(f"{workdir}/context", ".", known=known)], "/")
        key = apply.digest(None, step)
        known.save()
        return key

    return run


def write(workdir, name, text):
    with open(f"{workdir}/context/{name}", "w", encoding="utf-8") as file:
        file.write(text)


def test_what_did_not_change_is_not_read_again(workdir, build, reads):
    write(workdir, "one", "1"), write(workdir, "two", "2")
    key = build()
    assert sorted(reads) == ["one", "two"]
    assert build() == key and reads == []
    write(workdir, "three", "3")
    assert build() != key and reads == ["three"]
    os.unlink(f"{workdir}/context/three")
    assert build() == key and reads == []


def test_a_change_that_hides_is_seen(workdir, build, reads):
    write(workdir, "file", "aaa")
    path = f"{workdir}/context/file"
    before = os.stat(path)
    key = build()
    with open(path, "r+", encoding="utf-8") as file:
        file.write("bbb")
    while os.stat(path).st_ctime_ns == before.st_ctime_ns:  # until the kernel's clock ticks
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert build() != key and reads == ["file"]


def test_what_changed_a_moment_ago_is_not_noted(workdir, build, reads):
    write(workdir, "file", "x")
    build(later=0)
    build(later=0)
    assert reads == ["file"]


def test_attributes_count(workdir, build, reads):
    write(workdir, "file", "x")
    key = build()
    try:
        os.setxattr(f"{workdir}/context/file", "user.note", b"new")
    except OSError:
        pytest.skip("no attributes on this file system")
    assert build() != key
    assert build() != key and reads == ["file"]  # such files are always read


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:-1], lambda data: b"x" + data,
    lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
], ids=["empty", "cut", "shifted", "flipped"])  # fmt: skip
def test_a_damaged_table_is_no_table(workdir, store, build, reads, damage):
    write(workdir, "file", "x")
    key = build()
    (name,) = os.listdir(store.path)
    with open(f"{store.path}/{name}", "rb") as file:
        data = file.read()
    with open(f"{store.path}/{name}", "wb") as file:
        file.write(damage(data))
    assert build() == key and reads == ["file"]
    assert build() == key and reads == []
