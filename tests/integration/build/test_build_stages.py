"""rl build: stages, arguments, the configuration of what comes out, names."""

import json
import os

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

BASE = "localhost/busybox:latest"


class Context:
    """A directory to build from: ``file(path, content)``, ``build(*words)``."""

    def __init__(self, rl, directory):
        self.rl = rl
        self.directory = directory
        os.makedirs(directory, exist_ok=True)

    def file(self, path, content=""):
        full = f"{self.directory}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content)
        return full

    def build(self, text, *words, **how):
        """Build a Containerfile with ``text``: the Result, with ``id`` of the image."""
        self.file("Containerfile", text)
        result = self.rl.ok("build", *words, self.directory, timeout=120, **how)
        result.id = result.lines[-1].removeprefix("sha256:")
        return result

    def fails(self, text, *words, **how):
        self.file("Containerfile", text)
        return self.rl.fails("build", *words, self.directory, **how)

    def inspect(self, name):
        return self.rl.ok("inspect", "--type", "image", name).json()[0]

    def show(self, image, path):
        """The content of a file of an image."""
        return self.rl.ok("run", "--rm", "--network", "none", image, "cat", path).stdout


@pytest.fixture
def context(rl, busybox, workdir):
    return Context(rl, f"{workdir}/context")


def test_what_is_not_inherited(context):
    base = f"FROM {BASE}\nLABEL old=1\n"
    context.build(base, "-t", "base", "--annotation", "note=1", "--annotation", "gone=1")
    text = "FROM base AS first\nLABEL first=1\nFROM first\nLABEL last=1\n"
    kept = context.inspect(context.build(text).id)
    assert kept["Labels"] == {"old": "1", "first": "1", "last": "1"}
    assert kept["Annotations"]["note"] == kept["Annotations"]["gone"] == "1"
    found = context.inspect(context.build(text, "--inherit-labels=false", "--unsetannotation",
                                          "gone").id)  # fmt: skip
    assert found["Labels"] == {"last": "1"}
    assert found["Annotations"]["note"] == "1" and "gone" not in found["Annotations"]
    assert found["RootFS"]["Layers"] == kept["RootFS"]["Layers"]
    only = context.inspect(context.build("FROM base\n", "--inherit-labels=false",
                                         "--inherit-annotations=false").id)  # fmt: skip
    assert not only["Labels"] and "note" not in only["Annotations"]


def test_what_rl_adds_if_asked(context):
    text = f"FROM {BASE}\nLABEL a=b\n"
    words = ("--identity-label", "--created-annotation", "--source-date-epoch", "1000000000")
    found = context.inspect(context.build(text, *words, "--os-version", "10.1", "--os-feature",
                                          "x,y").id)  # fmt: skip
    assert found["Labels"]["io.rl.version"]
    created = found["Annotations"]["org.opencontainers.image.created"]
    assert created == found["Created"] == "2001-09-09T01:46:40Z"
    assert "io.rl.version" not in context.inspect(context.build(text).id)["Labels"]


def test_the_preprocessor_is_not_run(context, workdir):
    context.file("Containerfile.in", f"FROM {BASE}\n# define it\n#include \"more\"\n")
    context.rl.fails("build", "-f", f"{context.directory}/Containerfile.in", context.directory,
                     says="#include")  # fmt: skip
    context.file("Containerfile.in", f"FROM {BASE}\n#if it is a comment, it is one\nENV A=1\n")
    context.rl.ok("build", "-f", f"{context.directory}/Containerfile.in", context.directory,
                  timeout=120)  # fmt: skip


