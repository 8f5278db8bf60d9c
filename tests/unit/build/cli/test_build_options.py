"""From the command line to the options of a build."""

import ast
import os

import pytest

import rootless
from rootless.build.steps.run import Settings
from rootless.cli import app, cmd_build, fast, options
from rootless.engine.build import step_limits
from rootless.engine.build.options import Options
from rootless.errors import RlError


class Config:
    def __init__(self, environ):
        self.environ = environ


class Engine:
    def __init__(self, environ):
        self.config = Config(environ)


def read(*words, environ=()):
    line = ["build", *words]
    found = fast.parse(line) or app.parse(line)
    return cmd_build.read(Engine(dict(environ)), found[1])


def test_nothing_given_is_the_default():
    plain, found = Options().__dict__, read().__dict__
    for name in ("output", "tag", "pull", "format", "layers", "platform", "retry", "tls_verify",
                 "timestamp", "jobs", "http_proxy", "network", "progress", "context"):  # fmt: skip
        assert found[name] == plain[name], name


def test_options_have_the_types_that_a_build_wants():
    defaults = Options().__dict__
    for name, value in read("-t", "a", "--label", "b=c", "--secret", "id=x").__dict__.items():
        if isinstance(defaults[name], list):
            assert type(value) is list, name


def test_common_options():
    found = read("-t", "a", "-t", "b", "-f", "C", "--build-arg", "X=1,2", "--platform",
                 "linux/amd64,linux/arm64", "--from", "debian", "--retry-delay", "1m", "dir",
                 "--timestamp", "0", "--squash")  # fmt: skip
    assert found.tag == ["a", "b"] and found.file == ["C"] and found.build_arg == ["X=1,2"]
    assert found.platform == ["linux/amd64", "linux/arm64"] and found.from_ == "debian"
    assert found.retry_delay == 60 and found.context == "dir" and found.timestamp == 0
    assert found.squash is True and found.tls_verify is None
    assert read("--tls-verify=false").tls_verify is False


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ((), None),
        (("--pull",), "always"),
        (("--pull", "dir"), "always"),
        (("--pull=true",), "always"),
        (("--pull=false",), "missing"),
        (("--pull=newer",), "newer"),
        (("--pull=ifnewer",), "newer"),
        (("--pull-never",), "never"),
        (("--pull-always", "--pull"), "always"),
    ],
)
def test_pull(words, policy):
    found = read(*words)
    assert found.pull == policy
    assert found.context == ("dir" if "dir" in words else None)


@pytest.mark.parametrize(
    "words",
    [
        ("--pull=never", "--pull-always"),
        ("--pull-never", "--pull-always"),
        ("--squash", "--squash-all"),
        ("--timestamp", "1", "--source-date-epoch", "1"),
        ("--all-platforms",),
        ("-q", "--progress", "plain"),
        ("--rm=false",),
        ("--force-rm=false",),
        ("--retry-delay", "soon"),
        ("--timestamp=-1",),
        ("--pull=sometimes",),
        ("--format", "v2s2"),
        ("a", "b"),
        ("--isolation", "chroot"),
        ("--hooks-dir", "x"),
        ("--cpp-flag", "-DX"),
        ("--provenance", "x"),
        ("--provenance=mode=max",),
        ("--sbom",),
        ("--sbom=true",),
        ("--call=outline",),
        ("--layer-label", "a=b"),
        ("--save-stages",),
        ("--stdin",),
        ("--attest", "type=sbom"),
        ("--rewrite-timestamp",),
    ],
)
def test_what_is_refused(words):
    with pytest.raises(RlError) as caught:
        read(*words)
    assert caught.value.message


def test_what_is_so_anyway():
    found = read("--provenance=false", "--sbom=0", "--isolation", "oci", "--call=build")
    assert found.__dict__ == {**read().__dict__}
    assert read("--call=check").check is read("--check").check is True


def test_what_the_image_inherits():
    found = read("--inherit-labels=false", "--inherit-annotations=false", "--unsetannotation", "a",
                 "--identity-label", "--created-annotation", "--os-version", "10.0",
                 "--os-feature", "win32k,x-")  # fmt: skip
    assert (found.inherit_labels, found.inherit_annotations) == (False, False)
    assert (found.identity_label, found.created_annotation) == (True, True)
    assert found.unsetannotation == ["a"] and found.os_version == "10.0"
    assert found.os_feature == ["win32k", "x-"]


