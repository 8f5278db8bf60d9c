"""The default mounts, and -v, --mount, --tmpfs, --volumes-from, VOLUME."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine.spec import volumes
from rootless.engine.spec.values import BadOption
from rootless.errors import RlError
from rootless.model.idmap import Ids, Range
from unit.spec.making import make, mount, options

DEFAULTS = {
    "/proc": ("proc", ["nosuid", "noexec", "nodev"]),
    "/dev": ("tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    "/sys": ("sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    "/dev/pts": ("devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                            "gid=5"]),
    "/dev/shm": ("tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
    "/dev/mqueue": ("mqueue", ["nosuid", "noexec", "nodev"]),
    "/sys/fs/cgroup": ("cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
}  # fmt: skip


def table(spec):
    return {entry["destination"]: (entry["type"], entry["options"]) for entry in spec["mounts"]}


def test_the_defaults_exactly():
    assert table(make()) == DEFAULTS


def test_cgroups_1():
    spec = make(facts={"cgroup": 1})
    assert mount(spec, "/sys/fs/cgroup") == {
        "destination": "/sys/fs/cgroup", "type": "bind", "source": "/sys/fs/cgroup",
        "options": ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"],
    }  # fmt: skip
    assert mount(make(facts={"cgroup": 0}), "/sys/fs/cgroup") is None


def test_the_network_of_the_machine_shows_its_sys():
    for network in ("host", "ns:/run/netns/x", "container:other"):
        spec = make(network=network)
        entry = mount(spec, "/sys")
        assert entry["type"] == "bind" and entry["source"] == "/sys"
        assert entry["options"] == ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"]


def test_the_terminals_group_where_it_is_not_mapped():
    few = Ids((Range(0, 1000, 1), Range(1, 100000, 3)), (Range(0, 1000, 1),), "range")
    assert "gid=5" not in options(make(facts={"ids": few}), "/dev/pts")


def test_ipc_and_shm():
    assert options(make(shm_size="1g"), "/dev/shm")[-1] == "size=1073741824"
    assert options(make(shm_size="0"), "/dev/shm") == ["nosuid", "noexec", "nodev", "mode=1777"]
    host = make(ipc="host")
    assert mount(host, "/dev/shm")["source"] == "/dev/shm" and "rbind" in options(host, "/dev/shm")
    assert (mount(host, "/dev/mqueue") is not None) == os.path.isdir("/dev/mqueue")
    none = make(ipc="none")
    assert mount(none, "/dev/shm") is None and mount(none, "/dev/mqueue")
    joined = make(ipc="container:other")
    assert mount(joined, "/dev/shm")["container"] == "other"
    for mode in ("host", "none", "container:other"):
        with pytest.raises(BadOption):
            make(shm_size="1m", ipc=mode)


def test_pid_host_shows_the_machines_proc():
    assert mount(make(pid="host"), "/proc")["type"] == "bind"
    assert mount(make(pid="container:x"), "/proc")["type"] == "proc"


def test_read_only():
    spec = make(read_only=True)
    assert spec["root"]["readonly"] is True and make()["root"]["readonly"] is False
    for path in ("/run", "/tmp", "/var/tmp"):
        assert mount(spec, path)["type"] == "tmpfs"
        assert options(spec, path) == ["rw", "nosuid", "nodev", "tmpcopyup"]
    assert "ro" not in options(spec, "/dev") + options(spec, "/dev/shm")
    bare = make(read_only=True, read_only_tmpfs=False)
    assert mount(bare, "/tmp") is None
    assert "ro" in options(bare, "/dev") and "ro" in options(bare, "/dev/shm")
    assert make(read_only_tmpfs=False) == make()


def test_files_of_the_engine():
    files = {"/etc/hosts": "/c/hosts", "/run/.containerenv": "/c/containerenv"}
    spec = make(facts={"files": files})
    assert mount(spec, "/etc/hosts") == {
        "destination": "/etc/hosts", "type": "bind", "source": "/c/hosts",
        "options": ["bind", "rprivate"],
    }  # fmt: skip
    assert "ro" in options(make(facts={"files": files}, read_only=True), "/etc/hosts")


# --- -v ------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "work").mkdir()
    return tmp_path


def volume(data, text, **facts):
    return make(volume=text.replace("SRC", f"{data}/data"),
                facts={"cwd": str(data), **facts})


@pytest.mark.parametrize("text, wanted", [
    ("SRC:/x", ["rbind", "rprivate"]),
    ("SRC:/x:ro", ["rbind", "rprivate", "ro"]),
    ("SRC:/x:rw,z", ["rbind", "rprivate", "rw"]),
    ("SRC:/x:Z,U,noexec", ["rbind", "rprivate", "noexec"]),
    ("SRC:/x:bind,rslave", ["bind", "rslave"]),
    ("SRC:/x:rslave", ["rbind", "rslave"]),
    ("SRC:/x:nodev,nosuid,noexec,ro", ["rbind", "rprivate", "nodev", "nosuid", "noexec", "ro"]),
    ("SRC:/x:dev,exec,suid", ["rbind", "rprivate", "dev", "exec", "suid"]),
    ("./data:/x", ["rbind", "rprivate"]),
    ("./file:/x", ["rbind", "rprivate"]),
    (".:/x", ["rbind", "rprivate"]),
    ("SRC:/y/../x/:ro,ro", ["rbind", "rprivate", "ro"]),
])  # fmt: skip
def test_binds(data, text, wanted):
    spec = volume(data, text)
    entry = mount(spec, "/x")
    assert entry["type"] == "bind" and sorted(entry["options"]) == sorted(wanted)
    assert os.path.isabs(entry["source"]) and os.path.exists(entry["source"])
    assert entry.get("chown") == ("user" if ",U" in text else None)
    assert spec["rl"]["volumes"] == [entry]


@pytest.mark.parametrize("text, source, copy", [
    ("name:/x", "name", True), ("a.b-c_d:/x:ro", "a.b-c_d", True), ("/x", "", True),
    ("name:/x:nocopy", "name", False), ("name:/x:copy", "name", True),
])  # fmt: skip
def test_named_volumes(text, source, copy):
    entry = mount(make(volume=text), "/x")
    assert entry["type"] == "volume" and entry["source"] == source and entry["copy"] is copy
    assert entry.get("anonymous", False) == (not source)
    assert {"nosuid", "nodev", "rbind", "rprivate"} <= set(entry["options"])


def test_a_volume_may_have_what_is_asked_for():
    words = options(make(volume="name:/x:suid,dev"), "/x")
    assert {"suid", "dev"} <= set(words) and not {"nosuid", "nodev"} & set(words)


def test_overlays(data):
    entry = mount(volume(data, "SRC:/x:O"), "/x")
    assert entry["type"] == "overlay" and entry["source"] == f"{data}/data"
    text = f"SRC:/x:O,upperdir={data}/work,workdir=./data"
    entry = mount(volume(data, text), "/x")
    assert entry["upper"] == f"{data}/work" and entry["work"] == f"{data}/data"


def test_an_overlay_of_a_volume_is_a_volume(data):
    entry = mount(make(volume="name:/x:O"), "/x")
    assert (entry["type"], entry["source"], entry["layered"]) == ("volume", "name", True)
    entry = mount(volume(data, f"name:/x:O,upperdir={data}/work,workdir=./data"), "/x")
    assert entry["upper"] == f"{data}/work" and entry["options"] == []


@pytest.mark.parametrize("text", [
    "", ":/x", "name:/x:O,ro", "name:/x:O,nocopy", "name:/x:O,workdir=./work",
    "SRC:", "SRC:x", "SRC:/x:ro:rw", "SRC:/x:ro,rw", "SRC:/x:dev,nodev", "SRC:/x:O,ro",
    "SRC:/x:O,U", "SRC:/x:O,upperdir=./work", "SRC:/x:upperdir=./work", "SRC:/x:copy", "SRC:/x:foo",
    "SRC:/x:", "SRC:/x:rslave,rprivate", "name:/x:rslave", "na me:/x", "-name:/x", "a/b:/x", "x",
    "SRC:/", "SRC:/x/..", "SRC:/x:bind,rbind", "SRC:/x:rw=1",
])  # fmt: skip
def test_bad_volumes(data, text):
    with pytest.raises(BadOption) as caught:
        volume(data, text)
    assert caught.value.message.startswith("--volume") and caught.value.exit_code == 125


def test_sources_that_are_not_there(data):
    with pytest.raises(volumes.NoSource) as caught:
        volume(data, "./absent:/x")
    assert f"{data}/absent" in caught.value.message and "mkdir -p" in caught.value.advice


def test_idmap_is_not_possible(data):
    for text in ("SRC:/x:idmap", "SRC:/x:idmap=uids=0-1-2"):
        with pytest.raises(volumes.NoIdmap):
            volume(data, text)
    with pytest.raises(volumes.NoIdmap):
        make(mount=f"type=bind,src={data}/data,dst=/x,idmap")


def test_labels_where_selinux_is_on(data):
    for text in ("SRC:/x:z", "SRC:/x:Z", "name:/x:z"):
        with pytest.raises(volumes.NoRelabel) as caught:
            volume(data, text, selinux=True)
        assert "chcon" in caught.value.advice
    with pytest.raises(volumes.NoRelabel):
        make(mount=f"type=bind,src={data}/data,dst=/x,relabel=shared", facts={"selinux": True})


def test_shared_is_told_to_stay_inside(data):
    assert len(volume(data, "SRC:/x:rshared")["rl"]["warnings"]) == 1
    assert volume(data, "SRC:/x:rslave")["rl"]["warnings"] == []


@pytest.mark.parametrize("more", [
    {"volume": ("a:/x", "b:/x/")},
    {"volume": "a:/x", "tmpfs": "/x"},
    {"volume": "a:/x", "mount": "type=tmpfs,dst=/x"},
    {"tmpfs": ("/x", "/y/../x")},
])  # fmt: skip
def test_duplicates(more):
    with pytest.raises(volumes.Duplicate):
        make(**more)


# --- --mount -------------------------------------------------------------------------------


def mounted(data, text):
    return mount(make(mount=text.replace("SRC", f"{data}/data"), facts={"cwd": str(data)}), "/x")


@pytest.mark.parametrize("text, kind, source, words", [
    ("type=bind,src=SRC,dst=/x", "bind", "SRC", {"rbind", "rprivate"}),
    ("type=bind,source=./data,target=/x,ro", "bind", "SRC", {"rbind", "rprivate", "ro"}),
    ("type=bind,source=./data,destination=/x,readonly=true", "bind", "SRC",
     {"rbind", "rprivate", "ro"}),
    ("type=bind,src=SRC,dst=/x,ro=false", "bind", "SRC", {"rbind", "rprivate", "rw"}),
    ("type=bind,src=SRC,dst=/x,bind-propagation=rslave,bind-nonrecursive", "bind", "SRC",
     {"bind", "rslave"}),
    ("type=bind,src=SRC,dst=/x,bind-nonrecursive=false,relabel=private,idmap=false", "bind", "SRC",
     {"rbind", "rprivate"}),
    ("type=bind,src=SRC,dst=/x,noexec,nosuid", "bind", "SRC",
     {"rbind", "rprivate", "noexec", "nosuid"}),
    ("type=volume,src=v,dst=/x,ro=1", "volume", "v", {"rbind", "rprivate", "nosuid", "nodev",
                                                      "ro"}),
    ("type=volume,dst=/x", "volume", "", {"rbind", "rprivate", "nosuid", "nodev"}),
    ("src=v,dst=/x", "volume", "v", {"rbind", "rprivate", "nosuid", "nodev"}),
    ("type=tmpfs,dst=/x", "tmpfs", "tmpfs", {"nosuid", "nodev", "tmpcopyup"}),
    ("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=0700,notmpcopyup,ro", "tmpfs", "tmpfs",
     {"nosuid", "nodev", "size=1048576", "mode=700", "ro"}),
    ("type=image,src=debian,dst=/x", "image", "debian", {"ro"}),
    ("type=image,src=debian,dst=/x,rw=true", "image", "debian", {"rw"}),
    ("type=image,src=debian,dst=/x,readwrite", "image", "debian", {"rw"}),
    ("type=devpts,dst=/x,uid=5,mode=600,max=8", "devpts", "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "uid=5", "mode=600", "max=8"}),
])  # fmt: skip
def test_mounts(data, text, kind, source, words):
    entry = mounted(data, text)
    assert entry["type"] == kind and set(entry["options"]) == words
    assert entry["source"] == source.replace("SRC", f"{data}/data")


def test_quoted_mounts(data):
    (data / "a,b").mkdir()
    entry = mounted(data, 'type=bind,"src=./a,b",dst=/x')
    assert entry["source"] == f"{data}/a,b"


def test_chown(data):
    assert mounted(data, "type=bind,src=SRC,dst=/x,U")["chown"] == "user"
    assert mounted(data, "type=volume,src=v,dst=/x,chown=true")["chown"] == "user"
    assert "chown" not in mounted(data, "type=tmpfs,dst=/x,U=false")


@pytest.mark.parametrize("text", [
    "", "type=nfs,dst=/x", "type=bind,dst=/x", "type=bind,src=SRC", "type=bind,src=SRC,dst=x",
    "type=bind,src=SRC,dst=/x,foo", "type=bind,src=SRC,dst=/x,ro=maybe",
    "type=bind,src=SRC,dst=/x,bind-propagation=shared;rw", "type=bind,src=SRC,dst=/x,relabel=z",
    "type=bind,src=SRC,dst=/x,bind-propagation", "type=bind,src=SRC,src=SRC,dst=/x",
    "type=bind,src=SRC,dst=/x,target=/y", "type=bind,src=SRC,dst=/x,ro,rw",
    "type=bind,src=SRC,dst=/x,tmpfs-size=1m", "type=tmpfs,src=a,dst=/x",
    "type=tmpfs,dst=/x,tmpfs-size=big", "type=tmpfs,dst=/x,tmpfs-mode=9",
    "type=tmpfs,dst=/x,tmpfs-size",
    "type=tmpfs,dst=/x,tmpcopyup,notmpcopyup", "type=tmpfs,dst=/x,tmpcopyup=false",
    "type=image,dst=/x", "type=image,src=a,dst=/x,U", "type=image,src=a,dst=/x,noexec",
    "type=image,src=a,dst=/x,rw,ro", "type=volume,src=a/b,dst=/x", "type=devpts,dst=/x,mode=999",
    "type=devpts,dst=/x,ro", "type=bind,src=SRC,dst=/", "type=bind,,dst=/x", '"type=bind',
    "type=volume,src=v,dst=/x,volume-opt=o=bind",
])  # fmt: skip
def test_bad_mounts(data, text):
    with pytest.raises(BadOption):
        mounted(data, text)


# --- --tmpfs -------------------------------------------------------------------------------


@pytest.mark.parametrize("text, words", [
    ("/x", ["nosuid", "nodev", "tmpcopyup"]),
    ("/x:", ["nosuid", "nodev", "tmpcopyup"]),
    ("/x:rw,size=787448k,mode=1777", ["rw", "size=806346752", "mode=1777", "nosuid", "nodev",
                                      "tmpcopyup"]),
    ("/x:size=50%,noexec,notmpcopyup", ["size=50%", "noexec", "nosuid", "nodev"]),
    ("/x:suid,dev,exec,nr_inodes=1k,uid=5,gid=6,noatime",
     ["suid", "dev", "exec", "nr_inodes=1024", "uid=5", "gid=6", "noatime", "tmpcopyup"]),
])  # fmt: skip
def test_tmpfs(text, words):
    entry = mount(make(tmpfs=text), "/x")
    assert entry["type"] == "tmpfs" and sorted(entry["options"]) == sorted(words)


@pytest.mark.parametrize("text", ["", "x", "/", "/x:foo", "/x:size", "/x:size=", "/x:size=0%",
                                  "/x:size=101%", "/x:mode=8", "/x:mode=77777", "/x:ro,rw",
                                  "/x:tmpcopyup,notmpcopyup", "/x:uid=-1", "/x:mpol=bind"])
def test_bad_tmpfs(text):
    with pytest.raises(BadOption):
        make(tmpfs=(text,))


# --- the image's, other containers' ----------------------------------------------------------

VOLUMES = {"Cmd": ["a"], "Volumes": {"/data": {}, "rel/../x": {}}}


def test_volumes_of_the_image():
    spec = make(image=VOLUMES)
    for path in ("/data", "/x"):
        entry = mount(spec, path)
        assert entry["type"] == "volume" and entry["anonymous"] and entry["source"] == ""
    assert make(image=VOLUMES, image_volume="bind") == spec
    assert mount(make(image=VOLUMES, image_volume="tmpfs"), "/data")["type"] == "tmpfs"
    assert mount(make(image=VOLUMES, image_volume="ignore"), "/data") is None


def test_the_user_wins_over_the_image():
    spec = make(image=VOLUMES, volume="mine:/data")
    assert mount(spec, "/data")["source"] == "mine" and mount(spec, "/x")["anonymous"]


@pytest.mark.parametrize("path", ["/", "", "..", "/..", "/.", "/a\nb", " "])
def test_bad_volumes_of_an_image(path):
    image = {"Cmd": ["a"], "Volumes": {path: {}}}
    with pytest.raises(BadOption) as caught:
        make(image=image)
    assert "--image-volume ignore" in caught.value.advice
    assert make(image=image, image_volume="ignore")


def theirs(name):
    assert name == "other"
    return [
        {"destination": "/data", "type": "volume", "source": "v", "options": ["rbind", "ro"]},
        {"destination": "/host", "type": "bind", "source": "/h", "options": ["rbind"],
         "chown": "user"},
    ]  # fmt: skip


def test_volumes_from():
    spec = make(volumes_from="other", others=theirs)
    assert mount(spec, "/data")["source"] == "v" and "ro" in options(spec, "/data")
    assert "chown" not in mount(spec, "/host")
    spec = make(volumes_from="other:rw,z", others=theirs)
    assert "rw" in options(spec, "/data") and "ro" not in options(spec, "/data")
    assert "ro" in options(make(volumes_from="other:ro", others=theirs), "/host")
    spec = make(volumes_from="other", volume="mine:/data", image=VOLUMES, others=theirs)
    assert mount(spec, "/data")["source"] == "mine" and mount(spec, "/host")
    for bad in ("other:x", "other:ro,rw"):
        with pytest.raises(BadOption):
            make(volumes_from=bad, others=theirs)
    with pytest.raises(volumes.NoRelabel):
        make(volumes_from="other:z", others=theirs, facts={"selinux": True})


def test_chains_of_volumes_from():
    first = make(volume="v:/a", tmpfs="/t")
    second = make(volumes_from="one", volume="w:/b", others=lambda name: first["rl"]["volumes"])
    third = make(volumes_from="two", others=lambda name: second["rl"]["volumes"])
    assert {entry["source"] for entry in third["rl"]["volumes"]} == {"v", "w"}


# --- order ---------------------------------------------------------------------------------


def test_what_lies_deeper_comes_later():
    spec = make(volume=("a:/x/y/z", "b:/x", "c:/x/y", "d:/proc/x", "e:/dev/shm/x"),
                read_only=True)
    seen = [entry["destination"] for entry in spec["mounts"]]
    for path in seen:
        for above in seen:
            if path.startswith(above.rstrip("/") + "/"):
                assert seen.index(above) < seen.index(path)


def test_a_mount_of_the_users_replaces_ours():
    files = {"/etc/hosts": "/c/hosts"}
    spec = make(volume=("a:/etc/hosts", "b:/dev/shm", "c:/tmp", "d:/proc"), read_only=True,
                facts={"files": files})
    for path, source in (("/etc/hosts", "a"), ("/dev/shm", "b"), ("/tmp", "c"), ("/proc", "d")):
        assert mount(spec, path)["source"] == source


def test_a_dev_of_the_users_is_left_alone():
    spec = make(volume=("/dev:/dev", "v:/dev/mine"))
    below = [e["destination"] for e in spec["mounts"] if e["destination"].startswith("/dev/")]
    assert below == ["/dev/mine"]


# --- anything at all -------------------------------------------------------------------------

WORDS = st.text(st.sampled_from("/.:,=abOUzZ-_ro\"'\\ \n\0{}*"), max_size=24) | st.text(max_size=12)


@given(WORDS, st.sampled_from(["volume", "mount", "tmpfs", "device", "volumes_from"]))
def test_any_text_is_a_mount_or_an_error(text, option):
    try:
        spec = make(**{option: (text,)}, others=lambda name: [])
    except RlError as error:
        assert error.message and error.exit_code == 125
        return
    for entry in spec["mounts"]:
        assert entry["destination"].startswith("/") and entry["destination"] != "/"
        assert "\0" not in entry["destination"] and ".." not in entry["destination"].split("/")