def test_the_configuration(context):
    text = f"""
FROM {BASE}
ENV A=1 B="two words"
LABEL one=$A "two"='2 2'
WORKDIR /work
WORKDIR sub
USER 0:0
EXPOSE 80 90/udp
VOLUME /data
ENTRYPOINT ["/bin/echo"]
CMD ["hello"]
STOPSIGNAL SIGINT
MAINTAINER somebody
HEALTHCHECK --interval=10s CMD true
"""
    image = context.build(text, "-t", "x").id
    found = context.inspect("x")
    config = found["Config"]
    assert found["Id"] == image and found["RepoTags"] == ["localhost/x:latest"]
    assert config["Env"] == ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "A=1",
                             "B=two words"]  # fmt: skip
    assert config["Labels"] == {"one": "1", "two": "2 2"}
    assert config["WorkingDir"] == "/work/sub" and config["User"] == "0:0"
    assert config["ExposedPorts"] == {"80/tcp": {}, "90/udp": {}}
    assert config["Volumes"] == {"/data": {}} and config["StopSignal"] == "SIGINT"
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/echo"], ["hello"])
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 10**10}
    assert found["Author"] == "somebody" and found["Architecture"]
    history = [entry["created_by"] for entry in found["History"][-3:]]
    assert history[0] == "/bin/sh -c #(nop) STOPSIGNAL SIGINT"
    assert context.rl.ok("run", "--rm", "--network", "none", "x").text == "hello"


def test_a_working_directory_is_made_once(context):
    first = context.build(f"FROM {BASE}\nWORKDIR /new/dir\nWORKDIR /new\nWORKDIR /tmp\n")
    layers = context.inspect(first.id)["RootFS"]["Layers"]
    assert len(layers) == 2
    words = ("run", "--rm", "--network", "none", first.id, "stat", "-c", "%a %u", "/new/dir")
    assert context.rl.ok(*words).text == "755 0"


def test_a_working_directory_belongs_to_the_user(context):
    image = context.build(f"FROM {BASE}\nUSER user\nWORKDIR /new/dir\nUSER 0\n").id
    words = ("run", "--rm", "--network", "none", image, "stat", "-c", "%u %g", "/new", "/new/dir")
    mapped = context.rl.ok("info", "--format", "{{json .Host.IDMappings.UIDMap}}").json()
    # With one id nobody else is there to own anything; the archive says who it was.
    owner = "1000 1000" if len(mapped) > 1 else "0 0"
    assert context.rl.ok(*words).lines == [owner, owner]


def test_several_stages(context):
    context.file("one.txt", "1")
    text = f"""
ARG BASE={BASE}
FROM scratch AS files
COPY one.txt /a/
FROM unknown.example/never AS unused
COPY nothing /
FROM ${{BASE}} AS last
COPY --from=files /a /b
COPY --from=0 /a/one.txt /c.txt
"""
    image = context.build(text).id
    assert context.show(image, "/b/one.txt") == context.show(image, "/c.txt") == "1"
    files = context.build(text, "--target", "files").id
    assert len(context.inspect(files)["RootFS"]["Layers"]) == 1


def test_a_stage_goes_on_with_another_one(context):
    text = f"FROM {BASE} AS one\nENV A=1\nONBUILD ENV C=$A$B\nFROM one\nENV B=2$A\n"
    found = context.inspect(context.build(text).id)
    assert found["Config"]["Env"][1:] == ["A=1", "C=1", "B=21"]
    assert not found["Config"].get("OnBuild")


def test_triggers_of_an_image(context):
    context.build(f"FROM {BASE}\nONBUILD COPY one.txt /\nONBUILD ENV T=1\n", "-t", "trigger")
    assert context.inspect("trigger")["Config"]["OnBuild"] == ["COPY one.txt /", "ENV T=1"]
    context.file("one.txt", "from the trigger")
    image = context.build("FROM trigger\nENV U=$T\n").id
    assert context.inspect(image)["Config"]["Env"][-2:] == ["T=1", "U=1"]
    assert context.show(image, "/one.txt") == "from the trigger"


def test_arguments(context):
    text = f"ARG V=1\nFROM {BASE}\nARG V\nARG W=default\nARG TARGETOS\n" \
        "LABEL v=$V w=$W o=$TARGETOS\n"  # fmt: skip
    context.file("args", "# comment\nW=file\n\nV=file\n")

    def labels(*words, **how):
        return context.inspect(context.build(text, *words, **how).id)["Labels"]

    assert labels() == {"v": "1", "w": "default", "o": "linux"}
    assert labels("--build-arg", "V=2", "--build-arg=W") == {"v": "2", "w": "default",
                                                             "o": "linux"}  # fmt: skip
    found = labels("--build-arg-file", f"{context.directory}/args", "--build-arg", "V",
                   env={"V": "env"})  # fmt: skip
    assert found == {"v": "env", "w": "file", "o": "linux"}


