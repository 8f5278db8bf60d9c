"""Limits where nobody can be limited, and what is wrong everywhere: said before anything is done.

Where there are cgroups of version 2, tests/vm/suite asks the kernel.
"""

import os

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

WITHOUT = pytest.mark.skipif(
    os.path.exists("/sys/fs/cgroup/cgroup.controllers"), reason="there are cgroups of version 2"
)
# If its name were looked at, that would be another error.
NO_IMAGE = "localhost/there-is-none:latest"


@WITHOUT
@pytest.mark.parametrize("words", [
    ("-m", "1g"), ("--memory-reservation", "1g"), ("--cpus", "1"), ("--cpu-shares", "5"),
    ("--cpu-quota", "5000"), ("--cpuset-cpus", "0"), ("--pids-limit", "5"),
    ("--blkio-weight", "10"), ("--cgroup-conf", "memory.high=5"), ("--cgroup-parent", "pod"),
    ("--cgroups", "split"),
])  # fmt: skip
def test_a_limit_that_cannot_be_had(life, words):
    for verb in ("run", "create"):
        result = life.fails(verb, *words, NO_IMAGE, "true", says="nothing can be limited here")
        assert "rl doctor" in result.stderr


@pytest.mark.parametrize(("words", "says"), [
    (("-m", "1k"), "no program runs with so little"),
    (("--memory-swap", "1g"), "needs --memory"),
    (("-m", "1g", "--memory-swap", "512m"), "less than --memory"),
    (("-m", "1g", "--memory-reservation", "2g"), "more than --memory"),
    (("--memory-swappiness", "0"), "no swappiness"),
    (("--oom-kill-disable",), "cannot keep the kernel"),
    (("--oom-score-adj", "1001"), "not from -1000 to 1000"),
    (("--cpus", "1", "--cpu-period", "5000"), "sets the same"),
    (("--cpu-rt-runtime", "5"), "real-time"),
    (("--cpuset-cpus", "0-"), "not a list"),
    (("--cpuset-mems", "x"), "not a list"),
    (("--pids-limit", "-2"), "not a number from -1"),
    (("--device-read-bps", "/dev/null:1mb"), "not a block device"),
    (("--blkio-weight-device", "/dev/none:10"), "No such file"),
    (("--cgroup-conf", "../x=1"), "not FILE=VALUE"),
    (("--cgroups", "disabled", "-m", "1g"), "needs a cgroup"),
])  # fmt: skip
def test_what_is_wrong_everywhere(life, words, says):
    life.fails("run", *words, NO_IMAGE, "true", says=says)
    assert life.ok("ps", "-aq").text == ""


def test_no_limit_needs_nothing(life):
    found = life.ok("run", "--rm", "--network", "none", "--pids-limit", "-1", "--memory-swap", "-1",
                    "--cpu-quota", "-1", "-m", "0", life.image, "echo", "free")  # fmt: skip
    assert found.text == "free"


@WITHOUT
def test_updates(life):
    life.detached("web")
    life.fails("update", "-m", "1g", "web", says="runs without a cgroup")
    life.ok("update", "--pids-limit", "0", "web")
    life.fails("update", "web", says="nothing to change")
    life.ok("stop", "-t", "0", "web")
    life.fails("update", "-m", "1g", "web", says="nothing can be limited here")
    (facts,) = life.ok("inspect", "web").json()
    assert facts["HostConfig"]["Memory"] == 0 and facts["HostConfig"]["PidsLimit"] == -1


def test_a_paused_container_ends_in_order(life):
    life.detached("web", "sh", "-c", "trap 'exit 3' TERM; echo on; while :; do sleep 0.1; done")
    life.until(lambda: life.ok("logs", "web").text == "on", "the trap")
    life.ok("pause", "web")
    life.ok("stop", "-t", "60", "web")
    (facts,) = life.ok("inspect", "web").json()
    assert facts["State"]["ExitCode"] == 3
