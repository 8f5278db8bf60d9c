"""rl push: to a real registry with skopeo and podman as judges, and to one that misbehaves."""

import json
import os
import signal
import subprocess
import sys

import pytest

from support import oci, tools
from support.fakeregistry import FakeRegistry, digest_of
from support.registry import Registry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"
QUICK = ("--retry-delay", "1ms")
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def server():
    with FakeRegistry() as found:
        yield found


def raw(name):
    """The manifest that skopeo sees in a registry, as bytes."""
    words = ("--insecure-policy", "inspect", "--raw", PLAIN, f"docker://{name}")
    return tools.run(tools.find("skopeo"), *words).encode()


def skopeo_reads(name, workdir):
    """Have skopeo fetch and check all of an image: its configuration."""
    skopeo = tools.find("skopeo")
    tools.run(skopeo, "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
              f"docker://{name}", f"dir:{workdir}/{os.urandom(4).hex()}")  # fmt: skip
    return json.loads(tools.run(skopeo, "inspect", "--config", PLAIN, f"docker://{name}"))


def image_id(rl, name):
    return rl.ok("images", "-q", "--no-trunc", name).text


@pytest.fixture
def small(rl, workdir):
    """The name of an image of three small layers in ``rl``; the image itself is ``.made``."""
    layers = [oci.layer(oci.entry(name, name * 100)) for name in "abc"]
    image = oci.Image(layers, {"Cmd": ["x"]})
    rl.ok("load", "-q", "-i", image.oci_archive(f"{workdir}/small", "localhost/small:1"))
    return image


@pytest.fixture
def large(rl, workdir):
    """An image with one layer that doesn't get small: several MiB go over the wire."""
    image = oci.Image([oci.layer(oci.entry("noise", os.urandom(5 << 20)))], {"Cmd": ["x"]})
    rl.ok("load", "-q", "-i", image.oci_archive(f"{workdir}/large", "localhost/large:1"))
    return image


# --- a real registry -----------------------------------------------------------------------


def test_there_and_back(rl, registry, busybox, workdir, podman):
    name = f"{registry.address}/push/busybox:1"
    done = rl.ok("push", PLAIN, "--digestfile", f"{workdir}/digest", busybox, name)
    assert done.text == "" and "Writing manifest" in done.stderr
    with open(f"{workdir}/digest", encoding="utf-8") as file:
        digest = file.read()
    ours = image_id(rl, busybox)
    assert digest == digest_of(raw(name))
    assert skopeo_reads(name, workdir)["rootfs"]["type"] == "layers"
    podman("pull", "-q", PLAIN, name)
    assert podman("images", "-q", "--no-trunc", name).strip() == ours
    before = rl.ok("image", "inspect", busybox).json()[0]
    assert f"{registry.address}/push/busybox@{digest}" in before["RepoDigests"]
    rl.ok("rmi", "-f", ours)
    assert f"sha256:{rl.ok('pull', '-q', PLAIN, name).text}" == ours
    assert rl.ok("run", "--rm", "--network", "none", name, "echo", "hi").text == "hi"
    after = rl.ok("image", "inspect", name).json()[0]
    assert after["Digest"] == before["Digest"] == digest


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_was_pulled_keeps_its_digest(rl, registry, multilayer_image, workdir, form):
    source = registry.push(f"oci-archive:{multilayer_image}", f"push/{form}:1", "--format", form)
    rl.ok("pull", "-q", PLAIN, source)
    target = f"{registry.address}/push/kept-{form}:2"
    rl.ok("push", "-q", PLAIN, source, target)
    assert raw(target) == raw(source)
    skopeo_reads(target, workdir)


def test_without_a_destination(rl, registry, small, workdir):
    name = f"{registry.address}/push/own:1"
    rl.ok("tag", "small:1", name)
    rl.ok("push", "-q", PLAIN, name)
    assert digest_of(raw(name)) == small.manifest["digest"]
    assert rl.ok("image", "push", "-q", PLAIN, name).stderr == ""
    error = rl.fails("push", "small:1", says="doesn't say to which registry")
    assert "rl push small:1 REGISTRY" in error.stderr
    rl.fails("push", small.config["digest"][7:19], says="doesn't say to which registry")


def test_nothing_is_sent_twice(rl, registry, small):
    first, second = (f"{registry.address}/push/twice{n}" for n in (1, 2))
    assert rl.ok("push", PLAIN, "small:1", f"{first}:1").stderr.count(": done") == 4
    assert rl.ok("push", PLAIN, "small:1", f"{first}:2").stderr.count("already exists") == 4
    done = rl.ok("push", PLAIN, "small:1", f"{second}:1")
    assert done.stderr.count("mounted from push/twice1") == 4
    assert raw(f"{first}:1") == raw(f"{first}:2") == raw(f"{second}:1")


