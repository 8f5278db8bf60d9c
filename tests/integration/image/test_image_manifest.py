"""rl manifest: lists made here, pushed, and read by others."""

import hashlib
import json
import os
import subprocess

import pytest

from support import oci, tools
from support.fakeregistry import FakeRegistry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OTHER = "arm64" if oci.architecture() == "amd64" else "amd64"


def skopeo(*words):
    return tools.run(tools.find("skopeo"), "--insecure-policy", *words)


def raw(name):
    """The document that skopeo sees in a registry: (dict, its digest)."""
    text = skopeo("inspect", "--raw", PLAIN, f"docker://{name}")
    return json.loads(text), "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def foreign(workdir, name, architecture=OTHER, text="x", **facts):
    """The path of an oci-archive with an image for another architecture."""
    layer = oci.layer(oci.entry("which", text))
    image = oci.Image([layer], {"Cmd": ["x"]}, architecture=architecture, **facts)
    return image.oci_archive(f"{workdir}/{os.urandom(4).hex()}.oci", name)


@pytest.fixture
def two(rl, busybox, workdir):
    """Names of two local images: one of this machine, one of another architecture."""
    rl.ok("load", "-q", "-i", foreign(workdir, "localhost/other:1"))
    return busybox, "localhost/other:1"


def listed(rl, name):
    return rl.ok("manifest", "inspect", name).json()


# --- here ----------------------------------------------------------------------------------


def test_create_add_inspect(rl, two):
    made = rl.ok("manifest", "create", "both").text
    assert len(made) == 64
    assert listed(rl, "both") == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert rl.ok("manifest", "add", "both", *two).text == made
    found = listed(rl, "both")
    platforms = [entry["platform"]["architecture"] for entry in found["manifests"]]
    assert platforms == [oci.architecture(), OTHER]
    digests = [rl.ok("image", "inspect", name).json()[0]["Digest"] for name in two]
    assert [entry["digest"] for entry in found["manifests"]] == digests
    assert all(entry["size"] > 0 for entry in found["manifests"])
    rl.ok("manifest", "add", "both", two[1])
    assert len(listed(rl, "both")["manifests"]) == 2


def test_create_with_images_and_amend(rl, two):
    rl.ok("manifest", "create", "--annotation", "k=v", "both:1", two[0])
    rl.fails("manifest", "create", "both:1", says="already")
    rl.ok("manifest", "create", "--amend", "both:1", two[1])
    found = listed(rl, "both:1")
    assert len(found["manifests"]) == 2 and found["annotations"] == {"k": "v"}


def test_a_name_of_an_image_is_not_taken(rl, two):
    rl.fails("manifest", "create", two[0], says="already")
    rl.fails("manifest", "create", "--amend", two[0], says="already")
    assert rl.ok("run", "--rm", "--network", "none", two[0], "echo", "hi").text == "hi"


def test_options_change_an_entry(rl, two):
    rl.ok("manifest", "create", "both", two[0])
    rl.ok("manifest", "add", "--arch", "arm", "--variant", "v7", "--os-version", "9",
          "--features", "a,b", "--annotation", "x=y=z", "both", two[1])  # fmt: skip
    entry = listed(rl, "both")["manifests"][1]
    assert entry["platform"] == {"architecture": "arm", "os": "linux", "variant": "v7",
                                 "os.version": "9", "features": ["a", "b"]}  # fmt: skip
    assert entry["annotations"] == {"x": "y=z"}
    rl.ok("manifest", "annotate", "--variant", "v6", "--os-features", "f", "--annotation", "n=1",
          "both", entry["digest"])  # fmt: skip
    entry = listed(rl, "both")["manifests"][1]
    assert entry["platform"]["variant"] == "v6" and entry["platform"]["os.features"] == ["f"]
    assert entry["annotations"] == {"x": "y=z", "n": "1"}
    rl.ok("manifest", "annotate", "--index", "--annotation", "top=1", "both")
    assert listed(rl, "both")["annotations"] == {"top": "1"}
    rl.fails("manifest", "annotate", "both", says="which image")
    rl.fails("manifest", "annotate", "--index", "both", two[0], says="--index")
    rl.fails("manifest", "annotate", "--annotation", "nope", "both", two[1], says="KEY=VALUE")


