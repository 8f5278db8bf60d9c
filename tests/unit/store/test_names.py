"""Digests, tags as file names, names of archive members, attributes."""

import pytest

from rootless.store import digests, names, refs
from rootless.store.tarread import BadArchive
from rootless.store.unpacker import clean


@pytest.mark.parametrize("text", [
    "", "sha256:", "sha256:" + "g" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63,
    "sha256:" + "a" * 65, "md5:" + "a" * 32, "a" * 64, "sha256:" + "a" * 63 + "\n",
    "sha256:../" + "a" * 61, None, 7, b"sha256:" + b"a" * 64,
])  # fmt: skip
def test_not_a_digest(text):
    with pytest.raises(digests.BadDigest):
        digests.split(text)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_digest(algorithm):
    text = digests.hasher(algorithm).hexdigest()
    assert digests.split(f"{algorithm}:{text}") == (algorithm, text)
    assert digests.join(text) == f"{algorithm}:{text}"


@pytest.mark.parametrize("name", [
    "docker.io/library/debian:latest", ".hidden", "..", "a/../b", "a%2Fb", "ä", "x" * 1000,
    "host:5000/a/b:t", "\udcff",
])  # fmt: skip
def test_a_tags_file_name(name):
    file = refs.encode(name)
    assert "/" not in file and not file.startswith(".") and len(file) <= 200
    assert file.isascii() and file != refs.encode(name + "x")


def test_names_that_are_no_tags():
    for name in ("", "x" * 2000):
        with pytest.raises(refs.BadName):
            refs.encode(name)


@pytest.mark.parametrize(("name", "path"), [
    (b"a", b"a"), (b"./a", b"a"), (b"/a/b", b"a/b"), (b"a//b/", b"a/b"), (b"./", b""), (b".", b""),
    (b"/", b""), (b"", b""), (b"a/./b", b"a/b"), (b"a..b", b"a..b"), (b"...", b"..."),
    (b".wh.x", b".wh.x"), (b"a/b.", b"a/b."),
])  # fmt: skip
def test_clean(name, path):
    assert clean(name) == path


@pytest.mark.parametrize("name", [
    b"..", b"../a", b"a/../b", b"/..", b"a/..", b"./../a", b"a\0b", b"x" * 4096,
    b"a/" * 1001 + b"b",
])  # fmt: skip
def test_refused_names(name):
    with pytest.raises(BadArchive):
        clean(name)


@pytest.mark.parametrize(("name", "kept"), [
    ("user.note", True), ("security.capability", True), ("system.posix_acl_access", True),
    ("user.overlay.opaque", False), ("user.fuseoverlayfs.opaque", False),
    ("user.containers.override_stat", False), ("user.rootlesscontainers", False),
    ("trusted.overlay.opaque", False), ("security.selinux", False), ("security.ima", False),
    ("system.nfs4_acl", False), ("btrfs.compression", False),
])  # fmt: skip
def test_attributes(name, kept):
    assert names.keep_xattr(name) is kept


def test_paths_survive_json():
    from rootless.model import jsontext

    for path in (b"plain", b"\xff\xfe", "ü".encode(), b"a\nb"):
        assert names.raw(jsontext.loads(jsontext.dumps(names.text(path)))) == path
