"""rl load, save and import: archives of others, and others reading ours."""

import bz2
import gzip
import http.server
import io
import json
import lzma
import os
import tarfile
import threading

import pytest

from support import images, oci, tools

pytestmark = pytest.mark.integration
NAME = "localhost/made:1"


def image_id(image):
    return image.config["digest"].partition(":")[2]


def small(*names, compress=True, **facts):
    layers = [oci.layer(oci.entry(name, name)) for name in names or ("a",)]
    return oci.Image(layers, {"Cmd": ["x"]}, compress, **facts)


def skopeo(*words):
    return tools.run(tools.find("skopeo"), "--insecure-policy", *words)


# --- load ----------------------------------------------------------------------------------


def make(form, image, workdir):
    path = f"{workdir}/image"
    if form == "docker-archive":
        return image.docker_archive(path, NAME)
    if form == "oci-archive":
        return image.oci_archive(path, NAME)
    return image.oci_directory(path, NAME)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
@pytest.mark.parametrize("compress", [True, False])
def test_load(rl, workdir, form, compress):
    image = images.busybox() if compress else images.busybox(oci.layer(oci.entry("b", "2")))
    path = make(form, image, workdir)
    done = rl.ok("load", "-i", path)
    assert done.text == f"Loaded image: {NAME}"
    assert rl.ok("images", "-q", "--no-trunc").text == f"sha256:{image_id(image)}"
    assert rl.ok("run", "--rm", "--network", "none", NAME, "echo", "hi").text == "hi"
    assert rl.ok("load", "-q", "-i", path).text == f"Loaded image: {NAME}"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_compressed_archives(rl, workdir, pack, form):
    image = small("a")
    path = make(form, image, workdir)
    with open(path, "rb") as file:
        data = pack(file.read())
    rl.ok("load", input=data)
    assert rl.ok("images", "-q", "--no-trunc").text == f"sha256:{image_id(image)}"


def test_standard_input(rl, workdir):
    path = make("oci-archive", small("a"), workdir)
    with open(path, "rb") as file:
        rl.ok("load", stdin=file)
    with open(path, "rb") as file:
        rl.ok("load", input=file.read())
    with rl.terminal("load") as terminal:
        terminal.expect("nothing to load from a terminal")
    rl.fails("load", input=b"", says="is not an image archive")


def test_several_images(rl, workdir):
    first, second = small("a"), small("b")
    files = {**first.files(), **second.files()}
    entries = first.index("localhost/a:1")["manifests"] + second.index("b")["manifests"]
    entries += second.index("UPPER")["manifests"]
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    oci.write_tar(f"{workdir}/two", files)
    assert rl.ok("load", "-q", "-i", f"{workdir}/two").lines == [
        "Loaded image: localhost/a:1",
        "Loaded image: localhost/b:latest",
        f"Loaded image: sha256:{image_id(second)}",
    ]
    assert rl.ok("pull", "-q", f"oci-archive:{workdir}/two:b").text == image_id(second)
    rl.fails("pull", f"oci-archive:{workdir}/two:c", says="holds no image c", hint=False)
    rl.fails("run", f"oci-archive:{workdir}/two", says="3 images")


def test_an_index_within(rl, workdir):
    own, foreign = small("own"), small("foreign", architecture="s390x")
    files = {**own.files(), **foreign.files()}
    kind = "application/vnd.oci.image.index.v1+json"
    inner = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [
        {**foreign.manifest, "platform": {"os": "linux", "architecture": "s390x"}},
        {**own.manifest, "platform": {"os": "linux", "architecture": oci.architecture()}},
    ]}).encode()  # fmt: skip
    files["blobs/" + oci.digest(inner).replace(":", "/")] = inner
    top = {"mediaType": kind, "digest": oci.digest(inner), "size": len(inner),
           "annotations": {"io.containerd.image.name": "docker.io/library/x:9"}}  # fmt: skip
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    oci.write_tar(f"{workdir}/nested", files)
    assert rl.ok("load", "-i", f"{workdir}/nested").text == "Loaded image: docker.io/library/x:9"
    assert rl.ok("images", "-aq", "--no-trunc").text == f"sha256:{image_id(own)}"


