"""Whatever is wrong is told in one line with a hint, and nothing stays behind."""

import os

import pytest

from support import images, oci

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


@pytest.mark.parametrize("words, code, says", [
    (["--nosuch", "localhost/busybox", "true"], 125, "--nosuch"),
    (["-q", "--nosuch=1", "localhost/busybox", "true"], 125, "--nosuch"),
    (["--memory", "much", "localhost/busybox", "true"], 125, "--memory"),
    ([], 125, "run"),
    (["localhost/absent", "true"], 125, "localhost/absent"),
    (["BAD//NAME", "true"], 125, "BAD//NAME"),
    (["--name", "bad name", "localhost/busybox", "true"], 125, "bad name"),
    (["--name", "../x", "localhost/busybox", "true"], 125, "../x"),
    (["--cidfile", "/no/such/place", "localhost/busybox", "true"], 125, "/no/such/place"),
    (["--pidfile", "/no/such/place", "localhost/busybox", "true"], 125, "/no/such/place"),
    (["--timeout", "soon", "localhost/busybox", "true"], 125, "soon"),
    (["--hostname", "-", "localhost/busybox", "true"], 125, "-"),
    (["--log-driver", "nosuch", "localhost/busybox", "true"], 125, "nosuch"),
    (["--restart", "always", "localhost/busybox", "true"], 125, "--restart"),
    (["--label-file", "/no/such", "localhost/busybox", "true"], 125, "/no/such"),
    (["127.0.0.1:1/x", "true"], 125, "127.0.0.1:1"),
    (["localhost/busybox", "nosuchcommand"], 127, "nosuchcommand"),
    (["localhost/busybox", "/etc"], 126, "/etc"),
    (["-u", "nobodyknows", "localhost/busybox", "true"], 125, "nobodyknows"),
    (["--platform", "linux/nosuch", "localhost/busybox", "true"], 125, "linux"),
    (["--platform", "plan9", "localhost/busybox", "true"], 125, "plan9"),
    (["--storage-opt", "x=y", "localhost/busybox", "true"], 125, "--storage-opt"),
    (["--storage-opt", "size=512k", "localhost/busybox", "true"], 125, "from 1m"),
])  # fmt: skip
def test_one_line_and_a_hint(box, words, code, says):
    result = box.rl.fails("run", "--rm", *words, code=code, says=says)
    lines = result.stderr.splitlines()
    assert len([line for line in lines if not line.startswith("Trying")]) == 2, repr(result)
    box.nothing_left()


def test_an_image_without_a_command(rl, workdir):
    path = oci.Image([images.busybox_layer()], {}).oci_archive(f"{workdir}/i.oci", "localhost/n:1")
    rl.ok("load", "--input", path)
    rl.fails("run", "--rm", "localhost/n:1", says="command")
    rl.ok("run", "--rm", "--network", "none", "localhost/n:1", "/bin/true")


def test_an_empty_image(rl, workdir):
    path = oci.Image([], {}).oci_archive(f"{workdir}/i.oci", "localhost/empty:1")
    rl.ok("load", "--input", path)
    rl.fails("run", "--rm", "--network", "none", "localhost/empty:1", "/x", code=127, says="/x")


def test_a_foreign_image(rl, workdir):
    other = "s390x"
    path = images.oci.Image([images.busybox_layer()], {"Cmd": ["true"]}, architecture=other
                            ).oci_archive(f"{workdir}/i.oci", "localhost/far:1")
    rl.ok("load", "--input", path)
    result = rl.fails("run", "--rm", "localhost/far:1", says=other)
    assert {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine] in result.stderr


def test_a_script_without_its_interpreter(rl, workdir):
    layer = oci.layer(oci.entry("script", "#!/no/such/sh\n", mode=0o755),
                      oci.entry("noexec", "#!/bin/sh\n", mode=0o644),
                      oci.entry("garbage", "\x00\x01garbage", mode=0o755))
    rl.ok("load", "--input",
          images.busybox(layer).oci_archive(f"{workdir}/i.oci", "localhost/s:1"))
    words = ["run", "--rm", "--network", "none", "localhost/s:1"]
    rl.fails(*words, "/script", code=127, says="/script")
    rl.fails(*words, "/noexec", code=126, says="/noexec")
    rl.fails(*words, "/garbage", code=126, says="/garbage")


def test_a_store_of_somebody_else(box, workdir):
    result = box.rl.fails("--root", "/root", "run", "--rm", box.image, "true", says="/root")
    assert result.code == 125
    os.mkdir(f"{workdir}/full")
    with open(f"{workdir}/full/file", "w"):
        pass
    box.rl.fails("--root", f"{workdir}/full", "run", "--rm", box.image, "true",
                 says=f"{workdir}/full")
    assert os.listdir(f"{workdir}/full") == ["file"]


def test_a_runtime_directory_that_is_not_ours(box):
    result = box.rl.fails("--runroot", "/root/x", "run", "--rm", box.image, "true", says="/root/x")
    assert result.code == 125
