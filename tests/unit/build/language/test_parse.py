"""Lines to nodes: directives, continuation, flags, JSON, heredocs, and where things are."""

import pytest

from rootless.build.language import parse
from rootless.build.language.source import BuildError


def nodes(text):
    return parse.parse(text).nodes


def only(text):
    (node,) = nodes(text)
    return node


def refused(text, match=None):
    with pytest.raises(BuildError, match=match) as error:
        parse.parse(text)
    return error.value


# --- directives ----------------------------------------------------------------------------


def test_directives_stand_at_the_top():
    document = parse.parse("# syntax=docker/dockerfile:1\n#Escape=`\n# check = skip=all \nFROM a")
    assert document.directives == {
        "syntax": "docker/dockerfile:1", "escape": "`", "check": "skip=all"}  # fmt: skip
    assert document.escape == "`"


@pytest.mark.parametrize(
    "above",
    ["# a comment\n", "\n", "ARG x\n", "# unknown=1\n", "#\n", "# escape\n", "# es cape=`\n"],
)
def test_a_directive_below_something_else_is_a_comment(above):
    document = parse.parse(f"{above}# escape=`\nFROM a")
    assert document.directives == {}
    assert document.escape == "\\"


def test_a_byte_order_mark_and_a_shebang_come_before():
    document = parse.parse("\ufeff#!/usr/bin/env rl\n# escape=`\nFROM a")
    assert document.directives == {"escape": "`"}
    assert document.nodes[0].line == 3


def test_a_directive_is_there_once():
    assert "Containerfile:2:1" in str(refused("# escape=`\n# escape=`\nFROM a", "twice"))


@pytest.mark.parametrize("value", ["x", "``", "\\\\", "'", "é"])
def test_the_escape_character_is_one_of_two(value):
    error = refused(f"# escape={value}\nFROM a", "can't be the escape character")
    assert "Containerfile:1:10" in str(error)


@pytest.mark.parametrize(
    "image",
    ["docker/dockerfile", "docker.io/docker/dockerfile:1.7", "docker/dockerfile:1-labs",
     "docker/dockerfile-upstream:master", "docker/dockerfile@sha256:00",
     "mirror.example:5000/hub/docker/dockerfile:1"],
)  # fmt: skip
def test_the_frontend_that_is_built_in_may_be_named(image):
    assert parse.parse(f"# syntax={image}\nFROM a").directives["syntax"] == image


@pytest.mark.parametrize(
    "image", ["example/mopy", "docker/dockerfilex:1", "dockerfile", "x/dockerfile"]
)
def test_another_frontend_is_not_run(image):
    assert image in str(refused(f"# syntax={image}\nFROM a", "doesn't run the frontend"))


def test_a_misspelt_directive_is_remembered():
    assert parse.parse("# syntxa=x\nFROM a").misspelt == [(1, "syntxa", "syntax")]
    assert parse.parse("# version=x\nFROM a").misspelt == []


# --- logical lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, rest",
    [
        ("RUN a \\\n b", "a  b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\  \t\nb", "a b"),  # spaces behind it don't matter
        ("RUN a \\\n# comment\n  # another\nb", "a b"),
        ("RUN a \\\n\n\nb", "a b"),
        ("RUN a \\\r\nb\r\n", "a b"),
        ("RUN a \\\\", "a \\\\"),  # an escaped one isn't a continuation
        ("RUN a \\\\\\", "a \\\\\\"),
        ("RUN a \\", "a"),
        ("RUN a \\\n", "a"),
        ("RUN a \\\n\n", "a"),
        ("RUN a # b", "a # b"),  # only a line of its own is a comment
        ("RUN a\\ b", "a\\ b"),
        ("\\\nRUN a", "a"),
        ("\tRUN\ta\t", "a"),
        ("RUN a\vb", "a\vb"),
        ("# escape=`\nRUN a `\n b \\", "a  b \\"),
        ("RUN", ""),
    ],
)
def test_lines_are_joined(text, rest):
    node = only(text)
    assert (node.keyword, node.rest) == ("RUN", rest)


def test_comments_and_blank_lines_between_are_skipped():
    found = nodes("\n\n# one\nFROM a\n  # two \n\n   \nRUN b\n#end")
    assert [(node.keyword, node.line, node.end_line) for node in found] == [
        ("FROM", 4, 4), ("RUN", 8, 8)]  # fmt: skip


def test_the_comments_right_above_are_kept():
    first, second, third = nodes("# x\n\n# a\n# b\nFROM a\nRUN b\n# c\n#\n# d\nRUN c")
    assert (first.comments, second.comments, third.comments) == (("a", "b"), (), ("d",))