def test_old_archives_with_links(rl, workdir):
    """docker save once wrote a layer that occurs twice as a link to the first."""
    image = small("a", "b")
    data = {f"{i}/layer.tar": gzip.decompress(image.blobs[d]) for i, d in
            enumerate(list(image.blobs)[:2])}  # fmt: skip
    document = json.loads(image.blobs[image.config["digest"]])
    document["rootfs"]["diff_ids"].append(image.diff_ids[0])
    config = json.dumps(document).encode()
    manifest = [{"Config": "c.json", "RepoTags": ["old:1"],
                 "Layers": ["0/layer.tar", "1/layer.tar", "2/layer.tar"]}]  # fmt: skip
    with tarfile.open(f"{workdir}/old", "w") as archive:
        for name, content in {**data, "c.json": config,
                              "manifest.json": json.dumps(manifest).encode()}.items():  # fmt: skip
            info, content = oci.entry(name, content)
            archive.addfile(info, io.BytesIO(content))
        archive.addfile(oci.symlink("2/layer.tar", "../0/layer.tar")[0])
    found = rl.ok("load", "-q", "-i", f"{workdir}/old").text
    assert found == "Loaded image: docker.io/library/old:1"


def test_names_that_are_taken_over_are_said(rl, workdir):
    first, second = small("a"), small("b")
    rl.ok("load", "-i", first.oci_archive(f"{workdir}/1", NAME))
    done = rl.ok("load", "-i", second.oci_archive(f"{workdir}/2", NAME))
    assert f"{NAME} now names another image (it was {image_id(first)[:12]})" in done.stderr
    rows = rl.ok("images", "--format", "{{.ID}} {{.Repository}}").lines
    assert f"{image_id(first)[:12]} <none>" in rows


# --- bad archives --------------------------------------------------------------------------


def docker(image, **change):
    """The files of a docker-archive with some of them changed."""
    path = f"/proc/self/fd/{os.memfd_create('archive')}"
    image.docker_archive(path, NAME)
    with tarfile.open(path) as archive:
        files = {m.name: archive.extractfile(m).read() for m in archive if m.isreg()}
    os.close(int(path.rpartition("/")[2]))
    return {**files, **change}


def edited(image, **fields):
    """A docker-archive whose manifest.json has other fields."""
    files = docker(image)
    (entry,) = json.loads(files["manifest.json"])
    return {**files, "manifest.json": json.dumps([{**entry, **fields}]).encode()}


