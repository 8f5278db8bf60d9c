"""ARG and ENV: which value a name has where."""

import pytest

from rootless.build.language import instructions, parse
from rootless.build.language.source import BuildError
from rootless.build.solve.scope import Arguments, Values, platform_args
from rootless.model.oci import Platform


def read(text):
    return instructions.read(parse.parse(text))


def values(text, given=(), env=(), automatic=()):
    """The Values after all ARG and ENV of the (only) stage."""
    file = read(text)
    arguments = Arguments(dict(given), dict(automatic), file.meta_args)
    found = Values(arguments, dict(env))
    for one in file.stages[-1].instructions:
        (found.take_arg if type(one).__name__ == "Arg" else found.take_env)(one)
    return found


def test_a_default_and_what_was_given():
    assert values("FROM a\nARG X=1\n").look_up("X") == "1"
    assert values("FROM a\nARG X=1\n", {"X": "2"}).look_up("X") == "2"
    assert values("FROM a\nARG X\n", {"X": "2"}).look_up("X") == "2"
    assert values("FROM a\nARG X\n").look_up("X") is None
    assert values("FROM a\nARG X=\n", {"X": ""}).look_up("X") == ""


def test_what_is_given_and_not_declared_is_not_there():
    assert values("FROM a\n", {"X": "2"}).look_up("X") is None


def test_args_before_from_are_seen_if_a_stage_says_so():
    assert values("ARG X=1\nFROM a\n").look_up("X") is None
    assert values("ARG X=1\nFROM a\nARG X\n").look_up("X") == "1"
    assert values("ARG X=1\nFROM a\nARG X=2\n").look_up("X") == "2"
    assert values("ARG X=1\nFROM a\nARG X\n", {"X": "3"}).look_up("X") == "3"
    assert values("ARG X=1\nARG Y=${X}b\nFROM a\nARG Y\n").look_up("Y") == "1b"


def test_env_is_stronger_than_arg():
    assert values("FROM a\nENV X=env\nARG X=arg\n", {"X": "given"}).look_up("X") == "env"
    assert values("FROM a\nARG X=arg\nENV X=env\n").look_up("X") == "env"
    assert values("FROM a\nARG X=arg\n", env={"X": "image"}).look_up("X") == "image"


def test_defaults_see_what_came_before():
    found = values("FROM a\nARG A=1\nENV B=$A\nARG C=${B}2\n")
    assert found.look_up("C") == "12"


def test_one_env_sees_the_values_from_before_it():
    found = values("FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n")
    assert found.env == {"abc": "bye", "def": "hello", "ghi": "bye"}


def test_what_run_gets():
    found = values("FROM a\nARG B=1\nARG A=2\nARG NONE\nARG E=3\nENV E=4\n")
    assert list(found.build_args().items()) == [("A", "2"), ("B", "1")]


def test_platforms():
    found = platform_args(Platform("linux", "amd64"), Platform("linux", "arm", "v7"), "")
    assert found["BUILDPLATFORM"] == "linux/amd64" and found["BUILDVARIANT"] == ""
    assert found["TARGETPLATFORM"] == "linux/arm/v7"
    assert (found["TARGETOS"], found["TARGETARCH"], found["TARGETVARIANT"]) == (
        "linux", "arm", "v7")  # fmt: skip
    assert found["TARGETSTAGE"] == "default"
    declared = values("FROM a\nARG TARGETARCH\n", automatic=found)
    assert declared.look_up("TARGETARCH") == "arm"
    assert declared.look_up("TARGETOS") is None


def test_unused():
    file = read("ARG A\nFROM a\n")
    given = {"A": "1", "B": "2", "http_proxy": "p", "BUILDKIT_X": "1", "TARGETARCH": "x"}
    arguments = Arguments(given, {"TARGETARCH": "amd64"}, file.meta_args)
    assert arguments.unused() == ["B"]
    assert arguments.proxies() == {"http_proxy": "p"}


def test_errors_say_where():
    with pytest.raises(BuildError) as caught:
        values("FROM a\nARG X=${Y:?is needed}\n")
    assert caught.value.message.startswith("Containerfile:2:")
