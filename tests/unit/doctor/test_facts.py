"""How the facts are read from the files of a machine."""

import os

import pytest

from rootless.engine.checks import facts as f

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /home rw,nosuid,nodev - nfs4 server:/home rw
31 30 0:31 / /home/a\040b rw,noexec - tmpfs tmpfs rw
"""


def tree(root, **files):
    for path, text in files.items():
        target = root / path.replace("__", "/").lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return f.Reader(str(root))


def test_mounts():
    mounts = f.parse_mounts(MOUNTS)
    assert f.mount_of("/usr/bin", mounts)["type"] == "ext4"
    assert f.mount_of("/home/alice", mounts)["options"] == ["rw", "nosuid", "nodev"]
    assert f.mount_of("/homely", mounts)["type"] == "ext4"
    assert f.mount_of("/home/a b/c", mounts)["type"] == "tmpfs"
    assert f.parse_mounts("garbage\n\n1 2 3 - \n") == []


def test_lines_have_numbers_without_comments(tmp_path):
    reader = tree(tmp_path, etc__subuid="# made by useradd\n\nalice:1:2\n")
    assert reader.lines("/etc/subuid") == [(3, "alice:1:2")]
    assert reader.lines("/etc/subgid") is None


def test_cgroup_modes(tmp_path):
    assert f.cgroup(f.Reader(str(tmp_path / "a")), 1000, {})["mode"] == "none"
    (tmp_path / "b/sys/fs/cgroup/memory").mkdir(parents=True)
    assert f.cgroup(f.Reader(str(tmp_path / "b")), 1000, {})["mode"] == "legacy"
    hybrid = tree(tmp_path / "c", **{"/sys/fs/cgroup/unified/cgroup.controllers": ""})
    assert f.cgroup(hybrid, 1000, {})["mode"] == "hybrid"


def test_a_delegated_group(tmp_path):
    top = "/sys/fs/cgroup"
    reader = tree(
        tmp_path,
        **{
            f"{top}/cgroup.controllers": "cpuset cpu io memory pids\n",
            f"{top}/job/cgroup.controllers": "memory pids\n",
            f"{top}/job/cgroup.procs": "",
            f"{top}/job/cgroup.subtree_control": "",
            "/proc/self/cgroup": "0::/job\n",
        },
    )
    found = f.cgroup(reader, 1000, {})
    assert (found["kind"], found["mode"], found["own"], found["writable"]) == (
        "delegated", "unified", "/job", True)  # fmt: skip
    assert found["delegated"] == ["memory", "pids"]


def test_a_group_that_is_not_ours(tmp_path):
    top, manager = "/sys/fs/cgroup", "user.slice/user-1000.slice/user@1000.service"
    reader = tree(
        tmp_path,
        **{
            f"{top}/cgroup.controllers": "cpu memory pids\n",
            f"{top}/{manager}/cgroup.controllers": "memory pids\n",
            "/proc/self/cgroup": "0::/somebody/elses\n",
        },
    )
    assert f.cgroup(reader, 1000, {"XDG_RUNTIME_DIR": f"{tmp_path}/no"})["kind"] == "none"
    (tmp_path / "bus").touch()
    found = f.cgroup(reader, 1000, {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert not found["writable"] and found["kind"] == "systemd"
    assert found["delegated"] == ["memory", "pids"]


def test_a_bus_that_is_asked(tmp_path):
    import socket

    assert f._trouble(None) is None
    path = str(tmp_path / "bus")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        assert "refused" in f._trouble(path).lower()


def test_store_facts(tmp_path):
    mounts = f.parse_mounts(MOUNTS)
    found = f.store(str(tmp_path / "not/yet"), mounts)
    assert found["owner"] is None and found["write"] is None and found["free"] > 0
    assert os.listdir(tmp_path) == []
    assert f.store(None, mounts)["path"] is None


def test_status(tmp_path):
    seen = f.Facts()
    f._from_status(seen, "NoNewPrivs:\t1\nSeccomp:\t2\nCapBnd:\t00000000000000c0\n")
    assert (seen.no_new_privs, seen.seccomp, seen.bounding) == (1, 2, 0xC0)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc", (6, 18)), ("5.4", (5, 4)), ("6.1-rc3", (6, 1)), ("odd", (0,))],
)
def test_kernel_versions(release, version):
    assert f.Facts(kernel=release).kernel_version == version
