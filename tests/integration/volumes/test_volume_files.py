"""rl volume export and import: what goes round, and what a hostile archive can't do."""

import io
import os
import tarfile

import pytest

pytestmark = pytest.mark.integration


def data(rl, name):
    return f"{rl.root}/volumes/{name}/_data"


def archive(*members, mode="w"):
    """A tar archive as bytes, of (TarInfo changes, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for changes, content in members:
            info = tarfile.TarInfo()
            for name, value in changes.items():
                setattr(info, name, value)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def start(rl, packed, name="v"):
    rl.ok("volume", "create", name)
    with open(f"{rl.home}/in.tar", "wb") as file:
        file.write(packed)
    return rl("volume", "import", name, f"{rl.home}/in.tar")


def test_there_and_back(rl):
    rl.ok("volume", "create", "a")
    path = data(rl, "a")
    os.makedirs(f"{path}/d/e", mode=0o750)
    with open(f"{path}/d/file", "wb") as file:
        file.write(b"x" * 100_000)
    os.chmod(f"{path}/d/file", 0o4640)
    os.setxattr(f"{path}/d/file", "user.note", b"\xff\0bytes")
    os.link(f"{path}/d/file", f"{path}/hard")
    os.symlink("/etc/passwd", f"{path}/link")
    os.mkfifo(f"{path}/fifo")
    with open(os.fsencode(path) + b"/\xff\xfe", "w"):
        pass
    os.utime(f"{path}/d", (1e9, 1e9))
    rl.ok("volume", "export", "a", "--output", f"{rl.home}/a.tar")
    rl.ok("volume", "create", "b")
    rl.ok("volume", "import", "b", f"{rl.home}/a.tar")
    other = data(rl, "b")
    found = os.stat(f"{other}/d/file")
    assert found.st_mode & 0o7777 == 0o4640 and found.st_nlink == 2
    assert found.st_size == 100_000 and found.st_uid == os.getuid()
    assert os.getxattr(f"{other}/d/file", "user.note") == b"\xff\0bytes"
    assert os.stat(f"{other}/d").st_mtime == 1e9
    assert os.stat(f"{other}/d/e").st_mode & 0o777 == 0o750
    assert os.readlink(f"{other}/link") == "/etc/passwd"
    assert b"\xff\xfe" in os.listdir(os.fsencode(other))
    assert rl.ok("volume", "inspect", "b").json()[0]["NeedsCopyUp"] is False


def test_through_pipes(rl):
    rl.ok("volume", "create", "a")
    with open(f"{data(rl, 'a')}/file", "w") as file:
        file.write("hello")
    packed = rl.ok("volume", "export", "a").raw
    rl.ok("volume", "create", "b")
    rl.ok("volume", "import", "b", "-", input=packed)
    with open(f"{data(rl, 'b')}/file") as file:
        assert file.read() == "hello"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_compression(rl, mode):
    assert start(rl, archive(({"name": "f"}, b"text"), mode=mode)).code == 0
    with open(f"{data(rl, 'v')}/f", "rb") as file:
        assert file.read() == b"text"


LINK = {"type": tarfile.SYMTYPE}


@pytest.mark.parametrize(
    "members",
    [
        [({"name": "/{out}/evil"}, b"x")],
        [({"name": "../../../../../../../../../../../..{out}/evil"}, b"x")],
        [({"name": "d", "linkname": "{out}", **LINK}, b""), ({"name": "d/evil"}, b"x")],
        [({"name": "d", "linkname": "../../../../../../..{out}", **LINK}, b""),
         ({"name": "d/evil"}, b"x")],
        [({"name": "evil", "linkname": "{out}/target", "type": tarfile.LNKTYPE}, b"")],
        [({"name": "s", "linkname": "{out}/target", **LINK}, b""), ({"name": "s"}, b"changed")],
    ],
)  # fmt: skip
def test_nothing_leaves_the_volume(rl, members):
    outside = f"{rl.home}/out"
    os.mkdir(outside)
    with open(f"{outside}/target", "w") as file:
        file.write("untouched")
    filled = [
        ({k: v.format(out=outside) if isinstance(v, str) else v for k, v in c.items()}, content)
        for c, content in members
    ]
    start(rl, archive(*filled))
    assert os.listdir(outside) == ["target"]
    with open(f"{outside}/target") as file:
        assert file.read() == "untouched"
    assert os.stat(f"{outside}/target").st_nlink == 1
    rl.ok("volume", "rm", "v")


def test_links_in_a_volume_are_not_followed_by_export(rl):
    rl.ok("volume", "create", "v")
    with open(f"{rl.home}/secret", "w") as file:
        file.write("secret")
    os.symlink(f"{rl.home}/secret", f"{data(rl, 'v')}/link")
    with tarfile.open(fileobj=io.BytesIO(rl.ok("volume", "export", "v").raw)) as tar:
        assert tar.getmember("./link").issym()
        assert b"secret" not in b"".join(
            tar.extractfile(m).read() for m in tar if m.isreg()
        )


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (b"this is no archive" * 100, "cannot read the archive"),
        (b"", "cannot read the archive"),
        (archive(({"name": "f"}, b"x" * 100_000))[:50_000], "cannot read the archive"),
        (archive(({"name": "null", "type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, b"")),
         "'null' is a device, which only root can make"),
    ],
)  # fmt: skip
def test_bad_archives(rl, packed, says):
    found = start(rl, packed)
    assert found.code == 125 and says in found.stderr and "hint:" in found.stderr


def test_what_is_not_there(rl):
    rl.fails("volume", "export", "missing", says="no volume with name missing")
    rl.fails("volume", "export", "missing", "-o", f"{rl.home}/out.tar", says="no volume")
    assert not os.path.exists(f"{rl.home}/out.tar")
    rl.ok("volume", "create", "v")
    rl.fails("volume", "import", "v", "/no/such.tar", says="cannot open /no/such.tar")
    rl.ok("volume", "create", "-o", "type=tmpfs", "t")
    rl.fails("volume", "export", "t", says="stands for memory")


def test_an_archive_is_not_for_a_terminal(rl):
    rl.ok("volume", "create", "v")
    with rl.terminal("volume", "export", "v") as screen:
        screen.expect("an archive is not for a terminal")
