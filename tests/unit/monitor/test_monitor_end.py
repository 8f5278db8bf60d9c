"""How a container's end is seen, told and written down."""

import fcntl
import os
import random
import re
import signal
import sys
import time

import pytest

from support.monitored import ERR, OUT, Monitored, eventually, output

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 128, 255])
def test_exit_code(workdir, code):
    with Monitored(workdir, ["sh", "-c", f"exit {code}"]) as box:
        payload, _ = box.founder.until(b"x")
        assert payload == bytes([code, 0, 0])
        assert box.wait() == 0
        record = box.record()
        assert (record["code"], record["signal"], record["version"]) == (code, 0, 1)
        assert record["pid"] == box.container_pid()
        assert TIME.fullmatch(record["started"]) and TIME.fullmatch(record["finished"])
        assert record["started"] <= record["finished"]
        assert abs(time.time() - os.stat(f"{box.dir}/exit").st_mtime) < 60
        assert record["finished"][:4] == time.strftime("%Y", time.gmtime())


@pytest.mark.parametrize("number", [1, 2, 9, 11, 15, 31, 34, 64])
def test_end_by_a_signal(workdir, number):
    with Monitored(workdir, ["sleep", "1000"]) as box:
        box.started()
        box.founder.send(b"K", bytes([number, 0]))
        payload, _ = box.founder.until(b"x")
        # A core dump's flag in the wait status must not leak into the signal.
        assert payload == bytes([128 + number, number, 0])
        assert box.wait() == 0
        assert box.record()["signal"] == number
        assert box.record()["stopped"] is False


def test_times_are_right(workdir):
    before = time.time()
    with Monitored(workdir, ["true"]) as box:
        box.wait()
    after = time.time()
    finished = box.record()["finished"]
    import calendar

    seconds = calendar.timegm(time.strptime(finished[:19], "%Y-%m-%dT%H:%M:%S"))
    assert int(before) <= seconds <= int(after)


def test_a_program_that_ends_before_the_monitor_begins(workdir):
    for _ in range(20):
        with Monitored(workdir, lambda: os._exit(42)) as box:
            assert box.founder.until(b"s")[0] == box.container_pid().to_bytes(4, "little")
            assert box.founder.until(b"x")[0][0] == 42
            assert box.wait() == 0


def test_a_launch_error_is_passed_on(workdir):
    with Monitored(workdir, ["/nowhere/program"]) as box:
        payload, before = box.founder.until(b"l")
        assert b'"step": "execve"' in payload and before == []
        assert box.founder.until(b"x")[0] == bytes([127, 0, 8])
        assert box.wait() == 0
        record = box.record()
        assert record["started"] is None and "execve" in record["error"]
        assert not os.path.exists(f"{box.run}/started")


@pytest.mark.parametrize("say", [b"", b"\x06"])
def test_an_error_text_counts_with_and_without_ready(workdir, say):
    def fail(status):
        os.write(status, say + b"broken \xff")
        os._exit(126)

    with Monitored(workdir, ["true"], before=fail) as box:
        assert box.founder.until(b"l")[0] == b"broken \xff"
        assert box.founder.until(b"x")[0] == bytes([126, 0, 8])
        box.wait()
        assert box.record()["error"] == "broken \ufffd"


def test_killed_before_it_could_say_anything(workdir):
    def die(_status):
        os.kill(os.getpid(), signal.SIGKILL)

    with Monitored(workdir, ["true"], before=die) as box:
        assert box.founder.until(b"l")[0] == b""
        assert box.founder.until(b"x")[0] == bytes([137, 9, 8])
        box.wait()
        assert box.record()["started"] is None


def test_an_endless_error_text_is_cut(workdir):
    def talk(status):
        os.write(status, b"x" * 60000)
        os._exit(1)

    with Monitored(workdir, ["true"], before=talk) as box:
        assert box.founder.until(b"l")[0] == b"x" * 4000
        box.wait()


