"""images, inspect, history, tag, untag, rmi, image prune and exists."""

import json
import os
import subprocess
import sys

import pytest

import rootless
from support import oci, tools

pytestmark = pytest.mark.integration


def image_id(image):
    return image.config["digest"].partition(":")[2]


@pytest.fixture
def load(rl, workdir):
    """A function that puts an image into ``rl``: its id."""

    def work(name, *layers, created="2024-01-02T03:04:05Z", **config):
        data = [oci.layer(oci.entry(text, text * 1000)) for text in layers or ("a",)]
        image = oci.Image(data, config, created=created)
        rl.ok("load", "-q", "-i", image.oci_archive(f"{workdir}/load", name))
        return image_id(image)

    return work


def table(result):
    return [line.split() for line in result.lines]


# --- images --------------------------------------------------------------------------------


def test_an_empty_store(rl):
    assert rl.ok("images").text == "REPOSITORY  TAG         IMAGE ID    CREATED     SIZE"
    assert rl.ok("images", "-q").text == "" == rl.ok("images", "-n").text
    assert rl.ok("images", "--format", "json").json() == []


def test_the_table(rl, load):
    first = load("docker.io/library/one:1", "a", created="2020-01-01T00:00:00Z")
    second = load("localhost/two:latest", "a", "b")
    rl.ok("tag", "two", "quay.io/x/y:z")
    head, *rows = table(rl.ok("images"))
    assert head == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [row[:3] for row in rows] == [
        ["localhost/two", "latest", second[:12]],
        ["quay.io/x/y", "z", second[:12]],
        ["docker.io/library/one", "1", first[:12]],
    ]
    assert rows[2][4:6] == ["years", "ago"] and rows[2][6:] == ["10.2", "kB"]
    assert rl.ok("images", "-q").lines == [second[:12], first[:12]]
    assert rl.ok("images", "-q", "--no-trunc").lines == [f"sha256:{second}", f"sha256:{first}"]
    assert "sha256:" in rl.ok("images", "--digests").lines[1].split()[2]
    assert rl.ok("images", "--history", "one").lines[1].endswith("docker.io/library/one:1")
    assert [r[0] for r in table(rl.ok("images", "-n", "--sort", "repository"))] == [
        "docker.io/library/one", "localhost/two", "quay.io/x/y",
    ]  # fmt: skip
    rl.fails("images", "--sort", "colour", says="colour")


def test_which_images(rl, load):
    one = load("docker.io/library/app:1", "a")
    two = load("quay.io/team/app:2", "b")
    three = load("localhost/other:latest", "c")

    def shown(*words):
        return set(rl.ok("images", "-q", "--no-trunc", *words).text.replace("sha256:", "").split())

    assert shown("app") == {one, two}
    assert shown("app:1") == {one}
    assert shown("team/app") == {two}
    assert shown("quay.io/team/app") == {two}
    assert shown("other") == {three}
    assert shown(three[:8]) == {three}
    assert shown("nothing") == set()


def test_filters(rl, load):
    old = load("localhost/old:1", "a", created="2020-01-01T00:00:00Z", Labels={"k": "v"})
    new = load("localhost/new:1", "b", created="2024-01-01T00:00:00Z", Labels={"k": "w"})
    bare = load(None, "c", created="2022-01-01T00:00:00Z")

    def shown(*filters):
        words = [word for text in filters for word in ("--filter", text)]
        return set(rl.ok("images", "-q", "--no-trunc", *words).text.replace("sha256:", "").split())

    assert shown("label=k") == {old, new}
    assert shown("label=k=v") == {old}
    assert shown("label!=k") == {bare}
    assert shown("dangling=true") == {bare}
    assert shown("dangling=false") == {old, new}
    assert shown("before=new:1") == {old, bare}
    assert shown("since=old:1") == {new, bare} == shown("after=old:1")
    assert shown("until=2021-01-01") == {old}
    assert shown("reference=*/o*") == {old}
    assert shown("reference=new") == {new}
    assert shown(f"id={bare[:10]}") == {bare}
    assert shown("label=k", "until=2021-01-01") == {old}
    assert shown("containers=true") == set()
    rl.fails("images", "--filter", "colour=red", says="colour")
    rl.fails("images", "--filter", "since=nothing", says="image not known")
    rl.fails("images", "--filter", "dangling=perhaps", says="true or false", hint=False)


