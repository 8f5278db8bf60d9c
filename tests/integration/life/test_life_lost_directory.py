"""Somebody deletes the runtime directory below running containers: a cleaner of /tmp, or
systemd at the end of a login session."""

import os
import shutil

import pytest

pytestmark = pytest.mark.integration


def _delete(life):
    """As such a cleaner does it; the probes that are kept there are of no interest."""
    shutil.rmtree(f"{life.rl.run}/rl")


def _stat(pid):
    """State, parent and so on; of one that is gone as of a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return ["Z"]


@pytest.mark.one_id
def test_it_runs_and_everything_works(life):
    life.detached("web", "sh", "-c", "echo begun; exec sleep 1000")
    life.until(lambda: life.ok("logs", "web").text == "begun")
    pid, since = (life.inspect("web", f"{{{{.State.{name}}}}}") for name in ("Pid", "StartedAt"))
    _delete(life)
    assert life.status("web") == "running"
    assert life.inspect("web", "{{.State.Pid}}") == pid
    assert life.inspect("web", "{{.State.StartedAt}}") == since
    assert life.ok("ps", "--format", "{{.Names}}").text == "web"
    assert life.ok("exec", "web", "echo", "there").text == "there"
    assert "web" in life.fails("rm", "web", code=2).stderr, "it runs, so it stays"
    assert life.ok("stop", "-t", "0", "web").text == "web"
    assert life.inspect("web", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    life.ok("start", "web")
    assert life.status("web") == "running"


def test_by_another_login_session(life, workdir):
    life.detached("web")
    shutil.rmtree(life.rl.run)
    os.mkdir(f"{workdir}/other", 0o700)
    before = life.rl.environment["XDG_RUNTIME_DIR"]
    life.rl.environment["XDG_RUNTIME_DIR"] = f"{workdir}/other"
    try:
        assert life.status("web") == "running"
        assert life.ok("exec", "web", "echo", "there").text == "there"
    finally:
        os.mkdir(before, 0o700)
        life.rl.environment["XDG_RUNTIME_DIR"] = before
    assert life.status("web") == "running", "both sessions see it"
    life.ok("rm", "-f", "-t", "0", "web")


def test_only_some_files_are_deleted(life):
    container = life.detached("web")
    for name in ("alive", "started"):
        os.unlink(f"{life.rl.run}/rl/containers/{container}/{name}")
    assert life.status("web") == "running"
    assert life.ok("exec", "web", "echo", "there").text == "there"


def test_ports_and_pauses_are_known(life):
    life.ok("run", "-d", "--name", "web", "--network", "none", "-p", "127.0.0.1::80", life.image,
            "httpd", "-f", "-p", "80")  # fmt: skip
    ports = life.ok("port", "web").text
    life.ok("pause", "web")
    _delete(life)
    assert life.ok("port", "web").text == ports and "127.0.0.1:" in ports
    assert life.status("web") == "paused"
    life.ok("unpause", "web")
    assert life.status("web") == "running"
    _delete(life)
    assert life.ok("port", "web").text == ports, "again"


def test_a_policy_still_starts_it_again(life):
    life.detached("web", "sh", "-c", "sleep 1000", options=["--restart", "on-failure:3"])
    _delete(life)
    assert life.status("web") == "running"
    os.kill(int(life.inspect("web", "{{.State.Pid}}")), 9)
    life.until(lambda: life.inspect("web", "{{.RestartCount}} {{.State.Status}}") == "1 running")


def test_nobody_is_found_where_nobody_lives(life):
    life.ok("create", "--name", "new", "--network", "none", life.image, "true")
    life.detached("dead")
    pid = int(life.inspect("dead", "{{.State.Pid}}"))
    os.kill(int(_stat(pid)[1]), 9)
    life.until(lambda: _stat(pid)[0] == "Z")
    _delete(life)
    assert life.status("new") == "created"
    assert "its monitor was killed" in life.ok("ps", "-a", "--filter", "name=dead").text
    life.ok("rm", "-f", "dead", "new")
