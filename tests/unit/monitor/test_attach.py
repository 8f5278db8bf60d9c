"""The relay: pipes, a real terminal, job control, signals, and every way out."""

import json
import os
import shlex
import signal
import subprocess
import sys
import termios
import time

import pytest

from rootless.engine import attach
from support.command import TREE
from support.monitored import eventually
from support.terminal import Terminal

# A small `rl run`: a monitored program and the relay to it; says the outcome as JSON.
RUN = """
import json, os, sys
sys.path[:0] = [{tree!r}, {tree!r} + "/tests"]
from rootless.engine import attach
from support.monitored import Monitored
settings = json.loads(sys.argv[1])
box = Monitored(settings.pop("directory"), settings.pop("program"), **settings.pop("box", {{}}))
with open(box.base + "/monitor", "w") as file:
    file.write(str(box.pid))
try:
    ended = attach.relay(box.founder.socket, **settings)
    said = dict(ended.__dict__)
except attach.OutputFailed as error:
    said = dict(kind="error", text=str(error))
box.founder.close()
with open(box.base + "/outcome", "w") as file:
    json.dump(said, file)
"""


def command(directory, program, **settings):
    """argv of that small run."""
    settings = {"directory": directory, "program": program, **settings}
    return [sys.executable, "-c", RUN.format(tree=TREE), json.dumps(settings)]


def outcome(directory):
    """What the relay returned."""

    def read():
        try:
            with open(f"{directory}/outcome", encoding="utf-8") as file:
                return json.loads(file.read() or "null")
        except FileNotFoundError:
            return None

    return eventually(read, "the outcome")


def number_in(directory, name):
    def read():
        try:
            with open(f"{directory}/{name}", encoding="ascii") as file:
                return int(file.read() or 0)
        except FileNotFoundError:
            return 0

    return eventually(read, name)


