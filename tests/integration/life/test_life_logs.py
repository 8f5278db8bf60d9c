"""rl logs: what was written, parts of it, and what comes."""

import os
import re
import subprocess
import time

import pytest

pytestmark = pytest.mark.integration

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")


def ran(life, script, *options, name="a"):
    life.ok("run", "--name", name, "--network", "none", *options, life.image, "sh", "-c", script)


@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
def test_both_streams(life, driver):
    ran(life, "echo out; echo err >&2; printf end", "--log-driver", driver)
    done = life.ok("logs", "a")
    assert (done.stdout, done.stderr) == ("out\nend", "err\n")


@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
def test_tail(life, driver):
    ran(life, "for i in 1 2 3 4 5; do echo $i; done", "--log-driver", driver)
    for count in (0, 1, 3, 5, 9):
        assert life.ok("logs", "--tail", count, "a").lines == list("12345")[max(0, 5 - count) :]
    assert life.ok("logs", "--tail", "-1", "a").lines == list("12345")


def test_since_and_until(life):
    ran(life, "echo one; sleep 1.2; echo two")
    first, second = (line.split()[0] for line in life.ok("logs", "-t", "a").lines)
    assert STAMP.match(first + " ")
    assert life.ok("logs", "--since", second, "a").lines == ["two"]
    assert life.ok("logs", "--until", first, "a").lines == ["one"]
    assert life.ok("logs", "--since", "1h", "a").lines == ["one", "two"]
    assert life.ok("logs", "--since", str(int(time.time()) + 100), "a").lines == []
    life.fails("logs", "--since", "yesterday-ish", "a", says="yesterday-ish")


def test_follow_until_the_end(life):
    life.detached("a", "sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done")
    assert life.ok("logs", "--follow", "a", timeout=20).lines == list("123456")


def test_follow_with_tail_only_shows_what_comes(life):
    life.detached("a", "sh", "-c", "echo old; while ! test -e /go; do sleep 0.02; done; echo new")
    life.until(lambda: "old" in life.ok("logs", "a").stdout)
    follow = life.rl.start("logs", "--follow", "--tail", "0", "a")
    life.until_it_watches(follow)
    life.ok("exec", "a", "touch", "/go")
    assert follow.communicate(timeout=20)[0] == b"new\n"


def test_follow_over_rotations(life):
    # Two files are kept: who writes more than that between two looks has outrun the reader.
    # So the writer waits for it now and then.
    script = ("i=0; while test $i -lt 3000; do i=$((i+1)); echo line $i;"
              " test $((i % 500)) = 0 && until test -e /go$i; do sleep 0.02; done; done; true")
    life.detached("a", "sh", "-c", script, options=("--log-opt", "max-size=30k"))
    follow = life.rl.start("logs", "--follow", "a")
    for number in range(1, 3001):
        assert follow.stdout.readline() == b"line %d\n" % number
        if number % 500 == 0:
            life.ok("exec", "a", "touch", f"/go{number}")
    assert follow.communicate(timeout=40)[0] == b""
    directory = life.directory(life.ok("ps", "-aq", "--no-trunc").text)
    assert os.path.getsize(f"{directory}/ctr.log") <= 30_720
    assert os.path.getsize(f"{directory}/ctr.log.1") <= 30_720


def test_a_reader_that_leaves_early(life):
    ran(life, "for i in $(seq 20000); do echo line $i; done")
    process = life.rl.start("logs", "a")
    assert process.stdout.readline() == b"line 1\n"
    process.stdout.close()
    assert process.wait(20) == 141
    process.stderr.close()


def test_several_containers(life):
    for name in ("a", "b"):
        ran(life, f"echo {name}", name=name)
    assert life.ok("logs", "a", "b").lines == ["a", "b"]
    assert life.ok("logs", "--names", "a", "b").lines == ["a a", "b b"]
    assert life.ok("logs", "--latest").lines == ["b"]
    life.fails("logs", "--follow", "a", "b", says="one container")


def test_drivers_without_a_log(life):
    ran(life, "echo gone", "--log-driver", "none")
    life.fails("logs", "a", says="none")
    life.fails("run", "--log-driver", "nope", life.image, says="nope")
    done = life.ok("run", "--rm", "--network", "none", "--log-driver", "passthrough", life.image,
                   "echo", "here")  # fmt: skip
    assert done.text == "here"


def test_log_options(life, workdir):
    ran(life, "echo there", "--log-opt", f"path={workdir}/log")
    with open(f"{workdir}/log", encoding="utf-8") as file:
        assert file.read().endswith(" stdout F there\n")
    assert life.ok("logs", "a").text == "there"
    assert life.inspect("a", "{{.HostConfig.LogConfig.Path}}") == f"{workdir}/log"
    life.ok("run", "--name", "b1", "--network", "none", life.image, "echo", "kept")
    with open(life.inspect("b1", "{{.LogPath}}"), encoding="utf-8") as file:
        assert file.read().endswith("F kept\n")
    life.fails("run", "--log-opt", "nope=1", life.image, says="nope=1")
    life.fails("run", "--log-opt", "max-size=much", life.image, says="much")


def test_a_large_log(life):
    ran(life, "yes 0123456789 | head -c 11000000")
    process = life.rl.start("logs", "a")
    done = subprocess.run(["md5sum"], stdin=process.stdout, capture_output=True, check=True)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(20) == 0
    wanted = subprocess.run("yes 0123456789 | head -c 11000000 | md5sum", shell=True,
                            capture_output=True, check=True)  # fmt: skip
    assert done.stdout == wanted.stdout


def test_what_a_container_writes_does_not_act_on_a_terminal(life):
    ran(life, r"printf '\033[31mred\033[0m \033]0;title\007 \033[2Jclear\n'")
    with life.rl.terminal("logs", "a") as terminal:
        terminal.wait()
    assert b"\x1b[31mred" in terminal.seen
    assert b"\x1b]" not in terminal.seen and b"\x1b[2J" not in terminal.seen


def test_logs_of_a_container_that_never_started(life):
    life.ok("create", "--name", "a", life.image)
    assert life.ok("logs", "a").stdout == ""
    assert life.ok("logs", "--follow", "a", timeout=20).stdout == ""
