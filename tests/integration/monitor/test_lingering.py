"""A monitor that has told of the end and still has to sync what it wrote."""

import fcntl
import glob
import os
import threading

import pytest

pytestmark = pytest.mark.integration
IMAGE = "localhost/busybox:latest"


@pytest.fixture
def lingering(rl, busybox):
    """A container that has ended, and whose life lock is held: (rl, what lets go of it)."""
    rl.ok("run", "--name", "c", "--network", "none", IMAGE, "true")
    (directory,) = glob.glob(f"{rl.root}/containers/*")
    run_directory = os.readlink(f"{directory}/run")
    os.makedirs(run_directory, exist_ok=True)
    lock = os.open(f"{run_directory}/alive", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    closing = threading.Timer(0.3, os.close, (lock,))
    yield rl, closing
    closing.join()


@pytest.mark.parametrize("words", [("rm", "c"), ("rm", "--all"), ("start", "c"),
                                   ("container", "prune", "--force")])  # fmt: skip
def test_whoever_heard_of_the_end_may_go_on(lingering, words):
    rl, closing = lingering
    assert rl.ok("ps", "--all", "--format", "{{.State}}").text == "stopping"
    closing.start()
    result = rl.ok(*words)
    assert result.text, "the container was passed over"
    if words[0] == "start":
        rl.ok("wait", "c")
    else:
        assert rl.ok("ps", "--all", "--quiet").text == ""
