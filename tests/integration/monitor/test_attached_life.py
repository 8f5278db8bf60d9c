"""The monitor, the relay and the init in real containers, from the user's side."""

import glob
import json
import os
import random
import re
import signal
import termios
import time

import pytest

from support.monitored import eventually
from support.terminal import Terminal

pytestmark = pytest.mark.integration

NET = ("--network", "none")
BUSYBOX = "localhost/busybox:latest"


@pytest.fixture
def box(rl, busybox):
    """rl with busybox in its store."""
    return rl


def container_dir(rl):
    (found,) = glob.glob(f"{rl.root}/containers/????????*")
    return found


def only_id(rl):
    return os.path.basename(container_dir(rl))


def monitor_of(container_id):
    """(pid of the monitor, pid of the container's pid 1)."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                words = file.read().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if f"id={container_id}" in words:
            named = dict(word.partition("=")[::2] for word in words)
            return int(path.split("/")[2]), int(named["pid"])
    raise AssertionError(f"{container_id} has no monitor")


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def raw(terminal):
    return not terminal.attributes()[3] & termios.ICANON


def interactive(rl, *words, **how):
    return rl.terminal("run", "-it", "--rm", *NET, *words, **how)


# A terminal


def test_a_shell_at_a_terminal(box):
    with interactive(box, BUSYBOX, "sh", size=(31, 97)) as terminal:
        terminal.expect("# ")
        assert raw(terminal)
        terminal.send("stty size; echo $((6*7))\r")
        terminal.expect("31 97\r\n42\r\n")
        terminal.resize(40, 100)
        terminal.send("stty size\r")
        terminal.expect("40 100\r\n")
        terminal.send("exit 9\r")
        assert terminal.wait() == 9
        assert not raw(terminal)


def test_the_size_is_known_before_the_program_starts(box):
    with interactive(box, BUSYBOX, "stty", "size", size=(17, 66)) as terminal:
        terminal.expect("17 66\r\n")
        assert terminal.wait() == 0


def test_keys_reach_the_container(box):
    with interactive(box, BUSYBOX, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("sleep 1000\r")
        terminal.expect("sleep 1000\r\n")
        eventually(lambda: "sleep 1000" in box.ok("top", "-l", "args").stdout)
        terminal.send("\x03")
        terminal.expect("# ")
        terminal.send("cat\r")
        terminal.expect("cat\r\n")
        eventually(lambda: "cat" in box.ok("top", "-l", "args").lines)
        terminal.send("\x1a")
        terminal.expect("Stopped")
        terminal.send("kill %1; echo done\r")
        terminal.expect("\ndone\r\n")
        terminal.send("exit\r")
        terminal.send("exit\r")
        terminal.wait()


def test_much_output_at_a_terminal(box):
    with interactive(box, BUSYBOX, "seq", "50000") as terminal:
        assert terminal.wait(60) == 0
        assert terminal.seen == b"".join(b"%d\r\n" % n for n in range(1, 50001))


def test_detach_and_attach_again(box):
    with box.terminal("run", "-it", "--name", "shell", *NET, BUSYBOX, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("x=kept\r")
        terminal.expect("# ")
        terminal.send("\x10\x11")
        assert terminal.wait() == 0
        assert not raw(terminal)
    assert box.ok("ps", "--format", "{{.Names}}").text == "shell"
    with box.terminal("attach", "shell", size=(20, 70)) as terminal:
        eventually(lambda: raw(terminal))
        terminal.send("echo $x; stty size\r")
        terminal.expect("kept\r\n")
        terminal.expect("20 70\r\n")
        terminal.send("exit 3\r")
        assert terminal.wait() == 3
        assert not raw(terminal)
    assert "kept" in box.ok("logs", "shell").stdout


def test_other_detach_keys(box):
    with box.terminal("run", "-it", "--detach-keys", "ctrl-a,d", *NET, BUSYBOX, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("echo \x10\x11 here\r")
        terminal.expect("here\r\n")
        terminal.send("\x01d")
        assert terminal.wait() == 0
    assert len(box.ok("ps", "-q").lines) == 1


def test_a_shell_keeps_its_own_job_control(box, tmp_path):
    # rl as one job of an interactive shell: stopped and continued from outside.
    words = " ".join(box.words("run", "-it", "--rm", *NET, BUSYBOX, "sh"))
    argv = ["/bin/bash", "--norc", "--noediting", "-i"]
    environment = {**box.environment, "PS1": "outer> "}
    with Terminal(argv, environment, box.home) as terminal:
        terminal.expect("outer> ")
        terminal.send(f"{words}\n")
        terminal.expect("# ")
        assert raw(terminal)
        os.kill(os.tcgetpgrp(terminal.master), signal.SIGTSTP)
        terminal.expect("outer> ")
        assert not raw(terminal)
        terminal.send("fg\n")
        eventually(lambda: raw(terminal))
        terminal.send("echo inner $((1+1))\r")
        terminal.expect("inner 2\r\n")
        terminal.send("exit 0\r")
        terminal.expect("outer> ")
        assert not raw(terminal)
        terminal.send("exit 0\n")
        terminal.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_terminal_after_a_signal(box, number):
    with box.terminal("run", "-it", "--name", "t", *NET, BUSYBOX, "sh", "-c",
                      "trap 'exit 5' HUP TERM; echo ready; while :; do sleep 0.05; done"
                      ) as terminal:  # fmt: skip
        terminal.expect("ready")
        os.kill(terminal.pid, number)
        code = terminal.wait()
        if number == signal.SIGKILL:
            assert code == -9
            assert box.ok("ps", "--format", "{{.Names}}").text == "t"
        else:
            assert code == 5
            assert not raw(terminal)


def test_hanging_up_ends_the_shell(box):
    # Below init, because a shell that is pid 1 is deaf to SIGHUP.
    terminal = interactive(box, "--init", "--name", "gone", BUSYBOX, "sh")
    terminal.expect("# ")
    terminal.close()
    eventually(lambda: not box.ok("ps", "-a", "-q").lines, "removing the container")


# Pipes


def test_binary_data_through_a_container(box):
    data = random.Random(7).randbytes(3000000)
    result = box("run", "-i", "--rm", *NET, BUSYBOX, "cat", input=data)
    assert (result.code, result.raw, result.stderr) == (0, data, "")


def test_both_streams_and_the_code(box):
    script = "head -c 1000000 /dev/zero; head -c 500000 /dev/zero >&2; exit 77"
    result = box("run", "--rm", *NET, BUSYBOX, "sh", "-c", script)
    assert (result.code, len(result.raw), len(result.stderr)) == (77, 1000000, 500000)


def test_input_without_i_is_empty(box):
    result = box.ok("run", "--rm", *NET, BUSYBOX, "cat", input="not this")
    assert result.stdout == ""


def test_a_reader_that_leaves(box):
    process = box.start("run", "--name", "talker", *NET, BUSYBOX, "yes")
    assert process.stdout.read(4) == b"y\ny\n"
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == 141
    assert box.ok("ps", "--format", "{{.Names}}").text == "talker"


def test_a_slow_reader_gets_everything(box):
    process = box.start("run", "--rm", *NET, BUSYBOX, "sh", "-c", "yes | head -c 2000000")
    time.sleep(0.5)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, b"y\n" * 1000000, b"")


# Who is killed when


def test_killing_the_monitor_kills_the_container(box):
    box.ok("run", "-d", "--name", "c", *NET, BUSYBOX, "sleep", "1000")
    monitor, program = monitor_of(only_id(box))
    os.kill(monitor, signal.SIGKILL)
    eventually(lambda: gone(program), "the container's end")


def test_killing_the_monitor_of_an_attached_run_is_told(box):
    process = box.start("run", "--name", "c", *NET, BUSYBOX, "sh", "-c", "echo x; sleep 1000")
    assert process.stdout.readline() == b"x\n"
    monitor, program = monitor_of(only_id(box))
    os.kill(monitor, signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 125
    assert b"exit code is unknown" in errors
    eventually(lambda: gone(program), "the container's end")


def test_killing_rl_leaves_the_container(box):
    script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"
    process = box.start("run", "--name", "c", *NET, BUSYBOX, "sh", "-c", script)
    assert process.stdout.readline() == b"line 1\n"
    process.kill()
    process.communicate()
    before = len(box.ok("logs", "c").lines)
    eventually(lambda: len(box.ok("logs", "c").lines) > before + 5, "more output")
    lines = box.ok("logs", "c").lines
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]


def test_killing_the_container_is_its_end(box):
    box.ok("run", "-d", "--name", "c", *NET, BUSYBOX, "sleep", "1000")
    monitor, program = monitor_of(only_id(box))
    os.kill(program, signal.SIGKILL)
    assert box.ok("wait", "c").text == "137"
    eventually(lambda: gone(monitor))


def test_quick_containers_with_rm_vanish(box):
    for _ in range(5):
        box.ok("run", "-d", "--rm", *NET, BUSYBOX, "true")
    eventually(lambda: not box.ok("ps", "-a", "-q").lines, "removing them")


# What stays resident, what leaks


def test_what_an_idle_container_costs(box):
    for name in ("one", "two"):
        box.ok("run", "-d", "--name", name, *NET, BUSYBOX, "sleep", "1000")
    sizes = []
    for path in glob.glob(f"{box.root}/containers/????????*"):
        monitor, _ = monitor_of(os.path.basename(path))
        with open(f"/proc/{monitor}/smaps_rollup", encoding="ascii") as file:
            found = dict(re.findall(r"^(\w+): +(\d+) kB", file.read(), re.MULTILINE))
        sizes.append({key: int(value) for key, value in found.items()})
    assert len(sizes) == 2
    for size in sizes:
        assert size["Rss"] <= 800
        assert size["Private_Dirty"] + size["Private_Clean"] <= 100


def test_no_descriptor_reaches_the_container(box):
    script = "for fd in /proc/$$/fd/*; do readlink $fd || true; done"
    found = box.ok("run", "--rm", *NET, BUSYBOX, "sh", "-c", script).lines
    assert len(found) == 3
    assert all(re.fullmatch(r"pipe:\[\d+\]|(/dev)?/null", line) for line in found)


def test_the_monitor_is_not_in_the_container(box):
    box.ok("run", "-d", "--name", "c", *NET, BUSYBOX, "sleep", "1000")
    listed = box.ok("exec", "c", "ps", "-o", "pid,args").stdout
    assert "monitor" not in listed and "sleep 1000" in listed


# --init


def test_init_is_pid_1_and_reaps(box):
    script = "(sleep 0 &) ; sleep 0.2; ps -o pid,ppid,stat,args; exit 12"
    result = box("run", "--rm", "--init", *NET, BUSYBOX, "sh", "-c", script)
    assert result.code == 12, repr(result)
    processes = [line.split(None, 3) for line in result.lines[1:]]
    assert processes[0][:2] == ["1", "0"] and "init" in processes[0][3]
    assert not any("Z" in stat for _, _, stat, _ in processes)


def test_signals_with_and_without_init(box):
    # A program without a handler is deaf as pid 1; below init it isn't.
    process = box.start("run", "--rm", "--init", "--name", "c", *NET, BUSYBOX, "sh", "-c",
                        "echo ready; exec sleep 1000")  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130


def test_what_init_cannot_execute(box):
    result = box("run", "--rm", "--init", *NET, BUSYBOX, "/no/such/program")
    assert result.code == 127 and "/no/such/program" in result.stderr


def test_a_shell_below_init_has_job_control(box):
    with interactive(box, "--init", BUSYBOX, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("sleep 1000\r")
        terminal.expect("sleep 1000\r\n")
        eventually(lambda: "sleep 1000" in box.ok("top", "-l", "args").stdout)
        terminal.send("\x1a")
        terminal.expect("Stopped")
        terminal.send("kill %1; exit 4\r")
        terminal.send("exit 4\r")
        assert terminal.wait() == 4
        assert b"job control" not in terminal.seen and b"can't access tty" not in terminal.seen


# The record


def test_the_record_of_an_end(box):
    box("run", "--name", "c", *NET, BUSYBOX, "sh", "-c", "exit 6")
    with open(f"{container_dir(box)}/exit", encoding="ascii") as file:
        record = json.load(file)
    assert (record["code"], record["signal"], record["oom"]) == (6, 0, False)
    assert record["started"] < record["finished"]
    assert os.stat(f"{container_dir(box)}/exit").st_mode & 0o777 == 0o600


def test_a_time_out(box):
    limits = ("--timeout", "1", "--stop-timeout", "1000")
    script = "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    result = box("run", "--rm", *limits, *NET, BUSYBOX, "sh", "-c", script)
    assert result.code == 137, repr(result)


def test_health(box):
    box.ok("run", "-d", "--name", "c", "--health-cmd", "test -e /well", "--health-interval", "1s",
           "--health-retries", "2", *NET, BUSYBOX, "sleep", "1000")  # fmt: skip

    def status():
        return box.ok("inspect", "--format", "{{.State.Health.Status}}", "c").text

    eventually(lambda: status() == "unhealthy", "unhealthy")
    box.ok("exec", "c", "touch", "/well")
    eventually(lambda: status() == "healthy", "healthy")


def test_restart_policy(box):
    script = "echo x >> /count; test $(wc -l < /count) -ge 3 && exit 0; exit 1"
    box.ok("run", "-d", "--name", "c", "--restart", "on-failure:5", *NET, BUSYBOX, "sh", "-c",
           script)  # fmt: skip

    def ended():
        found = json.loads(box.ok("inspect", "c").stdout)[0]
        return found["State"]["Status"] == "exited" and found["RestartCount"] == 2

    eventually(ended, "two restarts")


def test_subprocesses_that_ignore_everything_end_with_the_container(box):
    script = "(trap '' HUP TERM INT; sleep 1000) & echo started; exit 0"
    assert box.ok("run", "--rm", *NET, BUSYBOX, "sh", "-c", script).stdout == "started\n"
