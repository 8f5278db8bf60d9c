"""``rl autostart``: containers that come back when the machine boots.

A unit of the user's systemd where that can be reached, else a line in the user's crontab;
either calls ``rl autostart --now``.
"""

import os
import subprocess

from rootless.engine import lifecycle, records, restart, session
from rootless.engine.start import rl_command
from rootless.errors import RlError

UNIT = "rl-autostart.service"
_MARK = "# rl autostart"
_PATIENCE = 60  # seconds for systemctl or crontab


class NoWay(RlError):
    """nothing on this machine starts programs of a user when it boots"""

    hint = ("this needs systemd with a user manager, or cron; where you have another way, "
            "let it call: rl autostart --now")


class Refused(RlError):
    """{0} failed: {1}"""

    hint = "rl autostart --now starts the containers at once"


def start_now(engine):
    """Start what is to run after a boot: a list of (name, error or None)."""
    items = [record for record in records.everything(engine) if wanted(engine, record)]

    def one(record):
        restart.start_one(engine, record)
        return record["name"]

    return lifecycle.each(items, one)


def wanted(engine, record):
    """Whether a container comes back after a boot: it was started once, its policy is
    ``always``, or ``unless-stopped`` and nobody has stopped it."""
    policy = record.get("restart")
    if "damaged" in record or policy not in ("always", "unless-stopped"):
        return False
    state = records.state(engine, record)
    if state["alive"] or not record.get("boot"):
        return False
    return policy == "always" or not (state["exit"] or {}).get("stopped")


# --- arranging it --------------------------------------------------------------------------


def enable(engine):
    """Arrange it: what was done and what is missing, as a list of lines."""
    command = _command(engine)
    if _has_manager(engine):
        return _enable_unit(engine, command)
    crontab = engine.program("crontab")
    if crontab is None:
        raise NoWay()
    lines = _crontab_lines(crontab)
    line = f"@reboot {_shell_words(command)} {_MARK}"
    _write_crontab(crontab, [*lines, line])
    told = ["a line in your crontab (see it with crontab -l) starts them when the machine boots"]
    if not _cron_runs():
        told.append("cron does not seem to run here: without it nothing will happen")
    return told


def disable(engine):
    """Undo what ``enable`` did, both ways: a list of lines."""
    told = []
    path = _unit_path(engine)
    if os.path.lexists(path):
        if _has_manager(engine):
            _call(engine.program("systemctl"), "--user", "disable", UNIT)
        else:
            _unlink(f"{os.path.dirname(path)}/default.target.wants/{UNIT}")
        _unlink(path)
        told.append(f"removed {path}")
    crontab = engine.program("crontab")
    if crontab is not None:
        before = _call(crontab, "-l", check=False)
        lines = _crontab_lines(crontab)
        if len(lines) != len(before.splitlines()):
            _write_crontab(crontab, lines)
            told.append("removed the line in your crontab")
    return told or ["there was nothing to remove"]


def _command(engine):
    """The words that the machine is to call: an installed rl, else this one."""
    program = engine.program("rl")
    config = engine.config
    if program is None:
        return [*rl_command(engine), "autostart", "--now"]
    return [program, f"--root={config.root}", "autostart", "--now"]


def _call(program, *words, input=None, check=True):
    """Run a program of the machine: what it printed. Raises Refused."""
    name = os.path.basename(program)
    try:
        done = subprocess.run(
            [program, *words], input=input, stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True, text=True, errors="surrogateescape", timeout=_PATIENCE,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(name, str(error)) from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise Refused(f"{name} {words[-1]}", said[-1])
    return done.stdout if done.returncode == 0 else ""


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# --- systemd -------------------------------------------------------------------------------


def _has_manager(engine):
    """Whether the user's systemd answers (systemctl(1), --user)."""
    systemctl = engine.program("systemctl")
    if systemctl is None:
        return False
    try:
        return bool(_call(systemctl, "--user", "show", "--property=Version").strip())
    except Refused:
        return False


def _unit_path(engine):
    base = engine.config.environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = f"{engine.config.home}/.config"
    return f"{base}/systemd/user/{UNIT}"


def _enable_unit(engine, command):
    path = _unit_path(engine)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(_unit(command))
    systemctl = engine.program("systemctl")
    _call(systemctl, "--user", "daemon-reload")
    _call(systemctl, "--user", "enable", UNIT)
    told = [f"the unit {UNIT} of your systemd starts them when the machine boots"]
    uid = os.geteuid()
    if uid and not session.lingers(uid):
        told.append("it waits for your first login until you type: loginctl enable-linger "
                    + session.user_name(uid))
    return told


def _unit(command):
    # The containers are in scopes of their own, or stay in the unit's cgroup.  When the machine
    # goes down their monitors get SIGTERM and stop them (docs/monitor.md): nobody has "stopped"
    # them then.
    return f"""\
[Unit]
Description=Containers of rl that restart always
Documentation=man:rl-autostart(1)

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={" ".join(map(_unit_word, command))}
TimeoutStartSec=infinity
TimeoutStopSec=90

[Install]
WantedBy=default.target
"""


def _unit_word(word):
    """A word of ExecStart= (systemd.service(5), "Command lines")."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"'


# --- cron ----------------------------------------------------------------------------------


def _crontab_lines(crontab):
    """The user's crontab without the line that is ours."""
    lines = _call(crontab, "-l", check=False).splitlines()
    return [line for line in lines if not line.rstrip().endswith(_MARK)]


def _write_crontab(crontab, lines):
    if lines:
        _call(crontab, "-", input="".join(f"{line}\n" for line in lines))
    else:
        _call(crontab, "-r")


def _shell_words(command):
    """For a line of crontab(5), where a percent sign is a newline."""
    import shlex

    return " ".join(map(shlex.quote, command)).replace("%", "\\%")


def _cron_runs():
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                    if file.read().strip() in ("cron", "crond", "fcron", "anacron", "bcron-start"):
                        return True
            except OSError:
                pass
    return False
