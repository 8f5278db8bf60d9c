"""The container init: forwards, reaps, ends as its command did."""

import ctypes
import os
import re
import signal
import subprocess
import sys

import pytest

from rootless import helpers_dir
from support.monitored import eventually
from support.terminal import Terminal
from support.tools import find

INIT = os.path.join(helpers_dir(), "init")


def init(*words, **how):
    return subprocess.run([INIT, *words], capture_output=True, timeout=20, check=False, **how)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_code(code):
    assert init("sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [1, 6, 9, 11, 15])
def test_a_signals_code(number):
    assert init("sh", "-c", f"kill -{number} $$").returncode == 128 + number


def test_usage():
    for words in ((), ("--",)):
        done = init(*words)
        assert done.returncode == 125 and done.stderr.startswith(b"usage: ")


def test_the_word_behind_two_dashes_is_the_command():
    assert init("--", "sh", "-c", 'echo "$1"', "x", "--").stdout == b"--\n"


def test_stdio_and_environment_are_the_commands():
    done = init("sh", "-c", "cat; echo $COLOUR >&2", input=b"hello", env={"COLOUR": "red"})
    assert (done.stdout, done.stderr) == (b"hello", b"red\n")


def test_what_cannot_be_executed(workdir):
    plain, broken = f"{workdir}/plain", f"{workdir}/broken"
    for path, mode in ((plain, 0o644), (broken, 0o755)):
        with open(path, "w", encoding="ascii") as file:
            file.write("\0 not a program")
        os.chmod(path, mode)
    for command, code, words in (
        ("/none", 127, "no such program"),
        ("none", 127, "no such program"),
        ("", 127, "no such program"),
        (f"{plain}/below", 127, "no such program"),
        (workdir, 126, "no permission"),
        (broken, 126, "not a program"),
    ):
        done = init(command)
        assert (command, done.returncode) == (command, code)
        assert re.fullmatch(rf"rl-init: {re.escape(command)}: {words}.*\n", done.stderr.decode())
    if os.geteuid() != 0:
        assert init(plain).returncode == 126


def test_the_path_is_searched(workdir):
    for name, mode in (("one", 0o644), ("two", 0o755)):
        os.mkdir(f"{workdir}/{name}")
        with open(f"{workdir}/{name}/prog", "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\necho {name}\n")
        os.chmod(f"{workdir}/{name}/prog", mode)
    one, two = f"{workdir}/one", f"{workdir}/two"
    assert init("prog", env={"PATH": f"/none:{'x' * 5000}:{one}:{two}"}).stdout == b"two\n"
    assert init("prog", env={"PATH": f"{one}/prog:{one}"}).returncode == 126
    assert init("prog", env={"PATH": f":{one}"}, cwd=two).stdout == b"two\n"
    assert init("sh", "-c", "echo found", env={}).stdout == b"found\n"
    assert init("sh", env={"PATH": ""}).returncode == 127


FORWARDED = sorted(set(range(1, 65)) - {9, 19, 17, 32, 33, 11, 7, 8, 4, 5, 31, 18, 20, 21, 22})


def test_signals_are_forwarded():
    code = (
        "import os, signal, sys\n"
        f"numbers = {FORWARDED}\n"
        "for number in numbers:\n"
        "    signal.signal(number, lambda n, f: os.write(1, b'%d\\n' % n))\n"
        # A print that the first signal interrupts could not print again.
        "os.write(1, b'ready\\n')\n"
        "while True: signal.pause()\n"
    )
    with subprocess.Popen(
        [INIT, sys.executable, "-S", "-c", code], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        for number in FORWARDED:
            process.send_signal(number)
            assert process.stdout.readline() == b"%d\n" % number
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        assert process.wait() == 137


def test_stop_and_continue_are_forwarded():
    with subprocess.Popen([INIT, "sleep", "1000"]) as process:
        children = f"/proc/{process.pid}/task/{process.pid}/children"

        def child_state():
            with open(children, encoding="ascii") as file:
                pid = file.read().split()
            if not pid:
                return ""
            with open(f"/proc/{pid[0]}/stat", encoding="ascii") as file:
                name, state = file.read().rsplit(")", 1)
            return state.split()[0] if name.endswith("(sleep") else ""

        eventually(lambda: child_state() == "S")
        process.send_signal(signal.SIGTSTP)
        eventually(lambda: child_state() == "T")
        process.send_signal(signal.SIGCONT)
        eventually(lambda: child_state() == "S")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + 15


def test_orphans_are_reaped():
    script = "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; echo done; read line"

    def adopt():
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # as pid 1 it would adopt them anyway

    with subprocess.Popen(
        [INIT, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=adopt,
    ) as process:
        assert process.stdout.readline() == b"done\n"

        def one_child():
            path = f"/proc/{process.pid}/task/{process.pid}/children"
            with open(path, encoding="ascii") as file:
                return len(file.read().split()) == 1

        eventually(one_child, "reaping")
        process.stdin.close()
        assert process.wait() == 1  # read at its end


def test_it_does_not_wait_for_orphans():
    script = "(sleep 1000 & echo $!); exit 3"
    with subprocess.Popen([INIT, "sh", "-c", script], stdout=subprocess.PIPE) as process:
        orphan = int(process.stdout.readline())
        assert process.wait() == 3
    os.kill(orphan, signal.SIGKILL)


def test_a_caller_that_ignores_children():
    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    assert init("sh", "-c", "exit 9", preexec_fn=ignore).returncode == 9


def test_as_pid_1_of_a_namespace():
    unshare = [find("unshare"), "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    script = "(sleep 1000 &); [ $$ != 1 ] && read pid _ </proc/self/stat; kill -TERM $$"
    done = subprocess.run(
        [*unshare, INIT, "sh", "-c", script], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 143


def test_the_terminals_keys_reach_the_command(workdir):
    script = "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done"
    with Terminal([INIT, "sh", "-c", script], {"PATH": os.environ["PATH"]}, workdir) as terminal:
        terminal.expect("ready")
        terminal.send("\x03")
        terminal.expect("interrupted")
        assert terminal.wait() == 5


def test_an_interactive_shell_has_job_control(workdir):
    with Terminal([INIT, "sh", "-i"], {"PATH": os.environ["PATH"], "PS1": "$ "}, workdir) as shell:
        shell.expect(r"\$ ")
        shell.send("sleep 1000\n")
        shell.expect("sleep 1000\r\n")
        eventually(lambda: foreground(shell) == "sleep")
        shell.send("\x1a")
        shell.expect("Stopped")
        shell.send("kill %1; exit 4\n")
        shell.send("exit 4\n")  # a shell with stopped jobs wants to be asked twice
        assert shell.wait() == 4
        assert b"job control" not in shell.seen


def foreground(terminal):
    """The name of the program in the foreground of a terminal."""
    try:
        with open(f"/proc/{os.tcgetpgrp(terminal.master)}/comm", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ProcessLookupError):
        return None


@pytest.mark.parametrize("name, most", [("init", 4096), ("hello", 4096), ("monitor", 49152)])
def test_size(name, most):
    path = os.path.join(helpers_dir(), name)
    assert os.path.getsize(path) <= most
    with open(path, "rb") as file:
        head = file.read(most)
    assert head[:4] == b"\x7fELF" and b"/lib64/ld-linux" not in head


def test_hello_says_what_is_true():
    hello = os.path.join(helpers_dir(), "hello")
    done = subprocess.run([hello], capture_output=True, text=True, check=True)
    assert "Hello from rl!" in done.stdout and "rl run" in done.stdout
    assert all(len(line) <= 90 for line in done.stdout.splitlines())
    assert "uid_map" not in done.stdout
    unshare = [find("unshare"), "--user", "--map-root-user"]
    done = subprocess.run([*unshare, hello], capture_output=True, text=True, check=True)
    assert ("id 0 here is id" in done.stdout) == (os.geteuid() != 0)
    if os.geteuid() != 0:
        assert f"is id {os.geteuid()} " in done.stdout


def test_hello_notices_a_closed_output():
    hello = os.path.join(helpers_dir(), "hello")
    with open("/dev/full", "wb") as full:
        assert subprocess.run([hello], stdout=full, check=False).returncode == 1
