"""What a person sees of a build: progress in its forms, errors that point into the file."""

import json
import os

import pytest

from support import oci

pytestmark = pytest.mark.integration
OTHER = "arm64" if oci.architecture() == "amd64" else "amd64"


@pytest.fixture
def context(workdir):
    path = f"{workdir}/context"
    os.makedirs(path)
    return path


def write(context, text):
    with open(f"{context}/Containerfile", "w", encoding="utf-8") as file:
        file.write(text)


FAILS = """\
FROM localhost/busybox
RUN echo fine
RUN for n in $(seq 40); do echo line $n; done; echo wrong >&2; exit 7
"""


def build(rl, context, *words, **how):
    return rl("build", "--network", "none", *words, context, **how)


@pytest.mark.one_id
@pytest.mark.parametrize("progress", ["auto", "plain", "quiet"])
def test_a_failing_step(rl, busybox, context, progress):
    write(context, FAILS)
    done = build(rl, context, "--progress", progress)
    assert done.code == 7 and done.stdout == ""
    lines = done.stderr.splitlines()
    for number in range(1, 41):
        assert any(line.endswith(f"line {number}") for line in lines), done
    assert any(line.endswith("wrong") for line in lines)
    assert ("fine" in done.stderr) == (progress != "quiet")
    error = next(line for line in lines if line.startswith("Error: "))
    assert "Containerfile:3:" in error and "exit code 7" in error
    assert "    3 | RUN for n in" in done.stderr


def test_a_terminal(rl, busybox, context):
    write(context, FAILS)
    with rl.terminal("build", "--network", "none", context) as screen:
        screen.expect("exit code 7", 60)
        assert screen.wait() == 7
    text = screen.seen.decode()
    assert "[+] Building" in text and " => ERROR [" in text
    assert "line 1\r\n" in text and "line 40\r\n" in text


def test_what_a_step_says_cant_steer_the_terminal(rl, busybox, context):
    write(context, "FROM localhost/busybox\nRUN printf '\\033[2J\\033]0;x\\007'; exit 1\n")
    with rl.terminal("build", "--network", "none", context) as screen:
        screen.expect("exit code 1", 60)
        screen.wait()
    assert b"\x1b[2J" not in screen.seen and b"\x1b]0" not in screen.seen
    assert b"\\x1b[2J" in screen.seen


def test_json(rl, busybox, context):
    write(context, "FROM localhost/busybox\nRUN echo out; echo err >&2\nENV A=b\n")
    done = build(rl, context, "--progress", "rawjson")
    found = [json.loads(line) for line in done.stderr.splitlines()]
    names = [one["vertexes"][0]["name"] for one in found if "vertexes" in one]
    assert any("RUN echo out" in name for name in names)
    assert {one["logs"][0]["stream"] for one in found if "logs" in one} == {1, 2}
    again = build(rl, context, "--progress", "rawjson")
    steps = [json.loads(line)["vertexes"][0] for line in again.stderr.splitlines()]
    assert steps and all(step.get("cached") for step in steps)


def test_the_variable_chooses_the_form(rl, busybox, context):
    write(context, "FROM localhost/busybox\nRUN echo out\n")
    done = build(rl, context, env={"BUILDKIT_PROGRESS": "quiet"})
    assert done.stderr == "" and len(done.text) == 64
    assert build(rl, context, env={"BUILDKIT_PROGRESS": "loud"}).code == 125


def test_steps_ask_for_rights(rl, busybox, context):
    write(context, "FROM localhost/busybox\nRUN --security=insecure true\n")
    done = rl.fails("build", context, says="Containerfile:2:")
    assert "rl build --allow security.insecure" in done.stderr
    assert build(rl, context, "--allow", "security.insecure").code == 0
    write(context, "FROM localhost/busybox\nRUN --network=host true\n")
    rl.fails("build", context, says="network of this machine")
    assert build(rl, context, "--allow", "network.host").code == 0
    assert rl("build", "--network", "host", context).code == 0
    rl.fails("build", "--allow", "everything", context, says="everything")


def test_another_platform(rl, busybox, workdir, context):
    write(context, "FROM localhost/foreign\nCOPY Containerfile /\nENV A=b\n")
    image = oci.Image([oci.layer(oci.entry("bin/sh", "x", mode=0o755))], {"Cmd": ["x"]},
                      architecture="s390x")  # fmt: skip
    rl.ok("load", "-q", "-i", image.oci_archive(f"{workdir}/x", "localhost/foreign:latest"))
    done = build(rl, context, "-q", "--platform", "linux/s390x", "-t", "made")
    assert done.code == 0, done
    assert rl.ok("image", "inspect", "made").json()[0]["Architecture"] == "s390x"
    write(context, "FROM localhost/foreign\nRUN true\n")
    done = rl.fails("build", "--platform", "linux/s390x", context, says="s390x")
    assert "binfmt" in done.stderr and "Containerfile:2:" in done.stderr


def test_the_same_verb_by_other_names(rl, context):
    write(context, "FROM scratch\nCOPY Containerfile /\n")
    first = build(rl, context, "-q").text
    for words in (("image", "build"), ("buildx", "build"), ("builder", "build")):
        assert rl.ok(*words, "-q", context).text == first
