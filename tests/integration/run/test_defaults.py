"""What every container gets without being asked: the defaults of the trusted peers."""

import os
import resource

import pytest

from support.ids import has_range

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
          "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/interrupts",
          "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/selinux")  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
             "/proc/asound")  # fmt: skip


def status(lines):
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def mounts(lines):
    """mountinfo: mount point → (file system, options of mount and file system)."""
    found = {}
    for line in lines:
        left, right = (half.split() for half in line.split(" - "))
        found[left[4]] = (right[0], set(left[5].split(",")) | set(right[2].split(",")), left[6:-1])
    return found


def test_capabilities_and_seccomp_of_root(box):
    found = status(box.parts(status="cat /proc/self/status")["status"])
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert found[name] == "00000000800405fb"
    for name in ("CapInh", "CapAmb"):
        assert found[name] == "0000000000000000"
    assert found["NoNewPrivs"] == "0"
    assert found["Seccomp"] == "2"


def test_capabilities_of_a_user(box):
    options = ["--user", "65534"] if has_range() else ["--userns", "keep-id"]
    found = status(box.parts(*options, status="cat /proc/self/status")["status"])
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert found[name] == "0000000000000000"
    assert found["CapBnd"] == "00000000800405fb"
    options += ["--cap-add", "net_raw"]
    found = status(box.parts(*options, status="cat /proc/self/status")["status"])
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert found[name] == "0000000000002000"


def test_masked_and_read_only_paths(box):
    scripts = {}
    for path in MASKED:
        scripts[path] = (
            f"if [ -d {path} ]; then ls -A {path}; touch {path}/x 2>/dev/null && echo WRITABLE;"
            f" elif [ -e {path} ]; then stat -c %t:%T {path}; else echo absent; fi"
        )
    for path in READ_ONLY:
        scripts[path] = f"[ -e {path} ] && grep ' {path} ' /proc/self/mounts || echo absent"
    found = box.parts(**scripts)
    for path in MASKED:
        assert found[path] in ([], ["1:3"], ["absent"]), (path, found[path])
    for path in READ_ONLY:
        if found[path] == ["absent"]:
            assert not os.path.exists(path)
            continue
        assert "ro" in found[path][0].split()[3].split(","), (path, found[path])
    assert ["1:3"] in found.values()


def test_mounts(box):
    found = mounts(box.parts(mounts="cat /proc/self/mountinfo")["mounts"])
    kind, options, tags = found["/proc"]
    assert kind == "proc" and {"nosuid", "noexec", "nodev", "rw"} <= options
    kind, options, tags = found["/dev"]
    assert kind == "tmpfs" and {"nosuid", "size=65536k", "mode=755"} <= options
    kind, options, tags = found["/dev/pts"]
    assert kind == "devpts" and {"nosuid", "noexec", "mode=620", "ptmxmode=666"} <= options
    assert ("gid=5" in options) == has_range() or _outside_gid(options)
    kind, options, tags = found["/dev/shm"]
    assert kind == "tmpfs" and {"nosuid", "noexec", "nodev", "size=65536k"} <= options
    kind, options, tags = found["/dev/mqueue"]
    assert kind == "mqueue" and {"nosuid", "noexec", "nodev"} <= options
    kind, options, tags = found["/sys"]
    assert kind == "sysfs" and {"nosuid", "noexec", "nodev", "ro"} <= options
    cgroups = [point for point in found if point.startswith("/sys/fs/cgroup")]
    assert cgroups
    for point in cgroups:
        assert {"nosuid", "noexec", "nodev", "ro"} <= found[point][1], point
    for point, (_, _, tags) in found.items():
        assert not any(tag.startswith("shared:") for tag in tags), point
    for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv"):
        assert path in found


def _outside_gid(options):
    # Seen from outside the first one of the range after the four before it.
    return any(option.startswith("gid=") for option in options) and has_range()


