"""The default filter, decided by a simulation of the kernel's machine for every case."""

import errno
import os

import pyseccomp
import pytest

from rootless.engine.spec.security import DEFAULT_CAPS
from rootless.kernel import caps
from rootless.runtime import profile
from unit.confinement import bpf

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers are x86_64's")

X32 = 0x40000000
CALLS_FOR_NOBODY = {
    "EPERM": "perf_event_open bpf kexec_load kexec_file_load init_module finit_module delete_module"
    " open_by_handle_at acct quotactl iopl ioperm settimeofday clock_settime swapon swapoff"
    " userfaultfd move_pages migrate_pages lookup_dcookie kcmp process_madvise vhangup"
    " setdomainname sethostname vmsplice fanotify_init",
    "ENOSYS": "add_key request_key io_uring_setup io_uring_enter io_uring_register",
}
ALLOWED = (
    "read openat clone clone3 unshare setns mount umount2 pivot_root fsopen fsmount fsconfig"
    " open_tree move_mount mount_setattr keyctl reboot syslog pidfd_getfd mbind set_mempolicy"
    " ptrace process_vm_readv chroot execve capset prctl seccomp setgroups setresuid memfd_secret"
    " landlock_create_ruleset arch_prctl modify_ldt rseq statx close_range"
).split()


@pytest.fixture(scope="module")
def program():
    return profile.compile(profile.default_profile(DEFAULT_CAPS))


def number(name, architecture=pyseccomp.Arch.NATIVE):
    found = pyseccomp.resolve_syscall(architecture, name)
    assert found >= 0, name
    return found


def verdict(program, name, *args):
    return bpf.error(bpf.run(program, bpf.X86_64, number(name), args))


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(program, name):
    assert verdict(program, name) is None


@pytest.mark.parametrize(
    "name, wanted",
    [(name, error) for error, names in CALLS_FOR_NOBODY.items() for name in names.split()],
)
def test_refused(program, name, wanted):
    assert verdict(program, name) == getattr(errno, wanted)


@pytest.mark.parametrize("nr", [1000, 512, 546, 0x7FFFFFFF])
def test_what_does_not_exist_is_enosys(program, nr):
    assert bpf.error(bpf.run(program, bpf.X86_64, nr)) == errno.ENOSYS


@pytest.mark.parametrize("value, allowed", [
    (0, True), (8, True), (0x20000, True), (0x20008, True), (0xFFFFFFFF, True), (-1, True),
    (1, False), (0x40000, False), (0x0400000, False), (0x20009, False),
])  # fmt: skip
def test_personality(program, value, allowed):
    assert (verdict(program, "personality", value) is None) == allowed


@pytest.mark.parametrize("call", ["socket", "socketpair"])
@pytest.mark.parametrize("garbage", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_families(program, call, garbage):
    for family in range(48):
        result = verdict(program, call, garbage | family, 3, 0)
        if family in (38, 40):
            assert result == errno.EAFNOSUPPORT
        elif garbage:
            # What the kernel would cut off may be refused, never let through as another.
            assert result in (None, errno.EAFNOSUPPORT)
        else:
            assert result is None
    for family in (48, 64, 255, 1 << 16, 0x7FFFFFFF, 0xFFFFFFFF):
        assert verdict(program, call, garbage | family) == errno.EAFNOSUPPORT


def test_netlink(program):
    for protocol in range(32):
        wanted = errno.EINVAL if protocol == 9 else None
        assert verdict(program, "socket", 16, 3, protocol) == wanted
        if protocol == 9:
            assert verdict(program, "socket", 16 | 1 << 40, 3, 9 | 1 << 33) == wanted
    assert verdict(program, "socket", 16, 3, 32) == errno.EPROTONOSUPPORT
    assert verdict(program, "socket", 2, 1, 9) is None


def test_netlink_audit_with_the_capability():
    bounding = DEFAULT_CAPS | caps.parse("AUDIT_WRITE")
    program = profile.compile(profile.default_profile(bounding))
    assert verdict(program, "socket", 16, 3, 9) is None


@pytest.mark.parametrize("capability, calls", [
    ("SYS_ADMIN", "bpf perf_event_open quotactl sethostname setdomainname fanotify_init"
                  " lookup_dcookie"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("SYS_MODULE", "init_module finit_module delete_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp process_madvise"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday clock_settime"),
    ("SYS_TTY_CONFIG", "vhangup"),
])  # fmt: skip
def test_a_capability_opens_its_calls(program, capability, calls):
    opened = profile.compile(profile.default_profile(caps.parse(capability)))
    for name in calls.split():
        assert verdict(program, name) == errno.EPERM
        assert verdict(opened, name) is None
    assert verdict(opened, "kexec_load") == errno.EPERM


def test_chroot_needs_its_capability():
    without = profile.compile(profile.default_profile(0))
    assert verdict(without, "chroot") == errno.EPERM


def test_other_architectures_of_the_machine(program):
    i386 = pyseccomp.Arch.X86
    for name in ("read", "chown32", "setgroups32", "clock_gettime64", "futex_time64", "socketcall"):
        assert bpf.error(bpf.run(program, bpf.I386, number(name, i386), (1,))) is None
    for name, wanted in (("bpf", errno.EPERM), ("stime", errno.EPERM), ("add_key", errno.ENOSYS)):
        assert bpf.error(bpf.run(program, bpf.I386, number(name, i386))) == wanted
    socket, socketpair = 359, 360  # libseccomp resolves these two to numbers of its own
    for family, wanted in ((1, None), (2, None), (38, 97), (40, 97), (99, 97)):
        assert bpf.error(bpf.run(program, bpf.I386, socket, (family, 1, 0))) == wanted
        assert bpf.error(bpf.run(program, bpf.I386, socketpair, (family, 1, 0))) == wanted
    for call in range(21):  # socketcall's own numbers: its arguments can't be seen
        assert bpf.error(bpf.run(program, bpf.I386, 102, (call,))) is None
    assert bpf.error(bpf.run(program, bpf.X86_64, X32 | 0)) is None  # x32's read
    assert bpf.error(bpf.run(program, bpf.X86_64, X32 | 321)) == errno.EPERM  # its bpf


def test_a_foreign_architecture_dies(program):
    assert bpf.run(program, bpf.AARCH64, 64) & 0xFFFF0000 == 0


def test_every_name_is_known_to_somebody():
    """A misspelt call would be refused for ever without anybody noticing."""
    machines = [
        getattr(pyseccomp.Arch, name)
        for name in ("X86_64", "X86", "X32", "AARCH64", "ARM", "PPC64LE", "S390X", "RISCV64")
    ]
    newer_than_libseccomp_2_5 = {
        "fchmodat2", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "getxattrat",
        "listxattrat", "map_shadow_stack", "removexattrat", "riscv_hwprobe", "setxattrat",
        "arm_sync_file_range", "breakpoint", "cacheflush", "quotactl_fd",
    }  # fmt: skip
    raw = profile.read_profile(profile.conf_path("seccomp.json"))
    for rule in raw["syscalls"]:
        for name in rule["names"]:
            known = any(pyseccomp.resolve_syscall(m, name) != -1 for m in machines)
            assert known or name in newer_than_libseccomp_2_5, name


def test_no_call_is_listed_twice():
    seen = {}
    for rule in profile.default_profile(DEFAULT_CAPS)["syscalls"]:
        for name in rule["names"]:
            key = (name, str(rule.get("args")))
            assert key not in seen, (name, rule["action"], seen[key])
            seen[key] = rule["action"]
