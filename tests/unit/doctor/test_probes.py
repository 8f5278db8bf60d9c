"""Results of probes: kept while they hold, and dropped when anything they rest on changes."""

import os

import pytest

from rootless import config
from rootless.engine import probes
from rootless.engine.context import Engine

GOOD = [{"rung": "best", "ok": True, "reason": ""}]
POOR = [{"rung": "best", "ok": False, "reason": "no"}, {"rung": "next", "ok": True, "reason": ""}]


class Machine:
    """A user with a runtime directory, helper programs, and a count of what was computed."""

    def __init__(self, tmp_path):
        self.path = tmp_path
        (tmp_path / "run").mkdir(mode=0o700)
        (tmp_path / "bin").mkdir()
        self.count = 0
        self.cache = tmp_path / "run/rl" / probes.FILE

    def engine(self):
        environ = {
            "HOME": str(self.path),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "PATH": str(self.path / "bin"),
            "RL_CONFIG": "/dev/null",
        }
        return Engine(config.load({}, environ))

    def get(self, value=GOOD, **more):
        def compute(engine):
            self.count += 1
            return value

        return probes.get(self.engine(), "layer", compute, **more)

    def helper(self, mode=0o755):
        path = self.path / "bin/pasta"
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        return path


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_computed_once(machine):
    assert machine.get() == GOOD
    assert machine.get() == GOOD
    assert machine.count == 1


def test_a_helper_that_comes_changes_and_goes(machine):
    machine.get()
    path = machine.helper()
    machine.get()
    assert machine.count == 2
    path.chmod(0o711)
    machine.get()
    assert machine.count == 3
    path.unlink()
    machine.get()
    assert machine.count == 4
    machine.get()
    assert machine.count == 4


@pytest.mark.parametrize("index", [0, 1, 2, 3, 5, 6])
def test_another_boot_kernel_version_user_or_namespace(machine, index):
    machine.get()
    from rootless.model import jsontext

    kept = jsontext.loads(machine.cache.read_bytes())
    kept["key"][index] = "other"
    machine.cache.write_text(jsontext.dumps(kept))
    machine.get()
    assert machine.count == 2


def test_what_else_it_depends_on(machine):
    machine.get(extra=["a"])
    machine.get(extra=["a"])
    machine.get(extra=["b"])
    assert machine.count == 2


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"key": 1}', "\0\0", "[" * 5000, '{"key":[],"entries":3}'],
)
def test_garbage_is_ignored(machine, text):
    machine.get()
    machine.cache.write_text(text)
    assert machine.get() == GOOD
    assert machine.count == 2


@pytest.mark.parametrize("entry", [None, 3, [], {}, {"value": 1}, {"extra": [], "best": True}])
def test_garbage_inside_is_ignored(machine, entry):
    machine.get()
    from rootless.model import jsontext

    kept = jsontext.loads(machine.cache.read_bytes())
    kept["entries"] = {"layer": entry}
    machine.cache.write_text(jsontext.dumps(kept))
    assert machine.get() == GOOD
    assert machine.count == 2


def test_a_link_or_fifo_in_its_place(machine):
    machine.get()
    machine.cache.unlink()
    os.mkfifo(machine.cache)
    assert machine.get() == GOOD
    assert not machine.cache.is_fifo()


def test_a_poor_result_is_kept_for_a_while(machine, monkeypatch):
    machine.get(POOR)
    machine.get(POOR)
    assert machine.count == 1
    now = probes.time.time()
    monkeypatch.setattr(probes.time, "time", lambda: now + probes.PATIENCE + 1)
    machine.get(POOR)
    assert machine.count == 2


def test_a_clock_set_back_does_not_keep_it_for_ever(machine, monkeypatch):
    machine.get(POOR)
    now = probes.time.time()
    monkeypatch.setattr(probes.time, "time", lambda: now - 1e6)
    machine.get(POOR)
    assert machine.count == 2


def test_a_poor_result_ends_when_a_sysctl_changes(machine, monkeypatch, tmp_path):
    sysctl = tmp_path / "sysctl"
    sysctl.write_text("0\n")
    monkeypatch.setattr(probes, "SYSCTLS", (str(sysctl),))
    machine.get(POOR)
    machine.get(POOR)
    assert machine.count == 1
    sysctl.write_text("1\n")
    machine.get(POOR)
    assert machine.count == 2


def test_a_failure_to_compute_is_not_remembered(machine):
    def fail(engine):
        raise OSError("no")

    with pytest.raises(OSError):
        probes.get(machine.engine(), "layer", fail)
    assert machine.get() == GOOD
    assert machine.count == 1


def test_put_and_forget(machine):
    probes.put(machine.engine(), "layer", POOR)
    assert machine.get() == POOR
    probes.forget(machine.engine(), "layer")
    assert machine.get() == GOOD
    assert machine.count == 1


def test_no_runtime_directory_means_no_memory(machine):
    (machine.path / "run/rl").symlink_to("/")
    assert machine.get() == GOOD
    assert machine.get() == GOOD
    assert machine.count == 2
