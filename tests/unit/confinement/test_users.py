"""Who a container runs as, out of passwd and group files that anybody may have written."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import RlError
from rootless.model.idmap import Ids, Range, stack
from rootless.runtime import users

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
ann:x:1000:100:Ann:/home/ann:/bin/sh
1001:x:7:7:a number as a name:/seven:/bin/sh
bob:x:1001:1001::relative:/bin/sh
short:x:5:6
dup:x:50:50::/first:
dup:x:51:51::/second:
"""
GROUP = b"""\
root:x:0:
adm:x:4:root,ann
audio:x:29:ann,bob
100:x:555:
twice:x:4:ann
"""


def resolve(text, passwd=PASSWD, group=GROUP, more=()):
    user = users.resolve(text, passwd, group, more)
    return user.uid, user.gid, user.groups, user.home


@pytest.mark.parametrize("text, wanted", [
    ("", (0, 0, [0, 4], "/root")),
    ("root", (0, 0, [0, 4], "/root")),
    ("0", (0, 0, [0, 4], "/root")),
    ("ann", (1000, 100, [100, 4, 29], "/home/ann")),
    ("1000", (1000, 100, [100, 4, 29], "/home/ann")),
    ("1001", (1001, 1001, [1001, 29], "/")),
    ("7", (7, 7, [7], "/seven")),
    ("4242", (4242, 0, [0], "/")),
    ("ann:adm", (1000, 4, [4], "/home/ann")),
    ("ann:100", (1000, 100, [100], "/home/ann")),
    ("4242:4243", (4242, 4243, [4243], "/")),
    (":29", (0, 29, [29], "/root")),
    ("ann:", (1000, 100, [100, 4, 29], "/home/ann")),
    ("short", (5, 6, [6], "/")),
    ("dup", (50, 50, [50], "/first")),
    ("2147483647", (2147483647, 0, [0], "/")),
])  # fmt: skip
def test_resolve(text, wanted):
    assert resolve(text) == wanted


def test_without_files():
    assert resolve("", None, None) == (0, 0, [0], "/")
    assert resolve("5:6", None, None) == (5, 6, [6], "/")
    with pytest.raises(users.NoUser):
        resolve("ann", None, None)
    with pytest.raises(users.NoGroup):
        resolve("5:adm", PASSWD, None)


def test_more_groups():
    assert resolve("4242", more=(7, "audio", "0"))[2] == [0, 7, 29]
    with pytest.raises(users.NoGroup) as caught:
        resolve("0", more=("video",))
    assert "'video'" in caught.value.message and caught.value.advice


@pytest.mark.parametrize("text, error", [
    ("carl", users.NoUser), ("ann:carl", users.NoGroup), ("-1", users.BadId), ("+1", users.BadId),
    ("2147483648", users.BadId), ("0:2147483648", users.BadId), ("1" * 5000, users.BadId),
    ("a:b:c", users.BadUser), (":", users.BadUser), ("ann\n", users.BadUser),
    ("a\0", users.BadUser),
    ("1000 ", users.NoUser), ("0x10", users.NoUser), ("1e3", users.NoUser), ("１", users.NoUser),
])  # fmt: skip
def test_refused(text, error):
    with pytest.raises(error) as caught:
        resolve(text)
    assert caught.value.exit_code == 125 and caught.value.advice


@pytest.mark.parametrize("line", [
    b"evil", b"evil:x", b"evil:x:0", b"evil:x::", b"evil:x:a:b", b"evil:x:-1:0", b"evil:x:0:-1",
    b"evil:x:4294967296:0", b"evil:x:2147483648:0", b"evil:x: 0:0", b"evil:x:0x0:0", b"evil:x:+0:0",
    b"evil\0:x:0:0", b"#evil:x:0:0", b"+evil:x:0:0", b":x:0:0", b"evil:x:00000000000:0",
    b"evil:x:\xd9\xa3:0",
])  # fmt: skip
def test_a_line_that_is_none_counts_as_absent(line):
    with pytest.raises(users.NoUser):
        resolve("evil", line + b"\n")
    assert resolve("ann", line + b"\n" + PASSWD)[0] == 1000