def test_an_argument_that_nobody_asks_for(context):
    result = context.build(f"FROM {BASE}\nENV A=1\n", "--build-arg", "TYPO=1")
    assert "no ARG asks for --build-arg TYPO" in result.stderr


def test_options_that_change_the_image(context):
    words = ("--label", "a=1", "--label", "b", "--env", "E=2", "--env", "FROM_ME", "--unsetenv",
             "PATH", "--annotation", "note=3", "--unsetlabel", "old")  # fmt: skip
    image = context.build(f"FROM {BASE}\nLABEL old=1 kept=1\n", *words, env={"FROM_ME": "x"}).id
    found = context.inspect(image)
    assert found["Labels"] == {"kept": "1", "a": "1", "b": ""}
    assert found["Config"]["Env"] == ["E=2", "FROM_ME=x"]
    assert found["Annotations"]["note"] == "3"
    assert found["Annotations"]["org.opencontainers.image.base.name"] == BASE


def test_nothing_but_from_is_the_image_itself(context):
    base = context.inspect(BASE)
    assert context.build(f"FROM {BASE}\n", "-t", "same").id == base["Id"]
    assert sorted(context.inspect("same")["RepoTags"]) == [BASE, "localhost/same:latest"]


def test_names_move_and_the_old_image_stays_without(context):
    first = context.build(f"FROM {BASE}\nENV A=1\n", "-t", "x", "-t", "example.com/y:2").id
    assert sorted(context.inspect(first)["RepoTags"]) == ["example.com/y:2", "localhost/x:latest"]
    second = context.build(f"FROM {BASE}\nENV A=2\n", "-t", "x").id
    assert context.inspect(first)["RepoTags"] == ["example.com/y:2"]
    third = context.build(f"FROM {BASE}\nENV A=3\n", "-t", "x").id
    rows = context.rl.ok("images", "--filter", "dangling=true", "-q", "--no-trunc").lines
    assert [row.removeprefix("sha256:") for row in rows] == [second] and third != second


def test_images_of_empty_layers_can_be_mounted(context):
    context.build(f"FROM {BASE}\nRUN true\nRUN true\n", "-t", "twice")
    layers = context.inspect("twice")["RootFS"]["Layers"]
    assert len(set(layers)) < len(layers), "the same layer comes twice"
    context.build("FROM scratch\nENV A=1\n", "-t", "nothing")
    for image, there in (("twice", "yes"), ("nothing", "no")):
        found = context.rl.ok(
            "run", "--rm", "--network", "none", "--mount", f"type=image,source={image},target=/i",
            BASE, "sh", "-c", "test -e /i/bin && echo yes || echo no",
        )  # fmt: skip
        assert found.text == there


def test_an_image_as_a_context(context):
    context.build(f"FROM {BASE}\nRUN echo other > /mark\n", "-t", "other")
    words = ("--build-context", "Source=docker-image://localhost/other")
    text = f"""\
FROM {BASE} AS source
RUN echo stage > /mark
FROM {BASE}
COPY --from=source /mark /copied
RUN --mount=type=bind,from=SOURCE,target=/m cat /m/mark > /read
"""
    image = context.build(text, *words).id
    assert context.show(image, "/copied") == context.show(image, "/read") == "other\n"
    image = context.build(text).id
    assert context.show(image, "/copied") == context.show(image, "/read") == "stage\n"
    image = context.build("FROM source\nENV A=1\n", *words).id
    assert context.show(image, "/mark") == "other\n"
    result = context.fails(text, "--build-context", "source=docker-image://localhost/absent",
                           says="localhost/absent")  # fmt: skip
    assert "COPY --from=source" in result.stderr


def test_formats(context):
    text = f"FROM {BASE}\nENV A=1\n"
    oci = context.inspect(context.build(text).id)["ManifestType"]
    docker = context.inspect(context.build(text, "--format", "docker").id)["ManifestType"]
    assert oci == "application/vnd.oci.image.manifest.v1+json"
    assert docker == "application/vnd.docker.distribution.manifest.v2+json"


