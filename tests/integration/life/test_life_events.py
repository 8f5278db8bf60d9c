"""rl events: what is noted, in which words, for whom."""

import json
import os
import re

import pytest

pytestmark = pytest.mark.integration


def events(life, *options):
    """The events so far that pass these options, as dicts."""
    return [json.loads(line) for line in
            life.ok("events", "--stream=false", "--format", "json", *options).lines]  # fmt: skip


def statuses(life, container):
    return [event["Status"] for event in events(life, "--filter", f"id={container}")]


def test_a_whole_life(life):
    container = life.ok("create", "--name", "a", "--network", "none", life.image, "sleep",
                        "100").text  # fmt: skip
    life.ok("start", "a")
    life.ok("pause", "a")
    life.ok("unpause", "a")
    life.ok("exec", "a", "true")
    life.ok("kill", "-s", "USR2", "a")
    life.ok("rename", "a", "b")
    life.ok("update", "--restart", "no", "b")
    life.ok("restart", "-t", "0", "b")
    life.ok("stop", "-t", "0", "b")
    life.ok("rm", "b")
    # USR2 ends sleep as soon as the kernel comes round to it.
    assert sorted(statuses(life, container)) == sorted((
        "create", "start", "pause", "unpause", "exec", "kill", "died", "rename", "update",
        "start", "restart", "died", "stop", "remove"))  # fmt: skip


def test_run_rm(life):
    life.ok("run", "--rm", "--name", "once", "--network", "none", life.image, "sh", "-c", "true")
    found = events(life, "--filter", "name=once")
    assert [event["Status"] for event in found] == ["create", "start", "died", "remove"]
    assert found[2]["ContainerExitCode"] == 0


def test_the_line(life):
    container = life.detached("a", options=("--label", "tier=web"))
    (line,) = life.ok("events", "--stream=false", "--filter", f"id={container}", "--filter",
                      "event=start").lines  # fmt: skip
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} [+-]\d{4} \w+ container start "
        rf"{container} \(image=localhost/busybox:latest, name=a, tier=web\)", line)  # fmt: skip
    line = life.ok("events", "--stream=false", "--no-trunc=false", "--filter",
                   f"id={container}").lines[0]  # fmt: skip
    assert f" {container[:12]} (" in line


def test_a_name_that_changed_is_the_one_that_is_told(life):
    container = life.detached("a")
    life.ok("rename", "a", "b")
    life.ok("kill", "b")
    (died,) = events(life, "--filter", f"id={container}", "--filter", "event=died")
    assert (died["Name"], died["ContainerExitCode"]) == ("b", 137)


def test_filters(life):
    container = life.detached("a", options=("--label", "tier=web"))
    life.ok("kill", "a")
    assert [e["Status"] for e in events(life, "-f", f"container={container[:12]}", "-f",
                                        "event=die", "-f", "event=start")] == ["start", "died"]
    assert {e["ID"] for e in events(life, "-f", "label=tier=web", "-f", f"id={container}")} == {
        container}  # fmt: skip
    assert all(e["Type"] == "image" for e in events(life, "-f", "type=image"))
    assert events(life, "-f", "image=busybox", "-f", f"id={container}")
    life.fails("events", "--stream=false", "-f", "nope=1", says="nope")
    life.fails("events", "--stream=false", "--since", "some-day", says="some-day")


def test_since_and_until(life):
    container = life.detached("a")
    life.ok("kill", "a")
    (died,) = events(life, "-f", f"id={container}", "-f", "event=died")
    after = events(life, "--since", died["Time"], "-f", f"id={container}")
    assert after[0]["Status"] == "died" and "create" not in [event["Status"] for event in after]
    assert life.ok("events", "--since", "1h", "--until", "0s", "-f", f"id={container}").lines
    assert life.ok("events", "--until", "300ms", "-f", "name=nobody", timeout=20).lines == []


def test_images_and_volumes(life):
    life.ok("volume", "create", "events-volume")
    life.ok("volume", "rm", "events-volume")
    found = events(life, "--filter", "volume=events-volume")
    assert [event["Status"] for event in found] == ["create", "remove"]
    life.ok("tag", life.image, "localhost/events:1")
    life.ok("rmi", "localhost/events:1")
    found = events(life, "--filter", "image=localhost/events:1")
    assert [event["Status"] for event in found] == ["tag", "untag"]


def test_follow(life):
    follow = life.rl.start("events", "--format", "{{.Type}} {{.Status}} {{.Name}}", "-f",
                           "container=followed")  # fmt: skip
    life.until_it_watches(follow)
    life.ok("run", "--rm", "--name", "followed", "--network", "none", life.image, "true")
    lines = [follow.stdout.readline().decode() for _ in range(4)]
    assert lines == [f"container {status} followed\n" for status in
                     ("create", "start", "died", "remove")]  # fmt: skip
    follow.terminate()
    follow.communicate()


def test_a_reader_follows_over_rotations(life):
    with open(f"{life.rl.root}/events.log", "ab") as file:
        file.write(b"x" * (1 << 20) + b"\n")  # not an event, and the log is full
    for _ in range(2):
        life.ok("run", "--rm", "--name", "rotated", "--network", "none", life.image, "true")
    found = [event["Status"] for event in events(life, "--filter", "name=rotated")]
    assert found == ["create", "start", "died", "remove"] * 2


def test_a_log_that_cannot_be_written_does_not_stop_a_container(life, workdir):
    log = f"{life.rl.root}/events.log"
    os.rename(log, f"{workdir}/kept")
    os.mkdir(log)
    try:
        assert life.ok("run", "--rm", "--network", "none", life.image, "echo", "hi").text == "hi"
    finally:
        os.rmdir(log)
