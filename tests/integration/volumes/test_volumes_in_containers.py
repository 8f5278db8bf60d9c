"""Volumes as containers see them: copied up once, kept, shared, gone with their container."""

import os
import re

import pytest

pytestmark = pytest.mark.integration


def data(rl, name):
    return f"{rl.root}/volumes/{name}/_data"


def run(rl, *words, **how):
    return rl.ok("run", "--rm", "--network", "none", *words, **how)


def test_a_volume_outlives_its_container(rl, busybox):
    run(rl, "-v", "v:/v", busybox, "sh", "-c", "echo kept > /v/file")
    assert run(rl, "-v", "v:/v", busybox, "cat", "/v/file").text == "kept"
    with open(f"{data(rl, 'v')}/file") as file:
        assert file.read() == "kept\n"
    assert rl.ok("volume", "rm", "v").text == "v"


def test_content_of_the_image_is_copied_in_once(rl, busybox):
    assert "busybox" in run(rl, "-v", "v:/bin", busybox, "busybox", "ls", "/bin").stdout
    assert rl.ok("volume", "inspect", "v").json()[0]["NeedsCopyUp"] is False
    os.unlink(f"{data(rl, 'v')}/ls")
    run(rl, "-v", "v:/bin", busybox, "busybox", "true")
    assert not os.path.lexists(f"{data(rl, 'v')}/ls")


def test_a_volume_with_content_gets_nothing_copied_over_it(rl, busybox):
    rl.ok("volume", "create", "v")
    with open(f"{data(rl, 'v')}/mine", "w"):
        pass
    run(rl, "-v", "v:/var", busybox, "test", "-e", "/var/mine")
    assert os.listdir(data(rl, "v")) == ["mine"]
    assert rl.ok("volume", "inspect", "v").json()[0]["NeedsCopyUp"] is False


def test_nocopy(rl, busybox):
    rl.ok("volume", "create", "-o", "nocopy", "v")
    run(rl, "-v", "v:/var", "-v", "w:/var/tmp:nocopy", "-v", "x:/usr", busybox, "true")
    assert os.listdir(data(rl, "v")) == ["tmp"]  # where the other one is mounted
    assert os.listdir(data(rl, "w")) == []
    assert sorted(os.listdir(data(rl, "x"))) == ["bin", "sbin"]


def test_the_owner_and_mode_come_along(rl, busybox):
    run(rl, "-v", "v:/var/tmp", "-v", "w:/root", busybox, "true")
    assert os.stat(data(rl, "v")).st_mode & 0o7777 == 0o1777
    assert os.stat(data(rl, "w")).st_mode & 0o7777 == 0o700


@pytest.mark.parametrize("state", ["copying", "moving"])
def test_an_interrupted_copy_is_finished(rl, busybox, state):
    rl.ok("volume", "create", "v")
    draft = f"{rl.root}/volumes/v/filling"
    os.mkdir(draft)
    with open(f"{draft}/part", "w") as file:
        file.write("half" if state == "copying" else "whole")
    if state == "moving":
        with open(f"{rl.root}/volumes/v/copy-up", "w") as file:
            file.write("moving")
        with open(f"{data(rl, 'v')}/first", "w"):
            pass  # this one was moved already
    run(rl, "-v", "v:/usr", busybox, "true")
    wanted = ["bin", "sbin"] if state == "copying" else ["first", "part"]
    assert sorted(os.listdir(data(rl, "v"))) == wanted
    assert sorted(os.listdir(f"{rl.root}/volumes/v")) == ["_data", "volume.json"]


def test_anonymous_volumes_go_with_rm(rl, busybox):
    run(rl, "-v", "/v", busybox, "touch", "/v/file")
    assert rl.ok("volume", "ls", "-q").text == ""
    rl.ok("run", "--network", "none", "--name", "c", "-v", "/v", busybox, "touch", "/v/file")
    (name,) = rl.ok("volume", "ls", "-q").lines
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert rl.ok("volume", "inspect", name).json()[0]["Anonymous"] is True
    rl.fails("volume", "rm", name, code=2, says="is used by container")
    rl.ok("rm", "--volumes", "c")
    assert rl.ok("volume", "ls", "-q").text == ""


def test_rm_force_takes_the_containers_along(rl, busybox):
    rl.ok("run", "--detach", "--name", "live", "-v", "v:/v", busybox, "sleep", "60")
    rl.fails("volume", "rm", "v", code=2, says="volume v is used by container")
    assert rl.ok("volume", "rm", "--force", "--time", "0", "v").text == "v"
    assert rl.ok("ps", "-aq").text == ""


