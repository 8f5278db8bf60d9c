"""rl build: where the result goes, and what is told of it."""

import io
import json
import os
import stat
import tarfile

import pytest

from support import oci, tools
from support.registry import Registry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"
OTHER = "arm64" if oci.architecture() == "amd64" else "amd64"
OWN = oci.architecture()

FILE = """\
FROM scratch
COPY sub /data
COPY --chown=7:8 --chmod=4755 tool /usr/bin/tool
ENV A=b
"""


def skopeo(*words):
    return tools.run(tools.find("skopeo"), "--insecure-policy", *words)


@pytest.fixture
def context(workdir):
    """The path of a context with a Containerfile that has no RUN."""
    path = f"{workdir}/context"
    os.makedirs(f"{path}/sub/deep")
    for name, text in (("Containerfile", FILE), ("tool", "#!x"), ("sub/file", "content"),
                       ("sub/deep/x", "x")):  # fmt: skip
        with open(f"{path}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    os.symlink("/etc/passwd", f"{path}/sub/link")
    return path


def write(context, text):
    with open(f"{context}/Containerfile", "w", encoding="utf-8") as file:
        file.write(text)


def images(rl):
    return rl.ok("images", "-aq", "--no-trunc").lines


# --- ids -----------------------------------------------------------------------------------


def test_the_id_is_what_is_printed(rl, context, workdir):
    done = rl.ok("build", "-t", "app", "--iidfile", f"{workdir}/iid", context)
    assert rl.ok("images", "-q", "--no-trunc", "app").text == f"sha256:{done.text}"
    with open(f"{workdir}/iid", encoding="utf-8") as file:
        assert file.read() == f"sha256:{done.text}"
    assert "COPY sub /data" in done.stderr
    again = rl.ok("build", "-q", "-t", "app", context)
    assert again.text == done.text and again.stderr == ""


def test_metadata(rl, context, workdir):
    path = f"{workdir}/meta.json"
    image = rl.ok("build", "-q", "-t", "app", "-t", "b:2", "--metadata-file", path, context).text
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    inspected = rl.ok("image", "inspect", "app").json()[0]
    assert found["containerimage.config.digest"] == f"sha256:{image}"
    assert found["containerimage.digest"] == inspected["Digest"]
    descriptor = found["containerimage.descriptor"]
    assert descriptor["digest"] == inspected["Digest"]
    assert descriptor["platform"] == {"architecture": OWN, "os": "linux"}
    assert found["image.name"] == "localhost/app:latest,localhost/b:2"
    assert found["buildx.build.ref"]


# --- files ---------------------------------------------------------------------------------


@pytest.mark.one_id
def test_local(rl, context, workdir):
    out = f"{workdir}/new/out"
    done = rl.ok("build", "-o", out, context)
    assert done.stdout == "" and images(rl) == []
    with open(f"{out}/data/file", encoding="utf-8") as file:
        assert file.read() == "content"
    status = os.stat(f"{out}/usr/bin/tool")
    assert status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o755
    assert os.readlink(f"{out}/data/link") == "/etc/passwd"
    # Once more over what is there.
    write(context, FILE + "COPY tool /data/file\n")
    rl.ok("build", "-q", "--output", f"type=local,dest={out}", context)
    with open(f"{out}/data/file", encoding="utf-8") as file:
        assert file.read() == "#!x"
    assert os.path.exists(f"{out}/data/deep/x")


def test_local_stays_below_its_directory(rl, context, workdir):
    out = f"{workdir}/out"
    os.makedirs(f"{workdir}/elsewhere")
    os.makedirs(out)
    os.symlink(f"{workdir}/elsewhere", f"{out}/data")
    done = rl.fails("build", "-q", "-o", out, context)
    assert "data" in done.stderr and os.listdir(f"{workdir}/elsewhere") == []
    os.unlink(f"{out}/data")
    # A link of the image, followed by files below it in a later layer.
    hostile = oci.Image([
        oci.layer(oci.symlink("out", f"{workdir}/elsewhere")),
        oci.layer(oci.entry("out/evil", "x")),
    ], {"Cmd": ["x"]})  # fmt: skip
    rl.ok("load", "-q", "-i", hostile.oci_archive(f"{workdir}/hostile", "localhost/hostile:1"))
    write(context, "FROM localhost/hostile:1\nLABEL a=b\n")
    rl("build", "-q", "-o", f"{workdir}/new", context)
    assert os.listdir(f"{workdir}/elsewhere") == []


def test_local_leaves_no_process_when_it_fails(rl, context, workdir):
    os.makedirs(f"{workdir}/out/usr/bin/tool/full")
    rl.fails("build", "-q", "-o", f"{workdir}/out", context, says="is a directory")
    assert os.path.isdir(f"{workdir}/out/usr/bin/tool/full")


def test_devices_are_left_out_and_that_is_said(rl, context, workdir):
    node = oci.entry("dev/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    image = oci.Image([oci.layer(oci.directory("dev"), node)], {"Cmd": ["x"]})
    rl.ok("load", "-q", "-i", image.oci_archive(f"{workdir}/nodes", "localhost/nodes:1"))
    write(context, "FROM localhost/nodes:1\nLABEL a=b\n")
    done = rl.ok("build", "-o", f"{workdir}/out", context)
    assert "1 device nodes were left out" in done.stderr
    assert os.listdir(f"{workdir}/out/dev") == []


@pytest.mark.parametrize("how", ["-", "type=tar", "file"])
def test_tar(rl, context, workdir, how):
    if how == "file":
        rl.ok("build", "-q", "-o", f"type=tar,dest={workdir}/out.tar", context)
        with open(f"{workdir}/out.tar", "rb") as file:
            data = file.read()
    else:
        data = rl.ok("build", "-o", how, context).raw
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = {member.name: member for member in archive}
        assert archive.extractfile("data/file").read() == b"content"
    tool = members["usr/bin/tool"]
    assert (tool.uid, tool.gid, tool.mode) == (7, 8, 0o4755)
    assert images(rl) == []


# --- archives ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "transport"), [("oci", "oci-archive"),
                                                 ("docker", "docker-archive")])  # fmt: skip
