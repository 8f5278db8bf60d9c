"""A layer with a size: what may be asked for, what is chosen, and the file it lies in."""

import os
import shutil

import pytest

from rootless.engine import capped
from rootless.kernel import capped as spaces

MKE2FS = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin")


@pytest.mark.parametrize(("words", "size"), [
    (["size=1m"], 1 << 20),
    (["size=10g"], 10 << 30),
    (["size=2097152"], 2 << 20),
    (["size=1.5m"], 3 << 19),
    (["size=5m", "size=7m"], 7 << 20),
    (["size=16t"], 1 << 44),
])  # fmt: skip
def test_sizes(words, size):
    assert capped.parse(words) == (size, words[-1][5:])


@pytest.mark.parametrize("words", [
    ["size"], ["size="], ["size=x"], ["size=0"], ["size=-1"], ["size=1023k"], ["size=17t"], [""],
    ["inodes=5"], ["size=5m", "overlay.size=1m"], ["SIZE=5m"], [" size=5m"],
])  # fmt: skip
def test_no_sizes(words):
    with pytest.raises(capped.RlError) as caught:
        capped.parse(words)
    assert caught.value.message.startswith("--storage-opt") and caught.value.advice


def rows(tmpfs=("overlay", "fuse-overlayfs"), file=True):
    return [{"rung": "tmpfs", "ok": bool(tmpfs), "reason": "" if tmpfs else "no tmpfs",
             "drivers": list(tmpfs)},
            {"rung": "file", "ok": file, "reason": "" if file else "no fuse2fs",
             "drivers": ["fuse-overlayfs"]}]


def choose(monkeypatch, found, size="5m", rm=False, shifted=False, staged=False):
    monkeypatch.setattr(capped, "probed", lambda engine: found)
    plan = capped.Plan(None, {"storage_opt": (f"size={size}",), "rm": rm})
    return plan._choose(None, shifted, staged)


@pytest.mark.parametrize(("found", "how", "chosen"), [
    (rows(), {"rm": True}, ("tmpfs", "overlay")),
    (rows(), {}, ("file", "fuse-overlayfs")),
    (rows(), {"rm": True, "size": "14t"}, ("file", "fuse-overlayfs")),
    (rows(), {"rm": True, "shifted": True}, ("tmpfs", "fuse-overlayfs")),
    (rows(tmpfs=["overlay"]), {"rm": True, "shifted": True, "staged": True},
     ("file", "fuse-overlayfs")),
    (rows(), {"shifted": True, "staged": True}, ("file", "fuse-overlayfs")),
    (rows(tmpfs=[]), {"rm": True}, ("file", "fuse-overlayfs")),
    (rows(file=False), {"rm": True}, ("tmpfs", "overlay")),
])  # fmt: skip
def test_choices(monkeypatch, found, how, chosen):
    assert choose(monkeypatch, found, **how) == chosen


@pytest.mark.parametrize(("found", "how", "says", "advice"), [
    (rows(file=False), {}, "a file: no fuse2fs", "add --rm"),
    (rows(), {"shifted": True}, "another map of ids", "leave out the map of ids"),
    (rows(tmpfs=[], file=False), {"rm": True}, "a tmpfs: no tmpfs; a file: no fuse2fs",
     "install fuse2fs"),
    (rows(file=False), {"rm": True, "size": "14t"}, "half of this machine's memory",
     "install fuse2fs"),
])  # fmt: skip
def test_no_choice(monkeypatch, found, how, says, advice):
    with pytest.raises(capped.CannotCap) as caught:
        choose(monkeypatch, found, **how)
    assert says in caught.value.message and advice in caught.value.advice


def test_a_root_of_ones_own_has_no_layer():
    with pytest.raises(capped.BadStorageOption, match="--rootfs"):
        capped.Plan(None, {"storage_opt": ("size=5m",), "rootfs": True})


@pytest.fixture
def image(workdir):
    path = f"{workdir}/layer.img"
    spaces.make_image(MKE2FS, path, 64 << 20)
    return path


@pytest.mark.skipif(not MKE2FS, reason="e2fsprogs is not installed")
def test_a_file_takes_what_is_in_it(image):
    status = os.stat(image)
    assert status.st_size == 64 << 20 and status.st_blocks * 512 < 4 << 20
    assert status.st_mode & 0o777 == 0o600


@pytest.mark.skipif(not MKE2FS, reason="e2fsprogs is not installed")
@pytest.mark.parametrize(("clean", "code", "works"), [
    (True, 8, True), (False, 0, True), (False, 1, True), (False, 3, True), (False, 4, False),
    (False, 8, False),
])  # fmt: skip
def test_only_what_was_left_is_repaired(image, workdir, clean, code, works):
    checker = f"{workdir}/e2fsck"
    with open(checker, "w") as file:
        file.write(f"#!/bin/sh\necho called >>{workdir}/calls\nexit {code}\n")
    os.chmod(checker, 0o755)
    descriptor = os.open(image, os.O_RDWR)
    if not clean:
        os.pwrite(descriptor, b"\0\0", 1024 + 58)
    if works:
        spaces._check({"e2fsck": checker, "image": image}, descriptor)
    else:
        with pytest.raises(spaces.CappedDamaged, match=str(code)):
            spaces._check({"e2fsck": checker, "image": image}, descriptor)
    os.close(descriptor)
    assert os.path.exists(f"{workdir}/calls") != clean


def test_what_mke2fs_says_is_told(workdir):
    program = f"{workdir}/mke2fs"
    with open(program, "w") as file:
        file.write("#!/bin/sh\necho no good >&2\nexit 1\n")
    os.chmod(program, 0o755)
    with pytest.raises(spaces.CappedFailed, match="no good"):
        spaces.make_image(program, f"{workdir}/image", 1 << 20)
