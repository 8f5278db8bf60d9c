"""Health checks from options and images, end to end."""

import time

import pytest

pytestmark = pytest.mark.integration

QUICK = ("--health-interval", "100ms", "--health-retries", "2")


def health(life, name="a"):
    return life.inspect(name, "{{.State.Health.Status}}")


def test_from_starting_to_healthy_to_unhealthy(life):
    life.detached("a", options=("--health-cmd", "test ! -e /ill", *QUICK))
    life.until(lambda: health(life) == "healthy")
    assert "(healthy)" in life.ok("ps").stdout
    assert life.ok("ps", "--filter", "health=healthy", "--format", "{{.Names}}").text == "a"
    assert life.ok("healthcheck", "run", "a").text == ""
    life.ok("exec", "a", "touch", "/ill")
    life.until(lambda: health(life) == "unhealthy")
    assert int(life.inspect("a", "{{.State.Health.FailingStreak}}")) >= 2
    done = life.rl("healthcheck", "run", "a")
    assert (done.code, done.text) == (1, "unhealthy")
    said = life.ok("events", "--stream=false", "--filter", "container=a", "--filter",
                   "event=health_status", "--format", "{{.HealthStatus}}").lines  # fmt: skip
    assert "healthy" in said and said[-1] == "unhealthy"


def test_what_the_check_says_is_kept(life):
    life.detached("a", options=("--health-cmd", "echo well; exit 1", *QUICK))
    life.until(lambda: "well" in life.inspect("a", "{{json .State.Health.Log}}"))
    (entry, *_) = life.ok("inspect", "a").json()[0]["State"]["Health"]["Log"]
    assert (entry["ExitCode"], entry["Output"]) == (1, "well\n")


def test_start_period(life):
    life.detached("a", options=("--health-cmd", "false", "--health-start-period", "1h", *QUICK))
    life.until(lambda: len(life.ok("inspect", "a").json()[0]["State"]["Health"]["Log"]) >= 4)
    assert health(life) == "starting"


def test_timeout(life):
    life.detached("a", options=("--health-cmd", "sleep 77", "--health-timeout", "200ms", *QUICK))
    life.until(lambda: health(life) == "unhealthy")
    # The next check may run by now; one that was not ended would stay for 77 seconds.
    life.until(lambda: "sleep 77" not in life.ok("top", "a", "args").stdout)


@pytest.mark.parametrize(
    ("action", "state"), [("kill", "137 exited 0"), ("stop", "137 exited 0"), ("none", None)]
)
def test_on_failure(life, action, state):
    life.detached("a", options=("--health-cmd", "false", "--health-on-failure", action,
                                "--stop-timeout", "0", *QUICK))  # fmt: skip
    shown = "{{.State.ExitCode}} {{.State.Status}} {{.RestartCount}}"
    if state is None:
        life.until(lambda: health(life) == "unhealthy")
        assert life.status("a") == "running"
    else:
        life.until(lambda: life.inspect("a", shown) == state)


def test_on_failure_restart(life):
    life.detached("a", options=("--health-cmd", "false", "--health-on-failure", "restart",
                                "--stop-timeout", "0", "--restart", "no", *QUICK))  # fmt: skip
    life.until(lambda: int(life.inspect("a", "{{.RestartCount}}")) >= 1)


def test_none(life):
    life.detached("a")
    life.fails("healthcheck", "run", "a", says="no health check")
    life.detached("b", options=("--no-healthcheck", "--health-cmd", "true"))
    life.fails("healthcheck", "run", "b", says="no health check")
    life.fails("run", "--health-cmd", "true", "--health-interval", "soon", life.image, says="soon")


def test_a_paused_container_is_not_checked(life):
    container = life.detached("a", options=("--health-cmd", "true", *QUICK))
    life.until(lambda: health(life) == "healthy")
    life.ok("pause", "a")
    time.sleep(1)  # ten intervals
    found = life.ok("events", "--stream=false", "--filter", f"id={container}", "--format",
                    "{{.Status}} {{.HealthStatus}}").lines  # fmt: skip
    # One check may have begun before the pause.
    assert len(found[found.index("pause ") + 1 :]) <= 1
    assert health(life) == "healthy"
    life.ok("unpause", "a")
    life.until(lambda: life.ok("events", "--stream=false", "--filter", f"id={container}",
                               "--format", "{{.Status}}").lines[-1] == "health_status")


def test_not_running(life):
    life.detached("a", options=("--health-cmd", "true",))
    life.ok("stop", "-t", "0", "a")
    life.fails("healthcheck", "run", "a", says="not running")
    assert "healthy" not in life.ok("ps", "-a").stdout
