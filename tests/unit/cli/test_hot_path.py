"""What the commands that people type all day may load: every module costs their start."""

import os
import subprocess
import sys

import pytest

import rootless

PARENT = os.path.dirname(os.path.dirname(os.path.abspath(rootless.__file__)))
# As the launcher starts it (helpers/rl.c), with a list of the modules at the end.
START = (
    "import sys\n"
    "bare = set(sys.modules)\n"
    "sys.path.append({parent!r})\n"
    "{body}\n"
    "print('LOADED', *sorted(set(sys.modules) - bare))\n"
)
WHOLE = "from rootless.cli.main import main\nassert main({argv!r}, {environ!r}) == 0"
PARSE = "from rootless.cli import main, fast\nassert fast.parse({argv!r})"

# Imported by os, which Python imports itself unless started with -S.
OS = {"os", "os.path", "posixpath", "genericpath", "stat", "_stat", "_collections_abc"}
READING = OS | {
    "gc", "rootless", "rootless.cli", "rootless.cli.fast", "rootless.cli.main",
    "rootless.cli.options", "rootless.cli.options.common", "rootless.cli.options.table",
    "rootless.errors", "rootless.model", "rootless.model.request",
}  # fmt: skip
SLOW = {
    "argparse", "asyncio", "click", "collections", "contextlib", "dataclasses", "email", "enum",
    "functools", "hashlib", "http", "inspect", "json", "logging", "pathlib", "platform",
    "pyroute2", "re", "shutil", "site", "socket", "ssl", "subprocess", "tempfile", "threading",
    "tomllib", "typing", "urllib", "zipfile",
}  # fmt: skip


def loaded(body):
    """The modules that an isolated Python has loaded after ``body``."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", START.format(parent=PARENT, body=body)],
        capture_output=True, text=True, check=False, env={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_version_loads_nothing():
    allowed = OS | {"gc", "rootless", "rootless.cli", "rootless.cli.main", "rootless.errors"}
    assert loaded(WHOLE.format(argv=["--version"], environ={})) <= allowed


@pytest.mark.parametrize(
    ("line", "family"),
    [
        ("run --rm -it -v /a:/b -e A=1 --network none debian sh", "run"),
        ("images -q", "images"),
        ("ps -a", "look"),
        ("exec -it web sh", "enter"),
        ("stop -t 0 web", "life"),
        ("volume ls", "groups"),
    ],
)
def test_reading_a_line_loads_one_family(line, family):
    found = loaded(PARSE.format(argv=line.split()))
    limits = {"rootless.cli.options.limits"} if family in ("run", "life") else set()
    assert found <= READING | limits | {f"rootless.cli.options.{family}"}


@pytest.mark.parametrize("line", ["ps", "ps -a --format {{.Names}}", "images", "volume ls"])
def test_daily_verbs_load_nothing_slow(line, tmp_path):
    runroot = tmp_path / "run"
    runroot.mkdir(0o700)
    words = ["--root", str(tmp_path / "root"), "--runroot", str(runroot), *line.split()]
    environ = {"HOME": str(tmp_path), "PATH": os.defpath}
    found = loaded(WHOLE.format(argv=words, environ=environ))
    assert not found & SLOW, found & SLOW
    assert "rootless.cli.app" not in found


def test_a_build_whose_steps_are_cached_loads_nothing_slow():
    """What makes layers, fetches and pushes is imported where there is something of it to do."""
    found = loaded("from rootless.engine.build import deliver")
    assert not found & (SLOW - {"hashlib"}), found & SLOW
    assert not [name for name in found if name.startswith("rootless.image.registry.")]
