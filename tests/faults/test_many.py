"""Many at once: whoever fails may do so only for a reason that is written down."""

import os
import random
import threading
import time

import pytest

pytestmark = pytest.mark.integration

IMAGE = "localhost/busybox:latest"
SEED = int(os.environ.get("RL_TEST_SEED") or time.time_ns() % 1_000_000)
WORKERS = 32
SECONDS = 25

# What two that want the same container may tell each other: the outcome that the docstring of
# the error tells of, and nothing else.
ALLOWED = (
    "no container has the name or id",  # records.NoContainer: removed since it was named
    "no such object",  # inspect.NoSuchObject: the same
    "is not running",  # control.NotRunning, exec.NoInit: it has ended
    "is running already",  # start.AlreadyRunning: another start was faster
    "is running and cannot be removed",  # remove.StillRunning: rm without --force
    "is being started or removed by another rl",  # remove.Busy
    "being read or removed by another rl",  # start.InUse
    "is in use by the container",  # records.NameTaken
    "cannot enter the container",  # enter.EnterFailed: it ended while exec began
    "a process of the set-up was killed",  # launch.LaunchFailed: by rm --force
)


def test_thirty_two_workers(rl, busybox_image):
    print(f"RL_TEST_SEED={SEED}")
    rl.ok("load", "--input", busybox_image)
    problems, done = [], []
    deadline = time.monotonic() + SECONDS

    def work(number):
        dice = random.Random(f"{SEED} {number}")
        names = [f"own{number}", "shared1", "shared2"]
        while time.monotonic() < deadline:
            name = dice.choice(names)
            words = dice.choice([
                ("run", "--rm", "--network", "none", IMAGE, "true"),
                ("run", "-d", "--name", name, "--network", "none", IMAGE, "sleep", "100"),
                ("run", "-d", "--replace", "--name", name, "--network", "none", IMAGE, "true"),
                ("stop", "-t", "0", name),
                ("start", name),
                ("restart", "-t", "0", name),
                ("rm", "-f", "-t", "0", name),
                ("rm", name),
                ("exec", name, "true"),
                ("ps", "-a"),
                ("ps", "-q"),
                ("inspect", name),
                ("logs", name),
                ("container", "prune", "--force"),
            ])  # fmt: skip
            try:
                result = rl(*words, timeout=90)
            except Exception as error:  # a time-out is a deadlock
                problems.append(f"{words}: {error!r}")
                continue
            done.append(words[0])
            if result.code and not any(text in result.stderr for text in ALLOWED):
                if words[0] != "exec" or result.code != 137:
                    problems.append(repr(result))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not problems, f"{len(problems)} of {len(done)}:\n" + "\n".join(problems[:5])
    assert len(done) > WORKERS
    rl.ok("rm", "-fa", "-t", "0", timeout=120)
    rl.ok("container", "prune", "--force")
    assert os.listdir(f"{rl.root}/containers") == []
    rl.ok("system", "check")
