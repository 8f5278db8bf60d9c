"""rl pull, against a registry that misbehaves."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from support import oci, tools
from support.fakeregistry import FakeRegistry
from support.registry import Registry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"


@pytest.fixture
def server():
    with FakeRegistry() as found:
        yield found


def small(*names, **facts):
    """An image with one tiny layer for each name."""
    layers = [oci.layer(oci.entry(name, name)) for name in names or ("a",)]
    return oci.Image(layers, {"Cmd": ["x"]}, **facts)


def blobs_asked(server, image):
    """How often each blob of an image was asked for, but for its documents."""
    documents = (image.config["digest"], image.manifest["digest"])
    layers = [digest for digest in image.blobs if digest not in documents]
    return [len(server.paths(f"/blobs/{digest}")) for digest in layers]


def layer_path(server, image, repository="x"):
    return server.blob_path(repository, next(iter(image.blobs)))


def nothing_here(rl):
    """Whether a failure has left neither image nor layer."""
    left = [name for name in os.listdir(f"{rl.root}/layers") if not name.startswith(".")]
    return rl.ok("images", "-aq").text == "" and left == []


# --- broken answers ------------------------------------------------------------------------


def test_a_broken_download_goes_on(rl, server):
    image = small("a")
    name = server.add(image, "x")
    digest = next(iter(image.blobs))
    server.script[layer_path(server, image)] = [server.cut(digest, 40), server.cut(digest, 20)]
    rl.ok("pull", PLAIN, "--retry-delay", "10ms", name)
    ranges = server.headers("Range", digest)
    assert ranges == [None, "bytes=40-", "bytes=60-"]


def test_another_process_goes_on(rl, server):
    image = small("a")
    name = server.add(image, "x")
    digest = next(iter(image.blobs))
    server.script[layer_path(server, image)] = [server.cut(digest, 40)]
    rl.fails("pull", PLAIN, "--retry", "0", name, says="ended too early")
    assert nothing_here(rl)
    rl.ok("pull", PLAIN, name)
    assert server.headers("Range", digest) == [None, "bytes=40-"]


@pytest.mark.parametrize("junk", [bytes(40), b"\x1f\x8b\x08\0" + b"x" * 60, b"y" * 5000])
def test_what_an_earlier_process_left_is_damaged(rl, server, junk):
    """A power cut may leave zeros; a pull must not fail for a day because of them."""
    image = small("a", "b")
    name = server.add(image, "x")
    digest = next(iter(image.blobs))
    server.script[layer_path(server, image)] = [server.cut(digest, 40)]
    rl.fails("pull", PLAIN, "--retry", "0", name, says="ended too early")
    with open(f"{rl.root}/tmp/blob-{digest.partition(':')[2]}/data", "wb") as file:
        file.write(junk)
    rl.ok("pull", PLAIN, name)
    assert "bytes" not in (server.headers("Range", digest)[-1] or "")
    rl.ok("system", "check")


def test_a_damaged_blob_whose_layer_is_gone(rl, server):
    image = small("a", "b")
    name = server.add(image, "x")
    rl.ok("pull", PLAIN, name)
    digest = next(iter(image.blobs))
    with open(f"{rl.root}/blobs/{digest.replace(':', '/')}", "r+b") as file:
        file.seek(20)
        file.write(b"damage")
    tools.remove_tree(f"{rl.root}/layers")
    rl.ok("pull", PLAIN, name)
    rl.ok("system", "check")


def test_a_registry_that_cannot_go_on(rl, server):
    image = small("a")
    name = server.add(image, "x")
    server.ranges = False
    digest = next(iter(image.blobs))
    server.script[layer_path(server, image)] = [server.cut(digest, 40)]
    rl.ok("pull", PLAIN, "--retry-delay", "10ms", name)
    assert len(server.paths(digest)) == 2


def test_a_truncated_layer(rl, server):
    image = small("a")
    name = server.add(image, "x")
    path = layer_path(server, image)
    server.script[path] = [server.cut(next(iter(image.blobs)), 0)]
    server.lasting.add(path)
    rl.fails("pull", PLAIN, "--retry", "1", "--retry-delay", "1ms", name, says="failed 2 times")
    assert nothing_here(rl)


def test_other_bytes(rl, server):
    image = small("a")
    name = server.add(image, "x")
    path = layer_path(server, image)
    data = bytearray(image.blobs[next(iter(image.blobs))])
    data[4] ^= 1  # the time in gzip's header: what is inside stays the same
    server.script[path] = [server.send(bytes(data))]
    rl.fails("pull", PLAIN, name, says=f"a layer from {server.address} has the digest")
    assert nothing_here(rl)
    rl.ok("pull", PLAIN, name)


def test_more_bytes_than_announced(rl, server):
    image = small("a")
    name = server.add(image, "x")
    data = image.blobs[next(iter(image.blobs))]
    server.script[layer_path(server, image)] = [server.send(data + b"x" * 100_000)]
    rl.fails("pull", PLAIN, name, says="bytes long instead of")
    assert nothing_here(rl)


def test_the_wrong_content_for_a_digest(rl, server):
    image, other = small("a"), small("b")
    diff_ids = other.diff_ids
    lying = small("a", rootfs={"type": "layers", "diff_ids": diff_ids})
    assert lying.blobs.keys() != image.blobs.keys()
    name = server.add(lying, "x")
    rl.fails("pull", PLAIN, name, says="the layer has the digest")
    assert nothing_here(rl)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "not valid"),
        (b'{"schemaVersion": 2, "layers": [], "manifests": [], "config": {}}', "both layers and"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "manifest schema 1"),
        (b" " * (5 << 20), "more than"),
        (b'{"schemaVersion": 2, "layers": [], "config": {"mediaType": "x", "size": 1, '
         b'"digest": "../../etc/passwd"}}', "is not a digest"),
    ],
)  # fmt: skip
def test_hostile_manifests(rl, server, data, says):
    server.offer(data, "application/json", "latest")
    rl.fails("pull", PLAIN, f"{server.address}/x", says=says, hint=False)


def test_a_manifest_for_another_digest(rl, server):
    image, other = small("a"), small("b")
    server.add(image, "x")
    wanted = other.manifest["digest"]
    server.offer(image.blobs[image.manifest["digest"]], image.manifest["mediaType"], wanted)
    rl.fails("pull", PLAIN, f"{server.address}/x@{wanted}", says="with the digest")


def test_a_configuration_for_another_digest(rl, server):
    image = small("a")
    name = server.add(image, "x")
    path = server.blob_path("x", image.config["digest"])
    server.script[path] = [server.send(b"{}")]
    rl.fails("pull", PLAIN, name, says="configuration with the digest")


def test_limits_of_the_registry(rl, server):
    server.script["/v2/x/manifests/latest"] = [server.status(429, Retry_After="5000")]
    error = rl.fails("pull", PLAIN, f"{server.address}/x", says="no more requests")
    assert "rl login" in error.stderr and "5000 s" in error.stderr


def test_redirects_keep_passwords(rl, server):
    image = small("a")
    name = server.add(image, "x")
    server.users = {"me": "secret"}
    with FakeRegistry() as other:
        other.blobs = dict(image.blobs)
        digest = next(iter(image.blobs))
        server.script[layer_path(server, image)] = [server.redirect(f"{other.url}/blobs/{digest}")]
        rl.ok("pull", "-q", PLAIN, "--creds", "me:secret", name)
        assert other.headers("Authorization") == [None]


def test_foreign_layers_come_without_passwords(rl, server, workdir):
    image = small("a")
    (digest, data), *_ = image.blobs.items()
    os.mkdir(f"{workdir}/reg")
    registry = Registry.__new__(Registry)
    registry.directory, registry.certificate = f"{workdir}/reg", f"{workdir}/reg/cert.pem"
    registry._make_certificate()
    with FakeRegistry(registry.certificate, f"{workdir}/reg/key.pem") as other:
        manifest = json.loads(image.blobs[image.manifest["digest"]])
        manifest["layers"][0]["mediaType"] = (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        )
        urls = [f"http://{other.address}/no", f"{other.url}/blobs/{digest}"]
        manifest["layers"][0]["urls"] = urls
        server.add(image, "x")
        other.blobs = {digest: server.blobs.pop(digest)}
        server.users = {"me": "secret"}
        server.offer(json.dumps(manifest).encode(), manifest["mediaType"], "latest")
        rl.ok("pull", "-q", PLAIN, "--creds", "me:secret", f"{server.address}/x",
              env={"SSL_CERT_FILE": registry.certificate})  # fmt: skip
        assert other.paths() == [f"/blobs/{digest}"]
        assert other.headers("Authorization") == [None]
    assert data == other.blobs[digest]


# --- platforms -----------------------------------------------------------------------------

OWN = {"os": "linux", "architecture": oci.architecture()}
ELSEWHERE = {"os": "linux", "architecture": "s390x"}


def both(server):
    own, foreign = small("own"), small("foreign", architecture="s390x")
    name = server.add_index([(ELSEWHERE, foreign), (OWN, own)], "x")
    return name, own, foreign


def image_id(image):
    return image.config["digest"].partition(":")[2]


def test_an_index(rl, server):
    name, own, foreign = both(server)
    assert rl.ok("pull", "-q", PLAIN, name).text == image_id(own)
    assert rl.ok("pull", "-q", PLAIN, "--platform", "linux/s390x", name).text == image_id(foreign)
    assert rl.ok("pull", "-q", PLAIN, "--arch", "s390x", name).text == image_id(foreign)
    assert blobs_asked(server, foreign) == [1]
    error = rl.fails("pull", PLAIN, "--platform", "linux/riscv64", name, says="linux/riscv64")
    assert f"linux/{oci.architecture()}, linux/s390x" in error.stderr
    rl.fails("pull", PLAIN, "--platform", "a/b/c/d", name, says="not a platform")


def test_a_single_image_of_another_platform(rl, server):
    name = server.add(small("a", architecture="s390x"), "x")
    rl.fails("pull", PLAIN, "--platform", f"linux/{oci.architecture()}", name, says="linux/s390x")
    rl.ok("pull", "-q", PLAIN, name)


def test_foreign_images_are_not_run(rl, server):
    image = small("a", architecture="vax")
    name = server.add(image, "x")
    config = f"{rl.home}/config/rl"
    os.makedirs(config)
    with open(f"{config}/registries.toml", "w") as file:
        file.write(f'[[registry]]\nlocation = "{server.address}"\ninsecure = true\n')
    for words in (("run", "--rm", name), ("run", "--rm", "--platform", "linux/vax", name)):
        error = rl.fails(*words, says="linux/vax")
        assert f"linux/{oci.architecture()}" in error.stderr
    assert blobs_asked(server, image) == [0], "it is known before any layer comes"
    rl.ok("pull", "-q", name)
    rl.fails("run", "--rm", "--pull", "never", name, says="linux/vax")


def test_a_cached_image_of_another_platform_is_not_used(rl, server):
    name, own, foreign = both(server)
    with_settings(rl, f'[[registry]]\nlocation = "{server.address}"\ninsecure = true\n')
    rl.ok("pull", "-q", "--platform", "linux/s390x", name)
    rl.fails("run", "--pull", "never", "--platform", f"linux/{oci.architecture()}", name,
             says="is for linux/s390x, not for")  # fmt: skip
    rl("run", "--rm", "--network", "none", name)
    (row,) = [row for row in rl.ok("images", "--format", "json").json() if row["Names"]]
    assert row["Id"] == image_id(own)


# --- settings ------------------------------------------------------------------------------


def with_settings(rl, text):
    os.makedirs(f"{rl.home}/config/rl", exist_ok=True)
    with open(f"{rl.home}/config/rl/registries.toml", "w") as file:
        file.write(text)


def test_a_file_named_in_the_environment(rl, server, workdir):
    name = server.add(small("a"), "x")
    rl.fails("pull", name, says="without encryption")
    with_settings(rl, f'[[registry]]\nlocation = "{server.address}"\nblocked = true\n')
    with open(f"{workdir}/other.conf", "w") as file:
        file.write(f'[[registry]]\nlocation = "{server.address}"\ninsecure = true\n')
    env = {"CONTAINERS_REGISTRIES_CONF": f"{workdir}/other.conf"}
    rl.ok("pull", "-q", name, env=env)
    env = {"CONTAINERS_REGISTRIES_CONF": f"{workdir}/absent.conf"}
    rl.fails("pull", name, env=env, says="absent.conf: no such file")


def test_mirrors(rl, server):
    image = small("a")
    server.add(image, "cache/team/app")
    with_settings(rl, f"""
