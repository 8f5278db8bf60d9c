"""rl cp: podman's rules about what ends up where, in running and in stopped containers."""

import os
import stat

import pytest

from support.tars import members, tar_of

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


@pytest.fixture
def tree(here):
    """On this machine: src/ with a file, a link and a directory, and the file one."""
    here.write("src/file", "file\n")
    here.write("src/sub/deep", "deep\n", 0o600)
    os.symlink("file", here("src/link"))
    here.write("one", "one\n", 0o640)
    return here


# --- into a container ----------------------------------------------------------------------


def test_a_file(rl, box, tree):
    made = box(script="mkdir /d; echo old > /d/old")
    rl.ok("cp", tree("one"), "c:/d")  # into a directory that is there
    rl.ok("cp", tree("one"), "c:/d/")
    rl.ok("cp", tree("one"), "c:d/two")  # under another name, from the root
    rl.ok("cp", tree("one"), "c:/d/old")  # in the place of a file
    assert made.sh("cd /d; stat -c '%n %u:%g %a' *; cat *") == (
        "old 0:0 640\none 0:0 640\ntwo 0:0 640\none\none\none\n"
    )


def test_a_directory(rl, box, tree):
    made = box(script="mkdir /d")
    rl.ok("cp", tree("src"), "c:/d")  # into it
    rl.ok("cp", tree("src"), "c:/new")  # it becomes new
    rl.ok("cp", tree("src/."), "c:/new2")
    rl.ok("cp", tree("src/."), "c:/d")  # only its content
    rl.ok("cp", f"{tree('src')}/", "c:/d/sub")
    assert made.sh("cd /; find d new new2 | sort").split() == [
        "d", "d/file", "d/link", "d/src", "d/src/file", "d/src/link", "d/src/sub",
        "d/src/sub/deep", "d/sub", "d/sub/deep", "d/sub/src", "d/sub/src/file",
        "d/sub/src/link", "d/sub/src/sub", "d/sub/src/sub/deep",
        "new", "new/file", "new/link", "new/sub", "new/sub/deep",
        "new2", "new2/file", "new2/link", "new2/sub", "new2/sub/deep",
    ]  # fmt: skip
    assert made.sh("readlink /new/link; stat -c %a /new/sub/deep") == "file\n600\n"


def test_what_cannot_be(rl, box, tree):
    made = box(script="mkdir -p /d/one /e; echo x > /f; echo x > /e/src")
    rl.fails("cp", tree("one"), "c:/none/x", says="/none")
    rl.fails("cp", tree("one"), "c:/none/", says="/none/")
    rl.fails("cp", tree("one"), "c:/f/", says="/f/")
    rl.fails("cp", tree("src"), "c:/f", says="not a directory")
    rl.fails("cp", tree("src"), "c:/none/x", says="/none")
    rl.fails("cp", tree("one"), "c:/d", says="it is a directory")
    rl.fails("cp", tree("src"), "c:/e", says="not a directory")
    rl.fails("cp", tree("nothing"), "c:/d", says="nothing")
    rl.fails("cp", f"{tree('one')}/", "c:/d", says="one/")
    rl.fails("cp", tree("one"), "x:/d", says="'x'")
    rl.fails("cp", tree("one"), tree("two"), says="neither")
    rl.fails("cp", tree("one"), "c:", says="no path")
    assert made.sh("cd /; find d e; cat f e/src").split() == ["d", "d/one", "e", "e/src", "x", "x"]


def test_overwrite(rl, box, tree):
    made = box(script="mkdir -p /d/one/x /e; echo x > /e/src; echo x > /f")
    rl.ok("cp", "--overwrite", tree("one"), "c:/d")
    rl.ok("cp", "--overwrite", tree("src"), "c:/e")
    rl.ok("cp", "--overwrite", tree("src"), "c:/f")
    assert made.sh("cat /d/one /e/src/file /f/sub/deep") == "one\nfile\ndeep\n"


def test_a_link_on_this_machine_is_followed(rl, box, tree):
    made = box()
    os.symlink("one", tree("link"))
    os.symlink("src", tree("way"))
    rl.ok("cp", tree("link"), "c:/")
    rl.ok("cp", tree("way"), "c:/")
    assert made.sh("cat /link /way/file") == "one\nfile\n"


def test_relative_paths(rl, box, tree):
    made = box()
    rl.ok("cp", "one", "c:/", cwd=tree.path)
    rl.ok("cp", ".", "c:/all", cwd=tree("src"))
    rl.ok("cp", "c:/all/file", "back", cwd=tree.path)
    assert tree.read("back") == "file\n"
    assert made.sh("cat /one /all/file") == "one\nfile\n"


