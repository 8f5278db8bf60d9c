"""Which platforms this machine can run: its own, what its kernel also takes, and emulators."""

import os

from rootless.errors import RlError
from rootless.model.oci import Platform, fits

_BINFMT = "/proc/sys/fs/binfmt_misc"
# Architecture → ELF class, data encoding, e_machine (elf.h).
_ELF = {
    "amd64": (2, 1, 62),
    "386": (1, 1, 3),
    "arm64": (2, 1, 183),
    "arm": (1, 1, 40),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
    "ppc64le": (2, 1, 21),
    "ppc64": (2, 2, 21),
    "loong64": (2, 1, 258),
    "mips64le": (2, 1, 8),
    "mips64": (2, 2, 8),
    "mipsle": (1, 1, 8),
    "mips": (1, 2, 8),
}
# What the x86-64 psABI asks of the levels above the first, as /proc/cpuinfo names it.
_LEVELS = (
    ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"),
    ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"),
    ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
)


class ForeignArchitecture(RlError):
    """the image {name} is for {image}, this machine is {host}"""

    hint = (
        "pull the one for this machine (rl pull --platform {host} {name}), "
        "or install qemu-user-static and binfmt-support to run it emulated"
    )


def host():
    """The Platform of this machine."""
    name = os.uname()
    return Platform(name.sysname, name.machine)


def runs_here(platform):
    """Whether programs of ``platform`` can run on this machine, if only emulated."""
    own = host()
    if platform.os != own.os:
        return False
    if not platform.architecture or fits(platform, own) is not None:
        return True  # an image that names no architecture has nothing to run, or runs anywhere
    pair = (own.architecture, platform.architecture)
    if pair == ("amd64", "amd64"):
        return platform.variant in [f"v{level}" for level in range(1, _level() + 1)]
    if pair == ("amd64", "386"):
        return os.path.exists("/proc/sys/abi/vsyscall32") or _emulated(platform)
    if pair == ("arm64", "arm"):
        return _takes_arm32() or _emulated(platform)
    return _emulated(platform)


def check(name, platform):
    """Raise ForeignArchitecture if the image ``name`` for ``platform`` can't run here."""
    if not runs_here(platform):
        raise ForeignArchitecture(name=name, image=str(platform), host=str(host()))


def _level():
    """The x86-64 level (1 to 4) of the processor."""
    flags = set()
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("flags"):
                flags = set(line.split())
                break
    level = 1
    for needed in _LEVELS:
        if not flags.issuperset(needed):
            break
        level += 1
    return level


def _takes_arm32():
    """arm64 kernels refuse this personality where the processor has no 32-bit mode."""
    from rootless.kernel import ctype, libc

    personality = libc.function("personality", ctype.c_ulong)
    try:
        before = libc.call(personality, 0x0008)
    except OSError:
        return False
    libc.call(personality, before)
    return True


def _emulated(platform):
    """Whether binfmt_misc has an enabled interpreter for programs of ``platform``."""
    if platform.architecture not in _ELF:
        return False
    kind, data, machine = _ELF[platform.architecture]
    order = "little" if data == 1 else "big"
    head = b"\x7fELF" + bytes((kind, data, 1)) + bytes(9)
    head += (2).to_bytes(2, order) + machine.to_bytes(2, order) + bytes(108)
    try:
        names = os.listdir(_BINFMT)
        with open(f"{_BINFMT}/status", encoding="ascii") as file:
            if file.read().strip() != "enabled":
                return False
    except OSError:
        return False
    return any(_takes(f"{_BINFMT}/{name}", head) for name in names)


def _takes(path, head):
    """Whether the binfmt_misc entry in file ``path`` matches a program that begins so."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(65536).splitlines()
    except OSError:
        return False
    if not lines or lines[0] != "enabled":
        return False
    entry = dict(line.partition(" ")[::2] for line in lines[1:])
    try:
        offset = int(entry["offset"])
        magic = bytes.fromhex(entry["magic"])
        mask = bytes.fromhex(entry["mask"]) if "mask" in entry else b"\xff" * len(magic)
    except (KeyError, ValueError):
        return False  # an entry for a file name's ending, register or status
    part = head[offset : offset + len(magic)]
    if len(part) < len(magic) or len(mask) < len(magic):
        return False
    return all(p & m == g & m for p, m, g in zip(part, mask, magic, strict=False))
