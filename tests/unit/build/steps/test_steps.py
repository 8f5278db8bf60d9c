"""RUN steps as data, and the specification they get."""

import pytest

from rootless.build.steps.run import Layers, RunStep, Secret, Settings, StepFailed, Tmpfs
from rootless.engine.build import step_mounts, step_spec
from rootless.engine.spec.host import HostFacts
from rootless.engine.spec.spec import make_spec
from rootless.kernel import userns
from rootless.model.request import Request
from support import layers


def spec_of(network=("none",), files=None, **more):
    more.setdefault("argv", ["/bin/sh", "-c", "true"])
    step = RunStep([], more.pop("argv"), **more)
    host = HostFacts(userns.single_ids(), environ={"HTTP_PROXY": "x", "SECRET": "y"})
    return step_spec.make(step, host, files or {}, network)[0]


def test_unknown_things_are_refused():
    with pytest.raises(TypeError):
        RunStep([], ["x"], colour="red")
    with pytest.raises(TypeError):
        Settings(colour="red")


@pytest.mark.parametrize("code, words", [(1, "exit code 1"), (127, "exit code 127"),
                                         (137, "signal 9")])  # fmt: skip
def test_a_failure_says_how(code, words):
    error = StepFailed("make", code)
    assert error.message == f"make ended with {words}"
    assert error.exit_code == code


def test_what_is_shown_of_a_command():
    assert RunStep([], ["/bin/sh", "-c", " make {x} "]).shown == "make {x}"
    assert RunStep([], ["make", "all"]).shown == "make all"
    assert StepFailed("make {x}", 2).message.startswith("make {x} ended")


def test_the_specification_is_that_of_run():
    spec = spec_of(cwd="/w", user="joe")
    host = HostFacts(userns.single_ids())
    options = {"network": ("none",), "workdir": "/w", "user": None}
    like = make_spec(Request("run", options, ("image", "/bin/sh", "-c", "true")), {}, host)
    assert spec["process"]["capabilities"] == like["process"]["userCapabilities"]
    for key in ("userCapabilities", "noNewPrivileges", "rlimits", "cwd"):
        assert spec["process"][key] == like["process"][key], key
    for key in ("namespaces", "maskedPaths", "readonlyPaths", "devices", "sysctl"):
        assert spec["linux"][key] == like["linux"][key], key
    assert spec["rl"]["seccomp"] == like["rl"]["seccomp"] == "default"
    assert spec["rl"]["passwd"] is None  # nobody's accounts come into a layer


def test_insecure_is_privileged():
    assert spec_of(security="insecure")["rl"]["privileged"]
    assert spec_of(security="insecure")["rl"]["seccomp"] == "unconfined"


def test_the_environment_is_the_steps_alone():
    spec = spec_of(env=["A=b", "PATH=/bin"], settings=Settings(environ={"http_proxy": "p"}))
    found = dict(entry.split("=", 1) for entry in spec["process"]["env"])
    assert found.pop("HOSTNAME") == spec["hostname"]
    assert found == {"A": "b", "PATH": "/bin", "http_proxy": "p", "container": "rl"}


def test_files_that_are_not_wanted():
    files = {path: "/tmp/x" for path in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")}
    every = {entry["destination"] for entry in spec_of(files=files)["mounts"]}
    assert set(files) <= every
    settings = Settings(no_hosts=True, no_hostname=True, dns=["none"])
    fewer = {entry["destination"] for entry in spec_of(files=files, settings=settings)["mounts"]}
    assert not set(files) & fewer


@pytest.mark.parametrize("option, value", [("pid", "host"), ("userns", "auto")])
def test_what_steps_cannot_have_is_an_error(option, value):
    with pytest.raises(step_spec.NotForSteps):
        spec_of(settings=Settings(**{option: value}))


def test_named_volumes_are_an_error():
    with pytest.raises(step_spec.NoNamedVolumes):
        spec_of(settings=Settings(volume=["data:/data"]))


@pytest.fixture
def mounts(workdir):
    store = layers.fresh_store(f"{workdir}/store")

    def make(*found, cwd="/w"):
        made = step_mounts.Mounts(RunStep([], ["x"], cwd=cwd, mounts=found), store, workdir, True)
        made.make()
        return made

    yield make
    store.close()


def test_targets_are_relative_to_the_working_directory(mounts):
    made = mounts(Tmpfs("a/../b"), Tmpfs("/c/"))
    assert [entry["destination"] for entry in made.entries] == ["/w/b", "/c"]
    for target in ("/", "..", "../..", "/x/.."):
        with pytest.raises(step_mounts.BadTarget):
            mounts(Tmpfs(target))


def test_a_secret_is_in_no_description(mounts):
    made = mounts(Secret(b"hush", "/s", "NAME"))
    assert made.environ == ["NAME=hush"]
    placed = made.place(["root", "rest"])
    assert placed[0] == "root" and placed[2] == "rest"
    words = [placed[1].describe(), *(op.describe() for op in made.entries[0]["ops"])]
    assert "hush" not in " ".join(words)


def test_without_overlayfs_a_mount_of_layers_says_so(workdir):
    store = layers.fresh_store(f"{workdir}/store")
    from rootless.build.steps.run import Bind

    step = RunStep([], ["x"], mounts=[Bind("/b", "/", Layers([]))])
    with pytest.raises(step_mounts.NeedsOverlay):
        step_mounts.Mounts(step, store, workdir, False).make()
    store.close()
