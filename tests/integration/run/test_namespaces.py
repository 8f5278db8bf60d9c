"""Names, users and namespaces: whose they are, and how containers share them."""

import os
import subprocess
import time

import pytest

from support.ids import has_range

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

ranged = pytest.mark.skipif(not has_range(), reason="one id has nobody else to be")


def test_hostname(box):
    script = "hostname; cat /etc/hostname; grep -c name.test /etc/hosts"
    assert box.text("--hostname", "name.test", sh=script).split() == ["name.test"] * 2 + ["1"]
    box.fails("--hostname", "bad name", says="bad name")
    assert box.text("--uts", "host", sh="hostname") == os.uname().nodename
    box.fails("--uts", "host", "--hostname", "x", says="x")


def test_hosts(box):
    found = box.text("--add-host", "one:10.1.2.3", "--add-host", "two;three:::1",
                     sh="cat /etc/hosts")
    lines = [line.split() for line in found.splitlines()]
    assert ["10.1.2.3", "one"] in lines
    assert any(line[0] == "::1" and "two" in line and "three" in line for line in lines)
    assert box.text("--no-hosts", sh="test -s /etc/hosts || echo none") == "none"
    box.fails("--add-host", "x:999.1.1.1", says="999.1.1.1")
    box.fails("--add-host", "x:10.0.0.1", "--no-hosts", says="--no-hosts")


def test_hosts_are_reached_by_name(box):
    script = "for name in me own; do nc -w1 $name 1 2>&1; done; true"
    found = box.text("--add-host", "me:127.0.0.2", "--hostname", "own", sh=script).splitlines()
    assert [line.split("(")[1].split(")")[0] for line in found] == ["127.0.0.2", "127.0.0.1"]


def test_resolv_conf(box):
    found = box.text("--network", "private", "--dns", "10.9.8.7", "--dns-search", "a.test",
                     "--dns-option", "ndots:3", sh="cat /etc/resolv.conf").splitlines()
    assert "nameserver 10.9.8.7" in found and "search a.test" in found
    assert any(line.startswith("options") and "ndots:3" in line for line in found)
    box.fails("--network", "private", "--dns", "nonsense", says="nonsense")


def test_networks(box):
    assert box.text(sh="ls /sys/class/net; ip -o link | wc -l").split() == ["lo", "1"]
    inside = box.text("--network", "host", sh="readlink /proc/self/ns/net")
    assert inside == os.readlink("/proc/self/ns/net")
    box.fails("--network", "nosuch", says="nosuch")
    box.fails("--network", "host", "--network", "none", says="n")


def test_the_default_network_reaches_out_and_not_back(box):
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        script = (f"ip -o route | grep -c default; for host in 127.0.0.1 $(ip route | awk"
                  f" '/default/ {{print $3}}'); do nc -w1 $host {port} </dev/null 2>/dev/null"
                  " && echo REACHED; done; true")
        assert box.text("--network", "private", sh=script) == "1"


@pytest.mark.parametrize("kind", ["pid", "ipc", "network", "uts", "cgroup"])
def test_joining_a_container(box, running, kind):
    name = running("--hostname", "other")
    option = f"--{kind}" + ("ns" if kind == "cgroup" else "")
    files = {"network": "net"}
    path = f"/proc/self/ns/{files.get(kind, kind)}"
    there = box.rl.ok("exec", name, "readlink", path).text
    assert box.text(option, f"container:{name}", sh=f"readlink {path}") == there
    box.fails(option, "container:nosuch", says="nosuch")


def test_what_joined_containers_share(box, running):
    name = running("--hostname", "other",
                   sh="echo shared > /dev/shm/file; sleep 60 | nc -l -p 4242 & sleep 60")
    wait = "for i in $(seq 100); do [ -e /dev/shm/file ] && break; sleep 0.05; done; "
    assert box.text("--ipc", f"container:{name}", sh=wait + "cat /dev/shm/file") == "shared"
    assert box.text("--uts", f"container:{name}", sh="hostname") == "other"
    found = box.text("--pid", f"container:{name}", sh="ps -o args")
    assert "sleep 60" in found
    found = box.text("--network", f"container:{name}", sh="netstat -ltn; cat /etc/hosts")
    assert ":4242 " in found and "other" in found
    box.fails("--network", f"container:{name}", "--userns", "keep-id", says="user namespace")


