"""Durations, sizes, and guesses at what was meant."""

import pytest

from rootless.build.language import durations
from rootless.build.language.suggest import closest, did_you_mean

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    "text, found",
    [
        ("0", 0), ("0s", 0), ("1s", SECOND), ("+1s", SECOND), ("-1s", -SECOND),
        ("1.5s", 3 * SECOND // 2), (".5s", SECOND // 2), ("1.s", SECOND),
        ("1h2m3s", 3723 * SECOND), ("100ms", SECOND // 10), ("1us", 1000), ("1µs", 1000),
        ("1μs", 1000), ("7ns", 7), ("1m1m", 120 * SECOND), ("292y", None), ("300000000h", None),
        ("", None), ("s", None), ("5", None), ("1 s", None), ("1s ", None), ("1x", None),
        ("--1s", None), ("1.2.3s", None), (".s", None), ("1e3s", None), ("²s", None),
        ("9" * 5000 + "s", None),
    ],
)  # fmt: skip
def test_durations(text, found):
    if found is None:
        with pytest.raises(ValueError):
            durations.nanoseconds(text)
    else:
        assert durations.nanoseconds(text) == found


@pytest.mark.parametrize(
    "text, found",
    [
        ("0", 0), ("512", 512), ("1k", 1024), ("1K", 1024), ("1kb", 1024), ("1KiB", 1024),
        ("1.5m", 3 << 19), ("2g", 2 << 30), ("1 g", 1 << 30), ("10b", 10), ("1t", 1 << 40),
        ("", None), ("-1", None), ("k", None), ("1x", None), ("1.m", None), (".5m", None),
        ("1e3", None), ("1mm", None), ("9" * 5000, None), ("²", None),
    ],
)  # fmt: skip
def test_sizes(text, found):
    if found is None:
        with pytest.raises(ValueError):
            durations.size(text)
    else:
        assert durations.size(text) == found


def test_guesses():
    assert closest("chwon", ["chmod", "chown"]) == "chown"
    assert closest("FORM", ["FROM", "RUN"]) == "FROM"
    assert closest("form", ["FROM"]) == "FROM"
    assert closest("a", ["b"]) is None
    assert closest("ab", ["cd"]) is None
    assert closest("mount", ["network"]) is None
    assert closest("x" * 1000, ["x" * 999]) is None
    assert closest("", ["a"]) is None
    assert did_you_mean("mounnt", ["mount"]) == "did you mean mount?"
    assert did_you_mean("zzz", ["mount"]) is None
