"""Health checks, restart decisions and what follows the end."""

import fcntl
import json
import os
import signal
import sys
import time

import pytest

from support.monitored import Monitored, eventually


def health(box):
    """The health file, {} before there is one."""
    try:
        return box.record("health")
    except FileNotFoundError:
        return {}


def counted(path, script):
    """argv of a check that first adds a line to a file, then runs a script."""
    return ["/bin/sh", "-c", f"echo run >> {path}; {script}"]


def words(command, **settings):
    named = [f"health-{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return [*named, f"health={len(command)}", *command]


def end(box):
    box.founder.send(b"K", b"\x09\x00")
    box.founder.until(b"x")
    assert box.wait() == 0


def test_healthy(workdir):
    check = counted(f"{workdir}/runs", "echo fine; echo also this >&2")
    with Monitored(workdir, ["sleep", "1000"], words=words(check, interval=20)) as box:
        box.started()
        found = eventually(lambda: (now := health(box)).get("Log") and len(now["Log"]) == 5 and now)
        assert (found["Status"], found["FailingStreak"]) == ("healthy", 0)
        for run in found["Log"]:
            assert sorted(run) == ["End", "ExitCode", "Output", "Start"]
            assert (run["ExitCode"], run["Output"]) == (0, "fine\nalso this\n")
            assert run["Start"] < run["End"]
        ends = [run["End"] for run in found["Log"]]
        starts = [run["Start"] for run in found["Log"]]
        assert all(end_ < start for end_, start in zip(ends, starts[1:], strict=False))
        end(box)


def test_starting_until_the_first_run_ends(workdir):
    with Monitored(workdir, ["sleep", "1000"],
                   words=words(["/bin/sleep", "1000"], interval=20)) as box:  # fmt: skip
        box.started()
        assert health(box) == {"Status": "starting", "FailingStreak": 0, "Log": []}
        end(box)


def test_unhealthy_after_retries_and_healthy_again(workdir):
    check = ["/bin/sh", "-c", f"test -e {workdir}/well"]
    with Monitored(workdir, ["sleep", "1000"], words=words(check, interval=10, retries=3)) as box:
        box.started()
        seen = []

        def status(wanted):
            now = health(box)
            if now and (not seen or seen[-1] != now):
                seen.append(now)
            return now.get("Status") == wanted

        eventually(lambda: status("unhealthy"))
        assert all(now["FailingStreak"] < 3 for now in seen if now["Status"] == "starting")
        with open(f"{workdir}/well", "w", encoding="ascii"):
            pass
        eventually(lambda: status("healthy"))
        assert health(box)["FailingStreak"] == 0
        end(box)


def test_failures_in_the_start_period_do_not_count(workdir):
    check = counted(f"{workdir}/runs", "exit 1")
    settings = {"interval": 10, "retries": 1, "start_period": 600}
    with Monitored(workdir, ["sleep", "1000"], words=words(check, **settings)) as box:
        box.started()
        eventually(lambda: os.path.exists(f"{workdir}/runs"))
        eventually(lambda: health(box).get("Log"))
        # Whenever we look: no failure counted while the file still says "starting".
        while (now := health(box))["Status"] == "starting":
            assert now["FailingStreak"] == 0
            time.sleep(0.01)
        assert now["Status"] == "unhealthy"
        end(box)


def test_a_success_ends_the_start_period(workdir):
    check = ["/bin/sh", "-c", f"if test -e {workdir}/second; then exit 1; fi; > {workdir}/second"]
    settings = {"interval": 10, "retries": 1, "start_period": 1000000}
    with Monitored(workdir, ["sleep", "1000"], words=words(check, **settings)) as box:
        eventually(lambda: health(box).get("Status") == "unhealthy")
        end(box)


def test_a_check_that_hangs_is_killed(workdir):
    check = ["/bin/sh", "-c", "echo $$; sleep 1000"]
    settings = {"interval": 10, "retries": 1, "timeout": 100}
    with Monitored(workdir, ["sleep", "1000"], words=words(check, **settings)) as box:
        eventually(lambda: health(box).get("Status") == "unhealthy")
        run = health(box)["Log"][0]
        assert run["ExitCode"] == -1
        assert not os.path.exists(f"/proc/{int(run['Output'])}")
        end(box)


def test_runs_never_overlap(workdir):
    lock = f"{workdir}/lock"
    check = ["/bin/sh", "-c", f"mkdir {lock} || exit 9; sleep 0.03; rmdir {lock}"]
    with Monitored(workdir, ["sleep", "1000"], words=words(check, interval=1)) as box:
        box.started()
        client = box.connect()
        for _ in range(10):
            client.send(b"H")
            assert client.until(b"h")[0][0] == 0
        assert health(box)["Status"] == "healthy"
        end(box)


def test_long_and_broken_output_is_cut_and_escaped(workdir):
    check = ["/bin/sh", "-c", "printf '\\377\\001\"'; head -c 200000 /dev/zero | tr '\\0' x"]
    with Monitored(workdir, ["sleep", "1000"], words=words(check, interval=0)) as box:
        box.started()
        client = box.connect()
        client.send(b"H")
        assert client.until(b"h")[0] == b"\0\xff\x01\"" + b"x" * 497
        assert health(box)["Log"][0]["Output"] == '\ufffd\x01"' + "x" * 497
        end(box)


def test_five_runs_of_the_worst_output_fit(workdir):
    check = ["/bin/sh", "-c", r"head -c 500 /dev/zero | tr '\0' '\001'"]
    with Monitored(workdir, ["sleep", "1000"], words=words(check, interval=5)) as box:
        found = eventually(lambda: len((now := health(box)).get("Log", ())) == 5 and now)
        assert all(run["Output"] == "\x01" * 500 for run in found["Log"])
        end(box)


def test_on_request_only(workdir):
    check = counted(f"{workdir}/runs", "exit 1")
    with Monitored(workdir, ["sleep", "1000"], words=words(check, interval=0)) as box:
        box.started()
        clients = [box.connect() for _ in range(3)]
        for client in clients:
            client.send(b"H")
        for client in clients:
            assert client.until(b"h")[0] == b"\1"
        assert health(box)["FailingStreak"] >= 1
        with open(f"{workdir}/runs", encoding="ascii") as file:
            assert 1 <= len(file.readlines()) <= 3
        end(box)


def test_no_check_to_ask_for(workdir):
    with Monitored(workdir, ["sleep", "1000"]) as box:
        box.founder.send(b"H")
        assert box.founder.until(b"h")[0] == b"\xffno health check"
        assert not os.path.exists(f"{box.run}/health")
        end(box)


def test_a_check_that_cannot_be_executed(workdir):
    with Monitored(workdir, ["sleep", "1000"], words=words(["/none"], interval=0)) as box:
        box.started()
        box.founder.send(b"H")
        answer, _ = box.founder.until(b"h")
        assert answer[0] == 125 and b"cannot be executed" in answer
        end(box)


def test_a_frozen_container_is_not_checked(workdir):
    os.mkdir(f"{workdir}/cgroup")
    freeze = f"{workdir}/cgroup/cgroup.freeze"
    with open(freeze, "w", encoding="ascii") as file:
        file.write("1\n")
    fd = os.open(f"{workdir}/cgroup", os.O_RDONLY)
    os.set_inheritable(fd, True)
    check = counted(f"{workdir}/runs", "true")
    more = [f"cgroup={fd}", *words(check, interval=20)]
    with Monitored(workdir, ["sleep", "1000"], words=more) as box:
        box.started()
        time.sleep(0.2)
        assert not os.path.exists(f"{workdir}/runs")
        with open(freeze, "w", encoding="ascii") as file:
            file.write("0\n")
        eventually(lambda: os.path.exists(f"{workdir}/runs"))
        end(box)
    os.close(fd)


ACTIONS = [
    ("kill", bytes([137, 9, 0]), False),
    ("stop", bytes([143, 15, 2]), False),
    ("restart", bytes([143, 15, 4]), True),
]


@pytest.mark.parametrize("action, told, restart", ACTIONS)
def test_what_follows_being_unhealthy(workdir, action, told, restart):
    settings = {"interval": 10, "retries": 2, "on_failure": action}
    more = [*words(["/bin/false"], **settings), "on-exit=2", "/bin/touch", f"{workdir}/after"]
    with Monitored(workdir, ["sleep", "1000"], words=more) as box:
        assert box.founder.until(b"x")[0] == told
        assert box.wait() == 0
        assert box.record()["restart"] is restart
        assert os.path.exists(f"{workdir}/after")
        assert health(box)["Status"] == "unhealthy"


def test_a_running_check_ends_with_the_container(workdir):
    check = counted(f"{workdir}/runs", "sleep 1000")
    with Monitored(workdir, ["cat"], words=words(check, interval=10)) as box:
        eventually(lambda: os.path.exists(f"{workdir}/runs"))
        box.founder.send(b"H")
        box.founder.send(b"E")
        _, packets = box.founder.until(b"x")
        assert box.wait() == 0
        assert health(box)["Status"] == "starting"


RESTARTS = [
    # policy, restarts so far, exit code → decision
    ("no", 0, 1, False),
    ("always", 0, 0, True),
    ("always", 1000, 1, True),
    ("unless-stopped", 0, 0, True),
    ("on-failure", 0, 0, False),
    ("on-failure", 1000, 3, True),
    ("on-failure:3", 2, 3, True),
    ("on-failure:3", 3, 3, False),
    ("on-failure:0", 99, 3, True),
    ("on-failure:3", 0, 0, False),
]


@pytest.mark.parametrize("policy, restarts, code, decision", RESTARTS)
def test_restart_decision(workdir, policy, restarts, code, decision):
    more = [f"restart={policy}", f"restarts={restarts}", "on-exit-if=restart", "on-exit=2",
            "/bin/touch", f"{workdir}/after"]  # fmt: skip
    with Monitored(workdir, ["sh", "-c", f"exit {code}"], words=more) as box:
        assert box.founder.until(b"x")[0] == bytes([code, 0, 4 if decision else 0])
        assert box.wait() == 0
        assert box.record()["restart"] is decision
        assert os.path.exists(f"{workdir}/after") is decision


STOPS = [b"K\x0f\1", b"T\x0f\xff\xff\xff\xff"]


@pytest.mark.parametrize("stop", STOPS)
def test_no_restart_of_what_the_user_stopped(workdir, stop):
    more = ["restart=always", "on-exit-if=restart", "on-exit=2", "/bin/touch", f"{workdir}/after"]
    with Monitored(workdir, ["sleep", "1000"], words=more) as box:
        box.started()
        box.founder.send(stop)
        assert box.founder.until(b"x")[0] == bytes([143, 15, 2])
        assert box.wait() == 0
        assert not os.path.exists(f"{workdir}/after")


def test_restart_of_what_was_killed_otherwise(workdir):
    more = ["restart=always", "on-exit-if=restart", "on-exit=2", "/bin/touch", f"{workdir}/after"]
    with Monitored(workdir, ["sleep", "1000"], words=more) as box:
        box.started()
        box.founder.send(b"K", b"\x0a\0")
        assert box.founder.until(b"x")[0] == bytes([138, 10, 4])
        box.wait()
        assert os.path.exists(f"{workdir}/after")


def test_no_restart_after_a_launch_error(workdir):
    more = ["restart=always", "on-exit=2", "/bin/touch", f"{workdir}/after"]
    with Monitored(workdir, ["/none"], words=more) as box:
        assert box.founder.until(b"x")[0] == bytes([127, 0, 8])
        box.wait()
        assert box.record()["restart"] is False
        assert os.path.exists(f"{workdir}/after")  # on-exit-if=always


def test_the_restart_delay_can_be_ended(workdir):
    more = ["restart=always", "restart-delay=1000000", "on-exit=2", "/bin/touch",
            f"{workdir}/after", "on-exit-if=restart"]  # fmt: skip
    with Monitored(workdir, ["true"], words=more) as box:
        assert box.founder.until(b"x")[0] == bytes([0, 0, 4])
        late = box.connect()
        assert late.until(b"x")[0] == bytes([0, 0, 4])
        assert box.record()["restart"] is True
        late.send(b"T", bytes(5))
        assert box.wait() == 0
        record = box.record()
        assert (record["restart"], record["stopped"]) == (False, True)
        assert not os.path.exists(f"{workdir}/after")


@pytest.mark.parametrize("wish", [b"K\x09\x01", b"T" + bytes(5)])
def test_a_wish_at_the_end_of_the_restart_delay_is_heard(workdir, wish):
    more = ["restart=always", "restart-delay=300", "on-exit=2", "/bin/touch",
            f"{workdir}/after", "on-exit-if=restart"]  # fmt: skip
    with Monitored(workdir, ["true"], words=more) as box:
        assert box.founder.until(b"x")[0] == bytes([0, 0, 4])
        os.kill(box.pid, signal.SIGSTOP)
        os.waitpid(box.pid, os.WUNTRACED)
        time.sleep(0.5)  # the delay is over when it goes on
        late = box.connect()
        late.send(wish)
        os.kill(box.pid, signal.SIGCONT)
        assert box.wait() == 0
        assert (box.record()["restart"], box.record()["stopped"]) == (False, True)
        assert not os.path.exists(f"{workdir}/after")


def test_the_restart_delay_passes(workdir):
    more = ["restart=always", "restart-delay=200", "on-exit=2", "/bin/touch", f"{workdir}/after"]
    with Monitored(workdir, ["true"], words=more) as box:
        box.founder.until(b"x")
        assert not os.path.exists(f"{workdir}/after")
        assert box.wait() == 0
        assert os.path.exists(f"{workdir}/after")


REPORT = """
import json, os, signal, sys
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[name] = os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        pass
with open("/proc/self/status") as file:
    status = dict(line.rstrip("\\n").split(":\\t", 1) for line in file)
kept = ("SigBlk", "SigIgn", "NoNewPrivs", "PPid", "Pid")
json.dump({"fds": fds, "argv": sys.argv[1:], "pid": os.getpid(),
           "environ": os.environ.get("COLOUR"), "cwd": os.getcwd(),
           **{key: status[key] for key in kept}}, open(sys.argv[1], "w"))
"""


def test_what_on_exit_inherits(workdir, monkeypatch):
    monkeypatch.setenv("COLOUR", "red")
    stray = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(stray, True)  # no word names it
    command = [sys.executable, "-S", "-c", REPORT, f"{workdir}/report", "last word"]
    with Monitored(workdir, ["true"], words=[f"on-exit={len(command)}", *command]) as box:
        assert box.wait() == 0
        with open(f"{workdir}/report", encoding="ascii") as file:
            report = json.load(file)
        assert report["argv"] == [f"{workdir}/report", "last word"]
        assert (report["environ"], report["cwd"]) == ("red", os.getcwd())
        assert report["pid"] == box.pid  # the same process
        assert int(report["SigBlk"], 16) == 0
        assert int(report["SigIgn"], 16) & 0b11 == 0
        assert report["NoNewPrivs"] == "0"
        assert set(report["fds"].values()) == {"/dev/null"}
        assert sorted(report["fds"]) == ["0", "1", "2"]
    os.close(stray)


def test_the_lock_can_outlive_the_monitor(workdir):
    command = ["/bin/sh", "-c", f"while ! test -e {workdir}/go; do sleep 0.01; done"]
    more = ["alive-kept=1", f"on-exit={len(command)}", *command]
    with Monitored(workdir, ["true"], words=more) as box:
        box.founder.until(b"x")
        assert box.founder.rest() == []
        with open(f"{box.run}/alive", "rb") as file:
            with pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with open(f"{workdir}/go", "w", encoding="ascii"):
                pass
            fcntl.flock(file, fcntl.LOCK_SH)
        assert box.wait() == 0


def untold(workdir, *more):
    return [*more, "on-exit-if=untold", "on-exit=2", "/bin/touch", f"{workdir}/after"]


def test_a_founder_that_was_told_does_the_rest(workdir):
    with Monitored(workdir, ["true"], words=untold(workdir)) as box:
        box.founder.until(b"x")
        assert box.wait() == 0
        assert not os.path.exists(f"{workdir}/after")


def test_a_founder_that_has_left_does_nothing(workdir):
    with Monitored(workdir, ["sh", "-c", "cat; sleep 0.1"], words=untold(workdir)) as box:
        box.started()
        box.founder.close()
        assert box.wait() == 0
        assert os.path.exists(f"{workdir}/after")


def test_a_founder_that_only_waits_for_the_start_does_nothing(workdir):
    with Monitored(workdir, ["true"], words=untold(workdir), attach=0) as box:
        box.founder.until(b"x")
        assert box.wait() == 0
        assert os.path.exists(f"{workdir}/after")


def test_a_restart_is_never_left_to_the_founder(workdir):
    with Monitored(workdir, ["true"], words=untold(workdir, "restart=always")) as box:
        box.founder.until(b"x")
        assert box.wait() == 0
        assert os.path.exists(f"{workdir}/after")


def events_of(box):
    """What the monitor has noted in the event log: a list of dicts."""
    with open(f"{box.base}/events", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_events_of_a_life(workdir):
    words = ["events=../events", 'event="ID":"0123","Attributes":{"a":"b"}']
    with Monitored(workdir, ["sh", "-c", "exit 3"], words=words) as box:
        box.wait()
        start, died = events_of(box)
        record = box.record()
    assert start == {"Type": "container", "Status": "start", "Time": record["started"],
                     "ID": "0123", "Attributes": {"a": "b"}}  # fmt: skip
    assert died == {**start, "Status": "died", "Time": record["finished"],
                    "ContainerExitCode": 3}  # fmt: skip
    assert os.stat(f"{workdir}/events").st_mode & 0o777 == 0o600


def test_no_events_of_what_never_ran(workdir):
    with Monitored(workdir, ["/nowhere/program"], words=["events=../events"]) as box:
        box.wait()
    assert not os.path.exists(f"{workdir}/events")


def test_events_of_health_checks(workdir):
    words = ["events=../events", "health-interval=20", "health-retries=1", "health=2",
             "/bin/sh", f"{workdir}/check"]  # fmt: skip
    with open(f"{workdir}/check", "w", encoding="ascii") as file:
        file.write(f"test -e {workdir}/well")
    with Monitored(workdir, ["sleep", "100"], words=words) as box:
        eventually(lambda: os.path.exists(f"{workdir}/events") and len(events_of(box)) > 1)
        with open(f"{workdir}/well", "wb"):
            pass
        eventually(lambda: events_of(box)[-1].get("HealthStatus") == "healthy")
        box.founder.send(b"K", bytes([9, 1]))
        box.wait()
        said = events_of(box)
    assert [event["Status"] for event in said if event["Status"] != "health_status"] == [
        "start", "died"]  # fmt: skip
    assert said[1]["HealthStatus"] == "unhealthy"


def test_a_large_event_log_makes_room(workdir):
    os.makedirs(f"{workdir}/run")
    with open(f"{workdir}/events", "wb") as file:
        file.write(b"x" * (1 << 20) + b"\n")
    with Monitored(workdir, ["true"], words=["events=../events"]) as box:
        box.wait()
        (died,) = events_of(box)
    assert died["Status"] == "died"
    assert os.path.getsize(f"{workdir}/events.1") > 1 << 20


@pytest.mark.parametrize("name", ["missing/events", "link", ""])
def test_events_that_cannot_be_written(workdir, name):
    os.symlink(f"{workdir}/target", f"{workdir}/link")
    with Monitored(workdir, ["true"], words=[f"events=../{name}"]) as box:
        assert box.wait() == 0
        assert box.record()["code"] == 0
    assert not os.path.exists(f"{workdir}/target")
