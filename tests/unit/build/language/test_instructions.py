"""Nodes to instructions: arguments, flags, what is refused and what was meant."""

import pytest

from rootless.build.language import instructions, parse
from rootless.build.language.source import BuildError


def read(text):
    return instructions.read(parse.parse(text))


def one(line):
    (found,) = read(f"FROM scratch\n{line}").stages[0].instructions
    return found


def refused(text, match):
    with pytest.raises(BuildError, match=match) as error:
        read(text)
    assert "Containerfile:" in str(error.value)
    return error.value


# --- the file ------------------------------------------------------------------------------


def test_stages_and_early_args():
    file = read("ARG A=1\nARG B C=2\nFROM a AS One\nRUN x\nFROM --platform=$P One AS two\nFROM b")
    assert [arg.pairs for arg in file.meta_args] == [[("A", "1")], [("B", None), ("C", "2")]]
    assert [(s.index, s.name, s.base.image) for s in file.stages] == [
        (0, "one", "a"), (1, "two", "One"), (2, None, "b")]  # fmt: skip
    assert file.stages[1].base.platform == "$P"
    assert file.stage("ONE").index == 0
    assert file.stage("2").index == 2
    assert file.stage("3") is file.stage("three") is file.stage("-1") is file.stage("²") is None
    assert file.names == ["one", "two"]


def test_the_last_stage_of_a_name_counts():
    assert read("FROM a AS x\nFROM b AS X").stage("x").index == 1


@pytest.mark.parametrize("text", ["RUN a", "ARG A\nENV a=b\nFROM x", "ONBUILD RUN a"])
def test_only_arg_comes_before_from(text):
    assert "FROM" in refused(text, "before the first FROM").advice


def test_there_is_a_from():
    refused("ARG a", "there is no FROM")


@pytest.mark.parametrize(
    "word, meant",
    [("FORM", "FROM"), ("RNU", "RUN"), ("COPI", "COPY"), ("ENTRYPIONT", "ENTRYPOINT"),
     ("workdri", "WORKDIR"), ("MAINTAINR", "MAINTAINER"), ("HEALTCHECK", "HEALTHCHECK")],
)  # fmt: skip
def test_a_misspelt_instruction_is_recognised(word, meant):
    error = refused(f"FROM a\n{word} b", f"unknown instruction {word}")
    assert meant in error.advice
    assert "2:1" in str(error)


def test_a_word_that_is_nothing_gets_no_guess():
    assert refused("FROM a\nbanana b", "unknown instruction").advice is None
    refused("FROM a\n" + "x" * 100_000, "unknown instruction")


# --- FROM ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, why",
    [
        ("FROM", "needs an image"),
        ("FROM a b", "takes an image, AS and a name"),
        ("FROM a as", "takes an image"),
        ("FROM a as b c", "takes an image"),
        ("FROM a to b", "takes an image"),
        ("FROM a AS 1b", "can't be the name of a stage"),
        ("FROM a AS b/c", "can't be the name of a stage"),
        ("FROM a AS $b", "can't be the name of a stage"),
        ("FROM a AS é", "can't be the name of a stage"),
        ("FROM --platform a", "needs a value"),
        ("FROM --platform= a", "needs a value"),
        ("FROM --platform=a --platform=b a", "twice"),
        ("FROM --plattform=a b", "no flag --plattform"),
    ],
)
def test_bad_from(line, why):
    refused(line, why)


# --- RUN, CMD, ENTRYPOINT, SHELL -----------------------------------------------------------


def test_run():
    run = one("RUN --network=none --security=insecure --device=v.com/c=1,required a | b")
    assert (run.words, run.text) == (None, "a | b")
    assert (run.network, run.security) == ("none", "insecure")
    assert run.devices == [("v.com/c=1", True)]
    run = one('RUN ["a", "b c"]')
    assert (run.words, run.text) == (["a", "b c"], None)
    assert (run.network, run.security, run.devices, run.mounts) == ("default", "sandbox", [], [])


@pytest.mark.parametrize(
    "flag, found",
    [("--device=name=x", ("x", False)), ("--device=x,required=0", ("x", False)),
     ("--device=required,name=x", ("x", True))],
)  # fmt: skip
def test_devices(flag, found):
    assert one(f"RUN {flag} a").devices == [found]


