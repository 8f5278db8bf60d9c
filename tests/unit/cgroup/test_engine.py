"""What the engine makes of limits: planned before anything is done, changed, told by inspect."""

import os
import types

import pytest

from rootless.cgroup import files, group, limits, place
from rootless.engine import cgroups, enforced, records
from rootless.engine.spec.values import BadOption

ALL = place.CONTROLLERS
RECORD = {"id": "cafe" * 16, "name": "web"}


@pytest.fixture
def above(workdir):
    """A directory like the cgroup in which containers' own are made; two processors."""
    for name, text in (("cpuset.cpus.effective", "0-1"), ("cpuset.mems.effective", "0")):
        write(f"{workdir}/{name}", text)
    return workdir


@pytest.fixture
def rung(monkeypatch, above):
    """A function that says which rung this machine has."""

    def change(kind, controllers=ALL, why=""):
        found = place.Place(kind, why, controllers, above)
        monkeypatch.setattr(cgroups, "where", lambda engine: found)
        monkeypatch.setattr(place, "delegated", lambda: found)
        return found

    return change


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


@pytest.mark.parametrize("kind", ["systemd", "delegated", "none"])
@pytest.mark.parametrize("options", [
    {}, {"pids_limit": -1}, {"pids_limit": 0}, {"memory_swap": "-1"}, {"cpu_quota": -1},
    {"cgroups": "disabled"}, {"cgroups": "disabled", "pids_limit": -1},
    {"cgroups": "no-conmon"}, {"memory": "0"},
])  # fmt: skip
def test_what_limits_nothing_can_be_had_everywhere(rung, kind, options):
    rung(kind, controllers=())
    _, settings = cgroups.plan(None, options)
    assert settings == {"mode": options.get("cgroups", "enabled"), "parent": None}


@pytest.mark.parametrize(("kind", "controllers", "options", "error", "says"), [
    ("none", (), {"memory": "1g"}, cgroups.CannotLimit, "--memory"),
    ("none", (), {"pids_limit": -1, "cpus": "1"}, cgroups.CannotLimit, "--cpus"),
    ("none", (), {"cgroups": "split"}, cgroups.CannotLimit, "--cgroups split"),
    ("systemd", ("pids",), {"memory": "1g"}, cgroups.NotDelegated, "controller memory"),
    ("systemd", ALL, {"cgroup_conf": ("hugetlb.2MB.max=0",)}, cgroups.NotHandedOut, "hugetlb"),
    ("delegated", (), {"pids_limit": 5}, cgroups.NoController, "controller pids"),
    ("systemd", ALL, {"cpuset_cpus": "1-2"}, BadOption, "only 0-1"),
    ("delegated", ALL, {"cpuset_mems": "1"}, BadOption, "only 0"),
    ("systemd", ALL, {"cgroups": "disabled", "memory": "1g"}, cgroups.BadMode, "needs a cgroup"),
    ("systemd", ALL, {"cgroups": "some"}, cgroups.BadMode, "no such mode"),
    ("systemd", ALL, {"memory": "1g", "cgroup_conf": ("memory.max=5",)}, BadOption,
     "--memory sets the same"),
    ("systemd", ALL, {"device_read_bps": ("/dev/null:1m",)}, BadOption, "not a block device"),
    ("systemd", ALL, {"device_read_bps": ("/no/such:1m",)}, BadOption, "No such file"),
])  # fmt: skip
def test_what_cannot_be_had_is_planned_for_nobody(rung, kind, controllers, options, error, says):
    rung(kind, controllers)
    with pytest.raises(error) as caught:
        cgroups.plan(None, options)
    assert says in caught.value.message and caught.value.advice


@pytest.mark.parametrize("parent", ["pod", "a/b/c/", "work.slice"])
def test_good_parents_in_a_delegated_cgroup(rung, parent):
    rung("delegated")
    assert cgroups.plan(None, {"cgroup_parent": parent})[1]["parent"] == parent


@pytest.mark.parametrize("parent", ["/x", "..", "a/../b", "a//b", "./a", "rl-abc", "a/monitor",
                                    "container", "rl-callers", "cgroup.procs", "a\nb",
                                    "x" * 256, "/"])  # fmt: skip
def test_bad_parents_in_a_delegated_cgroup(rung, parent):
    rung("delegated")
    with pytest.raises(cgroups.BadParent):
        cgroups.plan(None, {"cgroup_parent": parent})


