"""A filter for namespaces with one id, in which package managers would fail at every owner.

Where only one user and one group are mapped, giving a file to anybody else is EINVAL,
setgroups is EPERM, and nobody can be become.  dpkg, rpm, apk, useradd and the like do all of
this and stop at the first error, though the container would work.  This filter answers
"done" (error number 0) to exactly those calls and does nothing:

* chown and its relatives, and setuid, setgid, setre*id, setres*id, if one of the ids
  is not the mapped one and not -1 ("leave it");
* setgroups;
* mknod and mknodat of a character or block device, except 0:0, which marks a deletion in
  overlayfs and works.

Everything else goes on to the kernel: changes to the mapped id really happen, FIFOs,
sockets and ordinary files are really made, and reading (stat, getuid, getgroups) tells the
truth.  The program is assembled here: it needs two comparisons of one argument, which
libseccomp's rules can't say, and this rung must work where that library is missing.

Sources: seccomp(2), linux/filter.h, asm/unistd.h of each architecture.
"""

import os
import sys

from rootless.errors import RlError

_LOAD, _AND, _RETURN, _JUMP, _IF_EQUAL = 0x20, 0x54, 0x06, 0x05, 0x15
_ALLOW = 0x7FFF0000
_DONE = 0x00050000  # SECCOMP_RET_ERRNO with the number 0: the call returns 0
_ASK = 0x7FC00000  # SECCOMP_RET_USER_NOTIF: whoever has the listener answers

_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_FORMAT, _CHARACTER, _BLOCK = 0xF000, 0x2000, 0x6000

# What the arguments of a call are: (index, "u" or "g") of each id among them.
_OWNERS = {
    "chown": ((1, "u"), (2, "g")),
    "lchown": ((1, "u"), (2, "g")),
    "fchown": ((1, "u"), (2, "g")),
    "fchownat": ((2, "u"), (3, "g")),
    "setuid": ((0, "u"),),
    "setgid": ((0, "g"),),
    "setreuid": ((0, "u"), (1, "u")),
    "setregid": ((0, "g"), (1, "g")),
    "setresuid": ((0, "u"), (1, "u"), (2, "u")),
    "setresgid": ((0, "g"), (1, "g"), (2, "g")),
}
_MODE_ARGUMENT = {"mknod": 1, "mknodat": 2}

_X86_64 = {
    "chown": 92, "fchown": 93, "lchown": 94, "setuid": 105, "setgid": 106, "setreuid": 113,
    "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "mknod": 133,
    "mknodat": 259, "fchownat": 260,
}
_GENERIC = {
    "mknodat": 33, "fchownat": 54, "fchown": 55, "setregid": 143, "setgid": 144,
    "setreuid": 145, "setuid": 146, "setresuid": 147, "setresgid": 149, "setgroups": 159,
}
# The calls of 32-bit x86 and ARM without "32" at the end take 16-bit ids.
_OLD_32 = {
    "mknod": 14, "lchown16": 16, "setuid16": 23, "setgid16": 46, "setreuid16": 70,
    "setregid16": 71, "setgroups": 81, "fchown16": 95, "setresuid16": 164, "setresgid16": 170,
    "chown16": 182, "lchown": 198, "setreuid": 203, "setregid": 204, "setgroups32": 206,
    "fchown": 207, "setresuid": 208, "setresgid": 210, "chown": 212, "setuid": 213,
    "setgid": 214,
}
_PPC64 = {
    "mknod": 14, "lchown": 16, "setuid": 23, "setgid": 46, "setreuid": 70, "setregid": 71,
    "setgroups": 81, "fchown": 95, "setresuid": 164, "setresgid": 169, "chown": 181,
    "mknodat": 288, "fchownat": 289,
}
_S390X = {
    "mknod": 14, "lchown": 198, "setreuid": 203, "setregid": 204, "setgroups": 206,
    "fchown": 207, "setresuid": 208, "setresgid": 210, "chown": 212, "setuid": 213,
    "setgid": 214, "mknodat": 290, "fchownat": 291,
}
_X32 = {name: number | 0x40000000 for name, number in _X86_64.items()}
_I386 = {**_OLD_32, "mknodat": 297, "fchownat": 298}
_ARM = {**_OLD_32, "mknodat": 324, "fchownat": 325}