def test_archives(rl, context, workdir, kind, transport):
    path = f"{workdir}/image.tar"
    rl.ok("build", "-q", "-o", f"type={kind},dest={path},name=team/app:2", context)
    assert images(rl) == []
    config = json.loads(skopeo("inspect", "--config", f"{transport}:{path}"))
    assert "A=b" in config["config"]["Env"]
    small = [name for name in os.listdir(f"{rl.root}/blobs/sha256")
             if os.stat(f"{rl.root}/blobs/sha256/{name}").st_size < 1000]  # fmt: skip
    assert small == []  # no configuration, no manifest: the steps' layers alone
    loaded = rl.ok("load", "-q", "-i", path).text
    assert "localhost/team/app:2" in loaded
    data = rl.ok("build", "-q", "-o", f"type={kind}", context).raw
    assert data[257:262] == b"ustar"


def test_an_oci_directory(rl, context, workdir):
    rl.ok("build", "-q", "-o", f"type=oci,tar=false,dest={workdir}/layout", context)
    skopeo("copy", "-q", f"oci:{workdir}/layout", f"dir:{workdir}/copied")


def test_an_image_that_was_there_stays(rl, context, workdir):
    rl.ok("build", "-q", "-t", "app", context)
    rl.ok("build", "-q", "-o", f"type=oci,dest={workdir}/x", context)
    assert len(images(rl)) == 1
    rl.ok("build", "-q", "-o", f"type=oci,dest={workdir}/y", "--load", "-t", "more", context)
    assert rl("image", "exists", "more").code == 0


# --- registries ----------------------------------------------------------------------------


