"""What becomes of containers when their user logs out: systemd ends the manager of a user who
does not linger, and every scope in it.

Run by root, who logs users in as a person does, through PAM: ``user`` lingers, ``guest`` doesn't.
"""

import json
import os
import pwd
import shutil
import subprocess

import pytest

from support import tools
from support.limited import until

pytestmark = [pytest.mark.as_root, pytest.mark.timeout(400)]

IMAGE = "localhost/busybox:latest"
_RL = "/opt/rl/bin/rl"


class Visitor:
    """A user who logs in for one command at a time; an image lies in ``archive``."""

    def __init__(self, name, archive):
        self.name = name
        self.runtime = f"/run/user/{pwd.getpwnam(name).pw_uid}"
        self.ok("load", "--input", archive)

    def rl(self, *words):
        """rl in a session of its own, which ends with it."""
        return subprocess.run(
            ["su", "-", self.name, "-c", " ".join([_RL, *words])], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip

    def ok(self, *words):
        """The same, and it has to succeed: what it printed."""
        done = self.rl(*words)
        assert done.returncode == 0, (words, done)
        return done

    def state(self, name):
        """State of a container, by inspect."""
        return json.loads(self.ok("inspect", name).stdout)[0]["State"]

    def has_left(self):
        """Wait until systemd has ended everything of the user's sessions."""
        until(lambda: not os.path.exists(self.runtime), "the end of the session", patience=200)

    def close(self):
        self.ok("rm", "--all", "--force", "--time", "0")
        self.ok("rmi", "--all", "--force")


@pytest.fixture
def archive(busybox_image):
    """The image where every user can read it."""
    path = "/var/tmp/rl-login.oci"
    shutil.copy(busybox_image, path)
    os.chmod(path, 0o644)
    yield path
    os.unlink(path)


@pytest.fixture
def guest(archive):
    """Somebody who does not linger."""
    visitor = Visitor("guest", archive)
    yield visitor
    visitor.close()
    visitor.has_left()
    tools.remove_tree("/home/guest/.local")


@pytest.fixture
def resident(archive):
    """Somebody who does."""
    visitor = Visitor("user", archive)
    yield visitor
    visitor.close()
    tools.remove_tree("/home/user/.local")


def _runs(pid):
    return os.path.exists(f"/proc/{pid}")


def test_without_lingering_it_ends_and_that_is_told(guest):
    done = guest.ok("run", "-d", "--name", "web", "--network", "none", "-m", "100m",
                    IMAGE, "sleep", "1000")  # fmt: skip
    assert "your containers end with your login session" in done.stderr, done
    assert "loginctl enable-linger guest" in done.stderr, done
    guest.has_left()
    state = guest.state("web")
    assert (state["Status"], state["Running"], state["Pid"]) == ("exited", False, 0), state
    assert state["ExitCode"] != 0 and not state["OOMKilled"], state
    # Nothing of it hinders the next session.
    guest.ok("start", "web")
    state = guest.state("web")
    assert state["Status"] == "running" and _runs(state["Pid"])


def test_with_lingering_it_goes_on(resident):
    done = resident.ok("run", "-d", "--name", "web", "--network", "none", "-m", "100m",
                       IMAGE, "sleep", "1000")  # fmt: skip
    assert "login session" not in done.stderr, done
    pid = resident.state("web")["Pid"]
    # Longer than systemd waits with a manager that nobody needs (UserStopDelaySec=10s).
    with pytest.raises(AssertionError):
        until(lambda: not _runs(pid), "its end", patience=15)
    assert resident.ok("exec", "web", "echo", "there").stdout == "there\n"
    assert resident.state("web")["Pid"] == pid


def test_outside_of_any_scope_it_outlives_the_session(guest):
    """logind leaves alone what the session has started (KillUserProcesses=no), and the user's
    runtime directory stays for as long."""
    done = guest.ok("run", "-d", "--name", "web", "--network", "none", "--cgroups", "disabled",
                    IMAGE, "sleep", "1000")  # fmt: skip
    assert "login session" not in done.stderr, done
    pid = guest.state("web")["Pid"]
    with pytest.raises(AssertionError):
        until(lambda: not _runs(pid), "its end", patience=15)
    assert guest.state("web")["Pid"] == pid
    assert guest.ok("exec", "web", "echo", "there").stdout == "there\n"
