"""Everything that a container's life consists of is killed at random moments.

Whatever is killed and whenever: ``ps`` tells the truth, ``system check`` is content, no
process, mount or socket stays, and ``rm`` can remove everything.  The seed is printed;
RL_TEST_SEED repeats a run.
"""

import os
import random
import signal
import time

import pytest

from support import leaks

pytestmark = pytest.mark.integration

IMAGE = "localhost/busybox:latest"
SEED = int(os.environ.get("RL_TEST_SEED") or time.time_ns() % 1_000_000)
STATES = {"created", "initialized", "running", "paused", "stopping", "restarting", "exited",
          "dead", "lost"}  # fmt: skip


@pytest.fixture
def dice(request):
    """A random generator of the printed seed."""
    print(f"RL_TEST_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def store(rl, busybox_image):
    """rl with busybox in its store."""
    rl.ok("load", "--input", busybox_image)
    return rl


def below(pid):
    """The living descendants of a process, eldest first."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop(0)
        try:
            with open(f"/proc/{current}/task/{current}/children", encoding="ascii") as file:
                children = [int(word) for word in file.read().split()]
        except OSError:
            continue
        found += children
        waiting += children
    return found


def kill(pid):
    """Kill a process; True if there was one that could be."""
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except (ProcessLookupError, PermissionError):
        return False


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def sound(store):
    """What must hold whatever has been killed."""
    deadline = time.monotonic() + 30
    while True:
        rows = store.ok("ps", "-a", "--format", "json").json()
        wrong = [row for row in rows if row["State"] not in STATES]
        wrong += [row for row in rows if row["State"] == "running"
                  and state_of(row["Pid"]) in (None, "Z")]  # fmt: skip
        if not wrong or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert not wrong, wrong
    store.ok("system", "check", "--quick")


def gone(store):
    """Remove everything; nothing may be left."""
    store.ok("rm", "--all", "--force", "--time", "0", timeout=90)
    store.ok("container", "prune", "--force")
    assert store.ok("ps", "-aq").text == ""
    assert os.listdir(f"{store.root}/containers") == []
    names = f"{store.root}/names"
    assert not os.path.isdir(names) or os.listdir(names) == []
    store.ok("system", "check")


def finish(process):
    """Wait for an rl that may have been killed."""
    try:
        return process.communicate(timeout=60)
    except BaseException:
        process.kill()
        process.communicate()
        raise


LINES = {
    "run": ["run", "--name", "a", "--network", "none", IMAGE, "sleep", "0.2"],
    "run-rm": ["run", "--rm", "--name", "a", "--network", "none", IMAGE, "sleep", "0.2"],
    "run-d": ["run", "-d", "--name", "a", "--network", "none", "--restart", "on-failure:2",
              IMAGE, "sleep", "0.1"],
    "network": ["run", "--rm", "--name", "a", "-v", "/data", IMAGE, "sleep", "0.1"],
    "fuse": ["--storage-driver", "fuse-overlayfs", "run", "--rm", "--network", "none", IMAGE,
             "true"],
}  # fmt: skip


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("whom", ["rl", "child"])
def test_of_a_start(store, dice, kind, whom):
    store.ok(*LINES[kind])
    gone(store)
    for _ in range(10 if whom == "rl" else 14):
        process = store.start(*LINES[kind])
        time.sleep(dice.uniform(0, 0.15))
        victims = [process.pid] if whom == "rl" else below(process.pid)
        if victims:
            kill(dice.choice(victims))
        output, errors = finish(process)
        assert b"Traceback" not in errors, errors
        assert process.returncode in (-9, 0) or whom == "child", (output, errors)
        store("rm", "-f", "-t", "0", "a")
    sound(store)
    gone(store)


@pytest.mark.parametrize("whom", ["monitor", "container", "both"])
def test_of_a_running_container(store, dice, whom):
    for number in range(6):
        name = f"c{number}"
        container = store.ok("run", "-d", "--name", name, "--network", "none", IMAGE, "sh", "-c",
                             "sleep 1000 & sleep 1000 & wait").text  # fmt: skip
        pid = int(store.ok("inspect", "--format", "{{.State.Pid}}", name).text)
        monitor = _parent(pid)
        time.sleep(dice.uniform(0, 0.05))
        order = {"monitor": [monitor], "container": [pid], "both": [monitor, pid]}[whom]
        dice.shuffle(order)
        assert any([kill(victim) for victim in order])
        assert store.ok("wait", name).text in ("-1", "137")
        assert container
    sound(store)
    states = {row["State"] for row in store.ok("ps", "-a", "--format", "json").json()}
    assert states <= {"exited", "lost"}
    if whom == "container":
        assert states == {"exited"}
    for number in range(3):
        store.ok("start", f"c{number}")
    gone(store)


def _parent(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rpartition(")")[2].split()[1])


VERBS = [["stop", "-t", "0"], ["rm", "-f", "-t", "0"], ["restart", "-t", "0"], ["kill"], ["pause"],
         ["start"]]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_of_a_verb(store, dice, verb):
    for number in range(6):
        name = f"c{number}"
        store.ok("run", "-d", "--name", name, "--network", "none", IMAGE, "sleep", "1000")
        if verb == ["start"]:
            store.ok("stop", "-t", "0", name)
        process = store.start(*verb, name)
        time.sleep(dice.uniform(0, 0.1))
        kill(process.pid)
        _, errors = finish(process)
        assert b"Traceback" not in errors, errors
    sound(store)
    for number in range(6):
        done = store(*verb, f"c{number}")
        assert done.code in (0, 1, 2, 125) and "defect" not in done.stderr, repr(done)
    gone(store)


def test_of_an_exec(store, dice):
    store.ok("run", "-d", "--name", "a", "--network", "none", IMAGE, "sleep", "1000")
    for _ in range(10):
        process = store.start("exec", "a", "sleep", "0.3")
        time.sleep(dice.uniform(0, 0.15))
        kill(dice.choice([process.pid, *below(process.pid)]))
        finish(process)
    sound(store)
    assert store.ok("exec", "a", "echo", "well").text == "well"
    deadline = time.monotonic() + 20
    while len(store.ok("top", "a").lines) > 2 and time.monotonic() < deadline:
        leaks.descendants()  # we are the init of what has lost its parent: reap it
        time.sleep(0.05)
    assert len(store.ok("top", "a").lines) == 2
    gone(store)


def test_of_a_removal_half_way(store, dice):
    for number in range(8):
        store.ok("create", "--name", f"c{number}", IMAGE)
        process = store.start("rm", f"c{number}")
        time.sleep(dice.uniform(0, 0.06))
        kill(process.pid)
        finish(process)
        store.ok("create", "--replace", "--name", f"c{number}", IMAGE)
    sound(store)
    gone(store)
