"""From a specification to steps: which, and in which order."""

import pytest

from rootless.kernel import mount
from rootless.runtime import binds, ops, plan

RDONLY, NOSUID, NODEV, NOEXEC = (mount.MOUNT_ATTR_RDONLY, mount.MOUNT_ATTR_NOSUID,
                                 mount.MOUNT_ATTR_NODEV, mount.MOUNT_ATTR_NOEXEC)


def spec(*mounts, namespaces=("user", "mount", "pid", "network", "uts"), own=None, **linux):
    kinds = [entry if isinstance(entry, dict) else {"type": entry} for entry in namespaces]
    return {"linux": {"namespaces": kinds, **linux}, "mounts": list(mounts), "root": {},
            "process": {"terminal": False}, "hostname": "h", "rl": own or {}}


def mounted(destination, kind="bind", source="/src", options=(), **more):
    return {"destination": destination, "type": kind, "source": source,
            "options": list(options), **more}


def steps(document, **how):
    return plan.make_plan(document, {"driver": "clone", "path": "/r"}, "/target", **how)


def kinds(found):
    return [type(step).__name__ for step in found]


def test_the_root_comes_first():
    found = steps(spec())
    assert kinds(found) == ["MountRoot", "Loopback", "Hostname", "MountTable"]
    assert found[0].describe() == (
        "MountRoot rootfs={'driver': 'clone', 'path': '/r'} target='/target'")


@pytest.mark.parametrize("entry, gone", [
    ({"type": "network", "path": "/ns"}, "Loopback"), ({"type": "uts", "path": "/ns"}, "Hostname"),
])  # fmt: skip
def test_what_is_joined_is_left_as_it_is(entry, gone):
    assert gone not in kinds(steps(spec(namespaces=("user", "mount", entry))))
    assert gone not in kinds(steps(spec(namespaces=("user", "mount"))))


@pytest.mark.parametrize("options, attributes, clear", [
    ((), 0, 0),
    (("ro",), RDONLY, 0),
    (("ro", "rw"), 0, 0),
    (("nosuid", "nodev", "noexec", "ro"), NOSUID | NODEV | NOEXEC | RDONLY, 0),
    (("nosuid", "suid"), 0, NOSUID),
    (("noexec", "exec", "noexec"), NOEXEC, 0),
    (("relatime", "defaults", "rbind"), 0, 0),
])  # fmt: skip
def test_attributes_of_binds(options, attributes, clear):
    (bind,) = [step for step in steps(spec(mounted("/d", options=options)))
               if isinstance(step, binds.Bind)]
    assert (bind.attributes, bind.clear) == (attributes, clear)
    assert (bind.source, bind.destination) == ("/src", "/d")


@pytest.mark.parametrize("word, propagation", [
    ("rprivate", mount.MS_PRIVATE), ("slave", mount.MS_SLAVE), ("rshared", mount.MS_SHARED),
    ("unbindable", mount.MS_UNBINDABLE),
])  # fmt: skip
def test_propagation(word, propagation):
    (bind,) = [step for step in steps(spec(mounted("/d", options=[word])))
               if isinstance(step, binds.Bind)]
    assert bind.propagation == propagation and bind.recursive
    (bind,) = [step for step in steps(spec(mounted("/d", options=["bind"])))
               if isinstance(step, binds.Bind)]
    assert not bind.recursive


def test_an_unknown_option_is_refused():
    with pytest.raises(plan.BadMount, match="nosuch"):
        steps(spec(mounted("/d", options=["nosuch"])))


def test_dev_is_filled_where_it_is_ours():
    found = steps(spec(mounted("/dev", "tmpfs", "tmpfs", ["nosuid", "mode=755"])))
    names = [step.destination for step in found if isinstance(step, ops.Device)]
    assert names == ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
                     "/dev/tty"]
    assert len([step for step in found if isinstance(step, ops.Link)]) == 6
    assert not [step for step in steps(spec(mounted("/dev"))) if isinstance(step, ops.Device)]


