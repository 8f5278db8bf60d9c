"""The verbs on containers: what they print, what they end with, what is so afterwards."""

import os
import re

import pytest

pytestmark = pytest.mark.integration

ID = re.compile(r"[0-9a-f]{64}")


def test_create_and_start(life):
    container = life.ok("create", "--name", "web", "--network", "none", life.image, "sleep", "9")
    assert ID.fullmatch(container.text)
    assert life.status("web") == "created"
    assert life.ok("start", "web").text == "web"
    assert life.status("web") == "running"
    assert life.ok("start", "web").text == "web", "it runs already: nothing to do"


def test_what_was_typed_is_printed(life):
    container = life.detached("web")
    assert life.ok("stop", "-t", "0", container[:12]).text == container[:12]
    assert life.ok("start", "web").text == "web"
    assert life.ok("restart", "-t", "0", "--all").text == container
    assert life.ok("kill", "--latest").text == container
    assert life.ok("rm", "web").text == "web"


def test_unknown_names(life):
    for verb in ("start", "stop", "kill", "restart", "pause", "unpause", "wait", "inspect", "top",
                 "logs", "port", "attach", "init"):  # fmt: skip
        life.fails(verb, "nope", says="nope")
    life.fails("exec", "nope", "true", says="nope")
    life.fails("rename", "nope", "other", says="nope")
    life.fails("update", "--restart", "no", "nope", says="nope")
    life.fails("rm", "nope", code=1, says="nope")
    assert life.rl("container", "exists", "nope").code == 1
    for verb in ("stop", "rm"):
        assert life.ok(verb, "--ignore", "nope").text == ""
    for words in (["rm"], ["rmi"], ["volume", "rm"], ["network", "rm"]):
        gone = life.ok(*words, "--force", "nope")
        assert (gone.text, gone.stderr) == ("", "")
    assert life.ok("wait", "--ignore", "nope").text == "-1"


def test_inspect_shows_what_there_is(life):
    life.detached("a")
    done = life.rl("inspect", "a", "nope", "--format", "{{.Name}}")
    assert (done.code, done.text) == (125, "a") and "'nope'" in done.stderr
    done = life.rl("inspect", "nope")
    assert (done.code, done.text) == (125, "[]") and "'nope'" in done.stderr