def test_to_a_digest(rl, registry, small):
    name = f"{registry.address}/push/pinned"
    rl.ok("push", "-q", PLAIN, "small:1", f"{name}@{small.manifest['digest']}")
    assert digest_of(raw(f"{name}@{small.manifest['digest']}")) == small.manifest["digest"]
    other = "sha256:" + "0" * 64
    rl.fails("push", "-q", PLAIN, "small:1", f"{name}@{other}", says="has the digest")


@pytest.mark.parametrize("form", ["docker", "v2s2", "oci"])
def test_formats(rl, registry, small, workdir, podman, form):
    name = f"{registry.address}/push/format-{form}:1"
    rl.ok("push", "-q", PLAIN, "--format", form, "small:1", name)
    kind = DOCKER if form != "oci" else small.manifest["mediaType"]
    found = json.loads(raw(name))
    assert found["mediaType"] == kind
    assert found["config"]["digest"] == small.config["digest"]
    assert [one["digest"] for one in found["layers"]] == list(small.blobs)[:3]
    assert skopeo_reads(name, workdir)["config"] == {"Cmd": ["x"]}
    podman("pull", "-q", PLAIN, name)
    ours = image_id(rl, "small:1")
    assert podman("images", "-q", "--no-trunc", name).strip() == ours
    rl.ok("rmi", "-f", ours)
    assert f"sha256:{rl.ok('pull', '-q', PLAIN, name).text}" == ours
    # And back again, to the bytes that every rl makes of it.
    rl.ok("push", "-q", PLAIN, "--format", "oci", name, f"{name}-oci")
    assert json.loads(raw(f"{name}-oci"))["layers"][0]["mediaType"].endswith("+gzip")


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_compressing_anew(rl, registry, small, workdir, podman, form):
    name = f"{registry.address}/push/packed-{form}:1"
    words = ("--compression-format", form, "--compression-level", "7")
    rl.ok("push", "-q", PLAIN, *words, "small:1", name)
    found = json.loads(raw(name))
    assert all(one["mediaType"].endswith(f"+{form}") for one in found["layers"])
    assert skopeo_reads(name, workdir)["rootfs"]["diff_ids"] == small.diff_ids
    podman("pull", "-q", PLAIN, name)
    ours = image_id(rl, "small:1")
    assert podman("images", "-q", "--no-trunc", name).strip() == ours
    assert rl.ok("push", PLAIN, *words, "small:1", name).stderr.count("already exists") == 4
    digest = digest_of(raw(name))
    rl.ok("rmi", "-f", ours)
    rl.ok("pull", "-q", PLAIN, name)
    assert rl.ok("image", "inspect", name).json()[0]["Digest"] == digest
    # What is compressed so already stays as it is.
    rl.ok("push", "-q", PLAIN, "--compression-format", form, name, f"{name}-again")
    assert raw(f"{name}-again") == raw(name)
    left = [name for name in os.listdir(f"{rl.root}/tmp") if name.startswith("push-")]
    assert left == []


def test_zstd_and_dockers_format(rl, registry, small):
    name = f"{registry.address}/push/zstd-docker"
    words = ("push", "-q", PLAIN, "--compression-format", "zstd")
    rl.fails(*words, "--format", "docker", "small:1", name, says="zstd")
    rl.ok("push", "-q", PLAIN, "--format", "docker", "small:1", f"{name}:d")
    rl.ok("rmi", "-f", image_id(rl, "small:1"))
    rl.ok("pull", "-q", PLAIN, f"{name}:d")
    rl.ok(*words, f"{name}:d", f"{name}:z")
    assert json.loads(raw(f"{name}:z"))["mediaType"] == small.manifest["mediaType"]
    rl.fails("push", PLAIN, "--compression-level", "3", "small", name, says="--compression-format")
    rl.fails("push", "--compression-format", "gzip", "--compression-level", "10", f"{name}:d",
             name, says="1 to 9", hint=False)  # fmt: skip


def test_what_is_made_here(rl, registry, workdir, podman):
    oci.write_tar(f"{workdir}/files.tar", {"etc/motd": b"hello"})
    rl.ok("import", "-q", f"{workdir}/files.tar", "imported")
    for image, name in (("imported", "imported"), ("elf:/usr/bin/env", "env")):
        target = f"{registry.address}/push/{name}"
        rl.ok("push", "-q", PLAIN, image, target)
        layers = json.loads(raw(target))["layers"]
        assert [one["mediaType"].rpartition("gzip")[1] for one in layers] == ["gzip"]
        config = skopeo_reads(target, workdir)
        podman("pull", "-q", PLAIN, target)
        digest = digest_of(raw(target))
        # The name now stands for what the registry has: the same image, whatever its layers.
        there = rl.ok("pull", "-q", PLAIN, target).text
        assert rl.ok("image", "inspect", there).json()[0]["Digest"] == digest
        assert rl.ok("image", "inspect", there).json()[0]["RootFS"]["Layers"] == \
            config["rootfs"]["diff_ids"]  # fmt: skip


