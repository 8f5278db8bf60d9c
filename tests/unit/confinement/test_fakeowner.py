"""The filter for namespaces with one id: what it fakes, and that it fakes nothing else."""

import os
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFREG, S_IFSOCK

import pyseccomp
import pytest

from rootless.runtime import fakeowner
from unit.confinement import bpf

SAME = 0xFFFFFFFF
DONE = 0
NAMES = {
    0xC000003E: "X86_64", 0x40000003: "X86", 0xC00000B7: "AARCH64", 0x40000028: "ARM",
    0xC00000F3: "RISCV64", 0xC0000015: "PPC64LE", 0x80000016: "S390X",
}  # fmt: skip
TABLES = [
    (machine, architecture, table)
    for machine, tables in fakeowner.TABLES.items()
    for architecture, table in tables
]


def verdict(name, *args, uid=0, gid=0):
    program = fakeowner.program(uid, gid, "x86_64")
    number = fakeowner.TABLES["x86_64"][0][1][name]
    found = bpf.error(bpf.run(program, bpf.X86_64, number, args))
    for table in fakeowner.TABLES["x86_64"][1:]:
        assert bpf.error(bpf.run(program, table[0], table[1][name], args)) == found
    return found


@pytest.mark.parametrize("machine, architecture, table", TABLES)
def test_numbers_are_the_kernels(machine, architecture, table):
    name = "X32" if min(table.values()) >> 30 else NAMES[architecture]
    number = getattr(pyseccomp.Arch, name)
    for call, nr in table.items():
        plain = call.removesuffix("16")
        wide = pyseccomp.resolve_syscall(number, plain + "32")
        narrow = call != plain or call == "setgroups" or wide < 0
        assert nr == (pyseccomp.resolve_syscall(number, plain) if narrow else wide), call


@pytest.mark.parametrize("machine, architecture, table", TABLES)
def test_every_call_of_its_kind_is_there(machine, architecture, table):
    name = "X32" if min(table.values()) >> 30 else NAMES[architecture]
    number = getattr(pyseccomp.Arch, name)
    for call in [*fakeowner._OWNERS, "setgroups", "mknod", "mknodat"]:
        for spelled in (call, call + "32"):
            nr = pyseccomp.resolve_syscall(number, spelled)
            assert nr < 0 or nr in table.values(), spelled


OWNERS = [("chown", 1), ("lchown", 1), ("fchown", 1), ("fchownat", 2)]


@pytest.mark.parametrize("name, at", OWNERS)
@pytest.mark.parametrize("uid, gid, faked", [
    (0, 0, False), (SAME, SAME, False), (0, SAME, False), (SAME, 0, False),
    (1, 0, True), (0, 1, True), (1, 1, True), (42, SAME, True), (SAME, 42, True),
    (65534, 65534, True), (0x80000000, 0, True), (0xFFFF, 0, True),
])  # fmt: skip
def test_chown(name, at, uid, gid, faked):
    args = [0x7F00] * at + [uid, gid]
    assert verdict(name, *args) == (DONE if faked else None)


def test_high_halves_of_registers_do_not_count():
    garbage = 0xDEAD << 32
    assert verdict("fchown", 3, garbage | 0, garbage | SAME) is None
    assert verdict("fchown", 3, garbage | 7, garbage | SAME) == DONE


@pytest.mark.parametrize("name, count", [
    ("setuid", 1), ("setgid", 1), ("setreuid", 2), ("setregid", 2), ("setresuid", 3),
    ("setresgid", 3),
])  # fmt: skip
def test_becoming_somebody(name, count):
    assert verdict(name, *[0] * count) is None
    assert verdict(name, *[SAME] * count) is None
    for position in range(count):
        args = [0] * count
        args[position] = 42
        assert verdict(name, *args) == DONE


def test_another_mapped_id():
    for uid, faked in ((1000, False), (0, True), (SAME, False)):
        assert verdict("setuid", uid, uid=1000, gid=100) == (DONE if faked else None)
        assert verdict("chown", 0, uid, 100, uid=1000, gid=100) == (DONE if faked else None)
    assert verdict("chown", 0, 1000, 1000, uid=1000, gid=100) == DONE


def test_setgroups_always():
    assert verdict("setgroups", 0, 0) == DONE
    assert verdict("setgroups", 5, 0x7F00) == DONE


@pytest.mark.parametrize("kind, device, faked", [
    (S_IFREG, 0, False), (S_IFIFO, 0, False), (S_IFSOCK, 0, False), (0, 0, False),
    (S_IFDIR, 0, False), (S_IFCHR, 0, False), (S_IFCHR, 0x103, True), (S_IFBLK, 0x800, True),
    (S_IFBLK, 0, True), (S_IFIFO, 0x103, False),
])  # fmt: skip
def test_mknod(kind, device, faked):
    wanted = DONE if faked else None
    assert verdict("mknod", 0x7F00, kind | 0o644, device) == wanted
    assert verdict("mknodat", 3, 0x7F00, kind | 0o644, device) == wanted


def test_nothing_else():
    program = fakeowner.program(machine="x86_64")
    for architecture, tables in ((bpf.X86_64, 2), (bpf.I386, 1)):
        faked = [t for a, t in fakeowner.TABLES["x86_64"] if a == architecture]
        assert len(faked) == tables
        numbers = {number for table in faked for number in table.values()}
        for number in set(range(600)) - numbers:
            assert bpf.run(program, architecture, number, [7] * 6) == bpf.ALLOW
    for number in range(600):
        assert bpf.run(program, bpf.AARCH64, number, [7] * 6) == bpf.ALLOW


def test_ids_of_16_bits():
    program = fakeowner.program(machine="x86_64")
    table = fakeowner.TABLES["x86_64"][2][1]
    for uid, faked in ((0, False), (0xFFFF, False), (0x1FFFF, False), (0x10000, False), (5, True)):
        found = bpf.error(bpf.run(program, bpf.I386, table["chown16"], (0, uid, 0)))
        assert found == (DONE if faked else None)
    assert bpf.error(bpf.run(program, bpf.I386, table["chown"], (0, 0xFFFF, 0))) == DONE


def test_a_machine_without_a_table():
    with pytest.raises(fakeowner.UnknownMachine) as caught:
        fakeowner.program(machine="pdp11")
    assert "pdp11" in caught.value.message and caught.value.advice


def test_this_machine():
    assert len(fakeowner.program()) % 8 == 0 and os.uname().machine in fakeowner.TABLES