def test_json_has_podmans_fields(rl, load):
    image = load("localhost/one:1", "a", Labels={"k": "v"})
    (row,) = rl.ok("images", "--format", "json").json()
    assert row["Id"] == image and row["Names"] == ["localhost/one:1"]
    assert row["Created"] == 1704164645 and row["CreatedAt"] == "2024-01-02T03:04:05Z"
    assert row["Labels"] == {"k": "v"} and row["Containers"] == 0 and row["Size"] == 10240
    assert set(row) >= {"ParentId", "RepoTags", "RepoDigests", "SharedSize", "VirtualSize",
                        "Digest", "History"}  # fmt: skip
    template = "{{.Repository}}|{{.Tag}}|{{.ID}}|{{.Size}}|{{.CreatedAt}}|{{.Digest}}"
    found = rl.ok("images", "--format", template).text.split("|")
    assert found[:5] == ["localhost/one", "1", image[:12], "10.2 kB",
                         "2024-01-02 03:04:05 +0000 UTC"]  # fmt: skip
    assert found[5] == row["Digest"]
    rl.fails("images", "--format", "{{.Colour}}", says="Colour")


def test_names_from_strangers_reach_no_terminal(rl, load):
    load("localhost/one:1", "a", Labels={"k": "\x1b[31mred\u202e"})
    with rl.terminal("images", "--format", "{{.Labels}}") as terminal:
        terminal.expect(r"\\x1b\[31mred")
        assert b"\x1b[31m" not in terminal.seen and "\u202e".encode() not in terminal.seen


def test_damage_hides_nothing_else(rl, load):
    good, bad = load("localhost/good:1", "a"), load("localhost/bad:1", "b")
    with open(f"{rl.root}/images/{bad}", "w") as file:
        file.write("{")
    done = rl.ok("images", "-q", "--no-trunc")
    assert done.text == f"sha256:{good}"
    assert "damaged" in done.stderr and "rl system check" in done.stderr
    rl.ok("rmi", "bad:1")
    assert "damaged" not in rl.ok("images").stderr


# --- inspect, history ----------------------------------------------------------------------


def test_inspect(rl, load):
    image = load("localhost/one:1", "a", "b", Env=["A=1"], User="me", Labels={"k": "v"})
    (found,) = rl.ok("image", "inspect", "one:1").json()
    assert found["Id"] == image and found["RepoTags"] == ["localhost/one:1"]
    assert found["Config"]["Env"] == ["A=1"] and found["User"] == "me"
    assert found["Labels"] == {"k": "v"} and found["Os"] == "linux"
    assert len(found["RootFS"]["Layers"]) == 2 and found["RootFS"]["Type"] == "layers"
    assert found["ManifestType"].endswith("manifest.v1+json")
    assert rl.ok("inspect", "--format", "{{.Config.User}}", "one:1").text == "me"
    rl.fails("image", "inspect", "nothing", says="nothing", hint=False)


def test_inspect_agrees_with_skopeo(rl, workdir, multilayer_image):
    rl.ok("load", "-q", "-i", multilayer_image)
    ours = rl.ok("image", "inspect", rl.ok("images", "-q").lines[0]).json()[0]
    words = ("inspect", "--config", f"oci-archive:{multilayer_image}")
    theirs = json.loads(tools.run(tools.find("skopeo"), *words))
    assert ours["RootFS"]["Layers"] == theirs["rootfs"]["diff_ids"]
    assert ours["Architecture"] == theirs["architecture"]
    assert ours["History"] == theirs["history"]
    assert ours["Config"] == theirs["config"]