@pytest.mark.parametrize(("parent", "good"), [
    ("work.slice", True), ("work-a.slice", True), ("a:b_c.d\\x2d.slice", True),
    ("work", False), (".slice", False), ("-.slice", False), ("-a.slice", False),
    ("a-.slice", False), ("a--b.slice", False), ("a b.slice", False), ("a/b.slice", False),
    ("\udcff.slice", False), ("x" * 250 + ".slice", False), ("work.scope", False),
])  # fmt: skip
def test_slices(rung, parent, good):
    rung("systemd")
    if good:
        assert cgroups.plan(None, {"cgroup_parent": parent})[1]["parent"] == parent
    else:
        with pytest.raises(cgroups.BadParent, match="slices"):
            cgroups.plan(None, {"cgroup_parent": parent})


def as_the_kernel(path, text):
    """What is written is all there is, and no file is made."""
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    write(path, text)


# --- a container that runs -------------------------------------------------------------------


@pytest.fixture
def running(above, monkeypatch, rung):
    """The cgroup of a container that runs, and its spec."""
    directory = f"{above}/rl-{RECORD['id']}/container"
    for name, text in (("cgroup.controllers", " ".join(ALL)), ("memory.max", "max"),
                       ("memory.swap.max", "max"), ("pids.max", "2048"),
                       ("cpu.max", "max 100000"), ("memory.low", "0")):  # fmt: skip
        write(f"{directory}/{name}", text)
    write(f"{above}/rl-{RECORD['id']}/memory.low", "0")
    monkeypatch.setattr(cgroups, "of", lambda engine, record: directory)
    monkeypatch.setattr(files, "write", as_the_kernel)
    rung("delegated")
    return directory, {"linux": {}, "rl": {}}


def test_an_update_is_written(running):
    directory, spec = running
    made = cgroups.change(None, RECORD, spec, {"memory": "1g", "pids_limit": 5})
    assert made == {"memory": {"limit": 1 << 30}, "pids": {"limit": 5}}
    assert read(f"{directory}/memory.max") == read(f"{directory}/memory.swap.max") == str(1 << 30)
    assert read(f"{directory}/pids.max") == "5"
    spec["linux"]["resources"] = made
    assert cgroups.change(None, RECORD, spec, {"memory": "0"}) == {"pids": {"limit": 5}}
    assert read(f"{directory}/memory.max") == read(f"{directory}/memory.swap.max") == "max"


def test_an_update_is_done_or_not(running):
    """The kernel takes the first and refuses the second: then it has what it had."""
    directory, spec = running
    os.unlink(f"{directory}/cpu.max")
    spec["linux"]["resources"] = {"memory": {"limit": 1 << 20, "swap": 1 << 20}}
    with pytest.raises(group.CannotLimit):
        cgroups.change(None, RECORD, spec, {"memory": "1g", "cpus": "1"})
    assert read(f"{directory}/memory.max") == str(1 << 20)


def test_who_runs_without_a_cgroup_cannot_be_limited(running, monkeypatch):
    _, spec = running
    monkeypatch.setattr(cgroups, "of", lambda engine, record: None)
    monkeypatch.setattr(records, "state", lambda engine, record: {"pid": 7})
    with pytest.raises(cgroups.Unlimited, match="--memory: container web"):
        cgroups.change(None, RECORD, spec, {"memory": "1g"})
    assert cgroups.change(None, RECORD, spec, {"pids_limit": -1}) == {"pids": {"limit": -1}}
    monkeypatch.setattr(records, "state", lambda engine, record: {"pid": None})
    assert cgroups.change(None, RECORD, spec, {"memory": "1m"}) == {"memory": {"limit": 1 << 20}}


def rows(spec, resources):
    spec["linux"]["resources"] = resources
    return {row["File"]: row for row in enforced.report(None, RECORD, spec)}