@pytest.mark.parametrize(
    "line, why, hint",
    [
        ("RUN --network=hots a", "--network can't be 'hots'", "host"),
        ("RUN --security=none a", "--security can't be 'none'", "sandbox, insecure"),
        ("RUN --device=required a", "needs the name", None),
        ("RUN --device=x,requirde=1 a", "no option 'requirde'", "required"),
        ("RUN --mounnt=a b", "no flag --mounnt", "--mount"),
        ("RUN --user=a b", "no flag --user", "--device, --mount, --network, --security"),
        ("RUN []", "names no program", None),
        ("RUN <<../x\n#!/bin/sh\n../x", "can't be a file's name", "name of the heredoc"),
        ("CMD --init x", "CMD has no flag --init", "--"),
        ("ENV --a=b c=d", "ENV has no flag --a", "has no flags"),
        ("ARG --a", "ARG has no flag --a", "has no flags"),
        ("STOPSIGNAL --a x", "has no flag", "has no flags"),
        ("SHELL bash -c", "needs a JSON list", "SHELL ["),
        ("SHELL []", "needs a JSON list", "SHELL ["),
        ("SHELL", "needs a JSON list", "SHELL ["),
    ],
)
def test_bad_commands(line, why, hint):
    advice = refused(f"FROM a\n{line}", why).advice
    assert hint is None or hint in advice


def test_the_heredoc_of_run_is_a_script():
    run = one("RUN <<-EOF\n\techo a\n\tEOF")
    assert run.script is run.heredocs[0]
    assert run.shell_text == "echo a\n"


@pytest.mark.parametrize(
    "line, text",
    [
        ("RUN <<A cat\n1\nA", "<<A cat\n1\nA"),
        ("RUN cat <<A <<-'B C'\n1\nA\n\t2\n\tB C", "cat <<A <<-'B C'\n1\nA\n\t2\nB C"),
        ("RUN a b", "a b"),
    ],
)
def test_other_heredocs_are_for_the_shell(line, text):
    run = one(line)
    assert run.script is None
    assert run.shell_text == text


def test_the_exec_form_has_no_text():
    assert one('RUN ["a"]').shell_text is None
    assert one('RUN ["a"]').script is None


def test_cmd_and_entrypoint():
    assert one("CMD a b").values() == {"words": None, "text": "a b"}
    assert one('CMD ["a"]').values() == {"words": ["a"], "text": None}
    assert one("ENTRYPOINT []").values() == {"words": [], "text": None}
    assert one('SHELL ["a", "-c"]').words == ["a", "-c"]


# --- COPY and ADD --------------------------------------------------------------------------


def test_copy():
    copy = one("COPY --from=x --chown=a:b --chmod=u+x --link --parents --exclude=*.o "
               "--exclude=b c d e/")  # fmt: skip
    assert copy.values() == {
        "sources": ["c", "d"], "dest": "e/", "from_": "x", "chown": "a:b", "chmod": "u+x",
        "link": True, "parents": True, "exclude": ["*.o", "b"], "heredocs": []}  # fmt: skip
    plain = one('COPY ["a b", "c d"]')
    assert (plain.sources, plain.dest, plain.link, plain.parents) == (["a b"], "c d", False, False)


def test_add():
    add = one("ADD --checksum=sha256:00 --keep-git-dir --unpack=false http://example/x /")
    assert (add.checksum, add.keep_git_dir, add.unpack) == ("sha256:00", True, False)
    add = one("ADD --link=FALSE a b")
    assert (add.checksum, add.keep_git_dir, add.unpack, add.link) == (None, None, None, False)
    assert (add.from_, add.parents) == (None, False)


def test_heredocs_are_files():
    copy = one("COPY <<-'one' a <<two b /x/\n\t1\n\tone\n2\ntwo")
    assert (copy.sources, copy.dest) == (["a", "b"], "/x/")
    assert [(d.name, d.text, d.expand) for d in copy.heredocs] == [
        ("one", "1\n", False), ("two", "2\n", True)]  # fmt: skip