def test_what_is_rls_own_follows_no_link():
    found = steps(spec(mounted("/proc", "proc"), mounted("/sys", "sysfs"),
                       mounted("/dev", "tmpfs"), mounted("/dev/pts", "devpts"),
                       mounted("/dev/shm", "tmpfs"), mounted("/sys/fs/cgroup", "cgroup"),
                       mounted("/run", "tmpfs"), mounted("/devices", "tmpfs")))
    plain = {step.destination: step.plain for step in found
             if isinstance(step, ops.MountFilesystem)}
    assert plain == {"/proc": True, "/sys": True, "/dev": True, "/dev/pts": True,
                     "/dev/shm": True, "/sys/fs/cgroup": True, "/run": False, "/devices": False}


def test_fallbacks_show_the_machines_own():
    found = {step.destination: step.fallback for step in steps(spec(
        mounted("/proc", "proc", options=["nosuid"]), mounted("/sys", "sysfs"),
        mounted("/dev/mqueue", "mqueue"), mounted("/p", "proc", options=["hidepid=2"])))
        if isinstance(step, ops.MountFilesystem)}  # fmt: skip
    assert found["/proc"].source == "/proc" and found["/proc"].attributes == NOSUID
    assert found["/sys"].attributes & RDONLY
    assert found["/dev/mqueue"] is None and found["/p"] is None


def test_read_only_comes_after_everything_is_made():
    document = spec(mounted("/dev", "tmpfs", options=["ro"]), mounted("/t", "tmpfs"),
                    readonlyPaths=["/proc/sys"], maskedPaths=["/proc/keys"],
                    sysctl={"net.x": "1"}, own={"softSysctl": ["net.x"], "passwd": {"a": 1}})
    document["root"]["readonly"] = True
    found = kinds(steps(document, init_path="/helpers/init"))
    order = ["PlaceFile", "Sysctl", "MountTable", "Accounts", "MountReadOnly", "RootReadOnly",
             "ReadOnly", "Mask"]
    assert [name for name in found if name in order] == order
    assert found.index("PlaceFile") > max(n for n, name in enumerate(found) if name == "Device")


@pytest.mark.parametrize("mounts, paths", [
    ([], ("/etc/passwd", "/etc/group")),
    ([mounted("/etc/passwd")], ("/etc/group",)),
    ([mounted("/etc")], None),
    ([mounted("/etc", "tmpfs")], ("/etc/passwd", "/etc/group")),
    ([mounted("/etc/passwd"), mounted("/etc/group")], None),
])  # fmt: skip
def test_accounts_of_the_user_are_left_alone(mounts, paths):
    found = [step for step in steps(spec(*mounts, own={"passwd": {"a": 1}}))
             if isinstance(step, ops.Accounts)]
    assert [step.paths for step in found] == ([paths] if paths else [])


def test_nothing_is_written_into_a_root_of_the_users():
    found = kinds(steps(spec(own={"foreignRoot": True, "passwd": {"a": 1},
                                  "texts": [{"path": "/p", "text": "t", "only_if": "/"}]})))
    assert not {"PlaceText", "MountTable", "Accounts"} & set(found)


def test_each_kind_of_mount():
    found = steps(spec(
        mounted("/o", "overlay", rootfs={"lowers": ["/l"]}, options=["ro"]),
        mounted("/dev/shm", "shm", options=["nosuid"]),
        mounted("/t", "tmpfs", options=["tmpcopyup", "size=1k", "ro"]),
        mounted("/v", copy_up="/marker", chown="user"),
    ))  # fmt: skip
    union, shared, tmpfs, volume = (
        next(step for step in found if isinstance(step, kind))
        for kind in (binds.OverlayBind, binds.SharedMemory, ops.MountFilesystem, binds.Bind)
    )
    assert union.attributes == RDONLY and shared.attributes == NOSUID
    assert tmpfs.copy_up and tmpfs.options == (("size", "1k"),) and not tmpfs.attributes
    assert (volume.copy_up, volume.chown) == ("/marker", "user")