def test_what_inspect_tells(running, monkeypatch):
    directory, spec = running
    monkeypatch.setattr(files, "TOP", os.path.dirname(os.path.dirname(directory)))
    write(f"{directory}/memory.max", str((1 << 30) - 4096))
    found = rows(spec, {"memory": {"limit": (1 << 30) - 1, "reservation": 4096},
                        "pids": {"limit": 9}, "unified": {"memory.high": "1G"}})  # fmt: skip
    assert "memory.swap.max" not in found, "nobody asked for it"
    assert found["memory.max"]["Enforced"] and found["memory.max"]["Why"] == ""
    assert found["pids.max"] == {"Option": "--pids-limit", "File": "pids.max", "Asked": "9",
                                 "Kernel": "2048", "Enforced": False,
                                 "Why": "the kernel has something else"}  # fmt: skip
    assert "no memory.high" in found["memory.high"]["Why"]
    write(f"{directory}/memory.high", str(1 << 30))
    assert rows(spec, {"unified": {"memory.high": "1G"}})["memory.high"]["Enforced"]


def test_a_protection_is_as_good_as_those_above(running, monkeypatch):
    directory, spec = running
    monkeypatch.setattr(files, "TOP", os.path.dirname(os.path.dirname(directory)))
    asked = {"memory": {"reservation": 4096}}
    write(f"{directory}/memory.low", "4096")
    row = rows(spec, asked)["memory.low"]
    assert not row["Enforced"] and row["Why"].endswith("has a memory.low of 0 only")
    for enough in ("4096", "max"):
        write(f"{os.path.dirname(directory)}/memory.low", enough)
        assert rows(spec, asked)["memory.low"]["Enforced"]


def test_processors_that_others_took(running):
    directory, spec = running
    write(f"{directory}/cpuset.cpus", "0-1")
    write(f"{directory}/cpuset.cpus.effective", "0")
    row = rows(spec, {"cpu": {"cpus": "0,1"}})["cpuset.cpus"]
    assert not row["Enforced"] and row["Why"] == "the groups above leave it 0"
    write(f"{directory}/cpuset.cpus.effective", "0-1")
    assert rows(spec, {"cpu": {"cpus": "0,1"}})["cpuset.cpus"]["Enforced"]


def test_weights_that_no_disk_obeys(running, monkeypatch):
    directory, spec = running
    monkeypatch.setattr(cgroups, "_has_bfq", lambda: False)
    monkeypatch.setattr(files, "TOP", os.path.dirname(directory))
    write(f"{directory}/io.weight", "default 1")
    asked = {"blockIO": {"weight": 10}}
    assert "bfq" in rows(spec, asked)["io.weight"]["Why"]
    write(f"{os.path.dirname(directory)}/io.cost.qos", "8:0 enable=1 ctrl=auto\n")
    assert rows(spec, asked)["io.weight"]["Enforced"]


@pytest.mark.parametrize(("options", "mount", "enforced_"), [
    (["ro"], "rw", True), ([], "rw,nsdelegate", True), ([], "rw,memory_recursiveprot", False),
])  # fmt: skip
def test_limits_that_the_container_could_lift(running, monkeypatch, options, mount, enforced_):
    directory, spec = running
    real = files.read
    line = f"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 {mount}\n"
    monkeypatch.setattr(
        files, "read", lambda path: line if path.endswith("mountinfo") else real(path)
    )
    spec["mounts"] = [{"type": "cgroup", "options": options}]
    row = rows(spec, {"pids": {"limit": 2048}})["pids.max"]
    assert row["Enforced"] is enforced_ and ("nsdelegate" in row["Why"]) is not enforced_


def test_a_container_that_has_ended(running, monkeypatch):
    _, spec = running
    monkeypatch.setattr(cgroups, "of", lambda engine, record: None)
    row = rows(spec, {"pids": {"limit": 9}})["pids.max"]
    assert row["Enforced"] is False and row["Why"] == "the container has no cgroup now"


def test_the_default_number_of_processes(rung, workdir, monkeypatch):
    """Only systemd's scopes have one: in a job, that of the job is what holds."""
    engine = types.SimpleNamespace(runroot=workdir)
    monkeypatch.setattr(records, "own_run_directory", lambda engine, identity: workdir)
    spec = {"linux": {}, "rl": {}}
    for kind, expected in (("systemd", ["2048"]), ("delegated", [])):
        rung(kind)
        made = cgroups.prepare(engine, RECORD, spec)
        assert [one.texts[0] for one in made.settings] == expected and not made.required
    spec["linux"]["resources"] = {"pids": {"limit": -1}}
    rung("systemd")
    made = cgroups.prepare(engine, RECORD, spec)
    assert [one.texts[0] for one in made.settings] == ["max"] and not made.required
    rung("none")
    assert cgroups.prepare(engine, RECORD, spec) is None
    assert limits.DEFAULT_PIDS == 2048
