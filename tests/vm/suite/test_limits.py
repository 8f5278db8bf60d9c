"""Limits that hold: the kernel is asked, and the container that breaks one feels it."""

import os
import time

import pytest

from support.limited import until

IMAGE = "localhost/busybox:latest"
# A program that wants 300 MB: tail keeps the last line, and there is no other.
_GREEDY = "head -c 300000000 /dev/zero | tail"


def _usage(here, name):
    for line in here.kernel(name, "cpu.stat").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    raise AssertionError("no cpu.stat")


def test_memory_kills_and_is_told(here):
    here.ok("create", "--name", "greedy", "--network", "none", "-m", "64m", "--memory-swap", "64m",
            IMAGE, "sh", "-c", _GREEDY + "; exit $?")  # fmt: skip
    result = here("start", "-a", "greedy", timeout=120)
    assert result.code == 137, repr(result)
    state = here.facts("greedy")["State"]
    assert state["OOMKilled"] is True and state["ExitCode"] == 137
    told = here.ok("events", "--stream=false", "--filter", "event=oom", timeout=60)
    assert "greedy" in told.stdout


def test_cpus_are_half_a_core(here):
    here.detached("half", "sh", "-c", "while :; do :; done", options=["--cpus", "0.5"])
    before, begin = _usage(here, "half"), time.monotonic()
    time.sleep(10)
    used = _usage(here, "half") - before
    share = used / (time.monotonic() - begin)
    assert 0.35 < share < 0.6, share


def test_pids_stop_a_fork_bomb(here):
    # The shell that can't fork ends; what it has started, and pid 1, go on.
    bomb = "(i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done); exec sleep 1000"
    here.detached("bomb", "sh", "-c", bomb, options=["--pids-limit", "20"])
    until(lambda: "max 0" not in here.kernel("bomb", "pids.events"), "a refused fork")
    assert here.kernel("bomb", "pids.max") == "20"
    assert 15 < int(here.kernel("bomb", "pids.current")) <= 20


def test_what_inspect_shows(here):
    facts = here.detached("shown", "sleep", "1000", options=[
        "-m", "100m", "--cpus", "0.25", "--pids-limit", "50", "--memory-reservation", "50m",
        "--cpu-shares", "512", "--cgroup-conf", "memory.high=90000000",
    ])  # fmt: skip
    rows = {row["Option"]: row for row in facts["Rl"]["Limits"]}
    assert set(rows) == {"--memory", "--cpus", "--pids-limit", "--memory-reservation",
                         "--cpu-shares", "--cgroup-conf"}  # fmt: skip
    reserved = rows.pop("--memory-reservation")  # it counts as far as the groups above have it
    assert all(row["Enforced"] for row in rows.values()), rows
    assert reserved["Kernel"] == str(50 << 20)
    assert rows["--memory"]["Kernel"] == str(100 << 20)
    assert rows["--cpus"]["Kernel"] == "25000 100000"
    host = facts["HostConfig"]
    assert host["Memory"] == 100 << 20 and host["MemorySwap"] == 200 << 20
    assert host["NanoCpus"] == 250_000_000 and host["PidsLimit"] == 50
    assert host["CpuShares"] == 512
    # Somebody changes it behind our back: that is told, too.
    with open(f"{here.cgroup('shown')}/pids.max", "w", encoding="ascii") as file:
        file.write("70")
    rows = {row["Option"]: row for row in here.facts("shown")["Rl"]["Limits"]}
    assert rows["--pids-limit"]["Enforced"] is False and rows["--pids-limit"]["Kernel"] == "70"


def test_update_and_restart(here):
    here.detached("web", "sleep", "1000", options=["-m", "100m", "--pids-limit", "50"])
    here.ok("update", "-m", "80m", "--cpus", "0.5", "web", timeout=60)
    assert here.kernel("web", "memory.max") == str(80 << 20)
    assert here.kernel("web", "cpu.max") == "50000 100000"
    assert here.kernel("web", "pids.max") == "50"
    here.ok("restart", "-t", "0", "web", timeout=120)
    assert here.kernel("web", "memory.max") == str(80 << 20)
    assert here.kernel("web", "cpu.max") == "50000 100000"
    assert here.kernel("web", "pids.max") == "50"
    here.ok("update", "--pids-limit", "-1", "web", timeout=60)
    assert here.kernel("web", "pids.max") == "max"
    here.ok("update", "-m", "0", "web", timeout=60)
    assert here.kernel("web", "memory.max") == "max"


def test_processors_can_be_chosen(here, half):
    words = ("run", "--rm", "--network", "none", "--cpuset-cpus", "1", IMAGE, "nproc")
    if half == "default":
        result = here.fails(*words, says="--cpuset-cpus needs the controller cpuset", hint=False)
        assert "hint: as root write" in result.stderr
        assert "Delegate=cpu cpuset io memory pids" in result.stderr
        assert "user@.service.d/delegate.conf" in result.stderr
        return
    assert here.ok(*words, timeout=120).text == "1"
    result = here(*words[:4], "--cpuset-cpus", "99", IMAGE, "true", timeout=120)
    assert result.code == 125 and "--cpuset-cpus" in result.stderr, repr(result)


def test_a_disk_can_be_slowed(here, half, workdir):
    data = f"{workdir}/data"
    os.mkdir(data)
    words = ["run", "--rm", "--network", "none", "-v", f"{data}:/data",
             "--device-write-bps", "/dev/vda:1mb", IMAGE, "dd", "if=/dev/zero", "of=/data/file",
             "bs=1M", "count=5", "oflag=direct"]  # fmt: skip
    if half == "default":
        here.fails(*words, says="--device-write-bps needs the controller io", hint=False)
        return
    begin = time.monotonic()
    here.ok(*words, timeout=240)
    assert time.monotonic() - begin > 3.5
    here.fails(*words[:6], "--device-read-bps", "/dev/null:1mb", IMAGE, "true", says="not a block")


@pytest.mark.halves("default")
@pytest.mark.parametrize(("words", "says"), [
    (["-m", "1k"], "no program runs with so little"),
    (["-m", "1z"], "not a size"),
    (["--memory-swap", "1g"], "needs --memory"),
    (["-m", "1g", "--memory-swap", "512m"], "less than --memory"),
    (["--cpus", "0"], None),
    (["--cpus", "-1"], "not a number of processors"),
    (["--cpus", "1", "--cpu-quota", "5000"], "sets the same"),
    (["--cpu-rt-runtime", "1000"], "no limits of real-time"),
    (["--oom-kill-disable"], "cannot keep the kernel"),
    (["--blkio-weight", "5"], "not a number from 10"),
    (["--cgroup-conf", "../x=1"], "not FILE=VALUE"),
    (["--cgroup-conf", "memory.nonsense=1"], "the kernel"),
    (["--cgroups", "disabled", "-m", "1g"], "needs a cgroup"),
])  # fmt: skip
def test_bad_limits(here, words, says):
    result = here("run", "--rm", "--network", "none", *words, IMAGE, "true", timeout=120)
    if says is None:
        assert result.code == 0, repr(result)
    else:
        assert result.code == 125 and says in result.stderr, repr(result)
