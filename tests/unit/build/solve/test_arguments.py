"""Options of a build, read: arguments, times, secrets, labels."""

import pytest

import rootless
from rootless.build.language import instructions, mounts, parse
from rootless.build.solve.state import State
from rootless.engine.build import arguments, finish
from rootless.engine.build.options import Options
from rootless.engine.build.secrets import BadSecret, BadSsh, Secrets
from rootless.errors import RlError
from rootless.model.oci import Platform


def test_options_have_names():
    assert Options(tag=["x"]).tag == ["x"] and Options().layers is True
    with pytest.raises(TypeError):
        Options(tags=["x"])
    first = Options(tag=["x"])
    assert first.copy(tag=["y"]).tag == ["y"] and first.tag == ["x"]
    with pytest.raises(TypeError):
        first.copy(tags=[])


def test_arguments_from_everywhere(tmp_path):
    path = tmp_path / "args"
    path.write_text("# comment\n\nA=file\nB=file\n  C = x\nHERE\n")
    options = Options(build_arg_file=[str(path)], build_arg=["B=1", "D=a=b", "ENV", "NOT"])
    assert arguments.given(options, {"ENV": "e", "HERE": "h"}) == {
        "A": "file", "B": "1", "C ": " x", "D": "a=b", "ENV": "e", "HERE": "h"}  # fmt: skip


@pytest.mark.parametrize("options", [
    {"build_arg": ["=x"]}, {"build_arg_file": ["/nowhere/args"]}, {"cache_ttl": "soon"},
    {"timestamp": 1, "source_date_epoch": 2}, {"timestamp": -1}, {"source_date_epoch": 1 << 60},
])  # fmt: skip
def test_what_makes_no_sense(options):
    found = Options(**options)
    with pytest.raises(RlError) as caught:
        arguments.given(found, {})
        arguments.times(found)
        arguments.cache(None, found)
    assert caught.value.message


def test_times():
    found = arguments.times(Options())
    assert (found.newest, found.stamp, found.epoch) == (None, None, None)
    found = arguments.times(Options(source_date_epoch=5))
    assert (found.newest, found.stamp, found.created, found.epoch) == (5, None, 5, 5)
    found = arguments.times(Options(source_date_epoch=5, rewrite_timestamp=False))
    assert (found.newest, found.stamp, found.created, found.epoch) == (None, None, 5, 5)
    found = arguments.times(Options(timestamp=0))
    assert (found.newest, found.stamp, found.created, found.epoch) == (None, 0, 0, 0)
    given = arguments.given(Options(source_date_epoch=5), {})
    assert given == {"SOURCE_DATE_EPOCH": "5"}


def test_how_many_at_once():
    assert arguments.jobs(Options()) >= 1
    assert arguments.jobs(Options(jobs=0)) == 0 and arguments.jobs(Options(jobs=3)) == 3


# --- secrets and agents --------------------------------------------------------------------


def mount(text):
    """(Mount, node) of a RUN --mount."""
    file = instructions.read(parse.parse(f"FROM a\nRUN --mount={text} true\n"))
    one = file.stages[0].instructions[0]
    return mounts.Mount.expanded(one.mounts[0], lambda name: None, one.node), one.node


def test_secrets_of_files_and_variables(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"\0secret")
    options = Options(secret=[f"id=a,src={path}", "id=b,env=B", "id=C", "type=env,id=d,env=B"])
    secrets = Secrets(options, {"B": "bee", "C": "sea"})
    found = secrets.secret(*mount("type=secret,id=a"))
    assert found.data == b"\0secret" and found.target == "/run/secrets/a"
    assert secrets.secret(*mount("type=secret,id=b,target=/x,mode=0444,uid=5")).data == b"bee"
    found = secrets.secret(*mount("type=secret,id=C,env=NAME"))
    assert (found.data, found.target, found.env) == (b"sea", None, "NAME")
    assert secrets.secret(*mount("type=secret,target=/etc/d")).data == b"bee"


def test_a_secret_that_nobody_gave():
    secrets = Secrets(Options(), {})
    assert secrets.secret(*mount("type=secret,id=a")) is None
    with pytest.raises(RlError) as caught:
        secrets.secret(*mount("type=secret,id=a,required"))
    assert "there is no secret a" in caught.value.message
    assert "--secret id=a" in caught.value.advice


@pytest.mark.parametrize("text", ["", "src=x", "id=a,src=x,env=Y", "id=a,foo=b", "id=a,id=b",
                                  "id=a,type=other", "id"])  # fmt: skip
def test_secrets_that_make_no_sense(text):
    with pytest.raises(BadSecret):
        Secrets(Options(secret=[text]), {})


def test_a_secret_that_can_not_be_read():
    secrets = Secrets(Options(secret=["id=a,src=/nowhere/x", "id=b,env=B"]), {})
    for name in ("a", "b"):
        with pytest.raises(BadSecret):
            secrets.secret(*mount(f"type=secret,id={name}"))


