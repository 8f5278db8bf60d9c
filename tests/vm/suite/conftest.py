"""rl as a user of a machine with systemd has it."""

import os

import pytest

from support.limited import Limited

HALF = os.environ.get("RL_VM_HALF", "")


def pytest_collection_modifyitems(config, items):
    """Nothing is asked twice that doesn't depend on what was delegated."""
    gone = [item for item in items
            if (mark := item.get_closest_marker("halves")) and HALF not in mark.args]  # fmt: skip
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.fixture(scope="session")
def stocked(session_dir, busybox_image):
    """rl with a busybox in its store, for all tests: to load it takes long on this machine."""
    assert HALF in ("default", "delegate", "subtree"), "run by tests/vm/guest/errand"
    environment = {}
    if HALF != "subtree":
        environment["DBUS_SESSION_BUS_ADDRESS"] = os.environ["DBUS_SESSION_BUS_ADDRESS"]
    engine = Limited(f"{session_dir}/home", **environment)
    engine.ok("load", "--input", busybox_image, timeout=300)
    return engine


@pytest.fixture
def here(stocked):
    """rl in the user's session, or in a delegated cgroup; its containers go with the test."""
    yield stocked
    stocked.ok("rm", "--all", "--force", "--time", "0", timeout=120)


@pytest.fixture
def half():
    """What was delegated: "default" (cpu memory pids), "delegate" (all of them, by systemd),
    "subtree" (all of them, without a bus)."""
    return HALF
