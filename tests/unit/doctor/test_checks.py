"""Each finding of `rl doctor`, from facts: nothing here needs the fault to exist."""

import errno

import pytest

from rootless.engine import doctor
from rootless.engine.checks import facts as f
from rootless.engine.checks import ids, layer, network, session

GOOD = {
    "ids": [{"rung": "range", "ok": True, "reason": ""}],
    "layer": [{"rung": "overlay", "ok": True, "reason": ""}],
    "network": [{"rung": "pasta", "ok": True, "reason": ""}],
    "user networks": [{"rung": "bridges", "ok": True, "reason": "a holder and one pasta"}],
}


def rungs(**broken):
    """The ladders, with the first rung of some of them failing for a reason."""
    found = {name: [dict(row) for row in rows] for name, rows in GOOD.items()}
    for name, reason in broken.items():
        found[name][0].update(ok=False, reason=reason)
        found[name].append({"rung": "lower", "ok": True, "reason": ""})
    return found


def store(**changed):
    return {**f.healthy_store(), **changed}


def programs(**changed):
    found = f.Facts().programs
    found.update({name.replace("_", "-"): value for name, value in changed.items()})
    return found


def sysctls(**changed):
    return {**f.Facts().sysctls, **{k.replace("__", "/"): v for k, v in changed.items()}}


def devices(**changed):
    names = {"fuse": "/dev/fuse", "tun": "/dev/net/tun"}
    return {**f.Facts().devices, **{names[k]: v for k, v in changed.items()}}


def group(**changed):
    return {**f.Facts().cgroup, **changed}


NO_USERNS = {"userns": errno.EPERM}
OFF_OVERLAY = {"rungs": rungs(layer="no"), "programs": programs(fuse_overlayfs=None)}
OFF_PASTA = {"rungs": rungs(network="it crashed")}
BROKEN = f.program("/usr/bin/newuidmap", 0o755)
NOSUID = f.program("/usr/bin/newuidmap", 0o4755, mount=["rw", "nosuid"])
OLD_PASTA = {"network": [{"rung": "slirp4netns", "ok": True, "reason": ""},
                         {"rung": "pasta", "ok": True, "reason": "hides refused connections"}]}
NO_PASTA = {"network": [{"rung": "pasta", "ok": False, "reason": "not installed"},
                        {"rung": "slirp4netns", "ok": True, "reason": ""}]}  # fmt: skip
NO_NETWORK = {"network": [{"rung": "pasta", "ok": False, "reason": "x"},
                          {"rung": "none", "ok": True, "reason": ""}]}  # fmt: skip
TMP = {"path": "/tmp/rl-1000", "rung": "/tmp", "error": None,
       "tries": [["XDG_RUNTIME_DIR", "/run/user/5", "belongs to uid 5, not to uid 1000"],
                 ["/run/user", "/run/user/1000", "does not exist"],
                 ["/tmp", "/tmp/rl-1000", None]]}  # fmt: skip
BARE = {**TMP, "tries": [["XDG_RUNTIME_DIR", "", "is not set"], ["/tmp", "/tmp/rl-1000", None]]}
TAKEN = {"path": None, "rung": None, "tries": [],
         "error": "a runtime directory that isn't ours: /tmp/rl-1000 belongs to uid 7"}  # fmt: skip
OUT = {"systemd": True, "bus": False, "linger": True, "trouble": None}
NO_SYSTEMD = {"systemd": False, "bus": False, "linger": False, "trouble": None}