def test_remove_rm_and_exists(rl, two):
    rl.ok("manifest", "create", "both", *two)
    digest = listed(rl, "both")["manifests"][0]["digest"]
    rl.ok("manifest", "remove", "both", digest)
    rl.fails("manifest", "remove", "both", digest, says="no image")
    rl.ok("manifest", "remove", "both", two[1])
    assert listed(rl, "both")["manifests"] == []
    assert rl("manifest", "exists", "both").code == 0
    assert rl("manifest", "exists", two[0]).code == 1
    rl.fails("manifest", "rm", two[0], says="not a manifest list")
    assert "Deleted: " in rl.ok("manifest", "rm", "both").stdout
    assert rl("manifest", "exists", "both").code == 1
    rl.fails("manifest", "rm", "both", says="not known")
    rl.ok("manifest", "rm", "--ignore", "both")
    assert rl("image", "exists", two[0]).code == 0


def test_a_list_is_among_the_images(rl, two):
    made = rl.ok("manifest", "create", "both", *two).text
    rows = rl.ok("images", "--format", "{{.Repository}}:{{.Tag}}").lines
    assert "localhost/both:latest" in rows and two[0] in rows
    only = rl.ok("images", "-q", "--no-trunc", "--filter", "manifest=true").lines
    assert only == [f"sha256:{made}"]
    assert made[:12] not in rl.ok("images", "-q", "--filter", "manifest=false").lines
    rl.ok("tag", "both", "again")
    rl.ok("untag", "both", "localhost/both:latest")
    assert len(listed(rl, "again")["manifests"]) == 2
    rl.ok("rmi", "again")
    assert rl("manifest", "exists", "again").code == 1


def test_what_runs_of_a_list_is_for_this_machine(rl, two):
    rl.ok("manifest", "create", "both", *two[::-1])
    assert rl.ok("run", "--rm", "--network", "none", "both", "echo", "hi").text == "hi"
    own = rl.ok("image", "inspect", two[0]).json()[0]["Id"]
    assert rl.ok("image", "inspect", "both").json()[0]["Id"] == own
    rl.ok("manifest", "remove", "both", two[0])
    rl.fails("run", "--rm", "both", "true", says=OTHER)
    rl.fails("image", "inspect", "both", says="no image for")


def test_saving_a_list_saves_this_machine_s_image_under_its_name(rl, two, workdir):
    rl.ok("manifest", "create", "both", *two)
    rl.ok("save", "-q", "-o", f"{workdir}/saved", "both")
    rl.ok("rmi", "--force", "--all")
    assert rl.ok("load", "-q", "-i", f"{workdir}/saved").text == (
        "Loaded image: localhost/both:latest"
    )
    assert rl.ok("run", "--rm", "--network", "none", "both", "echo", "hi").text == "hi"


def test_a_list_keeps_what_it_needs(rl, two, registry):
    rl.ok("manifest", "create", "both", *two)
    rl.ok("rmi", two[1])
    rl.ok("system", "prune", "--force")
    rl.ok("system", "check")
    name = f"{registry.address}/manifest/kept:1"
    rl.ok("manifest", "push", "-q", PLAIN, "both", name)
    assert len(raw(name)[0]["manifests"]) == 2
    rl.ok("manifest", "rm", "both")
    before = set(os.listdir(f"{rl.root}/blobs/sha256"))
    rl.ok("rmi", two[0])
    assert before and os.listdir(f"{rl.root}/blobs/sha256") == []


def test_many_adds_at_once_lose_nothing(rl, workdir):
    names = []
    for number in range(6):
        name = f"localhost/part{number}:1"
        rl.ok("load", "-q", "-i", foreign(workdir, name, text=str(number)))
        names.append(name)
    rl.ok("manifest", "create", "many")
    started = [rl.start("manifest", "add", "many", name) for name in names]
    for one in started:
        out, errors = one.communicate(timeout=120)
        assert one.returncode == 0, errors
    assert len(listed(rl, "many")["manifests"]) == 6


def test_mistakes(rl, busybox):
    rl.fails("manifest", "add", "nothere", busybox, says="not known")
    rl.fails("manifest", "add", busybox, busybox, says="not a manifest list")
    rl.ok("manifest", "create", "empty")
    rl.fails("manifest", "add", "empty", "containers-storage:nothere", says="not known")
    rl.fails("manifest", "push", "empty", "localhost:1/x", says="is empty")
    rl.ok("manifest", "add", "empty", busybox)
    rl.fails("manifest", "push", "empty", says="registry")
    rl.fails("manifest", "push", "empty", "docker-archive:x", says="docker-archive")
    rl.fails("manifest", "inspect", busybox, says="not a manifest list")
    rl.fails("manifest", "create", "--insecure", "--tls-verify", "x", says="contradict")


# --- a registry ----------------------------------------------------------------------------