@pytest.mark.parametrize(
    "line, why",
    [
        ("COPY", "needs a source and a destination"),
        ("COPY a", "needs a destination"),
        ("COPY []", "needs a source"),
        ('COPY ["a"]', "needs a destination"),
        ('COPY ["a", ""]', "destination is empty"),
        ("COPY a <<b\n1\nb", "can't be the destination"),
        ("COPY --from=$X a b", "can't have variables"),
        ("COPY --from=x <<a b\n1\na", "can't come --from"),
        ("COPY <</etc/x b\n1\n/etc/x", "can't be a file's name"),
        ("COPY <<.. b\n1\n..", "can't be a file's name"),
        ("COPY --link=maybe a b", "is a switch"),
        ("COPY --link= a b", "is a switch"),
        ("COPY --chown a b", "needs a value"),
        ("COPY --exclude= a b", "needs a value"),
        ("COPY --chown=a --chown=b c d", "twice"),
        ("COPY --checksum=a b c", "COPY has no flag --checksum"),
        ("ADD --from=a b c", "ADD has no flag --from"),
        ("ADD --parents b c", "ADD has no flag --parents"),
        ("ADD --checksum=sha256:0 a b c", "is for one source"),
    ],
)
def test_bad_copies(line, why):
    refused(f"FROM a\n{line}", why)


# --- ENV, ARG, LABEL -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest, pairs",
    [
        ("a=b", [("a", "b")]),
        ("a=", [("a", "")]),
        ("a=b c=d", [("a", "b"), ("c", "d")]),
        ('a="b c" d', None),
        ("a='b c' d=\"e f\"", [("a", "'b c'"), ("d", '"e f"')]),
        ("a=b\\ c d=e", [("a", "b\\ c"), ("d", "e")]),
        ("a=b=c", [("a", "b=c")]),
        ('a="it\'s" b=c', [("a", '"it\'s"'), ("b", "c")]),
        ('a=\\"b c=d', [("a", '\\"b'), ("c", "d")]),
        ("a b c", [("a", "b c")]),
        ("a  b=c ", [("a", "b=c")]),
        ("a\tb", [("a", "b")]),
        ("=b", None),
        ("a", None),
        ("", None),
        ('a="b', [("a", '"b')]),  # the quote is missed when it is expanded
    ],
)
@pytest.mark.parametrize("keyword", ["ENV", "LABEL"])
def test_pairs(keyword, rest, pairs):
    if pairs is None:
        refused(f"FROM a\n{keyword} {rest}", keyword if rest in ("a", "") else "=")
        return
    found = one(f"{keyword} {rest}")
    assert found.pairs == pairs
    assert found.legacy == (rest[1] != "=")


def test_arg():
    assert one("ARG a").pairs == [("a", None)]
    assert one('ARG a= b="c d" e').pairs == [("a", ""), ("b", '"c d"'), ("e", None)]
    refused("FROM a\nARG", "needs a name")
    refused("FROM a\nARG =b", "no name")


def test_a_wrong_pair_is_marked():
    error = refused("FROM a\nENV a=b \\\n  c d=e", "c isn't NAME=VALUE")
    assert "Containerfile:3:3" in str(error)


# --- the others ----------------------------------------------------------------------------


def test_whole_arguments():
    assert one("WORKDIR /a b").path == "/a b"
    assert one("USER $u:g").user == "$u:g"
    assert one("STOPSIGNAL 9").signal == "9"
    assert one("MAINTAINER A. B. <a@example>").name == "A. B. <a@example>"


@pytest.mark.parametrize("keyword", ["WORKDIR", "USER", "STOPSIGNAL", "MAINTAINER", "EXPOSE",
                                     "VOLUME", "ONBUILD"])  # fmt: skip
def test_an_argument_is_needed(keyword):
    refused(f"FROM a\n{keyword}", f"{keyword} needs")


def test_expose_and_volume():
    assert one("EXPOSE 80 $p 53/UDP").ports == ["80", "$p", "53/UDP"]
    assert one("VOLUME /a /b").paths == ["/a", "/b"]
    assert one('VOLUME ["/a b"]').paths == ["/a b"]
    refused('FROM a\nVOLUME ["a", " "]', "empty")