# (facts, name of the finding, its level, words of the cause or evidence, words of the fix)
CASES = [
    # ids
    ({**NO_USERNS, "sysctls": sysctls(kernel__unprivileged_userns_clone="0")},
     "userns-clone-off", "fatal", "unprivileged_userns_clone = 0", "userns_clone=1"),
    ({**NO_USERNS, "sysctls": sysctls(user__max_user_namespaces="0")},
     "userns-limit", "fatal", "allows no user namespaces", "max_user_namespaces=65536"),
    ({"userns": errno.ENOSPC, "sysctls": sysctls(user__max_user_namespaces="40")},
     "userns-limit", "fatal", "used up", "max_user_namespaces"),
    ({**NO_USERNS, "sysctls": sysctls(kernel__apparmor_restrict_unprivileged_userns="1")},
     "userns-apparmor", "fatal", "AppArmor", "apparmor_restrict_unprivileged_userns=0"),
    ({"sysctls": sysctls(kernel__apparmor_restrict_unprivileged_userns="1"),
      "rungs": rungs(ids="newuidmap: write failed")},
     "userns-apparmor-powerless", "missing", "write failed", "userns=0"),
    ({**NO_USERNS, "single_root": False}, "userns-chroot", "fatal", "chroot", "nspawn"),
    ({**NO_USERNS, "seccomp": 2, "container": "/.dockerenv"},
     "userns-seccomp", "fatal", "/.dockerenv", "seccomp=unconfined"),
    (NO_USERNS, "userns-refused", "fatal", "EPERM", "CONFIG_USER_NS"),
    ({"subuid": []}, "no-subuid", "missing", "no line for alice", "--add-subuids 100000-165535"),
    ({"subuid": None}, "no-subuid", "missing", "does not exist", "usermod"),
    ({"subgid": [(1, "bob:100000:65536")]},
     "no-subgid", "missing", "/etc/subgid: no line for alice", "--add-subgids 165536-231071"),
    ({"subuid": [(2, "alice:one:2")]}, "no-subuid", "missing", "/etc/subuid:2: not", "usermod"),
    ({"subuid": [], "subid_source": "sss"}, "no-subuid", "missing", "subid: sss", "usermod"),
    ({"subuid": [], "user": None}, "no-subuid", "missing", "uid 1000 has no name", "1000"),
    ({"subuid": [(3, "1000:100000:1000")]},
     "subuid-short", "warn", "/etc/subuid:3", "--add-subuids 101000-"),
    ({"subgid": [(1, "alice:100000:65536"), (2, "bob:165000:65536")]},
     "subgid-shared", "warn", "/etc/subgid:2: bob", "edit /etc/subgid"),
    ({"uid_map": [[0, 1000, 1], [1, 100000, 65536]]},
     "subuid-unmapped", "missing", "alice:100000:65536", "within"),
    ({"programs": programs(newuidmap=None)}, "no-newuidmap", "missing", "not found", "uidmap"),
    ({"programs": programs(newgidmap=None)}, "no-newgidmap", "missing", "not found", "uidmap"),
    ({"programs": programs(newuidmap=BROKEN)},
     "newuidmap-powerless", "missing", "mode 0755", "setcap cap_setuid+ep /usr/bin/newuidmap"),
    ({"programs": programs(newuidmap=NOSUID)},
     "newuidmap-nosuid", "missing", "nosuid", "remount,suid"),
    ({"no_new_privs": 1}, "no-new-privs", "missing", "NoNewPrivs: 1", "allowPrivilegeEscalation"),
    ({"bounding": 0x80}, "bounding-set", "missing", "CAP_SETGID can't", "--cap-add"),
    # the store and the writable layer
    ({"store": store(error="Stale file handle")},
     "store-unreachable", "fatal", "Stale file handle", "RL_ROOT"),
    ({"store": store(path=None, error="there is no home directory")},
     "store-unreachable", "fatal", "no home directory", "RL_ROOT"),
    ({"store": store(owner=0)}, "store-owner", "fatal", "uid 0", "chown 1000"),
    ({"store": store(write=errno.EDQUOT)}, "store-unwritable", "fatal", "quota", "setquota"),
    ({"store": store(write=errno.ENOSPC)}, "store-unwritable", "fatal", "full", "system prune"),
    ({"store": store(write=errno.EROFS)},
     "store-unwritable", "fatal", "read-only", "remount,rw /home/alice"),
    ({"store": store(write=errno.EACCES)}, "store-unwritable", "fatal", "EACCES", "RL_ROOT"),
    ({"store": store(options=["rw", "noexec"])}, "store-noexec", "fatal", "noexec", "remount,exec"),
    ({"store": store(options=["rw", "nosuid"])}, "store-nosuid", "warn", "nosuid", "remount,suid"),
    ({"store": store(type="nfs4")}, "store-network", "warn", "(nfs4)", "RL_ROOT"),
    ({"store": store(type="lustre")}, "store-network", "warn", "(lustre)", "RL_ROOT"),
    ({"store": store(type="tmpfs")}, "store-memory", "warn", "in memory", "RL_ROOT"),
    ({"store": store(free=500 << 20)}, "disk-low", "warn", "500 MiB", "system prune"),
    ({"store": store(free=1 << 20)}, "disk-full", "fatal", "1 MiB", "system prune"),
    ({"store": store(free_inodes=10000)}, "inodes-low", "warn", "10000 files", "system prune"),
    ({"rungs": {**rungs(), "layer size": [{"rung": "tmpfs", "ok": True, "reason": ""},
                                        {"rung": "file", "ok": False, "reason": "no fuse2fs"}]}},
     "layer-size-file", "warn", "no fuse2fs", "install fuse2fs"),
    ({"store": store(free_inodes=0)}, "inodes-full", "fatal", "0 files", "system prune"),
    ({**OFF_OVERLAY, "file_systems": ["ext4"]},
     "overlay-absent", "missing", "/proc/filesystems", "modprobe overlay"),
    ({**OFF_OVERLAY, "kernel": "5.10.0-30-amd64"}, "overlay-kernel", "missing", "5.10", "newer"),
    ({**OFF_OVERLAY, "kernel": "5.12.3", "selinux": True},
     "overlay-selinux", "missing", "SELinux", "newer kernel"),
    ({**OFF_OVERLAY, "store": store(type="ecryptfs")},
     "overlay-upper", "missing", "(ecryptfs)", "RL_ROOT"),
    ({**OFF_OVERLAY, "rungs": rungs(layer="EPERM at mount")},
     "overlay-refused", "missing", "EPERM at mount", "dmesg"),
    (OFF_OVERLAY, "fuse-overlayfs-absent", "missing", "not installed", "install fuse-overlayfs"),
    ({**OFF_OVERLAY, "devices": devices(fuse=errno.ENOENT)},
     "fuse-device-absent", "missing", "no /dev/fuse", "--device /dev/fuse"),
    ({**OFF_OVERLAY, "devices": devices(fuse=errno.EACCES)},
     "fuse-device-closed", "missing", "EACCES", "chmod 0666 /dev/fuse"),
    # network
    ({"rungs": NO_PASTA, "programs": programs(pasta=None)},
     "slirp-only", "warn", "carries less than pasta", "install passt"),
    ({"rungs": rungs(network="this machine has no default route, and pasta needs one")},
     "no-route", "warn", "no default route", "--network host"),
    ({**OFF_PASTA, "programs": programs(pasta=None, slirp4netns=None)},
     "no-pasta", "missing", "not installed", "--network host"),
    (OFF_PASTA, "pasta-refused", "missing", "it crashed", "upgrade passt"),
    ({"rungs": rungs(**{"user networks": "no bridge can be made: Operation not supported"})},
     "no-bridges", "missing", "Operation not supported", "modprobe -a bridge"),
    ({"rungs": OLD_PASTA}, "pasta-old", "warn", "hides refused", "upgrade passt"),
    ({**OFF_PASTA, "devices": devices(tun=errno.ENOENT)},
     "tun-absent", "missing", "no /dev/net/tun", "modprobe tun"),
    ({**OFF_PASTA, "devices": devices(tun=errno.EACCES)},
     "tun-closed", "missing", "EACCES", "chmod 0666 /dev/net/tun"),
    ({"sysctls": sysctls(user__max_net_namespaces="0")},
     "netns-limit", "missing", "max_net_namespaces = 0", "--network host"),
    ({"nameservers": []}, "no-nameserver", "warn", "/etc/resolv.conf", "--dns"),
    ({"nameservers": ["127.0.0.53", "::1%lo"], "rungs": NO_NETWORK},
     "nameserver-loopback", "warn", "nameserver 127.0.0.53", "--network host"),
    ({"sysctls": sysctls(net__ipv4__ip_unprivileged_port_start="1024")},
     "low-ports", "warn", "below 1024", "port_start=80"),
    ({"sysctls": sysctls(net__ipv4__ping_group_range="1\t0")},
     "ping-groups", "warn", "ping_group_range = 1 0", "0 2147483647"),
    # session
    ({"runtime": TAKEN}, "runtime-not-ours", "fatal", "belongs to uid 7", "rm -rf /tmp/rl-1000"),
    ({"runtime": TMP}, "runtime-tmp", "missing", "su and sudo", "enable-linger alice"),
    ({"runtime": BARE, "session": NO_SYSTEMD},
     "runtime-tmp", "missing", "is not set", "install -d -m 700 -o 1000 /run/user/1000"),
    ({"cgroup": group(mode="legacy")}, "cgroup-v1", "missing", "legacy", "unified_cgroup"),
    ({"cgroup": group(mode="hybrid")}, "cgroup-v1", "missing", "hybrid", "unified_cgroup"),
    ({"cgroup": group(mode="none", own=None)}, "cgroup-absent", "missing", "mounted", "mount -t"),
    ({"cgroup": group(kind="none"), "session": OUT},
     "cgroup-not-delegated", "missing", "no user manager", "enable-linger alice"),
    ({"cgroup": group(kind="none", why="no bus at /x"), "session": NO_SYSTEMD},
     "cgroup-not-delegated", "missing", "no bus at /x", "chown 1000"),
    ({"session": {**f.Facts().session, "trouble": "the user's message bus /x: it hangs"}},
     "bus-silent", "missing", "it hangs", "systemctl --user status"),
    ({"cgroup": group(delegated=["memory", "pids"])},
     "cgroup-controllers", "missing", "cpu, io, cpuset", "Delegate=cpu"),
    ({"cgroup": group(delegated=["cpu", "io", "memory"], kind="delegated", own="/ci/job")},
     "cgroup-controllers", "missing", "pids, cpuset",
     "echo '+pids +cpuset' >/sys/fs/cgroup/ci/cgroup.subtree_control"),
    ({"session": {**f.Facts().session, "linger": False}},
     "no-linger", "warn", "/var/lib/systemd/linger/alice", "enable-linger"),
    ({"clock_behind": 86400 * 40.0}, "clock", "warn", "40 days", "set-ntp"),
    ({"nofile": 1024}, "nofile", "warn", "= 1024", "524288"),
    ({"nproc": 100}, "nproc", "warn", "= 100", "65536"),
    ({"helpers": ["monitor"]}, "helpers", "fatal", "missing: monitor", "install rl again"),
    ({"seccomp_library": False}, "libseccomp", "fatal", "libseccomp.so.2", "libseccomp2"),
    ({"container": "/run/.containerenv", "uid_map": [[0, 0, 65536], [65536, 65536, 100000]]},
     "nested", "warn", "165536 ids", ""),
]  # fmt: skip