def test_joining_by_path(box):
    """A namespace that somebody holds open, as `unshare` makes it."""
    process = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--net", "sleep", "60"], stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        path = f"/proc/{process.pid}/ns/net"
        while os.readlink(path) == os.readlink("/proc/self/ns/net"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        result = box.rl("run", "--rm", "--network", f"ns:{path}", box.image, "true")
        # It belongs to another user namespace, so nobody may put a container of its own there.
        assert result.code == 125 and "network" in result.stderr, repr(result)
        found = box.text("--network", f"ns:{path}", "--userns", f"ns:/proc/{process.pid}/ns/user",
                         sh="readlink /proc/self/ns/net")
        assert found == os.readlink(path)
    finally:
        process.kill()
        process.wait()


def test_namespaces_of_the_host(box):
    for option, name in (("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"),
                         ("--cgroupns", "cgroup")):
        found = box.text(option, "host", sh=f"readlink /proc/self/ns/{name}")
        assert found == os.readlink(f"/proc/self/ns/{name}"), option
        box.fails(option, "nosuch", says="nosuch")
    assert box.text("--ipc", "none", sh="test -e /dev/shm || echo none") == "none"


def test_with_the_pids_of_the_host_it_ends_all_the_same(box):
    process = box.rl.start(*box.words(["--pid", "host", "--name", "p"],
                                      ["sh", "-c", "echo ready; sleep 77"]))
    assert process.stdout.readline() == b"ready\n"
    box.rl.ok("stop", "--time", "0", "p")
    process.communicate(timeout=30)
    assert process.returncode == 137


def test_sysctl(box):
    assert box.text("--sysctl", "net.ipv4.ip_default_ttl=99", "--sysctl", "kernel.shmmni=77",
                    sh="cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmni").split() == [
        "99", "77"]  # fmt: skip
    # Every group of the container may ping.
    low, high = box.text(sh="cat /proc/sys/net/ipv4/ping_group_range").split()
    lines = box.text(sh="cat /proc/self/gid_map").splitlines()
    ends = [list(map(int, line.split())) for line in lines]
    assert int(low) == 0 and int(high) == max(first + count - 1 for first, _, count in ends)
    for entry in ("kernel.hostname=x", "net.ipv4.x", "vm.swappiness=1", "net.ipv4.nosuch=1"):
        box.fails("--sysctl", entry, says=entry.split("=")[0])
    box.fails("--network", "host", "--sysctl", "net.ipv4.ip_forward=1", says="net.ipv4.ip_forward")


# --- users ---------------------------------------------------------------------------------


def test_the_default_user_namespace(box):
    lines = box.text(sh="id -u; cat /proc/self/uid_map; cat /proc/self/setgroups").splitlines()
    assert lines[0] == "0" and lines[1].split() == ["0", str(os.geteuid()), "1"]
    assert lines[-1] == ("allow" if has_range() else "deny")
    assert len(lines) == (4 if has_range() else 3)


def test_keep_id(box, workdir):
    script = "id -u; id -g; touch /d/file; stat -c %u /bin/busybox"
    lines = box.text("--userns", "keep-id", "-v", f"{workdir}:/d", sh=script).split()
    assert lines[:2] == [str(os.geteuid()), str(os.getegid())]
    assert os.stat(f"{workdir}/file").st_uid == os.geteuid()
    if has_range():
        assert lines[2] == "0"
    lines = box.text("--userns", "keep-id:uid=33,gid=44", sh="id -u; id -g; stat -c %u /etc/hosts")
    assert lines.split()[:2] == ["33", "44"]


@ranged
@pytest.mark.parametrize("options, size", [
    (("--userns", "auto"), 1024),
    (("--userns", "auto:size=5000"), 5000),
    (("--userns", "nomap"), None),
    (("--uidmap", "0:1:2000", "--gidmap", "0:1:2000"), 2000),
    (("--uidmap", "0:5:1000"), 1000),
])  # fmt: skip
def test_namespaces_without_the_caller(box, workdir, options, size):
    """The caller is nobody in there, so it can't open the store: the engine does."""
    with open(f"{workdir}/readable", "w") as file:
        file.write("yes\n")
    os.chmod(workdir, 0o755)
    script = (
        "id -u; id -g; cat /proc/self/uid_map; stat -c %u:%g / /bin/busybox /etc/hosts /dev/shm;"
        " mkdir /made && echo made; cat /d/readable; stat -c %u /d; touch /v/x && stat -c %u /v/x"
    )
    words = [*options, "-v", f"{workdir}:/d", "--tmpfs", "/t", "-v", "/v", "--init"]
    lines = box.text(*words, sh=script).splitlines()
    assert lines[:2] == ["0", "0"]
    if size:
        assert sum(int(line.split()[2]) for line in lines[2:-8]) == size
    assert lines[-8:] == ["0:0"] * 4 + ["made", "yes", "65534", "0"]


@ranged
def test_two_auto_namespaces_are_apart(box, running):
    ranges = []
    for name in ("a1", "a2"):
        running("--userns", "auto", name=name)
        (line,) = box.rl.ok("exec", name, "cat", "/proc/self/uid_map").lines
        ranges.append([int(word) for word in line.split()])
    (_, one, count), (_, other, _) = ranges
    assert abs(one - other) >= count


@ranged
def test_auto_containers_made_at_once_are_apart(box):
    script = "cat /proc/self/uid_map; sleep 1"
    processes = [box.rl.start(*box.words(["--userns", "auto"], ["sh", "-c", script]))
                 for _ in range(4)]
    starts = set()
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        starts.add(output.split()[1])
    assert len(starts) == 4


@ranged
def test_exec_and_joining_where_the_caller_is_nobody(box, running):
    name = running("--userns", "auto", sh="echo x > /dev/shm/file; sleep 60")
    assert box.rl.ok("exec", name, "id", "-u").text == "0"
    assert box.rl.ok("exec", "-u", "1000", name, "id", "-u").text == "1000"
    map_there = box.rl.ok("exec", name, "cat", "/proc/self/uid_map").text
    assert box.text("--ipc", f"container:{name}", sh="cat /dev/shm/file") == "x"
    assert box.text("--userns", f"container:{name}", sh="cat /proc/self/uid_map").split() == (
        map_there.split()
    )


def test_bad_user_namespaces(box):
    for text in ("nosuch", "keep-id:uid=x", "auto:size=0", "keep-id:nosuch=1", "host:x"):
        box.fails("--userns", text, says=text.partition(":")[2].split("=")[-1])
    box.fails("--uidmap", "0:0:99999999", says="0:0:99999999")
    box.fails("--uidmap", "x", says="x")
    box.fails("--userns", "keep-id", "--uidmap", "0:0:1", says="keep-id")
    if not has_range():
        box.fails("--userns", "auto", says="auto")
        box.fails("--userns", "nomap", says="nomap")
