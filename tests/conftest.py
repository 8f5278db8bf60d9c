"""What every test gets: rl with a home of its own, images, a registry, a look for leaks."""

import importlib.util
import os
import sys
import tempfile
import time

import hypothesis
import pytest

if importlib.util.find_spec("rootless") is None:  # a test run from the tree, without a wheel
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support import images, leaks, tools  # noqa: E402
from support.command import Rl  # noqa: E402
from support.registry import Registry  # noqa: E402

DRIVERS = ("overlay", "fuse-overlayfs", "clone")


# The tree belongs to somebody else; what hypothesis found is in the test's output.
hypothesis.settings.register_profile("rl", database=None, deadline=None)
hypothesis.settings.load_profile("rl")


def pytest_configure(config):
    leaks.adopt_orphans()


def pytest_collection_modifyitems(config, items):
    """Root's part and the users' part of the tests: each process runs its own."""
    root = os.geteuid() == 0
    kept = [item for item in items if (item.get_closest_marker("as_root") is not None) == root
            or "/unit/" in str(item.path)]  # fmt: skip
    gone = [item for item in items if item not in set(kept)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = kept


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """What tests/setup/test.sh adds up over its parts, and runs again."""
    path = os.environ.get("RL_TEST_COUNTS")
    if not path:
        return
    found = {kind: {report.nodeid for report in terminalreporter.stats.get(kind, ())}
             for kind in ("passed", "failed", "error", "skipped")}  # fmt: skip
    failed = found["failed"] | found["error"]
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{len(found['passed'] - failed)} {len(failed)} {len(found['skipped'])}\n")
        file.writelines(f"{nodeid}\n" for nodeid in sorted(failed))


def _temporary(prefix):
    # Short: a socket's path has to fit into 107 bytes.
    return tempfile.mkdtemp(prefix=prefix, dir="/tmp")


@pytest.fixture(scope="session")
def session_dir():
    """A directory for what the tests of this run share."""
    path = _temporary("rlt-s")
    yield path
    tools.remove_tree(path)


@pytest.fixture(autouse=True)
def no_leaks():
    """Fail a test that leaves a process, a mount, a socket or a file behind."""
    watch = leaks.Watch()
    yield watch
    left = watch.left()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def workdir(no_leaks):
    """An empty directory with a short path, removed after the test."""
    path = _temporary("rlt-")
    yield path
    tools.remove_tree(path)


@pytest.fixture
def rl(workdir):
    """rl with an empty store: a support.command.Rl."""
    engine = Rl(workdir)
    yield engine
    _empty(engine)


def _empty(engine):
    """Remove the containers that a test left on purpose, and see that nothing stays."""
    containers = f"{engine.root}/containers"
    if os.path.isdir(containers) and os.listdir(containers):
        engine.ok("rm", "--all", "--force", "--time", "0")
        assert not os.listdir(containers), f"rl rm --all leaves {os.listdir(containers)}"
    deadline = time.monotonic() + 10
    while (sockets := leaks.sockets_below(engine.run)) and time.monotonic() < deadline:
        time.sleep(0.01)  # the holder of the networks ends after its last member
    assert not sockets, f"sockets without a container: {sockets}"


@pytest.fixture
def user_rl(workdir):
    """For tests marked ``as_root``: a function that gives rl with an empty store run by
    the user of that name (rl-test, rl-test-2, rl-test-one)."""
    os.chmod(workdir, 0o711)
    made = []

    def make(name):
        made.append(Rl(f"{workdir}/{name}", user=name))
        return made[-1]

    yield make
    for engine in made:
        _empty(engine)


@pytest.fixture(params=DRIVERS)
def driver(request):
    """Each storage driver in turn, by name."""
    return request.param


@pytest.fixture
def rl_on(workdir, driver):
    """rl with an empty store, once on each storage driver."""
    engine = Rl(workdir, RL_STORAGE_DRIVER=driver)
    yield engine
    _empty(engine)


@pytest.fixture(scope="session")
def busybox_image(session_dir):
    """The path of an oci-archive with a busybox in one layer."""
    return images.busybox().oci_archive(f"{session_dir}/busybox.oci", "localhost/busybox:latest")


@pytest.fixture(scope="session")
def debian_image():
    """The path of an oci-archive with a small Debian (apt, perl-base) in one layer."""
    return images.cached("debian.oci")


@pytest.fixture(scope="session")
def multilayer_image(session_dir):
    """The path of an oci-archive made by buildah: layers that add, delete and replace."""
    directory = f"{session_dir}/multilayer"
    os.mkdir(directory)
    return images.multilayer(directory)


@pytest.fixture(scope="session")
def registry(session_dir):
    """A registry on loopback without TLS: a support.registry.Registry."""
    with Registry(f"{session_dir}/registry") as server:
        yield server


@pytest.fixture(scope="session")
def shared_rl(session_dir, busybox_image):
    """rl whose store already holds busybox; its tests leave no container and no image."""
    engine = Rl(f"{session_dir}/shared")
    engine.ok("load", "--input", busybox_image)
    return engine


@pytest.fixture
def busybox(rl, busybox_image):
    """The name of busybox in the empty store that ``rl`` had."""
    rl.ok("load", "--input", busybox_image)
    return "localhost/busybox:latest"
