"""After the machine has been restarted, and after monitors were killed."""

import json
import os
import shutil
import signal

import pytest

pytestmark = pytest.mark.integration


def reboot(life, *containers):
    """What a restart of the machine leaves: nothing that runs, no runtime directory, and
    records of another boot."""
    for container in containers:
        try:
            os.kill(life.monitor(container), signal.SIGKILL)
        except AssertionError:
            pass
    for container in containers:
        path = f"{life.directory(container)}/record.json"
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        if record["boot"]:
            record["boot"] = "00000000-0000-4000-8000-000000000000"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file)
        run = life.run_directory(container)
        # The kernel frees the lock when the last of the killed is gone.
        life.until(lambda run=run: not _locked(run))
        shutil.rmtree(run, ignore_errors=True)


def _locked(run):
    import fcntl

    try:
        with open(f"{run}/alive", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def test_what_ran_has_exited_with_an_unknown_code(life):
    container = life.detached("a", options=("--restart", "always"))
    reboot(life, container)
    assert life.ok("ps", "-q").text == ""
    assert "Exited (unknown, the machine was restarted)" in life.ok("ps", "-a").stdout
    state = life.ok("inspect", "a").json()[0]["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == (
        "exited", False, 0, -1)  # fmt: skip
    assert "unknown" in state["Error"]
    assert life.ok("wait", "a").text == "-1"
    life.fails("exec", "a", "true", says="not running")
    life.fails("attach", "a", says="not running")
    life.fails("kill", "a", says="not running")
    life.fails("pause", "a", says="not running")
    life.fails("top", "a", says="not running")
    assert life.ok("stop", "a").text == "a"
    assert life.ok("logs", "a").text == ""
    assert life.ok("stats", "-a", "--no-stream", "--format", "{{.PIDs}}").text == "0"
    assert life.ok("start", "a").text == "a"
    assert life.status("a") == "running"


def test_what_had_ended_keeps_its_code(life):
    life.rl("run", "--name", "a", "--network", "none", life.image, "sh", "-c", "exit 5")
    reboot(life, life.inspect("a", "{{.Id}}"))
    assert "Exited (5)" in life.ok("ps", "-a").stdout
    assert life.ok("wait", "a").text == "5"
    life.ok("rm", "a")


def test_what_was_never_started_is_still_created(life):
    container = life.ok("create", "--name", "a", "--network", "none", life.image, "true").text
    reboot(life, container)
    assert life.status("a") == "created"
    life.ok("start", "-a", "a")


def test_what_was_to_be_removed_is_gone(life):
    container = life.detached("a", options=("--rm", "-v", "/data"))
    reboot(life, container)
    assert life.ok("ps", "-aq").text == ""
    life.ok("run", "--rm", "--name", "b", "--network", "none", life.image, "true")
    life.ok("container", "prune", "--force")
    assert not os.path.exists(life.directory(container))
    life.detached("a", "true")


def test_a_paused_one(life):
    container = life.detached("a")
    life.ok("pause", "a")
    reboot(life, container)
    assert life.status("a") == "exited"
    life.ok("start", "a")
    assert life.status("a") == "running"


def test_autostart_brings_back(life):
    wanted = {"always": ("--restart", "always"), "unless": ("--restart", "unless-stopped")}
    others = {"no": (), "failure": ("--restart", "on-failure"), "stopped": wanted["unless"]}
    containers = [life.detached(name, options=options)
                  for name, options in (wanted | others).items()]  # fmt: skip
    life.ok("create", "--name", "new", "--restart", "always", life.image)
    life.ok("stop", "-t", "0", "stopped")
    reboot(life, *containers)
    assert sorted(life.ok("autostart", "--now").lines) == ["always", "unless"]
    assert sorted(life.ok("ps", "--format", "{{.Names}}").lines) == ["always", "unless"]
    assert life.ok("autostart", "--now").lines == [], "they run"
    assert life.inspect("always", "{{.RestartCount}}") == "0"


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_monitor(life):
    container = life.detached("a", options=("--restart", "always"))
    pid = int(life.inspect("a", "{{.State.Pid}}"))
    os.kill(life.monitor(container), signal.SIGKILL)
    life.until(lambda: not _lives(pid), "the end of the container")
    assert "Exited (unknown, its monitor was killed)" in life.ok("ps", "-a").stdout
    state = life.ok("inspect", "a").json()[0]["State"]
    assert (state["Status"], state["Running"], state["ExitCode"]) == ("exited", False, -1)
    assert "killed" in state["Error"]
    for status in ("dead", "exited"):
        shown = life.ok("ps", "-a", "--filter", f"status={status}", "--format", "{{.Names}}")
        assert shown.text == "a"
    assert life.ok("wait", "a").text == "-1"
    for words in (("exec", "a", "true"), ("attach", "a"), ("kill", "a"), ("pause", "a"),
                  ("top", "a"), ("healthcheck", "run", "a")):  # fmt: skip
        done = life.rl(*words)
        assert done.code == 125 and "Error: " in done.stderr, repr(done)
    assert life.ok("stop", "a").text == "a"
    life.ok("start", "a")
    assert life.status("a") == "running"
    os.kill(life.monitor(container), signal.SIGKILL)
    life.until(lambda: life.status("a") == "exited")
    life.ok("restart", "-t", "0", "a")
    assert life.status("a") == "running"
    os.kill(life.monitor(container), signal.SIGKILL)
    life.until(lambda: life.status("a") == "exited")
    life.ok("rm", "a")


def test_who_is_attached_learns_of_a_killed_monitor(life):
    container = life.detached("a")
    attached = life.rl.start("attach", "a")
    waiting = life.rl.start("wait", "a")
    life.until(lambda: _connected(life, container) >= 2)
    os.kill(life.monitor(container), signal.SIGKILL)
    assert b"monitor" in attached.communicate(timeout=20)[1] and attached.returncode == 125
    assert waiting.communicate(timeout=20)[0].strip() == b"-1"


def _connected(life, container):
    folder = f"/proc/{life.monitor(container)}/fd"
    links = [os.readlink(f"{folder}/{number}") for number in os.listdir(folder)
             if os.path.lexists(f"{folder}/{number}")]  # fmt: skip
    return sum(link.startswith("socket:") for link in links) - 1


def test_the_monitor_of_a_rm_container_is_killed(life):
    container = life.detached("a", options=("--rm",))
    os.kill(life.monitor(container), signal.SIGKILL)
    life.until(lambda: life.ok("ps", "-aq").text == "")
    life.ok("container", "prune", "--force")
    assert not os.path.exists(life.directory(container))
