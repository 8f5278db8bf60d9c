"""Capabilities, masks, filters, --security-opt, --privileged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine.spec.security import DEFAULT_CAPS, NoSuchSecurityOption, NotAvailable
from rootless.engine.spec.values import BadOption
from rootless.kernel import caps
from rootless.runtime.profile import BadProfile
from unit.spec.making import make, mount, options

ALL = caps.ALL
RAW = caps.parse("NET_RAW")


def sets(process, key="capabilities"):
    """(bounding, permitted, effective, inheritable, ambient) as ints."""
    return caps.sets_of(process[key])


def test_default_of_root():
    assert DEFAULT_CAPS == 0x800405FB
    process = make()["process"]
    assert sets(process) == (DEFAULT_CAPS, DEFAULT_CAPS, DEFAULT_CAPS, 0, 0)
    assert sets(process, "userCapabilities") == (DEFAULT_CAPS, 0, 0, 0, 0)


@pytest.mark.parametrize("user, root", [
    (None, True), ("root", True), ("0", True), ("0:5", True), ("root:adm", True), ("00", True),
    ("1", False), ("ann", False), ("1000:0", False),
])  # fmt: skip
def test_who_is_root(user, root):
    process = make(user=user)["process"]
    assert (sets(process)[1] != 0) == root


@pytest.mark.parametrize("add, drop, bounding", [
    ((), (), DEFAULT_CAPS),
    (("NET_RAW",), (), DEFAULT_CAPS | RAW),
    (("net_raw", "CAP_NET_RAW"), (), DEFAULT_CAPS | RAW),
    (("all",), (), ALL),
    ((), ("all",), 0),
    (("NET_RAW",), ("all",), RAW),
    (("all",), ("NET_RAW",), ALL & ~RAW),
    ((), ("CHOWN",), DEFAULT_CAPS & ~1),
    ((), ("NET_RAW",), DEFAULT_CAPS),
])  # fmt: skip
def test_add_and_drop(add, drop, bounding):
    process = make(cap_add=add, cap_drop=drop)["process"]
    assert sets(process) == (bounding, bounding, bounding, 0, 0)
    mine = caps.union(add) & bounding
    assert sets(process, "userCapabilities") == (bounding, mine, mine, mine, mine)


@pytest.mark.parametrize("add, drop", [(("NET_RAW",), ("NET_RAW",)), (("all",), ("all",))])
def test_added_and_dropped(add, drop):
    with pytest.raises(BadOption):
        make(cap_add=add, cap_drop=drop)


@pytest.mark.parametrize("option", ["cap_add", "cap_drop"])
def test_unknown(option):
    with pytest.raises(caps.UnknownCapability):
        make(**{option: "FLY"})


def test_what_the_kernel_has_not():
    known = (1 << 38) - 1
    process = make(cap_add="all", facts={"capabilities": known})["process"]
    assert caps.union(process["capabilities"]["bounding"]) == known


@pytest.mark.parametrize("label, bounding", [
    ("CHOWN", 1), ("CAP_CHOWN,KILL", 0x21), ("", 0), ("NET_ADMIN,SYS_ADMIN", 0),
    ("NET_ADMIN,CHOWN", 1), ("nonsense, chown", 1), ("all", DEFAULT_CAPS),
])  # fmt: skip
def test_an_image_can_only_take_away(label, bounding):
    image = {"Cmd": ["a"], "Labels": {"io.containers.capabilities": label}}
    assert sets(make(image=image)["process"])[0] == bounding
    added = make(image=image, cap_add="NET_RAW")["process"]
    assert sets(added)[0] == bounding | RAW


@given(st.text())
def test_no_label_gives_anything(label):
    image = {"Cmd": ["a"], "Labels": {"io.containers.capabilities": label, "x": "y"}}
    assert sets(make(image=image)["process"])[0] & ~DEFAULT_CAPS == 0


def test_image_metadata_does_not_steer():
    labels = {"io.containers.seccomp.profile": "unconfined", "run.oci.keep_original_groups": "1",
              "io.podman.annotations.privileged": "TRUE", "io.kubernetes.cri-o.Devices": "/dev/x"}
    plain = make(image={"Cmd": ["a"]})
    steered = make(image={"Cmd": ["a"], "Labels": labels})
    assert steered["rl"].pop("labels") == labels
    plain["rl"].pop("labels")
    assert steered == plain and steered["annotations"] == {}


# --- paths ---------------------------------------------------------------------------------

MASKED = {
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/interrupts", "/sys/firmware",
    "/sys/fs/selinux", "/sys/devices/virtual/powercap",
}  # fmt: skip
READ_ONLY = {"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
             "/proc/sysrq-trigger"}
THROTTLE = "/sys/devices/system/cpu/cpu0/thermal_throttle"


def paths(**more):
    linux = make(**more)["linux"]
    return set(linux["maskedPaths"]), set(linux["readonlyPaths"])


def test_masks():
    assert paths() == (MASKED, READ_ONLY)
    assert paths(facts={"throttles": (THROTTLE,)})[0] == MASKED | {THROTTLE}
    assert paths(network="host")[0] == MASKED | {"/sys/kernel"}
    assert paths(privileged=True) == (set(), set())


@pytest.mark.parametrize("pattern, opened", [
    ("ALL", MASKED | READ_ONLY), ("all", MASKED | READ_ONLY),
    ("/proc/acpi", {"/proc/acpi"}), ("/proc/acpi/", {"/proc/acpi"}),
    ("/proc/*", {path for path in MASKED | READ_ONLY if path.startswith("/proc/")}),
    ("/proc/s*", {"/proc/sched_debug", "/proc/scsi", "/proc/sys", "/proc/sysrq-trigger"}),
    ("/proc/acpi:/sys/firmware", {"/proc/acpi", "/sys/firmware"}),
    ("/*", set()), ("/pro", set()), ("/proc", set()),
])  # fmt: skip
def test_unmask(pattern, opened):
    masked, read_only = paths(security_opt=f"unmask={pattern}")
    assert (masked, read_only) == (MASKED - opened, READ_ONLY - opened)


def test_systempaths_is_dockers_word():
    assert paths(security_opt="systempaths=unconfined") == (set(), set())


def test_mask():
    assert paths(security_opt="mask=/a:/b/../c")[0] == MASKED | {"/a", "/c"}
    assert paths(security_opt="mask=/a", privileged=True)[0] == {"/a"}
    with pytest.raises(BadOption):
        make(security_opt="mask=a")


# --- other options -------------------------------------------------------------------------


@pytest.mark.parametrize("text, on", [
    ("no-new-privileges", True), ("no-new-privileges=true", True), ("no-new-privileges:true", True),
    ("no-new-privileges=false", False),
])  # fmt: skip
def test_no_new_privileges(text, on):
    assert make(security_opt=text)["process"]["noNewPrivileges"] is on


def test_no_new_privileges_is_off_by_default():
    assert make()["process"]["noNewPrivileges"] is False
    with pytest.raises(BadOption):
        make(security_opt="no-new-privileges=maybe")


@pytest.mark.parametrize("text", ["", "x", "seccomp", "seccomp=", "mask=", "unmask", "label", "=x",
                                  "systempaths=all", "proc-opts=", "credentialspec=x"])
def test_unknown_options(text):
    with pytest.raises(NoSuchSecurityOption):
        make(security_opt=(text,))


@pytest.mark.parametrize("text", ["label=type:spc_t", "label=user:u", "label=nested",
                                  "label=level:s0",
                                  "apparmor=mine", "apparmor:mine"])
@pytest.mark.parametrize("facts", [{}, {"selinux": True, "apparmor": True}])
def test_what_cannot_be_had_is_an_error(text, facts):
    with pytest.raises(NotAvailable) as caught:
        make(security_opt=text, facts=facts)
    assert caught.value.exit_code == 125 and caught.value.advice


@pytest.mark.parametrize("text", ["label=disable", "label:disable", "apparmor=unconfined"])
def test_what_is_so_anyhow(text):
    assert make(security_opt=text) == make()


@pytest.mark.parametrize("text", ["hidepid=2", "subset=pid", "hidepid=invisible,subset=pid",
                                  "gid=5"])
def test_proc_options(text):
    assert options(make(security_opt=f"proc-opts={text}"), "/proc")[3:] == text.split(",")


@pytest.mark.parametrize("text", ["hidepid=9", "subset=net", "rw", "gid=x", "hidepid"])
def test_bad_proc_options(text):
    with pytest.raises(BadOption):
        make(security_opt=f"proc-opts={text}")


def test_proc_options_of_the_machine():
    with pytest.raises(BadOption):
        make(security_opt="proc-opts=hidepid=2", pid="host")


# --- filters -------------------------------------------------------------------------------


def test_seccomp(tmp_path):
    assert make()["rl"]["seccomp"] == "default"
    assert make(security_opt="seccomp=unconfined")["rl"]["seccomp"] == "unconfined"
    assert make(security_opt="seccomp:unconfined")["rl"]["seccomp"] == "unconfined"
    assert make(privileged=True)["rl"]["seccomp"] == "unconfined"
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["chdir"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_NET_RAW"]}}]}
    (tmp_path / "p.json").write_text(json.dumps(profile))
    for path, facts in ((f"{tmp_path}/p.json", {}), ("p.json", {"cwd": str(tmp_path)})):
        spec = make(security_opt=f"seccomp={path}", facts=facts,
                    privileged=True, cap_drop="NET_RAW")
        assert spec["rl"]["seccomp"] == "profile"
        assert spec["linux"]["seccomp"]["syscalls"] == []
    spec = make(security_opt=f"seccomp={path}", facts=facts, cap_add="NET_RAW")
    assert spec["linux"]["seccomp"]["syscalls"][0]["names"] == ["chdir"]


def test_a_bad_profile(tmp_path):
    with pytest.raises(BadProfile):
        make(security_opt=f"seccomp={tmp_path}/absent")


# --- privileged ----------------------------------------------------------------------------


def test_privileged():
    spec = make(privileged=True)
    process = spec["process"]
    assert sets(process) == (ALL, ALL, ALL, 0, 0)
    assert sets(process, "userCapabilities") == (ALL, 0, 0, 0, 0)
    assert process["noNewPrivileges"] is False
    assert "rw" in options(spec, "/sys") and "ro" not in options(spec, "/sys")
    assert "rw" in mount(spec, "/sys/fs/cgroup")["options"]
    for path in ("/proc", "/sys"):
        assert {"nosuid", "noexec", "nodev"} <= set(options(spec, path))
    paths = [entry["path"] for entry in spec["linux"]["devices"]]
    assert not {"/dev/null", "/dev/console", "/dev/ptmx", "/dev/tty", "/dev/tty1"} & set(paths)
    assert not [path for path in paths if path.startswith(("/dev/pts", "/dev/shm"))]


def test_privileged_keeps_what_was_taken_away():
    spec = make(privileged=True, cap_drop="NET_RAW", security_opt="no-new-privileges")
    assert sets(spec["process"])[0] == ALL & ~RAW and spec["process"]["noNewPrivileges"]

