"""rl commit: images that rl, podman and skopeo take for what they are."""

import json
import os

import pytest

from support import tools
from support.tars import members

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


@pytest.fixture
def worked(rl_on, busybox_image):
    """rl on each driver, with the stopped container c that has changed files."""
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("run", "--name", "c", "--network", "none", "-v", "vol:/data", "-e", "MINE=1",
             "-w", "/tmp", "--label", "a=b", "busybox", "sh", "-c",
             "echo new > /new; rm -r /home; echo v > /data/v")  # fmt: skip
    return rl_on


def config(rl, name):
    return rl.ok("image", "inspect", name).json()[0]["Config"]


def run(rl, *words):
    return rl.ok("run", "--rm", "--network", "none", *words).text


def test_commit(worked):
    made = worked.ok("commit", "--quiet", "c", "mine:1").text
    listed = worked.ok("images", "--quiet", "--no-trunc", "mine").text
    assert made == listed.removeprefix("sha256:")
    assert run(worked, "mine:1", "cat", "/new") == "new"
    assert run(worked, "mine:1", "sh", "-c", "ls /home /data/v; echo $MINE; pwd") == "1\n/tmp"
    found = config(worked, "mine:1")
    assert found["Cmd"] == ["sh", "-c", "echo new > /new; rm -r /home; echo v > /data/v"]
    assert found["Labels"] == {"a": "b"}
    assert not [one for one in found["Env"] if one.startswith(("HOSTNAME", "container", "HOME"))]
    assert "Volumes" not in found or not found["Volumes"]
    unnamed = worked.ok("commit", "-q", "c").text
    assert run(worked, unnamed, "cat", "/new") == "new"


def test_what_is_said_about_it(worked, workdir):
    worked.ok("commit", "--author", "me", "--message", "why not", "--iidfile", f"{workdir}/id",
              "c", "told")  # fmt: skip
    found = worked.ok("image", "inspect", "told").json()[0]
    with open(f"{workdir}/id") as file:
        assert file.read() == found["Id"].removeprefix("sha256:")
    assert found["Author"] == "me" and len(found["RootFS"]["Layers"]) == 2
    history = worked.ok("history", "--format", "json", "told").json()
    assert history[0]["comment"] == "why not" and "echo new" in history[0]["CreatedBy"]


def test_changes(worked):
    changes = ("CMD [\"cat\", \"/new\"]", "ENV A=b C=\"d e\"", "LABEL x=y", "EXPOSE 53/udp 80",
               "USER 0", "WORKDIR sub", "VOLUME /one", "STOPSIGNAL 9",
               "ONBUILD RUN true")  # fmt: skip
    words = [word for text in changes for word in ("--change", text)]
    worked.ok("commit", "-q", *words, "c", "changed")
    found = config(worked, "changed")
    assert found["Cmd"] == ["cat", "/new"] and found["WorkingDir"] == "/tmp/sub"
    assert {"A=b", "C=d e", "MINE=1"} <= set(found["Env"])
    assert found["Labels"] == {"a": "b", "x": "y"} and found["Volumes"] == {"/one": {}}
    assert {"80/tcp", "53/udp"} <= set(found["ExposedPorts"]) and found["StopSignal"] == "9"
    for bad in ("FROM x", "RUN true", "CMD", "EXPOSE x", "ENV =x", "LABEL"):
        worked.fails("commit", "--change", bad, "c", "wrong", says=bad.split()[0])
    assert worked("image", "exists", "wrong").code == 1


def test_the_containers_volumes(worked):
    worked.ok("commit", "-q", "--include-volumes", "c", "vols")
    assert config(worked, "vols")["Volumes"] == {"/data": {}}


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize("squash", [False, True])
def test_other_engines_read_it(worked, workdir, form, squash):
    words = ["--squash"] if squash else []
    worked.ok("commit", "-q", "--format", form, *words, "c", "mine")
    manifest = json.loads(_manifest(worked, "mine"))
    kind = "vnd.oci.image.manifest" if form == "oci" else "vnd.docker.distribution.manifest"
    assert kind in manifest["mediaType"] and len(manifest["layers"]) == (1 if squash else 2)
    worked.ok("save", "--format", "oci-archive", "-o", f"{workdir}/mine.oci", "mine")
    seen = json.loads(tools.run(tools.find("skopeo"), "inspect", "--config",
                                f"oci-archive:{workdir}/mine.oci"))  # fmt: skip
    assert seen["config"]["Env"][-1] == "MINE=1"
    assert len(seen["rootfs"]["diff_ids"]) == (1 if squash else 2)
    source, target = f"oci-archive:{workdir}/mine.oci", f"docker-archive:{workdir}/mine.tar:m:1"
    tools.run(tools.find("skopeo"), "copy", "--quiet", "--policy", _policy(workdir), source, target)
    worked.ok("load", "-i", f"{workdir}/mine.tar")
    assert run(worked, "m:1", "cat", "/new") == "new"
    worked.ok("create", "--name", "again", "m:1", "true")
    one = members(worked.ok("export", "again").raw)
    assert "home" not in one and one["new"].size == 4


def _manifest(rl, name):
    record = rl.ok("image", "inspect", name).json()[0]
    with open(f"{rl.root}/blobs/sha256/{record['Digest'].partition(':')[2]}") as file:
        return file.read()


def _policy(workdir):
    with open(f"{workdir}/policy.json", "w") as file:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, file)
    return file.name


def test_a_running_container(rl_on, busybox_image):
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "600")
    rl_on.ok("exec", "c", "sh", "-c", "echo live > /live")
    rl_on.ok("commit", "-q", "--pause", "c", "paused")
    rl_on.ok("commit", "-q", "c", "live")
    assert run(rl_on, "paused", "cat", "/live") == run(rl_on, "live", "cat", "/live") == "live"
    assert rl_on.ok("exec", "c", "echo", "goes on").text == "goes on"
    rl_on.ok("exec", "c", "rm", "/live")
    assert run(rl_on, "live", "cat", "/live") == "live"


def test_entrypoints(rl, busybox):
    rl.ok("create", "--name", "c", "--entrypoint", "echo", busybox, "one")
    rl.ok("commit", "-q", "c", "e1")
    assert (config(rl, "e1")["Entrypoint"], config(rl, "e1")["Cmd"]) == (["echo"], ["one"])
    rl.ok("create", "--name", "d", "--entrypoint", '["echo", "two"]', busybox)
    rl.ok("commit", "-q", "d", "e2")
    assert config(rl, "e2")["Entrypoint"] == ["echo", "two"]
    assert not config(rl, "e2").get("Cmd")
    assert run(rl, "e2", "three") == "two three"


def test_without_an_image(rl, busybox, workdir):
    os.mkdir(f"{workdir}/root")
    rl.ok("create", "--name", "own", "--rootfs", f"{workdir}/root", "/bin/true")
    rl.fails("commit", "own", says="--rootfs")
    rl.fails("diff", "own", says="--rootfs")
    assert members(rl.ok("export", "own").raw) == {}
