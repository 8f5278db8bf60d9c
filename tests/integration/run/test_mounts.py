"""What a container sees of the host, of volumes and of images."""

import os

import pytest

from support import images, oci
from support.ids import has_range

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

ranged = pytest.mark.skipif(not has_range(), reason="one id has nobody else to be")


@pytest.fixture
def there(workdir):
    """A directory of the host with a file and a directory in it."""
    path = f"{workdir}/there"
    os.makedirs(f"{path}/sub")
    with open(f"{path}/file", "w") as file:
        file.write("of the host\n")
    return path


def options_of(text, point):
    for line in text.splitlines():
        words = line.split()
        if words[1] == point:
            return set(words[3].split(","))
    raise AssertionError(f"{point} is not mounted: {text}")


def test_a_directory(box, there):
    assert box.text("-v", f"{there}:/d", sh="cat /d/file; echo new > /d/new") == "of the host"
    with open(f"{there}/new") as file:
        assert file.read() == "new\n"
    assert os.stat(f"{there}/new").st_uid == os.geteuid()


def test_a_file(box, there):
    assert box.text("-v", f"{there}/file:/etc/passwd:ro", sh="cat /etc/passwd") == "of the host"


def test_a_relative_directory(box, there):
    words = box.words(["-v", "./there:/d"], ["cat", "/d/file"])
    assert box.rl.ok(*words, cwd=os.path.dirname(there)).text == "of the host"


@pytest.mark.parametrize("words, have, lack", [
    ("ro", {"ro"}, {"rw"}),
    ("rw", {"rw"}, {"ro"}),
    ("ro,noexec,nosuid,nodev", {"ro", "noexec", "nosuid", "nodev"}, set()),
    ("z", {"rw"}, set()),
    ("Z,ro", {"ro"}, set()),
    ("rslave", {"rw"}, set()),
])  # fmt: skip
def test_options_of_volumes(box, there, words, have, lack):
    found = options_of(box.text("-v", f"{there}:/d:{words}", sh="cat /proc/self/mounts"), "/d")
    assert have <= found and not lack & found


@pytest.mark.parametrize("entry", ["type=bind,source={0},target=/d,ro",
                                   "type=bind,src={0},dst=/d,readonly",
                                   "type=bind,source={0},destination=/d,readonly=true"])
def test_mount_bind(box, there, entry):
    result = box("--mount", entry.format(there), sh="cat /d/file; touch /d/x", code=1)
    assert result.stdout == "of the host\n" and "Read-only" in result.stderr


@ranged
def test_u_gives_the_files_to_the_user(box, there):
    words = ["-u", "1000", "-v", f"{there}:/d:U"]
    assert box.text(*words, sh="stat -c %u /d /d/file /d/sub; touch /d/x").split() == ["1000"] * 3
    assert os.stat(f"{there}/file").st_uid != os.geteuid()
    box.text("-v", f"{there}:/d:U", sh="stat -c %u /d/file")
    assert os.stat(f"{there}/file").st_uid == os.geteuid()


def test_o_discards_what_is_written(box, there):
    script = "echo changed > /d/file; touch /d/new; rm -r /d/sub; cat /d/file; ls /d"
    assert box.text("-v", f"{there}:/d:O", sh=script).split() == ["changed", "file", "new"]
    assert sorted(os.listdir(there)) == ["file", "sub"]


def test_o_of_a_volume(box):
    box.text("-v", "kept:/d", sh="echo first > /d/file")
    script = "echo changed > /d/file; cat /d/file"
    assert box.text("-v", "kept:/d:O", sh=script) == "changed"
    assert box.text("-v", "kept:/d", sh="cat /d/file") == "first"
    box.rl.ok("volume", "rm", "kept")


def test_overlays_with_like_names_are_apart(box, there):
    words = ["-v", f"{there}:/a/d:O", "-v", f"{there}:/a-d:O"]
    assert box.text(*words, sh="touch /a/d/new; ls /a-d").split() == ["file", "sub"]


def test_tmpfs(box):
    script = "cat /proc/self/mounts; ls -A /etc | head -1; stat -c %a /t"
    found = box.text("--tmpfs", "/t:size=1m,mode=700,noexec", sh=script)
    have = options_of(found, "/t")
    assert {"size=1024k", "mode=700", "noexec", "nosuid", "nodev"} <= have
    assert found.endswith("700")
    found = box.text("--mount", "type=tmpfs,destination=/t,tmpfs-size=2m,tmpfs-mode=1777",
                     sh="cat /proc/self/mounts")
    assert "size=2048k" in options_of(found, "/t")


def test_a_tmpfs_shows_what_the_image_has(box):
    assert "root:" in box.text("--tmpfs", "/etc", sh="head -1 /etc/passwd; rm /etc/group")
    assert box.text("--mount", "type=tmpfs,destination=/home,notmpcopyup",
                    sh="test -e /home/user || echo empty") == "empty"


def test_shm_size(box):
    found = options_of(box.text("--shm-size", "1m", sh="cat /proc/self/mounts"), "/dev/shm")
    assert "size=1024k" in found
    box.fails("--shm-size", "much", says="much")


def test_read_only(box):
    script = ("for d in / /etc /dev/x /dev/shm /tmp /run /var/tmp; do"
              " (touch $d/f) 2>/dev/null && echo $d; done; true")
    assert box.text("--read-only", sh=script).split() == ["/dev/shm", "/tmp", "/run", "/var/tmp"]
    assert box.text("--read-only", "--read-only-tmpfs=false", sh=script) == ""
    assert box.text("--read-only", "--tmpfs", "/etc", sh="echo x > /etc/x; cat /etc/x") == "x"