def test_stop_asks_before_it_kills(life):
    life.detached("nice", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
    life.until(lambda: "sleep" in life.ok("top", "nice", "args").stdout)
    life.ok("stop", "nice")
    assert life.inspect("nice", "{{.State.ExitCode}}") == "3"


def test_stop_kills_what_does_not_listen(life):
    life.detached("deaf", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    life.ok("stop", "--time", "1", "deaf")
    assert life.inspect("deaf", "{{.State.ExitCode}} {{.State.Status}}") == "137 exited"
    assert life.ok("stop", "deaf").text == "deaf", "stopped already"


def test_the_container_has_a_stop_signal_and_timeout(life):
    life.detached("a", "sh", "-c", "trap 'exit 4' USR1; while :; do sleep 0.05; done",
                  options=("--stop-signal", "USR1", "--stop-timeout", "100"))  # fmt: skip
    life.until(lambda: "sleep" in life.ok("top", "a", "args").stdout)
    life.ok("stop", "a")
    assert life.inspect("a", "{{.State.ExitCode}}") == "4"


def test_kill_with_a_signal(life):
    script = "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done"
    life.detached("a", "sh", "-c", script)
    life.until(lambda: "ready" in life.ok("logs", "a").stdout)
    assert life.ok("kill", "--signal", "HUP", "a").text == "a"
    life.until(lambda: "hup" in life.ok("logs", "a").stdout)
    assert life.ok("kill", "a").text == "a"
    assert life.inspect("a", "{{.State.ExitCode}}") == "137"
    life.fails("kill", "a", says="not running")
    life.fails("kill", "--signal", "NOPE", "a", says="NOPE")


def test_restarts_of_several_wait_side_by_side(life):
    # None ends before all have been told to.
    script = ("trap 'echo x >>/v/told; while [ $(wc -l </v/told) -lt 3 ]; do sleep 0.05; done;"
              " exit 5' TERM; echo ready; while :; do sleep 0.05; done")  # fmt: skip
    names, chosen = ["one", "three", "two"], []
    for name in names:
        made = life.ok("run", "-d", "--name", name, "--network", "none", "-v", "shared:/v",
                       life.image, "sh", "-c", script)  # fmt: skip
        chosen += ["--filter", f"id={made.text}"]
        life.until(lambda name=name: life.ok("logs", name).text == "ready")
    assert sorted(life.ok("restart", "-t", "30", *names).lines) == names
    ended = life.ok("events", "--stream=false", *chosen, "--filter", "event=died", "--format",
                    "{{.ContainerExitCode}}")  # fmt: skip
    assert ended.lines == ["5"] * 3
    assert len(life.ok("ps", "-q").lines) == 3


def test_many_starts_at_once_are_one(life):
    made = life.ok("create", "--name", "a", "--network", "none", life.image, "sleep", "1000")
    starting = [life.rl.start("start", "a") for _ in range(5)]
    for process in starting:
        output, _ = process.communicate(timeout=60)
        assert (process.returncode, output) == (0, b"a\n")
    starts = life.ok("events", "--stream=false", "--filter", f"id={made.text}", "--filter",
                     "event=start")  # fmt: skip
    assert len(starts.lines) == 1
    life.ok("pause", "a")
    life.fails("start", "a", says="paused")


def test_restart_makes_another_process(life):
    life.detached("a")
    before = life.inspect("a", "{{.State.Pid}}")
    assert life.ok("restart", "-t", "0", "a").text == "a"
    assert life.inspect("a", "{{.State.Pid}} {{.State.Status}}") != f"{before} running"
    life.ok("stop", "-t", "0", "a")
    life.ok("restart", "--running", "-t", "0")
    assert life.status("a") == "exited", "only running ones"
    life.ok("restart", "a")
    assert life.status("a") == "running"


def test_pause(life):
    script = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.01; done"
    life.detached("a", "sh", "-c", script)
    life.until(lambda: life.rl("exec", "a", "cat", "/tmp/count").stdout)
    assert life.ok("pause", "a").text == "a"
    assert life.status("a") == "paused"
    pid = life.inspect("a", "{{.State.Pid}}")
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        assert file.read().rpartition(")")[2].split()[0] == "T"
    life.fails("pause", "a", says="paused already")
    life.fails("exec", "a", "true", says="paused")
    life.fails("rm", "a", code=2, says="running")
    assert "Paused" in life.ok("ps").stdout
    assert life.ok("unpause", "a").text == "a"
    assert life.status("a") == "running"
    life.fails("unpause", "a", says="not paused")
    life.ok("exec", "a", "true")
    life.ok("pause", "--all")
    life.ok("unpause", "--all")


def test_a_paused_container_can_be_stopped(life):
    life.detached("a")
    life.ok("pause", "a")
    life.ok("stop", "-t", "1", "a")
    assert life.status("a") == "exited"
    life.ok("start", "a")
    assert life.status("a") == "running", "nothing of the pause is left"
    life.ok("pause", "a")
    life.ok("rm", "-f", "-t", "0", "a")


def test_rm(life):
    container = life.detached("a")
    life.fails("rm", "a", code=2, says="is running")
    life.ok("stop", "-t", "0", "a")
    assert life.ok("rm", "a").text == "a"
    assert not os.path.exists(life.directory(container))
    assert life.rl("container", "exists", "a").code == 1
    life.detached("a")
    assert life.ok("rm", "--force", "--time", "0", "a").text == "a"


def test_rm_goes_on_after_an_error(life):
    life.detached("running")
    life.ok("create", "--name", "idle", life.image)
    done = life.rl("rm", "running", "idle")
    assert (done.code, done.lines) == (2, ["idle"])


def test_rm_takes_anonymous_volumes_only_when_asked(life):
    for name in ("kept", "gone"):
        life.ok("run", "--name", name, "--network", "none", "-v", "/data", "-v", "named:/named",
                life.image, "true")  # fmt: skip
    assert len(life.ok("volume", "ls", "-q").lines) == 3
    life.ok("rm", "kept")
    assert len(life.ok("volume", "ls", "-q").lines) == 3
    life.ok("rm", "-v", "gone")
    left = life.ok("volume", "ls", "-q").lines
    assert len(left) == 2 and "named" in left


def test_rm_all_and_by_filter(life):
    for number in range(3):
        life.ok("create", "--name", f"c{number}", "--label", f"n={number}", life.image)
    life.detached("up")
    life.ok("rm", "--filter", "label=n=1")
    assert "c1" not in life.ok("ps", "-a", "--format", "{{.Names}}").lines
    life.fails("rm", "--all", code=2, says="up")
    assert life.ok("ps", "-a", "--format", "{{.Names}}").lines == ["up"]
    life.ok("rm", "-fa", "-t", "0")
    assert life.ok("ps", "-aq").text == ""


def test_cidfile_pidfile(life, workdir):
    container = life.detached("a", options=("--cidfile", f"{workdir}/cid", "--pidfile",
                                            f"{workdir}/pid"))  # fmt: skip
    with open(f"{workdir}/cid", encoding="ascii") as file:
        assert file.read() == container
    with open(f"{workdir}/pid", encoding="ascii") as file:
        assert file.read() == life.inspect("a", "{{.State.Pid}}")
    life.fails("create", "--cidfile", f"{workdir}/cid", life.image, says="exists")
    assert life.ok("stop", "-t", "0", "--cidfile", f"{workdir}/cid").text == container
    life.ok("rm", "--cidfile", f"{workdir}/cid")
    assert life.ok("ps", "-aq").text == ""
    life.fails("rm", "--cidfile", f"{workdir}/missing", says="missing")
    life.ok("rm", "--ignore", "--cidfile", f"{workdir}/missing")


def test_replace(life):
    old = life.detached("a", options=("--stop-timeout", "0"))
    life.fails("run", "--name", "a", life.image, "true", says="in use")
    new = life.detached("a", options=("--replace",))
    assert new != old and life.ok("ps", "-aq", "--no-trunc").lines == [new]


def test_rename(life):
    container = life.detached("old")
    life.ok("create", "--name", "other", life.image)
    life.fails("rename", "old", "other", says="in use")
    life.fails("rename", "old", "a b", says="a b")
    life.ok("rename", "old", "new")
    assert life.inspect("new", "{{.Id}}") == container
    assert life.rl("container", "exists", "old").code == 1
    life.detached("old")
    life.ok("rename", "new", "new")


def test_wait(life):
    life.detached("a", "sh", "-c", "sleep 0.3; exit 7")
    assert life.ok("wait", "a").text == "7"
    assert life.ok("wait", "a").text == "7", "of the past, too"
    life.ok("start", "a")
    assert life.ok("wait", "--condition", "running", "a").text
    life.ok("wait", "--condition", "exited", "a")


@pytest.mark.parametrize("condition", ["stopped", "exited", "removing"])
def test_several_waits_for_one_end(life, condition):
    life.detached("a")
    waits = [life.rl.start("wait", "--condition", condition, "a") for _ in range(3)]
    life.until(lambda: _clients(life) >= 3)
    life.ok("kill", "a")
    for one in waits:
        assert one.communicate(timeout=20)[0].strip() == b"137" and one.returncode == 0


def _clients(life):
    """How many connections the monitor of the only container has."""
    monitor = life.monitor(life.ok("ps", "-q", "--no-trunc").text)
    kinds = []
    for number in os.listdir(f"/proc/{monitor}/fd"):
        try:
            kinds.append(os.readlink(f"/proc/{monitor}/fd/{number}"))
        except FileNotFoundError:
            pass
    return sum(kind.startswith("socket:") for kind in kinds) - 1  # it listens on one


def test_init_prepares(life):
    life.ok("create", "--name", "a", "--network", "none", life.image, "sh", "-c", "exit 3")
    assert life.ok("init", "a").text == "a"
    assert life.status("a") == "initialized"
    assert "Initialized" in life.ok("ps", "-a").stdout
    life.ok("start", "a")
    assert life.ok("wait", "a").text == "3"


def test_an_initialized_container_can_be_removed(life):
    life.ok("create", "--name", "a", "--network", "none", life.image, "true")
    life.ok("init", "a")
    life.ok("rm", "-f", "a")
    assert life.ok("ps", "-aq").text == ""


def test_top(life):
    life.detached("a", "sh", "-c", "sleep 100 & wait")
    life.until(lambda: len(life.ok("top", "a").lines) == 3)
    lines = life.ok("top", "a").lines
    assert lines[0].split() == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert lines[1].split()[:3] == ["root", "1", "0"]
    assert life.ok("top", "a", "pid,args").lines[1].split()[0] == "1"
    life.fails("top", "a", "nope", says="nope")
    life.ok("stop", "-t", "0", "a")
    life.fails("top", "a", says="not running")


def test_stats(life):
    life.detached("busy", "sh", "-c", "while :; do :; done")
    life.ok("create", "--name", "idle", life.image)
    life.until(lambda: float(life.ok("stats", "--no-stream", "--format", "{{.CPU}}").text) > 5)
    (found,) = life.ok("stats", "--no-stream", "--format", "json").json()
    assert found["name"] == "busy" and found["pids"] == "1"
    assert found["source"] in ("proc", "cgroup")
    assert found["cpu_percent"].endswith("%") and found["net_io"] == "0B / 0B"
    rows = life.ok("stats", "-a", "--no-stream", "--format", "json").json()
    assert sorted(row["name"] for row in rows) == ["busy", "idle"]
    heading = life.ok("stats", "--no-stream").lines[0].split("  ")
    assert [word.strip() for word in heading if word.strip()] == [
        "ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET IO", "BLOCK IO", "PIDS",
        "CPU TIME", "AVG CPU %"]  # fmt: skip


def test_stats_again_and_again(life):
    life.detached("a")
    with life.rl.terminal("stats", "--interval", "1") as terminal:
        for _ in range(2):
            terminal.expect(r"\x1b\[2J\x1b\[H")
            terminal.expect("NAME")
        terminal.send("\x03")
        assert terminal.wait() == 130
    with life.rl.terminal("stats", "--interval", "1", "--no-reset") as terminal:
        for _ in range(2):
            terminal.expect("NAME")
        terminal.send("\x03")
        terminal.wait()
    assert b"\x1b[2J" not in terminal.seen


def test_port(life):
    life.detached("a")
    assert life.ok("port", "a").text == life.ok("port", "--all").text == ""
    life.fails("port", "a", "80", says="80")


def test_update_of_the_restart_policy(life):
    container = life.detached("a")
    assert life.ok("update", "--restart", "always", "a").text == container
    assert life.inspect("a", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    life.fails("update", "--restart", "nope", "a", says="nope")
    life.fails("update", "a", says="nothing to change")


def test_prune(life):
    life.detached("up")
    life.ok("create", "--name", "idle", "--label", "keep", life.image)
    gone = life.ok("create", "--name", "gone", life.image).text
    assert life.ok("container", "prune", "--force", "--filter", "label!=keep").text == gone
    life.ok("container", "prune", "--force")
    assert life.ok("ps", "-a", "--format", "{{.Names}}").lines == ["up"]


def test_requires(life):
    life.ok("create", "--name", "db", "--network", "none", life.image, "sleep", "1000")
    life.ok("create", "--name", "app", "--requires", "db", "--network", "none", life.image,
            "sleep", "1000")  # fmt: skip
    life.ok("start", "app")
    assert sorted(life.ok("ps", "--format", "{{.Names}}").lines) == ["app", "db"]
    life.fails("rm", "-f", "-t", "0", "db", says="required")
    life.fails("create", "--requires", "nope", life.image, says="nope")
    life.ok("stop", "-t", "0", "db", "app")
    assert life.rl("rm", "db").code == 125
    life.ok("rm", "db", "app")
    assert life.ok("ps", "-aq").text == ""


def test_a_start_error_is_told_again(life):
    life.ok("create", "--name", "a", "--network", "none", life.image, "/nowhere")
    life.fails("start", "a", code=127, says="/nowhere")
    life.fails("start", "--attach", "a", code=127, says="/nowhere")
    assert life.ok("ps", "-a", "--format", "{{.Names}}").lines == ["a"]
    assert life.inspect("a", "{{.State.Error}}") == "/nowhere: no such command in the container"
    assert life.ok("wait", "a").text == "127"
