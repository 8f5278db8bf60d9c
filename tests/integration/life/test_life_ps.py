"""rl ps: rows, columns, filters, order."""

import re

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def three(life):
    """Three containers: one runs, one has ended, one was never started."""
    life.detached("up", options=("--label", "tier=web", "-v", "data:/data"))
    life.rl("run", "--name", "over", "--network", "none", life.image, "sh", "-c", "exit 3")
    life.ok("create", "--name", "new", "--label", "tier=db", life.image, "echo", "hello")
    return life


def names(life, *options):
    """The names that rl ps shows, in order."""
    return life.ok("ps", *options, "--format", "{{.Names}}").lines


def test_columns(three):
    lines = three.ok("ps", "--all").lines
    assert re.split(r"\s{2,}", lines[0]) == [
        "CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]  # fmt: skip
    assert [line.split()[-1] for line in lines[1:]] == ["up", "over", "new"]
    assert re.match(r"[0-9a-f]{12}  localhost/busybox:latest  sleep 1000 ", lines[1])
    assert re.search(r"Up \S.* second", lines[1]) or "Up Less than a second" in lines[1]
    assert "Exited (3)" in lines[2] and "ago" in lines[2]
    assert "Created" in lines[3]


def test_which_are_shown(three):
    assert names(three) == ["up"]
    assert names(three, "-a") == ["up", "over", "new"]
    assert names(three, "--last", "2") == ["over", "new"]
    assert names(three, "--latest") == ["new"]
    assert len(three.ok("ps", "-aq").lines) == 3
    assert all(len(line) == 64 for line in three.ok("ps", "-aq", "--no-trunc").lines)
    assert three.ok("ps", "--noheading").lines[0].endswith("up")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["status=running"], ["up"]),
        (["status=exited"], ["over"]),
        (["status=created"], ["new"]),
        (["status=exited", "status=created"], ["over", "new"]),
        (["name=^o"], ["over"]),
        (["label=tier"], ["up", "new"]),
        (["label=tier=db"], ["new"]),
        (["label=tier", "label=tier=web"], ["up"]),
        (["label!=tier"], ["over"]),
        (["exited=3"], ["over"]),
        (["exited=0"], []),
        (["ancestor=busybox"], ["up", "over", "new"]),
        (["ancestor=localhost/busybox:latest"], ["up", "over", "new"]),
        (["ancestor=other"], []),
        (["since=up"], ["over", "new"]),
        (["before=over"], ["up"]),
        (["volume=data"], ["up"]),
        (["volume=/data"], ["up"]),
        (["network=none"], ["up", "over"]),
        (["command=sleep"], ["up"]),
        (["until=1h"], []),
        (["health=none"], ["up", "over", "new"]),
        (["status=running", "label=tier=db"], []),
    ],
    ids=" ".join,
)
def test_filters(three, texts, expected):
    options = [word for text in texts for word in ("--filter", text)]
    assert names(three, "-a", *options) == expected


def test_bad_filters(life):
    life.fails("ps", "--filter", "nope=1", says="nope")
    life.fails("ps", "--filter", "status", says="KEY=VALUE")
    life.fails("ps", "--filter", "status=gone", says="gone")
    life.fails("ps", "--filter", "health=well", says="well")
    life.fails("ps", "--filter", "exited=well", says="well")
    life.detached("a")
    life.fails("ps", "--filter", "name=[", says="name=[")
    life.fails("ps", "--filter", "since=nope", says="nope")


@pytest.mark.parametrize(
    ("key", "first"),
    [("names", "new"), ("created", "up"), ("command", "new"), ("status", "new")],
)
def test_sort(three, key, first):
    assert names(three, "-a", "--sort", key)[0] == first
    assert three.rl("ps", "--sort", "nope").code == 125


def test_json(three):
    rows = three.ok("ps", "-a", "--format", "json").json()
    up, over, new = rows
    assert up["Names"] == ["up"] and up["State"] == "running" and up["Pid"] > 0
    assert up["Labels"] == {"tier": "web"} and up["Command"] == ["sleep", "1000"]
    assert (over["ExitCode"], over["Exited"], over["State"]) == (3, True, "exited")
    assert (new["State"], new["StartedAt"]) == ("created", 0)


def test_templates(three):
    lines = three.ok("ps", "--format", "table {{.Names}} {{.Image}}").lines
    assert [line.split() for line in lines] == [["NAMES", "IMAGE"],
                                                ["up", "localhost/busybox:latest"]]  # fmt: skip
    assert three.ok("ps", "-a", "--format", '{{.Names}} {{index .Labels "tier"}}').lines[0] == (
        "up web")  # fmt: skip
    three.fails("ps", "--format", "{{.Nope}}", says="Nope")


def test_size(three):
    three.ok("exec", "up", "dd", "if=/dev/zero", "of=/file", "bs=1000", "count=3000")
    (row,) = three.ok("ps", "--size", "--format", "json").json()
    assert 3_000_000 <= row["Size"] < 3_200_000 < row["RootFsSize"]
    assert re.search(r"3(\.\d+)? MB \(virtual", three.ok("ps", "--size").stdout)


def test_namespaces(three):
    (row,) = three.ok("ps", "--ns").lines[1:]
    assert row.split()[2] == three.inspect("up", "{{.State.Pid}}")


def test_watch(three):
    with three.rl.terminal("ps", "--watch", "1", size=(24, 200)) as terminal:
        terminal.expect("up")
        three.ok("stop", "-t", "0", "up")
        terminal.expect(r"\x1b\[2J\x1b\[HCONTAINER ID[^\n]*\n(?!.*up)")
        terminal.send("\x03")
        assert terminal.wait() == 130


def test_what_the_names_of_a_container_can_do_to_a_terminal(life):
    life.detached("a", "sh", "-c", "sleep 1000; : \x1b[31m")
    with life.rl.terminal("ps", "--no-trunc", size=(24, 300)) as terminal:
        terminal.wait()
    assert b"\x1b[31m" not in terminal.seen and b"x1b[31m" in terminal.seen
