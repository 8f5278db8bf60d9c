"""rl unshare, and rl mount and unmount in it."""

import json
import os
import shlex

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


@pytest.fixture
def inside(rl_on, busybox_image):
    """A function that runs a shell script in rl unshare, where $RL is this rl."""
    rl_on.ok("load", "--input", busybox_image)

    def run(script, **how):
        words = " ".join(map(shlex.quote, rl_on.words()))
        return rl_on.ok("unshare", "sh", "-c", f"set -e; rl() {{ {words} \"$@\"; }}; {script}",
                        **how)  # fmt: skip

    run.rl = rl_on
    return run


def test_mount(inside):
    rl = inside.rl
    made = rl.ok("create", "--name", "c", "--network", "none", "busybox", "cat", "/new").text
    rl.fails("mount", "c", says="rl unshare")
    rl.fails("mount", says="rl unshare")
    rl.fails("unmount", "c", says="rl unshare")
    found = inside("m=$(rl mount c); test -x $m/bin/busybox; echo hello > $m/new; rl mount c")
    assert found.text == f"{rl.root}/containers/{made}/root"
    assert os.listdir(found.text) == []  # the mount went with the shell
    assert rl.ok("start", "--attach", "c").text == "hello"
    assert rl.ok("diff", "c").stdout == "A /new\n"


def test_lists(inside):
    rl = inside.rl
    one = rl.ok("create", "--name", "one", "--network", "none", "busybox", "true").text
    two = rl.ok("create", "--name", "two", "--network", "none", "busybox", "true").text
    found = inside("rl mount; rl mount one two; rl mount --no-trunc; rl mount --format json")
    assert found.lines[0].split() == [one[:12], f"{rl.root}/containers/{one}/root"]
    assert found.lines[3].split()[0] in (one, two)
    listed = json.loads(found.stdout[found.stdout.index("[") :])
    assert {row["id"]: row["Names"] for row in listed} == {one: ["one"], two: ["two"]}
    assert len(inside("rl mount --all").lines) == 2


def test_unmount(inside):
    rl = inside.rl
    made = rl.ok("create", "--name", "c", "--network", "none", "busybox", "true").text
    found = inside("rl mount c >/dev/null; rl unmount c; rl mount; rl unmount c || echo $?;"
                   "rl mount c > /dev/null; rl umount --all; rl unmount --all")  # fmt: skip
    assert found.lines == [made, "125", made]
    found = inside("cd $(rl mount c); rl unmount c || echo $?; rl unmount --force c; rl mount")
    assert found.lines == ["125", made]


def test_a_running_container_is_only_shown(inside):
    rl = inside.rl
    rl.ok("run", "-d", "--name", "c", "--network", "none", "busybox", "sh", "-c",
          "echo x > /file; sleep 600")  # fmt: skip
    found = inside("m=$(rl mount c); cat $m/file; touch $m/y 2>/dev/null || echo refused")
    if rl.environment["RL_STORAGE_DRIVER"] == "clone":
        assert found.text == "x"  # the directory itself
    else:
        assert found.lines == ["x", "refused"] and "read-only" in found.stderr
    assert rl.ok("exec", "c", "cat", "/file").text == "x"


def test_other_verbs_in_there(inside):
    rl = inside.rl
    rl.ok("create", "--name", "c", "--network", "none", "busybox", "true")
    found = inside("id -u; rl ps --all --format '{{.Names}}'; rl images --quiet | wc -l;"
                   "echo x > $HOME/x; rl cp $HOME/x c:/x; rl diff c;"
                   "rl commit -q c more >/dev/null; rl export c | tar t | grep -x x")  # fmt: skip
    assert found.lines == ["0", "c", "1", "A /x", "x"]
    assert rl.ok("run", "--rm", "--network", "none", "more", "cat", "/x").text == "x"


def test_a_container_of_outside_cannot_be_entered_from_in_there(inside):
    rl = inside.rl
    rl.ok("run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "600")
    found = inside("rl ps --format '{{.Names}}'; rl cp c:/etc/passwd - 2>&1 || true")
    assert found.lines[0] == "c" and "outside of this rl unshare" in found.stdout


def test_unshare(rl):
    assert rl("unshare", "sh", "-c", "exit 7").code == 7
    assert rl("unshare", "sh", "-c", "kill -9 $$").code == 137
    rl.fails("unshare", "no-such-command", code=127, says="no-such-command", hint=False)
    rl.fails("unshare", "/etc/passwd", code=126, says="/etc/passwd", hint=False)
    assert rl.ok("unshare", "sh", "-c", "echo $_RL_UNSHARE $RL_ROOT").text == f"1 {rl.root}"


def test_an_interrupt_is_the_commands(rl):
    with rl.terminal("unshare", "sh", "-c", "trap 'echo caught' INT; echo go; sleep 5 & wait;"
                     " kill %1; exit 3") as terminal:  # fmt: skip
        terminal.expect("go")
        terminal.send("\x03")
        terminal.expect("caught")
        assert terminal.wait() == 3