def ended(pid):
    """Whether a process is gone, or waits for nothing but being reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def end_container(directory):
    """End what a relay left behind (its parent is gone, so this reaps nothing)."""
    try:
        os.kill(number_in(directory, "pid"), signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(directory, program, data=b"", **settings):
    """Run with pipes: (outcome, stdout, stderr)."""
    done = subprocess.run(
        command(directory, program, **settings), input=data, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return outcome(directory), done.stdout, done.stderr


def in_terminal(directory, program, **settings):
    settings.setdefault("box", {"stdio": "tty"})
    argv = command(directory, program, tty=True, **settings)
    return Terminal(argv, {"PATH": os.environ["PATH"]}, directory)


def raw(terminal):
    return not terminal.attributes()[3] & termios.ICANON


# Detach keys


@pytest.mark.parametrize(
    "text, keys",
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("", b""),
        ("a", b"a"),
        ("a,ctrl-A,Z", b"a\x01Z"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\0\x1b\x1c\x1d\x1e\x1f"),
    ],
)
def test_detach_keys(text, keys):
    assert attach.parse_detach_keys(text) == keys


@pytest.mark.parametrize(
    "text", ["ctrl-", "ctrl-pp", "ctrl-1", "ab", "a,,b", "é", "ctrl-é", "shift-a"]
)
def test_bad_detach_keys(text):
    with pytest.raises(attach.BadDetachKeys, match="is not a key"):
        attach.parse_detach_keys(text)


@pytest.mark.parametrize(
    "pieces, passed, detached",
    [
        ([b"abc"], b"abc", False),
        ([b"ab\x10\x11cd"], b"ab", True),
        ([b"ab\x10", b"\x11"], b"ab", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x10", b"\x10", b"\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
        ([b"\x10", b""], b"", False),
    ],
)
def test_the_detach_sequence_is_found(pieces, passed, detached):
    found = attach.DetachFilter(b"\x10\x11")
    got = b""
    for piece in pieces:
        more, done = found.feed(piece)
        got += more
    assert (got, done) == (passed, detached)


def test_a_sequence_that_begins_like_itself():
    found = attach.DetachFilter(b"aab")
    assert found.feed(b"aa") == (b"", False)
    assert found.feed(b"a") == (b"a", False)
    assert found.feed(b"b") == (b"", True)


def test_no_sequence():
    assert attach.DetachFilter(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


# Pipes


def test_pipes(workdir):
    data = bytes(range(256)) * 8000
    ended, out, err = run(workdir, ["sh", "-c", "cat; echo error >&2; exit 3"], data)
    assert (ended["kind"], ended["code"], ended["signal"]) == ("exit", 3, 0)
    assert (out, err) == (data, b"error\n")


def test_the_detach_keys_are_data_in_a_pipe(workdir):
    ended, out, _ = run(workdir, ["cat"], b"a\x10\x11b")
    assert (ended["kind"], out) == ("exit", b"a\x10\x11b")


def test_input_that_nobody_reads(workdir):
    ended, _, _ = run(workdir, ["sh", "-c", "exit 4"], bytes(1000000))
    assert (ended["kind"], ended["code"]) == ("exit", 4)


def test_without_stdin(workdir):
    ended, out, _ = run(workdir, ["cat"], b"not this", stdin=False, box={"stdin": False})
    assert (ended["kind"], ended["code"], out) == ("exit", 0, b"")


def test_a_signal_is_told(workdir):
    ended, _, _ = run(workdir, ["sh", "-c", "kill -9 $$"])
    assert (ended["kind"], ended["code"], ended["signal"]) == ("exit", 137, 9)


def test_a_launch_error(workdir):
    ended, _, _ = run(workdir, ["/none"])
    assert (ended["kind"], ended["code"], ended["error"]["step"]) == ("failed", 127, "execve")
    assert "No such file" in ended["error"]["text"]


def test_launch_errors_are_read_with_care():
    assert attach.launch_error(b'{"text": "a", "step": "b"}') == {"text": "a", "step": "b"}
    assert attach.launch_error(b"plain \xff") == {"text": "plain \ufffd"}
    assert attach.launch_error(b"[1]") == {"text": "[1]"}
    assert attach.launch_error(b'{"text": 5}') == {"text": '{"text": 5}'}
    assert "killed" in attach.launch_error(b"")["text"]


def test_the_monitor_is_killed(workdir):
    process = subprocess.Popen(command(workdir, ["sleep", "1000"]), stdin=subprocess.DEVNULL)
    eventually(lambda: os.path.exists(f"{workdir}/run/started"))
    os.kill(number_in(workdir, "monitor"), signal.SIGKILL)
    assert outcome(workdir)["kind"] == "lost"
    process.wait()
    end_container(workdir)


def test_output_that_nobody_reads(workdir):
    with subprocess.Popen(
        command(workdir, ["sh", "-c", "yes; exec sleep 1000"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert outcome(workdir)["kind"] == "closed"
        assert os.path.exists(f"/proc/{number_in(workdir, 'pid')}")
        end_container(workdir)


def test_output_to_a_full_disk(workdir):
    with open("/dev/full", "wb") as full:
        subprocess.run(command(workdir, ["sh", "-c", "echo x; exec sleep 1000"]), stdout=full,
                       stdin=subprocess.DEVNULL, check=True, timeout=60)  # fmt: skip
    ended = outcome(workdir)
    assert ended["kind"] == "error" and "No space left" in ended["text"]
    end_container(workdir)


def test_a_non_blocking_output_loses_nothing(workdir):
    read, write = os.pipe()
    os.set_blocking(write, False)
    process = subprocess.Popen(
        command(workdir, ["sh", "-c", "yes | head -c 1000000"]), stdin=subprocess.DEVNULL,
        stdout=write,
    )  # fmt: skip
    os.close(write)
    time.sleep(0.3)
    got = b""
    while data := os.read(read, 100000):
        got += data
    os.close(read)
    assert process.wait() == 0
    assert got == b"y\n" * 500000


@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 14, 15])
def test_signals_are_proxied(workdir, number):
    script = f"trap 'echo got; exit 6' {number}; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(
        command(workdir, ["sh", "-c", script]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"got\n"
        assert process.wait() == 0
    ended = outcome(workdir)
    assert (ended["code"], ended["stopped"]) == (6, number in (1, 2, 3, 15))


def test_signals_are_not_proxied(workdir):
    program = ["sh", "-c", "echo ready; exec cat"]
    with subprocess.Popen(
        command(workdir, program, sig_proxy=False, stdin=False), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
    # The container's stdin ends with the client that had it.
    eventually(lambda: ended(number_in(workdir, "monitor")))


def test_a_signal_while_the_output_is_stuck(workdir):
    script = "trap 'exit 6' TERM; yes & while :; do sleep 0.01; done"
    process = subprocess.Popen(
        command(workdir, ["sh", "-c", script], box={"attach": 3}), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.read(10)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    while process.stdout.read(1 << 16):
        pass
    process.stdout.close()
    process.wait()
    assert outcome(workdir)["code"] == 6


def test_job_control_without_a_terminal_is_the_callers(workdir):
    # The kernel stops nobody whose group has no parent left to let it go on; ours may be one.
    process = subprocess.Popen(command(workdir, ["cat"]), stdin=subprocess.PIPE,
                               preexec_fn=os.setpgrp)  # fmt: skip
    number_in(workdir, "monitor")
    process.send_signal(signal.SIGTSTP)
    os.waitpid(process.pid, os.WUNTRACED)
    process.send_signal(signal.SIGCONT)
    process.stdin.close()
    assert process.wait() == 0
    assert outcome(workdir)["code"] == 0


# A terminal


def test_a_terminal_session(workdir):
    with in_terminal(workdir, ["sh", "-c", "stty size; read x; echo got $x; exit 7"]) as terminal:
        terminal.expect(r"\d+ \d+\r\n")
        assert raw(terminal)
        terminal.send("hello\r")
        # Once: our own terminal doesn't echo as well.
        terminal.expect("hello\r\ngot hello\r\n")
        assert terminal.wait() == 0
        assert not raw(terminal)
        assert terminal.seen.count(b"hello") == 2
    assert outcome(workdir)["code"] == 7


def test_the_size_is_ours_from_the_start_and_follows(workdir):
    program = ["sh", "-c", "read x; stty size; read x; stty size"]
    with in_terminal(workdir, program) as terminal:
        eventually(lambda: raw(terminal))
        terminal.send("\r")
        terminal.expect("24 80\r\n")
        terminal.resize(33, 99)
        time.sleep(0.1)
        terminal.send("\r")
        terminal.expect("33 99\r\n")
        terminal.wait()


def test_interrupt_reaches_the_container(workdir):
    script = "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done"
    with in_terminal(workdir, ["sh", "-c", script]) as terminal:
        terminal.expect("ready")
        terminal.send("\x03")
        terminal.expect("interrupted")
        terminal.wait()
    assert outcome(workdir)["code"] == 5


def test_suspend_reaches_the_container(workdir):
    with in_terminal(workdir, ["sh", "-i"]) as terminal:
        # It says itself that it is in the foreground; what is typed reads otherwise.
        terminal.send("sh -c 'echo be\"\"gun; exec sleep 1000'\r")
        terminal.expect("begun\r\n")
        terminal.send("\x1a")
        terminal.expect("Stopped")
        assert raw(terminal)
        terminal.send("kill %1\r")
        terminal.send("exit 0\r")
        terminal.send("exit 0\r")
        terminal.wait()


def test_detaching(workdir):
    with in_terminal(workdir, ["sh", "-c", "echo ready; cat"]) as terminal:
        terminal.expect("ready")
        terminal.send("typed\x10")
        terminal.send("\x11")
        assert terminal.wait() == 0
        assert not raw(terminal)
    assert outcome(workdir)["kind"] == "detached"
    assert os.path.exists(f"/proc/{number_in(workdir, 'pid')}")
    end_container(workdir)


def test_detaching_by_other_keys(workdir):
    with in_terminal(workdir, ["sh", "-c", "echo ready; cat"], detach_keys="x,ctrl-y") as terminal:
        terminal.expect("ready")
        terminal.send("\x10\x11x")
        terminal.send("\x19")
        terminal.wait()
    assert outcome(workdir)["kind"] == "detached"
    end_container(workdir)


@pytest.mark.parametrize("proxy", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3, 15])
def test_the_terminal_is_restored_when_a_signal_ends_us(workdir, number, proxy):
    program = ["sh", "-c", "echo ready; exec sleep 1000"]
    with in_terminal(workdir, program, sig_proxy=proxy) as terminal:
        terminal.expect("ready")
        assert raw(terminal)
        os.kill(terminal.pid, number)
        code = terminal.wait()
        assert not raw(terminal)
    if proxy:
        assert code == 0 and outcome(workdir)["signal"] == number
    else:
        assert code == -number
        end_container(workdir)


def test_stopped_from_elsewhere_and_continued(workdir):
    # A shell with job control, as a person has one, which keeps our process group from being
    # an orphaned one: those can't be stopped.
    program = ["sh", "-c", "echo ready; read x; stty size"]
    argv = command(workdir, program, tty=True, box={"stdio": "tty"})
    script = f"{shlex.join(argv)}; echo suspended; read line; fg >/dev/null; echo over"
    shell = ["/bin/bash", "-m", "-c", script]
    with Terminal(shell, {"PATH": os.environ["PATH"]}, workdir) as terminal:
        terminal.expect("ready")
        assert raw(terminal)
        os.kill(os.tcgetpgrp(terminal.master), signal.SIGTSTP)
        terminal.expect("suspended")
        assert not raw(terminal)
        terminal.resize(12, 34)
        terminal.send("\n")
        eventually(lambda: raw(terminal))
        terminal.send("\r")
        terminal.expect("12 34")
        terminal.expect("over")
        assert not raw(terminal)
        terminal.wait()


def test_continued_in_another_mode(workdir):
    with in_terminal(workdir, ["sh", "-c", "echo ready; read x"]) as terminal:
        terminal.expect("ready")
        os.kill(terminal.pid, signal.SIGSTOP)
        os.waitpid(terminal.pid, os.WUNTRACED)
        now = terminal.attributes()
        now[3] |= termios.ICANON | termios.ECHO
        termios.tcsetattr(terminal.master, termios.TCSANOW, now)
        os.kill(terminal.pid, signal.SIGCONT)
        eventually(lambda: raw(terminal))
        terminal.send("\r")
        terminal.wait()
        assert not raw(terminal)


def test_hanging_up(workdir):
    script = "trap 'exit 0' HUP; echo ready; while :; do sleep 0.01; done"
    # Its SIGHUP is the terminal's word passed on: the container's own terminal stays.
    terminal = in_terminal(workdir, ["sh", "-c", script])
    terminal.expect("ready")
    terminal.close()
    ended_by = outcome(workdir)
    assert ended_by["kind"] in ("detached", "exit"), ended_by
    eventually(lambda: ended(number_in(workdir, "monitor")))


def test_a_container_terminal_without_one_here(workdir):
    ended, out, _ = run(workdir, ["sh", "-c", "read x; echo got $x"], b"line\n", tty=True,
                        box={"stdio": "tty"})  # fmt: skip
    assert (ended["kind"], ended["code"]) == ("exit", 0)
    assert out == b"line\r\ngot line\r\n"


def test_the_handlers_are_put_back(workdir):
    def mark(_number, _frame):
        pass

    from support.monitored import Monitored

    before = signal.signal(signal.SIGUSR1, mark)
    try:
        with Monitored(workdir, ["true"]) as box:
            ended = attach.relay(box.founder.socket, stdin=False)
            box.wait()
        assert ended.kind == "exit"
        assert signal.getsignal(signal.SIGUSR1) is mark
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_imported():
    code = (
        f"import sys; sys.path.insert(0, {TREE!r}); before = set(sys.modules)\n"
        "import rootless.engine.attach\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"signal", "socket", "selectors", "enum", "re", "json", "tty", "pty", "subprocess"}
    assert not heavy & set(done.stdout.split())
