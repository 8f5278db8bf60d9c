"""Helpers that hang, fail, lie or are missing: an error in time, and nothing left."""

import os
import time

import pytest

from integration.network import world
from rootless.kernel import process
from rootless.model.network import parse
from rootless.network import plan as planning
from rootless.network import start

pytestmark = pytest.mark.integration
FACTS = {
    "prefixes": [],
    "ipv4": True,
    "ipv6": False,
    "address4": "192.0.2.2",
    "address6": None,
}
HANGS = "sleep 1000 & wait\n"
FAILS = "echo first >&2; echo 'no such luck' >&2; exit 1\n"
EMPTY = "exit 0\n"
# Says that it is ready by either helper's way, and does nothing.
LIES = "echo 1 >&3; echo 1; sleep 1000 & wait\n"
QUIET_KILL = "kill -9 $$\n"


def fake(directory, name, body):
    path = f"{directory}/{name}"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nexec 3>&3 2>&2\n{body}")
    os.chmod(path, 0o755)
    return path


def programs(directory, body):
    found = {name: fake(directory, name, body) for name in ("pasta", "slirp4netns")}
    return {**found, "setpriv": world.PROGRAMS["setpriv"]}


@pytest.mark.parametrize("mode", ["private", "pasta", "slirp4netns"])
@pytest.mark.parametrize(
    "body, word",
    [
        (FAILS, "no such luck"),
        (EMPTY, "said nothing"),
        (LIES, "connected nothing"),
        (QUIET_KILL, "said nothing"),
    ],
)
def test_broken_helpers(workdir, mode, body, word):
    plan = planning.make_plan(parse((mode,)), programs(workdir, body), facts=FACTS)
    with world.Container() as box:
        before = start._children()
        with pytest.raises(planning.NetworkError) as caught:
            start.start(plan, pid=box.pid, run_dir=workdir)
        assert word in caught.value.message and caught.value.advice
        assert start._children() == before


def test_helpers_that_hang(workdir):
    plan = planning.make_plan(parse(()), programs(workdir, HANGS), facts=FACTS)
    with world.Container() as box:
        before, began = start._children(), time.monotonic()
        with pytest.raises(planning.NetworkError) as caught:
            start.start(plan, pid=box.pid, run_dir=workdir)
        assert "pasta was not ready" in caught.value.message
        assert "slirp4netns was not ready" in caught.value.message
        assert time.monotonic() - began < 60
        assert start._children() == before


def test_the_second_helper_takes_over(workdir):
    found = programs(workdir, FAILS)
    found["slirp4netns"] = world.PROGRAMS["slirp4netns"]
    plan = planning.make_plan(parse(()), found, facts=FACTS)
    with world.Container() as box:
        result = start.start(plan, pid=box.pid, run_dir=workdir)
        assert result["rung"] == "slirp4netns"
        assert result["failed"] == [["pasta", "pasta failed: no such luck"]]
        world.end(result["pid"])


def test_a_program_that_cannot_be_run(workdir):
    found = {"pasta": "/nonexistent/pasta", "slirp4netns": None, "setpriv": None}
    plan = planning.make_plan(parse(("pasta",)), found, facts=FACTS)
    with world.Container() as box, pytest.raises(planning.NetworkError) as caught:
        start.start(plan, pid=box.pid, run_dir=workdir)
    assert "/nonexistent/pasta" in caught.value.message


def test_no_descriptor_is_left_open(workdir):
    before = sorted(os.listdir("/proc/self/fd"))
    test_a_program_that_cannot_be_run(workdir)
    test_the_second_helper_takes_over(workdir)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_killed_helper_leaves_no_interface(workdir):
    plan = planning.make_plan(parse(("slirp4netns",)), world.PROGRAMS, facts=FACTS)
    with world.Container() as box:
        result = start.start(plan, pid=box.pid, run_dir=workdir)
        os.kill(result["pid"], 9)
        process.wait_exit(result["pid"])
        with open(f"/proc/{box.pid}/net/dev", encoding="ascii") as file:
            assert plan["interface"] not in file.read()