def test_odd_files():
    assert resolve("ann", PASSWD.rstrip(b"\n"))[0] == 1000
    assert resolve("ann", b"\n\n" + PASSWD + b"\n\n")[0] == 1000
    long = b"x" * (2 << 20)
    with pytest.raises(users.NoUser):
        resolve("ann", long + b"\n" + PASSWD)
    assert resolve("ann", PASSWD + long)[0] == 1000
    many = b"".join(b"g%d:x:%d:ann\n" % (n, n) for n in range(60000))
    assert len(resolve("ann", PASSWD, many)[2]) <= 65536


def test_bytes_that_are_no_text():
    name = os.fsdecode(b"\xff\xfe")
    assert resolve(name, b"\xff\xfe:x:9:9::/h\xff:\n") == (9, 9, [9], os.fsdecode(b"/h\xff"))


@given(st.text(max_size=20), st.binary(max_size=200), st.binary(max_size=200))
def test_anything(text, passwd, group):
    try:
        user = users.resolve(text, passwd, group)
    except RlError:
        return
    assert 0 <= user.uid <= users.LAST_ID and 0 <= user.gid <= users.LAST_ID
    assert user.groups[0] == user.gid and len(set(user.groups)) == len(user.groups)
    assert user.home.startswith("/") and "\0" not in user.home


@given(st.integers(0, users.LAST_ID), st.binary(max_size=200))
def test_a_number_is_itself_whatever_the_file_says(uid, passwd):
    lines = passwd + b"\n%d:x:0:0::/root:\n" % uid
    assert users.resolve(str(uid), lines, None).uid == uid


class Root:
    """What rootdir.RootDir has for reading."""

    def __init__(self, **files):
        self.files = files

    def read(self, path, limit):
        content = self.files.get(path.rpartition("/")[2])
        return content if content is None else content[:limit]


def test_resolve_in():
    root = Root(passwd=PASSWD, group=GROUP)
    user = users.resolve_in(root, {"username": "ann", "uid": 0, "gid": 0, "additionalGids": [9],
                                   "groupNames": ["audio"]})
    assert (user.uid, user.groups, user.name) == (1000, [100, 4, 29, 9], "ann")
    user = users.resolve_in(root, {"uid": 1000, "gid": 5, "additionalGids": [5, 6]})
    assert (user.uid, user.gid, user.groups, user.home) == (1000, 5, [5, 6], "/home/ann")
    assert users.resolve_in(Root(), {"uid": 3, "gid": 4}).home == "/"


WHOLE = Ids(stack(1000, [(100000, 65536)]), stack(1000, [(100000, 65536)]), "range")
KEPT = Ids([Range(33, 1000, 1)], [Range(34, 1000, 1)], "single")


@pytest.mark.parametrize("user, ids, wanted", [
    ({"username": "ann"}, WHOLE, (1000, 100, [100, 4, 29])),
    ({"username": "big"}, WHOLE, (5, 6, [6, 4])),  # the other one is a group of the image's
    ({"username": "33"}, KEPT, (33, 34, [34])),
    ({"username": "33:34"}, KEPT, (33, 34, [34])),
    ({"username": "www"}, KEPT, (33, 34, [34])),
    ({"uid": 33, "gid": 34}, KEPT, (33, 34, [34])),
])  # fmt: skip
def test_users_that_fit(user, ids, wanted):
    passwd = PASSWD + b"big:x:5:6::/:\nwww:x:33:33::/:\n"
    root = Root(passwd=passwd, group=GROUP + b"vast:x:70000:big\nsmall:x:4:big,www\n")
    found = users.resolve_in(root, user, ids)
    assert (found.uid, found.gid, found.groups) == wanted