def test_a_blank_line_inside_is_remembered():
    assert only("RUN a \\\n\n b").empty_continuation == 2
    assert only("RUN a \\\n# c\n b").empty_continuation is None


def test_keywords_are_upper_case_and_kept_as_typed():
    node = only("from a")
    assert (node.keyword, node.typed) == ("FROM", "from")


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n# comments", "\\\n\\\n", "   "])
def test_a_file_without_instructions_is_refused(text):
    error = refused(text, "no instructions")
    assert "FROM" in error.advice


def test_what_is_no_text_is_refused():
    assert "Containerfile:2:1" in str(refused("FROM a\nRUN \0", "NUL"))


def test_a_huge_file_is_refused():
    refused("#" * (parse.LIMIT + 1), "no Containerfile")
    refused("FROM a\nRUN " + "x" * (parse.LINE_LIMIT + 1), "longer than")
    assert len(nodes("FROM a\n" + "RUN x\n" * 100_000)) == 100_001


def test_a_long_continuation_is_read_in_time_that_grows_with_it():
    node = only("RUN " + "a \\\n" * 200_000)
    assert node.end_line >= 200_000


# --- flags ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, flags, rest",
    [
        ("COPY --from=a --link b c", [("from", "a"), ("link", None)], "b c"),
        ("COPY --from=a", [("from", "a")], ""),
        ("COPY --from= a b", [("from", "")], "a b"),
        ("RUN --mount=type=bind,target=/x cmd --flag", [("mount", "type=bind,target=/x")],
         "cmd --flag"),
        ('RUN --mount="type=tmpfs,target=/a b" c', [("mount", "type=tmpfs,target=/a b")], "c"),
        ("RUN --a='x y'z b", [("a", "x yz")], "b"),
        ("RUN --a=x\\ y b", [("a", "x y")], "b"),
        ('RUN --a=\\"x b', [("a", '"x')], "b"),
        ("RUN -- --a b", [], "--a b"),
        ("RUN --a=1 -- --b", [("a", "1")], "--b"),
        ("RUN -a", [], "-a"),
        ("RUN --a=1 \\\n --b=2 c", [("a", "1"), ("b", "2")], "c"),
        ("# escape=`\nRUN --a=x` y\\z b", [("a", "x y\\z")], "b"),
    ],
)  # fmt: skip
def test_flags_come_before_the_arguments(text, flags, rest):
    node = only(text)
    assert (node.flags, node.rest) == (flags, rest)


def test_a_flag_has_a_name():
    refused("FROM a\nRUN --=x y", "is no flag")


# --- JSON ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, words",
    [
        ('CMD ["a", "b c"]', ["a", "b c"]),
        ('CMD\t[ "a" ,\\\n "b" ] ', ["a", "b"]),
        ("CMD []", []),
        ('CMD ["\\u00e9\\n"]', ["é\n"]),
        ('CMD ["\\ud800"]', ["\ufffd"]),
        ('SHELL ["a"]', ["a"]),
        ('VOLUME ["/a"]', ["/a"]),
        ('COPY ["a b", "c"]', ["a b", "c"]),
        ('RUN --network=none ["a"]', ["a"]),
        # these aren't JSON, and so they are text
        ("CMD ['a']", None),
        ('CMD ["a",]', None),
        ('CMD ["a"] b', None),
        ('CMD ["a"', None),
        ("CMD [NaN]", None),
        ("CMD [a]", None),
        ('CMD a ["b"]', None),
        ('CMD ["a\tb"]', None),
        ('ENV ["a", "b"]', None),
        ("RUN " + "[" * 100_000, None),
    ],
)
def test_the_exec_form_is_json(text, words):
    assert only(text).json == words


@pytest.mark.parametrize("value", ["1", "null", '["a"]', '{"a": 1}', '"a", true', "1.5e3"])
def test_a_list_of_other_things_than_strings_is_a_mistake(value):
    assert "2:5" in str(refused(f"FROM a\nCMD [{value}]", "isn't a string"))


# --- heredocs ------------------------------------------------------------------------------


def docs(text):
    return [(d.name, d.content, d.expand, d.chomp) for d in only(text).heredocs]


