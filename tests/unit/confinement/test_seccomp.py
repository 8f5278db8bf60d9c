"""Profiles of other people, and the directory of compiled programs."""

import errno
import json
import os
import subprocess
import sys

import pyseccomp
import pytest

from rootless.errors import RlError
from rootless.kernel import caps
from rootless.kernel import seccomp as kernel
from rootless.model.idmap import Ids, stack
from rootless.runtime import profile as profiles
from rootless.runtime import seccomp
from unit.confinement import bpf

ALLOW_ALL = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}


def write(tmp_path, profile):
    path = tmp_path / "profile.json"
    path.write_text(profile if isinstance(profile, str) else json.dumps(profile))
    return str(path)


def deny(*names, **more):
    return {**ALLOW_ALL, "syscalls": [{"names": list(names), "action": "SCMP_ACT_ERRNO", **more}]}


def verdict(profile, name, *args):
    program = profiles.compile(profile)
    nr = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    return bpf.run(program, pyseccomp.system_arch() & 0xFFFFFFFF, nr, args)


# --- formats -------------------------------------------------------------------------------


def test_oci_format(tmp_path):
    path = write(tmp_path, deny("mkdir", "mkdirat", errnoRet=errno.EXDEV))
    profile = profiles.resolve_profile(path, 0)
    assert bpf.error(verdict(profile, "mkdirat")) == errno.EXDEV
    assert bpf.error(verdict(profile, "read")) is None


def test_errno_is_eperm_unless_said(tmp_path):
    profile = profiles.resolve_profile(write(tmp_path, deny("mkdirat")), 0)
    assert bpf.error(verdict(profile, "mkdirat")) == errno.EPERM


def test_names_of_errors_and_the_first_format(tmp_path):
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
        "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"},
                     {"names": ["write"], "action": "SCMP_ACT_ERRNO", "errno": "EACCES"}],
    }  # fmt: skip
    resolved = profiles.resolve_profile(write(tmp_path, profile), 0)
    assert bpf.error(verdict(resolved, "read")) is None
    assert bpf.error(verdict(resolved, "write")) == errno.EACCES
    assert bpf.error(verdict(resolved, "close")) == errno.ENOSYS


@pytest.mark.parametrize("action, value", [
    ("SCMP_ACT_KILL", 0), ("SCMP_ACT_KILL_THREAD", 0), ("SCMP_ACT_KILL_PROCESS", 0x80000000),
    ("SCMP_ACT_TRAP", 0x00030000), ("SCMP_ACT_LOG", 0x7FFC0000),
])  # fmt: skip
def test_actions(action, value):
    profile = {**ALLOW_ALL, "syscalls": [{"names": ["chdir"], "action": action}]}
    assert verdict(profile, "chdir") == value
    assert verdict(profile, "read") == bpf.ALLOW