def test_agents(tmp_path):
    import socket

    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        agents = Secrets(Options(ssh=["default", f"x={path}"]), {"SSH_AUTH_SOCK": path})
        found = agents.agent(*mount("type=ssh"), 0)
        assert (found.socket, found.target) == (path, "/run/buildkit/ssh_agent.0")
        assert agents.agent(*mount("type=ssh,id=x,target=/s"), 1).target == "/s"
        assert agents.agent(*mount("type=ssh,id=y"), 2) is None
        with pytest.raises(RlError) as caught:
            agents.agent(*mount("type=ssh,id=y,required"), 2)
        assert "--ssh y=SOCKET" in caught.value.advice
    for text in ("default", "=x", f"x={tmp_path}/none", f"x={tmp_path}"):
        with pytest.raises(BadSsh):
            Secrets(Options(ssh=[text]), {})


# --- after the last instruction ------------------------------------------------------------


class Stage:
    """Takes what finish.change notes."""

    def __init__(self, config):
        self.state = State(Platform("linux", "amd64"), config)
        self.noted = []

    def add(self, meaning, made_by):
        self.noted.append(meaning[0])


def test_labels_and_variables():
    stage = Stage({"Env": ["PATH=/bin", "A=1"], "Labels": {"x": "1", "y": "2"}})
    options = Options(env=["B=2", "HERE", "GONE"], unsetenv=["A"], label=["z=3", "w"],
                      unsetlabel=["x", "none"])  # fmt: skip
    finish.change(stage, options, {"HERE": "h"})
    assert stage.state.config["Env"] == ["PATH=/bin", "B=2", "HERE=h"]
    assert stage.state.config["Labels"] == {"y": "2", "z": "3", "w": ""}
    assert stage.noted == ["env", "unsetenv", "unsetlabel", "label"]
    nothing = Stage({"Env": ["PATH=/bin"]})
    finish.change(nothing, Options(), {})
    assert nothing.noted == []
    with pytest.raises(finish.BadPair):
        finish.change(nothing, Options(label=["=x"]), {})


def test_a_label_of_rl():
    stage = Stage({"Labels": {"x": "1"}})
    finish.change(stage, Options(identity_label=True), {})
    assert stage.state.config["Labels"] == {"x": "1", "io.rl.version": rootless.__version__}


def test_what_system_an_image_needs():
    stage = Stage({})
    stage.state.extra = {"os.features": ["a", "b"]}
    finish.change(stage, Options(os_version="10.0.1", os_feature=["c", "a-", "b", "d-"]), {})
    assert stage.state.extra == {"os.version": "10.0.1", "os.features": ["c", "b"]}
    assert stage.noted == []


@pytest.mark.parametrize("changes", [
    {"inherit_labels": False}, {"inherit_annotations": False}, {"annotation": ["a=b"]},
    {"unsetannotation": ["a"]}, {"created_annotation": True}, {"os_version": "1"},
    {"os_feature": ["x"]}, {"squash_all": True},
])  # fmt: skip
def test_a_base_image_that_is_not_the_result(changes):
    state = Stage({}).state
    state.base = {"media_type": "m"}
    assert finish.is_base(state, Options(), "m") and not finish.is_base(state, Options(), "n")
    assert not finish.is_base(state, Options(**changes), "m")


def test_annotations():
    state = Stage({"Env": ["PATH=/bin"]}).state
    assert finish.annotations(Options(annotation=["a=1"]), state) == {"a": "1"}
    state.base = {"id": "i", "name": "docker.io/library/x:1", "digest": "sha256:d",
                  "annotations": {"old": "0", "a": "0"}}  # fmt: skip
    assert finish.annotations(Options(annotation=["a=1"]), state) == {
        "old": "0", "a": "1", finish.BASE_NAME: "docker.io/library/x:1",
        finish.BASE_DIGEST: "sha256:d"}  # fmt: skip
    options = Options(inherit_annotations=False, unsetannotation=[finish.BASE_NAME, "none"])
    assert finish.annotations(options, state) == {finish.BASE_DIGEST: "sha256:d"}
    options = Options(unsetannotation=["old", "a"], annotation=["a=2"])
    found = finish.annotations(options, state)
    assert "old" not in found and found["a"] == "2"
    state.created = "2001-01-01T00:00:00Z"
    found = finish.annotations(Options(created_annotation=True), state)
    assert found["org.opencontainers.image.created"] == "2001-01-01T00:00:00Z"
    assert finish.annotations(Options(format="docker"), state) == {}
    with pytest.raises(finish.OciOnly) as caught:
        finish.annotations(Options(format="docker", created_annotation=True), state)
    assert caught.value.message.startswith("--created-annotation:")
    with pytest.raises(finish.OciOnly):
        finish.annotations(Options(format="docker", annotation=["a=1"]), state)
