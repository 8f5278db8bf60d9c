"""rl exec: sessions with and without a terminal, left running, and closed to the container."""

import os
import re
import signal

import pytest

pytestmark = pytest.mark.integration

KEYS = "\x10\x11"


def test_codes_and_streams(life):
    life.detached("a")
    done = life.rl("exec", "a", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err\n")
    life.fails("exec", "a", "/nowhere", code=127, says="/nowhere")
    life.fails("exec", "a", "/etc", code=126, says="/etc")
    life.fails("exec", "-w", "/nowhere", "a", "true", says="/nowhere")
    assert life.rl("exec", "a", "sh", "-c", "kill -9 $$").code == 137
    life.ok("stop", "-t", "0", "a")
    life.fails("exec", "a", "true", says="not running")


def test_options(life):
    life.detached("a", options=("-e", "BASE=1"))
    shown = life.ok("exec", "-e", "MORE=2", "-u", "1000", "-w", "/tmp", "a", "sh", "-c",
                    "echo $BASE $MORE $(id -u) $(pwd)").text  # fmt: skip
    assert shown == "1 2 1000 /tmp"
    assert life.ok("exec", "-i", "a", "cat", input="in").stdout == "in"
    assert life.ok("exec", "a", "cat", input="in").stdout == "", "no -i, no input"
    read, write = os.pipe()
    os.write(write, b"three")
    os.close(write)
    done = life.ok("exec", "--preserve-fds", "1", "a", "cat", "/proc/self/fd/3",
                   pass_fds=(3,), preexec_fn=lambda: os.dup2(read, 3))  # fmt: skip
    os.close(read)
    assert done.stdout == "three"


def test_detached(life):
    life.detached("a")
    done = life.ok("exec", "-d", "a", "sh", "-c", "sleep 0.2; echo done > /said; sleep 1000")
    assert re.fullmatch("[0-9a-f]{64}\n", done.stdout)
    life.until(lambda: life.rl("exec", "a", "cat", "/said").text == "done")
    life.fails("exec", "-d", "a", "/nowhere", code=127, says="/nowhere")


@pytest.mark.parametrize("options", [["-d"], ["-dt"]], ids=" ".join)
def test_what_ends_leaves_no_zombie(life, options):
    life.detached("a")
    for _ in range(3):
        life.ok("exec", *options, "a", "true")
        life.rl("exec", *options, "a", "/nowhere")
    life.until(lambda: len(life.ok("top", "a", "pid,state,args").lines) == 2)


def test_the_window_follows(life):
    life.detached("a")
    with life.rl.terminal("exec", "-it", "a", "sh", size=(33, 111)) as terminal:
        terminal.send("stty size; tty\n")
        terminal.expect("33 111")
        terminal.expect("/dev/pts/")
        terminal.resize(44, 122)
        terminal.send("stty size\n")
        terminal.expect("44 122")
        terminal.send("exit 3\n")
        assert terminal.wait() == 3


def test_detach_keys_leave_the_program_running(life):
    life.detached("a")
    with life.rl.terminal("exec", "-it", "a", "sh") as terminal:
        terminal.send("i=0; while sleep 0.05; do i=$((i+1)); echo $i; echo $i > /count; done\n")
        terminal.expect("1\r\n2\r\n3")
        terminal.send(KEYS)
        assert terminal.wait() == 0
    # The file is empty for a moment whenever it is written.
    before = int(life.until(lambda: life.ok("exec", "a", "cat", "/count").text))
    # More than a pty holds would stop a program whose terminal nobody reads.
    life.until(lambda: int(life.ok("exec", "a", "cat", "/count").text or 0) > before + 10)
    life.ok("exec", "-d", "-t", "a", "sh", "-c", "yes | head -c 1000000; echo yes > /done")
    life.until(lambda: life.rl("exec", "a", "cat", "/done").text == "yes")


def test_the_end_of_a_client_is_the_end_of_its_program(life):
    life.detached("a")
    process = life.rl.start("exec", "a", "sh", "-c", "echo on; exec sleep 1000")
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    life.until(lambda: len(life.ok("top", "a").lines) == 2)


def test_signals_reach_the_program(life):
    life.detached("a")
    script = "trap 'exit 5' TERM; echo on; while :; do sleep 0.05; done"
    process = life.rl.start("exec", "a", "sh", "-c", script)
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 5


def test_a_background_job_does_not_hold_the_session(life):
    life.detached("a")
    with life.rl.terminal("exec", "-it", "a", "sh", "-c", "sleep 1000 & echo on") as terminal:
        terminal.expect("on")
        assert terminal.wait() == 0


def test_many_at_once(life):
    life.detached("a")
    running = [life.rl.start("exec", "a", "sh", "-c", f"exit {number}") for number in range(20)]
    for number, process in enumerate(running):
        process.communicate(timeout=60)
        assert process.returncode == number


SPY = """
rl() {
    words=
    read -r words 2>/dev/null < $1/cmdline
    case $words in *python*) return 0 ;; esac
    return 1
}
while ! [ -e /enough ]; do
    for p in /proc/[0-9]*; do
        rl $p && : > /seen
        case $(readlink $p/exe 2>/dev/null) in *python*) echo exe ;; esac
        # It is still rl after it could be opened: it was rl then.
        { true < $p/mem; } 2>/dev/null && rl $p && echo mem
        { true < $p/environ; } 2>/dev/null && rl $p && echo environ
        ls $p/fd/0 >/dev/null 2>&1 && rl $p && echo fd
    done
done
"""


def test_the_container_cannot_look_into_a_process_that_enters(life):
    life.detached("a", "sh", "-c", SPY)
    for _ in range(30):
        life.ok("exec", "a", "true")
    life.until(lambda: life.rl("exec", "a", "test", "-e", "/seen").code == 0, "a sight of rl")
    life.ok("exec", "a", "touch", "/enough")
    life.ok("wait", "a")
    assert life.ok("logs", "a").stdout == ""