@pytest.mark.parametrize(
    "words, ports",
    [
        (["80"], ["80/tcp"]),
        (["80/TCP", "80"], ["80/tcp"]),
        (["53/udp", "9-11/sctp"], ["53/udp", "9/sctp", "10/sctp", "11/sctp"]),
        (["127.0.0.1:80:8080"], ["8080/tcp"]),
        (["[::1]:80:8080/udp"], ["8080/udp"]),
        (["0"], ["0/tcp"]),
        (["65535"], ["65535/tcp"]),
        ([], []),
    ],
)
def test_ports(words, ports):
    assert instructions.exposed(words) == ports


@pytest.mark.parametrize(
    "word", ["", "a", "-1", "65536", "80-", "-80", "9-8", "80/icmp", "80/tcp/udp", "²", "9" * 5000]
)
def test_bad_ports(word):
    with pytest.raises(BuildError):
        instructions.exposed([word])


def test_healthcheck():
    check = one("HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0 "
                "--start-interval=2.5s --retries=3 CMD curl x")  # fmt: skip
    assert (check.none, check.words, check.text) == (False, None, "curl x")
    assert (check.interval, check.timeout) == (90_000_000_000, 500_000_000)
    assert (check.start_period, check.start_interval, check.retries) == (0, 2_500_000_000, 3)
    check = one('HEALTHCHECK cmd ["a", "b"]')
    assert (check.words, check.text, check.interval) == (["a", "b"], None, 0)
    assert one("HEALTHCHECK none").none


@pytest.mark.parametrize(
    "rest, why",
    [
        ("", "needs CMD or NONE"),
        ("CMD", "needs a command"),
        ("CMD []", "needs a command"),
        ("CDM x", "has no CDM"),
        ("NONE x", "takes nothing else"),
        ("--retries=1 NONE", "takes nothing else"),
        ("--interval=5 CMD x", "a unit is missing"),
        ("--interval=5x CMD x", "isn't a unit"),
        ("--interval=-5s CMD x", "shorter than a millisecond"),
        ("--timeout=1us CMD x", "shorter than a millisecond"),
        ("--retries=-1 CMD x", "--retries can't be"),
        ("--retries=x CMD x", "--retries can't be"),
        ("--intervall=1s CMD x", "no flag --intervall"),
        ("CMD [1]", "isn't a string"),
    ],
)
def test_bad_healthchecks(rest, why):
    refused(f"FROM a\nHEALTHCHECK {rest}", why)


def test_onbuild():
    trigger = one("ONBUILD COPY --from=x a \\\n b")
    assert trigger.text == "COPY --from=x a  b"
    assert (trigger.instruction.from_, trigger.instruction.dest) == ("x", "b")
    trigger = one("onbuild run <<-A cat\n\t1\n\tA")
    assert trigger.text == "run <<-A cat\n\t1\nA"
    again = instructions.from_text(trigger.text)
    assert again.values() == trigger.instruction.values()


@pytest.mark.parametrize("inner", ["ONBUILD RUN a", "FROM b", "maintainer c"])
def test_what_is_no_trigger(inner):
    error = refused(f"FROM a\nONBUILD {inner}", "can't be a trigger")
    assert "2:9" in str(error)


def test_mistakes_in_a_trigger_are_marked_there():
    error = refused("FROM a\nONBUILD \\\n  COPY --form=b c d", "no flag --form")
    assert "3:8" in str(error)


def test_an_instruction_from_elsewhere():
    assert instructions.from_text("ENV a=b").pairs == [("a", "b")]
    with pytest.raises(BuildError, match="--change:1:5: "):
        instructions.from_text("ENV a", "--change")
    with pytest.raises(BuildError, match="can't stand here"):
        instructions.from_text("FROM a")


def test_an_error_shows_the_line():
    error = refused("FROM a\nCOPY --chwon=1 a b", "no flag")
    assert str(error) == (
        "Containerfile:2:6: COPY has no flag --chwon\n"
        "    2 | COPY --chwon=1 a b\n"
        "      |      ^^^^^^^"
    )
    assert error.advice == "did you mean --chown?"


def test_braces_in_a_file_do_no_harm_to_messages():
    for line in ("HEALTHCHECK {0}", "LABEL {x}", "{text} x", "RUN --{0}=a b", "ENV a=b {where}"):
        error = refused(f"FROM a\n{line}", ".")
        assert "{" in str(error)
        assert error.advice is None or isinstance(error.advice, str)