@pytest.mark.parametrize(("given", "name", "level", "says", "fix"), CASES,
                         ids=[f"{case[1]}-{n}" for n, case in enumerate(CASES)])  # fmt: skip
def test_a_fault_is_found(given, name, level, says, fix):
    found = {finding.name: finding for finding in doctor.findings(f.Facts(**given))}
    assert name in found
    finding = found[name]
    assert finding.level == level
    assert says in " ".join([finding.cause, *finding.evidence])
    assert fix in f"{finding.root} {finding.user}"
    assert finding.evidence and all(isinstance(line, str) for line in finding.evidence)
    assert finding.root or finding.user or name == "nested"


def test_every_kind_of_finding_has_a_case():
    import ast
    import inspect

    named = set()
    for module in (ids, layer, network, session):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                first = node.args[0]
                named |= set(_names(first))
    shown = {case[1] for case in CASES}
    assert named and not {name for name in named if not any(_like(name, s) for s in shown)}


def _names(node):
    """The constant names, with * for what is put in at run time."""
    import ast

    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return _names(node.body) + _names(node.orelse)
    if isinstance(node, ast.JoinedStr):
        return ["".join(v.value if isinstance(v, ast.Constant) else "*" for v in node.values)]
    if isinstance(node, ast.BinOp):
        return [f"{node.left.value}*"]
    raise AssertionError(ast.dump(node))