# uname(2) → the tables of that machine by AUDIT_ARCH (linux/audit.h)
TABLES = {
    "x86_64": ((0xC000003E, _X86_64), (0xC000003E, _X32), (0x40000003, _I386)),
    "aarch64": ((0xC00000B7, _GENERIC), (0x40000028, _ARM)),
    "riscv64": ((0xC00000F3, _GENERIC),),
    "ppc64le": ((0xC0000015, _PPC64),),
    "s390x": ((0x80000016, _S390X),),
}


class UnknownMachine(RlError):
    """only one user id can be mapped, and rl cannot make up for that on {0}"""

    hint = "ask for a range of ids: usermod --add-subuids 100000-165535 --add-subgids … USER"


def program(uid=0, gid=0, machine=None, ask=False):
    """The filter (BPF as bytes) for a namespace that maps only ``uid`` and ``gid``.

    ``machine`` is as uname(2) says.  ``ask``: every chown, and what mknod can't make, is left
    to a listener, which notes it (build/steps/owners.py).  Raises UnknownMachine.
    """
    machine = machine or os.uname().machine
    if machine not in TABLES:
        raise UnknownMachine(machine)
    assembler = _Assembler({"u": uid, "g": gid}, ask)
    for architecture, numbers in TABLES[machine]:
        assembler.table(architecture, numbers)
    assembler.add(_RETURN, _ALLOW)
    return assembler.bytes()


def calls(machine=None):
    """{(AUDIT_ARCH, number): name} of the calls that the filter knows."""
    tables = TABLES.get(machine or os.uname().machine, ())
    return {(architecture, number): name
            for architecture, numbers in tables for name, number in numbers.items()}


class _Assembler:
    def __init__(self, mapped, ask=False):
        self.mapped = mapped
        self.ask = ask
        self.code = []

    def add(self, operation, value, equal=0, other=0):
        self.code.append((operation, equal, other, value))

    def argument(self, index):
        """Load the low half of an argument: all those looked at are 32 bits wide."""
        self.add(_LOAD, 16 + 8 * index + (4 if sys.byteorder == "big" else 0))

    def table(self, architecture, numbers):
        self.add(_LOAD, _ARCHITECTURE)
        self.add(_IF_EQUAL, architecture, 1, 0)
        skip = len(self.code)
        self.add(_JUMP, 0)
        self.add(_LOAD, _NUMBER)
        for name, number in numbers.items():
            body = _Assembler(self.mapped, self.ask)
            body.decide(name)
            self.add(_IF_EQUAL, number, 0, len(body.code))
            self.code += body.code
        self.code[skip] = (_JUMP, 0, 0, len(self.code) - skip - 1)

    def decide(self, name):
        """What is returned for the call ``name``; every way through ends in a return."""
        if name.startswith("setgroups"):
            self.add(_RETURN, _DONE)
            return
        if name in _MODE_ARGUMENT:
            self.node(_MODE_ARGUMENT[name])
            return
        short = name.endswith("16")
        for index, kind in _OWNERS[name.removesuffix("16")]:
            self.argument(index)
            if short:
                self.add(_AND, 0xFFFF)
            if self.ask and "chown" in name:
                self.add(_IF_EQUAL, 0xFFFF if short else 0xFFFFFFFF, 1, 0)
                self.add(_RETURN, _ASK)
                continue
            self.add(_IF_EQUAL, self.mapped[kind], 2, 0)
            self.add(_IF_EQUAL, 0xFFFF if short else 0xFFFFFFFF, 1, 0)
            self.add(_RETURN, _DONE)
        self.add(_RETURN, _ALLOW)

    def node(self, mode):
        self.argument(mode)
        self.add(_AND, _FORMAT)
        self.add(_IF_EQUAL, _BLOCK, 3, 0)
        self.add(_IF_EQUAL, _CHARACTER, 0, 3)
        self.argument(mode + 1)
        self.add(_IF_EQUAL, 0, 1, 0)
        self.add(_RETURN, _ASK if self.ask else _DONE)
        self.add(_RETURN, _ALLOW)

    def bytes(self):
        from struct import pack

        return b"".join(pack("=HBBI", *instruction) for instruction in self.code)
