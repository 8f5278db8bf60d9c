"""Places and groups, on directories that look like cgroups."""

import os

import pytest

from rootless.cgroup import files, group, limits, place


@pytest.fixture
def tree(workdir):
    """A directory that is like a delegated cgroup v2 below its root."""
    top = f"{workdir}/top"
    make(top, "cpu memory pids")
    make(f"{top}/job", "cpu memory pids")
    return top


def make(path, controllers):
    os.makedirs(path, exist_ok=True)
    for name, text in (("cgroup.controllers", controllers), ("cgroup.procs", ""),
                       ("cgroup.subtree_control", "")):  # fmt: skip
        with open(f"{path}/{name}", "w", encoding="ascii") as file:
            file.write(text)


def text(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def test_the_ladder(tree, workdir):
    assert place.find({}, 1000, top=f"{workdir}/nothing").kind == "none"
    found = place.delegated(tree, own="/job")
    assert found.kind == "delegated" and found.directory == f"{tree}/job"
    assert found.controllers == {"cpu", "memory", "pids"}
    open(f"{workdir}/bus", "w", encoding="ascii").close()
    manager = f"{tree}/user.slice/user-1000.slice/user@1000.service"
    make(manager, "memory pids rdma")
    found = place.find({"DBUS_SESSION_BUS_ADDRESS": f"unix:path={workdir}/bus"}, 1000, top=tree)
    assert found.kind == "systemd" and found.controllers == {"memory", "pids"}


def test_callers_and_monitors_know_where_they_belong(tree):
    make(f"{tree}/job/{place.CALLERS}", "")
    make(f"{tree}/job/rl-abc/monitor", "")
    for own in (f"/job/{place.CALLERS}", "/job/rl-abc/monitor"):
        assert place.delegated(tree, own=own).directory == f"{tree}/job"


def test_what_is_not_ours_is_not_used(tree, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("subtree_control"))
    found = place.delegated(tree, own="/job")
    assert found.kind == "none" and "/job" in found.why


def test_nothing_left_of_the_dead(tree):
    for name, populated in (("rl-dead", 0), ("rl-alive", 1)):
        os.makedirs(f"{tree}/job/{name}/container")
        with open(f"{tree}/job/{name}/cgroup.events", "w", encoding="ascii") as file:
            file.write(f"populated {populated}\nfrozen 0\n")
    # On a real cgroup the files go with their directory.
    os.unlink(f"{tree}/job/rl-dead/cgroup.events")
    group.sweep(f"{tree}/job")
    assert os.path.isdir(f"{tree}/job/rl-dead"), "without cgroup.events nothing is known"
    assert os.path.isdir(f"{tree}/job/rl-alive")


def test_settings_are_written(tree):
    setting = limits.Setting("--pids-limit", "pids", "pids.max", "5")
    with pytest.raises(group.CannotLimit, match="no such file"):
        group.apply(f"{tree}/job", setting)
    open(f"{tree}/job/pids.max", "w", encoding="ascii").close()
    group.apply(f"{tree}/job", setting)
    assert text(f"{tree}/job/pids.max") == "5"
    group.enable(f"{tree}/job", {"pids", "cpu"})
    assert text(f"{tree}/job/cgroup.subtree_control") == "+cpu +pids"


def test_no_way_to_limit_and_nothing_asked(workdir):
    nobody = place.Place("systemd", controllers=("pids",), bus=f"{workdir}/no-bus")
    free = group.Group(nobody, "rl-1")
    free.request(os.getpid())
    free.settle(os.getpid())
    assert free.container is None
    strict = group.Group(nobody, "rl-1", required=True)
    with pytest.raises(group.bus.BusTrouble):
        strict.request(os.getpid())


def test_own_cgroup():
    path = files.of_process()
    assert path is None or path.startswith("/")
    assert files.of_process(1 << 30) is None