@pytest.mark.parametrize("how", ["--squash", "--layers=false", "--squash-all"])
def test_one_layer_of_several(context, how):
    context.file("a", "1")
    context.file("b", "2")
    context.file("c", "3")
    text = f"FROM {BASE}\nCOPY a /d/a\nCOPY b /d/b\nENV X=1\nCOPY c /d/a\n"
    found = context.inspect(context.build(text, how, "-t", "flat").id)
    layers = found["RootFS"]["Layers"]
    assert len(layers) == (1 if how == "--squash-all" else 2)
    entries = [entry for entry in found["History"] if not entry.get("empty_layer")]
    assert len(entries) == len(layers)
    assert context.show("flat", "/d/a") == "3" and context.show("flat", "/d/b") == "2"
    assert context.rl.ok("run", "--rm", "--network", "none", "flat", "id", "-un").text == "root"


@pytest.mark.parametrize("how", ["--squash", "--layers=false", "--squash-all"])
def test_what_one_layer_hides(context, how):
    text = f"""
FROM {BASE}
RUN mkdir /x && echo 1 > /x/a && ln /x/a /x/b && echo 2 > /gone
RUN rm -r /home /gone && mkdir /home && echo new > /home/n && rm -r /var
RUN rm -r /usr/bin && echo file > /usr/bin
RUN rm /usr/bin && mkdir /usr/bin && touch /usr/bin/z && chown 1:2 /x
"""
    shown = []
    for words in ((), (how,)):
        image = context.build(text, *words).id
        script = "ls -A / /home /etc /usr/bin /x; stat -c '%n %a %u %g %s' /home/n /x/a /usr/bin/z"
        shown.append(context.rl.ok("run", "--rm", "--network", "none", image, "sh", "-c",
                                   f"{script}; stat -c '%u %g' /x").stdout)  # fmt: skip
    assert shown[0] == shown[1]
    assert "user" not in shown[0] and "var" not in shown[0] and "gone" not in shown[0]


# --- mistakes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, says",
    [
        (f"FROM {BASE}\nCOPY missing /\n", "Containerfile:2:6: no file 'missing'"),
        (f"FROM {BASE}\n\nCOPY --from=7 /x /\n", "Containerfile:3:13: there is no stage 7"),
        (f"FROM {BASE} AS a\nCOPY --from=b / /\nFROM a AS b\n", "in a circle"),
        (f"FROM {BASE}\nRNU true\n", "Containerfile:2:1: unknown instruction RNU"),
        (f"FROM {BASE}\nUSER $NOBODY\n", "Containerfile:2:"),
        ("FROM $NOTHING\n", "Containerfile:1:6: the name $NOTHING is empty here"),
        ("FROM nowhere.invalid/x\n", "Containerfile:1:6:"),
    ],
)  # fmt: skip
def test_errors_show_the_place(context, text, says):
    target = ["--target", "a"] if "circle" in says else []
    result = context.fails(text, "--pull=never", *target, says="Containerfile:", hint=False)
    assert says in result.stderr
    line = int(result.stderr.split("Containerfile:")[1].split(":")[0])
    assert text.splitlines()[line - 1] in result.stderr
    assert context.rl.ok("images", "-q").lines == context.rl.ok("images", "-q", BASE).lines


def test_a_target_that_is_not_there(context):
    text = f"FROM {BASE} AS build\nENV A=1\n"
    result = context.fails(text, "--target", "biuld", says="--target biuld: there is no such stage")
    assert "did you mean build?" in result.stderr


def test_what_comes_out_is_read_by_others(context, workdir):
    context.file("a", "1")
    context.build(f"FROM {BASE}\nCOPY a /a\n", "-t", "x")
    path = f"{workdir}/saved.tar"
    context.rl.ok("save", "--format", "oci-archive", "-o", path, "x")
    context.rl.ok("rmi", "x")
    context.rl.ok("load", "-i", path)
    manifest = context.inspect("x")
    assert json.dumps(manifest["RootFS"]) and context.show("x", "/a") == "1"
