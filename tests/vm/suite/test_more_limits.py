"""Limits that change, containers that divide their cgroup, parents, a systemd that is restarted."""

import os
import subprocess
import threading

import pytest

from support.limited import until

IMAGE = "localhost/busybox:latest"
# What systemd does first when it is pid 1 of a container.
_DIVIDES = """
cd /sys/fs/cgroup
mkdir init.scope
echo 1 >init.scope/cgroup.procs
echo +memory +pids >cgroup.subtree_control
exec sleep 1000
"""


def _read(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def test_exec_into_a_divided_cgroup(here):
    here.detached("init", "sh", "-c", _DIVIDES, options=["--systemd", "always", "-m", "100m"])
    until(lambda: "memory" in here.kernel("init", "cgroup.subtree_control"), "the division")
    found = here.ok("exec", "init", "cat", "/proc/self/cgroup", timeout=60)
    assert found.text == "0::/init.scope"
    assert here.kernel("init", "memory.max") == str(100 << 20)


def test_limits_are_taken_back_one_by_one(here, half):
    more = [] if half == "default" else ["--cpuset-cpus", "1", "--device-read-bps", "/dev/vda:1mb",
                                         "--device-write-iops", "/dev/vda:9"]  # fmt: skip
    here.detached("web", "sleep", "1000", options=[
        "-m", "100m", "--cpus", "0.5", "--cpu-shares", "2048", "--pids-limit", "50", *more,
    ])  # fmt: skip
    assert here.kernel("web", "cpu.weight") == "174"
    more = [] if half == "default" else ["--cpuset-cpus", "", "--device-read-bps", "/dev/vda:0"]
    here.ok("update", "-m", "0", "--cpus", "0", "--cpu-shares", "0", "--pids-limit", "0", *more,
            "web", timeout=60)  # fmt: skip
    found = {name: here.kernel("web", name) for name in
             ("memory.max", "cpu.max", "cpu.weight", "pids.max")}  # fmt: skip
    assert found == {"memory.max": "max", "cpu.max": "max 100000", "cpu.weight": "100",
                     "pids.max": "max"}  # fmt: skip
    if half != "default":
        assert here.kernel("web", "cpuset.cpus") == "0-1"
        line = here.kernel("web", "io.max")
        assert "wiops=9" in line and "rbps=max" in line
        (row,) = here.facts("web")["HostConfig"]["BlkioDeviceWriteIOps"]
        assert row == {"Path": "/dev/vda", "Rate": 9}


def test_a_first_limit_while_it_runs(here):
    here.detached("web", "sleep", "1000")
    here.ok("update", "-m", "90m", "--pids-limit", "40", "web", timeout=60)
    assert here.kernel("web", "memory.max") == str(90 << 20)
    assert here.kernel("web", "pids.max") == "40"
    assert here.facts("web")["HostConfig"]["PidsLimit"] == 40


def test_a_protection_is_told_as_it_is(here):
    options = ["--memory-reservation", "20m"]
    facts = here.detached("web", "sleep", "1000", options=options)
    (row,) = facts["Rl"]["Limits"]
    assert row["Kernel"] == str(20 << 20)
    assert row["Enforced"] is False and "memory.low of 0" in row["Why"], "no group above has one"


def test_parents(here, half):
    parent = "pod/inner" if half == "subtree" else "more.slice"
    for name in ("one", "two"):
        here.detached(name, "sleep", "1000", options=["--cgroup-parent", parent, "-m", "50m"])
    path = os.path.dirname(os.path.dirname(here.cgroup("one")))
    assert path.endswith(parent)
    if half == "subtree":
        with open(f"{path}/memory.max", "w", encoding="ascii") as file:
            file.write("200000000")
    else:
        subprocess.run(["systemctl", "--user", "set-property", "--runtime", parent,
                        "MemoryMax=200000000"], check=True)  # fmt: skip
    held = _read(f"{path}/memory.max")
    assert held != "max"
    here.ok("restart", "-t", "0", "one", timeout=120)
    assert _read(f"{path}/memory.max") == held, "the parent's own limit stays"
    here.ok("rm", "-f", "-t", "0", "one", timeout=60)
    assert os.path.isdir(path)
    here.ok("rm", "-f", "-t", "0", "two", timeout=60)
    if half == "subtree":
        until(lambda: not os.path.exists(path), "the end of what rl has made")
    else:
        subprocess.run(["systemctl", "--user", "stop", parent], check=True)


@pytest.mark.halves("default")
def test_systemd_is_restarted_meanwhile(here):
    results = []

    def start():
        words = ("run", "--rm", "--network", "none", "-m", "60m", IMAGE)
        results.append(here(*words, "cat", "/sys/fs/cgroup/memory.max", timeout=300))

    starts = [threading.Thread(target=start) for _ in range(4)]
    for thread in starts[:2]:
        thread.start()
    subprocess.run(["systemctl", "--user", "daemon-reexec"], check=True, timeout=120)
    for thread in starts[2:]:
        thread.start()
    for thread in starts:
        thread.join()
    assert [result.text for result in results] == [str(60 << 20)] * 4, results


def test_a_paused_container_ends_in_order(here):
    here.detached("web", "sh", "-c", "trap 'exit 3' TERM; echo on; while :; do sleep 1; done")
    until(lambda: here.ok("logs", "web", timeout=60).text == "on", "the trap")
    here.ok("pause", "web", timeout=60)
    here.ok("stop", "-t", "60", "web", timeout=120)
    assert here.facts("web")["State"]["ExitCode"] == 3
