"""Verbs without a process of their own, killed between any two of their system calls.

Whichever it was: what is listed is whole, the verb can be done again, and nothing stays that
``system prune`` does not take.  The seed is printed; RL_TEST_SEED repeats a run.
"""

import os
import random
import shutil
import signal
import sys
import time

import pytest

from rootless.cli import main
from rootless.kernel import files
from support import images
from support.command import Rl

pytestmark = pytest.mark.integration

IMAGE = "localhost/busybox:latest"
SEED = int(os.environ.get("RL_TEST_SEED") or time.time_ns() % 1_000_000)
CALLS = ("open", "write", "rename", "fsync", "mkdir", "unlink", "rmdir", "ftruncate", "link",
         "symlink", "replace")  # fmt: skip
VERBS = {
    "volume create new": 35, "volume rm old": 20, "volume prune -f": 25, "network create new": 35,
    "network rm net": 20, f"tag {IMAGE} new": 45, "untag two": 40, f"rmi -f {IMAGE}": 110,
    "rmi two": 40, "load -q -i ARCHIVE": 80, "save -q -o OUT busybox": 80,
    "import -q LAYER imported": 120, "commit -q ended new": 50, "rename one other": 25,
    "update --restart always one": 20, "cp LAYER one:/x": 40, "cp ended:/f OUT": 45,
    f"create --name new {IMAGE} true": 110, "rm ended": 70, "build -q -t new CONTEXT": 140,
    f"manifest create new {IMAGE}": 90, "container prune -f": 110, "image prune -af": 90,
    "system prune -af --volumes": 150, "system reset -f": 60,
}  # fmt: skip  (and about how many calls each makes)
LOOK = ("ps -a", "images -a", "volume ls", "network ls", "system check --quick")
# What a verb says that was done before it was killed.
DONE = ("already", "not known", "no volume", "no network", "is in use", "no container",
        "exists")  # fmt: skip


@pytest.fixture(scope="module")
def dice():
    print(f"RL_TEST_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture(scope="module")
def origin(session_dir, busybox_image):
    """rl with one of everything, and a copy of its store to start from again."""
    home = f"{session_dir}/kills"
    rl = Rl(home)
    rl.ok("load", "--input", busybox_image)
    rl.ok("tag", IMAGE, "two")
    rl.ok("volume", "create", "old")
    rl.ok("network", "create", "net")
    rl.ok("create", "--name", "one", IMAGE, "true")
    rl.ok("run", "--name", "ended", "--network", "none", IMAGE, "sh", "-c", "echo hi > /f")
    with open(f"{home}/layer.tar", "wb") as file:
        file.write(images.busybox_layer())
    os.mkdir(f"{home}/context")
    with open(f"{home}/context/Containerfile", "w", encoding="ascii") as file:
        file.write(f"FROM {IMAGE}\nCOPY Containerfile /x\nLABEL a=b\n")
    rl.places = {"ARCHIVE": busybox_image, "LAYER": f"{home}/layer.tar",
                 "CONTEXT": f"{home}/context", "OUT": f"{home}/out"}  # fmt: skip
    copy(rl, rl.root, f"{home}/pristine")
    yield rl
    rl.ok("unshare", "rm", "-rf", f"{home}/pristine", rl.root)


@pytest.fixture
def store(origin):
    """The store as it was, in an rl that knows nothing else."""
    shutil.rmtree(origin.run)
    os.mkdir(origin.run, 0o700)
    copy(origin, f"{origin.home}/pristine", origin.root)
    if os.path.exists(origin.places["OUT"]):
        os.unlink(origin.places["OUT"])
    return origin


def copy(rl, source, target):
    """A copy with all owners, which only root of the namespace can make."""
    words = 'rm -rf "$2" && cp -a "$1" "$2"'
    rl.ok("unshare", "sh", "-c", words, "sh", source, target)


def call(rl, line, at=None):
    """Run a line in a child, killed before its system call number ``at``: (code, stderr)."""
    words = [rl.places.get(word, word) for word in line.split()]
    errors = os.memfd_create("errors")
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            null = os.open("/dev/null", os.O_RDWR)
            for target, source in enumerate((null, null, errors)):
                os.dup2(source, target)
            sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))
            os.environ.clear()
            os.environ.update(rl.environment)
            sys.argv = ["rl", *words]
            if at:
                _die_at(at)
            code = main.main(words, rl.environment)
        finally:
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(errors, encoding="utf-8") as file:
        file.seek(0)
        return code, file.read()


def _die_at(number):
    maker, count = os.getpid(), [0]

    def wrap(real):
        def call(*args, **kwargs):
            count[0] += os.getpid() == maker
            if count[0] == number:
                os.kill(maker, signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name)))
    files.syncfs, files.renameat2 = wrap(files.syncfs), wrap(files.renameat2)


def strays(root):
    """What is left over in a store that has nothing in it."""
    found = [f"tmp/{name}" for name in os.listdir(f"{root}/tmp")]
    for home in ("containers", "names", "volumes", "images", "refs", "blobs/sha256", "layers"):
        if os.path.isdir(f"{root}/{home}"):
            # Beside a file that was being written, until it is old enough to be surely dead.
            found += [f"{home}/{name}" for name in os.listdir(f"{root}/{home}")
                      if not files.is_temporary(name)]  # fmt: skip
    return found


def prune(rl):
    for line in ("rm -fa", "system prune -af --volumes"):
        code, errors = call(rl, line)
        assert code == 0, errors


@pytest.mark.parametrize("line", VERBS, ids=lambda line: "-".join(line.split()[:2]))
def test_a_verb_that_is_killed(store, dice, line):
    at = dice.randint(1, VERBS[line])
    print(f"{line}: killed at {at}")
    code, errors = call(store, line, at)
    assert code in (0, -signal.SIGKILL), errors
    for look in LOOK if line != "system reset -f" else ():
        code, errors = call(store, look)
        assert code == 0, f"{look}: {errors}"
    code, errors = call(store, line)
    assert code == 0 or any(word in errors for word in DONE), errors
    if line == "system reset -f":
        assert not os.path.exists(store.root)
    else:
        prune(store)
        assert strays(store.root) == []
