"""Limits of RUN steps: the kernel holds them, a step without any has no group of its own."""

import os
import shutil

import pytest

from rootless.cgroup import files
from support.limited import scopes, until

IMAGE = "localhost/busybox:latest"
# A program that wants 300 MB: tail keeps the last line, and there is no other.
_GREEDY = "head -c 300000000 /dev/zero | tail"


@pytest.fixture
def build(here, workdir):
    """A function: instructions after FROM, options → what ``rl build`` came to."""

    def run(*lines, options=(), timeout=240):
        shutil.rmtree(f"{workdir}/context", ignore_errors=True)
        os.mkdir(f"{workdir}/context")
        with open(f"{workdir}/context/Containerfile", "w", encoding="utf-8") as file:
            file.write("\n".join([f"FROM {IMAGE}", *lines, ""]))
        return here("build", "--no-cache", "--network", "none", "--progress", "plain", *options,
                    f"{workdir}/context", timeout=timeout)  # fmt: skip

    return run


def groups(half):
    """The groups of steps that are there."""
    if half != "subtree":
        return [name for name in scopes() if name.startswith("rl-build-")]
    top = files.TOP + (files.of_process() or "/")
    found = []
    for directory in (top, os.path.dirname(top)):
        found += [name for name in os.listdir(directory) if name.startswith("rl-build-")]
    return found


def read(name):
    """A RUN that shows a file of its group."""
    return f"RUN echo {name}=$(cat /sys/fs/cgroup/{name} 2>/dev/null)"


@pytest.mark.halves("delegate", "subtree")
def test_the_kernel_has_the_limits_of_a_step(build, half):
    result = build(
        read("memory.max"), read("cpu.max"), read("cpu.weight"), "RUN cat /proc/self/cgroup",
        options=["-m", "100m", "--memory-swap", "100m", "--cpu-quota", "25000",
                 "--cpu-period", "50000", "-c", "2048"],
    )  # fmt: skip
    assert result.code == 0, repr(result)
    for words in (f"memory.max={100 << 20}", "cpu.max=25000 50000", "cpu.weight=174", "0::/\n"):
        assert words in result.stderr, words
    until(lambda: groups(half) == [], "the end of the groups")


@pytest.mark.halves("delegate", "subtree")
def test_a_step_without_limits_is_where_rl_is(build, half):
    result = build("RUN cat /proc/1/cgroup", options=["--cgroupns", "host"])
    assert result.code == 0 and "rl-build-" not in result.stderr, repr(result)
    assert groups(half) == []
    result = build("RUN cat /proc/1/cgroup", options=["--cgroupns", "host", "-m", "90m"])
    assert result.code == 0 and "rl-build-" in result.stderr, repr(result)


@pytest.mark.halves("delegate", "subtree")
def test_a_greedy_step_fails_and_is_told_why(build, half):
    result = build(f"RUN {_GREEDY}; exit $?", options=["-m", "64m", "--memory-swap", "64m"])
    assert result.code == 137, repr(result)
    assert "for lack of memory" in result.stderr and "--memory SIZE" in result.stderr
    until(lambda: groups(half) == [], "the end of the group")
    assert build("RUN exit 7", options=["-m", "64m"]).code == 7


@pytest.mark.halves("delegate", "subtree")
def test_the_layer_is_made_outside_of_the_limits(build):
    # More than the step may use of memory, and no swap: what it wrote is read once more.
    result = build("RUN dd if=/dev/zero of=/big bs=1M count=96 2>/dev/null && wc -c /big",
                   options=["-m", "48m", "--memory-swap", "48m"])  # fmt: skip
    assert result.code == 0 and "100663296 /big" in result.stderr, repr(result)


@pytest.mark.halves("delegate", "subtree")
def test_a_parent(build, half):
    parent = "pod1/inner" if half == "subtree" else "work.slice"
    result = build("RUN cat /proc/1/cgroup", options=["--cgroupns", "host", "--cgroup-parent",
                                                      parent])  # fmt: skip
    assert result.code == 0 and f"/{parent}/rl-build-" in result.stderr, repr(result)
    bad = build("RUN true", options=["--cgroup-parent", "../x"])
    assert bad.code == 125 and "--cgroup-parent ../x" in bad.stderr, repr(bad)


@pytest.mark.halves("delegate", "subtree")
def test_stages_side_by_side_have_a_group_each(build, half):
    lines = [read("pids.current") + f"; echo step {number} of its own" for number in range(3)]
    stages = [f"FROM {IMAGE} AS stage{number}\n{line}" for number, line in enumerate(lines)]
    result = build(*stages, f"FROM {IMAGE}",
                   *(f"COPY --from=stage{number} /etc /from{number}" for number in range(3)),
                   options=["-m", "100m", "--jobs", "3"])  # fmt: skip
    assert result.code == 0, repr(result)
    for number in range(3):
        assert f"step {number} of its own" in result.stderr
    until(lambda: groups(half) == [], "the end of the groups")


def test_processors(build, half):
    result = build("RUN echo there are $(nproc)", options=["--cpuset-cpus", "1"])
    if half == "default":
        assert result.code == 125, repr(result)
        assert "--cpuset-cpus needs the controller cpuset" in result.stderr
        assert "Delegate=cpu cpuset io memory pids" in result.stderr
    else:
        assert result.code == 0 and "there are 1\n" in result.stderr, repr(result)