def _like(pattern, name):
    import fnmatch

    return fnmatch.fnmatchcase(name, pattern)


def test_a_healthy_machine_has_no_findings():
    assert doctor.findings(f.Facts(rungs=rungs())) == []


def test_root_needs_no_ranges():
    seen = f.Facts(uid=0, gid=0, user="root", subuid=None, subgid=None, rungs=rungs(),
                   store=store(owner=0))  # fmt: skip
    assert doctor.findings(seen) == []


@pytest.mark.parametrize("lines", [
    [(1, "alice:100000:30000"), (2, "alice:200000:40000")],
    [(1, "1000:100000:65536")],
    [(1, "alice:100000:65536"), (2, "bob:165536:65536"), (3, "root:1:0")],
])  # fmt: skip
def test_ranges_that_are_enough(lines):
    seen = f.Facts(subuid=lines, subgid=lines)
    assert ids.check(seen) == []


def test_file_capabilities_do_as_well_as_the_set_uid_bit():
    helper = f.program("/usr/bin/newuidmap", 0o755, caps=True)
    assert ids.check(f.Facts(programs=programs(newuidmap=helper))) == []


def test_a_range_inside_the_namespace_is_fine_when_nested():
    seen = f.Facts(uid_map=[[0, 1000, 1], [1, 500000, 1000000]])
    assert ids.check(seen) == []


