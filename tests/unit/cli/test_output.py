"""Tables, JSON, quantities, and what a terminal is spared."""

import io
import json

import pytest

from rootless.cli import output


class Terminal(io.StringIO):
    def isatty(self):
        return True


FIELDS = (("CONTAINER ID", "ID"), ("NAMES", "Name"))
ITEMS = [{"ID": "0123456789ab", "Name": "web"}, {"ID": "ba", "Name": "a-long-name"}]


def test_columns_are_as_wide_as_podmans(capsys):
    output.listing(ITEMS, FIELDS)
    assert capsys.readouterr().out == (
        "CONTAINER ID  NAMES\n0123456789ab  web\nba            a-long-name\n"
    )
    output.listing([{"ID": "1", "Name": "x"}], (("ID", "ID"), ("N", "Name")))
    assert capsys.readouterr().out == "ID          N\n1           x\n"


def test_no_heading_and_no_rows(capsys):
    output.listing(ITEMS[:1], FIELDS, noheading=True)
    output.listing([], FIELDS)
    assert capsys.readouterr().out == "0123456789ab  web\nCONTAINER ID  NAMES\n"


def test_a_cell_cannot_break_its_row(capsys):
    output.listing([{"ID": "a\nb\tc", "Name": "x"}], FIELDS, noheading=True)
    assert capsys.readouterr().out == "a\\nb c      x\n"


def test_json_shows_raw_values(capsys):
    output.listing(ITEMS, FIELDS, format="json", raw=[{"Id": 1, "é": [], "n": {}}])
    text = capsys.readouterr().out
    assert json.loads(text) == [{"Id": 1, "é": [], "n": {}}]
    assert text.startswith("[\n    {\n")


@pytest.mark.parametrize(
    "value", [{}, [], None, "a\x1b", 1.5, True, {"a": [1, {"b": None}], "c": "\x7f"}, [[], [{}]]]
)
def test_pretty_json_is_json(value):
    assert json.loads(output.pretty(value)) == value


def test_own_fields_of_the_caller_are_not_shown(capsys):
    items = [{"ID": "1", "_row": {"secret": 1}}]
    output.listing(items, FIELDS[:1], format="{{json .}}")
    output.listing(items, FIELDS[:1], format="json")
    assert "secret" not in capsys.readouterr().out


def test_templates(capsys):
    output.listing(ITEMS, FIELDS, format="{{.Name}}={{.ID}}")
    output.listing(ITEMS, FIELDS, format="table {{.Name}}\\t{{.ID}}")
    output.listing(ITEMS, FIELDS, format="table {{.Name}}", noheading=True)
    output.listing([], FIELDS, format="table {{.Name}}")
    assert capsys.readouterr().out == (
        "web=0123456789ab\na-long-name=ba\n"
        "NAMES        CONTAINER ID\nweb          0123456789ab\na-long-name  ba\n"
        "web\na-long-name\nNAMES\n"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\x07\x7f", "a\\x0db\\x07\\x7f"),
        ("\x9b2J\x85", "\\x9b2J\\x85"),
        ("user\u202e\u2066txt.exe", "user\\u202e\\u2066txt.exe"),
        ("a\u200fb\u061c", "a\\u200fb\\u061c"),
        ("line\u2028sep", "line\\u2028sep"),
    ],
)
def test_escape(text, wanted):
    assert output.escape(text) == wanted


def test_raw_bytes_of_names_are_escaped_for_a_terminal():
    # What is not UTF-8 in a name: the byte 0x9b is a C1 control for some terminals.
    assert output.escape("\udc9b") == "\\x9b"


def test_terminals_are_escaped(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    output.write("a\x1bb\n")
    output.listing([{"ID": "\x1b]0;x\x07", "Name": "y"}], FIELDS, noheading=True)
    assert screen.getvalue() == "a\\x1bb\n\\x1b]0;x\\x07  y\n"


def test_pipes_get_what_is_there(capsys):
    output.write("a\x1bb\n")
    assert capsys.readouterr().out == "a\x1bb\n"


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (5_242_880, "5.24 MB"), (12_345, "12.3 kB"),
        (999_499, "999 kB"), (999_500, "1 MB"), (10**9, "1 GB"), (1.5e12, "1.5 TB"),
        (540_000_000, "540 MB"), (2**64, "18.4 EB"),
    ],
)  # fmt: skip
def test_size(count, wanted):
    assert output.size(count) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0.4, "Less than a second"), (1, "1 second"), (59.9, "59 seconds"),
        (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"),
        (3599, "59 minutes"), (3600, "About an hour"), (7200, "2 hours"), (86400, "24 hours"),
        (2 * 86400, "2 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_duration(seconds, wanted):
    assert output.duration(seconds) == wanted


def test_ago():
    assert output.ago(100, 220) == "2 minutes ago"
    assert output.ago(300, 220) == "Less than a second ago"  # a clock that was set back


def test_short():
    assert output.short("abcdef", 4) == "abc…"
    assert output.short("abcd", 4) == "abcd"
    assert output.short("abcdef", 4, trunc=False) == "abcdef"
