"""rl volume: made, listed, found, kept while in use, and removed whatever is in them."""

import json
import os
import re
import subprocess

import pytest

pytestmark = pytest.mark.integration


def data(rl, name):
    return f"{rl.root}/volumes/{name}/_data"


def user_of(rl, container, *names, text=None):
    """A container that uses volumes, as its record tells."""
    path = f"{rl.root}/containers/{container}"
    os.makedirs(path)
    record = {
        "version": 1, "id": container, "name": container[:6], "created": "2026-01-31T00:00:00Z",
        "layers": [], "command": [], "labels": {}, "tty": False, "stdin_open": False,
        "remove": False, "stop_signal": 15, "stop_timeout": 10, "log": {"driver": "none"},
        "volumes": list(names), "anonymous_volumes": [], "mounts": [], "ports": [],
        "network": {"parsed": {"mode": "none"}}, "networks": [], "requires": [], "rung": "single",
        "options": {"given": {}},
    }  # fmt: skip
    record.update(dict.fromkeys(("image", "image_name", "rootfs", "hostname", "restart")))
    with open(f"{path}/record.json", "w") as file:
        file.write(json.dumps(record) if text is None else text)
    return path


def drop(path):
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    os.rmdir(path)


def test_create_and_inspect(rl):
    made = rl.ok("volume", "create", "--label", "a=b", "-l", "bare", "data")
    assert made.text == "data"
    (found,) = rl.ok("volume", "inspect", "data").json()
    assert found["Name"] == "data"
    assert found["Driver"] == "local" and found["Scope"] == "local"
    assert found["Labels"] == {"a": "b", "bare": ""}
    assert found["Mountpoint"] == data(rl, "data")
    assert found["MountCount"] == 0 and found["NeedsCopyUp"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", found["CreatedAt"])
    assert os.stat(data(rl, "data")).st_mode & 0o7777 == 0o755
    assert os.stat(f"{rl.root}/volumes").st_mode & 0o7777 == 0o700


def test_an_unnamed_volume_gets_a_name(rl):
    name = rl.ok("volume", "create").text
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert os.path.isdir(data(rl, name))


def test_the_umask_does_not_matter(rl):
    rl.ok("volume", "create", "v", umask=0o077)
    assert os.stat(data(rl, "v")).st_mode & 0o7777 == 0o755


def test_a_name_is_taken_once(rl):
    rl.ok("volume", "create", "v")
    rl.fails("volume", "create", "v", says="volume v already exists")
    assert rl.ok("volume", "create", "--ignore", "v").text == "v"


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", "-x", "", "a b", "ä", "x\n", "a" * 300])
def test_bad_names(rl, name):
    rl.fails("volume", "create", "--", name, says="is not a name for a volume")
    assert not os.path.exists(f"{rl.root}/volumes") or os.listdir(f"{rl.root}/volumes") == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["type=nfs", "device=server:/x"], "type=nfs: only root can mount that"),
        (["type=ext4", "device=/dev/sda"], "only root can mount that"),
        (["o=size=10m"], "o=size=10m: a quota of a directory is root's to set"),
        (["o=bind"], "device: a bind needs the absolute path"),
        (["o=bind", "device=relative"], "device: a bind needs the absolute path"),
        (["o=bind,uid=3", "device=/tmp"], "would change the owner"),
        (["o=uid=x"], "o=uid=x: expected a number"),
        (["o=uid=4294967295"], "expected a number"),
        (["type=tmpfs", "o=bind"], "not an option that this kind"),
        (["colour=red"], "option colour: the local driver knows"),
        (["copy"], None),
        (["nonsense"], "expected NAME=VALUE"),
    ],
)
def test_options(rl, options, says):
    words = [word for option in options for word in ("--opt", option)]
    if says is None:
        rl.ok("volume", "create", *words, "v")
    else:
        rl.fails("volume", "create", *words, "v", says=says)
        assert rl.ok("volume", "ls", "-q").text == ""


def test_another_driver_is_refused(rl):
    rl.fails("volume", "create", "--driver", "image", "v", says="'image' is unknown")


def test_options_are_kept(rl):
    rl.ok("volume", "create", "-o", "type=tmpfs", "-o", "o=size=1m", "-o", "o=noexec", "t")
    (found,) = rl.ok("volume", "inspect", "t").json()
    assert found["Options"] == {"type": "tmpfs", "o": "size=1m,noexec"}


