"""Sizes, signals, comma-separated values, paths."""

import csv
import io
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine.spec import values
from rootless.engine.spec.values import BadOption


@pytest.mark.parametrize("text, size", [
    ("0", 0), ("1", 1), ("1b", 1), ("1k", 1024), ("1K", 1024), ("1kb", 1024), ("1KiB", 1024),
    ("64m", 64 << 20), ("64MB", 64 << 20), ("1g", 1 << 30), ("1.5g", 3 << 29), ("2t", 2 << 40),
    ("0.5k", 512), ("1p", 1 << 50),
])  # fmt: skip
def test_size(text, size):
    assert values.size("--shm-size", text) == size


@pytest.mark.parametrize("text", [
    "", "m", "-1", "-1m", "+1", "1x", "1mm", "1bb", "1kbb", "1.m", ".5m", "1 m", "0x10", "1e3",
    "²", "٣", "1,5g", "9999999p", "1" * 30, "1ik", "inf", "nan",
])  # fmt: skip
def test_bad_size(text):
    with pytest.raises(BadOption) as caught:
        values.size("--shm-size", text)
    assert caught.value.message.startswith("--shm-size ")
    assert caught.value.exit_code == 125 and caught.value.advice


@given(st.text())
def test_any_text_is_a_size_or_an_error(text):
    try:
        assert 0 <= values.size("--x", text) < 1 << 63
    except BadOption as error:
        assert error.message and error.advice


@pytest.mark.parametrize("text, number", [
    ("TERM", 15), ("SIGTERM", 15), ("sigterm", 15), ("term", 15), ("9", 9), ("64", 64),
    ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("RTMIN+30", 64), ("POLL", 29),
])  # fmt: skip
def test_signal(text, number):
    assert values.signal("--stop-signal", text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "TERMS", "SIG", "RTMIN-1", "RTMAX+1",
                                  "RTMIN+31", "RTMIN+x", "SIGSIGTERM", "1.5", "٩"])  # fmt: skip
def test_bad_signal(text):
    with pytest.raises(BadOption):
        values.signal("--stop-signal", text)


def test_signals_are_those_of_this_machine():
    for found in signal.Signals:
        if not found.name.startswith("SIGRT"):
            assert values.signal("", found.name) == found.value


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])),
                min_size=1))  # fmt: skip
def test_csv_reads_what_csv_writes(fields):
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    text = line.getvalue()
    assert values.csv("--mount", text) == fields


@pytest.mark.parametrize("text", ['"', '"a', 'a,"b', '"a"b', '"a""'])
def test_bad_csv(text):
    with pytest.raises(BadOption):
        values.csv("--mount", text)


@pytest.mark.parametrize("path, clean", [
    ("/", "/"), ("//", "/"), ("/a//b/", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"),
    ("/../..", "/"), ("/a/b/../..", "/"), ("/a b", "/a b"),
])  # fmt: skip
def test_container_path(path, clean):
    assert values.container_path("-v", path, path) == clean


@pytest.mark.parametrize("path", ["", "a", "./a", "../a", "/a\nb", "/a\0"])
def test_bad_container_path(path):
    with pytest.raises(BadOption):
        values.container_path("-v", path, path)


@given(st.text())
def test_a_clean_path_stays_clean(text):
    try:
        path = values.container_path("-v", text, "/" + text)
    except BadOption:
        return
    assert path.startswith("/") and ".." not in path.split("/")
    assert values.container_path("-v", text, path) == path


def test_key_values():
    assert values.key_values("--label", ["a=b", "c", "d=e=f", "a=g"]) == {
        "a": "g", "c": "", "d": "e=f",
    }  # fmt: skip
    for bad in ("", "=x", " =x"):
        with pytest.raises(BadOption):
            values.key_values("--label", [bad])


def test_braces_in_what_was_typed_are_only_text():
    with pytest.raises(BadOption) as caught:
        values.fail("--x", "{0} {y}", "{z}", "type {1}")
    assert caught.value.message == "--x {0} {y}: {z}"
    assert caught.value.advice == "type {1}"
