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


SESSION = "/user.slice/user-1000.slice/session-1.scope"


@pytest.fixture
def session(tree, workdir):
    """What the environment of a login says; its bus is there, and the user's systemd."""
    open(f"{workdir}/bus", "w", encoding="ascii").close()
    make(f"{tree}{os.path.dirname(SESSION)}/user@1000.service", "memory pids rdma")
    return {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={workdir}/gone;unix:path={workdir}/bus"}


def test_the_ladder(tree, workdir, session):
    assert place.find({}, 1000, f"{workdir}/nothing").kind == "none"
    found = place.delegated(tree, own="/job")
    assert found.kind == "delegated" and found.directory == f"{tree}/job"
    assert found.controllers == {"cpu", "memory", "pids"}
    found = place.find(session, 1000, tree, SESSION)
    assert found.kind == "systemd" and found.bus == f"{workdir}/bus"
    assert found.controllers == {"memory", "pids", "rdma"}
    assert found.directory.endswith("/user@1000.service")
    away = {"DBUS_SESSION_BUS_ADDRESS": "tcp:host=x;unix:abstract=/no/such",
            "XDG_RUNTIME_DIR": workdir + "/none"}  # fmt: skip
    found = place.find(away, 1000, tree, SESSION)
    assert found.kind == "none" and "speaks tcp" in found.why and "/none/bus" in found.why


def test_who_was_given_a_group_stays_in_it(tree, session):
    """A scope of systemd would take containers out of the limits of their job."""
    assert place.find(session, 1000, tree, "/job").kind == "delegated"
    own = f"{os.path.dirname(SESSION)}/user@1000.service/app.slice/a.service"
    make(tree + own, "memory")
    assert place.find(session, 1000, tree, own).kind == "systemd"
    assert place.find({"XDG_RUNTIME_DIR": "/n"}, 1000, tree, own).directory == tree + own


def test_a_job_of_slurm(tree, session):
    own = "/system.slice/node1_slurmstepd.scope/job_7/step_0/user/task_0"
    found = place.find(session, 1000, tree, own)
    assert found.kind == "none" and "Slurm" in found.why
    make(tree + own, "memory")
    found = place.find(session, 1000, tree, own)
    assert found.kind == "delegated" and found.directory == tree + own


@pytest.mark.parametrize("kind", ["threaded", "domain threaded", "domain invalid"])
def test_groups_for_threads_are_of_no_use(tree, kind):
    with open(f"{tree}/job/cgroup.type", "w", encoding="ascii") as file:
        file.write(f"{kind}\n")
    found = place.delegated(tree, own="/job")
    assert found.kind == "none" and kind in found.why


def test_callers_and_monitors_know_where_they_belong(tree):
    make(f"{tree}/job/{place.CALLERS}", "")
    make(f"{tree}/job/rl-abc/monitor", "")
    for own in (f"/job/{place.CALLERS}", "/job/rl-abc/monitor"):
        assert place.delegated(tree, own=own).directory == f"{tree}/job"


def test_a_monitor_starts_its_container_where_it_was(tree, monkeypatch):
    """Also one with a parent, which is above the monitor then."""
    make(f"{tree}/job/pod", "")
    make(f"{tree}/job/pod/rl-a/monitor", "")
    make(f"{tree}/job/pod/rl-a/container", "")
    make(f"{tree}/job/pod/rl-a", "")
    own = "/job/pod/rl-a/monitor"
    monkeypatch.setattr(files, "TOP", tree)
    monkeypatch.setattr(files, "of_process", lambda pid="self": own)
    noted = []
    where = place.delegated(tree, own)
    one = group.Group(where, "rl-a", required=True, parent="pod", notes=noted.append)
    one.settle(77)
    assert noted == [f"{tree}/job/pod/rl-a/container"]
    assert text(f"{tree}/job/pod/rl-a/container/cgroup.procs") == "77"
    assert sorted(os.listdir(f"{tree}/job")) == sorted(
        ["pod", "cgroup.controllers", "cgroup.procs", "cgroup.subtree_control"])  # fmt: skip


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
    setting = limits.Setting("--pids-limit", "pids.max", "5")
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


def test_parents_that_rl_made_go_with_the_last(tree, monkeypatch):
    marked = set()
    monkeypatch.setattr(files, "mark", marked.add)
    monkeypatch.setattr(files, "is_marked", marked.__contains__)
    enabled = []
    monkeypatch.setattr(group, "enable", lambda path, names: enabled.append((path, *names)))
    where = place.delegated(tree, own="/job")
    os.mkdir(f"{tree}/job/theirs")
    for parent in ("theirs", "pod/inner"):
        group.share(where, f"{tree}/job/{parent}", {"memory", "io"})
    assert marked == {f"{tree}/job/pod", f"{tree}/job/pod/inner"}
    below = {f"{tree}/job{name}" for name in ("", "/theirs", "/pod", "/pod/inner")}
    assert {path for path, *names in enabled if names == ["memory"]} == below
    for name in ("pod/inner/rl-one", "pod/inner/rl-two", "theirs/rl-three"):
        os.makedirs(f"{tree}/job/{name}/container")
    group.remove(f"{tree}/job/pod/inner/rl-one")
    assert os.listdir(f"{tree}/job/pod/inner") == ["rl-two"]
    group.remove(f"{tree}/job/pod/inner/rl-two")
    group.remove(f"{tree}/job/theirs/rl-three")
    assert not os.path.exists(f"{tree}/job/pod"), "it was made for them"
    assert os.listdir(f"{tree}/job/theirs") == [], "that one wasn't"


def test_a_protection_holds_for_the_group_above_too(tree):
    inner = f"{tree}/job/rl-a/container"
    os.makedirs(inner)
    for path in (inner, os.path.dirname(inner)):
        open(f"{path}/memory.low", "w", encoding="ascii").close()
    group.apply(inner, limits.Setting("--memory-reservation", "memory.low", "4096"))
    assert text(f"{tree}/job/rl-a/memory.low") == text(f"{inner}/memory.low") == "4096"


def test_a_set_is_given_back(tree):
    """No processor at all can't be written where processes are."""
    os.makedirs(f"{tree}/job/rl-a")
    for path, words in ((f"{tree}/job/cpuset.cpus.effective", "0-7\n"),
                        (f"{tree}/job/rl-a/cpuset.cpus", "1")):  # fmt: skip
        with open(path, "w", encoding="ascii") as file:
            file.write(words)
    group.apply(f"{tree}/job/rl-a", limits.Setting("--cpuset-cpus", "cpuset.cpus", limits.ALL))
    assert text(f"{tree}/job/rl-a/cpuset.cpus") == "0-7"


def test_exec_goes_beside_a_program_that_divided_its_group(tree, monkeypatch):
    inner = f"{tree}/job/rl-a/container"
    make(inner, "")
    make(f"{inner}/init.scope", "")
    own = [f"{inner}/init.scope"]
    monkeypatch.setattr(files, "TOP", "")
    monkeypatch.setattr(files, "of_process", lambda pid="self": own[0])
    where = place.Place("delegated")
    group.enter(inner, 77, where, 1000, 1)
    assert text(f"{inner}/cgroup.procs") == "77"
    with open(f"{inner}/cgroup.subtree_control", "w", encoding="ascii") as file:
        file.write("memory pids")
    group.enter(inner, 78, where, 1000, 1)
    assert text(f"{inner}/init.scope/cgroup.procs") == "78"
    own[0] = "/elsewhere"  # never out of the container
    group.enter(inner, 79, where, 1000, 1)
    assert text(f"{inner}/cgroup.procs") == "79"


def test_who_may_not_move_processes_is_told(tree, monkeypatch):
    monkeypatch.setattr(files, "join", lambda directory, pid: False)
    with pytest.raises(group.CannotEnter, match="may not move") as error:
        group.enter(f"{tree}/job", 7, place.Place("delegated"), 1000, 1)
    assert "session" in error.value.advice


def test_no_more_groups(tree, monkeypatch):
    import errno

    def refuse(path, *more, **words):
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "mkdir", refuse)
    one = group.Group(place.delegated(tree, own="/job"), "rl-1", required=True)
    with pytest.raises(group.NoCgroup, match="max.descendants"):
        one.settle(os.getpid())


def test_somebody_elses_process_is_in_the_way(tree, monkeypatch):
    import errno

    with open(f"{tree}/job/cgroup.procs", "w", encoding="ascii") as file:
        file.write("4711")
    monkeypatch.setattr(files, "join", lambda directory, pid: False)

    def refuse(directory, controllers):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(group, "enable", refuse)
    with pytest.raises(OSError, match="4711 in it is another user's"):
        group.hand_on(place.delegated(tree, own="/job"), {"memory"})
