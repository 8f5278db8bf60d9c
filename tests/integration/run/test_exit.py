"""How a run ends and what passes through it: exit codes, signals, bytes."""

import hashlib
import os
import signal
import subprocess
import time

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


def wait_for(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
def test_the_exit_code_of_the_program(box, code):
    result = box(sh=f"exit {code}", code=code)
    assert result.stdout == "" and result.stderr == ""


@pytest.mark.parametrize("number", [2, 6, 9, 11, 15])
def test_a_signal_is_128_and_its_number(box, number):
    # Pid 1 is protected from its own signals: a child is killed, and its end reported.
    found = box(sh=f"sh -c 'kill -{number} $$'; exit $?", code=128 + number)
    assert found.stdout == ""


def test_a_program_killed_from_outside(box):
    process = box.rl.start(*box.words(["--name", "k"], ["sleep", "60"]))
    wait_for(lambda: box.rl("ps", "-q").text, "the start")
    box.rl.ok("kill", "k")
    assert process.wait(30) == 137
    process.communicate()


@pytest.mark.parametrize("command, code, says", [
    (["nosuch"], 127, "nosuch"),
    (["/no/such/file"], 127, "/no/such/file"),
    (["/etc"], 126, "directory"),
    (["/etc/passwd"], 126, "/etc/passwd"),
    (["./home"], 126, "directory"),
])  # fmt: skip
def test_a_command_that_cannot_run(box, command, code, says):
    box.fails(command=command, code=code, says=says)


def test_bytes_pass_unchanged(box):
    data = bytes(range(256)) * 5000
    result = box.rl.ok(*box.words(["-i"], ["cat"]), input=data)
    assert result.raw == data


def test_output_and_errors_stay_apart(box):
    result = box(sh="printf out; printf err >&2")
    assert (result.stdout, result.stderr) == ("out", "err")


def test_a_big_pipe(box):
    """64 MB through stdin and stdout of one container, all of it."""
    size = 64 << 20
    source = subprocess.Popen(
        ["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE
    )
    result = box.rl.ok(*box.words(["-i"], ["sh", "-c", "tee /dev/stderr | md5sum; "]),
                       stdin=source.stdout, stderr=subprocess.DEVNULL)
    source.stdout.close()
    assert source.wait() == 0
    assert result.text.split()[0] == hashlib.md5(bytes(size)).hexdigest()


def test_a_lot_of_output_is_complete(box):
    result = box.rl.ok(*box.words([], ["sh", "-c", "seq 1 400000; seq 1 400000 >&2"]))
    wanted = "".join(f"{number}\n" for number in range(1, 400001))
    assert result.stdout == wanted and result.stderr == wanted


def test_a_reader_that_goes_away(box):
    """rl ends as if by SIGPIPE; the container goes on, as podman's, and is gone at its end."""
    process = box.rl.start(*box.words(["--name", "y"], ["yes"]))
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    assert box.rl.ok("ps", "--format", "{{.Names}}").text == "y"
    box.rl.ok("stop", "--time", "0", "y")
    wait_for(lambda: not box.rl("ps", "-aq").text, "the removal")


def test_stdin_is_empty_without_i(box):
    result = box.rl.ok(*box.words([], ["cat"]), input="not passed on")
    assert result.stdout == ""


def test_attach_chooses_streams(box):
    result = box("-a", "stdout", sh="echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "")
    result = box("-a", "stderr", sh="echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("", "err\n")
    box.fails("-a", "nowhere", says="nowhere")


@pytest.mark.parametrize("number, name", [(15, "TERM"), (2, "INT"), (1, "HUP"), (10, "USR1")])
def test_signals_to_rl_reach_the_program(box, number, name):
    script = f"trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.02; done"
    process = box.rl.start(*box.words([], ["sh", "-c", script]))
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == (f"got {name}\n".encode(), b"", 3)


def test_without_sig_proxy_signals_are_rls_own(box):
    script = "trap 'echo got' TERM; echo ready; while :; do sleep 0.02; done"
    process = box.rl.start(*box.words(["--name", "own", "--sig-proxy=false"], ["sh", "-c", script]))
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert b"got" not in output and process.returncode in (143, -15)
    wait_for(lambda: box.rl("ps", "-q").text, "the container going on")
    box.rl.ok("rm", "--force", "--time", "0", "own")


def test_a_container_that_ignores_sigterm(box):
    script = "trap '' TERM; echo ready; sleep 1"
    process = box.rl.start(*box.words(["--init"], ["sh", "-c", script]))
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_timeout_ends_it(box):
    began = time.monotonic()
    result = box.rl(*box.words(["--timeout", "1"], ["sleep", "60"]))
    assert result.code == 137
    assert time.monotonic() - began < 40


def test_stop_signal(box):
    script = "trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.02; done"
    words = box.words(["--name", "s", "--stop-signal", "SIGUSR1"], ["sh", "-c", script])
    process = box.rl.start(*words)
    assert process.stdout.readline() == b"ready\n"
    box.rl.ok("stop", "s")
    output, _ = process.communicate(timeout=30)
    assert (output, process.returncode) == (b"usr1\n", 5)
    box.fails("--stop-signal", "NOSUCH", says="NOSUCH")


def test_init_reaps_and_passes_signals(box):
    script = ("(sleep 0.05 & exec sleep 0.1) & wait $!; sleep 0.3; ps -o stat,comm | grep -c '^Z';"
              " cat /proc/1/cmdline | tr '\\0' ' '")
    lines = box.text("--init", sh=script).splitlines()
    assert lines[0] == "0" and lines[1].startswith("/dev/init ")
    process = box.rl.start(
        *box.words(["--init"], ["sh", "-c", "trap 'exit 4' TERM; echo ready; sleep 30 & wait"])
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 4
    assert box("--init", sh="kill -9 $$", code=137).stderr == ""


def test_name_cidfile_pidfile_and_replace(own_box):
    rl = own_box.rl
    cid, pid = f"{rl.home}/cid", f"{rl.home}/pid"
    words = ["--cidfile", cid, "--pidfile", pid, "--name", "first"]
    process = rl.start("run", "--network", "none", *words, own_box.image, "sh", "-c",
                       "echo ready; sleep 60")
    assert process.stdout.readline() == b"ready\n"
    identity, number = open(cid).read(), int(open(pid).read())
    assert rl.ok("ps", "-q", "--no-trunc").text == identity
    assert rl.ok("inspect", "-f", "{{.State.Pid}}", "first").text == str(number)
    # What the first process sees of itself is what we see from outside.
    with open(f"/proc/{number}/status") as file:
        assert f"NSpid:\t{number}\t1\n" in file.read()
    rl.fails("run", "--rm", "--name", "first", own_box.image, "true", says="first")
    rl.fails("run", "--rm", "--cidfile", cid, own_box.image, "true", says=cid)
    assert rl.ok("run", "--rm", "--replace", "--name", "first", "--network", "none",
                 own_box.image, "echo", "second").text == "second"
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert rl.ok("ps", "-aq").text == ""
    assert os.listdir(f"{rl.root}/names") == []


def test_without_rm_it_stays_until_it_is_removed(own_box):
    rl = own_box.rl
    assert rl("run", "--network", "none", "--name", "kept", own_box.image, "sh", "-c",
              "echo x > /file; exit 3").code == 3
    assert rl.ok("ps", "-a", "--format", "{{.Names}} {{.State}} {{.ExitCode}}").text == (
        "kept exited 3"
    )
    assert rl("start", "--attach", "kept").code == 3
    rl.ok("rm", "kept")
    own_box.nothing_left()