@pytest.mark.parametrize("user, ids, word", [
    ({"username": "70000"}, WHOLE, "user 70000"),
    ({"username": "far"}, WHOLE, "user 80000"),
    ({"username": "wide"}, WHOLE, "group 80000"),
    ({"username": "0:vast"}, WHOLE, "group 70000"),
    ({"username": "0", "groupNames": ["vast"]}, WHOLE, "group 70000"),
    ({"username": "0", "additionalGids": [70000]}, WHOLE, "group 70000"),
    ({"username": ""}, KEPT, "user 0"),
    ({"username": "33:33"}, KEPT, "group 33"),
    ({"uid": 33, "gid": 0}, KEPT, "group 0"),
])  # fmt: skip
def test_users_that_do_not(user, ids, word):
    root = Root(passwd=PASSWD + b"far:x:80000:0::/:\nwide:x:1:80000::/:\n",
                group=GROUP + b"vast:x:70000:\n")
    with pytest.raises(users.NotMapped) as caught:
        users.resolve_in(root, user, ids)
    assert caught.value.message.startswith(word + " does not exist") and caught.value.advice


# --- entries ---------------------------------------------------------------------------------


def wanted(*accounts, entry=None, group_entry=None):
    return {"accounts": [list(a) for a in accounts], "entry": entry, "groupEntry": group_entry}


def amended(text, request, passwd=PASSWD, group=GROUP):
    user = users.resolve(text, passwd, group)
    new_passwd, new_group = users.amended(passwd, group, user, request)
    for old, new in ((passwd, new_passwd), (group, new_group)):
        assert new is None or new.startswith(old)
    return tuple(
        None if new is None else new[len(old) :].decode()
        for old, new in ((passwd, new_passwd), (group, new_group))
    )


def test_a_known_user_changes_nothing():
    for text in ("", "root", "ann", "1000", "short:0"):
        assert amended(text, wanted())[0] is None
    assert amended("short", wanted())[1] == "6:x:6:\n"
    assert amended("ann", wanted())[1] is None  # a group of that name is there, with another id


def test_a_number_without_a_line():
    assert amended("4242", wanted()) == ("4242:*:4242:0:container user:/:/bin/sh\n", None)
    assert amended("4242:4343", wanted()) == (
        "4242:*:4242:4343:container user:/:/bin/sh\n", "4343:x:4343:\n",
    )  # fmt: skip


def test_accounts_of_the_machine():
    mine = ("eve", 4242, 4243, "Eve", "/home/eve")
    assert amended("4242:4243", wanted(mine)) == (
        "eve:*:4242:4243:Eve:/home/eve:/bin/sh\n", "eve:x:4243:\n",
    )  # fmt: skip
    assert amended("root", wanted(mine))[0] == "eve:*:4242:4243:Eve:/home/eve:/bin/sh\n"
    assert amended("root", wanted(mine, mine))[0].count("\n") == 1
    assert amended("root", wanted(("ann", 9, 9, "", "/"), ("x", 1000, 100, "", "/")))[0] is None


def test_templates():
    request = wanted(entry="$USERNAME:x:$UID:$GID:$NAME:$HOME:/bin/zsh",
                     group_entry="$GROUPNAME:x:$GID:$USERLIST")
    assert amended("4242:4343", request) == (
        "4242:x:4242:4343:container user:/:/bin/zsh\n", "4343:x:4343:\n",
    )  # fmt: skip
    for bad in ("", "a:b", "a:b:c:d:e:f:g:h", "a:b:c:d:e:f:g\nh:x:0:0:::"):
        with pytest.raises(users.BadEntry):
            users.passwd_entry("n", 1, 1, template=bad)
    with pytest.raises(users.BadEntry):
        users.passwd_entry("n", 1, 1, gecos="a:b")
    with pytest.raises(users.BadEntry):
        users.group_entry("n\nm", 1)


def test_a_file_without_a_last_line_end():
    new, _ = users.amended(b"root:x:0:0::/:", GROUP, users.resolve("7", None, None), wanted())
    assert new == b"root:x:0:0::/:\n7:*:7:0:container user:/:/bin/sh\n"
    new, group = users.amended(None, None, users.resolve("7:8", None, None), wanted())
    assert new.endswith(b"\n") and group == b"8:x:8:\n"