def test_two_containers_share_a_volume(rl, busybox):
    rl.ok("run", "--detach", "--name", "live", "-v", "v:/v", busybox, "sleep", "60")
    run(rl, "-v", "v:/v", busybox, "touch", "/v/from-the-other")
    rl.ok("exec", "live", "test", "-e", "/v/from-the-other")
    assert rl.ok("volume", "inspect", "v").json()[0]["MountCount"] == 1
    rl.ok("rm", "--force", "--time", "0", "live")


def test_a_tmpfs_volume_is_one_containers_own(rl, busybox):
    rl.ok("volume", "create", "-o", "type=tmpfs", "-o", "o=size=1m,noexec", "t")
    said = run(rl, "-v", "t:/t", busybox, "grep", " /t ", "/proc/self/mounts").text
    assert " tmpfs " in said and "noexec" in said and "size=1024k" in said
    rl.ok("run", "--detach", "--name", "live", "-v", "t:/t", busybox, "sleep", "60")
    rl.fails("run", "--rm", "-v", "t:/t", busybox, "true", says="volume t is used by container")
    rl.ok("rm", "--force", "--time", "0", "live")


def test_a_volume_that_stands_for_a_directory(rl, busybox):
    there = f"{rl.home}/there"
    os.mkdir(there)
    rl.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={there}", "b")
    run(rl, "-v", "b:/b", busybox, "touch", "/b/file")
    assert os.listdir(there) == ["file"]
    rl.ok("volume", "rm", "b")
    assert os.listdir(there) == ["file"]
    rl.ok("volume", "create", "-o", "o=bind", "-o", f"device={there}/gone", "b")
    rl.fails("run", "--rm", "-v", "b:/b", busybox, "true", says="gone, which does not exist")


def test_read_only(rl, busybox):
    found = rl("run", "--rm", "--network", "none", "-v", "v:/v:ro", busybox, "touch", "/v/file")
    assert found.code == 1 and "Read-only" in found.stderr


def test_many_containers_make_one_volume(rl, busybox):
    at_work = [
        rl.start("run", "--rm", "--network", "none", "-v", "v:/bin", busybox, "true")
        for _ in range(4)
    ]
    for process in at_work:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert rl.ok("volume", "ls", "-q").lines == ["v"]
    assert os.path.lexists(f"{data(rl, 'v')}/true")


def test_removing_against_starting(rl, busybox):
    """Either the removal fails or the container gets a volume: never a broken start."""
    run(rl, "-v", "v:/v", busybox, "true")
    for _ in range(3):
        remover = rl.start("volume", "rm", "v")
        runner = rl.start("run", "--rm", "--network", "none", "-v", "v:/v", busybox, "true")
        _, errors = runner.communicate()
        assert runner.returncode == 0, errors.decode()
        remover.communicate()
        assert remover.returncode in (0, 1, 2)
    assert os.listdir(f"{rl.root}/volumes") in (["v"], [])


def test_settings_give_defaults(rl, busybox):
    os.makedirs(f"{rl.home}/config/rl")
    with open(f"{rl.home}/config/rl/rl.toml", "w") as file:
        file.write('[network]\ndefault = "none"\n[containers]\nenv = ["A=1", "B=1"]\n'
                   'volumes = ["v:/v"]\nread_only = true\n')  # fmt: skip
    said = rl.ok("run", "--rm", "-e", "B=2", busybox, "sh", "-c", "echo $A $B; ls -d /v").lines
    assert said == ["1 2", "/v"]
    assert rl("run", "--rm", busybox, "touch", "/file").code == 1
    assert rl("run", "--rm", "--read-only=false", busybox, "touch", "/file").code == 0


def test_a_created_container_has_its_volumes(rl, busybox):
    rl.ok("create", "--name", "maker", "-v", "early:/one", "-v", "/two", busybox, "cat", "/one/f")
    assert len(rl.ok("volume", "ls", "-q").lines) == 2
    place = rl.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "early").text
    with open(f"{place}/f", "w") as file:
        file.write("filled before the start")
    rl.fails("volume", "rm", "early", code=2, says="is used by container")
    assert rl.ok("start", "--attach", "maker").stdout == "filled before the start"
    rl.ok("rm", "--volumes", "maker")
    assert rl.ok("volume", "ls", "-q").lines == ["early"]
