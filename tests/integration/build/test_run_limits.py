"""Limits of RUN steps where nobody can be limited, and what steps are given without cgroups.

Where there are cgroups, tests/vm/suite/test_build_limits.py asks the kernel.
"""

import os

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

WITHOUT = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")


@pytest.fixture
def build(rl, busybox, workdir):
    os.mkdir(f"{workdir}/context")

    def run(line, *options):
        with open(f"{workdir}/context/Containerfile", "w", encoding="utf-8") as file:
            file.write(f"FROM {busybox}\n{line}\n")
        return rl("build", "--no-cache", "--progress", "plain", *options, f"{workdir}/context",
                  timeout=120)  # fmt: skip

    return run


@pytest.mark.skipif(not WITHOUT, reason="this machine has cgroups of version 2")
@pytest.mark.parametrize("option", ["--memory=1g", "--cpu-quota=50000", "--cpu-shares=512",
                                    "--cpuset-cpus=0", "--cgroup-parent=pod"])  # fmt: skip
def test_a_limit_that_cannot_be_set_ends_the_build(build, option):
    result = build("RUN echo it has run", option)
    assert result.code == 125 and "it has run" not in result.stderr, repr(result)
    assert f"Error: {option.partition('=')[0]}: nothing can be limited here" in result.stderr
    assert "hint: rl doctor" in result.stderr


@pytest.mark.parametrize("words", [("--memory=1",), ("--memory-swap=1g",), ("--cpuset-cpus=x",),
                                   ("--cgroupns=own",)])  # fmt: skip
def test_bad_words(build, words):
    result = build("RUN echo it has run", *words)
    assert result.code == 125 and "it has run" not in result.stderr, repr(result)
    assert words[0].partition("=")[0] in result.stderr


def test_limits_that_need_no_cgroup(build):
    result = build("RUN echo files $(ulimit -n) && df -k /dev/shm | tail -n 1",
                   "--ulimit", "nofile=77:99", "--shm-size", "3m")  # fmt: skip
    assert result.code == 0 and "files 77" in result.stderr, repr(result)
    assert " 3072 " in result.stderr, repr(result)
