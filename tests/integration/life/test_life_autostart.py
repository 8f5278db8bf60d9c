"""rl autostart: which way it takes, and that it can be undone.

The machine's cron and systemd are stood in for by programs of the same names that keep
what they are given: nobody's crontab is touched, and no machine is restarted.
"""

import os
import shlex
import subprocess

import pytest

pytestmark = pytest.mark.integration

CRONTAB = """#!/bin/sh
file="$HOME/crontab"
case $1 in
    -l) [ -e "$file" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$file" ;;
    -r) rm "$file" ;;
    -) cat > "$file" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$HOME/systemctl"
[ "$2" = show ] && echo Version=252
exit 0
"""


@pytest.fixture
def programs(life, workdir):
    """A function: puts programs of these names first in PATH; gives env for rl."""
    os.mkdir(f"{workdir}/bin")
    os.mkdir(f"{workdir}/home")

    def install(**texts):
        for name, text in texts.items():
            with open(f"{workdir}/bin/{name}", "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(f"{workdir}/bin/{name}", 0o755)
        return {"PATH": f"{workdir}/bin:{life.rl.environment['PATH']}", "HOME": f"{workdir}/home",
                "XDG_CONFIG_HOME": f"{workdir}/home/.config"}  # fmt: skip

    return install


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_cron(life, programs, workdir):
    env = programs(crontab=CRONTAB, systemctl="#!/bin/sh\nexit 1\n")
    with open(f"{workdir}/home/crontab", "w", encoding="utf-8") as file:
        file.write("5 * * * * mine\n")
    assert "crontab" in life.ok("autostart", env=env).stdout
    life.ok("autostart", env=env)
    lines = read(f"{workdir}/home/crontab").splitlines()
    assert lines[0] == "5 * * * * mine" and len(lines) == 2, "once, however often it is called"
    assert lines[1].startswith("@reboot ") and "autostart --now" in lines[1]
    life.ok("create", "--name", "a", "--network", "none", "--restart", "always", life.image,
            "sleep", "1000")  # fmt: skip
    life.ok("start", "a")
    life.ok("stop", "-t", "0", "a")
    command = lines[1].removeprefix("@reboot ").replace("\\%", "%")
    subprocess.run(["/bin/sh", "-c", command], env=life.rl.environment, check=True)
    assert life.status("a") == "running", "what cron will run starts it"
    assert "removed" in life.ok("autostart", "--remove", env=env).stdout
    assert read(f"{workdir}/home/crontab") == "5 * * * * mine\n"
    assert "nothing" in life.ok("autostart", "--remove", env=env).stdout


def test_cron_without_a_crontab_before(life, programs, workdir):
    env = programs(crontab=CRONTAB, systemctl="#!/bin/sh\nexit 1\n")
    life.ok("autostart", env=env)
    life.ok("autostart", "--remove", env=env)
    assert not os.path.exists(f"{workdir}/home/crontab")


def test_systemd(life, programs, workdir):
    env = programs(crontab=CRONTAB, systemctl=SYSTEMCTL)
    said = life.ok("autostart", env=env).stdout
    assert "rl-autostart.service" in said and "enable-linger" in said
    path = f"{workdir}/home/.config/systemd/user/rl-autostart.service"
    (line,) = [line for line in read(path).splitlines() if line.startswith("ExecStart=")]
    assert shlex.split(line.removeprefix("ExecStart="))[-2:] == ["autostart", "--now"]
    assert "--user enable rl-autostart.service" in read(f"{workdir}/home/systemctl")
    assert not os.path.exists(f"{workdir}/home/crontab")
    life.ok("autostart", "--remove", env=env)
    assert not os.path.exists(path)
    assert "--user disable rl-autostart.service" in read(f"{workdir}/home/systemctl")


def test_neither(life, programs, workdir):
    env = programs(systemctl="#!/bin/sh\nexit 1\n", crontab="#!/bin/sh\necho broken >&2\nexit 3\n")
    life.fails("autostart", env=env, says="crontab - failed: broken")
    life.fails("autostart", "--now", "--remove", env=env, says="--now")
