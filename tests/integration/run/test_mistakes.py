"""Bad input of the verbs on containers: an error that names it, never a defect of rl."""

import os

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


@pytest.mark.parametrize("options, says", [
    (["--name", "x" * 256], "xxx"),
    (["--health-cmd", "true", "--health-interval", "99999999h"], "--health-interval"),
    (["--log-opt", "path=/proc/1/x"], "path=/proc/1/x"),
    (["--log-opt", "path=/tmp"], "path=/tmp"),
    (["--log-opt", "max-size=99999999999999999999g"], "max-size"),
    (["--preserve-fds", "1"], "file descriptor 3"),
    (["--preserve-fds", "1000000000"], "file descriptor 3"),
])  # fmt: skip
def test_run(box, options, says):
    box.fails(*options, says=says)
    box.nothing_left()


def test_a_name_as_long_as_a_file_name(box):
    box("--name", "x" * 255, sh="true")


def test_preserved_descriptors(box, running):
    name = running()
    for words in (box.words(["--preserve-fds", "1"], ["cat", "/proc/self/fd/3"]),
                  ["exec", "--preserve-fds", "1", name, "cat", "/proc/self/fd/3"]):  # fmt: skip
        read, write = os.pipe()
        os.write(write, b"word")
        os.close(write)
        try:
            result = box.rl(*words, preexec_fn=lambda read=read: os.dup2(read, 3), pass_fds=(3,))
        finally:
            os.close(read)
        assert result.stdout == "word", repr(result)


def test_too_large_an_environment(box, workdir):
    with open(f"{workdir}/env", "w", encoding="ascii") as file:
        file.write("A=" + "x" * 200_000 + "\n")
    result = box.fails("--env-file", f"{workdir}/env", code=126, says="too large")
    assert "128 KiB" in result.stderr


@pytest.mark.parametrize("content, says", [
    (b"a\0b", "there is none"), (b"", "there is none"), (b"\xff\xfe", "there is none"),
])  # fmt: skip
def test_a_cidfile_with_something_else(box, workdir, content, says):
    with open(f"{workdir}/id", "wb") as file:
        file.write(content)
    box.rl.fails("rm", "--cidfile", f"{workdir}/id", says=says)


def test_an_auth_file_that_is_a_directory(box, workdir):
    box.rl.fails("pull", "--authfile", workdir, "127.0.0.1:1/x", says=workdir)


@pytest.mark.parametrize("words, says", [
    (["wait", "--condition", "foo", "c"], "--condition foo"),
    (["wait", "--interval", "foo", "c"], "--interval foo"),
    (["wait", "--interval", "-1s", "c"], "--interval -1s"),
    (["logs", "--since", "soon", "c"], "'soon': not a point in time"),
    (["logs", "--since", "1e99", "c"], "not a point in time"),
    (["logs", "--until", "nan", "c"], "not a point in time"),
    (["logs", "--since", "999999999999999h", "c"], "not a point in time"),
])  # fmt: skip
def test_of_a_running_container(box, running, words, says):
    running()
    box.rl.fails(*words, says=says)


def test_a_very_long_time_to_stop(box, running):
    running("--stop-timeout", "999999999999", sh="trap 'exit 3' TERM; while :; do sleep 0.1; done")
    assert box.rl.ok("stop", "c").text == "c"
    box.rl.ok("start", "c")
    assert box.rl.ok("stop", "--time", "999999999999", "c").text == "c"


def test_wait_for_conditions(box, running):
    running(sh="sleep 0.5; exit 7")
    assert box.rl.ok("wait", "--condition", "running", "c").text == "-1"
    assert box.rl.ok("wait", "--condition", "healthy", "--condition", "exited", "c").text == "7"
    # Of a container that somebody removes while it is awaited.
    waiting = box.rl.start("wait", "--condition", "paused", "--interval", "10ms", "c")
    box.rl.ok("rm", "c")
    assert waiting.communicate(timeout=20)[0].strip() in (b"7", b"-1") or waiting.returncode == 125


def test_what_runs_is_not_passed_over_in_silence(box, running):
    running()
    box.rl.fails("rm", "--latest", code=2, says="running")
    box.rl.fails("rm", "--all", code=2, says="running")
    box.rl.fails("unpause", "--latest", says="c")
    assert box.rl.ok("start", "--latest").text