def test_limits():
    found = read("-m", "1g", "--memory-swap", "2g", "-c", "512", "--cpu-quota", "-1",
                 "--cpu-period", "5000", "--cpuset-cpus", "0-1", "--cpuset-mems", "0",
                 "--cgroup-parent", "a.slice", "--cgroupns", "host")  # fmt: skip
    assert (found.memory, found.memory_swap, found.cpu_shares) == ("1g", "2g", 512)
    assert (found.cpu_quota, found.cpu_period, found.cpuset_cpus) == (-1, 5000, "0-1")
    assert (found.cpuset_mems, found.cgroup_parent) == ("0", "a.slice")
    assert found.cgroupns == "host"


def test_push_and_load_are_outputs():
    assert read("--push").output == ["type=image,push=true"]
    assert read("-o", "out", "--load").output == ["out", "type=image"]


def test_the_environment_has_defaults():
    environ = {"SOURCE_DATE_EPOCH": "12", "BUILDAH_FORMAT": "docker", "BUILDAH_LAYERS": "false",
               "BUILDKIT_PROGRESS": "plain"}  # fmt: skip
    found = read(environ=environ)
    assert (found.source_date_epoch, found.format, found.layers) == (12, "docker", False)
    assert found.progress == "plain"
    words = ("--source-date-epoch", "3", "--format", "oci", "--layers", "--progress", "tty")
    found = read(*words, environ=environ)
    assert (found.source_date_epoch, found.format, found.layers) == (3, "oci", True)
    assert found.progress == "tty"


def test_the_epoch_is_an_argument_variable_or_option():
    name = "SOURCE_DATE_EPOCH"
    argument = ("--build-arg", f"{name}=7")
    assert read(*argument).source_date_epoch == 7
    assert read(*argument, environ={name: "9"}).source_date_epoch == 7
    assert read("--build-arg", name, environ={name: "9"}).source_date_epoch == 9
    assert read(*argument, "--source-date-epoch", "8").source_date_epoch == 8
    assert read(*argument, "--timestamp", "8").source_date_epoch is None
    assert read("--build-arg", f"{name}=", environ={name: "9"}).source_date_epoch is None
    with pytest.raises(cmd_build.BadSetting):
        read("--build-arg", f"{name}=soon")


def test_rewriting_of_times_can_be_turned_off():
    assert read("--source-date-epoch", "3").rewrite_timestamp is True
    assert read("--source-date-epoch", "3", "--rewrite-timestamp").rewrite_timestamp is True
    assert read("--rewrite-timestamp=false").rewrite_timestamp is False
    with pytest.raises(cmd_build.NeedsEpoch):
        read("--rewrite-timestamp", "--timestamp", "3")


@pytest.mark.parametrize(
    ("name", "value"),
    [("SOURCE_DATE_EPOCH", "now"), ("BUILDAH_FORMAT", "zip"), ("BUILDAH_LAYERS", "perhaps")],
)
def test_a_bad_variable_is_an_error(name, value):
    with pytest.raises(cmd_build.BadSetting) as caught:
        read(environ={name: value})
    assert name in caught.value.message


def read_somewhere():
    """Every attribute that is looked up, and every text, where builds are done."""
    package = os.path.dirname(rootless.__file__)
    found = {*Settings.LISTS, *Settings.VALUES, *step_limits.OPTIONS}
    places = [f"{package}/cli/build_view.py", f"{package}/cli/cmd_build.py"]
    for folder in ("build", "engine/build"):
        for at, _, names in os.walk(f"{package}/{folder}"):
            places += [f"{at}/{name}" for name in names
                       if name.endswith(".py") and name != "options.py"]  # fmt: skip
    for path in places:
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                if isinstance(node.value, (ast.Name, ast.Attribute)):
                    owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                    if owner in ("options", "request"):
                        found.add(node.attr)
            elif path.endswith("cmd_build.py") and isinstance(node, ast.Constant):
                found.add(node.value)
    return found


def test_there_is_no_attribute_that_nobody_reads():
    assert set(Options().__dict__) - read_somewhere() == set()


def test_every_option_is_read_by_what_builds():
    rows = [row for row in options.find("build").options if row.unavailable is None]
    used = read_somewhere()
    names = {cmd_build.OTHERS.get(row.name, row.name): row for row in rows}
    assert [row.names[-1] for name, row in names.items() if name not in used] == []
    assert "nope" not in used and "target" in used