def test_there_and_read_by_others(rl, registry, two, workdir, podman):
    name = f"{registry.address}/manifest/both:1"
    rl.ok("manifest", "create", "both", *two)
    digest = rl.ok("manifest", "push", "--insecure", "--digestfile", f"{workdir}/digest",
                   "both", name).text  # fmt: skip
    with open(f"{workdir}/digest", encoding="utf-8") as file:
        assert file.read() == digest
    document, found = raw(name)
    assert found == digest and document["mediaType"] == OCI_INDEX
    assert {e["platform"]["architecture"] for e in document["manifests"]} == {
        oci.architecture(), OTHER
    }  # fmt: skip
    skopeo("copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}",
           f"oci:{workdir}/copied")  # fmt: skip
    podman("pull", "-q", PLAIN, name)
    assert podman("image", "inspect", "--format", "{{.Architecture}}", name).strip() == (
        oci.architecture()
    )
    # Pulling and running it take this machine's; another one by its platform.
    rl.ok("rmi", "--force", "--all")
    assert rl.ok("run", "--rm", "--network", "none", PLAIN, name, "echo", "hi").text == "hi"
    rl.ok("pull", "-q", PLAIN, "--platform", f"linux/{OTHER}", name)
    assert rl.ok("image", "inspect", name).json()[0]["Architecture"] == OTHER


def test_push_and_purge(rl, registry, two):
    name = f"{registry.address}/manifest/purged:1"
    rl.ok("manifest", "create", name, *two)
    rl.ok("push", "-q", PLAIN, name)
    digest = raw(name)[1]
    assert rl.ok("manifest", "push", "-q", PLAIN, "--rm", name).text == digest
    assert rl("manifest", "exists", name).code == 1
    assert rl("image", "exists", two[0]).code == 0


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_formats(rl, registry, two, form):
    name = f"{registry.address}/manifest/{form}:1"
    rl.ok("manifest", "create", "both", *two)
    rl.ok("manifest", "push", "-q", PLAIN, "--format", form, "both", name)
    document, _ = raw(name)
    kinds = {e["mediaType"].split(".")[2] for e in document["manifests"]}
    if form == "docker":
        assert document["mediaType"] == DOCKER_INDEX and kinds == {"distribution"}
    else:
        assert document["mediaType"] == OCI_INDEX and kinds == {"image"}
    rl.ok("manifest", "annotate", "--index", "--annotation", "x=y", "both")
    if form == "docker":
        rl.fails("manifest", "push", PLAIN, "--format", form, "both", name, says="annotations")


def test_compression(rl, registry, two, workdir):
    name = f"{registry.address}/manifest/zstd:1"
    rl.ok("manifest", "create", "both", *two)
    rl.ok("manifest", "push", "-q", PLAIN, "--compression-format", "zstd", "both", name)
    document, _ = raw(name)
    for entry in document["manifests"]:
        part, _ = raw(f"{name.rpartition(':')[0]}@{entry['digest']}")
        assert all(layer["mediaType"].endswith("+zstd") for layer in part["layers"])


def test_add_from_a_registry(rl, registry, two, workdir):
    first, second = (f"{registry.address}/manifest/{one}:1" for one in ("first", "second"))
    rl.ok("push", "-q", PLAIN, two[0], first)
    rl.ok("push", "-q", PLAIN, two[1], second)
    rl.ok("rmi", "--force", "--all")
    rl.ok("manifest", "create", PLAIN, "both", f"docker://{first}")
    rl.ok("manifest", "add", PLAIN, "both", second)
    assert rl.ok("images", "-q", "--filter", "manifest=false").text == ""
    document = listed(rl, "both")
    assert {e["platform"]["architecture"] for e in document["manifests"]} == {
        oci.architecture(), OTHER
    }  # fmt: skip
    # Into another repository there: layers are mounted, and none come here.
    name = f"{registry.address}/manifest/joined:1"
    rl.ok("manifest", "push", "-q", PLAIN, "both", name)
    sizes = [os.stat(f"{rl.root}/blobs/sha256/{b}").st_size
             for b in os.listdir(f"{rl.root}/blobs/sha256")]  # fmt: skip
    assert max(sizes) < 10_000
    skopeo("copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}",
           f"oci:{workdir}/copied")  # fmt: skip
    # It can be run from there, and be found by the name that it was added by.
    assert rl.ok("run", "--rm", "--network", "none", PLAIN, "both", "echo", "hi").text == "hi"
    rl.ok("manifest", "remove", "both", second)
    assert len(listed(rl, "both")["manifests"]) == 1


