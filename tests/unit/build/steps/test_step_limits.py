"""Limits of RUN steps: planned before anything is done, a group for each step."""

import os
import subprocess
import sys

import pytest

from rootless.build.steps.run import OutOfMemory, RunStep, Settings
from rootless.cgroup import group, place
from rootless.engine import cgroups
from rootless.engine.build import build, step_limits, step_spec
from rootless.engine.build.options import Options
from rootless.engine.spec.host import HostFacts
from rootless.engine.spec.values import BadOption
from rootless.kernel import userns

DELEGATED = place.Place("delegated", controllers=place.CONTROLLERS, directory="/sys/fs/cgroup/x")


@pytest.fixture
def here(monkeypatch):
    """A function that says which rung this machine has."""

    def change(found):
        monkeypatch.setattr(cgroups, "where", lambda engine: found)

    change(DELEGATED)
    return change


def test_a_build_without_limits_loads_nothing_of_cgroups():
    program = (
        "import sys\n"
        "from rootless.engine.build import build, options, run_step, step_limits\n"
        "from rootless.build.steps.run import RunStep\n"
        "assert step_limits.plan(None, options.Options()) is None\n"
        "assert step_limits.group(None, RunStep([], ['x'])) is None\n"
        "print([name for name in sys.modules if 'cgroup' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def test_every_limit_comes_to_the_group(here):
    options = Options(memory="64m", memory_swap="128m", cpu_shares=2048, cpu_period=50_000,
                      cpu_quota=25_000, cpuset_cpus="0", cpuset_mems="0")  # fmt: skip
    planned = step_limits.plan(None, options)
    made = step_limits.group(None, RunStep([], ["x"], limits=planned))
    found = {setting.file: setting.texts for setting in made.settings}
    assert found == {
        "memory.max": (str(64 << 20),), "memory.swap.max": (str(64 << 20),),
        "cpu.max": ("25000 50000",), "cpu.weight": ("174",), "cpuset.cpus": ("0",),
        "cpuset.mems": ("0",),
    }  # fmt: skip
    assert made.required and made.monitor and made.where is DELEGATED
    other = step_limits.group(None, RunStep([], ["x"], limits=planned))
    assert made.name != other.name and made.name.startswith("rl-build-")


def test_a_limit_that_is_taken_away_is_none(here):
    assert step_limits.plan(None, Options(memory="0")) is None
    assert step_limits.plan(None, Options(cgroup_parent="pod")) == ({}, "pod")


@pytest.mark.parametrize(("where", "options", "error", "says"), [
    (place.Place("none", "there is no bus"), {"memory": "1g"}, cgroups.CannotLimit, "no bus"),
    (place.Place("none", "no bus"), {"cgroup_parent": "a"}, cgroups.CannotLimit, "--cgroup-parent"),
    (place.Place("systemd", controllers=("memory",)), {"cpuset_cpus": "0"}, cgroups.NotDelegated,
     "controller cpuset"),
    (place.Place("delegated", controllers=("memory",)), {"cpu_quota": 5000}, cgroups.NoController,
     "controller cpu"),
    (place.Place("systemd"), {"cgroup_parent": "pod"}, cgroups.BadParent, "slices"),
    (DELEGATED, {"memory": "1"}, BadOption, "so little"),
    (DELEGATED, {"memory_swap": "1g"}, BadOption, "needs --memory"),
    (DELEGATED, {"cpuset_cpus": "x"}, BadOption, "list of numbers"),
])  # fmt: skip
def test_what_cannot_be_had_is_an_error_at_once(here, where, options, error, says):
    here(where)
    with pytest.raises(error) as caught:
        # Without an engine nothing could be opened, fetched or made.
        build.Build(None, Options(**options), None)
    assert says in caught.value.message and caught.value.advice


def test_a_group_goes_with_its_step(workdir):
    made = group.Group(place.Place("delegated", directory=workdir), "rl-build-x")
    os.makedirs(f"{workdir}/rl-build-x/container")
    os.makedirs(f"{workdir}/rl-build-x/monitor")
    os.mkdir(f"{workdir}/rl-other")
    made.remove()
    assert os.listdir(workdir) == ["rl-other"]
    made.remove()  # systemd, or another rl, may have been faster


def test_groups_of_systemd_are_left_to_it(workdir):
    made = group.Group(place.Place("systemd", directory=workdir), "rl-build-x")
    os.mkdir(f"{workdir}/rl-build-x")
    made.remove()
    assert os.listdir(workdir) == ["rl-build-x"]


@pytest.mark.parametrize(
    ("text", "short"),
    [("oom 1\noom_kill 2\n", True), ("oom 1\noom_kill 0\n", False), ("", False)],
)
def test_lack_of_memory_is_seen(workdir, text, short):
    made = group.Group(DELEGATED, "rl-build-x")
    assert not made.short_of_memory()
    made.directory = workdir
    os.mkdir(f"{workdir}/container")
    with open(f"{workdir}/container/memory.events", "w", encoding="ascii") as file:
        file.write(text)
    assert made.short_of_memory() is short


def test_lack_of_memory_is_told():
    error = OutOfMemory("make", 137)
    assert error.message.startswith("make ended with signal 9: ") and "memory" in error.message
    assert error.exit_code == 137 and "--memory" in error.advice


@pytest.mark.parametrize(("mode", "there"), [("host", False), ("private", True), (None, True)])
def test_the_cgroup_namespace(mode, there):
    step = RunStep([], ["/bin/true"], settings=Settings(cgroupns=mode))
    host = HostFacts(userns.single_ids(), cgroup=2)
    spec = step_spec.make(step, host, {}, ("none",))[0]
    assert ("cgroup" in [entry["type"] for entry in spec["linux"]["namespaces"]]) is there