IMAGE = small("a")
LAYER = next(iter(IMAGE.blobs))
BLOB = "blobs/" + LAYER.replace(":", "/")
MANIFEST = "blobs/" + IMAGE.manifest["digest"].replace(":", "/")
HOSTILE = {
    "other bytes in a layer": {**IMAGE.files(), BLOB: IMAGE.blobs[LAYER][:-1] + b"x"},
    "a short layer": {**IMAGE.files(), BLOB: IMAGE.blobs[LAYER][:-9]},
    "no layer": {k: v for k, v in IMAGE.files().items() if k != BLOB},
    "other bytes in the manifest": {**IMAGE.files(), MANIFEST: b"{}"},
    "no manifest": {k: v for k, v in IMAGE.files().items() if k != MANIFEST},
    "no version": {**IMAGE.files(), "oci-layout": b'{"imageLayoutVersion": "9"}'},
    "an empty index": {**IMAGE.files(), "index.json": b'{"schemaVersion": 2, "manifests": []}'},
    "an index that is none": {**IMAGE.files(), "index.json": b"[]"},
    "a digest that is a path": {
        **IMAGE.files(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [
            {**IMAGE.manifest, "digest": "sha256:../../../etc/passwd"}]}).encode(),
    },
    "a layer from outside": edited(IMAGE, Layers=["../../../../etc/passwd"]),
    "a layer by absolute path": edited(IMAGE, Layers=["/etc/passwd"]),
    "layers that are missing": edited(IMAGE, Layers=[]),
    "a config from outside": edited(IMAGE, Config="../config.json"),
    "a config that is a list": edited(IMAGE, Config=["x"]),
    "a bad name": edited(IMAGE, RepoTags=["Not A Name"]),
    "a name with a digest": edited(IMAGE, RepoTags=["x@sha256:" + "a" * 64]),
    "another layer's content": edited(small("b"), Config=f"{image_id(IMAGE)}.json"),
    "a manifest that is no list": docker(IMAGE, **{"manifest.json": b"{}"}),
    "a manifest that is huge": docker(IMAGE, **{"manifest.json": b" " * (2 << 20)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives(rl, workdir, kind):
    oci.write_tar(f"{workdir}/bad", HOSTILE[kind])
    rl.fails("load", "-i", f"{workdir}/bad", hint=False)
    assert rl.ok("images", "-aq").text == ""
    assert [n for n in os.listdir(f"{rl.root}/layers") if n[0] != "."] == []


def test_layers_that_lead_out(rl, workdir):
    """The store's own tests have them all; here is one through every door."""
    data = oci.layer(oci.symlink("d", "/"), oci.entry(f"d{workdir}/out", "x"))
    image = oci.Image([data, oci.layer(oci.entry("../up", "x"))])
    for form in ("docker-archive", "oci-archive"):
        rl.fails("load", "-i", make(form, image, workdir), says="leads upwards", hint=False)
    assert not os.path.exists(f"{workdir}/out")


def test_what_is_not_an_archive(rl, workdir):
    rl.fails("load", "-i", "/etc/passwd", says="not a tar file")
    rl.fails("load", "-i", "/nothing", says="No such file", hint=False)
    os.mkdir(f"{workdir}/empty")
    rl.fails("load", "-i", f"{workdir}/empty", says="is not an image archive")
    oci.write_tar(f"{workdir}/plain", {"etc/passwd": b"x"})
    error = rl.fails("load", "-i", f"{workdir}/plain", says="is not an image archive")
    assert "rl import" in error.stderr
    with open(f"{workdir}/cut", "wb") as file:
        file.write(gzip.compress(b"x" * 9000)[:-12])
    rl.fails("load", "-i", f"{workdir}/cut", says="damaged")
    rl.fails("pull", f"docker-archive:{workdir}/plain", says="manifest.json")


# --- save ----------------------------------------------------------------------------------


@pytest.fixture
def made(rl, multilayer_image):
    """The name of an image of several layers in ``rl``."""
    rl.ok("load", "-q", "-i", multilayer_image)
    (image,) = rl.ok("images", "-q").lines
    rl.ok("tag", image, NAME)
    return NAME


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_skopeo_reads_what_is_saved(rl, made, workdir, form):
    path = f"{workdir}/saved"
    rl.ok("save", "-q", "--format", form, "-o", path, made)
    transport = {"oci-dir": "oci"}.get(form, form)
    found = json.loads(skopeo("inspect", "--config", f"{transport}:{path}"))
    ours = rl.ok("image", "inspect", made).json()[0]
    assert found["rootfs"]["diff_ids"] == ours["RootFS"]["Layers"]
    skopeo("copy", "-q", f"{transport}:{path}", f"dir:{workdir}/copied")
    config = json.load(open(f"{workdir}/copied/manifest.json"))["config"]["digest"]
    assert config == f"sha256:{ours['Id']}"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_reads_what_is_saved(rl, made, workdir, podman, form):
    path = f"{workdir}/saved"
    rl.ok("save", "-q", "--format", form, "-o", path, made)
    assert NAME in podman("load", "-q", "-i", path)
    ours = rl.ok("images", "-q", "--no-trunc", made).text
    assert f"sha256:{podman('images', '-q', '--no-trunc', NAME)}".strip().endswith(ours[7:])


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saved_is_read(rl, workdir, podman, multilayer_image, form):
    podman("load", "-q", "-i", multilayer_image)
    image = podman("images", "-q", "--no-trunc").split()[0].removeprefix("sha256:")
    podman("tag", image, NAME)
    podman("save", "-q", "--format", form, "-o", f"{workdir}/theirs", NAME)
    assert rl.ok("load", "-q", "-i", f"{workdir}/theirs").text == f"Loaded image: {NAME}"
    assert rl.ok("images", "-q", "--no-trunc", NAME).text == f"sha256:{image}"
    assert rl.ok("run", "--rm", "--network", "none", NAME).text == "four"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_round_trip(rl, made, workdir, form):
    rl.ok("tag", made, "localhost/second:2")
    rl.ok("save", "-q", "--format", form, "-o", f"{workdir}/one", made, "third")
    before = rl.ok("image", "inspect", made).json()[0]
    rl.ok("rmi", "-f", before["Id"])
    assert os.listdir(f"{rl.root}/layers") == []
    names = rl.ok("load", "-q", "-i", f"{workdir}/one").stdout
    assert NAME in names and "localhost/third:latest" in names and "second" not in names
    after = rl.ok("image", "inspect", made).json()[0]
    for field in ("Id", "RootFS", "Config", "History", "Created", "Size"):
        assert after[field] == before[field]
    if form == "oci-archive":
        assert after["Digest"] == before["Digest"]


def test_the_same_archive_twice(rl, made, workdir):
    for form in ("docker-archive", "oci-archive"):
        first = rl.ok("save", "-q", "--format", form, made).raw
        assert rl.ok("save", "-q", "--format", form, made).raw == first


def test_several_into_one(rl, made, workdir, busybox_image):
    rl.ok("load", "-q", "-i", busybox_image)
    for form in ("docker-archive", "oci-archive"):
        path = f"{workdir}/{form}"
        rl.ok("save", "-q", "-m", "--format", form, "-o", path, made, "localhost/busybox")
        assert set(rl.ok("load", "-q", "-i", path).lines) == {
            f"Loaded image: {NAME}", "Loaded image: localhost/busybox:latest",
        }  # fmt: skip


def test_by_id_has_no_name(rl, made, workdir):
    image = rl.ok("images", "-q").lines[0]
    rl.ok("save", "-q", "-o", f"{workdir}/x", image)
    with tarfile.open(f"{workdir}/x") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
    assert entry["RepoTags"] is None


def test_another_image_is_no_name(rl, made, workdir, busybox_image):
    rl.ok("load", "-q", "-i", busybox_image)
    other = rl.ok("image", "inspect", "localhost/busybox").json()[0]["Id"]
    assert other != rl.ok("image", "inspect", made).json()[0]["Id"]
    rl.fails("save", "-o", f"{workdir}/x", made, "localhost/busybox", says="of its own")
    assert not os.path.exists(f"{workdir}/x")


def test_save_fails_cleanly(rl, made, workdir):
    rl.fails("save", "-o", f"{workdir}/x", "nothing", says="image not known")
    rl.fails("save", "-o", f"{workdir}/no/x", made, says="No such file", hint=False)
    rl.fails("save", "--format", "oci-dir", made, says="needs a directory")
    rl.fails("pull", f"dir:{workdir}", says="can't pull from dir:")
    os.mkdir(f"{workdir}/full")
    open(f"{workdir}/full/x", "w").close()
    rl.fails("save", "--format", "oci-dir", "-o", f"{workdir}/full", made, says="not an empty")
    with rl.terminal("save", made) as terminal:
        terminal.expect("can't be shown on a terminal")
    with open(f"{workdir}/old", "w") as file:
        file.write("old")
    blobs = f"{rl.root}/blobs/sha256"
    largest = max(os.listdir(blobs), key=lambda name: os.path.getsize(f"{blobs}/{name}"))
    os.unlink(f"{blobs}/{largest}")
    rl.fails("save", "-o", f"{workdir}/old", made, says="is missing from the store")
    assert open(f"{workdir}/old").read() == "old"
    assert not [name for name in os.listdir(workdir) if name.startswith("old.")]


# --- import --------------------------------------------------------------------------------


def test_import(rl, workdir):
    data = images.busybox_layer()
    with open(f"{workdir}/root.tar", "wb") as file:
        file.write(data)
    done = rl.ok("import", "-c", 'CMD ["echo", "made"]', "-c", "ENV A=1", "-m", "by hand",
                 f"{workdir}/root.tar", "mine:1")  # fmt: skip
    assert done.text.startswith("sha256:") and len(done.text) == 71
    assert rl.ok("run", "--rm", "--network", "none", "mine:1").text == "made"
    assert rl.ok("run", "--rm", "--network", "none", "mine:1", "sh", "-c", "echo $A").text == "1"
    found = rl.ok("image", "inspect", "mine:1").json()[0]
    assert found["RootFS"]["Layers"] == [oci.digest(data)]
    assert found["Comment"] == "by hand" and found["RepoTags"] == ["localhost/mine:1"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_import_from_a_pipe(rl, pack):
    data = oci.layer(oci.entry("a", "1"))
    rl.ok("import", "-", "mine", input=pack(data))
    found = rl.ok("image", "inspect", "mine").json()[0]
    assert found["RootFS"]["Layers"] == [oci.digest(data)]
    saved = rl.ok("save", "-q", "mine").raw
    assert data in saved


def test_import_from_the_web(rl, workdir):
    data = oci.layer(oci.entry("a", "1"))
    with open(f"{workdir}/root.tar", "wb") as file:
        file.write(data)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=workdir)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            rl.ok("import", f"{url}/root.tar", "web")
            rl.fails("import", f"{url}/nothing.tar", says="404")
        finally:
            server.shutdown()
            thread.join()
    found = rl.ok("image", "inspect", "web").json()[0]
    assert found["RootFS"]["Layers"] == [oci.digest(data)]


def test_import_refuses(rl, workdir):
    rl.fails("import", "/nothing", says="No such file", hint=False)
    rl.fails("import", workdir, says="directory", hint=False)
    rl.fails("import", "-c", "RUN x", "/etc/passwd", says="unknown instruction")
    rl.fails("import", "/etc/hostname", says="", hint=False)
    rl.fails("import", "-", "Bad Name", input=b"", says="is not the name")
    with rl.terminal("import", "-") as terminal:
        terminal.expect("nothing to import from a terminal")
    assert rl.ok("images", "-aq").text == ""
