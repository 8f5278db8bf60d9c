"""Whatever is killed at whatever moment: the store stays usable and nothing stays behind."""

import contextlib
import os
import random
import signal
import time

import pytest

from support import leaks
from support.ids import has_range

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


def family(pid):
    """The pids below ``pid``, deepest last."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop(0)
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                children = [int(word) for word in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += children
        waiting += children
    return found


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone already, or of a subordinate id


def settle(before):
    """Wait until only the processes of before are left."""
    deadline = time.monotonic() + 20
    while leaks.descendants() - before:
        assert time.monotonic() < deadline, [
            leaks.describe(pid) for pid, _ in leaks.descendants() - before
        ]
        time.sleep(0.02)


def usable(rl, image):
    """A run, and a removal of everything, after which nothing is left."""
    assert rl.ok("run", "--rm", "--network", "none", "--name", "again", image, "echo", "yes"
                 ).text == "yes"
    rl.ok("ps", "-a")
    rl.ok("rm", "--all", "--force", "--time", "0")
    deadline = time.monotonic() + 10
    for path in (f"{rl.root}/containers", f"{rl.root}/names"):
        while [name for name in os.listdir(path)]:
            assert time.monotonic() < deadline, (path, os.listdir(path))
            time.sleep(0.05)
    assert [problem for problem in rl("system", "check").lines if "amaged" in problem] == []


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rm", [True, False])
def test_rl_killed_at_any_moment(rl, busybox, seed, rm):
    """P0: a --rm container is gone in the end; others can be seen and removed."""
    chance = random.Random(seed)
    before = leaks.descendants()
    words = ["run", "--network", "none", "--name", "k", *(["--rm"] if rm else [])]
    process = rl.start(*words, busybox, "true")
    time.sleep(chance.random() * 0.4)
    kill(process.pid)
    process.communicate()
    settle(before)
    if rm:
        assert rl.ok("ps", "--all", "--quiet").text == ""
    else:
        for line in rl.ok("ps", "--all", "--format", "{{.Names}} {{.State}}").lines:
            assert line in ("k created", "k exited")
    assert rl.ok("run", "--rm", "--replace", "--name", "k", "--network", "none", busybox, "echo",
                 "replaced").text == "replaced"
    usable(rl, busybox)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("options", [(), ("--userns", "auto"), ("--network", "private")])
def test_any_process_of_a_launch_killed(rl, busybox, seed, options):
    """P1, P2, P3 or a helper: rl tells it, or the container ran; nothing runs on."""
    if options[:1] == ("--userns",) and not has_range():
        options = ("--userns", "keep-id")
    chance = random.Random(f"{seed}{options}")
    before = leaks.descendants()
    if "--network" not in options:
        options = ("--network", "none", *options)
    process = rl.start("run", "--rm", "--name", "k", *options, busybox, "sleep", "0.2")
    deadline = time.monotonic() + 20
    wanted = chance.randrange(1, 5)
    while len(family(process.pid)) < wanted and process.poll() is None:
        if time.monotonic() > deadline or chance.random() < 0.0005:
            break
    time.sleep(chance.random() * 0.02)
    there = family(process.pid)
    if there:
        kill(chance.choice(there))
    output, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors and b"defect" not in errors, errors
    assert process.returncode in (0, 125, 137), errors
    settle(before)
    assert rl.ok("ps", "--all", "--quiet").text == ""
    usable(rl, busybox)


@pytest.mark.parametrize("options", [(), ("--userns", "auto"), ("--network", "private")])
@pytest.mark.parametrize("driver", ["overlay", "fuse-overlayfs"])
def test_a_killed_monitor_takes_all_along(rl, busybox, driver, options):
    if options[:1] == ("--userns",) and not has_range():
        options = ("--userns", "keep-id")
    before = leaks.descendants()
    words = ["--storage-driver", driver, "run", "--detach", "--name", "k", *options]
    if "--network" not in options:
        words += ["--network", "none"]
    rl.ok(*words, busybox, "sh", "-c", "sleep 50 & sleep 60")
    (monitor,) = [pid for pid, _ in leaks.descendants() - before
                  if leaks.describe(pid).split()[1] == "rl-monitor"]
    kill(monitor)
    settle(before)
    assert rl.ok("ps", "-a", "--format", "{{.Names}}").text == "k"
    assert not rl.ok("ps", "-q").text
    rl.ok("start", "k")
    assert rl.ok("ps", "--format", "{{.Names}}").text == "k"
    rl.ok("rm", "-f", "-t", "0", "k")
    settle(before)
    usable(rl, busybox)


@pytest.mark.parametrize("options", [(), ("--storage-opt", "size=20m")])
def test_the_end_of_a_scope_leaves_the_root_until_the_program_has_ended(rl, busybox, options):
    """systemd sends SIGTERM to everything in it: the monitor, who serves the root, pid 1."""
    before = leaks.descendants()
    rl.ok("--storage-driver", "fuse-overlayfs", "run", "--detach", "--name", "k", "--network",
          "none", "--stop-timeout", "60", *options, busybox, "sh", "-c",
          "trap 'sleep 1; cat /bin/busybox >/out; exit 3' TERM; echo on; "
          "while :; do sleep 0.1; done")  # fmt: skip
    deadline = time.monotonic() + 60
    while rl.ok("logs", "k").text != "on":
        assert time.monotonic() < deadline
    for pid, _ in leaks.descendants() - before:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    assert rl.ok("wait", "k").text == "3"
    settle(before)
    assert rl.ok("diff", "k").text == "A /out"
    assert rl.ok("ps", "-a", "--format", "{{.Status}}").text.startswith("Exited (3)")
    rl.ok("rm", "k")


def test_a_killed_removal_is_finished_later(rl, busybox):
    chance = random.Random(1)
    for _ in range(6):
        rl.ok("run", "--network", "none", "--name", "k", "-v", "/v", busybox, "touch", "/v/x")
        process = rl.start("rm", "--volumes", "k")
        time.sleep(chance.random() * 0.15)
        kill(process.pid)
        process.communicate()
        rl("rm", "--volumes", "k")
        assert rl.ok("ps", "-aq").text == ""
    usable(rl, busybox)


def test_names_of_killed_containers_are_free(rl, busybox):
    """A --rm container whose monitor and rl are both killed has given its name back."""
    before = leaks.descendants()
    process = rl.start("run", "--rm", "--network", "none", "--name", "k", busybox, "sh", "-c",
                       "echo ready; sleep 60")
    assert process.stdout.readline() == b"ready\n"
    there = family(process.pid)
    kill(process.pid)
    for pid in there:
        kill(pid)
    process.communicate()
    settle(before)
    assert rl.ok("ps", "-aq").text == ""
    words = ["run", "--rm", "--network", "none", "--name", "k", busybox]
    assert rl.ok(*words, "echo", "x").text == "x"
    usable(rl, busybox)
