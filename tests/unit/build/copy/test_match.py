"""Wildcards as Go's filepath.Match has them."""

import pytest

from rootless.build.copy import match
from rootless.build.copy.errors import BadPattern

# Pattern, name, whether it matches: from the documentation of path/filepath.Match.
CASES = [
    ("abc", "abc", True),
    ("*", "abc", True),
    ("*c", "abc", True),
    ("*c", "abd", False),
    ("a*", "a", True),
    ("a**", "abc", True),
    ("a?c", "abc", True),
    ("a?c", "ac", False),
    ("a?", "aé", True),
    ("[a-c]x", "bx", True),
    ("[a-c]x", "dx", False),
    ("[^a-c]x", "dx", True),
    ("[^a-c]x", "ax", False),
    ("[z-a]", "m", False),
    ("[]]", "]", None),
    ("[\\]]", "]", True),
    ("[\\-x]", "-", True),
    ("a[[]b", "a[b", True),
    ("\\*", "*", True),
    ("\\*", "x", False),
    ("*.txt", ".txt", True),
    ("*", ".hidden", True),
    ("[", "a", None),
    ("[a", "a", None),
    ("[a-", "a", None),
    ("a\\", "a", None),
    ("[-x]", "x", None),
]


@pytest.mark.parametrize("pattern, name, wanted", CASES)
def test_match(pattern, name, wanted):
    if wanted is None:
        with pytest.raises(BadPattern):
            match.compile_part(pattern)
    else:
        assert match.compile_part(pattern)(name) is wanted


def test_a_pattern_that_invites_backtracking_is_quick():
    test = match.compile_part("*a" * 40 + "b")
    assert test("a" * 250) is False
    assert test("a" * 250 + "b") is True


@pytest.mark.parametrize("text, wanted", [
    ("a/b", False), ("a*", True), ("a\\*", False), ("a?b", True), ("[x]", True),
    ("\\[x]", False), ("a\\\\*", True),
])  # fmt: skip
def test_what_is_a_wildcard(text, wanted):
    assert match.has_wildcards(text) is wanted


def test_plain():
    assert match.plain("a\\[b\\\\c") == "a[b\\c"
