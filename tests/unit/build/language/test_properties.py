"""Whatever is typed: an answer or a BuildError that points into the text, and round trips."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from rootless.build.language import expand, instructions, lint, parse
from rootless.build.language.source import BuildError

PIECES = [
    "FROM a", "FROM a AS b", "from ", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "CMD ",
    "ONBUILD ", "SHELL ", "HEALTHCHECK ", "EXPOSE ", "VOLUME ", "USER ", "WORKDIR ", "STOPSIGNAL ",
    "--from=", "--mount=", "--chown", "--link", "type=cache", "target=/a", ",", "=", "--", " ",
    "\n", "\\\n", "\\", "`", '"', "'", "[", "]", '["a"]', "<<E", "<<-'E'", "E", "$", "${", "}",
    "$x", "${x:-", "#", "# escape=`\n", "# check=skip=all\n", "\t", "\r\n", "\0", "\ufeff", "é",
    "80/tcp", "1s", "NONE", "{0}", "{where}", "\udc80", "<", "*", "//", "%",
]  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=25).map(lambda found: "FROM a\n" + "".join(found)),
    st.text(max_size=80),
)
WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="\\`'\"$<=#-[{"),
    min_size=1, max_size=8,
)  # fmt: skip


def check_error(error, text):
    lines = text.split("\n")
    assert str(error)
    assert error.advice is None or error.advice
    if error.at:
        assert 1 <= error.at.line <= len(lines)
        assert error.at.column >= 1
        assert error.at.shown.startswith("\n")


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_any_text_is_read_or_refused(text):
    try:
        document = parse.parse(text)
        file = instructions.read(document)
        lint.check(document, file)
    except BuildError as error:
        check_error(error, text)
        return
    for node in document.nodes:
        assert 1 <= node.line <= node.end_line <= len(text.split("\n"))
        for at in (None, 0, len(node.original) - 1, node.rest):
            place = node.place(at)
            assert node.line <= place.line <= node.end_line


@settings(max_examples=400, deadline=None)
@given(st.one_of(TEXTS, st.text("${}:-+?#%/*\\\"'xv", max_size=30)), st.sampled_from("\\`"))
def test_any_text_is_expanded_or_refused(text, escape):
    for values in ({}, {"x": "1", "v": "a*b/c"}):
        for run in (expand.expand, expand.words):
            try:
                run(text, values.get, escape)
            except BuildError as error:
                check_error(error, text)
        try:
            expand.content(text, values.get)
        except BuildError as error:
            check_error(error, text)


@given(st.text())
def test_single_quotes_keep_everything(text):
    quoted = "'" + text.replace("'", "'\"'\"'") + "'"
    assert expand.expand(quoted, {}.get) == text


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), min_size=1
    )
)
def test_the_exec_form_comes_back(words):
    text = f"FROM a\nCMD {json.dumps(words)}"
    cmd = instructions.read(parse.parse(text)).stages[0].instructions[0]
    assert cmd.words == words


@given(st.lists(st.tuples(WORDS, st.text(st.characters(exclude_characters="\n\r\0'")))
                .map(lambda pair: (pair[0], pair[1])), min_size=1, max_size=5))  # fmt: skip
def test_pairs_come_back(pairs):
    written = " ".join(f"{name}='{value}'" for name, value in pairs)
    env = instructions.read(parse.parse(f"FROM a\nENV {written}")).stages[0].instructions[0]
    found = [(name, expand.expand(value, {}.get)) for name, value in env.pairs]
    assert found == pairs


@given(st.text(st.characters(exclude_characters="\0\r")), st.sampled_from(["", "-"]))
def test_a_heredoc_comes_back(content, chomp):
    lines = [line for line in content.split("\n") if line.lstrip("\t") != "END"]
    text = "".join(f"{line}\n" for line in lines)
    file = instructions.read(parse.parse(f"FROM a\nCOPY <<{chomp}'END' /x\n{text}END\nUSER b"))
    copy, user = file.stages[0].instructions
    assert copy.heredocs[0].content == text
    assert user.user == "b"


@given(st.lists(WORDS, min_size=2, max_size=6))
def test_a_trigger_comes_back(words):
    line = " ".join(words)
    file = instructions.read(parse.parse(f"FROM a\nONBUILD COPY {line}"))
    trigger = file.stages[0].instructions[0]
    assert instructions.from_text(trigger.text).values() == trigger.instruction.values()


@given(st.lists(WORDS, min_size=1, max_size=6), st.data())
def test_continuation_lines_change_nothing(words, data):
    breaks = [data.draw(st.sampled_from([" ", " \\\n", "\\\n ", " \\\n# c\n", " \\\r\n"]))
              for _ in words]  # fmt: skip
    text = "FROM a\nLABEL" + "".join(
        a + f"k{i}={b}" for i, (a, b) in enumerate(zip(breaks, words, strict=True))
    )
    if not text[12:].startswith((" ", "\\\n ")):
        return
    label = instructions.read(parse.parse(text)).stages[0].instructions[0]
    assert label.pairs == [(f"k{i}", word) for i, word in enumerate(words)]