def test_nocopy(rl):
    rl.ok("volume", "create", "-o", "nocopy", "v")
    assert rl.ok("volume", "inspect", "v").json()[0]["NeedsCopyUp"] is False


def test_ls(rl):
    assert rl.ok("volume", "ls").lines == ["DRIVER      VOLUME NAME"]
    for name in ("b", "a"):
        rl.ok("volume", "create", name)
    assert rl.ok("volume", "ls").lines == [
        "DRIVER      VOLUME NAME",
        "local       a",
        "local       b",
    ]
    assert rl.ok("volume", "ls", "-q").lines == ["a", "b"]
    assert rl.ok("volume", "ls", "--noheading").lines == ["local       a", "local       b"]
    assert [row["Name"] for row in rl.ok("volume", "ls", "--format", "json").json()] == ["a", "b"]


def test_templates(rl):
    rl.ok("volume", "create", "a")
    assert rl.ok("volume", "ls", "--format", "{{.Name}} {{.Scope}}").text == "a local"
    shown = rl.ok("volume", "inspect", "--format", "{{.Mountpoint}}", "a").text
    assert shown == data(rl, "a")


def test_filters(rl):
    rl.ok("volume", "create", "--label", "tier=web", "--label", "x=1", "one")
    rl.ok("volume", "create", "--label", "tier=db", "two")
    rl.ok("volume", "create", "-o", "type=tmpfs", "three")

    def names(*filters):
        words = [word for text in filters for word in ("--filter", text)]
        return rl.ok("volume", "ls", "-q", *words).lines

    assert names("label=tier") == ["one", "two"]
    assert names("label=tier=web") == ["one"]
    assert names("label=tier", "label=x=1") == ["one"]
    assert names("label!=tier") == ["three"]
    assert names("name=^t") == ["three", "two"]
    assert names("name=one", "name=two") == ["one", "two"]
    assert names("opt=type=tmpfs") == ["three"]
    assert names("driver=local", "scope=local") == ["one", "three", "two"]
    assert names("until=1h") == [] and names("since=1h") == ["one", "three", "two"]
    assert names("until=2999-01-01") == ["one", "three", "two"]
    container = user_of(rl, "c" * 64, "one")
    assert names("dangling=true") == ["three", "two"]
    assert names("dangling=false") == ["one"]
    drop(container)


@pytest.mark.parametrize(
    ("text", "says"),
    [("colour=red", "unknown filter"), ("label", "expected KEY=VALUE"), ("name=(", "name=("),
     ("dangling=maybe", "true or false"), ("until=soon", "not a point in time")],
)  # fmt: skip
def test_bad_filters(rl, text, says):
    rl.ok("volume", "create", "v")
    rl.fails("volume", "ls", "--filter", text, says=says)
    rl("volume", "prune", "--force", "--filter", text)
    assert rl.ok("volume", "ls", "-q").text == "v"


def test_exists(rl):
    rl.ok("volume", "create", "v")
    assert rl("volume", "exists", "v").code == 0
    assert rl("volume", "exists", "w").code == 1
    assert rl("volume", "exists", "../volumes/v").code == 1


def test_rm_and_its_exit_codes(rl):
    for name in ("a", "b", "c", "used"):
        rl.ok("volume", "create", name)
    assert rl.ok("volume", "rm", "a").text == "a"
    found = rl("volume", "rm", "missing", "b")
    assert (found.code, found.text) == (1, "b")
    assert "no volume with name missing" in found.stderr
    container = user_of(rl, "c" * 64, "used")
    found = rl.fails("volume", "rm", "used", code=2, says="is used by container cccccccccccc")
    assert os.path.isdir(data(rl, "used"))
    drop(container)
    assert rl.ok("volume", "rm", "--all").lines == ["c", "used"]
    assert os.listdir(f"{rl.root}/volumes") == []


def test_a_unique_beginning_of_a_name_will_do(rl):
    for name in ("alpha", "beta1", "beta2"):
        rl.ok("volume", "create", name)
    assert rl.ok("volume", "rm", "al").text == "alpha"
    rl.fails("volume", "inspect", "beta", says="more than one volume begins with beta", code=125)
    assert rl.ok("volume", "rm", "--all").lines == ["beta1", "beta2"]