[[registry]]
prefix = "registry.invalid/team"
[[registry.mirror]]
location = "127.0.0.1:1"
[[registry.mirror]]
location = "{server.address}/cache/team"
insecure = true
""")
    rl.ok("pull", "-q", "registry.invalid/team/app")
    (row,) = rl.ok("images", "--format", "json").json()
    assert row["Names"] == ["registry.invalid/team/app:latest"]


def test_short_names(rl, server):
    server.add(small("a"), "app")
    with_settings(rl, f"""
unqualified-search-registries = ["127.0.0.1:1", "{server.address}"]
[aliases]
"nick" = "{server.address}/app"
[[registry]]
location = "{server.address}"
insecure = true
""")
    first = rl.ok("pull", "-q", "app").text
    assert rl.ok("pull", "-q", "nick").text == first
    rl.fails("pull", "nothing:here", says="no registry has the image nothing:here")


def test_blocked_and_broken_settings(rl):
    with_settings(rl, '[[registry]]\nlocation = "bad.example"\nblocked = true\n')
    rl.fails("pull", "bad.example/x", says="is blocked by", hint=False)
    with_settings(rl, '[[registry]]\nlocation = "bad.example"\nblokked = true\n')
    rl.fails("pull", "x", says="registries.toml: unknown key 'blokked'")
    with_settings(rl, "registry = [\n")
    rl.fails("pull", "x", says="registries.toml")


def test_policies(rl, server):
    first, second = small("a"), small("b")
    name = server.add(first, "x")
    rl.fails("pull", PLAIN, "--policy", "never", name, says="pulling is off")
    assert rl.ok("pull", "-q", PLAIN, "--policy", "missing", name).text == image_id(first)
    server.add(second, "x")
    assert rl.ok("pull", "-q", PLAIN, "--policy", "missing", name).text == image_id(first)
    assert rl.ok("pull", "-q", PLAIN, "--policy", "never", name).text == image_id(first)
    asked = len(server.paths())
    assert rl.ok("pull", "-q", PLAIN, "--policy", "newer", name).text == image_id(second)
    assert len(server.paths()) > asked
    manifests = len(server.paths("/manifests/"))
    assert rl.ok("pull", "-q", PLAIN, "--policy", "newer", name).text == image_id(second)
    assert len(server.paths("/manifests/")) == manifests + 1, "one HEAD request suffices"


def test_all_tags(rl, server):
    image = small("a")
    server.add(image, "x", "one")
    server.add(small("b"), "x", "two")
    found = rl.ok("pull", "-q", PLAIN, "--all-tags", f"{server.address}/x").lines
    assert len(found) == 2
    (first, second) = sorted(n for row in rl.ok("images", "--format", "json").json()
                             for n in row["Names"])  # fmt: skip
    assert first.endswith("x:one") and second.endswith("x:two")
    rl.fails("pull", PLAIN, "--all-tags", f"{server.address}/x:one", says="without a tag")


# --- together ------------------------------------------------------------------------------


def test_layers_that_are_here_stay_there(rl, server):
    base, more = small("base"), small("base", "more")
    rl.ok("pull", "-q", PLAIN, server.add(base, "x", "base"))
    rl.ok("pull", "-q", PLAIN, server.add(more, "x", "more"))
    assert blobs_asked(server, more) == [1, 1]
    assert server.paths(f"/blobs/{next(iter(base.blobs))}") == [layer_path(server, base)]


def test_several_layers_at_once(rl, server):
    image = small("a", "b", "c", "d")
    name = server.add(image, "x")
    together = threading.Barrier(3)

    def wait(handler):
        together.wait(20)  # breaks, and with it the pull, unless three requests meet
        handler._serve(handler.path)

    layers = list(image.blobs)[:4]
    for digest in layers[1:]:
        server.script[server.blob_path("x", digest)] = [wait]
    rl.ok("pull", "-q", PLAIN, "--retry", "0", name)
    assert not together.broken


def test_two_pulls_download_once(rl, server):
    image = small("a", "b")
    name = server.add(image, "x")
    first_came = threading.Event()

    def slow(handler):
        first_came.set()
        time.sleep(0.5)
        handler._serve(handler.path)

    server.script[layer_path(server, image)] = [slow]
    processes = [rl.start("pull", "-q", PLAIN, name)]
    assert first_came.wait(20)
    processes += [rl.start("pull", "-q", PLAIN, name) for _ in range(3)]
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.decode().strip() == image_id(image)
    assert blobs_asked(server, image) == [1, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended_in_the_middle(rl, server, number):
    image = small("a", "b")
    name = server.add(image, "x")
    reached = threading.Event()
    digest = next(iter(image.blobs))

    def hang(handler):
        data = image.blobs[digest]
        handler.begin(200, len(data))
        handler.wfile.write(data[:30])
        handler.wfile.flush()
        reached.set()
        handler.connection.settimeout(20)
        handler.rfile.read(1)
        handler.close_connection = True

    server.script[layer_path(server, image)] = [hang]
    process = rl.start("pull", PLAIN, name)
    assert reached.wait(20)
    time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode in (130, -number)
    rl.ok("pull", "-q", PLAIN, name)
    assert [name for name in os.listdir(f"{rl.root}/layers") if name.startswith(".")] == []


def test_no_space(rl, server, workdir):
    data = os.urandom(12 << 20)
    image = oci.Image([oci.layer(oci.entry("big", data))], {})
    name, tiny = server.add(image, "x"), server.add(small("a"), "y", "tiny")
    disk = f"{workdir}/disk"
    os.mkdir(disk)
    rl.environment["RL_ROOT"] = f"{disk}/rl"
    script = (
        f"mount -t tmpfs -o size=72m none {disk} && "
        f"{{ {_quoted(rl.words('pull', '-q', PLAIN, tiny))} || exit 3; "
        f"dd if=/dev/zero of={disk}/fill bs=1M count=60 status=none; "
        f"{_quoted(rl.words('pull', '-q', PLAIN, name))}; echo code $?; "
        f"{_quoted(rl.words('images', '-q'))}; rm {disk}/fill; "
        f"{_quoted(rl.words('pull', '-q', PLAIN, name))}; }}"
    )
    words = [tools.find("unshare"), "--user", "--map-root-user", "--map-auto", "--mount"]
    done = subprocess.run([*words, "sh", "-c", script], env=rl.environment, capture_output=True,
                          text=True, timeout=100, cwd=rl.home)  # fmt: skip
    assert done.returncode == 0, done
    assert "no space left" in done.stderr and "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[1] == "code 125" and lines[2] == lines[0][:12] and lines[3] == image_id(image)


def _quoted(words):
    import shlex

    return shlex.join(words)


def test_bars_on_a_terminal(rl, server):
    name = server.add(small("a"), "x")
    with rl.terminal("pull", PLAIN, name) as terminal:
        terminal.expect("Copying blob [0-9a-f]{12}")
        terminal.expect("Writing manifest")


def test_pulls_with_the_same_layers_in_another_order(rl, server):
    forth, back = small("a", "b", "c", "d"), small("d", "c", "b", "a")
    names = [server.add(forth, "x", "forth"), server.add(back, "x", "back")] * 2
    server.script = {
        server.blob_path("x", digest): [lambda handler: _slowly(handler)]
        for digest in list(forth.blobs)[:4]
    }
    processes = [rl.start("pull", "-q", PLAIN, name) for name in names]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert blobs_asked(server, forth) == [1, 1, 1, 1]


def _slowly(handler):
    time.sleep(0.1)
    handler._serve(handler.path)