def test_push(rl, context, registry, workdir):
    name = f"{registry.address}/build/app:1"
    meta = f"{workdir}/meta"
    rl.ok("build", "-q", PLAIN, "-t", name, "--push", "--metadata-file", meta, context)
    raw = skopeo("inspect", "--raw", PLAIN, f"docker://{name}").encode()
    with open(meta, encoding="utf-8") as file:
        assert json.load(file)["containerimage.digest"] == oci.digest(raw)
    layers = json.loads(raw)["layers"]
    assert all(layer["mediaType"].endswith("+gzip") for layer in layers)
    for output in (f"type=registry,ref={registry.address}/build/two:1",
                   f"type=image,name={registry.address}/build/three:1,push=true"):  # fmt: skip
        rl.ok("build", "-q", PLAIN, "-o", output, context)
    for other in ("two", "three"):
        assert skopeo("inspect", "--raw", PLAIN, f"docker://{registry.address}/build/{other}:1")
    assert rl("image", "exists", f"{registry.address}/build/two:1").code == 1
    assert rl("image", "exists", f"{registry.address}/build/three:1").code == 0


def test_what_was_compressed_once_is_not_compressed_again(rl, context, registry):
    name = f"{registry.address}/build/again:1"
    rl.ok("build", "-q", PLAIN, "-t", name, "--push", context)
    before = skopeo("inspect", "--raw", PLAIN, f"docker://{name}")
    manifest = rl.ok("image", "inspect", name).json()[0]
    blobs = f"{rl.root}/blobs/sha256"
    for layer in manifest["RootFS"]["Layers"]:
        os.unlink(f"{blobs}/{layer.partition(':')[2]}")  # a plain layer's blob has its diff id
    rl.ok("push", "-q", PLAIN, name)
    other = f"{registry.address}/build/elsewhere:1"
    rl.ok("push", "-q", PLAIN, name, other)  # mounted from the first repository
    assert skopeo("inspect", "--raw", PLAIN, f"docker://{other}") == before
    assert skopeo("inspect", "--raw", PLAIN, f"docker://{name}") == before
    rl.fails("push", "-q", PLAIN, "--compression-format", "gzip", "--compression-level", "9", name)


def test_push_with_credentials(rl, context, workdir):
    os.mkdir(f"{workdir}/registry")
    with Registry(f"{workdir}/registry", users={"me": "secret"}) as server:
        name = f"{server.address}/app:1"
        words = ("build", "-q", PLAIN, "-t", name, "--push")
        rl.fails(*words, context, says="refuses access")
        rl.ok(*words, "--creds", "me:secret", context)


def test_push_by_digest_and_docker_types(rl, context, registry):
    place = f"{registry.address}/build/bydigest"
    rl.ok("build", "-q", PLAIN, "-t", "app", "-o",
          f"type=image,name={place},push=true,push-by-digest=true,oci-mediatypes=false",
          context)  # fmt: skip
    digests = rl.ok("image", "inspect", "app").json()[0]["RepoDigests"]
    found = next(text for text in digests if text.startswith(place))
    raw = json.loads(skopeo("inspect", "--raw", PLAIN, f"docker://{found}"))
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert rl.ok("images", "--format", "{{.Repository}}").lines == ["localhost/app"]


# --- platforms -----------------------------------------------------------------------------


def test_several_platforms_make_a_list(rl, context, registry, workdir):
    platforms = f"linux/{OWN},linux/{OTHER}"
    name = f"{registry.address}/build/multi:1"
    rl.ok("build", "-q", PLAIN, "--platform", platforms, "-t", "again", "-o",
          f"type=image,name={name},push=true", "--annotation", "index:top=1",
          "--annotation", f"manifest[linux/{OTHER}]:only=it",
          "--annotation", "every=one", "--iidfile", f"{workdir}/iid", context)  # fmt: skip
    found = rl.ok("manifest", "inspect", "again").json()
    assert [e["platform"]["architecture"] for e in found["manifests"]] == [OWN, OTHER]
    assert found["annotations"] == {"top": "1"}
    pushed = json.loads(skopeo("inspect", "--raw", PLAIN, f"docker://{name}"))
    notes = {}
    for entry in pushed["manifests"]:
        place = f"docker://{registry.address}/build/multi@{entry['digest']}"
        part = json.loads(skopeo("inspect", "--raw", PLAIN, place))
        notes[entry["platform"]["architecture"]] = part.get("annotations", {})
    assert notes[OWN]["every"] == notes[OTHER]["every"] == "one"
    assert notes[OTHER]["only"] == "it" and "only" not in notes[OWN]
    with open(f"{workdir}/iid", encoding="utf-8") as file:
        assert file.read().startswith("sha256:")
    # The same once more is the same list.
    listed = rl.ok("images", "-q", "--filter", "manifest=true").lines
    rl.ok("build", "-q", "--platform", platforms, "-t", "again", "--annotation", "index:top=1",
          "--annotation", f"manifest[linux/{OTHER}]:only=it", "--annotation", "every=one",
          context)  # fmt: skip
    assert rl.ok("images", "-q", "--filter", "manifest=true").lines == listed
    # The images of a list are not in anybody's way, and a prune leaves them.
    rl.ok("image", "prune", "--force")
    assert len(images(rl)) == 3


