"""Namespaces, user maps, kernel parameters, host names, devices."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine.spec import devices, idmaps
from rootless.engine.spec.namespaces import PING, BadHostname, TwoContainers
from rootless.engine.spec.values import BadOption
from rootless.errors import RlError
from rootless.model import idmap
from rootless.model.idmap import Ids, Range
from rootless.model.network import BadNetwork, BadNetworkOption, NetworkConflict
from unit.spec.making import ID, ONE, WHOLE, host, kinds, make, request

NEW = ["user", "mount", "network", "pid", "ipc", "uts", "cgroup"]


def entry(spec, kind):
    return next((e for e in spec["linux"]["namespaces"] if e["type"] == kind), None)


def test_all_new():
    spec = make()
    assert kinds(spec) == NEW
    assert all(set(e) == {"type"} for e in spec["linux"]["namespaces"])
    assert kinds(make(facts={"cgroup": 1})) == NEW[:-1]


@pytest.mark.parametrize("option, kind", [("network", "network"), ("pid", "pid"), ("ipc", "ipc"),
                                          ("uts", "uts"), ("cgroupns", "cgroup")])
def test_modes(option, kind):
    assert kinds(make(**{option: "host"})) == [k for k in NEW if k != kind]
    assert entry(make(**{option: "private"}), kind) == {"type": kind}
    assert entry(make(**{option: "ns:/run/x"}), kind) == {"type": kind, "path": "/run/x"}
    spec = make(**{option: "container:c"})
    assert entry(spec, kind) == {"type": kind, "container": "c"}
    assert entry(spec, "user") == {"type": "user", "container": "c"}
    assert "uidMappings" not in spec["linux"]
    for bad in ("container:", "ns:", "ns:x"):
        with pytest.raises((BadOption, BadNetwork)):
            make(**{option: bad})
    if option != "network":
        with pytest.raises(BadOption):
            make(**{option: "sharable"})


def test_words_of_ipc():
    assert make()["rl"]["ipc"] == "shareable"
    for word in ("private", "shareable", "none"):
        assert make(ipc=word)["rl"]["ipc"] == word and "ipc" in kinds(make(ipc=word))
    with pytest.raises(BadOption):
        make(pid="shareable")


def test_cgroup_namespaces_need_version_2():
    with pytest.raises(BadOption):
        make(cgroupns="private", facts={"cgroup": 1})
    assert make(cgroupns="host", facts={"cgroup": 1})


def test_namespaces_of_one_container_only():
    assert make(network="container:a", pid="container:a", userns="container:a")
    with pytest.raises(TwoContainers):
        make(network="container:a", pid="container:b")
    with pytest.raises(TwoContainers):
        make(network="container:a", userns="container:b")
    assert make(network="container:a", pid="container:b", facts={"find": lambda name: "same"})
    for own in ({"userns": "keep-id"}, {"uidmap": "0:0:1"}):
        with pytest.raises(BadOption):
            make(network="container:a", **own)


def test_joined_namespaces_of_users():
    assert entry(make(userns="ns:/x"), "user") == {"type": "user", "path": "/x"}


# --- names ---------------------------------------------------------------------------------


def test_hostname():
    spec = make()
    assert spec["hostname"] == spec["rl"]["hostname"] == ID[:12]
    assert make(hostname="web.example")["hostname"] == "web.example"
    assert make(network="host")["hostname"] == "machine"
    shared = make(uts="host")
    assert "hostname" not in shared and shared["rl"]["hostname"] == "machine"
    for mode in ("host", "container:x", "ns:/x"):
        with pytest.raises(BadOption):
            make(uts=mode, hostname="web")


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a\nb", "a\0", "x" * 65, "ä",
                                  "a:b"])
def test_bad_hostname(name):
    with pytest.raises(BadHostname):
        make(hostname=name)


# --- sysctl --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ranges, found",
    [
        ([(0, 1000, 1)], "0 0"),
        ([(0, 1000, 1), (1, 100000, 65536)], "0 65536"),
        ([(0, 200000, 1), (1, 100000, 65536)], "1 65536"),
        ([(0, 0, 1 << 32)], "0 2147483647"),
        ([(1000, 1000, 1)], "1000 1000"),
        ([], None),
    ],
)
def test_the_groups_that_may_ping(ranges, found):
    ranges = [idmap.Range(*one) for one in ranges]
    assert idmap.widest(ranges, (1 << 31) - 1) == found


def test_ping():
    spec = make()
    assert spec["linux"]["sysctl"] == {PING: "0 65536"} and spec["rl"]["softSysctl"] == [PING]
    assert make(network="host")["linux"]["sysctl"] == {}
    assert make(network="container:x")["linux"]["sysctl"] == {}
    spec = make(sysctl=f"{PING}=0 5")
    assert spec["linux"]["sysctl"] == {PING: "0 5"} and spec["rl"]["softSysctl"] == []
    kept = make(userns="keep-id", facts={"ids": ONE})
    assert kept["linux"]["sysctl"] == {}  # group 0 is not mapped there


@pytest.mark.parametrize("text", [
    "net.core.somaxconn=1024", "net.ipv4.conf.eth0.forwarding=1", "kernel.shmmax=1",
    "kernel.sem=1 2 3 4",
    "fs.mqueue.msg_max=10", "net/ipv4/ip_forward=1", "net.a=",
])  # fmt: skip
def test_sysctl(text):
    key, _, value = text.partition("=")
    assert make(sysctl=text)["linux"]["sysctl"][key.replace("/", ".")] == value


@pytest.mark.parametrize("text", [
    "", "net.a", "=1", "kernel.hostname=x", "kernel.msgmax.x=1", "vm.swappiness=1", "fs.mqueue=1",
    "fs.file-max=1", "kernel.shm_rmid_force=1", " net.a=1", "net.a =1", "net.a= 1", "net.a=1 ",
    "net.ä=1", "net...=1", "net.../../../x=1", "network.a=1", "net=1",
])  # fmt: skip
def test_bad_sysctl(text):
    with pytest.raises(BadOption):
        make(sysctl=(text,))


@pytest.mark.parametrize("text, more", [
    ("net.a=1", {"network": "host"}), ("net.a=1", {"network": "ns:/x"}),
    ("kernel.sem=1", {"ipc": "host"}), ("fs.mqueue.a=1", {"ipc": "host"}),
    ("fs.mqueue.a=1", {"ipc": "container:x"}),
])  # fmt: skip
def test_sysctl_of_shared_namespaces(text, more):
    with pytest.raises(BadOption):
        make(sysctl=text, **more)


# --- network options -------------------------------------------------------------------------


def test_network_data():
    spec = make(dns=("192.0.2.1",), dns_search="example.org", add_host="db:192.0.2.2")
    assert spec["rl"]["dns"] == {"servers": ["192.0.2.1"], "search": ["example.org"], "options": []}
    assert spec["rl"]["hosts"] == [["192.0.2.2", ["db"]]]
    assert spec["rl"]["network"] == {"mode": "private"}
    assert make(no_hosts=True)["rl"]["hosts"] is None
    with pytest.raises(BadOption):
        make(no_hosts=True, add_host="db:192.0.2.2")
    with pytest.raises(NetworkConflict):
        make(network="none", dns="192.0.2.1")
    with pytest.raises(BadNetworkOption):
        make(add_host="db")


# --- user namespaces -------------------------------------------------------------------------


def maps(**options):
    facts = options.pop("facts", {})
    return idmaps.plan(request(**options), host(**facts))["ids"]


def test_host_is_the_default():
    for mode in (None, "host", "private", ""):
        assert maps(userns=mode) is WHOLE or maps(userns=mode).uids == WHOLE.uids
    spec = make()
    assert spec["linux"]["uidMappings"] == [
        {"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 100000, "size": 65536},
    ]  # fmt: skip


@pytest.mark.parametrize("mode, uid, gid", [
    ("keep-id", 1000, 1000), ("keep-id:uid=50", 50, 1000), ("keep-id:uid=0,gid=5", 0, 5),
    ("keep-id:gid=65536", 1000, 65536), ("keep-id:uid=70000", 70000, 1000),
])  # fmt: skip
@pytest.mark.parametrize("ids", [WHOLE, ONE])
def test_keep_id(mode, uid, gid, ids):
    found = maps(userns=mode, facts={"ids": ids})
    assert idmap.to_outside(found.uids, uid) == 1000
    assert idmap.to_outside(found.gids, gid) == 1000
    assert idmap.total(found.uids) == idmap.total(ids.uids) and found.rung == ids.rung
    spec = make(userns=mode, facts={"ids": ids})
    assert spec["process"]["user"]["username"] == f"{uid}:{gid}"
    assert make(userns=mode, user="0" if not uid else str(uid), facts={"ids": ids})


def test_keep_id_respects_the_users_and_the_images_user():
    assert make(userns="keep-id", user="5")["process"]["user"]["username"] == "5"
    image = {"Cmd": ["a"], "User": "web"}
    assert make(userns="keep-id", image=image)["process"]["user"]["username"] == "web"


def test_nomap():
    found = maps(userns="nomap")
    assert found.uids == (Range(0, 100000, 65536),) and found.gids == (Range(0, 200000, 65536),)
    with pytest.raises(idmaps.NoIds):
        maps(userns="nomap", facts={"ids": ONE})


def test_auto():
    found = maps(userns="auto")
    assert idmap.total(found.uids) == idmap.total(found.gids) == 1024
    assert idmap.to_inside(found.uids, 1000) is None
    assert idmap.total(maps(userns="auto:size=8192").uids) == 8192
    with pytest.raises(idmaps.NoIds):
        maps(userns="auto", facts={"ids": ONE})
    with pytest.raises(idmaps.NoIds):
        maps(userns="auto:size=65537")


def test_auto_containers_do_not_overlap():
    used, count = [], 0
    while True:
        try:
            found = maps(userns="auto:size=5000", facts={"used": tuple(used)})
        except idmaps.NoIds:
            break
        for _, outside, size in (*found.uids, *found.gids):
            end = outside + size
            assert all(end <= begin or begin + length <= outside for begin, length in used)
        used += [(outside, size) for _, outside, size in (*found.uids, *found.gids)]
        count += 1
    assert count == 65536 // 5000


def test_auto_uses_pieces():
    holes = ((100000, 60000), (161000, 4536), (200000, 65000))
    found = maps(userns="auto:size=536", facts={"used": holes})
    assert idmap.total(found.uids) == 536 and idmap.total(found.gids) == 536


def test_auto_with_a_forced_map():
    found = maps(userns="auto:size=100,uidmapping=0:0:1")
    assert idmap.to_outside(found.uids, 0) == 1000 and idmap.total(found.uids) == 100
    assert idmap.to_outside(found.gids, 0) != 1000


@pytest.mark.parametrize("mode", [
    "x", "keep-id:x=1", "keep-id:uid=x", "keep-id:uid=-1", "keep-id:uid=2147483648", "host:x",
    "nomap:x",
    "auto:size=0", "auto:size=x", "auto:uidmapping=x", "container:", "ns:", "ns:x", "private:1",
])  # fmt: skip
def test_bad_modes(mode):
    with pytest.raises(BadOption):
        maps(userns=mode)


@pytest.mark.parametrize("texts, wanted", [
    (("0:0:1",), ((0, 1000, 1),)),
    (("0:1:10",), ((0, 100000, 10),)),
    (("0:0:10",), ((0, 1000, 1), (1, 100000, 9))),
    (("0:1:100", "1000:0:1"), ((0, 100000, 100), (1000, 1000, 1))),
    (("5:7",), ((5, 100006, 1),)),
])  # fmt: skip
def test_uidmap(texts, wanted):
    found = maps(uidmap=texts)
    assert found.uids == wanted
    # The groups go along, as podman has it.
    assert [(r.inside, r.count) for r in found.gids] == [(r.inside, r.count) for r in found.uids]


def test_own_id_alone_needs_no_helper():
    assert maps(uidmap="5:0:1").single and not maps(uidmap="5:1:1").single
    assert maps(uidmap="5:0:1", gidmap="7:0:1").gids == ((7, 1000, 1),)


@pytest.mark.parametrize("texts", [
    ("",), ("0",), ("0:0:0",), ("a:b:c",), ("0:0:1:2",), ("0:0:-1",), ("0:65537:1",),
    ("0:0:70000",),
    ("0:0:1", "0:1:1"), ("0:0:1", "1:0:1"), ("0:0:2", "5:1:1"), ("4294967295:0:2",), ("@0:0:1",),
    ("+0:0:1",),
])  # fmt: skip
def test_bad_uidmap(texts):
    for option in ("uidmap", "gidmap"):
        with pytest.raises(BadOption):
            maps(**{option: texts})


def test_maps_exclude_userns():
    with pytest.raises(BadOption):
        maps(uidmap="0:0:1", userns="keep-id")


@given(st.lists(st.tuples(st.integers(0, 70000), st.integers(0, 70000), st.integers(0, 70000)),
                min_size=1, max_size=4))  # fmt: skip
def test_every_map_is_sound(lines):
    try:
        found = maps(uidmap=tuple(f"{a}:{b}:{c}" for a, b, c in lines))
    except RlError:
        return
    for ranges, whole in ((found.uids, WHOLE.uids), (found.gids, WHOLE.gids)):
        assert idmap.total(ranges) == sum(count for _, _, count in lines)
        for inside, outside, count in ranges:
            assert idmap.to_inside(whole, outside) is not None
            assert idmap.to_inside(whole, outside + count - 1) is not None
            assert idmap.to_outside(ranges, inside) == outside


@given(st.integers(1, 40), st.integers(0, 60), st.integers(0, 30))
def test_keep_and_auto_on_small_ranges(count, at, size):
    small = Ids((Range(0, 1000, 1), Range(1, 5000, count)), (Range(0, 1000, 1),
                                                             Range(1, 5000, count)),
                "range")
    kept = maps(userns=f"keep-id:uid={at}", facts={"ids": small})
    assert idmap.total(kept.uids) == count + 1 and idmap.to_outside(kept.uids, at) == 1000
    try:
        auto = maps(userns=f"auto:size={size}", facts={"ids": small})
    except RlError:
        assert size == 0 or size > count
        return
    assert auto.uids == (Range(0, 5000 + count - size, size),)


# --- devices -------------------------------------------------------------------------------


@pytest.mark.parametrize("text, path", [
    ("/dev/null", "/dev/null"), ("/dev/null:rw", "/dev/null"), ("/dev/null:rwm", "/dev/null"),
    ("/dev/null:/dev/x", "/dev/x"), ("/dev/null:/dev/x:rw", "/dev/x"), ("/dev/null::rwm",
                                                                        "/dev/null"),
    ("/dev/../dev/null:/dev/a/../x", "/dev/x"),
])  # fmt: skip
def test_device(text, path):
    [found] = make(device=text)["linux"]["devices"]
    assert found == {"path": path, "source": "/dev/null", "type": "c", "major": 1, "minor": 3}


@pytest.mark.parametrize("text", [
    "", "/dev/absent", "/etc/passwd", "/dev/null:r", "/dev/null:/dev/x:w", "/dev/null:x",
    "/dev/null:rr",
    "/dev/null:/dev/x:rw:z", "/dev/null:dev/x:rw", ":/dev/x", "/dev/null:/dev/x:",
])  # fmt: skip
def test_bad_device(text):
    with pytest.raises(BadOption):
        make(device=(text,))


def test_a_directory_of_devices(tmp_path):
    found = make(device="/dev/:/dev/all")["linux"]["devices"]
    assert {"/dev/all/null", "/dev/all/zero"} <= {entry["path"] for entry in found}
    with pytest.raises(BadOption):
        make(device=str(tmp_path))


def test_links_in_a_directory_are_left_out(tmp_path):
    os.symlink("/dev/null", tmp_path / "link")
    with pytest.raises(BadOption):
        make(device=str(tmp_path))
    assert list(devices._below(str(tmp_path), "/dev", 0)) == []