def test_trace_carries_its_number():
    rule = {"names": ["chdir"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}
    assert verdict({**ALLOW_ALL, "syscalls": [rule]}, "chdir") == 0x7FF00007


@pytest.mark.parametrize("op, value, two, matching, other", [
    ("EQ", 7, 0, 7, 8), ("NE", 7, 0, 8, 7), ("LT", 7, 0, 6, 7), ("LE", 7, 0, 7, 8),
    ("GE", 7, 0, 7, 6), ("GT", 7, 0, 8, 7), ("MASKED_EQ", 0xF0, 0x20, 0x2F, 0x3F),
])  # fmt: skip
def test_operators(op, value, two, matching, other):
    arg = {"index": 1, "value": value, "valueTwo": two, "op": f"SCMP_CMP_{op}"}
    profile = deny("ioctl", args=[arg])
    assert bpf.error(verdict(profile, "ioctl", 0, matching)) == errno.EPERM
    assert bpf.error(verdict(profile, "ioctl", 0, other)) is None


def test_all_arguments_have_to_match():
    args = [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"},
            {"index": 2, "value": 4, "op": "SCMP_CMP_EQ"}]  # fmt: skip
    profile = deny("ioctl", args=args)
    assert bpf.error(verdict(profile, "ioctl", 3, 0, 4)) == errno.EPERM
    assert bpf.error(verdict(profile, "ioctl", 3, 0, 5)) is None


# --- conditions ----------------------------------------------------------------------------


def rule(**conditions):
    return {"names": ["chdir"], "action": "SCMP_ACT_ERRNO", **conditions}


@pytest.mark.parametrize("conditions, applies", [
    ({}, True),
    ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
    ({"includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}}, False),
    ({"includes": {"caps": ["CAP_OF_THE_FUTURE"]}}, False),
    ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
    ({"excludes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}}, False),
    ({"excludes": {"caps": ["CAP_BPF"]}}, True),
    ({"includes": {"arches": ["arm64", "amd64"]}}, True),
    ({"includes": {"arches": ["arm64"]}}, False),
    ({"excludes": {"arches": ["amd64"]}}, False),
    ({"includes": {"minKernel": "4.8"}}, True),
    ({"includes": {"minKernel": "6.1"}}, True),
    ({"includes": {"minKernel": "6.2"}}, False),
    ({"excludes": {"minKernel": "6.2"}}, True),
    ({"includes": {}, "excludes": None}, True),
])  # fmt: skip
def test_conditions(tmp_path, conditions, applies):
    path = write(tmp_path, {**ALLOW_ALL, "syscalls": [rule(**conditions)]})
    bounding = caps.parse("SYS_ADMIN")
    found = profiles.resolve_profile(path, bounding, machine="x86_64", release="6.1.0-18-amd64")
    assert len(found["syscalls"]) == applies


def test_architectures_of_the_map(tmp_path):
    table = [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
    ]
    path = write(tmp_path, {**ALLOW_ALL, "archMap": table})
    for machine, wanted in (
        ("x86_64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]),
        ("aarch64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        ("riscv64", ["SCMP_ARCH_RISCV64"]),
    ):
        assert profiles.resolve_profile(path, 0, machine=machine)["architectures"] == wanted


def test_the_stricter_of_two_rules_counts():
    rules = [{"names": ["chdir"], "action": "SCMP_ACT_ALLOW"},
             {"names": ["chdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]  # fmt: skip
    profile = {"defaultAction": "SCMP_ACT_LOG"}
    for order in (rules, rules[::-1]):
        assert bpf.error(verdict({**profile, "syscalls": order}, "chdir")) == 5


# --- bad profiles --------------------------------------------------------------------------


@pytest.mark.parametrize("profile, word", [
    ("", "JSON"),
    ("{", "JSON"),
    ("[]", "object"),
    ("{}", "defaultAction"),
    ({"defaultAction": "SCMP_ACT_FLY", "syscalls": []}, "SCMP_ACT_FLY"),
    ({"defaultAction": "SCMP_ACT_NOTIFY", "syscalls": []}, "SCMP_ACT_NOTIFY"),
    ({"defaultAction": "SCMP_ACT_ALLOW"}, "syscalls"),
    ({**ALLOW_ALL, "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}, "names no system call"),
    ({**ALLOW_ALL, "syscalls": [{"names": "read", "action": "SCMP_ACT_ALLOW"}]}, "list"),
    ({**ALLOW_ALL, "syscalls": [{"names": ["read"], "action": 1}]}, "action"),
    ({**ALLOW_ALL, "syscalls": ["read"]}, "not an object"),
    ({**ALLOW_ALL, "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, "NEW_LISTENER"),
    ({**ALLOW_ALL, "listenerPath": "/x"}, "NOTIFY"),
    ({**ALLOW_ALL, "architectures": ["SCMP_ARCH_X86"], "archMap": [{}]}, "both"),
    ({**ALLOW_ALL, "defaultErrnoRet": 5000}, "error number"),
    ({**ALLOW_ALL, "defaultErrno": "ENOTHING"}, "ENOTHING"),
    ({**ALLOW_ALL, "syscalls": [rule(args=[{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}])]}, "6"),
    ({**ALLOW_ALL, "syscalls": [rule(args=[{"index": 0, "value": -1, "op": "SCMP_CMP_NE"}])]},
     "-1"),
    ({**ALLOW_ALL, "syscalls": [rule(args=[{"index": 0, "value": 0, "op": "EQ"}])]}, "EQ"),
    ({**ALLOW_ALL, "syscalls": [rule(includes={"moon": ["full"]})]}, "moon"),
    ({**ALLOW_ALL, "syscalls": [rule(includes={"minKernel": "six"})]}, "six"),
])  # fmt: skip
def test_bad_files(tmp_path, profile, word):
    path = write(tmp_path, profile)
    with pytest.raises(profiles.BadProfile) as caught:
        profiles.resolve_profile(path, 0)
    assert word in caught.value.message and path in caught.value.message
    assert caught.value.exit_code == 125 and caught.value.advice


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b" " * (profiles.LARGEST_PROFILE + 1))
    for path in (tmp_path / "absent", tmp_path, tmp_path / "fifo", tmp_path / "large"):
        with pytest.raises(profiles.BadProfile):
            profiles.read_profile(str(path))


@pytest.mark.parametrize("profile, word", [
    (deny("no_such_call"), "no_such_call"),
    ({**ALLOW_ALL, "architectures": ["SCMP_ARCH_PDP11"]}, "PDP11"),
    ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["socket"], "action": "SCMP_ACT_KILL",
         "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}]}]}, "no effect"),
])  # fmt: skip
def test_rules_without_effect_are_errors(profile, word):
    with pytest.raises(profiles.BadProfile) as caught:
        profiles.compile(profile)
    assert word in caught.value.message


def test_an_unknown_call_may_be_allowed():
    profile = {"defaultAction": "SCMP_ACT_ERRNO",
               "syscalls": [{"names": ["no_such_call", "read"], "action": "SCMP_ACT_ALLOW"}]}
    assert bpf.error(verdict(profile, "read")) is None


# --- kept programs -------------------------------------------------------------------------


def test_kept(tmp_path, monkeypatch):
    directory = str(tmp_path / "kept")
    first = seccomp.cached(directory, 0)
    assert os.stat(directory).st_mode & 0o777 == 0o700
    monkeypatch.setattr(profiles, "compile", lambda *_: pytest.fail("compiled again"))
    assert seccomp.cached(directory, 0) == first


def test_what_a_name_depends_on(tmp_path):
    directory = str(tmp_path)
    seccomp.cached(directory, 0)
    seccomp.cached(directory, caps.parse("BPF"))
    seccomp.cached(directory, 0, deny("chdir"))
    seccomp.cached(directory, 0, deny("mkdir"))
    assert len(os.listdir(directory)) == 4


def damages():
    yield "empty", lambda content: b""
    yield "cut", lambda content: content[:-8]
    yield "cut oddly", lambda content: content[:-3]
    yield "one bit", lambda content: content[:200] + bytes([content[200] ^ 4]) + content[201:]
    yield "zeros", lambda content: bytes(len(content))
    yield "longer", lambda content: content + content[-8:]
    yield "other format", lambda content: content[12:]


@pytest.mark.parametrize("kind, damage", list(damages()))
def test_a_damaged_program_is_made_anew(tmp_path, kind, damage):
    directory = str(tmp_path)
    good = seccomp.cached(directory, 0)
    [name] = os.listdir(directory)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(damage(whole))
    assert seccomp.cached(directory, 0) == good
    assert (tmp_path / name).read_bytes() == whole


def test_a_program_that_others_may_write_is_not_taken(tmp_path):
    directory = str(tmp_path)
    seccomp.cached(directory, 0)
    [name] = os.listdir(directory)
    os.chmod(tmp_path / name, 0o666)
    assert seccomp._read(directory, name) is None


def test_a_link_is_not_followed(tmp_path):
    directory = str(tmp_path / "kept")
    seccomp.cached(directory, 0)
    [name] = os.listdir(directory)
    os.rename(f"{directory}/{name}", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{directory}/{name}")
    assert seccomp._read(directory, name) is None


def test_a_directory_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("")
    assert kernel.well_formed(seccomp.cached(str(tmp_path / "file"), 0))


def test_the_directory_stays_small(tmp_path):
    for number in range(100):
        seccomp._keep(str(tmp_path), f"profile-{number}.bpf", bytes(8))
    assert len(os.listdir(tmp_path)) <= 64
    assert "profile-99.bpf" in os.listdir(tmp_path)


def test_the_usual_path_loads_no_library(tmp_path):
    seccomp.cached(str(tmp_path), 0)
    code = (
        "import sys; from rootless.runtime import seccomp; "
        "seccomp.cached(sys.argv[1], 0); "
        "cold = ('pyseccomp', 'json', 're', 'hashlib', 'rootless.runtime.profile'); "
        "print([name for name in cold if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(tmp_path)],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_without_the_library(monkeypatch):
    import ctypes

    real = ctypes.CDLL

    def without(name, *args, **more):
        if name and "seccomp" in name:
            raise OSError(f"{name}: cannot open shared object file")
        return real(name, *args, **more)

    monkeypatch.setattr(ctypes, "CDLL", without)
    monkeypatch.delitem(sys.modules, "pyseccomp")
    with pytest.raises(profiles.NoLibrary) as caught:
        profiles.compile(ALLOW_ALL)
    assert "apt-get install libseccomp2" in caught.value.advice
    assert isinstance(caught.value, RlError)


# --- what a launch installs ----------------------------------------------------------------


def spec(**more):
    return {"process": {"capabilities": {"bounding": ["CAP_CHOWN"]}}, "linux": {}, **more}


def test_programs(tmp_path):
    whole = Ids(stack(1000, [(100000, 65536)]), stack(1000, [(100000, 65536)]), "range")
    one = Ids(stack(1000, []), stack(1000, []), "single")
    directory = str(tmp_path)
    default = seccomp.cached(directory, caps.parse("CHOWN"))
    assert seccomp.programs(spec(), whole, directory) == [(default, 0)]
    assert seccomp.programs(spec(rl={"seccomp": "default"}), whole, directory) == [(default, 0)]
    assert seccomp.programs(spec(rl={"seccomp": "unconfined"}), whole, directory) == []
    flags = {**deny("chdir"), "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    own = seccomp.programs(spec(linux={"seccomp": flags}), whole, directory)
    assert [flag for _, flag in own] == [kernel.FLAG_LOG] and own[0][0] != default
    fake, last = seccomp.programs(spec(), one, directory)
    assert last == (default, 0) and fake[0] != default
