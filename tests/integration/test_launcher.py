"""The installed ``rl``: isolated from the caller's directory and environment."""

import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

import rootless
from support.command import program

pytestmark = pytest.mark.integration

LAUNCHER = program()[0]
ENVIRONMENT = {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
# Each is imported by a start of Python or of rl, so each would run.
TRAPS = ("json", "os", "site", "sitecustomize", "usercustomize", "encodings", "click", "ctypes")


def start(*args, program=LAUNCHER, env=None, **how):
    return subprocess.run(
        [program, *args], env={**ENVIRONMENT, **(env or {})}, capture_output=True,
        text=True, timeout=60, check=False, **how,
    )  # fmt: skip


def lay_traps(directory):
    """Modules that give themselves away, under names that a start imports."""
    for name in (*TRAPS, "rootless"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
        for path in (f"{directory}/{name}/__init__.py", f"{directory}/{name}.py"):
            with open(path, "w", encoding="utf-8") as file:
                file.write("import sys\nsys.stderr.write('TRAPPED\\n')\nsys.exit(99)\n")
    return directory


def test_version():
    done = start("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] == rootless.__version__


def test_the_current_directory_is_not_searched(workdir):
    done = start("--version", cwd=lay_traps(workdir))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE"])
def test_the_environment_does_not_lead_elsewhere(workdir, variable):
    version = f"python3.{sys.version_info.minor}"
    lay_traps(workdir)
    lay_traps(f"{workdir}/lib/{version}/site-packages")
    done = start("--version", env={variable: workdir})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_users_site_is_not_searched(workdir):
    version = f"python3.{sys.version_info.minor}"
    lay_traps(f"{workdir}/.local/lib/{version}/site-packages")
    done = start("--version", env={"HOME": workdir})
    assert (done.returncode, done.stderr) == (0, "")


def test_other_variables_of_python_change_nothing():
    env = {"PYTHONVERBOSE": "1", "PYTHONINSPECT": "1", "PYTHONDEVMODE": "1",
           "PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/etc/passwd"}  # fmt: skip
    done = start("--version", env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_found_through_a_link(workdir):
    os.symlink(LAUNCHER, f"{workdir}/rl")
    done = start("--version", program=f"{workdir}/rl")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_needs_no_environment_at_all():
    done = subprocess.run([LAUNCHER, "--version"], env={}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_closed_descriptors_are_filled():
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$0" --version {closed}', LAUNCHER],
            env=ENVIRONMENT, capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b""), closed


def test_arguments_arrive_as_they_are():
    done = start("no such\ncommand", "a b", "")
    assert done.returncode == 125
    assert "no such" in done.stderr and "Traceback" not in done.stderr


def test_moved_away_it_says_so(workdir):
    os.mkdir(f"{workdir}/bin")
    shutil.copy(LAUNCHER, f"{workdir}/bin/rl")
    done = start(program=f"{workdir}/bin/rl")
    assert done.returncode == 125
    assert done.stderr.startswith(f'Error: no Python package "rootless" under {workdir}/lib\n')
    assert done.stderr.count("\n") == 2 and "\nhint: " in done.stderr


def install_elsewhere(prefix, version="python3.0", kind="site-packages"):
    """A launcher with a package that only says where it was found."""
    package = f"{prefix}/lib/{version}/{kind}/rootless"
    os.makedirs(package)
    os.makedirs(f"{prefix}/bin", exist_ok=True)
    shutil.copy(LAUNCHER, f"{prefix}/bin/rl")
    with open(f"{package}/__init__.py", "w", encoding="utf-8"):
        pass
    with open(f"{package}/__main__.py", "w", encoding="utf-8") as file:
        file.write("import sys\ndef main():\n    print(sys.argv, sys.flags.isolated)\n")
    return f"{prefix}/bin/rl"


def test_without_its_python_it_says_so(workdir):
    done = start(program=install_elsewhere(workdir, "python3.0"))
    assert done.returncode == 125
    assert done.stderr.startswith("Error: the Python is gone that could run ")
    assert f"{workdir}/lib/python3.0/site-packages/rootless\nhint: " in done.stderr


@pytest.mark.parametrize("lib", ["lib", "lib64"])
@pytest.mark.parametrize("kind", ["site-packages", "dist-packages"])
def test_it_finds_a_python_on_the_path_and_the_newest_it_can_run(workdir, lib, kind):
    version = f"python3.{sys.version_info.minor}"
    found = install_elsewhere(workdir, "python3.999", kind)
    install_elsewhere(workdir, version, kind)
    if lib != "lib":
        os.rename(f"{workdir}/lib", f"{workdir}/{lib}")
    os.mkdir(f"{workdir}/python")
    os.symlink(sys.executable, f"{workdir}/python/{version}")
    done = start("x", program=found, env={"PATH": f".:relative:{workdir}/python"})
    assert (done.stdout, done.stderr) == ("['rl', 'x'] 1\n", "")


def test_an_absurdly_long_place_is_an_error_and_no_crash(workdir):
    # The kernel refuses longer names than 255, and paths longer than 4,095.
    path = workdir
    while len(path) < 3800:
        path += "/" + "d" * 200
    os.makedirs(f"{path}/bin")
    shutil.copy(LAUNCHER, f"{path}/bin/rl")
    done = start(program=f"{path}/bin/rl")
    assert done.returncode == 125 and done.stderr.startswith("Error: ")


def test_the_wheel_brought_everything():
    """Pages and completions beside the program, helpers and settings in the package."""
    prefix = os.path.dirname(os.path.dirname(LAUNCHER))
    package = os.path.dirname(rootless.__file__)
    assert package == os.path.join(sysconfig.get_path("platlib"), "rootless")
    for path in (
        f"{prefix}/share/man/man1/rl.1",
        f"{prefix}/share/man/man1/rl-run.1",
        f"{prefix}/share/bash-completion/completions/rl",
        f"{prefix}/share/zsh/site-functions/_rl",
        f"{prefix}/share/fish/vendor_completions.d/rl.fish",
        rootless.conf_path("rl.toml"),
    ):
        assert os.path.isfile(path), path
    for name in ("init", "monitor", "hello"):
        path = f"{rootless.helpers_dir()}/{name}"
        assert os.access(path, os.X_OK), path
        with open(path, "rb") as file:
            assert b"ld-linux" not in file.read(4096), f"{name} isn't static"


@pytest.mark.parametrize("page", ["rl", "rl-run", "rl-volume-create"])
def test_man_finds_the_pages_beside_the_program(page):
    env = {**ENVIRONMENT, "PATH": f"{os.path.dirname(LAUNCHER)}:/usr/bin:/bin", "COLUMNS": "80"}
    done = subprocess.run(
        ["man", "--warnings", page], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n", 1)[0].startswith(f"{page.upper()}(1)")
