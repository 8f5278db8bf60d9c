"""Limits: from OCI resources to files of a cgroup v2.  Pure.

Sources: OCI runtime-spec config-linux.md, "Control groups"; the kernel's cgroup-v2.rst; the
conversions of shares and weights are those of the OCI runtimes, so that the same option weighs
the same.
"""

PERIOD = 100_000  # microseconds, the kernel's own default
DEFAULT_PIDS = 2048
ALL = ""  # of a set: what the group above has
WEIGHT = "100"  # the kernel's own, of cpu.weight and io.weight

_THROTTLES = {
    "throttleReadBpsDevice": ("--device-read-bps", "rbps"),
    "throttleWriteBpsDevice": ("--device-write-bps", "wbps"),
    "throttleReadIOPSDevice": ("--device-read-iops", "riops"),
    "throttleWriteIOPSDevice": ("--device-write-iops", "wiops"),
}
# What a file is without a limit.
_FREE = {
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.low": "0",
    "cpu.max": f"max {PERIOD}",
    "cpu.weight": WEIGHT,
    "cpuset.cpus": ALL,
    "cpuset.mems": ALL,
    "pids.max": "max",
}


class Setting:
    """One file to write: ``option`` that asked, ``controller`` that it belongs to, ``file``,
    ``texts`` one write each; ``implied``: nobody asked, or for no limit, so it may fail."""

    def __init__(self, option, file, *texts, implied=False):
        self.implied = implied
        self.option = option
        self.controller = file.partition(".")[0]
        self.file = file
        self.texts = texts

    def __repr__(self):
        return f"Setting({self.option}: {self.file} = {', '.join(self.texts)})"


def settings(resources, bfq=False):
    """The Settings (list) that make OCI ``resources`` true, in the order to write them.

    ``bfq``: the disks' scheduler is BFQ, which has a weight file of its own.
    """
    found = _memory(resources.get("memory") or {})
    found += _cpu(resources.get("cpu") or {})
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        found.append(Setting("--pids-limit", "pids.max", _most(limit), implied=limit == -1))
    found += _block(resources.get("blockIO") or {}, bfq)
    raw = resources.get("unified") or {}
    found = [one for one in found if not (one.implied and one.file in raw)]
    return found + [Setting("--cgroup-conf", key, value) for key, value in raw.items()]


def twice(found):
    """The option of the first of these Settings whose file --cgroup-conf writes too, or None."""
    raw = {one.file for one in found if one.option == "--cgroup-conf"}
    return next((one.option for one in found if one.file in raw and one.option != "--cgroup-conf"),
                None)  # fmt: skip


def default_pids():
    """The Setting for a container that asked for none, where systemd keeps them."""
    return Setting("--pids-limit", "pids.max", str(DEFAULT_PIDS), implied=True)


def difference(before, after):
    """The Settings that lead from those of ``before`` to those of ``after`` (lists)."""
    old, new = _lines(before), _lines(after)
    # A kernel without swap has no file for it: nobody asked for that one by itself.
    gone = [
        Setting(one.option, one.file, _free(one.file, key), implied=one.file == "memory.swap.max")
        for (_, key), (one, _) in old.items()
        if (one.file, key) not in new
    ]
    return gone + [
        Setting(one.option, one.file, text, implied=one.implied)
        for place, (one, text) in new.items()
        if place not in old or old[place][1] != text
    ]


def _lines(found):
    """(file, what of it) → (Setting, text)."""
    return {(one.file, _key(one.file, text)): (one, text) for one in found for text in one.texts}


def _key(file, text):
    """What of a file a text is about: the disk and the rate, the disk, or all of it."""
    if file == "io.max":
        return text.partition("=")[0]
    return text.partition(" ")[0] if file in ("io.weight", "io.bfq.weight") else ""


def _free(file, key):
    if file == "io.max":
        return f"{key}=max"
    if key:
        return f"default {WEIGHT}" if key == "default" else f"{key} default"
    return _FREE[file]


def _most(value):
    return "max" if value == -1 else str(value)


def _memory(memory):
    found = []
    limit, swap = memory.get("limit", 0), memory.get("swap")
    if limit:
        found.append(Setting("--memory", "memory.max", str(limit)))
    if swap is not None:
        text = "max" if swap == -1 else str(swap - limit)
        found.append(Setting("--memory-swap", "memory.swap.max", text, implied=swap == -1))
    elif limit:  # podman's default: as much again; a kernel without swap has no file
        found.append(Setting("--memory", "memory.swap.max", str(limit), implied=True))
    if "reservation" in memory:
        found.append(Setting("--memory-reservation", "memory.low", str(memory["reservation"])))
    return found


def _cpu(cpu):
    found = []
    if "quota" in cpu or "period" in cpu:
        option = "--cpu-quota" if "quota" in cpu else "--cpu-period"
        if "quota" in cpu and cpu.get("period") == PERIOD:
            option = "--cpus"
        quota = cpu.get("quota", -1)
        text = f"{_most(quota)} {cpu.get('period', PERIOD)}"
        found.append(Setting(option, "cpu.max", text, implied=quota == -1))
    if "shares" in cpu:
        found.append(Setting("--cpu-shares", "cpu.weight", str(weight(cpu["shares"]))))
    for key in ("cpus", "mems"):
        if key in cpu:
            found.append(Setting(f"--cpuset-{key}", f"cpuset.{key}", cpu[key]))
    return found


def weight(shares):
    """The cpu.weight (1 to 10,000) of ``shares`` (2 to 262,144).

    The curve through (2, 1), (1024, 100) and (262144, 10000), that of runc 1.3.2 and crun 1.23:
    what was the default is the default.  Those before drew a line, on which 1024 were 39.
    """
    from math import ceil, log2

    if shares <= 2:
        return 1
    power = log2(shares)
    return min(10_000, ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34)))


def _io_weight(value):
    """The io.weight (1 to 10,000) of a --blkio-weight (10 to 1000)."""
    return 1 + (value - 10) * 9999 // 990


def _block(block, bfq):
    found = []
    file = "io.bfq.weight" if bfq else "io.weight"
    scale = int if bfq else _io_weight
    if "weight" in block:
        found.append(Setting("--blkio-weight", file, f"default {scale(block['weight'])}"))
    rows = [f"{row['major']}:{row['minor']} {scale(row['weight'])}"
            for row in block.get("weightDevice", ())]  # fmt: skip
    if rows:
        found.append(Setting("--blkio-weight-device", file, *rows))
    for key, (option, word) in _THROTTLES.items():
        if block.get(key):
            rows = [f"{row['major']}:{row['minor']} {word}={row['rate']}" for row in block[key]]
            found.append(Setting(option, "io.max", *rows))
    return found
