"""What instructions that only change the configuration do to it."""

import pytest

from rootless.build.language import instructions, parse
from rootless.build.language.source import BuildError
from rootless.build.solve import settings
from rootless.build.solve.scope import PATH, Arguments, Values
from rootless.build.solve.state import State
from rootless.model.oci import Platform


def run(text, config=None):
    """The State after the instructions ``text``."""
    file = instructions.read(parse.parse(f"FROM base\n{text}\n"))
    state = State(Platform("linux", "amd64"), dict(config or {}))
    values, seen = Values(Arguments({}, {}), state.env), set()
    for one in file.stages[0].instructions:
        settings.apply(state, one, values, seen)
        seen.add(type(one).__name__)
    return state


def config(text, before=None):
    found = run(text, {"Env": ["PATH=/bin"], **(before or {})}).config
    found.pop("Env")
    return found


def test_commands():
    assert config("CMD echo hi") == {"Cmd": ["/bin/sh", "-c", "echo hi"]}
    assert config('CMD ["a", "b c"]') == {"Cmd": ["a", "b c"]}
    assert config("CMD []") == {"Cmd": []}
    assert config("ENTRYPOINT run $X") == {"Entrypoint": ["/bin/sh", "-c", "run $X"]}


def test_an_entrypoint_takes_away_the_command_of_the_base_only():
    before = {"Cmd": ["old"]}
    assert config('ENTRYPOINT ["e"]', before) == {"Entrypoint": ["e"]}
    assert config('CMD ["new"]\nENTRYPOINT ["e"]', before) == {
        "Cmd": ["new"], "Entrypoint": ["e"]}  # fmt: skip


def test_shell_holds_for_what_comes_after_it():
    found = config('CMD one\nSHELL ["bash", "-ec"]\nENTRYPOINT two')
    assert found == {"Shell": ["bash", "-ec"], "Entrypoint": ["bash", "-ec", "two"],
                     "Cmd": ["/bin/sh", "-c", "one"]}  # fmt: skip
    assert config("CMD x", {"Shell": ["s"]})["Cmd"] == ["s", "x"]


def test_env_keeps_places():
    found = run("ENV B=2 A=1\nENV B=3", {"Env": ["PATH=/bin", "C=0"]}).config["Env"]
    assert found == ["PATH=/bin", "C=0", "B=3", "A=1"]


def test_an_image_without_path_gets_one():
    assert run("").config["Env"] == [f"PATH={PATH}"]


def test_labels():
    found = config('ENV V=1\nLABEL a="b c" d=$V\nLABEL a=2', {"Labels": {"z": "0"}})
    assert found["Labels"] == {"z": "0", "a": "2", "d": "1"}


def test_ports():
    found = config("ENV P=90\nEXPOSE 80 $P/udp 100-102", {"ExposedPorts": {"1/tcp": {}}})
    assert list(found["ExposedPorts"]) == [
        "1/tcp", "80/tcp", "90/udp", "100/tcp", "101/tcp", "102/tcp"]  # fmt: skip


def test_volumes():
    assert config('VOLUME /a /b\nVOLUME ["/c d"]')["Volumes"] == {"/a": {}, "/b": {}, "/c d": {}}


def test_user_and_author():
    assert config("ENV U=1000\nUSER $U:5")["User"] == "1000:5"
    assert run("MAINTAINER me <a@b>").author == "me <a@b>"


@pytest.mark.parametrize("signal", ["9", "SIGTERM", "term", "SIGRTMIN+3", "64"])
def test_stop_signals(signal):
    assert config(f"STOPSIGNAL {signal}")["StopSignal"] == signal


@pytest.mark.parametrize("signal", ["0", "65", "SIGNOTHING", "15x", "SIGRTMIN+99"])
def test_no_stop_signals(signal):
    with pytest.raises(BuildError) as caught:
        config(f"STOPSIGNAL {signal}")
    assert caught.value.message.startswith("Containerfile:2:")


def test_health_checks():
    text = "HEALTHCHECK --interval=5s --timeout=1m --start-period=2s --retries=3 CMD test $X"
    assert config(text)["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test $X"], "Interval": 5 * 10**9, "Timeout": 60 * 10**9,
        "StartPeriod": 2 * 10**9, "Retries": 3}  # fmt: skip
    assert config('HEALTHCHECK CMD ["a"]')["Healthcheck"] == {"Test": ["CMD", "a"]}
    assert config("HEALTHCHECK NONE")["Healthcheck"] == {"Test": ["NONE"]}


def test_triggers_are_noted():
    assert config("ONBUILD RUN a\nONBUILD COPY b c")["OnBuild"] == ["RUN a", "COPY b c"]


@pytest.mark.parametrize(
    "directory, path, result",
    [("/", "a", "/a"), ("/a", "b/../c", "/a/c"), ("/a", "/x//y/", "/x/y"), ("/a", "../../..", "/"),
     ("", ".", "/")],
)  # fmt: skip
def test_directories(directory, path, result):
    state = State(Platform("linux", "amd64"), {"WorkingDir": directory})
    assert settings.directory(state, path) == result


def test_a_user_that_is_empty():
    with pytest.raises(BuildError):
        config("USER $NOBODY")


def test_a_state_survives_the_way_to_another_process():
    state = run("ENV A=1\nSHELL [\"s\"]\nMAINTAINER me")
    state.add_layer({"diff_id": "d", "size": 1, "blob": "b", "blob_size": 2, "compression": "",
                     "more": 3})  # fmt: skip
    state.add_history("x", "2020-01-01T00:00:00Z", True, "said")
    other = State.unpack(state.pack())
    assert all(getattr(other, name) == getattr(state, name) for name in State.FIELDS)
    assert other.platform.architecture == "amd64" and other.config is not state.config
