"""Progress: bars on a terminal, lines elsewhere, nothing with --quiet."""

import io

import pytest

from rootless.cli import progress
from support.screen import Screen, Terminal


@pytest.mark.parametrize(
    ("stream", "quiet", "term", "kind"),
    [
        (Terminal(), False, "xterm", progress.Bars),
        (Terminal(), False, "dumb", progress.Lines),
        (io.StringIO(), False, "xterm", progress.Lines),
        (Terminal(), True, "xterm", progress.Quiet),
    ],
)
def test_choose(monkeypatch, stream, quiet, term, kind):
    monkeypatch.setenv("TERM", term)
    assert type(progress.choose(quiet, stream)) is kind


def test_quiet_takes_everything():
    with progress.Quiet() as quiet:
        quiet.start(1, "a", 10)
        quiet.advance(1, 5)
        quiet.done(1)
        quiet.message("x")


def test_lines():
    stream = io.StringIO()
    with progress.Lines(stream) as shown:
        shown.message("Trying it")
        shown.start("k", "layer 1", 10)
        shown.advance("k", 10)
        shown.done("k")
        shown.start("j", "layer\n2", 10)
        shown.done("j", "already exists")
    assert stream.getvalue() == "Trying it\nlayer 1: done\nlayer 2: already exists\n"


def bars(width=60):
    stream, now = Terminal(), [0.0]
    return progress.Bars(stream, lambda: now[0], width), stream, now


def test_bars_are_redrawn_in_place():
    shown, stream, now = bars()
    shown.message("Trying it")
    shown.start("a", "layer 1", 1000)
    shown.start("b", "layer 2", None)
    now[0] = 1
    shown.advance("a", 500)
    now[0] = 2
    shown.advance("b", 5_240_000)
    assert Screen().show(stream.getvalue()).rows == [
        "Trying it",
        "layer 1  [============>           ]  500 B / 1 kB",
        "layer 2  5.24 MB",
        "",
    ]
    shown.done("b", "done")
    shown.done("a")
    shown.close()
    assert Screen().show(stream.getvalue()).rows == [
        "Trying it", "layer 1  done", "layer 2  done", ""
    ]  # fmt: skip


def test_bars_draw_seldom():
    shown, stream, now = bars()
    shown.start("a", "layer", 10_000)
    before = stream.tell()
    for _ in range(1000):
        shown.advance("a", 1)
    assert stream.tell() == before
    now[0] = 1
    shown.advance("a", 1)
    assert stream.tell() > before


def test_bars_fit_the_width_and_hide_controls():
    shown, stream, _ = bars(20)
    shown.start("a", "x\x1b[2Jy" * 9, 10)
    rows = Screen().show(stream.getvalue()).rows
    assert len(rows[0]) == 19 and rows[0].startswith("x\\x1b[2Jy")


def test_more_than_the_total_is_full():
    shown, stream, now = bars()
    shown.start("a", "l", 10)
    now[0] = 1
    shown.advance("a", 30)
    assert "[" + "=" * 24 + "]" in stream.getvalue()
