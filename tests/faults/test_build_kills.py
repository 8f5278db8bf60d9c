"""Builds are killed at random moments: what is left is seen by df, and prune takes it.

The seed is printed; RL_TEST_SEED repeats a run.
"""

import os
import random
import signal
import time

import pytest

from support import leaks

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

BASE = "localhost/busybox:latest"
SEED = int(os.environ.get("RL_TEST_SEED") or time.time_ns() % 1_000_000)
TEXT = f"""
FROM {BASE} AS one
RUN echo 1 > /one; sleep 0.1
FROM {BASE} AS two
COPY files /files
RUN echo 2 > /two; sleep 0.1
FROM {BASE}
COPY --from=one /one /
COPY --from=two /two /files /
RUN --mount=type=cache,target=/cache cat /one /two > /cache/x; cp /cache/x /three
"""
ROUNDS = 10


@pytest.fixture
def context(workdir):
    directory = f"{workdir}/context"
    os.makedirs(f"{directory}/files")
    for number in range(50):
        with open(f"{directory}/files/{number}", "w") as file:
            file.write(f"{number}\n" * 1000)
    with open(f"{directory}/Containerfile", "w") as file:
        file.write(TEXT)
    return directory


def nobody_left(before):
    """Wait until all processes of a killed build have ended."""
    deadline = time.monotonic() + 60
    while leaks.descendants() - before:
        assert time.monotonic() < deadline, leaks.descendants() - before
        time.sleep(0.02)


def test_a_killed_build_leaves_nothing_that_prune_does_not_take(rl, busybox, context):
    print(f"RL_TEST_SEED={SEED}")
    dice = random.Random(f"{SEED} build")
    began = time.monotonic()
    rl.ok("build", "-q", "--no-cache", "--jobs=2", context, timeout=120)
    whole = time.monotonic() - began
    rl.ok("image", "prune", "--force")
    before = leaks.descendants()
    for _ in range(ROUNDS):
        process = rl.start("build", "-q", "--no-cache", "--jobs=2", "-t", "x", context)
        time.sleep(dice.uniform(0, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        nobody_left(before)
        rl.ok("system", "check", "--quick")
    found = rl.ok("system", "df", "-v", "--format", "json").json()
    assert sum(row["RawSize"] for row in found["types"]) == found["total"]
    rl.ok("system", "prune", "--force")
    assert os.listdir(f"{rl.root}/tmp") == []
    names = set(rl.ok("images", "--format", "{{.Repository}}").lines)
    assert names <= {"localhost/busybox", "localhost/x"}
    if "localhost/x" in names:
        rl.ok("rmi", "x")
        rl.ok("system", "prune", "--force")
    assert os.listdir(f"{rl.root}/layers") == [
        layer.removeprefix("sha256:")
        for layer in rl.ok("inspect", "--type", "image", BASE).json()[0]["RootFS"]["Layers"]
    ]
    assert rl.ok("system", "df", "--format", "json").json()[3]["Total"] == 0
    rl.ok("builder", "prune", "--force", "--all")
    assert os.listdir(f"{rl.root}/build-cache/mounts") == []
    rl.ok("system", "check")
    rl.ok("build", "-q", "-t", "x", context, timeout=120)
    shown = rl.ok("run", "--rm", "--network", "none", "x", "cat", "/three").stdout
    assert shown == "1\n2\n"
