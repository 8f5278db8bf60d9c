"""What setting a step up left: found, and removed only where nobody touched it."""

import os

import pytest

from rootless.build.steps import stubs
from rootless.kernel import files


@pytest.fixture
def home(workdir):
    os.makedirs(f"{workdir}/upper/etc/deep")
    for name in ("etc/hosts", "etc/deep/stub"):
        open(f"{workdir}/upper/{name}", "w").close()
    os.symlink("/proc/mounts", f"{workdir}/upper/etc/mtab")
    descriptor = os.open(workdir, files.DIRECTORY)
    yield descriptor
    os.close(descriptor)


def left(workdir):
    return sorted(stubs.look(os.open(workdir, files.DIRECTORY), "upper"))


def test_what_is_untouched_goes(home, workdir):
    found = stubs.look(home, "upper")
    assert sorted(found) == [b"etc", b"etc/deep", b"etc/deep/stub", b"etc/hosts", b"etc/mtab"]
    stubs.clean(home, "upper", found)
    assert os.listdir(f"{workdir}/upper") == []


def test_what_was_used_stays(home, workdir):
    found = stubs.look(home, "upper")
    with open(f"{workdir}/upper/etc/hosts", "w") as file:
        file.write("used")
    open(f"{workdir}/upper/etc/deep/new", "w").close()
    stubs.clean(home, "upper", found)
    assert left(workdir) == [b"etc", b"etc/deep", b"etc/deep/new", b"etc/hosts"]


def test_what_was_replaced_stays(home, workdir):
    found = stubs.look(home, "upper")
    os.rename(f"{workdir}/upper/etc/hosts", f"{workdir}/upper/etc/old")
    open(f"{workdir}/upper/etc/hosts", "w").close()
    os.chmod(f"{workdir}/upper/etc/deep", 0o700)
    stubs.clean(home, "upper", found)
    assert left(workdir) == [b"etc", b"etc/deep", b"etc/hosts", b"etc/old"]


def test_a_link_in_place_of_a_directory_is_not_followed(home, workdir):
    found = stubs.look(home, "upper")
    os.rename(f"{workdir}/upper/etc", f"{workdir}/victim")
    os.symlink(f"{workdir}/victim", f"{workdir}/upper/etc")
    stubs.clean(home, "upper", found)
    assert sorted(os.listdir(f"{workdir}/victim")) == ["deep", "hosts", "mtab"]
    assert os.listdir(f"{workdir}/victim/deep") == ["stub"]


def test_directories_keep_their_time(home, workdir):
    found = stubs.look(home, "upper")
    open(f"{workdir}/upper/etc/mine", "w").close()
    os.utime(f"{workdir}/upper/etc", ns=(5_000_000_000, 7_000_000_000))
    stubs.clean(home, "upper", found)
    assert os.stat(f"{workdir}/upper/etc").st_mtime_ns == 7_000_000_000