def test_inspect_shows_what_there_is_and_names_what_is_not(rl):
    rl.ok("volume", "create", "v")
    found = rl("volume", "inspect", "missing", "v")
    assert found.code == 125
    assert [row["Name"] for row in found.json()] == ["v"]
    assert "no volume with name missing" in found.stderr
    assert [row["Name"] for row in rl.ok("volume", "inspect", "--all").json()] == ["v"]


def test_prune_asks_and_spares_what_is_used(rl):
    for name in ("used", "free", "kept"):
        rl.ok("volume", "create", *(["--label", "keep"] if name == "kept" else []), name)
    container = user_of(rl, "c" * 64, "used")
    for answer in ("n\n", "", "yep\n"):
        asked = rl.ok("volume", "prune", input=answer)
        assert "[y/N]" in asked.stderr and asked.text == ""
    assert rl.ok("volume", "prune", "--filter", "label!=keep", input="y\n").text == "free"
    assert rl.ok("volume", "prune", "--force").text == "kept"
    assert rl.ok("volume", "ls", "-q").text == "used"
    drop(container)


def test_a_container_whose_record_is_damaged_may_use_anything(rl):
    rl.ok("volume", "create", "v")
    container = user_of(rl, "d" * 64, text="{ damaged")
    rl.fails("volume", "rm", "v", says="the record of container dddddddddddd can't be read")
    pruned = rl("volume", "prune", "--force")
    assert pruned.code == 125 and os.path.isdir(data(rl, "v"))
    assert rl.ok("volume", "rm", "--force", "v").text == "v"
    drop(container)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"labels": 3, "options": {"o": 1}}', None])
def test_a_damaged_record_costs_labels_not_content(rl, text):
    rl.ok("volume", "create", "v")
    with open(f"{data(rl, 'v')}/file", "w") as file:
        file.write("precious")
    record = f"{rl.root}/volumes/v/volume.json"
    os.unlink(record)
    if text is not None:
        with open(record, "w") as file:
            file.write(text)
    (found,) = rl.ok("volume", "inspect", "v").json()
    assert found["Labels"] == {} and found["Options"] == {}
    with open(f"{data(rl, 'v')}/file") as file:
        assert file.read() == "precious"
    assert rl.ok("volume", "rm", "v").text == "v"


def test_what_crashes_leave_is_no_volume_and_goes_with_the_next_prune(rl):
    rl.ok("volume", "create", "v")
    base = f"{rl.root}/volumes"
    for name in (".new-0011", ".gone-0022", "halfway"):
        os.makedirs(f"{base}/{name}/deep/er")
    assert rl.ok("volume", "ls", "-q").lines == ["v"]
    assert rl("volume", "exists", "halfway").code == 1
    rl.ok("volume", "prune", "--force")
    assert os.listdir(base) in ([], ["halfway"])


def test_only_one_of_many_makes_a_name(rl):
    rl.ok("volume", "ls")
    at_work = [rl.start("volume", "create", "v") for _ in range(6)]
    codes = []
    for process in at_work:
        process.communicate()
        codes.append(process.returncode)
    assert sorted(codes) == [0, 125, 125, 125, 125, 125]
    assert os.listdir(f"{rl.root}/volumes") == ["v"]


def test_content_of_other_users_is_removed(rl):
    """Files that the users of a container left belong to subordinate ids."""
    with open("/etc/subuid") as file:
        owners = [line.split(":")[0] for line in file]
    import pwd

    name = pwd.getpwuid(os.getuid()).pw_name
    ranges = name in owners or str(os.getuid()) in owners
    rl.ok("volume", "create", *(["-o", "o=uid=33,gid=34"] if ranges else []), "v")
    path = data(rl, "v")
    if ranges:
        assert os.stat(path).st_uid not in (os.getuid(), 33)
        with pytest.raises(PermissionError):
            os.mkdir(f"{path}/sub")
    else:
        subprocess.run(["mkdir", "-m", "0", f"{path}/closed"], check=True)
    assert rl.ok("volume", "rm", "v").text == "v"
    assert os.listdir(f"{rl.root}/volumes") == []


def test_names_never_reach_a_terminal_raw(rl):
    rl.ok("volume", "create", "--label", "x=\x1b]0;evil\x07", "v")
    with rl.terminal("volume", "ls", "--format", "{{.Labels}}") as screen:
        screen.expect(r"x:\\x1b\]0;evil\\x07")
        assert b"\x1b]0" not in screen.seen