def test_an_archive_on_standard_input(rl, box):
    made = box(script="mkdir -p /d/kept; ln -s /d /way")
    data = tar_of(("a", b"a\n"), ("x/y/b", b"b\n"), ("way/c", b"c\n"), ("kept", None),
                  ("hard", {"type": b"1", "linkname": "x/y/b"}),
                  ("soft", {"type": b"2", "linkname": "/d/a"}))  # fmt: skip
    rl.ok("cp", "-", "c:/d", input=data)
    rl.ok("cp", "-", "c:/", input=data)
    assert made.sh("cat /d/soft /d/hard /d/way/c /d/c /x/y/b; stat -c %h /d/hard") == (
        "a\nb\nc\nc\nb\n2\n"
    )
    rl.fails("cp", "-", "c:/d/a", input=data, says="/d/a")
    rl.fails("cp", "-", "c:/none", input=data, says="/none")
    rl.fails("cp", "-", "c:/d", input=b"no archive" * 100, says="archive")
    rl.fails("cp", "-", "c:/d", input=data[:1100], says="archive")


def test_compressed_archives(rl, box):
    import bz2
    import gzip
    import lzma

    made = box(script="mkdir /d")
    for number, pack in enumerate((gzip.compress, bz2.compress, lzma.compress)):
        rl.ok("cp", "-", "c:/d", input=pack(tar_of((f"f{number}", b"x\n"))))
    assert made.sh("ls /d").split() == ["f0", "f1", "f2"]


# --- out of a container --------------------------------------------------------------------

_SCRIPT = """mkdir -p /d/sub; echo f > /d/f; echo g > /d/sub/g; chmod 4750 /d/f; ln /d/f /d/hard
ln -s f /d/soft; ln -s /d /way; ln -s /d/f /wayf; mkfifo /d/pipe; : > /d/empty"""


def test_out(rl, box, here):
    box(script=_SCRIPT)
    os.mkdir(here("to"))
    rl.ok("cp", "c:/d/f", here("to"))
    rl.ok("cp", "c:/d/f", here("name"))
    rl.ok("cp", "c:/d", here("to"))
    rl.ok("cp", "c:/d/.", here("all"))
    rl.ok("cp", "c:/way", here("to"))
    rl.ok("cp", "c:/wayf", here("to"))
    assert here.list("all") == ["empty", "f", "hard", "pipe", "soft", "sub", "sub/g"]
    assert here.list("to/d") == here.list("to/way") == here.list("all")
    assert here.read("name") == here.read("to/f") == here.read("to/wayf") == "f\n"
    status = os.stat(here("all/f"))
    assert (status.st_uid, status.st_nlink) == (os.geteuid(), 2)
    assert stat.S_IMODE(status.st_mode) == 0o750  # nobody else's set-uid program
    assert os.readlink(here("all/soft")) == "f"
    assert stat.S_ISFIFO(os.lstat(here("all/pipe")).st_mode)


def test_out_refuses(rl, box, here):
    box(script=_SCRIPT)
    here.write("f", "mine")
    here.write("dir/f/x", "mine")
    rl.fails("cp", "c:/d", here("f"), says="not a directory")
    rl.fails("cp", "c:/d/f", here("dir"), says="it is a directory")
    rl.fails("cp", "c:/d/f", here("none/x"), says="none")
    rl.fails("cp", "c:/nothing", here("x"), says="/nothing")
    rl.fails("cp", "c:/dev/nothing", here("x"), says="/dev/nothing")
    assert here.read("f") == here.read("dir/f/x") == "mine"
    assert not os.path.lexists(here("x"))
    rl.ok("cp", "--overwrite", "c:/d/f", here("dir"))
    assert here.read("dir/f") == "f\n"


def test_out_as_an_archive(rl, box):
    box(script=_SCRIPT)
    found = members(rl.ok("cp", "c:/d", "-").raw)
    assert list(found) == ["d", "d/empty", "d/f", "d/hard", "d/pipe", "d/soft", "d/sub", "d/sub/g"]
    assert found["d/hard"].islnk() and found["d/hard"].linkname == "d/f"
    assert found["d/f"].mode == 0o4750 and (found["d/f"].uid, found["d/f"].gid) == (0, 0)
    assert list(members(rl.ok("cp", "c:/d/f", "-").raw)) == ["f"]
    assert set(members(rl.ok("cp", "c:/d/sub/.", "-").raw)) == {".", "./g"}