@pytest.mark.parametrize(
    "text, found",
    [
        ("RUN <<EOF\na\n\n # b\nEOF", [("EOF", "a\n\n # b\n", True, False)]),
        ("RUN <<EOF\nEOF", [("EOF", "", True, False)]),
        ("RUN <<-EOF\n\ta\n\t\tEOF", [("EOF", "\ta\n", True, True)]),
        ("RUN <<'EOF'\n$a\nEOF", [("EOF", "$a\n", False, False)]),
        ('RUN <<"E F"\na\nE F', [("E F", "a\n", False, False)]),
        ("RUN <<E'O'F\na\nEOF", [("EOF", "a\n", False, False)]),
        ("RUN cat <<A - <<B\n1\nA\n2\nB", [("A", "1\n", True, False), ("B", "2\n", True, False)]),
        ("RUN 3<<A cat\n1\nA", [("A", "1\n", True, False)]),
        ("RUN << A\n1\nA", [("A", "1\n", True, False)]),
        ("RUN <<A \\\n cat\n1\nA", [("A", "1\n", True, False)]),
        ("RUN <<A\n1 \\\n2\nA", [("A", "1 \\\n2\n", True, False)]),
        ("RUN <<A\r\n1\r\nA\r\n", [("A", "1\r\n", True, False)]),
        ("RUN <<A\n A\nA ", None),
        ("COPY <<a <<b /x/\n1\na\n2\nb", [("a", "1\n", True, False), ("b", "2\n", True, False)]),
        ("ONBUILD RUN <<A\n1\nA", [("A", "1\n", True, False)]),
        ("onbuild copy <<a b\n1\na", [("a", "1\n", True, False)]),
        # no heredocs
        ("RUN <<<word", []),
        ("RUN a<<b", []),
        ("RUN '<<a'", []),
        ("RUN \\<<a", []),
        ("RUN echo $((1<<2))", []),
        ("RUN <<", []),
        ("RUN <<''", []),
        ('CMD ["<<a"]', []),
        ('RUN ["<<a"]', []),
        ("CMD <<a", []),
        ("RUN it's <<a", []),
    ],
)
def test_heredocs(text, found):
    if found is None:
        refused(text, "has no end")
    else:
        assert docs(text) == found


def test_the_file_goes_on_behind_a_heredoc():
    first, second = nodes("RUN <<A\nFROM x\nA\nRUN b")
    assert (first.end_line, second.line, second.rest) == (3, 4, "b")


def test_tabs_are_taken_from_a_heredoc_with_a_minus():
    (heredoc,) = only("RUN <<-A\n\ta\n\t\tb\n\n c\n\tA").heredocs
    assert heredoc.text == "a\nb\n\n c\n"


def test_an_open_heredoc_names_itself():
    error = refused("FROM a\nRUN <<STOP\nx", "the heredoc STOP has no end")
    assert "2:5" in str(error) and "STOP" in error.advice


# --- places --------------------------------------------------------------------------------


def test_places_are_found_through_continuation_lines():
    node = only("# c\n  RUN one \\\n  # skipped\n   two three \\\n\tfour")
    spots = {word: node.place(word) for word in ("one", "two", "three", "four")}
    assert {word: (place.line, place.column) for word, place in spots.items()} == {
        "one": (2, 7), "two": (4, 4), "three": (4, 8), "four": (5, 2)}  # fmt: skip
    assert (node.place().line, node.place().column, node.place().width) == (2, 3, 3)
    assert node.place("nowhere").column == 3


def test_a_place_is_shown_below_its_line():
    place = only("RUN \tone two").place("two")
    assert place.where == "Containerfile:1:10"
    assert place.shown == "\n    1 | RUN \tone two\n      |     \t    ^^^"


def test_a_long_line_is_cut_around_the_place():
    shown = only("RUN " + "x" * 500 + " here " + "y" * 500).place("here").shown
    line, mark = shown.splitlines()[1:]
    assert len(line) < 120 and len(mark) < 120
    start = mark.index("^")
    assert line[start : start + 4] == "here"
    assert line.endswith("…") and "| …" in line


def test_files_are_joined_and_keep_their_names():
    one, two = parse.parse("FROM a", "one"), parse.parse("# escape=`\nRUN b", "two")
    both = parse.join([one, two])
    assert [node.source.name for node in both.nodes] == ["one", "two"]
    assert [node.escape for node in both.nodes] == ["\\", "`"]


def test_one_instruction_outside_a_file():
    node = parse.parse_line("RUN <<A\n1\nA", "ONBUILD")
    assert (node.keyword, node.heredocs[0].content) == ("RUN", "1\n")
    with pytest.raises(BuildError, match="more than one"):
        parse.parse_line("RUN a\nRUN b", "ONBUILD")
    with pytest.raises(BuildError, match="no instructions"):
        parse.parse_line("# a", "ONBUILD")
