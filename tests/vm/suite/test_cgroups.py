"""Where containers are in the tree of cgroups, and what follows from it."""

import os
import threading

import pytest

from rootless.cgroup import files
from support.limited import Limited, scopes, until

IMAGE = "localhost/busybox:latest"


def _pids(directory):
    with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
        return {int(line) for line in file}


def _runs(pid):
    """Whether a process is there and no zombie, which whoever has adopted it reaps later."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_scope_of_its_own(here, half):
    facts = here.detached("web", "sleep", "1000")
    path, pid = here.cgroup("web"), facts["State"]["Pid"]
    assert path.endswith("/container") and _pids(path) == {pid}
    monitor = int(open(f"/proc/{pid}/stat", encoding="ascii").read().split()[3])  # noqa: SIM115
    assert monitor in _pids(path.replace("/container", "/monitor"))
    if half == "subtree":
        assert f"/rl-{facts['Id']}/" in path
    else:
        assert scopes() == [f"rl-{facts['Id']}.scope"]
        assert here.kernel("web", "pids.max") == "2048"
    inside = here.ok("exec", "web", "cat", "/proc/self/cgroup", timeout=60)
    assert inside.text == "0::/", "it sees a cgroup of its own as the root"
    assert "ro," in here.ok("exec", "web", "grep", "cgroup2", "/proc/mounts", timeout=60).stdout
    here.ok("rm", "-f", "-t", "0", "web", timeout=60)
    if half == "subtree":
        here.ok("run", "--rm", "--network", "none", IMAGE, "true", timeout=60)  # it sweeps
        until(lambda: not os.path.exists(os.path.dirname(path)), "the removal")
    else:
        until(lambda: scopes() == [], "the end of the scope")


def test_exec_is_limited_as_well(here):
    here.detached("web", "sleep", "1000", options=["--pids-limit", "30"])
    here.ok("exec", "-d", "web", "sleep", "1234", timeout=60)
    until(lambda: len(_pids(here.cgroup("web"))) >= 2, "the program's arrival")


def test_the_freezer(here):
    here.detached("web", "sh", "-c", "while :; do :; done")
    here.ok("pause", "web", timeout=60)
    assert here.kernel("web", "cgroup.freeze") == "1"
    assert "frozen 1" in here.kernel("web", "cgroup.events")
    assert here.facts("web")["State"]["Status"] == "paused"
    here.ok("unpause", "web", timeout=60)
    assert "frozen 0" in here.kernel("web", "cgroup.events")
    here.ok("pause", "web", timeout=60)
    here.ok("rm", "-f", "-t", "0", "web", timeout=60)


def test_stats_of_the_kernel(here):
    here.detached("web", "sh", "-c", "while :; do :; done", options=["-m", "200m"])
    (row,) = here.ok("stats", "--no-stream", "--format", "json", "web", timeout=60).json()
    assert row["source"] == "cgroup" and row["pids"] == "1"
    assert "210MB" in row["mem_usage"] and row["cpu_pressure"].endswith("%")


def test_kill_ends_what_has_no_namespace(here):
    facts = here.detached("web", "sh", "-c", "sleep 1000 & exec sleep 1001",
                          options=["--pid", "host"])  # fmt: skip
    path = here.cgroup("web")
    until(lambda: len(_pids(path)) == 2, "the second process")
    left = _pids(path) - {facts["State"]["Pid"]}
    here.ok("kill", "web", timeout=60)
    until(lambda: not any(_runs(pid) for pid in left), "its end")


def test_modes(here, half):
    facts = here.detached("none", "sleep", "1000", options=["--cgroups", "disabled"])
    assert facts["State"]["CgroupPath"] == ""
    facts = here.detached("bare", "sleep", "1000", options=["--cgroups", "no-conmon", "-m", "90m"])
    assert here.kernel("bare", "memory.max") == str(90 << 20)
    assert not os.path.isdir(here.cgroup("bare").replace("/container", "/monitor"))
    parent = "pod1/inner" if half == "subtree" else "work.slice"
    for name in ("one", "two"):
        here.detached(name, "sleep", "1000", options=["--cgroup-parent", parent, "-m", "50m"])
        assert f"/{parent}/" in here.cgroup(name)
    here.fails("run", "--rm", "--cgroup-parent", "../x", IMAGE, "true", says="--cgroup-parent")


def test_restart_policy_keeps_its_limits(here):
    here.detached("web", "sh", "-c", "sleep 2; exit 1",
                  options=["--restart", "on-failure", "-m", "77m"])  # fmt: skip
    until(lambda: here.facts("web")["RestartCount"] >= 2, "the restart", patience=120)

    def limit():
        path = here.facts("web")["State"]["CgroupPath"]
        return path and files.read(f"/sys/fs/cgroup{path}/memory.max").strip()

    # Between two runs there is no cgroup to look at.
    assert until(limit, "the next run") == str(77 << 20)


def _by_five(work):
    """``work(number)`` in five threads at once; what they return, in one list.  More of them
    would wait for the two emulated processors, and some longer than rl waits for a bus."""
    found = []
    workers = [threading.Thread(target=lambda number=number: found.extend(work(number)))
               for number in range(1, 6)]  # fmt: skip
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


@pytest.mark.halves("default")
@pytest.mark.timeout(900)
def test_many_ends_at_once(here):
    def work(number):
        for turn in range(10):
            result = here("run", "--rm", "--network", "none", "--pids-limit", "40", IMAGE,
                          "sh", "-c", f"exit {number}", timeout=300)  # fmt: skip
            if result.code != number:
                yield turn, repr(result)

    assert _by_five(work) == []


@pytest.mark.halves("delegate", "subtree")
@pytest.mark.timeout(900)
def test_a_hundred_at_once(here, half):
    def work(number):
        for turn in range(20):
            limits = ["--pids-limit", str(10 + number), "-m", "60m"]
            result = here("run", "-d", "--network", "none", "--name", f"many{number}.{turn}",
                          *limits, IMAGE, "sleep", "1000", timeout=400)  # fmt: skip
            if result.code:
                yield repr(result)

    assert _by_five(work) == []
    names = here.ok("ps", "--format", "{{.Names}}", timeout=120).stdout.split()
    assert len(names) == 100
    places = set()
    for facts in here.ok("inspect", *names, timeout=120).json():
        path = "/sys/fs/cgroup" + facts["State"]["CgroupPath"]
        number = facts["Name"].lstrip("/")[len("many") :].partition(".")[0]
        assert files.read(f"{path}/pids.max").strip() == str(10 + int(number))
        assert files.read(f"{path}/memory.max").strip() == str(60 << 20)
        assert _pids(path) == {facts["State"]["Pid"]}
        places.add(path)
    assert len(places) == 100
    here.ok("rm", "--all", "--force", "--time", "0", timeout=400)
    if half != "subtree":
        until(lambda: scopes() == [], "the end of the scopes")


@pytest.mark.halves("default")
@pytest.mark.parametrize("kind", ["hangs", "talks nonsense", "is gone"])
def test_a_sick_bus(here, workdir, kind):
    import socket

    path = f"{workdir}/bus"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        if kind != "is gone":
            listening.listen(8)
        sick = Limited(workdir, DBUS_SESSION_BUS_ADDRESS=f"unix:path={path}")
        stop = threading.Event()

        def answer():
            listening.settimeout(0.2)
            while not stop.is_set():
                try:
                    peer, _ = listening.accept()
                except OSError:
                    continue
                peer.sendall(b"OK 1234\r\n" + b"\xff" * 64)
                peer.close()

        thread = threading.Thread(target=answer)
        if kind == "talks nonsense":
            thread.start()
        try:
            sick.root = here.root  # with the image in it
            sick.environment["XDG_DATA_HOME"] = here.environment["XDG_DATA_HOME"]
            words = ("run", "--rm", "--network", "none")
            assert sick.ok(*words, IMAGE, "echo", "on", timeout=60).text == "on"
            sick.fails(*words, "-m", "100m", IMAGE, "true", says="message bus", timeout=60)
        finally:
            stop.set()
            if thread.ident:
                thread.join()
