"""Stages: which are needed, in which order, and what is refused."""

import pytest

from rootless.build.language import instructions, parse
from rootless.build.language.source import BuildError
from rootless.build.solve.graph import Circle, Graph, NoStage
from rootless.build.solve.scope import Arguments

AUTOMATIC = {"TARGETARCH": "amd64", "BUILDPLATFORM": "linux/amd64"}


def graph(text, target=None, given=(), named=(), triggers=None, everything=False):
    file = instructions.read(parse.parse(text))
    arguments = Arguments(dict(given), AUTOMATIC, file.meta_args)
    found = Graph(file, arguments, target, named, triggers, instructions.from_text, everything)
    found.walk()
    return found


def order(*args, **more):
    return [vertex.title for vertex in graph(*args, **more).order]


def error(text, **more):
    with pytest.raises(BuildError) as caught:
        graph(text, **more)
    return caught.value


CHAIN = "FROM a AS one\nFROM one AS two\nFROM two AS three\n"
FORK = "FROM a AS one\nFROM b AS two\nFROM c AS unused\nFROM scratch\n" \
    "COPY --from=one /x /\nRUN --mount=from=1,target=/m true\n"  # fmt: skip


def test_only_what_the_target_needs_is_built_after_what_it_needs():
    assert order(CHAIN) == ["one", "two", "three"]
    assert order(CHAIN, target="TWO") == ["one", "two"]
    assert order(CHAIN, target="0") == ["one"]
    assert order(FORK) == ["one", "two", "stage-3"]
    assert order(FORK, everything=True) == ["one", "two", "stage-3", "unused"]
    assert order("FROM a AS x\nFROM b\n") == ["stage-1"]


def test_how_much_can_be_done_at_once():
    def widest(text):
        found = graph(text)
        sets = []
        done, waiting = set(), list(found.order)
        while waiting:
            ready = [one for one in waiting if one.needs.keys() <= done]
            sets.append(len(ready))
            done |= {one.index for one in ready}
            waiting = [one for one in waiting if one not in ready]
        return sets

    assert widest(CHAIN) == [1, 1, 1]
    assert widest(FORK) == [2, 1]


def test_a_stage_is_found_by_its_name_whatever_the_case_and_by_number():
    found = graph("FROM a AS base\nFROM b\nCOPY --from=BASE /x /\nCOPY --from=0 /y /\n")
    assert found.target.sources == {(0, "BASE"): ("stage", 0), (1, "0"): ("stage", 0)}
    assert found.target.needs.keys() == {0}


def test_what_is_no_stage_is_an_image():
    found = graph("FROM a\nCOPY --from=busybox:1 /bin/sh /\nCOPY --from=scratch / /\n")
    assert found.target.sources[0, "busybox:1"] == ("image", "busybox:1")
    assert found.target.sources[1, "scratch"] == ("image", "scratch")
    assert found.order == [found.target]


def test_a_stage_may_have_the_name_of_its_image():
    found = graph("FROM debian AS debian\nFROM debian\n")
    assert [vertex.image for vertex in found.vertices] == ["debian", None]
    assert found.target.base == 0


def test_from_only_means_stages_above_it():
    found = graph("FROM later\nFROM x AS later\n", target="0")
    assert found.target.image == "later" and found.target.base is None
    assert found.later("later") == 2 and found.later("other") is None


def test_the_last_of_two_stages_with_one_name_counts():
    found = graph("FROM a AS x\nFROM b AS x\nFROM x\n")
    assert found.target.base == 1


def test_a_copy_may_read_a_stage_below():
    text = "FROM a AS one\nCOPY --from=two /x /\nFROM b AS two\n"
    assert order(text, target="one") == ["two", "one"]


def test_arguments_in_from():
    text = "ARG BASE=one\nARG TAG\nFROM a AS one\nFROM ${BASE}\n"
    assert graph(text).target.base == 0
    assert graph(text, given={"BASE": "image"}).target.image == "image"
    text = "FROM --platform=$BUILDPLATFORM x$TARGETARCH\n"
    assert graph(text).target.image == "xamd64"
    assert graph(text).target.platform == "linux/amd64"


def test_named_contexts_come_first():
    found = graph("FROM a AS one\nFROM one\nCOPY --from=Src / /\n", named=["one", "src"])
    assert found.target.base is None and found.target.image == "one"
    assert found.target.sources[0, "Src"] == ("named", "src")
    assert found.order == [found.target]


def test_triggers_come_before_a_stage_s_own_instructions():
    asked = []

    def triggers(vertex):
        asked.append(vertex.image)
        return ["COPY --from=tools /t /t"]

    text = "FROM t AS tools\nFROM base\nRUN true\n"
    found = graph(text, triggers=lambda vertex: triggers(vertex) if vertex.index else ())
    assert [type(one).__name__ for one in found.target.instructions] == ["Copy", "Run"]
    assert found.target.triggers == 1 and asked == ["base"]
    assert [vertex.title for vertex in found.order] == ["tools", "stage-1"]


def test_triggers_of_a_stage_in_the_same_file():
    found = graph("FROM a AS base\nONBUILD RUN one\nRUN two\nFROM base\nRUN three\n")
    assert [one.text for one in found.target.instructions] == ["one", "three"]


# --- what is refused -----------------------------------------------------------------------


def test_a_target_that_is_not_there():
    found = error("FROM a AS build\nFROM b\n", target="biuld")
    assert isinstance(found, NoStage)
    assert "--target biuld" in found.message and found.advice == "did you mean build?"
    assert "0 to 0" in error("FROM a\n", target="7").advice


def test_a_number_that_is_not_there():
    found = error("FROM a\n\nCOPY --from=3 /x /\n")
    assert isinstance(found, NoStage)
    assert found.message.startswith("Containerfile:3:")
    assert "there is no stage 3" in found.message and "COPY --from=3" in found.message


def test_a_stage_that_reads_itself():
    found = error("FROM a AS me\nCOPY --from=me /x /\n")
    assert isinstance(found, Circle)
    assert found.message.startswith("Containerfile:2:13: stage me can't read itself")


def test_stages_that_need_each_other():
    text = "FROM a AS one\nCOPY --from=three /x /\nFROM b AS two\nCOPY --from=one / /\n" \
        "FROM two AS three\n"  # fmt: skip
    found = error(text)
    assert isinstance(found, Circle)
    assert "circle: three → two → one → three" in found.message
    assert found.message.startswith("Containerfile:2:")


def test_a_name_that_is_empty():
    found = error("ARG BASE\nFROM $BASE\n")
    assert "Containerfile:2:6: the name $BASE is empty here" in found.message
    found = error("FROM --platform=$NOTHING x\n")
    assert "is empty here" in found.message