def test_encryption_and_passwords(rl, workdir, small):
    os.mkdir(f"{workdir}/reg")
    with Registry(f"{workdir}/reg", tls=True, users={"me": "secret"}) as server:
        name = f"{server.address}/x:1"
        rl.fails("push", "small:1", name, says="can't prove who it is")
        os.mkdir(f"{workdir}/certs")
        os.symlink(server.certificate, f"{workdir}/certs/ca.crt")
        trust = ("--cert-dir", f"{workdir}/certs")
        error = rl.fails("push", "-q", *trust, "small:1", name, says="refuses access to x")
        assert f"rl login {server.address}" in error.stderr
        rl.fails("push", "-q", *trust, "--creds", "me:wrong", "small:1", name, says="refuses")
        rl.ok("push", "-q", *trust, "--creds", "me:secret", "small:1", name)
        rl.ok("login", *trust, "-u", "me", "-p", "secret", "--authfile", f"{workdir}/auth",
              server.address)  # fmt: skip
        rl.ok("push", "-q", *trust, "--authfile", f"{workdir}/auth", "small:1", f"{name}2")
        rl.ok("push", "-q", PLAIN, "--creds", "me:secret", "small:1", f"{name}3")


MEASURE = """\
import os, resource, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def test_a_large_image_takes_little_memory(rl, registry, debian_image):
    rl.ok("load", "-q", "-i", debian_image)
    (image,) = rl.ok("images", "-q").lines
    name = f"{registry.address}/push/debian:1"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", MEASURE, *rl.words("push", "-q", PLAIN, image, name)],
        env=rl.environment, cwd=rl.home, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stderr.split()[-1]) < 60 << 10, "kB of the largest process"
    assert digest_of(raw(name)) == rl.ok("image", "inspect", image).json()[0]["Digest"]


# --- archives ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "oci"])
def test_into_archives(rl, small, workdir, form):
    path, ours = f"{workdir}/out", image_id(rl, "small:1")
    rl.ok("push", "-q", "small:1", f"{form}:{path}:other:2")
    name = "localhost/other:2" if form == "docker-archive" else "other:2"
    found = json.loads(tools.run(tools.find("skopeo"), "inspect", "--config",
                                 f"{form}:{path}:{name}"))  # fmt: skip
    assert found["rootfs"]["diff_ids"] == small.diff_ids
    rl.ok("rmi", "-f", ours)
    rl.ok("load", "-q", "-i", path)
    assert image_id(rl, "localhost/other:2") == ours


def test_what_means_nothing_for_archives(rl, small, workdir):
    path = f"{workdir}/out"
    rl.fails("push", "--creds", "a:b", "small:1", f"oci-archive:{path}", says="--creds")
    rl.fails("push", "--retry", "1", "small:1", f"oci:{path}", says="--retry")
    rl.fails("push", "--format", "docker", "small:1", f"oci:{path}", says="--format")
    rl.fails("push", "--format", "oci", "small:1", f"docker-archive:{path}", says="--format")
    rl.fails("push", "--digestfile", path, "small:1", f"docker-archive:{path}", says="--digest")
    rl.fails("push", "small:1", f"dir:{path}", says="can't push to dir:")
    rl.fails("push", "nothing", f"oci:{path}", says="image not known")
    assert not os.path.exists(path)
    rl.ok("push", "-q", "--digestfile", f"{path}d", "small:1", f"oci-archive:{path}")
    with open(f"{path}d", encoding="utf-8") as file:
        assert file.read() == small.manifest["digest"]


# --- trouble -------------------------------------------------------------------------------


def test_events_and_errors(rl, small, workdir, server):
    rl.fails("push", "small:1", f"{server.address}/x", says="without encryption")
    rl.fails("push", PLAIN, "small:1", "127.0.0.1:1/x", says="connection refused")
    rl.fails("push", PLAIN, "nothing", f"{server.address}/x", says="image not known")
    rl.fails("push", PLAIN, "small:1", "Not/A/Name", says="capital letters")
    rl.fails("push", PLAIN, "--digestfile", f"{workdir}/no/d", "small:1", f"{server.address}/x",
             says="no such directory", hint=False)  # fmt: skip
    assert server.manifests == {}
    rl.ok("push", "-q", PLAIN, "small:1", f"{server.address}/x:1")
    (event,) = [e for e in map(json.loads, rl.ok("events", "--stream=false", "--since", "1h",
                                                 "--format", "json").lines)
                if e["Status"] == "push"]  # fmt: skip
    assert event["Name"] == f"{server.address}/x:1" and event["ID"] == image_id(
        rl, "small:1"
    ).removeprefix("sha256:")


def test_a_blocked_registry_and_an_insecure_one(rl, small, server):
    os.makedirs(f"{rl.home}/config/rl", exist_ok=True)
    with open(f"{rl.home}/config/rl/registries.toml", "w", encoding="utf-8") as file:
        file.write(f'[[registry]]\nprefix = "{server.address}/no"\nblocked = true\n'
                   f'[[registry]]\nprefix = "there.example"\nlocation = "{server.address}/y"\n'
                   'insecure = true\n')  # fmt: skip
    rl.fails("push", "-q", "small:1", f"{server.address}/no/x", says="blocked", hint=False)
    rl.ok("push", "-q", "small:1", "there.example/team/x:1")
    assert set(server.holds) == {"y/team/x"}
    # What was typed counts more than what is set.
    rl.fails("push", "--tls-verify=true", "small:1", "there.example/team/x", says="encryption")
    rl.fails("run", "--tls-verify=true", "there.example/team/x:1", says="encryption")


def test_a_push_survives_bad_days(rl, server, large):
    server.script["/v2/x/manifests/1"] = [server.status(502), server.status(503), None]
    path = server.blob_path("x", large.config["digest"])
    server.script[path] = [server.status(500), None]
    for number in "12":
        # Whichever of the two uploads the large one is; it gets the small one's number if
        # that has ended before.
        server.script[f"/v2/x/blobs/uploads/{number}"] = [_cut_large, _cut_large]
    rl.ok("push", "-q", PLAIN, *QUICK, "large:1", f"{server.address}/x:1")
    assert digest_of(server.manifests["1"][0]) == large.manifest["digest"]
    assert set(large.blobs) - {large.manifest["digest"]} <= server.holds["x"]
    assert all(server.blobs[one] == large.blobs[one] for one in server.holds["x"])
    assert any("Content-Range" in headers for _, _, headers in server.requests)


def _cut_large(handler):
    """Break a large upload off; a small one is answered as ever."""
    if handler.left > 1 << 20:
        FakeRegistry.break_after(2 << 20)(handler)
    else:
        handler._serve(handler.path.partition("?")[0])


def test_a_failure_leaves_no_image_there(rl, server, small):
    path = server.blob_path("x", next(iter(small.blobs)))
    server.script[path] = [server.status(403)]
    server.lasting.add(path)
    rl.fails("push", "-q", PLAIN, "small:1", f"{server.address}/x:1", says="refuses access")
    assert server.manifests == {}
    inspected = rl.ok("image", "inspect", "small:1").json()[0]
    assert not any(server.address in name for name in inspected["RepoDigests"])


def test_a_damaged_blob_gets_no_good_digest(rl, server, small):
    digest = next(iter(small.blobs))
    path = f"{rl.root}/blobs/{digest.replace(':', '/')}"
    os.chmod(path, 0o600)
    other = oci.Image([oci.layer(oci.entry("evil", "x"))])
    with open(path, "wb") as file:
        file.write(other.blobs[next(iter(other.blobs))])
    name = f"{server.address}/x:1"
    rl.fails("push", "-q", PLAIN, *QUICK, "small:1", name)
    rl.fails("push", "-q", PLAIN, "--compression-format", "zstd", "small:1", name, says="digest")
    assert server.manifests == {}
    os.unlink(path)
    rl.fails("push", "-q", PLAIN, "small:1", name, says="missing")
    assert server.manifests == {}


def test_ctrl_c(rl, server, large):
    """It ends at once while an upload hangs, and leaves nothing in tmp/."""
    stuck, go_on = [], []

    def hang(handler):
        import time

        stuck.append(1)
        while not go_on:
            time.sleep(0.01)
        handler.close_connection = True

    for number in "12":
        server.script[f"/v2/x/blobs/uploads/{number}"] = [hang]
    process = rl.start("push", "-q", PLAIN, "large:1", f"{server.address}/x:1")
    try:
        while not stuck:
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        go_on.append(1)
        process.kill()
        process.communicate()
    assert process.returncode == 130
    left = [name for name in os.listdir(f"{rl.root}/tmp") if name.startswith(("push", "hold"))]
    assert left == [] and server.manifests == {}
