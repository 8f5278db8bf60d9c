"""rl diff and rl export, on every storage driver."""

import os

import pytest

from support.tars import members

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

_CHANGE = """echo more >> /etc/passwd; rm /etc/group; mkdir -p /new/dir; echo x > /new/dir/f
rm -r /var/tmp; mkdir /var/tmp; echo y > /var/tmp/y; rm -r /usr; chmod 700 /home/user
ln -s f /new/dir/l; cat /etc/hosts > /dev/null"""
_CHANGES = """C /etc
D /etc/group
C /etc/passwd
C /home
C /home/user
A /new
A /new/dir
A /new/dir/f
A /new/dir/l
D /usr
C /var
C /var/tmp
A /var/tmp/y
"""


@pytest.fixture
def changed(rl_on, busybox_image, workdir):
    """rl on each driver, with the stopped container c that has changed files, and a volume."""
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("run", "--name", "c", "--network", "none", "-v", "vol:/data/in", "busybox", "sh",
             "-c", _CHANGE + "; echo v > /data/in/f")  # fmt: skip
    return rl_on


def test_diff(changed):
    assert changed.ok("diff", "c").stdout == _CHANGES
    assert changed.ok("container", "diff", "c").stdout == _CHANGES
    found = changed.ok("diff", "--latest", "--format", "json").json()
    assert found["deleted"] == ["/etc/group", "/usr"]
    assert "/new/dir/f" in found["added"] and "/etc/passwd" in found["changed"]
    changed.fails("diff", "--format", "yaml", "c", says="yaml", hint=False)
    changed.fails("diff", "nothing", says="nothing")


def test_diff_of_images(changed):
    assert changed.ok("diff", "c", "busybox").stdout == _CHANGES
    changed.ok("commit", "--quiet", "c", "second")
    below = changed.ok("image", "diff", "second").stdout
    assert set(_CHANGES.splitlines()) <= set(below.splitlines())
    assert changed.ok("diff", "second", "busybox").stdout == below
    assert changed.ok("diff", "second", "second").stdout == ""
    back = changed.ok("diff", "busybox", "second").lines
    assert {"A /etc/group", "D /new", "A /usr", "D /var/tmp/y"} <= set(back)
    assert "A /bin" in changed.ok("image", "diff", "busybox").lines
    # A container's name is none of an image (and no beginning of an image's id).
    changed.ok("rename", "c", "one")
    changed.fails("image", "diff", "one", says="'one'")


def test_nothing_changed(rl_on, busybox_image):
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("create", "--name", "c", "--network", "none", "busybox", "true")
    assert rl_on.ok("diff", "c").stdout == ""
    rl_on.ok("start", "--attach", "c")
    assert rl_on.ok("diff", "c").stdout == ""


def test_export(changed, workdir):
    data = changed.ok("export", "c").raw
    found = members(data)
    assert data == changed.ok("export", "c").raw  # the same each time
    names = [name for name in found if "/" not in name]
    assert names == sorted(names)
    assert found["home/user"].mode == 0o700 and found["tmp"].mode == 0o1777
    assert found["new/dir/l"].linkname == "f" and found["var/tmp/y"].size == 2
    assert found["bin/ls"].islnk() or found["bin/ls"].size
    for gone in ("etc/group", "usr", "usr/bin", "data/in/f", "proc/1", ".wh.usr"):
        assert gone not in found
    changed.ok("export", "--output", f"{workdir}/c.tar", "c")
    with open(f"{workdir}/c.tar", "rb") as file:
        assert file.read() == data
    assert [name for name in os.listdir(workdir) if "part" in name] == []
    changed.fails("export", "-o", f"{workdir}/none/x", "c", says="none/x")
    changed.ok("import", f"{workdir}/c.tar", "back")
    assert changed.ok("run", "--rm", "--network", "none", "back", "/bin/cat", "/new/dir/f",
                      "/etc/passwd").lines[-1] == "more"  # fmt: skip


def test_owners(rl_on, busybox_image):
    """An image's owners, also where its files can't have them."""
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("create", "--name", "c", "--network", "none", "busybox", "true")
    wide = members(rl_on.ok("export", "c").raw)
    assert (wide["etc/passwd"].uid, wide["etc/passwd"].gid) == (0, 0)
    archive = _owned()
    rl_on.ok("import", "-", "owned", input=archive)
    rl_on.ok("create", "--name", "o", "--network", "none", "owned", "/bin/true")
    found = members(rl_on.ok("export", "o").raw)
    assert {name: (info.uid, info.gid) for name, info in found.items()} == {
        "d": (1000, 50), "d/f": (1001, 51), "d/l": (1002, 52), "r": (0, 0)
    }  # fmt: skip


def _owned():
    from support.tars import tar_of

    return tar_of(
        ("d", {"type": b"5", "mode": 0o755, "uid": 1000, "gid": 50}),
        ("d/f", {"uid": 1001, "gid": 51}),
        ("d/l", {"type": b"2", "linkname": "f", "uid": 1002, "gid": 52}),
        ("r", b"root's"),
    )


def test_a_container_at_work(rl_on, busybox_image):
    """What is removed while it is read does no harm."""
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("run", "-d", "--name", "c", "--network", "none", "busybox", "sh", "-c",
             "n=0; mkdir /d; while :; do n=$((n+1)); mkdir /d/$n; echo $n > /d/$n/f;"
             " rm -r /d/$((n-3)); done 2>/dev/null")  # fmt: skip
    for _ in range(4):
        assert "d" in members(rl_on.ok("export", "c").raw)
        assert "C /d" not in rl_on.ok("diff", "c").lines
        rl_on.ok("commit", "--quiet", "c")
        rl_on.ok("cp", "c:/d", "-")


def test_no_archive_for_a_terminal(rl, busybox):
    rl.ok("create", "--name", "c", busybox, "true")
    with rl.terminal("export", "c") as terminal:
        terminal.expect("can't be shown on a terminal")
