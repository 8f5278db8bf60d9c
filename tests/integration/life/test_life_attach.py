"""attach, start -a, detach keys, windows and signals, at a real terminal and without one."""

import os
import re
import signal
import time

import pytest

pytestmark = pytest.mark.integration

ECHO = "while read -r line; do echo \"<$line>\"; done; echo end"
KEYS = "\x10\x11"


def tty(life, name="a", *words, options=()):
    return life.detached(name, *(words or ("sh",)), options=("-it", *options))


def test_detach_and_attach_again(life):
    tty(life)
    with life.rl.terminal("attach", "a") as terminal:
        terminal.send("echo one-$((1+1))\n")
        terminal.expect("one-2")
        terminal.send(KEYS)
        assert terminal.wait() == 0
    assert life.status("a") == "running"
    with life.rl.terminal("attach", "a") as terminal:
        terminal.send("echo two-$((1+1)); exit 7\n")
        terminal.expect("two-2")
        assert terminal.wait() == 7


def test_other_detach_keys(life):
    tty(life)
    with life.rl.terminal("attach", "--detach-keys", "ctrl-x,q", "a") as terminal:
        terminal.send("echo hi-$((1+1))\n")
        terminal.expect("hi-2")
        terminal.send(KEYS + "\x18q")
        assert terminal.wait() == 0
    life.fails("attach", "--detach-keys", "ctrl-xx", "a", says="ctrl-xx")


def test_the_window_follows(life):
    tty(life)
    with life.rl.terminal("attach", "a", size=(33, 111)) as terminal:
        terminal.send("stty size\n")
        terminal.expect("33 111")
        terminal.resize(44, 122)
        terminal.send("stty size\n")
        terminal.expect("44 122")
        terminal.send(KEYS)
        terminal.wait()


def test_the_terminal_is_given_back(life):
    tty(life)
    with life.rl.terminal("attach", "a") as terminal:
        before = terminal.attributes()
        terminal.send("echo on-$((1+1))\n")
        terminal.expect("on-2")
        assert terminal.attributes() != before
        life.ok("kill", "a")
        assert terminal.wait() == 137
        assert terminal.attributes() == before


def test_several_clients_see_the_same(life):
    tty(life)
    with life.rl.terminal("attach", "a") as one, life.rl.terminal("attach", "a") as other:
        # What somebody has answered to has reached everybody who was there before.
        one.send("echo first-$((1+1))\n")
        one.expect("first-2")
        other.send("echo second-$((1+1))\n")
        other.expect("second-2")
        one.expect("second-2")
        one.send("echo from-$((1+1))\n")
        one.expect("from-2")
        other.expect("from-2")
        one.send("exit 5\n")
        assert (one.wait(), other.wait()) == (5, 5)


def test_without_a_terminal(life):
    life.detached("a", "sh", "-c", ECHO, options=("-i",))
    done = life.rl("attach", "a", input="x\ny\n")
    assert (done.code, done.lines) == (0, ["<x>", "<y>", "end"])


def test_no_stdin(life):
    life.detached("a", "sh", "-c", ECHO, options=("-i",))
    process = life.rl.start("attach", "--no-stdin", "a")
    life.until(lambda: _clients(life, "a") > 0)
    life.ok("kill", "a")
    process.communicate(timeout=20)
    assert process.returncode == 137


def test_standard_error_stays_apart(life):
    life.ok("create", "--name", "a", "--network", "none", life.image, "sh", "-c",
            "echo out; echo err >&2; exit 4")  # fmt: skip
    done = life.rl("start", "--attach", "a")
    assert (done.code, done.stdout, done.stderr) == (4, "out\n", "err\n")


def test_start_interactive(life):
    life.ok("create", "-i", "--name", "a", "--network", "none", life.image, "sh", "-c", ECHO)
    assert life.rl("start", "-ai", "a", input="x\n").lines == ["<x>", "end"]
    assert life.rl("start", "-ai", "a", input="y\n").lines == ["<y>", "end"], "again"


def test_start_interactive_shows_what_takes_no_input(life):
    life.ok("create", "--name", "a", "--network", "none", life.image, "sh", "-c", "echo hi; exit 3")
    done = life.rl("start", "-i", "a", input="x\n")
    assert (done.code, done.text) == (3, "hi")


def test_start_of_what_waits(life):
    life.ok("create", "--name", "a", "--network", "none", life.image, "sh", "-c", "echo hi; exit 3")
    life.ok("init", "a")
    done = life.rl("start", "--attach", "a")
    assert (done.code, done.text) == (3, "hi")


def test_signals_are_passed_on(life):
    life.detached("a", "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done")
    process = life.rl.start("attach", "a")
    life.until(lambda: _clients(life, "a") > 0)
    life.until(lambda: "sleep" in life.ok("top", "a", "args").stdout)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=20)
    assert process.returncode == 9


def _clients(life, name):
    links = life.open_files(life.monitor(life.inspect(name, "{{.Id}}")))
    return sum(link.startswith("socket:") for link in links) - 1


def test_without_sig_proxy_only_the_client_ends(life):
    life.detached("a")
    process = life.rl.start("attach", "--sig-proxy=false", "a")
    life.until(lambda: _clients(life, "a") > 0)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert life.status("a") == "running"


def test_a_killed_client_leaves_the_container_alone(life):
    tty(life)
    with life.rl.terminal("attach", "a") as terminal:
        terminal.send("echo on-$((1+1))\n")
        terminal.expect("on-2")
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.wait()
    assert life.status("a") == "running"
    with life.rl.terminal("attach", "a") as terminal:
        terminal.send("exit 2\n")
        assert terminal.wait() == 2


def test_not_running(life):
    life.ok("create", "--name", "a", life.image)
    life.fails("attach", "a", says="not running")


def test_a_job_in_the_background_of_a_shell(life):
    tty(life)
    with life.rl.terminal("attach", "a") as terminal:
        terminal.send("sleep 100\n")
        life.until(lambda: "sleep 100" in life.ok("top", "a", "args").stdout)
        terminal.send("\x1a")
        terminal.send("jobs; echo on-$((1+1))\n")
        terminal.expect("(?i)stopped")
        terminal.expect("on-2")
        terminal.send("\x03fg\n")
        life.until(lambda: "S sleep 100" in re.sub(" +", " ", life.ok("top", "a", "state",
                                                                      "args").stdout))
        terminal.send("\x03")
        terminal.send("exit 6\n")
        terminal.send("exit 6\n")
        assert terminal.wait() == 6
