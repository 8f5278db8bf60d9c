"""The build: what the wheel holds, and what it says to somebody without a compiler."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

import rootless
from support.command import TREE

PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def tree(tmp_path):
    """A copy of what the build reads."""
    copy = tmp_path / "tree"
    for name in ("helpers", "conf", "man", "rootless"):
        shutil.copytree(f"{TREE}/{name}", copy / name, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(f"{TREE}/{name}", copy)
    return copy


def build(tree, *args, **environment):
    """Run setup.py as an installer does, without a network."""
    env = {"HOME": str(tree), "PATH": PATH, "LANG": "C.UTF-8", **environment}
    return subprocess.run(
        [sys.executable, "setup.py", "-q", *args], cwd=tree, env=env, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_what_the_wheel_holds(tree):
    done = build(tree, "bdist_wheel", "--dist-dir", str(tree / "out"))
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "out").iterdir()
    machine = os.uname().machine
    assert wheel.name == f"rl-{rootless.__version__}-py3-none-linux_{machine}.whl"
    with zipfile.ZipFile(wheel) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        data = f"rl-{rootless.__version__}.data"
        head = archive.read(f"{data}/scripts/rl")[:4]
    assert head == b"\x7fELF"
    sources = sorted(name for name in os.listdir(f"{TREE}/helpers") if name.endswith(".c"))
    for name in sources:
        where = f"{data}/scripts/rl" if name == "rl.c" else f"rootless/_helpers/{name[:-2]}"
        assert modes[where] & 0o111, f"{where} can't be executed"
    for name in os.listdir(f"{TREE}/conf"):
        assert f"rootless/_conf/{name}" in modes
    for name in ("man/man1/rl.1", "man/man1/rl-run.1", "bash-completion/completions/rl",
                 "zsh/site-functions/_rl", "fish/vendor_completions.d/rl.fish"):  # fmt: skip
        assert f"{data}/data/share/{name}" in modes
    assert not [name for name in modes if name.startswith(("tests", "helpers", "build"))]


def test_a_removed_module_leaves_the_wheel(tree):
    (tree / "rootless" / "gone.py").write_text('"""Soon gone."""\n')
    assert build(tree, "build_py").returncode == 0
    (built,) = (tree / "build").glob("lib*/rootless")
    assert (built / "gone.py").exists()
    (tree / "rootless" / "gone.py").unlink()
    assert build(tree, "build_py").returncode == 0
    assert (built / "errors.py").exists() and not (built / "gone.py").exists()


def test_no_compiler_is_one_line_with_the_package(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    done = build(tree, "bdist_wheel", PATH=str(tmp_path / "empty"))
    assert done.returncode == 1
    assert done.stderr == "rl: building needs a C compiler: apt-get install gcc libc6-dev\n"


def test_no_static_library_is_named(tree, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    done = build(tree, "bdist_wheel", CC=str(compiler))
    assert done.returncode == 1
    assert done.stderr.startswith("rl: building needs the static C library: apt-get install")
    assert done.stderr.count("\n") == 1


def test_a_compiler_that_cannot_be_run_is_named(tree):
    done = build(tree, "bdist_wheel", CC="/nonexistent/cc -m64")
    assert done.returncode == 1
    assert done.stderr == (
        "rl: cannot run the C compiler /nonexistent/cc: No such file or directory\n"
    )


def test_flags_of_the_environment_are_added(tree):
    done = build(tree, "build_py", CFLAGS="-DRL_NO_SUCH -Werror=unused-macros -include nofile.h")
    assert done.returncode == 1
    assert "nofile.h" in done.stderr


def test_the_tree_and_the_wheel_have_the_same_helpers(tree):
    done = subprocess.run(
        ["make", "-s", "-C", "helpers"], cwd=tree, capture_output=True, text=True, check=False,
        env={"PATH": PATH},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    built = sorted(os.listdir(tree / "build" / "helpers"))
    sources = [name[:-2] for name in os.listdir(f"{TREE}/helpers") if name.endswith(".c")]
    assert built == sorted(sources)