def test_the_last_output_comes_before_the_end(workdir):
    script = "head -c 300000 /dev/zero; printf tail; printf 'err tail' >&2"
    with Monitored(workdir, ["sh", "-c", script], words=["log=k8s-file"]) as box:
        _, packets = box.founder.until(b"x")
        assert output(packets) == bytes(300000) + b"tail"
        assert output(packets, b"e") == b"err tail"
        assert box.founder.rest() == []
        box.wait()
        assert box.said() == {"stdout": bytes(300000) + b"tail", "stderr": b"err tail"}


def test_the_record_is_there_when_a_client_hears_of_the_end(workdir):
    with Monitored(workdir, ["sh", "-c", "exit 3"]) as box:
        box.founder.until(b"x")
        assert box.record()["code"] == 3
        box.wait()


def test_a_grandchild_that_holds_the_pipe_delays_nothing(workdir):
    with Monitored(workdir, ["sh", "-c", "sleep 1000 & echo $!; exit 5"]) as box:
        payload, packets = box.founder.until(b"x")
        assert payload[0] == 5
        assert box.wait() == 0
        os.kill(int(output(packets)), signal.SIGKILL)


def test_a_grandchild_that_writes_for_ever_delays_nothing(workdir):
    with Monitored(workdir, ["sh", "-c", "yes >&2 & echo $!; exit 6"], attach=OUT) as box:
        payload, packets = box.founder.until(b"x")
        assert payload[0] == 6
        assert box.wait() == 0
        try:
            os.kill(int(output(packets)), signal.SIGKILL)
        except ProcessLookupError:
            pass  # SIGPIPE was first


@pytest.mark.parametrize("mode", ["1", "late", "0"])
def test_an_old_record_is_replaced(workdir, mode):
    os.mkdir(f"{workdir}/durable")
    os.mkdir(f"{workdir}/run")
    for path in ("durable/exit", "run/started", "run/health", "durable/.exit.new"):
        with open(f"{workdir}/{path}", "w", encoding="ascii") as file:
            file.write("old" * 1000)
    with Monitored(workdir, ["cat"], words=[f"sync={mode}"]) as box:
        box.started()
        assert not os.path.exists(f"{box.dir}/exit")
        assert box.record("started")["pid"] == box.container_pid()
        assert not os.path.exists(f"{box.run}/health")
        box.founder.send(b"E")
        box.wait()
        assert box.record()["code"] == 0
        assert sorted(os.listdir(box.dir)) == ["exit"]


def test_the_lock_is_held_to_the_end(workdir):
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        with open(f"{box.run}/alive", "rb") as file:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            box.founder.send(b"E")
            fcntl.flock(file, fcntl.LOCK_SH)
            assert box.record()["code"] == 0
        box.wait()


