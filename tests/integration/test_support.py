"""The tools of the tests: a check that cannot fail is worse than none."""

import os
import pwd
import signal
import subprocess
import tempfile
import time

import pytest

from support import images, leaks, oci, tools
from support.command import Rl
from support.registry import Registry
from support.terminal import Terminal

pytestmark = pytest.mark.integration


def test_a_daemon_is_found_and_ended():
    watch = leaks.Watch()
    daemon = "setsid sh -c 'exec sleep 61' >/dev/null 2>&1 </dev/null &"
    subprocess.run(["/bin/sh", "-c", daemon], check=True)
    (left,) = watch.left(patience=0.2)
    assert left.startswith("process ") and left.endswith("sleep 61")
    pid = int(left.split()[1])
    deadline = time.monotonic() + 10
    while watch.left(patience=0) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_process_that_is_about_to_end_is_waited_for():
    watch = leaks.Watch()
    subprocess.run(["/bin/sh", "-c", "setsid sleep 0.3 >/dev/null 2>&1 &"], check=True)
    assert watch.left() == []


def test_a_file_in_tmp_is_found():
    watch = leaks.Watch()
    with tempfile.NamedTemporaryFile(dir="/tmp", prefix="rl-leak") as file:
        assert watch.left(patience=0) == [f"file {file.name}"]
    assert watch.left(patience=0) == []


def test_a_fuse_mount_is_found(workdir):
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{workdir}/{name}")
    watch = leaks.Watch()
    options = ",".join(f"{name}dir={workdir}/{name}" for name in ("lower", "upper", "work"))
    tools.run(tools.find("fuse-overlayfs"), "-o", options, f"{workdir}/merged")
    try:
        left = watch.left(patience=0)
    finally:
        subprocess.run(["fusermount3", "-u", f"{workdir}/merged"], check=False)
    assert any(line.startswith("mount ") and "/merged " in line for line in left), left
    assert watch.left() == []


def test_sockets_below_a_directory_are_found(workdir):
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        os.mkdir(f"{workdir}/deep")
        server.bind(f"{workdir}/deep/control")
        assert leaks.sockets_below(workdir) == [f"{workdir}/deep/control"]


def test_files_of_subordinate_ids_are_removed(workdir):
    target = f"{workdir}/tree"
    os.mkdir(target)
    script = f"mkdir -m 0700 {target}/a && touch {target}/a/b && chown -R 33:33 {target}/a"
    tools.run(tools.find("buildah"), "unshare", "sh", "-c", script)
    assert os.stat(f"{target}/a").st_uid != os.geteuid()
    tools.remove_tree(target)
    assert not os.path.exists(target)


def test_a_terminal_shows_types_and_resizes(workdir):
    program = (
        "trap 'stty size' WINCH; stty size; read line; echo got $line;"
        " while :; do sleep 0.05; done"
    )
    with Terminal(["/bin/sh", "-c", program], {"PATH": tools.PATH}, workdir, (11, 22)) as screen:
        screen.expect("11 22\r\n")
        screen.send("typed\n")
        screen.expect("got typed\r\n")
        screen.resize(33, 44)
        screen.expect("33 44\r\n")
        with pytest.raises(AssertionError, match="never"):
            screen.expect("never", timeout=0.1)
        os.kill(screen.pid, signal.SIGKILL)
        assert screen.wait() == -signal.SIGKILL


def test_a_terminal_gives_the_exit_code(workdir):
    with Terminal(["/bin/sh", "-c", "echo done; exit 7"], {}, workdir) as screen:
        assert screen.wait() == 7
        assert screen.seen == b"done\r\n"


def test_images_are_read_by_others(workdir, busybox_image):
    umoci = tools.find("umoci")
    tools.run(tools.find("skopeo"), "--insecure-policy", "copy",
              f"oci-archive:{busybox_image}", f"oci:{workdir}/layout:tag")  # fmt: skip
    tools.run(umoci, "unpack", "--rootless", "--image", f"{workdir}/layout:tag", f"{workdir}/b")
    tools.run(f"{workdir}/b/rootfs/bin/busybox", "true")
    docker = images.busybox().docker_archive(f"{workdir}/d.tar", "localhost/one:latest")
    found = tools.run(tools.find("skopeo"), "inspect", "--raw", f"docker-archive:{docker}")
    assert '"layers"' in found


def test_buildah_makes_layers(multilayer_image):
    import json

    found = tools.run(tools.find("skopeo"), "inspect", f"oci-archive:{multilayer_image}")
    assert len(json.loads(found)["Layers"]) >= 4


def test_the_debian_image_is_one_layer_of_debian(debian_image):
    found = tools.run(tools.find("skopeo"), "inspect", f"oci-archive:{debian_image}")
    assert found.count("sha256:") >= 1
    listing = tools.run(tools.find("tar"), "-tf", images.cached("debian.tar"))
    assert "./etc/debian_version" in listing.splitlines()


def test_the_registry_serves(registry, busybox_image):
    name = registry.push(f"oci-archive:{busybox_image}", "some/busybox:1")
    found = tools.run(
        tools.find("skopeo"), "inspect", "--tls-verify=false", f"docker://{name}"
    )
    assert f'"Name": "{registry.address}/some/busybox"' in found


def test_the_registry_can_ask_for_a_password_over_tls(workdir, busybox_image):
    os.mkdir(f"{workdir}/r")
    with Registry(f"{workdir}/r", tls=True, users={"ann": "secret"}) as server:
        name = server.push(f"oci-archive:{busybox_image}", "busybox:1")
        words = [tools.find("skopeo"), "inspect", "--tls-verify=false"]
        tools.run(*words, "--creds", "ann:secret", f"docker://{name}")
        with pytest.raises(AssertionError, match="authentication required|unauthorized"):
            tools.run(*words, "--creds", "ann:wrong", f"docker://{name}")


def test_layers_hold_what_was_put_in():
    import io
    import tarfile

    data = oci.layer(oci.directory("a"), oci.entry("a/f", "text", uid=7), oci.symlink("l", "a/f"))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["a", "a/f", "l"]
        assert archive.getmember("a/f").uid == 7


@pytest.mark.one_id
def test_this_user_can_be_told_from_one_with_subordinate_ids(workdir):
    name = pwd.getpwuid(os.geteuid()).pw_name
    with open("/etc/subuid", encoding="utf-8") as file:
        has_range = any(line.startswith(f"{name}:") for line in file)
    assert has_range == (name != "rl-test-one")


@pytest.mark.as_root
def test_root_may_become_each_test_user(user_rl):
    for name in ("rl-test", "rl-test-2", "rl-test-one"):
        engine = user_rl(name)
        assert engine.ok("--version").text
        assert pwd.getpwuid(os.stat(engine.home).st_uid).pw_name == name


def test_each_engine_has_a_home_of_its_own(workdir):
    one, other = Rl(f"{workdir}/1"), Rl(f"{workdir}/2")
    assert one.root != other.root and one.run != other.run
    assert os.stat(one.run).st_mode & 0o777 == 0o700
