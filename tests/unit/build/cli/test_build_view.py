"""How a build is shown: live, as lines, as JSON, and not at all."""

import base64
import io
import json

import pytest

from rootless.cli import build_view
from rootless.cli.build_json import Raw
from rootless.engine.build.options import Options
from rootless.errors import RlError
from support.screen import Screen, Terminal


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        self.now += 0.25
        return self.now


class Broken(RlError):
    """it broke"""


def live(area=(60, 24)):
    stream = Terminal()
    return build_view.Live(stream, Clock(), area), stream


def shown(stream):
    return Screen().show(stream.getvalue()).text()


def plain():
    stream = io.StringIO()
    return build_view.Plain(stream, Clock()), stream


# --- choosing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "given", "term", "kind"),
    [
        (Terminal(), {}, "xterm", build_view.Live),
        (Terminal(), {"progress": "plain"}, "xterm", build_view.Plain),
        (Terminal(), {}, "dumb", build_view.Plain),
        (io.StringIO(), {}, "xterm", build_view.Plain),
        (Terminal(), {"quiet": True}, "xterm", build_view.Quiet),
        (io.StringIO(), {"progress": "quiet"}, "xterm", build_view.Quiet),
        (io.StringIO(), {"progress": "rawjson"}, "xterm", Raw),
    ],
)
def test_the_form_follows_the_options(monkeypatch, stream, given, term, kind):
    monkeypatch.setenv("TERM", term)
    assert type(build_view.choose(Options(**given), stream)) is kind


def test_tty_needs_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(build_view.NoTerminal):
        build_view.choose(Options(progress="tty"), io.StringIO())


# --- lines ---------------------------------------------------------------------------------


def test_plain_writes_numbered_lines():
    view, stream = plain()
    view.begin([("build", 2)])
    view.step_cached("a", "[build 1/2] FROM debian", 1)
    view.step_started("b", "[build 2/2] RUN make", 2)
    view.step_output("b", 1, b"one\ntw")
    view.step_output("b", 2, b"bad\n")
    view.step_output("b", 1, b"o\nrest")
    view.step_done("b", 1.26)
    view.finish()
    assert stream.getvalue().split("\n") == [
        "#1 [build 1/2] FROM debian",
        "#1 CACHED",
        "",
        "#2 [build 2/2] RUN make",
        "#2 0.250 one",
        "#2 0.500 bad",
        "#2 0.750 two",
        "#2 1.000 rest",
        "#2 DONE 1.3s",
        "",
    ]


def test_plain_names_the_step_again_when_another_one_spoke_between():
    view, stream = plain()
    view.step_started("a", "A", 1)
    view.step_started("b", "B", 1)
    view.step_output("a", 1, b"x\n")
    view.step_failed("b", Broken())
    text = stream.getvalue()
    assert text.count("#1 A\n") == 2 and text.count("#2 B\n") == 2
    assert text.endswith("#2 B\n#2 ERROR: it broke\n")


def test_a_line_that_was_written_over_shows_its_last_state():
    view, stream = plain()
    view.step_started("a", "A", 1)
    view.step_output("a", 1, b" 10%\r 99%\r100%\r\n")
    assert stream.getvalue().endswith(" 100%\n")


def test_bytes_that_are_no_text_come_through():
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape", newline="")
    view = build_view.Plain(stream, Clock())
    view.step_started("a", "A", 1)
    view.step_output("a", 1, b"\xff\xfe\n")
    assert stream.buffer.getvalue().endswith(b"\xff\xfe\n")


def test_warnings_come_last():
    view, stream = plain()
    view.warning("JSONArgsRecommended: x", 3)
    view.step_cached("a", "A", 1)
    with view:
        pass
    assert stream.getvalue().endswith("Warning: JSONArgsRecommended: x (line 3)\n")


def test_what_comes_is_a_line_each():
    view, stream = plain()
    view.step_started("a", "FROM debian", 1)
    bytes_ = view.transfer("a")
    bytes_.start("k", "Copying blob 12", 10)
    bytes_.advance("k", 10)
    bytes_.done("k")
    bytes_.close()
    assert "#1 Copying blob 12: done\n" in stream.getvalue()


# --- a log file ----------------------------------------------------------------------------


def test_a_log_for_each_platform(tmp_path):
    path = str(tmp_path / "log")
    with build_view.choose(Options(logfile=path, logsplit=True)) as view:
        for name in ("linux/amd64", "linux/arm64"):
            view.platform(name)
            view.step_started(name, f"on {name}", 1)
            view.step_done(name, 1)
    for name in ("amd64", "arm64"):
        assert f"on linux/{name}" in (tmp_path / f"log_linux_{name}").read_text()
    assert (tmp_path / "log").read_text() == ""


def test_a_log_that_cant_be_written(tmp_path):
    with pytest.raises(build_view.NoLog):
        build_view.choose(Options(logfile=str(tmp_path / "no" / "log")))


# --- nothing -------------------------------------------------------------------------------


def test_quiet_shows_the_output_of_what_fails_only():
    stream = io.StringIO()
    with build_view.Quiet(stream, Clock()) as view:
        for key in "ab":
            view.step_started(key, f"step {key}", 1)
            view.step_output(key, 1, f"said by {key}\nmore".encode())
        view.step_done("a", 1)
        view.warning("careful")
        view.step_failed("b", Broken())
    assert stream.getvalue() == "------ step b:\nsaid by b\nmore\n------\n"


# --- a terminal ----------------------------------------------------------------------------


