"""--restart: who comes back, how often, after how long; and who is heard in between."""

import os
import signal
import time
from datetime import datetime

import pytest

pytestmark = pytest.mark.integration


def count(life, name="a"):
    return int(life.inspect(name, "{{.RestartCount}}"))


def test_on_failure_a_few_times(life):
    container = life.detached("a", "sh", "-c", "exit 3", options=("--restart", "on-failure:2"))
    life.until(lambda: life.status("a") == "exited" and count(life) == 2, "the last restart")
    assert life.inspect("a", "{{.State.ExitCode}} {{.State.Restarting}}") == "3 false"
    assert len(times(life, container, "start")) == 3


def test_on_failure_takes_success_for_the_end(life):
    life.detached("a", "sh", "-c", "sleep 0.1", options=("--restart", "on-failure"))
    life.ok("wait", "a")
    life.until(lambda: life.status("a") == "exited")
    assert count(life) == 0


def test_always_comes_back_with_its_output_in_one_log(life):
    life.detached("a", "sh", "-c", "echo again", options=("--restart", "always"))
    life.until(lambda: count(life) >= 2)
    assert life.ok("logs", "a").lines[:2] == ["again", "again"]


def test_each_quick_end_waits_longer(life):
    container = life.detached("a", "false", options=("--restart", "always"))
    life.until(lambda: len(times(life, container, "start")) > 3)
    ends, starts = times(life, container, "died"), times(life, container, "start")
    waits = [_seconds(start) - _seconds(end) for start, end in zip(starts[1:], ends, strict=False)]
    assert waits[0] >= 0.1 and waits[1] >= 0.2 and waits[2] >= 0.4


def times(life, container, event):
    """When an event happened to a container, as texts."""
    return life.ok("events", "--stream=false", "--filter", f"id={container}", "--filter",
                   f"event={event}", "--format", "{{.Time}}").lines  # fmt: skip


def _seconds(stamp):
    return datetime.fromisoformat(stamp[:26]).timestamp()


def test_between_two_runs(life):
    container = life.detached("a", "false", options=("--restart", "always"))
    while True:
        life.until(lambda: life.status("a") == "restarting")
        monitor = life.monitor(container, missing_ok=True)
        if monitor is None:
            continue
        try:
            os.kill(monitor, signal.SIGSTOP)
            if life.status("a") == "restarting":
                break
            os.kill(monitor, signal.SIGCONT)  # it was the next run already
        except ProcessLookupError:
            continue
    try:
        assert "Restarting (1)" in life.ok("ps").stdout
        life.fails("exec", "a", "true", says="restarting")
        life.fails("rm", "a", code=2, says="running")
        assert life.ok("start", "a").text == "a"
    finally:
        os.kill(monitor, signal.SIGCONT)


def test_a_stop_at_any_moment_is_heard(life):
    for pause in (0, 0.05, 0.1, 0.15, 0.2, 0.3):
        life.detached("a", "true", options=("--restart", "always", "--replace"))
        time.sleep(pause)
        life.ok("stop", "-t", "0", "a")
        before = count(life)
        time.sleep(0.3)
        assert (life.status("a"), count(life)) == ("exited", before)


def test_a_removal_at_any_moment_is_heard(life):
    for pause in (0, 0.05, 0.1, 0.15, 0.2, 0.3):
        life.detached("a", "true", options=("--restart", "always"))
        time.sleep(pause)
        life.ok("rm", "-f", "-t", "0", "a")
        assert life.rl("container", "exists", "a").code == 1
    assert os.listdir(f"{life.rl.root}/containers") == []


def test_a_kill_is_the_users_wish(life):
    life.detached("a", options=("--restart", "always"))
    life.ok("kill", "a")
    life.until(lambda: life.status("a") == "exited", "the end")
    time.sleep(0.3)
    assert (life.status("a"), count(life)) == ("exited", 0)
    life.ok("start", "a")
    os.kill(int(life.inspect("a", "{{.State.Pid}}")), 9)
    life.until(lambda: count(life) == 1 and life.status("a") == "running", "nobody's wish")


def test_a_start_begins_to_count_anew(life):
    life.detached("a", "false", options=("--restart", "on-failure:1"))
    life.until(lambda: life.status("a") == "exited" and count(life) == 1)
    life.ok("start", "a")
    life.until(lambda: life.status("a") == "exited" and count(life) == 1)


def test_rm_and_restart_exclude_each_other(life):
    life.fails("run", "--rm", "--restart", "always", life.image, "true", says="--restart",
               hint=False)  # fmt: skip


def test_update_counts_from_the_next_end_on(life):
    life.detached("a", options=("--restart", "no"))
    life.ok("update", "--restart", "always", "a")
    life.ok("restart", "-t", "0", "a")
    os.kill(int(life.inspect("a", "{{.State.Pid}}")), 9)
    life.until(lambda: count(life) == 1)


@pytest.mark.one_id
def test_what_goes_at_its_end_can_be_restarted(life):
    """--rm means the end, not the moment between two runs."""
    container = life.detached("anew", "sh", "-c", "date >> /runs; sleep 1000", options=("--rm",))
    for _ in range(4):
        assert life.ok("restart", "-t", "0", "anew").text == "anew"
        assert (life.inspect("anew", "{{.Id}}"), life.status("anew")) == (container, "running")
    life.until(lambda: len(life.rl("exec", "anew", "cat", "/runs").lines) == 5, "the fifth run")
    life.ok("stop", "-t", "0", "anew")
    life.until(lambda: not os.path.exists(life.directory(container)), "the removal")


def test_what_goes_at_its_end_is_restarted_when_unhealthy(life):
    life.detached("ill", options=("--rm", "--health-cmd", "false", "--health-interval", "200ms",
                                  "--health-retries", "1", "--health-on-failure", "restart",
                                  "--stop-timeout", "0"))  # fmt: skip
    life.until(lambda: int(life.inspect("ill", "{{.RestartCount}}")) >= 2, "the second restart")
    life.ok("rm", "-f", "-t", "0", "ill")