def test_the_gravest_comes_first_and_decides():
    seen = f.Facts(nofile=100, no_new_privs=1, store=store(owner=0), rungs=rungs())
    found = doctor.findings(seen)
    assert [finding.level for finding in found] == ["fatal", "missing", "warn"]
    assert not doctor.able(seen, found)


def test_a_lost_rung_alone_leaves_rl_able():
    seen = f.Facts(no_new_privs=1, rungs=rungs(ids="newuidmap failed"))
    found = doctor.findings(seen)
    assert doctor.able(seen, found)


def test_a_ladder_without_any_rung_is_fatal():
    broken = rungs()
    broken["layer"] = [{"rung": "clone", "ok": False, "reason": "odd"}]
    seen = f.Facts(rungs=broken, programs=programs())
    found = doctor.findings(seen)
    assert not doctor.able(seen, found)


def test_a_lost_rung_that_no_check_explains_is_reported_with_the_probes_words():
    seen = f.Facts(rungs=rungs(ids="the moon is full"))
    found = doctor.findings(seen)
    assert [finding.name for finding in found] == ["ids-lost"]
    assert "the moon is full" in found[0].evidence[0]


def test_unknown_facts_are_refused():
    with pytest.raises(TypeError):
        f.Facts(moon="full")


def test_the_page_lists_every_finding():
    import os
    import re

    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../../docs/doctor.md"), encoding="utf-8") as file:
        rows = [line for line in file if line.startswith("| `")]
    listed = {(name, row.split("|")[2].strip()) for row in rows
              for name in re.findall(r"`([^`]+)`", row.split("|")[1])}  # fmt: skip
    shown = {(case[1], case[2]) for case in CASES}
    assert shown <= listed

    def base(names):
        return {name.replace("gid", "uid", 1) for name, _ in names}

    assert base(listed) == base(shown)
