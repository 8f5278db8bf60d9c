"""When the end of a login session ends containers, and that it is said once."""

import os
import types

import pytest

from rootless.engine import session

SESSION = "1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n0::/\n"
MODERN = "0::/user.slice/user-1000.slice/session-3.scope\n"
SERVICE = "0::/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/terminal.scope\n"
CRON = "0::/system.slice/cron.service\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with logind: a function that sets it up and gives (engine, top)."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(session, "user_name", lambda uid: "ann")

    def make(cgroup, conf="", drop_in=None, linger=False, seats=True):
        top = tmp_path
        (top / "store").mkdir()
        (top / "proc/self").mkdir(parents=True)
        (top / "proc/self/cgroup").write_text(cgroup.format(uid=1000))
        (top / "etc/systemd/logind.conf.d").mkdir(parents=True)
        (top / "etc/systemd/logind.conf").write_text(conf)
        if drop_in:
            (top / "etc/systemd/logind.conf.d/50.conf").write_text(drop_in)
        if seats:
            (top / "run/systemd/seats").mkdir(parents=True)
        (top / "var/lib/systemd/linger").mkdir(parents=True)
        if linger:
            (top / "var/lib/systemd/linger/ann").write_text("")
        config = types.SimpleNamespace(root=str(top / "store"))
        return types.SimpleNamespace(config=config), str(top)

    return make


@pytest.mark.parametrize(
    ("cgroup", "conf", "drop_in", "warned"),
    [
        (MODERN, "[Login]\nKillUserProcesses=yes\n", None, True),
        (SESSION, "[Login]\nKillUserProcesses=yes\n", None, True),
        (MODERN, "[Login]\n#KillUserProcesses=no\n", None, False),
        (MODERN, "[Login]\n#KillUserProcesses=yes\n", None, True),
        (MODERN, "[Login]\n", None, True),
        (MODERN, "[Login]\nKillUserProcesses=yes\n", "[Login]\nKillUserProcesses=no\n", False),
        (SERVICE, "[Login]\nKillUserProcesses=no\n", None, True),
        (CRON, "[Login]\nKillUserProcesses=yes\n", None, False),
    ],
)
def test_who_is_warned(machine, cgroup, conf, drop_in, warned):
    engine, top = machine(cgroup, conf, drop_in)
    text = session.warning(engine, top=top)
    assert (text is not None) == warned
    if warned:
        assert "loginctl enable-linger ann" in text
        assert session.warning(engine, top=top) is None, "once is enough"


def test_not_without_logind(machine):
    engine, top = machine(SERVICE, seats=False)
    assert session.warning(engine, top=top) is None


def test_not_who_lingers(machine):
    engine, top = machine(SERVICE, linger=True)
    assert session.warning(engine, top=top) is None


def test_a_scope_of_the_users_manager_ends_with_it(machine):
    """systemd has taken the container out of a session that would have been left alone."""
    engine, top = machine(MODERN, "[Login]\nKillUserProcesses=no\n")
    scope = "/user.slice/user-1000.slice/user@1000.service/app.slice/rl-1.scope/container"
    assert "enable-linger ann" in session.warning(engine, scope, top)