def test_killing_the_monitor_leaves_no_record(workdir):
    with Monitored(workdir, ["sleep", "1000"]) as box:
        box.started()
        program = box.container_pid()
        os.kill(box.pid, signal.SIGKILL)
        assert box.wait() == -9
        assert box.founder.packet() == b""
        assert not os.path.exists(f"{box.dir}/exit")
        with open(f"{box.run}/alive", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.kill(program, signal.SIGKILL)  # what PR_SET_PDEATHSIG does in a real container


def test_time_out(workdir):
    words = ["timeout=1", "stop-timeout=1", "stop-signal=15"]
    script = "trap '' TERM; while :; do sleep 0.01; done"
    with Monitored(workdir, ["sh", "-c", script], words=words) as box:
        payload, packets = box.founder.until(b"x")
        assert payload == bytes([137, 9, 16])
        box.wait()
        record = box.record()
        assert record["timed_out"] and not record["stopped"]


def test_stop_with_the_programs_consent(workdir):
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"
    with Monitored(workdir, ["sh", "-c", script]) as box:
        box.founder.until(b"o")
        box.founder.send(b"T", b"\0" + (60000).to_bytes(4, "little"))
        assert box.founder.until(b"x")[0] == bytes([9, 0, 2])
        box.wait()
        assert box.record()["stopped"] is True


@pytest.mark.parametrize("patience", [0, 300])
def test_stop_without_it(workdir, patience):
    script = "trap '' TERM INT; echo ready; while :; do sleep 0.01; done"
    with Monitored(workdir, ["sh", "-c", script]) as box:
        box.founder.until(b"o")
        box.founder.send(b"T", b"\2" + patience.to_bytes(4, "little"))
        assert box.founder.until(b"x")[0] == bytes([137, 9, 2])
        box.wait()


def test_sigterm_to_the_monitor_stops_the_container(workdir):
    with Monitored(workdir, ["sleep", "1000"], words=["stop-signal=10"]) as box:
        box.started()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
            os.kill(box.pid, number)
        assert box.founder.until(b"x")[0] == bytes([138, 10, 0])
        assert box.wait() == 0


def test_helpers_end_with_the_container(workdir):
    import subprocess

    def willing():
        return subprocess.Popen(["sleep", "1000"]).pid

    def stubborn():
        code = (
            "import signal,time; signal.signal(15, signal.SIG_IGN); print(flush=True); "
            "time.sleep(1000)"
        )
        process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        return process.pid

    def gone():
        process = subprocess.Popen(["true"])
        return process.pid

    with Monitored(workdir, ["cat"], helpers=[willing, stubborn, gone], attach=0) as box:
        box.started()
        with open(f"/proc/{box.pid}/task/{box.pid}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
        assert len(children) >= 3
        box.founder.send(b"E")
        box.founder.until(b"x")
        assert box.wait() == 0
        for pid in children:
            assert not os.path.exists(f"/proc/{pid}")


def _writer(*words):
    """A function that starts a Python program, which says that it is ready; its pid."""
    import subprocess

    def start(**how):
        process = subprocess.Popen([sys.executable, "-S", "-c", *words], stdout=subprocess.PIPE,
                                   **how)
        process.stdout.readline()
        return process.pid

    return start


def test_who_serves_the_layer_ends_by_itself(workdir):
    """It hears of the end by losing its last user, which is the monitor, and is waited for."""
    code = ("import sys, time; print(flush=True); sys.stdin.read(); time.sleep(0.3);"
            " open(sys.argv[1], 'w').close()")
    start = _writer(code, f"{workdir}/whole")
    user, used = os.pipe()
    os.set_inheritable(used, True)
    with Monitored(workdir, ["cat"], words=[f"layer={used}"],
                   writers=[lambda: start(stdin=user)]) as box:
        os.close(user)
        os.close(used)
        box.started()
        box.founder.send(b"E")
        box.founder.until(b"x")
        assert box.wait() == 0
        assert os.path.exists(f"{workdir}/whole")


def test_a_layer_that_others_use_is_asked_to_end(workdir):
    """With SIGINT, after a while, and never more than that."""
    code = ("import signal, sys, time; signal.signal(2, lambda *_: (time.sleep(0.3),"
            " open(sys.argv[1], 'w').close(), sys.exit())); print(flush=True); time.sleep(1000)")
    with Monitored(workdir, ["true"], writers=[_writer(code, f"{workdir}/whole")]) as box:
        assert box.wait() == 0
        assert os.path.exists(f"{workdir}/whole")


def test_a_stranger_is_never_killed(workdir):
    stranger = os.fork()
    if stranger == 0:
        time.sleep(1000)
    with Monitored(workdir, ["true"], helpers=[lambda: stranger]) as box:
        assert box.wait() == 0
    assert os.waitpid(stranger, os.WNOHANG) == (0, 0)
    os.kill(stranger, signal.SIGKILL)
    os.waitpid(stranger, 0)


def test_orphans_are_reaped(workdir):
    script = "(sleep 0.05 & sleep 0.05 &) ; cat"
    with Monitored(workdir, ["sh", "-c", script]) as box:
        box.started()

        def only_the_program():
            with open(f"/proc/{box.pid}/task/{box.pid}/children", encoding="ascii") as file:
                return file.read().split() == [str(box.container_pid())]

        eventually(only_the_program)
        box.founder.send(b"E")
        box.wait()


def test_oom_is_told(workdir):
    os.mkdir(f"{workdir}/cgroup")
    events = f"{workdir}/cgroup/memory.events"
    text = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"
    with open(events, "w", encoding="ascii") as file:
        file.write(text.format(4))
    fd = os.open(f"{workdir}/cgroup", os.O_RDONLY)
    os.set_inheritable(fd, True)
    for count, oom in ((4, False), (5, True)):
        with Monitored(workdir, ["cat"], words=[f"cgroup={fd}"]) as box:
            box.started()
            with open(events, "w", encoding="ascii") as file:
                file.write(text.format(count))
            box.founder.send(b"K", b"\x09\0")
            assert box.founder.until(b"x")[0] == bytes([137, 9, oom])
            box.wait()
            assert box.record()["oom"] is oom
    os.close(fd)


def test_create_then_start(workdir):
    with Monitored(workdir, ["echo", "hello"], hold=True) as box:
        other = box.connect()
        other.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            other.packet()
        assert not os.path.exists(f"{box.run}/started")
        other.socket.settimeout(20)
        other.send(b"A", bytes([OUT | ERR]))
        other.send(b"S")
        other.send(b"S")
        assert other.until(b"s")[1] == []
        _, packets = other.until(b"x")
        assert output(packets) == b"hello\n"
        box.wait()


def test_create_then_remove(workdir):
    with Monitored(workdir, ["echo", "hello"], hold=True) as box:
        box.founder.send(b"T", b"\0\xff\xff\xff\xff")
        assert box.founder.until(b"x")[0] == bytes([137, 9, 10])
        assert box.wait() == 0
        assert box.record()["started"] is None


def test_everybody_who_is_connected_hears_of_the_end(workdir):
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        clients = [box.connect() for _ in range(20)]
        for client in clients:
            client.until(b"s")
        box.founder.send(b"E")
        for client in clients:
            assert client.until(b"x")[0] == bytes(3)
            assert client.rest() == []
        box.wait()
        assert not os.path.exists(box.control)


def test_bad_words_are_a_launch_error(workdir):
    for words in (
        ["colour=red"],
        ["log=paper"],
        ["in=99"],
        ["timeout=soon"],
        ["on-exit=3", "a"],
        ["novalue"],
        ["dir=0"],
        ["stop-signal=99"],
        ["restart=sometimes"],
        ["helper=99999999999"],
        ["log-path=/nowhere/x", "log=k8s-file"],
    ):
        with Monitored(workdir, ["sleep", "1000"], words=words) as box:
            payload, _ = box.founder.until(b"l")
            assert b'"step":"monitor"' in payload
            assert box.wait() == 125


@pytest.mark.parametrize("seed", range(40))
def test_killed_at_any_moment(workdir, seed):
    print(f"seed {seed}")
    chance = random.Random(seed)
    with Monitored(workdir, ["sh", "-c", "echo out; exit 3"], words=["log=k8s-file"]) as box:
        time.sleep(chance.random() * 0.008)
        try:
            os.kill(chance.choice([box.pid, box.container_pid() or box.pid]), signal.SIGKILL)
        except ProcessLookupError:
            pass
        box.wait()
        with open(f"{box.run}/alive", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if box.status == 0:
            record = box.record()
            assert record["code"] in (3, 137)
            assert (record["started"] is None) == (not os.path.exists(f"{box.run}/started"))
        elif os.path.exists(f"{box.dir}/exit"):
            assert box.record()["code"] == 3  # written before it was killed
        if os.path.exists(f"{box.run}/started"):
            assert box.record("started")["pid"] == box.container_pid()


def test_the_delay_is_short_again_after_a_long_run(workdir):
    words = ["restart=always", "restart-delay=60000", "restart-settled=1",
             "restart-delay-settled=1", "on-exit=2", "/bin/touch", f"{workdir}/again"]  # fmt: skip
    with Monitored(workdir, ["sleep", "1.1"], words=words) as box:
        box.wait()
    assert os.path.exists(f"{workdir}/again")
