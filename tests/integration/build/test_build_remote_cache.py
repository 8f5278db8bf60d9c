"""rl build --cache-to and --cache-from: one store leaves its steps, another one finds them."""

import json
import os
import urllib.request

import pytest

from support import oci, tools
from support.command import Rl
from support.fakeregistry import FakeRegistry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"

FILE = """\
FROM localhost/busybox AS one
COPY data /data
RUN cat /data > /made && date +%N >> /made
FROM localhost/busybox
COPY --from=one /made /made
RUN date +%N > /second
ENV A=b
"""


@pytest.fixture
def context(workdir):
    path = f"{workdir}/context"
    os.makedirs(path)
    for name, text in (("Containerfile", FILE), ("data", "first")):
        with open(f"{path}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    return path


@pytest.fixture
def other(workdir, busybox_image):
    """rl with a store of its own that has busybox, and nothing that was built."""
    os.mkdir(f"{workdir}/other")
    found = Rl(f"{workdir}/other")
    found.ok("load", "-q", "-i", busybox_image)
    return found


def cached(done):
    """(how many steps were found, how many were done) as the lines of progress have it."""
    lines = done.stderr.splitlines()
    return (sum(line.endswith(" CACHED") for line in lines),
            sum(" DONE " in line for line in lines))  # fmt: skip


def build(engine, context, *words):
    return engine.ok("build", PLAIN, "--retry", "0", "--network", "none", *words, context)


def places(kind, registry, workdir):
    """(--cache-to, --cache-from) of a kind."""
    if kind == "local":
        return f"type=local,dest={workdir}/cache", f"type=local,src={workdir}/cache"
    name = f"{registry.address}/cache/{os.path.basename(workdir).encode().hex()}"
    if kind == "repository":
        return name, name
    return f"type=registry,ref={name}:steps", f"type=registry,ref={name}:steps"


@pytest.mark.one_id
@pytest.mark.parametrize("kind", ["local", "repository", "registry"])
def test_another_store_finds_every_step(rl, other, busybox, registry, context, workdir, kind):
    leave, take = places(kind, registry, workdir)
    first = build(rl, context, "--cache-to", leave)
    second = build(other, context, "--cache-from", take)
    assert second.text == first.text
    assert cached(second)[1] == 0, second
    assert other.ok("run", "--rm", "--network", "none", second.text, "cat", "/made", "/second"
                    ).text == rl.ok("run", "--rm", "--network", "none", first.text, "cat",
                                    "/made", "/second").text  # fmt: skip
    # What is here is not asked for again.
    assert build(other, context, "--cache-from", "127.0.0.1:1/nowhere").text == first.text


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_steps_in_the_image_itself(rl, other, busybox, registry, context, workdir, form):
    name = f"{registry.address}/app/{form}{os.path.basename(workdir).encode().hex()}:1"
    words = ("--format", form, "--cache-to", "type=inline")
    first = build(rl, context, *words, "-t", name, "--push")
    assert build(rl, context, *words).text == first.text, "built again it is the same image"
    assert build(rl, context, "--format", form).text != first.text
    # The first stage is not in the image: it is built again, the RUN of the second is found.
    with open(f"{context}/Containerfile", "w", encoding="utf-8") as file:
        file.write("FROM localhost/busybox\nRUN date +%N > /only\nENV A=b\n")
    one = build(rl, context, *words, "-t", name, "--push")
    found = build(other, context, *words, "--cache-from", name)
    assert cached(found)[1] == 0 and found.text == one.text, found
    run = ("run", "--rm", "--network", "none")
    assert other.ok(*run, found.text, "cat", "/only").text == rl.ok(*run, one.text, "cat",
                                                                    "/only").text  # fmt: skip


def test_only_what_fits_is_taken(rl, other, busybox, registry, context, workdir):
    leave, take = places("registry", registry, workdir)
    build(rl, context, "--cache-to", leave)
    with open(f"{context}/data", "w", encoding="utf-8") as file:
        file.write("second")
    done = build(other, context, "-t", "app", "--cache-from", take)
    assert cached(done)[1] >= 3
    assert other.ok("run", "--rm", "--network", "none", "app", "cat", "/made").text.startswith(
        "second"
    )


def test_steps_gather_in_a_repository(rl, other, busybox, registry, context, workdir):
    name, _ = places("repository", registry, workdir)

    def tags():
        path = name.partition("/")[2]
        url = f"http://{registry.address}/v2/{path}/tags/list"
        with urllib.request.urlopen(url) as answer:
            return set(json.loads(answer.read())["tags"])

    build(rl, context, "--cache-to", name)
    before = tags()
    assert all(len(tag) == 64 for tag in before)
    build(rl, context, "--cache-to", name)
    assert tags() == before
    with open(f"{context}/data", "w", encoding="utf-8") as file:
        file.write("second")
    build(rl, context, "--cache-to", name)
    assert tags() > before
    # Every tag is an image that others can read.
    tools.run(tools.find("skopeo"), "--insecure-policy", "inspect", "--raw", PLAIN,
              f"docker://{name}:{min(before)}")  # fmt: skip


def test_the_least_is_what_the_result_stands_on(rl, other, busybox, context, workdir):
    build(rl, context, "--cache-to", f"type=local,dest={workdir}/least,mode=min")
    build(rl, context, "--cache-to", f"type=local,dest={workdir}/most,mode=max")
    sizes = [sum(len(files) for _, _, files in os.walk(f"{workdir}/{name}"))
             for name in ("least", "most")]  # fmt: skip
    assert sizes[0] < sizes[1]
    # The stage that isn't there is built again, and gives something else to copy.
    done = build(other, context, "--cache-from", f"type=local,src={workdir}/least")
    assert cached(done)[1] >= 2


def test_a_directory_is_made_anew_only_if_it_is_a_cache(rl, busybox, context, workdir):
    place = f"type=local,dest={workdir}/cache"
    build(rl, context, "--cache-to", place)
    build(rl, context, "--cache-to", place)
    os.mkdir(f"{workdir}/mine")
    with open(f"{workdir}/mine/file", "w", encoding="utf-8") as file:
        file.write("precious")
    rl.fails("build", "-q", "--network", "none", "--cache-to", f"type=local,dest={workdir}/mine",
             context, says="no cache of rl")  # fmt: skip
    assert os.listdir(f"{workdir}/mine") == ["file"]
    assert not [name for name in os.listdir(workdir) if name.startswith("mine.")]


def test_no_cache_and_time_to_live(rl, other, busybox, registry, context, workdir):
    leave, take = places("registry", registry, workdir)
    build(rl, context, "--cache-to", leave)
    assert cached(build(other, context, "--no-cache", "--cache-from", take))[1] >= 3
    assert cached(build(rl, context, "--cache-ttl", "0", "--cache-from", take))[1] >= 3


# --- places with which something is wrong --------------------------------------------------


def test_a_place_that_is_not_there_is_passed_over(rl, busybox, context, workdir):
    done = build(rl, context, "--cache-from", "127.0.0.1:1/nowhere", "--cache-from",
                 f"type=local,src={workdir}/nothing")  # fmt: skip
    assert "Warning: --cache-from 127.0.0.1:1/nowhere is passed over" in done.stderr
    rl.ok("run", "--rm", "--network", "none", done.text, "cat", "/made")
    image = oci.Image([oci.layer(oci.entry("a", "b"))], {"Cmd": ["x"]})
    image.oci_directory(f"{workdir}/image")
    rl.ok("builder", "prune", "--all", "--force")
    done = build(rl, context, "--cache-from", f"type=local,src={workdir}/image")
    assert "no steps that rl has left" in done.stderr


def test_a_layer_that_is_not_what_it_says_is_not_taken(rl, other, busybox, context, workdir):
    build(rl, context, "--cache-to", f"type=local,dest={workdir}/cache")
    blobs = f"{workdir}/cache/blobs/sha256"
    for name in os.listdir(blobs):
        with open(f"{blobs}/{name}", "rb+") as file:
            data = file.read()
            if data[:1] != b"{":
                file.seek(0)
                file.write(bytes([data[0] ^ 1]))
    done = build(other, context, "--cache-from", f"type=local,src={workdir}/cache")
    assert "is passed over" in done.stderr and cached(done)[1] >= 3
    other.ok("system", "check")


@pytest.mark.parametrize(
    "records",
    [
        [],
        {"0" * 64: 7},
        {"0" * 64: {"parent": 1, "text": "", "created": "", "made": 0, "layer": None}},
        {"0" * 64: {"parent": "", "text": "", "created": "", "made": 0, "layer": "../../x"}},
    ],
)
def test_hostile_records(rl, busybox, context, records):
    image = oci.Image([], {}, **{"io.rl.build.cache": {"form": 1, "records": records}})
    with FakeRegistry() as server:
        server.add(image, "evil/cache", "1")
        done = build(rl, context, "--cache-from",
                     f"type=registry,ref={server.address}/evil/cache:1")  # fmt: skip
    assert cached(done)[1] >= 3


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("--cache-to", "host.example/team/cache:tag", "no tag"),
        ("--cache-from", "type=inline", "type=registry,ref=NAME"),
        ("--cache-to", "type=inline,mode=max", "no option mode"),
        ("--cache-to", "type=local", "dest is missing"),
        ("--cache-from", "type=gha", "gha"),
        ("--cache-from", "type=nope", "no type"),
        ("--cache-to", "type=local,dest=x,mode=most", "min or max"),
        ("--cache-from", "type=registry,ref=host.example/x,nope=1", "no option nope"),
    ],
)
def test_mistakes(rl, context, option, text, says):
    rl.fails("build", option, text, context, says=says)


def test_a_cache_that_cant_be_written_is_an_error(rl, busybox, context):
    rl.fails("build", "-q", "--network", "none", "--retry", "0", "--cache-to",
             "127.0.0.1:1/nowhere", context)  # fmt: skip
    build(rl, context, "--cache-to",
          "type=registry,ref=127.0.0.1:1/nowhere,ignore-error=true")  # fmt: skip