def test_live_shows_what_runs_below_what_has_ended():
    view, stream = live()
    view.begin([("build", 4)])
    view.step_cached("a", "[1/4] FROM debian", 1)
    view.step_started("b", "[2/4] RUN make", 2)
    view.step_started("c", "[3/4] COPY . .", 3)
    view.step_output("b", 1, b"gcc one\ngcc two\n")
    rows = shown(stream)
    assert rows[0] == " => CACHED [1/4] FROM debian"
    assert rows[1].startswith("[+] Building ") and rows[1].endswith("(1/4)")
    assert rows[2].startswith(" => [2/4] RUN make  ") and rows[2].endswith("s")
    assert rows[3:5] == [" => => gcc one", " => => gcc two"]
    assert rows[5].startswith(" => [3/4] COPY . .  ")
    view.step_done("b", 2.5)
    view.step_cancelled("c")
    view.finish()
    rows = shown(stream)
    assert rows[1].startswith(" => [2/4] RUN make") and rows[1].endswith(" 2.5s")
    assert rows[2:] == [" => CANCELED [3/4] COPY . ."]


def test_live_shows_all_that_a_failing_step_said():
    view, stream = live()
    view.step_started("b", "RUN make", 2)
    view.step_output("b", 1, b"".join(b"line %d\n" % n for n in range(40)))
    view.step_failed("b", Broken())
    view.finish(Broken())
    rows = shown(stream)
    assert rows[0] == " => ERROR RUN make"
    assert [row for row in rows if row.startswith("line ")] == [f"line {n}" for n in range(40)]


def test_live_keeps_to_its_terminal():
    view, stream = live((40, 8))
    for key in range(12):
        view.step_started(key, f"RUN {'x' * 100}", 1)
        view.step_output(key, 1, "漢字\t".encode() * 40 + b"\n")
    drawn = stream.getvalue().split("\x1b[J")[-2]
    rows = Screen().show(drawn.partition("A")[2]).text()
    assert 2 <= len(rows) <= 7
    assert all(len(row) < 40 for row in rows)


def test_a_hostile_step_cant_steer_the_terminal():
    view, stream = live()
    view.step_started("a", "RUN \x1b]0;title\x07", 1)
    view.step_output("a", 1, b"\x1b[2J\x1b[H\xc2\x9b31m gone\n")
    view.step_failed("a", Broken())
    text = stream.getvalue()
    assert "\x1b]" not in text and "\x1b[2J" not in text and "\x9b" not in text
    assert "\\x1b[2J" in text


def test_time_goes_by_while_nothing_is_said():
    view, stream = live()
    view.step_started("a", "RUN sleep 60", 1)
    first = shown(stream)
    view.step_output("a", 1, b"")
    second = shown(stream)
    view.tick()
    assert len({first[1], second[1], shown(stream)[1]}) == 3
    quiet, text = plain()
    quiet.step_started("a", "RUN sleep 60", 1)
    quiet.step_output("a", 1, b"")
    quiet.tick()
    assert text.getvalue() == "#1 RUN sleep 60\n"


def test_live_shows_bytes_that_come():
    view, stream = live()
    view.step_started("a", "FROM debian", 1)
    bytes_ = view.transfer("a")
    bytes_.start("k", "Copying blob 12", 2_000_000)
    bytes_.advance("k", 1_000_000)
    view.tick()
    assert " => => Copying blob 12  1 MB / 2 MB" in shown(stream)
    bytes_.done("k")
    view.step_done("a", 1)
    view.finish()
    assert not [row for row in shown(stream) if "Copying" in row]


def test_much_output_is_kept_from_its_end(monkeypatch):
    monkeypatch.setattr(build_view, "_KEPT", 1000)
    stream = io.StringIO()
    view = build_view.Quiet(stream, Clock())
    view.step_started("a", "A", 1)
    for n in range(1000):
        view.step_output("a", 1, b"line %04d\n" % n)
    view.step_failed("a", Broken())
    text = stream.getvalue()
    assert "line 0999" in text and "line 0000" not in text and "only the last" in text


# --- JSON ----------------------------------------------------------------------------------


def test_raw_json():
    stream = io.StringIO()
    with Raw(stream, lambda: "2024-01-01T00:00:00Z") as view:
        view.step_started("a", "RUN make", 2)
        view.step_output("a", 2, b"\xffoops\n")
        bytes_ = view.transfer("a")
        bytes_.start("k", "blob", 5)
        bytes_.done("k")
        view.warning("careful", 3)
        view.step_failed("a", Broken())
        view.step_cached("b", "COPY", 3)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    vertexes = [one["vertexes"][0] for one in found if "vertexes" in one]
    assert [v["name"] for v in vertexes] == ["RUN make", "RUN make", "COPY"]
    assert vertexes[0]["digest"] == vertexes[1]["digest"] != vertexes[2]["digest"]
    assert vertexes[0]["digest"].startswith("sha256:")
    assert "completed" not in vertexes[0] and vertexes[1]["error"] == "it broke"
    assert vertexes[2]["cached"] is True and vertexes[2]["completed"]
    log = next(one["logs"][0] for one in found if "logs" in one)
    assert base64.b64decode(log["data"]) == b"\xffoops\n" and log["stream"] == 2
    assert log["vertex"] == vertexes[0]["digest"]
    status = [one["statuses"][0] for one in found if "statuses" in one]
    assert status[0]["total"] == 5 and status[-1]["completed"]
    warning = next(one["warnings"][0] for one in found if "warnings" in one)
    assert base64.b64decode(warning["short"]) == b"careful"


def test_findings():
    stream = io.StringIO()
    assert build_view.show_findings([], stream) == 0
    assert "no warnings" in stream.getvalue()
    assert build_view.show_findings(["one"], stream) == 1