def test_manifest(rl, context):
    rl.ok("build", "-q", "--manifest", "both", "--platform", f"linux/{OWN}", context)
    rl.ok("build", "-q", "--manifest", "both", "--arch", OTHER, context)
    found = rl.ok("manifest", "inspect", "both").json()
    assert [e["platform"]["architecture"] for e in found["manifests"]] == [OWN, OTHER]
    rl.ok("tag", rl.ok("build", "-q", context).text, "localhost/taken:1")
    rl.fails("build", "-q", "--manifest", "localhost/taken:1", context, says="already")


def test_several_platforms_as_files(rl, context, workdir):
    words = ("build", "-q", "--platform", f"linux/{OWN},linux/{OTHER}")
    rl.ok(*words, "-o", f"{workdir}/out", context)
    assert sorted(os.listdir(f"{workdir}/out")) == sorted((f"linux_{OWN}", f"linux_{OTHER}"))
    rl.ok(*words, "-o", f"type=oci,dest={workdir}/both.oci", context)
    skopeo("copy", "-q", "--all", f"oci-archive:{workdir}/both.oci", f"dir:{workdir}/copied")
    assert images(rl) == []
    rl.fails(*words, context, says="several platforms")
    rl.fails(*words, "-o", "type=tar,dest=x", context, says="one platform")


# --- mistakes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("type=nope", "no type"),
        ("type=local", "which directory"),
        ("type=local,dest=-", "directory"),
        ("dest=x", "type is missing"),
        ("type=oci,dest=a,nope=1", "no option nope"),
        ("type=oci,dest=a,dest=b", "twice"),
        ("type=oci,tar=perhaps", "true or false"),
        ("type=oci,tar=false", "dest=DIRECTORY"),
        ("type=image,compression=lzma", "compression"),
        ("type=tar,dest=/nonexistent/x", "no such directory"),
        ("type=image,push=true", "no name"),
        ("type=registry,ref=x y", "x y"),
        ("", "empty"),
    ],
)
def test_bad_outputs_are_said_before_the_work(rl, context, output, says):
    done = rl("build", "-o", output, context)
    assert done.code == 125 and says in done.stderr, repr(done)
    assert "COPY" not in done.stderr


def test_push_needs_a_registry(rl, context):
    rl.fails("build", "-t", "app", "--push", context, says="registry")
    rl.fails("build", "--iidfile", "/nonexistent/x", context, says="no such directory",
             hint=False)  # fmt: skip
    rl.fails("build", "--annotation", "index:a=b", context, says="index")


# --- checks --------------------------------------------------------------------------------


def test_check(rl, context):
    assert rl("build", "--check", context).code == 0
    write(context, "FROM scratch as x\nCOPY sub /\n")
    done = rl("build", "--check", context)
    assert done.code == 1 and "FromAsCasing" in done.stdout and images(rl) == []
    done = rl.ok("build", context)
    assert "Warning: FromAsCasing" in done.stderr
    write(context, "# check=skip=FromAsCasing\nFROM scratch as x\nCOPY sub /\n")
    assert rl("build", "--check", context).code == 0
    write(context, "# check=error=true\nFROM scratch as x\nCOPY sub /\n")
    rl.fails("build", context, says="FromAsCasing")


def test_log_file(rl, context, workdir):
    done = rl.ok("build", "--logfile", f"{workdir}/log", context)
    assert done.stderr == ""
    with open(f"{workdir}/log", encoding="utf-8") as file:
        assert "COPY sub /data" in file.read()
    rl.fails("build", "--logfile", "/nonexistent/log", context, hint=False)