def test_to_another_registry(rl, registry, two, workdir):
    from support.registry import Registry

    first = f"{registry.address}/manifest/far:1"
    rl.ok("push", "-q", PLAIN, two[0], first)
    rl.ok("rmi", "--force", "--all")
    rl.ok("manifest", "create", PLAIN, "far", f"docker://{first}")
    os.mkdir(f"{workdir}/registry")
    with Registry(f"{workdir}/registry") as there:
        name = f"{there.address}/far:1"
        rl.ok("manifest", "push", "-q", PLAIN, "far", name)
        skopeo("copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}",
               f"dir:{workdir}/copied")  # fmt: skip


def test_add_all_of_a_list_in_a_registry(rl, registry, two):
    name = f"{registry.address}/manifest/whole:1"
    rl.ok("manifest", "create", "both", *two)
    rl.ok("manifest", "annotate", "--annotation", "a=b", "both", two[1])
    rl.ok("manifest", "push", "-q", PLAIN, "both", name)
    rl.ok("manifest", "rm", "both")
    rl.ok("manifest", "create", PLAIN, "one", f"docker://{name}")
    assert [e["platform"]["architecture"] for e in listed(rl, "one")["manifests"]] == [
        oci.architecture()
    ]
    rl.ok("manifest", "create", PLAIN, "--all", "all", f"docker://{name}")
    found = listed(rl, "all")["manifests"]
    assert len(found) == 2 and found[1]["annotations"] == {"a": "b"}
    rl.ok("manifest", "create", "--all", "copy", "all")
    assert listed(rl, "copy")["manifests"] == found
    rl.ok("manifest", "add", PLAIN, "--arch", OTHER, "one", f"docker://{name}")
    assert len(listed(rl, "one")["manifests"]) == 2


def test_inspect_in_a_registry(rl, registry, two):
    name = f"{registry.address}/manifest/seen:1"
    rl.ok("manifest", "create", "both", *two)
    rl.ok("manifest", "push", "-q", PLAIN, "both", name)
    assert rl.ok("manifest", "inspect", PLAIN, name).json() == raw(name)[0]
    rl.fails("manifest", "inspect", PLAIN, f"{registry.address}/manifest/nothere:1")


def test_a_list_alone_needs_its_images_there(rl, registry, two):
    name = f"{registry.address}/manifest/alone:1"
    rl.ok("manifest", "create", "both", *two)
    rl.fails("manifest", "push", "-q", PLAIN, "--all=false", "both", name)
    rl.ok("manifest", "push", "-q", PLAIN, "both", name)
    rl.ok("manifest", "push", "-q", PLAIN, "--all=false", "both", f"{name}-again")
    assert raw(name) == raw(f"{name}-again")


def test_a_registry_that_lies_about_a_manifest(rl):
    image = oci.Image([oci.layer(oci.entry("a", "b"))], {"Cmd": ["x"]})
    with FakeRegistry() as server:
        server.add(image, "team/app", "1")
        digest = image.manifest["digest"]
        data, kind = server.manifests[digest]
        server.offer(data + b" ", kind, digest)
        rl.fails("manifest", "create", PLAIN, "lie",
                 f"docker://{server.address}/team/app@{digest}")  # fmt: skip
        assert rl("manifest", "exists", "lie").code == 1


# --- archives ------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
def test_archives(rl, two, workdir, transport):
    rl.ok("manifest", "create", "both", *two)
    place = f"{transport}:{workdir}/saved:both"
    digest = rl.ok("manifest", "push", "-q", "both", place).text
    skopeo("copy", "-q", "--all", place, f"dir:{workdir}/copied")
    with open(f"{workdir}/copied/manifest.json", "rb") as file:
        assert "sha256:" + hashlib.sha256(file.read()).hexdigest() == digest
    rl.ok("rmi", "--force", "--all")
    rl.ok("pull", "-q", place)
    assert rl.ok("images", "-q").text


def test_buildah_reads_an_archive(rl, two, workdir):
    rl.ok("manifest", "create", "both", *two)
    rl.ok("manifest", "push", "-q", "both", f"oci-archive:{workdir}/saved")
    env = {"HOME": f"{workdir}/home", "PATH": tools.PATH, "XDG_RUNTIME_DIR": f"{workdir}/run"}
    os.makedirs(f"{workdir}/run", 0o700, exist_ok=True)
    done = subprocess.run(
        [tools.find("buildah"), "--root", f"{workdir}/b", "--runroot", f"{workdir}/br",
         "--storage-driver", "vfs", "pull", "-q", f"oci-archive:{workdir}/saved"],
        env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [tools.find("buildah"), "--root", f"{workdir}/b", "--runroot", f"{workdir}/br",
         "--storage-driver", "vfs", "rmi", "-a"],
        env=env, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