def test_to_a_pipe_of_this_machine(rl, box):
    box()
    assert rl.ok("cp", "c:/etc/passwd", "/dev/stdout").stdout.startswith("root:x:0:0")
    rl.ok("cp", "c:/etc/passwd", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_large_and_odd_files(rl, box, here):
    made = box()
    content = os.urandom(1 << 20) * 20
    with open(here("large"), "wb") as file:
        file.write(content)
    odd = "a b\nc\x01ü" + "x" * 200
    here.write(odd, "odd")
    rl.ok("cp", here("large"), "c:/large")
    rl.ok("cp", here(odd), "c:/")
    rl.ok("cp", "c:/large", here("back"))
    rl.ok("cp", f"c:/{odd}", here("odd"))
    with open(here("back"), "rb") as file:
        assert file.read() == content
    assert here.read("odd") == "odd"
    assert "20971520" in made.sh("stat -c %s /large")


# --- between containers, and what is mounted in them ---------------------------------------


def test_between_containers(rl, box):
    made = box(script=_SCRIPT)
    rl.ok("create", "--name", "other", "--network", "none", "localhost/busybox:latest", "true")
    rl.ok("cp", "c:/d", "other:/copy")
    rl.ok("cp", "other:/copy/sub", "c:/again")
    rl.fails("cp", "c:/nothing", "other:/", says="/nothing")
    rl.fails("cp", "c:/d", "other:/none/x", says="/none")
    rl.ok("cp", "c:/d/f", "c:/f2")  # within one
    assert made.sh("cat /again/g /f2") == "g\nf\n"
    assert set(members(rl.ok("cp", "other:/copy/.", "-").raw)) == {
        ".", "./empty", "./f", "./hard", "./pipe", "./soft", "./sub", "./sub/g"
    }  # fmt: skip


def test_volumes_and_directories_of_this_machine(rl, box, here):
    here.write("bound/mine", "bound\n")
    here.write("fixed/mine", "fixed\n")
    here.write("x", "x\n")
    box("-v", "vol:/v/w", "-v", f"{here('bound')}:/b", "-v", f"{here('fixed')}:/r:ro",
        script="echo v > /v/w/f")  # fmt: skip
    rl.ok("cp", here("x"), "c:/v/w/x")
    rl.ok("cp", here("x"), "c:/b")
    rl.fails("cp", here("x"), "c:/r", says="Read-only")
    assert here.read("bound/x") == "x\n"
    with open(f"{rl.root}/volumes/vol/_data/x") as file:
        assert file.read() == "x\n"
    rl.ok("cp", "c:/v", here("v"))
    rl.ok("cp", "c:/r/mine", here("mine"))
    assert here.list("v") == ["w", "w/f", "w/x"]
    assert here.read("mine") == "fixed\n"
    found = rl.ok("run", "--rm", "--network", "none", "-v", "vol:/v",
                  "localhost/busybox:latest", "cat", "/v/x")  # fmt: skip
    assert found.text == "x"


def test_a_file_that_is_mounted(rl, busybox, here):
    rl.ok("run", "-d", "--name", "c", "--network", "none", busybox, "sleep", "600")
    here.write("hosts", "1.2.3.4 me\n")
    rl.ok("cp", here("hosts"), "c:/etc/hosts")
    assert rl.ok("exec", "c", "cat", "/etc/hosts").text == "1.2.3.4 me"
    rl.ok("cp", "c:/proc/1/cmdline", here("line"))
    assert here.read("line") == "sleep\x00600\x00"


def test_a_container_that_never_ran_and_one_that_is_paused(rl, busybox, here):
    here.write("x", "x\n")
    rl.ok("create", "--name", "new", "--network", "none", busybox, "cat", "/x")
    rl.ok("cp", here("x"), "new:/x")
    assert rl.ok("start", "-a", "new").text == "x"
    rl.ok("run", "-d", "--name", "p", "--network", "none", busybox, "sleep", "600")
    rl.ok("pause", "p")
    rl.ok("cp", here("x"), "p:/x")
    assert rl.ok("cp", "p:/x", "/dev/stdout").text == "x"
    rl.ok("unpause", "p")


def test_the_root_of_ones_own(rl, busybox, here):
    rl.ok("create", "--name", "c", "--network", "none", busybox, "true")
    os.mkdir(here("root"))
    rl.ok("cp", "c:/bin", here("root"))
    here.write("x", "x\n")
    for mode, kept in (("", ["bin", "x"]), (":O", ["bin"])):
        name = f"own{len(mode)}"
        rl.ok("create", "--name", name, "--network", "none", "--rootfs",
              here("root") + mode, "/bin/true")  # fmt: skip
        if mode:
            os.unlink(here("root/x"))
        rl.ok("cp", here("x"), f"{name}:/x")
        assert rl.ok("cp", f"{name}:/x", "/dev/stdout").text == "x"
        assert sorted(os.listdir(here("root"))) == kept


def test_no_archive_for_a_terminal(rl, busybox):
    rl.ok("create", "--name", "c", "--network", "none", busybox, "true")
    with rl.terminal("cp", "c:/etc", "-") as terminal:
        terminal.expect("can't be shown on a terminal")
    with rl.terminal("cp", "-", "c:/") as terminal:
        terminal.expect("can't be read from a terminal")
