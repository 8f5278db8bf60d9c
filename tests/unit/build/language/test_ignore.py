"""Ignore files: what patterns match, which of them decides, what has to be walked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.build.language import globs, ignore
from rootless.build.language.source import BuildError


def ignored(text, path):
    return ignore.read(text).ignored(path)


# pattern, paths it matches, paths it doesn't
MATCHES = [
    ("a", "a a/b a/b/c", "b b/a aa ab"),
    ("a/b", "a/b a/b/c", "a b a/bc x/a/b"),
    ("*", "a a/b .hidden", ""),
    ("*.o", "x.o .o x.o/y", "d/x.o x.oo xo"),
    ("a*b", "ab axb a.b/c", "a/b axbc"),
    ("*a*b*", "ab xaybz ab/a", "ba xa/b a/ab"),
    ("?", "a b/c", "ab /"),
    ("a?c", "abc", "a/c ac abbc"),
    ("**", "a a/b", ""),
    ("**/a", "a x/a x/y/a x/a/z", "xa ax x/ya"),
    ("a/**", "a/b a/b/c", "a ab"),
    ("a/**/b", "a/b a/x/b a/x/y/b a/b/c", "a ab a/xb x/a/b"),
    ("**/*.o", "x.o d/x.o d/e/x.o", "x.c"),
    ("**/a/**/b", "a/b x/a/b a/y/b x/a/y/z/b x/a/b/c", "a b x/b/a xa/b"),
    ("**/a/**/b/**/c", "a/b/c x/a/y/b/z/c", "a/c/b a/b/b"),
    ("a**", "a ab a/b ab/c", "b ba"),
    ("a**b", "ab a/b", "axb"),
    ("**b", "b ab a/b a/xb", "ba"),
    ("**/", "a a/b", ""),
    ("[a-c]x", "ax bx cx", "dx x [a-c]x"),
    ("[^a-c]x", "dx", "ax x"),
    ("[!a]", "! a", "b"),  # only ^ turns a set around
    ("[a\\]]", "a ]", "\\"),
    ("[a-]", "", ""),
    ("x[^y]z", "xaz", "x/z xyz"),
    ("\\*", "*", "a"),
    ("\\!a", "!a", "a"),
    ("a\\b", "ab", "a\\b"),
    ("a+b(c).{d}|^$", "a+b(c).{d}|^$", "aab"),
    ("/a", "a a/b", "b"),
    ("./a/", "a a/b", "b"),
    ("a//b/../c", "a/c", "a/b"),
    ("../a", "", "a"),
    ("..", "", "a"),
    (".", "", "a"),
    ("/", "", "a"),
    ("__pycache__", "__pycache__/x", "x"),
    ("**/__x__*__y", "__x____y d/__x__1__y", "__x__"),
    ("é*", "éa", "ea"),
    ("a b", "a b", "a"),
    ("a\tb", "a\tb", "a"),
]


@pytest.mark.parametrize("pattern, yes, no", MATCHES)
def test_patterns(pattern, yes, no):
    separator = " " if " " not in pattern else None
    if pattern == "[a-]":
        with pytest.raises(BuildError):
            ignore.read(pattern)
        return
    yes, no = ([text] if separator is None else text.split(" ") for text in (yes, no))
    if "\t" in pattern:
        yes = [pattern]
    for path in filter(None, yes):
        assert ignored(pattern, path), path
    for path in filter(None, no):
        assert not ignored(pattern, path), path


def test_comments_spaces_and_empty_lines():
    patterns = ignore.read("\ufeff# a\n\n  b  \r\n  #c\n\t\n! b/x ")
    assert patterns.texts == ["b", "#c", "!b/x"]
    assert patterns.negates and bool(patterns)
    assert not ignore.read("# only") and not ignore.read("")


@pytest.mark.parametrize(
    "text, path, result",
    [
        ("*\n!a", "a", False),
        ("*\n!a", "b", True),
        ("*\n!a", "a/b", False),
        ("!a\n*", "a", True),
        ("a\n!a/b\na/b/c", "a/b", False),
        ("a\n!a/b\na/b/c", "a/b/c", True),
        ("a\n!a/b\na/b/c", "a/x", True),
        ("*.md\n!README*.md\nREADME-secret.md", "README.md", False),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
        ("**/*.md\n!**/keep/**", "x/keep/y.md", False),
        ("a/**\n!a/b/**", "a/b/c", False),
        ("a/**\n!a/b/**", "a/b", True),
        ("*", ".", False),
        ("**", "", False),
        ("a", "./a", True),
        ("a", "/a", True),
        ("a", "x/../a", True),
    ],
)
def test_the_last_match_decides(text, path, result):
    assert ignored(text, path) == result


@pytest.mark.parametrize(
    "text, path, result",
    [
        ("a", "a", False),
        ("a\n!b", "a", False),
        ("a\n!a/b", "a", True),
        ("a\n!a/b/c", "a/b", True),
        ("a\n!a/b/c", "a/x", False),
        ("a\n!a/b", "a/b/c", True),
        ("!a/b\na", "a", False),
        ("a\n!**/keep", "a", True),
        ("a\n!a/*/c", "a/b", True),
        ("a\n!x*/c", "a", False),
        ("*\n!*/c", "a", True),
        ("*\n!b**", "bc", True),
        ("a\n!a/[x-z]", "a/y", True),
        ("a\n!a/[x-z]", "a/b", False),
    ],
)
def test_what_has_to_be_walked(text, path, result):
    assert ignore.read(text).may_contain(path) == result


@pytest.mark.parametrize(
    "text, why",
    [
        ("a\n!", "without a pattern"),
        ("!  ", "without a pattern"),
        ("a\n  [", "isn't a pattern"),
        ("[a", "never closed"),
        ("[]a]", "isn't followed"),
        ("[^]", "isn't followed"),
        ("[z-a]", "backwards"),
        ("[-a]", "isn't followed"),
        ("a\\", "nothing follows"),
        ("[a\\", "never closed"),
        ("a\0", "NUL"),
    ],
)
def test_bad_patterns(text, why):
    with pytest.raises(BuildError, match=why) as error:
        ignore.read(text, "x.dockerignore")
    assert f"x.dockerignore:{text.count(chr(10)) + 1}:" in str(error.value)


def test_a_huge_file_is_refused():
    with pytest.raises(BuildError, match="no ignore file"):
        ignore.read("a\n" * ignore.LIMIT)


def test_lists_of_patterns():
    patterns = ignore.from_list(["*.o", " !a.o ", ""])
    assert patterns.ignored("b.o") and not patterns.ignored("a.o")
    with pytest.raises(BuildError):
        ignore.from_list(["["])


def test_no_pattern_takes_long():
    patterns = ignore.read("*a" * 100 + "b\n" + "**/*a*a/" * 40 + "x\n" + "a**" * 50 + "b\n")
    for path in ("a" * 255, "/".join(["a" * 20] * 190)):
        assert not patterns.ignored(path)


def test_many_paths_and_patterns():
    lines = [f"dir{i}/*.tmp\nname{i}\n!dir{i}/keep.tmp" for i in range(100)]
    patterns = ignore.read("\n".join(lines))
    found = [patterns.ignored(f"dir{i % 200}/sub/name{i}") for i in range(2_000)]
    assert not any(found)
    assert patterns.ignored("dir7/x.tmp") and not patterns.ignored("dir7/keep.tmp")


# --- the quick way is the slow way ---------------------------------------------------------

NAMES = st.text(alphabet="ab/", min_size=1, max_size=12)
PATTERNS = st.lists(
    st.sampled_from(["*", "**", "**/", "?", "/", "a", "b", "ab", "[ab]", "[^a]"]), min_size=1,
    max_size=8,
).map("".join)  # fmt: skip


@given(PATTERNS, NAMES)
def test_expressions_match_what_globs_match(pattern, path):
    path = ignore.clean(path).strip("/")
    one = ignore.from_list([pattern])._patterns[0]
    assert one.match(path) == one._slow(path)


@given(st.lists(st.tuples(st.booleans(), PATTERNS), max_size=6), NAMES)
def test_groups_decide_as_one_after_the_other(patterns, path):
    path = ignore.clean(path).strip("/")
    found = ignore.from_list([("!" if negates else "") + text for negates, text in patterns])
    decision = False
    for pattern in found._patterns:
        if pattern.match(path):
            decision = not pattern.negates
    assert found.ignored(path) == (decision and path not in ("", "."))


@given(st.lists(st.tuples(st.booleans(), PATTERNS), max_size=6), NAMES, NAMES)
def test_nothing_that_is_kept_is_walked_past(patterns, directory, rest):
    found = ignore.from_list([("!" if negates else "") + text for negates, text in patterns])
    directory = ignore.clean(directory).strip("/")
    path = ignore.clean(f"{directory}/{rest}").strip("/")
    if directory and path != directory and found.ignored(directory) and not found.ignored(path):
        assert found.may_contain(directory)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        patterns = ignore.read(text)
    except BuildError:
        return
    for path in ("a", "a/b", text):
        patterns.ignored(path)
        patterns.may_contain(path)


@given(st.text(alphabet="ab*?", max_size=10), st.text(alphabet="ab", max_size=10))
def test_globs_agree_with_expressions(pattern, text):
    import re

    tokens = [{"*": globs.ANY, "?": globs.ONE}.get(char, char) for char in pattern]
    expression = "".join({"*": ".*", "?": "."}.get(char, char) for char in pattern)
    ends = globs.Text(text).ends(tokens)
    assert [at for at in range(len(text) + 1) if ends >> at & 1] == [
        at for at in range(len(text) + 1) if re.fullmatch(expression, text[:at])]  # fmt: skip
