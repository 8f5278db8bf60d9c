"""What is wrong in a Containerfile: where it is, what was meant, and nothing is built."""

import pytest

from conformance import engines
from support.command import Rl

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def empty_rl(session_dir):
    """rl with an empty store, in which nothing may be left."""
    return Rl(f"{session_dir}/mistakes")


@pytest.fixture
def context(workdir):
    """A function that writes a context: its path."""

    def make(containerfile, files=None):
        engines.write_context(f"{workdir}/c", {"Containerfile": containerfile, **(files or {})})
        return f"{workdir}/c"

    return make


# Containerfile, place, what the error says, what the hint says (None: there is none)
MISTAKES = [
    ("FORM scratch\n", "1:1", "unknown instruction FORM", "did you mean FROM?"),
    ("FROM scratch\n\nCOPPY a b\n", "3:1", "unknown instruction COPPY", "did you mean COPY?"),
    ("FROM scratch\nCOPY --chwon=1 a b\n", "2:6", "no flag --chwon", "did you mean --chown?"),
    ("FROM scratch\nENV A=1 \\\n  B\n", "3:3", "B isn't NAME=VALUE", "quotes"),
    ("FROM scratch\nENV A=${B:=c}\n", "2:7", "${B:=…} isn't known", ":-"),
    ("FROM scratch\nENV A=\"${B:?give me a B}\"\n", "2:7", "B: give me a B", None),
    ("FROM scratch\nLABEL a='b\n", "2:9", "single quote is never closed", "escape"),
    ("FROM scratch\nCOPY --from=nowhere/x a b\n", "2:", "nowhere/x", ""),
    ("FROM scratch\nCOPY missing /\n", "2:", "missing", ""),
    ("FROM scratch\nCOPY ../outside /\n", "2:", "outside", ""),
    ("FROM scratch\nCOPY a\n", "2:1", "needs a destination", "SOURCE"),
    ("FROM scratch\nHEALTHCHECK --interval=5 CMD x\n", "2:13", "a unit is missing", "30s"),
    ("FROM scratch\nRUN <<EOF\necho\n", "2:5", "the heredoc EOF has no end", "EOF"),
    ("FROM scratch\nONBUILD FROM x\n", "2:9", "can't be a trigger", None),
    ("FROM scratch\nSHELL sh -c\n", "2:7", "JSON list", "SHELL ["),
    ("FROM scratch\nEXPOSE 80/tcpp\n", "2:8", "no known protocol", "tcp"),
    ("FROM scratch\nRUN --mount=type=bind,target=/x,bind-propagation=shared x\n", "2:33",
     "no option 'bind-propagation'", "known are"),
    ("FROM scratch\nRUN --mount=type=cache,target=/x,sharing=rshared x\n", "2:",
     "sharing=rshared", None),
    ("FROM scratch\nRUN --mount=type=devpts,target=/x x\n", "2:", "no type 'devpts'", "known are"),
    ("FROM scratch\nRUN --network=hst x\n", "2:5", "can't be 'hst'", "host"),
    ("# escape=x\nFROM scratch\n", "1:10", "can't be the escape character", "one character"),
    ("# syntax=example/other\nFROM scratch\n", "1:10", "the frontend example/other", "itself"),
    ("RUN x\n", "1:1", "before the first FROM", "FROM scratch"),
    ("# nothing\n", "1:1", "no instructions", "FROM"),
    ("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\n", "",
     "circle", None),
    ("ARG X=\nFROM $X\n", "2:6", "is empty here", "ARG"),
]  # fmt: skip


@pytest.mark.parametrize("text, place, says, hint", MISTAKES, ids=[row[2] for row in MISTAKES])
def test_mistakes(empty_rl, context, text, place, says, hint):
    path = context(text, {"a": "x"})
    done = empty_rl("build", "-t", "wrong", path, timeout=120)
    assert done.code == 125, repr(done)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and says in errors[0], repr(done)
    assert f"Containerfile:{place}" in errors[0], repr(done)
    if place and says != "no instructions":
        assert " | " in done.stderr and "^" in done.stderr, repr(done)
    if hint:
        assert hint in done.stderr.rpartition("hint: ")[2], repr(done)
    assert empty_rl.ok("images", "-q").text == ""


def test_the_program_that_fails_gives_its_code(empty_rl, context):
    path = context("FROM scratch\nCOPY a /a\n# the line\nRUN [\"/a\"]\n", {"a": "no program"})
    done = empty_rl("build", path)
    assert done.code != 0
    assert "Containerfile:4:1" in done.stderr


def test_check_finds_and_counts(empty_rl, context):
    path = context("FROM scratch as base\nENV KEY secret\nCOPY left-out /\n",
                   {".dockerignore": "left-out\n"})  # fmt: skip
    done = empty_rl("build", "--check", path)
    assert done.code == 1
    for found in ("1:14: FromAsCasing", "2:1: LegacyKeyValueFormat",
                  "2:5: SecretsUsedInArgOrEnv", "3:6: CopyIgnoredFile"):  # fmt: skip
        assert f"Containerfile:{found}: " in done.stdout, repr(done)
    path = context("FROM scratch\nENV A=1\n")
    assert empty_rl.ok("build", "--check", path)
