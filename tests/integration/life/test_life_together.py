"""Several containers are stopped side by side: their time-outs don't add up."""

import os
import time

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

# Told to end, each waits until the other one has been told as well: one after the other, the
# first would be killed when its time is over.
_TOLD = """
trap 'touch /told/$HOSTNAME; ended=1' TERM
touch /told/ready-$HOSTNAME
while [ -z "$ended" ]; do sleep 0.05; done
while [ ! -e /told/$0 ]; do sleep 0.05; done
touch /told/together-$HOSTNAME
"""
PAIR = (("left", "right"), ("right", "left"))


@pytest.fixture
def pair(rl, busybox, workdir):
    """Two containers, and the directory in which they write."""
    os.mkdir(f"{workdir}/told", 0o777)
    os.chmod(f"{workdir}/told", 0o777)

    def start(*options):
        for name, other in PAIR:
            rl.ok("run", "--detach", "--name", name, "--hostname", name,
                  "--volume", f"{workdir}/told:/told", *options, busybox, "sh", "-c", _TOLD,
                  other)  # fmt: skip
            while not os.path.exists(f"{workdir}/told/ready-{name}"):
                time.sleep(0.02)
        return rl

    yield start
    rl.ok("rm", "--all", "--force", "--time", "0")


def together(workdir):
    return sorted(name for name in os.listdir(f"{workdir}/told") if name.startswith("together"))


BOTH = ["together-left", "together-right"]


def test_stop(pair, workdir):
    rl = pair()
    assert sorted(rl.ok("stop", "--time", "30", "left", "right").lines) == ["left", "right"]
    assert together(workdir) == BOTH
    for name, _ in PAIR:
        assert rl.ok("inspect", "--format", "{{.State.ExitCode}}", name).text == "0"


def test_rm(pair, workdir):
    pair().ok("rm", "--force", "--time", "30", "left", "right")
    assert together(workdir) == BOTH


def test_network_rm(pair, workdir, rl):
    rl.ok("network", "create", "shop")
    pair("--network", "shop").ok("network", "rm", "--force", "--time", "30", "shop")
    assert together(workdir) == BOTH


def test_one_that_is_needed_is_not_even_told(pair, workdir, rl, busybox):
    pair()
    rl.ok("create", "--name", "third", "--requires", "left", busybox, "true")
    rl.fails("rm", "--force", "--time", "1", "left", "right", code=125)
    assert rl.ok("inspect", "--format", "{{.State.Status}}", "left").text == "running"
    assert not os.path.exists(f"{workdir}/told/left")
