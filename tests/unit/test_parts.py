"""tests/setup/parts.py: what it reports of runs that go well, badly, and now and then."""

import importlib.util
import os
import pwd

import pytest

PATH = os.path.join(os.path.dirname(os.path.dirname(__file__)), "setup/parts.py")
spec = importlib.util.spec_from_file_location("parts", PATH)
parts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parts)


def results(*runs):
    """A Run whose pytest gives these one after the other: (code, passed, [failed])."""
    run = parts.Run("/nowhere", ["me", "you"])
    run.asked = []
    answers = list(runs)

    def answer(user, args):
        run.asked.append(args)
        code, passed, failed = answers.pop(0)
        return code, {"passed": passed, "failed": failed, "skipped": 2}, b"said\n"

    run.pytest = answer
    run.lane("me", [parts.Part("one", ["-q", "tests/x"])])
    assert not answers
    return run


def test_all_is_well(capfdbinary):
    run = results((0, 5, []))
    assert run.summary() == 0
    assert b"5 passed, 0 failed, 2 skipped\n" in capfdbinary.readouterr().out


def test_what_passes_when_run_again_is_flaky(capfdbinary):
    run = results((1, 5, ["a::b[x y]", "a::c"]), (1, 1, ["a::c"]))
    assert run.asked[1] == ["-q", "a::b[x y]", "a::c"]
    assert run.summary() == 1
    out = capfdbinary.readouterr().out
    assert b"6 passed, 1 failed, 2 skipped, 1 flaky (passed when run again): a::b[x y]\n" in out
    assert out.count(b"said\n") == 2
    run = results((1, 5, ["a::b"]), (0, 1, []))
    assert run.summary() == 0 and run.flaky == ["a::b"]


@pytest.mark.parametrize("code", [2, 3, 4])
def test_a_second_run_that_goes_wrong_excuses_nothing(code):
    run = results((1, 5, ["a::b"]), (code, 0, []))
    assert run.summary() == 1 and (run.failed, run.flaky) == (1, [])


def test_many_failures_are_not_run_again():
    run = results((1, 5, [f"a::{number}" for number in range(parts.AGAIN + 1)]))
    assert run.summary() == 1 and run.failed == parts.AGAIN + 1


@pytest.mark.parametrize("code", [2, 3, 4, -9])
def test_pytest_that_ends_otherwise_is_a_failure(code):
    run = results((code, 5, []))
    assert run.summary() == 1 and run.failed == 1


def test_nothing_at_all_is_a_failure():
    assert results((parts.NOTHING_TO_RUN, 0, [])).summary() == 1


def test_what_a_run_notes_is_understood(tmp_path, monkeypatch):
    state, me = tmp_path / "state", pwd.getpwuid(os.geteuid()).pw_name
    program = state / "venv/bin/pytest"
    program.parent.mkdir(parents=True)
    (state / "tree").mkdir()
    program.write_text('#!/bin/sh\nprintf "4 1 2\\na::b\\n" >>"$RL_TEST_COUNTS"\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("RL_TEST_CACHE", "/var/cache/rl-tests")
    code, found, _ = parts.Run(str(state), [me]).pytest(me, [])
    assert (code, found) == (1, {"passed": 4, "failed": ["a::b"], "skipped": 2})


def test_every_test_belongs_to_a_part():
    tree = os.path.dirname(os.path.dirname(os.path.dirname(PATH)))
    found, _ = parts.everything(tree, ["me"])
    covered = [path for part in found if part.user is None for path in part.args[1:]]
    for at, _, names in os.walk(f"{tree}/tests"):
        below = os.path.relpath(at, tree)
        if below.startswith(("tests/vm", "tests/bench")):
            continue
        for name in names:
            if name.startswith("test_") and name.endswith(".py"):
                path = f"{below}/{name}"
                assert [one for one in covered if path == one or path.startswith(f"{one}/")], path