def test_named_volumes_copy_up_and_stay(own_box):
    box, rl = own_box, own_box.rl
    assert "root:" in box.text("-v", "v:/etc", sh="head -1 /etc/passwd; echo mine > /etc/mine")
    assert box.text("-v", "v:/elsewhere", sh="cat /elsewhere/mine") == "mine"
    assert box.text("--mount", "type=volume,source=v,target=/e,ro",
                    sh="touch /e/x 2>/dev/null || cat /e/mine") == "mine"
    assert rl.ok("volume", "ls", "-q").text == "v"
    rl.ok("volume", "rm", "v")


@ranged
def test_an_empty_volume_belongs_to_the_user(own_box):
    script = "touch /new/file && stat -c %u:%g /new"
    assert own_box.text("-u", "1000", "-v", "v:/new", sh=script) == "1000:1000"
    own_box.rl.ok("volume", "rm", "v")


def test_volumes_from(own_box, there):
    rl = own_box.rl
    rl.ok("run", "--network", "none", "--name", "one", "-v", f"{there}:/d", "-v", "v:/v",
          own_box.image, "sh", "-c", "echo x > /v/x")
    assert own_box.text("--volumes-from", "one", sh="cat /d/file /v/x") == "of the host\nx"
    result = own_box("--volumes-from", "one:ro", sh="touch /d/x", code=1)
    assert "Read-only" in result.stderr
    own_box.fails("--volumes-from", "two", says="two")
    rl.ok("rm", "one")


def test_an_image_as_a_mount(box):
    script = "/i/bin/busybox echo works; (echo x > /i/new) 2>/dev/null && cat /i/new"
    found = box("--mount", f"type=image,source={box.image},target=/i", sh=script, code=1)
    assert found.lines == ["works"]
    found = box.text("--mount", f"type=image,source={box.image},target=/i,rw=true", sh=script)
    assert found.split() == ["works", "x"]
    assert box.text("--mount", f"type=image,source={box.image},target=/i",
                    sh="test -e /i/new || echo gone") == "gone"


def test_rootfs(box, workdir):
    import io
    import tarfile

    root = f"{workdir}/root"
    with tarfile.open(fileobj=io.BytesIO(images.busybox_layer())) as archive:
        archive.extractall(root)  # of our own making
    words = ["run", "--rm", "--network", "none", "--rootfs"]
    script = "echo x > /new; ls -d /bin /new"
    assert box.rl.ok(*words, f"{root}:O", "sh", "-c", script).text.split() == ["/bin", "/new"]
    assert not os.path.exists(f"{root}/new")
    box.rl.ok(*words, root, "sh", "-c", script)
    with open(f"{root}/new") as file:
        assert file.read() == "x\n"
    assert not os.path.lexists(f"{root}/etc/mtab")
    box.rl.fails(*words, f"{workdir}/none", "true", says="none")
    box.rl.fails(*words, f"{root}:Q", "true", says="Q")


@pytest.mark.parametrize("mode, there", [("anonymous", True), ("tmpfs", True), ("ignore", False)])
def test_image_volume(rl, workdir, mode, there):
    archive = images.busybox(
        oci.layer(oci.directory("data"), oci.entry("data/file", "x")), Volumes={"/data": {}}
    ).oci_archive(f"{workdir}/i.oci", "localhost/v:latest")
    rl.ok("load", "--input", archive)
    words = ["run", "--rm", "--network", "none", "--image-volume", mode, "localhost/v"]
    mounts = rl.ok(*words, "sh", "-c", "cat /data/file > /dev/null; cat /proc/self/mounts").stdout
    assert (" /data " in mounts) == there
    assert rl.ok("volume", "ls", "-q").text == ""
    rl.fails(*words[:5], "perhaps", "localhost/v", says="perhaps")


@pytest.mark.parametrize("options, says", [
    (("-v", "/no/such/dir:/d"), "/no/such/dir"),
    (("-v", "./no-such:/d"), "no-such"),
    (("-v", "/tmp:relative"), "relative"),
    (("-v", "/tmp:/d:nosuch"), "nosuch"),
    (("-v", "/tmp:/d:ro,rw"), "ro"),
    (("-v", "/tmp:/d", "-v", "/var:/d"), "/d"),
    (("-v", "/tmp:/"), "/"),
    (("-v", "a/b:/d"), "a/b"),
    (("--mount", "type=nosuch,target=/d"), "nosuch"),
    (("--mount", "type=bind,target=/d"), "type=bind"),
    (("--mount", "type=bind,source=/tmp"), "type=bind"),
    (("--mount", "type=image,source=localhost/absent,target=/d"), "localhost/absent"),
    (("--tmpfs", "relative"), "relative"),
    (("--tmpfs", "/t:nosuch=1"), "nosuch"),
])  # fmt: skip
def test_bad_mounts(box, options, says):
    box.fails(*options, says=says)


def test_a_mount_below_another(box, there):
    assert box.text("-v", f"{there}/sub:/d/sub/deep", "-v", f"{there}:/d",
                    sh="cat /d/file; ls -d /d/sub/deep").split("\n") == [
        "of the host", "/d/sub/deep"]  # fmt: skip


def test_submounts_come_along(box):
    """/dev has other file systems in it: all of them are there, none can be lifted."""
    found = box.text("-v", "/dev:/d", sh="grep -c ' /d[ /]' /proc/self/mounts")
    with open("/proc/self/mounts") as file:
        points = [line.split()[1] for line in file]
    assert int(found) == sum(f"{point}/".startswith("/dev/") for point in points)