def test_dev(box):
    found = box.parts(names="ls -A /dev", links="cd /dev; for l in fd stdin stdout stderr core "
                      "ptmx; do readlink $l; done", kinds="cd /dev; stat -c '%n %F %t:%T' null "
                      "zero full tty random urandom; stat -c %a shm", pts="ls /dev/pts")
    assert sorted(found["names"]) == sorted(
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
    assert found["links"] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1",
                              "/proc/self/fd/2", "/proc/kcore", "pts/ptmx"]
    assert found["kinds"] == [
        f"{name} character special file {number}"
        for name, number in (("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("tty", "5:0"),
                             ("random", "1:8"), ("urandom", "1:9"))
    ] + ["1777"]
    assert found["pts"] == ["ptmx"]


def test_limits_umask_and_oom_score(box):
    found = box.parts(limits="cat /proc/self/limits", umask="umask",
                      oom="cat /proc/self/oom_score_adj")
    limits = {}
    for line in found["limits"][1:]:
        limits[line[:26].strip()] = line[26:].split()[:2]

    def shown(value):
        return "unlimited" if value == resource.RLIM_INFINITY else str(value)

    for name, number in (("Max open files", resource.RLIMIT_NOFILE),
                         ("Max processes", resource.RLIMIT_NPROC)):
        values = [v if v != resource.RLIM_INFINITY else 1 << 62
                  for v in resource.getrlimit(number)]
        assert limits[name] == [str(min(1048576, value)) for value in values]
    for name, number in (("Max core file size", resource.RLIMIT_CORE),
                         ("Max stack size", resource.RLIMIT_STACK),
                         ("Max locked memory", resource.RLIMIT_MEMLOCK)):
        assert limits[name] == [shown(value) for value in resource.getrlimit(number)]
    assert found["umask"] == ["0022"]
    with open("/proc/self/oom_score_adj") as file:
        assert found["oom"] == [file.read().strip()]


def test_environment(box):
    found = box.rl.ok(*box.words(["--name", "n"], ["env"]), env={"SECRET": "x"})
    names = dict(line.split("=", 1) for line in found.lines)
    assert len(names.pop("HOSTNAME")) == 12
    assert names == {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root",
                     "container": names["container"]}
    assert names["container"]


def test_only_three_descriptors(box):
    # ls itself has the directory open as a fourth.
    found = box.rl.ok(*box.words([], ["ls", "-l", "/proc/self/fd"]))
    assert [line.split()[8] for line in found.lines[1:]] == ["0", "1", "2", "3"]


def test_the_null_device_is_the_containers_own(box, running):
    """Without -i: descriptor 0 lies on a mount of the container, not on the host's /dev."""
    script = "grep \"^$(awk '/^mnt_id/ {print $2}' /proc/self/fdinfo/0) \" /proc/self/mountinfo"
    assert " /dev/null " in box.text(sh=script)
    name = running()
    assert " /dev/null " in box.rl.ok("exec", name, "sh", "-c", script).text


def test_no_descriptor_of_the_caller_gets_in(box):
    read, write = os.pipe()
    try:
        for number in (read, write):
            os.set_inheritable(number, True)
        found = box.rl.ok(*box.words([], ["ls", "/proc/self/fd"]), pass_fds=(read, write))
        assert found.lines == ["0", "1", "2", "3"]
    finally:
        os.close(read)
        os.close(write)


def test_nothing_of_the_store_shows(box):
    found = box.text(sh="cat /proc/self/mountinfo /proc/self/mounts /proc/*/cmdline | tr '\\0' ' '")
    assert "/containers/" not in found.replace("/files/", "/")  or _only_files(box, found)


def _only_files(box, text):
    """The binds of /etc/hosts and the like show where they come from, as podman's do."""
    for line in text.splitlines():
        if "/containers/" in line:
            words = line.split()
            assert words[4].startswith(("/etc/", "/run/.containerenv")) or "/rootfs" in line, line
    return True


def test_keyring_is_new(box):
    """No key of the caller's session shows."""
    result = box(sh="cat /proc/keys 2>/dev/null; cat /proc/key-users 2>/dev/null | wc -l")
    assert len(result.lines) == 1


def test_namespaces_are_private(box):
    kinds = ("mnt", "pid", "ipc", "uts", "net", "user", "cgroup")
    found = box.parts(**{kind: f"readlink /proc/self/ns/{kind}" for kind in kinds})
    for kind in kinds:
        outside = os.readlink(f"/proc/self/ns/{kind}")
        if kind == "cgroup" and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            continue
        assert found[kind] != [outside], kind


def test_hostname_and_files(box):
    found = box.parts(name="hostname", file="cat /etc/hostname", env="cat /run/.containerenv",
                      hosts="cat /etc/hosts", mtab="readlink /etc/mtab", pid="echo $$")
    assert found["name"] == found["file"] and len(found["name"][0]) == 12
    assert found["env"] == []
    assert any(found["name"][0] in line.split() for line in found["hosts"])
    assert any("localhost" in line.split() for line in found["hosts"])
    assert found["mtab"] == ["/proc/mounts"]
    assert found["pid"] == ["1"]


@pytest.mark.parametrize("options, line", [
    ((), "2"),
    (("--security-opt", "seccomp=unconfined"), "0"),
    (("--privileged",), "0"),
])  # fmt: skip
def test_seccomp_modes(box, options, line):
    if line == "0" and not has_range():
        line = "2"  # the filter that lets chown-like calls succeed stays
    found = status(box.parts(*options, status="cat /proc/self/status")["status"])
    assert found["Seccomp"] == line
