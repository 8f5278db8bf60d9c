"""``-t``: a real terminal inside, the user's outside."""

import os
import signal
import termios

import pytest

from support.monitored import eventually
from support.terminal import Terminal

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


def test_size_before_the_program_and_when_it_changes(box):
    script = "stty size; trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done"
    with box.rl.terminal(*box.words(["-it", "--name", "t"], ["sh", "-c", script]),
                         size=(31, 101)) as screen:
        screen.expect("31 101\r\n")
        screen.expect("ready")
        screen.resize(12, 34)
        screen.expect("12 34\r\n")
        box.rl.ok("stop", "--time", "0", "t")
        assert screen.wait() == 137


def test_it_is_the_controlling_terminal(box):
    words = box.words(["-it"], ["sh", "-c", "tty; ls -l /dev/console; echo $TERM; cat"])
    with box.rl.terminal(*words) as screen:
        screen.expect("/dev/pts/0\r\n")
        screen.expect("136, +0 ")
        screen.expect("xterm\r\n")
        screen.send("typed\n")
        screen.expect("typed\r\ntyped\r\n")  # the container's echo, then cat's
        screen.send("\x04")
        assert screen.wait() == 0


def test_settings_come_back(box):
    with box.rl.terminal(*box.words(["-it"], ["sh", "-c", "echo ready; read x"])) as screen:
        before = screen.attributes()
        screen.expect("ready")
        assert not screen.attributes()[3] & termios.ICANON
        screen.send("\n")
        assert screen.wait() == 0
        assert screen.attributes() == before


@pytest.mark.parametrize("options, typed", [
    ((), b"\x10\x11"), (("--detach-keys", "ctrl-a,b"), b"\x01b"),
])  # fmt: skip
def test_detach_keys(box, options, typed):
    words = box.words(["-it", "--name", "d", *options], ["sh", "-c", "echo ready; exec cat"])
    with box.rl.terminal(*words) as screen:
        screen.expect("ready")
        screen.send(typed)
        assert screen.wait() == 0
    assert box.rl.ok("ps", "--format", "{{.Names}}").text == "d"
    with box.rl.terminal("attach", "d") as screen:
        screen.send("again\n")
        screen.expect("again\r\nagain\r\n")
        screen.send("\x04")
        assert screen.wait() == 0


def test_bad_detach_keys(box):
    box.fails("-it", "--detach-keys", "nokey,x", says="nokey")


def test_a_terminal_that_hangs_up(box):
    screen = box.rl.terminal(*box.words(["-it", "--name", "h"], ["sh", "-c", "echo ready; cat"]))
    with screen:
        screen.expect("ready")
    # The container goes on, as after the detach keys.
    assert box.rl.ok("ps", "--format", "{{.Names}}").text == "h"
    box.rl.ok("rm", "--force", "--time", "0", "h")


def test_t_without_a_terminal(box):
    """Output keeps the terminal's line ends; nothing is asked of a standard input."""
    result = box.rl.ok(*box.words(["-t"], ["sh", "-c", "test -t 0 && test -t 1 && echo yes"]))
    assert result.raw == b"yes\r\n"


def test_exec_with_a_terminal(box, running):
    name = running()
    with box.rl.terminal("exec", "-it", name, "sh", "-c", "tty; stty size; read x; echo got $x",
                         size=(20, 60)) as screen:
        screen.expect("/dev/pts/0\r\n")
        screen.expect("20 60\r\n")
        screen.send("it\n")
        screen.expect("got it\r\n")
        assert screen.wait() == 0


def test_exec_as_a_job_of_a_shell(box, running):
    """Stopped from outside it gives the terminal back, and takes it again."""
    words = " ".join(box.rl.words("exec", "-it", running(), "sh"))
    with Terminal(["/bin/bash", "--norc", "--noediting", "-i"],
                  {**box.rl.environment, "PS1": "outer> "}, box.rl.home) as screen:  # fmt: skip
        screen.expect("outer> ")
        before = screen.attributes()
        screen.send(f"{words}\n")
        screen.expect("# ")
        assert not screen.attributes()[3] & termios.ICANON
        os.kill(os.tcgetpgrp(screen.master), signal.SIGTSTP)
        screen.expect("outer> ")
        assert screen.attributes() == before
        screen.resize(17, 71)
        screen.send("fg\n")
        eventually(lambda: not screen.attributes()[3] & termios.ICANON)
        screen.send("stty size\r")
        screen.expect("17 71\r\n")
        screen.send("exit 0\r")
        screen.expect("outer> ")
        assert screen.attributes() == before
        screen.send("exit 0\n")
        screen.wait()


def test_a_hang_up_of_execs_terminal_is_heard_once(box, running):
    name = running()
    script = "trap 'echo hup >>/heard' HUP; echo ready; while :; do sleep 0.02; done"
    with box.rl.terminal("exec", "-it", name, "sh", "-c", script) as screen:
        screen.expect("ready")
    heard = lambda: box.rl("exec", name, "cat", "/heard").stdout  # noqa: E731
    eventually(lambda: heard() == "hup\n")
    # The program chose to go on.
    assert script in box.rl.ok("exec", name, "ps", "-o", "args").stdout
    assert heard() == "hup\n"


def test_a_hang_up_ends_a_shell_of_exec(box, running):
    name = running()
    with box.rl.terminal("exec", "-it", name, "sh") as screen:
        screen.expect("# ")
    left = lambda: box.rl.ok("exec", name, "ps", "-o", "comm").lines[1:]  # noqa: E731
    eventually(lambda: sorted(left()) == ["ps", "sleep"])


def test_console_belongs_to_the_user_that_runs(box):
    words = box.words(["-t"], ["sh", "-c", "stat -c %u /dev/console; stat -c %u /dev/pts/0; id -u"])
    lines = box.rl.ok(*words).text.split()
    assert len(set(lines)) == 1, lines


def test_ctrl_c_is_the_programs(box):
    script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.02; done"
    with box.rl.terminal(*box.words(["-it"], ["sh", "-c", script])) as screen:
        screen.expect("ready")
        screen.send("\x03")
        screen.expect("interrupted")
        assert screen.wait() == 9