def test_history(rl, load):
    image = load("localhost/one:1", "a", "b")
    head, top, bottom = table(rl.ok("history", "one:1"))
    assert head == ["ID", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert top[0] == image[:12] and bottom[0] == "<missing>"
    assert "layer" in top and "1" in top and top[-2:] == ["10.2", "kB"]
    assert rl.ok("history", "-q", "--no-trunc", "one:1").lines == [image, "<missing>"]
    steps = rl.ok("history", "--format", "json", "one:1").json()
    assert [step["CreatedBy"] for step in steps] == ["layer 1", "layer 0"]
    assert [step["size"] for step in steps] == [10240, 10240]
    assert rl.ok("history", "--human=false", "--format", "{{.Size}}", "one:1").lines[0] == "10240"
    rl.fails("history", "nothing", says="image not known")


# --- names ---------------------------------------------------------------------------------


def test_tag_and_untag(rl, load):
    image = load("localhost/one:1", "a")
    rl.ok("tag", "one:1", "two", "quay.io/x/three:3")
    (row,) = rl.ok("images", "--format", "json").json()
    assert row["Names"] == ["localhost/one:1", "localhost/two:latest", "quay.io/x/three:3"]
    rl.ok("untag", "one:1", "two")
    rl.fails("untag", "one:1", "two", says="localhost/two:latest: tag not known")
    rl.ok("untag", "one:1")
    (row,) = rl.ok("images", "--format", "json").json()
    assert row["Names"] == [] and row["Id"] == image
    assert "localhost/two:latest" in row["History"]
    rl.fails("tag", "nothing", "x", says="image not known")
    rl.fails("tag", image, "Bad", says="capital letters")
    rl.fails("tag", image, "x@sha256:" + "0" * 64, says="digest")


# --- removing ------------------------------------------------------------------------------


def test_rmi(rl, load):
    image = load("localhost/one:1", "a")
    rl.ok("tag", "one:1", "two:2")
    assert rl.ok("rmi", "one:1").lines == ["Untagged: localhost/one:1"]
    rl.ok("tag", image, "three:3")
    rl.fails("rmi", image[:10], says="has several names")
    rl.ok("untag", image, "three:3")
    assert rl.ok("rmi", "two:2").lines == ["Untagged: localhost/two:2", f"Deleted: {image}"]
    for kind in ("layers", "blobs/sha256", "images", "refs"):
        assert os.listdir(f"{rl.root}/{kind}") == [], "what nothing needs is gone"


def test_rmi_codes(rl, load):
    load("localhost/one:1", "a")
    rl.fails("rmi", "nothing", code=1, says="nothing: image not known")
    rl.ok("rmi", "--ignore", "nothing")
    assert rl("rmi", "nothing", "one:1").code == 1
    assert rl.ok("images", "-q").text == ""


def test_shared_layers_stay(rl, load):
    load("localhost/base:1", "a")
    load("localhost/more:1", "a", "b")
    rl.ok("rmi", "more:1")
    assert len(os.listdir(f"{rl.root}/layers")) == 1
    rl.ok("image", "inspect", "base:1")


def test_images_in_use(rl, busybox):
    rl.ok("run", "--name", "user", "--network", "none", busybox, "true")
    error = rl.fails("rmi", busybox, code=2, says="is used by container user")
    assert "rl rm user" in error.stderr
    assert rl("rmi", "--all").code == 2
    assert rl.ok("image", "prune", "-af").text == ""
    image = rl.ok("images", "-q", "--no-trunc").text.removeprefix("sha256:")
    done = rl.ok("rmi", "--force", busybox)
    assert done.lines == [f"Untagged: {busybox}", f"Deleted: {image}"]
    assert rl.ok("ps", "-aq").text == ""


def test_rmi_all(rl, load):
    load("localhost/one:1", "a")
    load("localhost/two:1", "b")
    rl.ok("tag", "one:1", "three:1")
    load(None, "c")
    assert len([n for n in rl.ok("rmi", "--all").lines if n.startswith("Deleted")]) == 3
    assert rl.ok("images", "-aq").text == ""
    rl.fails("rmi", says="", hint=True)


def test_prune(rl, load):
    kept = load("localhost/one:1", "a")
    bare = load(None, "b", Labels={"keep": "yes"})
    other = load(None, "c")
    done = rl.ok("image", "prune", input="n\n")
    assert done.text == "" and "dangling images" in done.stderr
    assert rl.ok("image", "prune", "-f", "--filter", "label!=keep").lines == [other]
    assert rl.ok("image", "prune", input="y\n").lines == [bare]
    assert rl.ok("image", "prune", "-f").text == ""
    assert rl.ok("image", "prune", "-af").lines == [kept]


def test_exists(rl, load):
    image = load("localhost/one:1", "a")
    for name in ("one:1", "localhost/one:1", image, image[:6]):
        rl.ok("image", "exists", name)
    assert rl("image", "exists", "two").code == 1


# --- what a start of a container pays for --------------------------------------------------

LOCAL = """\
import sys
sys.path.append(sys.argv[1])
from rootless import config
from rootless.engine import images
from rootless.engine.context import Engine
import os
engine = Engine(config.load({}, dict(os.environ)))
engine.ids
before = set(sys.modules)
for name in sys.argv[2:]:
    images.configuration(engine, images.resolve(engine, name))
print(*sorted(set(sys.modules) - before))
"""
HEAVY = {"re", "json", "enum", "typing", "hashlib", "threading", "ssl", "http", "urllib",
         "elftools", "tomllib", "subprocess", "socket", "logging", "datetime"}  # fmt: skip


def test_an_image_that_is_here_needs_nothing_heavy(rl, load):
    load("localhost/one:1", "a")
    names = ["one:1", "elf:/usr/bin/env", "hello"]
    for name in names[1:]:
        rl.ok("pull", "-q", name)
    package = os.path.dirname(os.path.dirname(os.path.abspath(rootless.__file__)))
    done = subprocess.run(
        [sys.executable, "-IS", "-c", LOCAL, package, *names],
        env=rl.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert not loaded & HEAVY
    assert not [name for name in loaded if name.startswith("rootless.image.registry")]
