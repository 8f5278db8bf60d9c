"""Limits: from options to OCI resources, and from those to files of a cgroup v2.  Pure.

Sources: podman-run(1); OCI runtime-spec config-linux.md, "Control groups"; the kernel's
cgroup-v2.rst; the conversions of shares and weights are those of the OCI runtimes, so that the
same option weighs the same.
"""

from rootless.errors import RlError

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LEAST_MEMORY = 512 << 10  # less, and not even the program is loaded
PERIOD = 100_000  # microseconds, the kernel's own default
DEFAULT_PIDS = 2048

# What version 1 had and 2 has nothing for: to accept it would be to ignore it.
_GONE = {
    "memory_swappiness": "cgroups of version 2 have no swappiness of their own",
    "oom_kill_disable": "cgroups of version 2 cannot keep the kernel from killing",
    "cpu_rt_period": "cgroups of version 2 have no limits of real-time processor time",
    "cpu_rt_runtime": "cgroups of version 2 have no limits of real-time processor time",
}
_THROTTLES = {
    "device_read_bps": ("throttleReadBpsDevice", "rbps"),
    "device_write_bps": ("throttleWriteBpsDevice", "wbps"),
    "device_read_iops": ("throttleReadIOPSDevice", "riops"),
    "device_write_iops": ("throttleWriteIOPSDevice", "wiops"),
}


class BadLimit(RlError):
    """{0} {1}: {2}"""

    hint = "man rl-run describes {0}"


class Setting:
    """One file to write: ``option`` that asked, ``controller`` that it belongs to, ``file``,
    ``texts`` one write each; ``implied``: nobody asked, so it may fail."""

    def __init__(self, option, controller, file, *texts, implied=False):
        self.implied = implied
        self.option = option
        self.controller = controller
        self.file = file
        self.texts = texts

    def __repr__(self):
        return f"Setting({self.option}: {self.file} = {', '.join(self.texts)})"


def parse(options, device, before=None):
    """The OCI ``resources`` that ``options`` (dict: name → text, number or tuple) ask for.

    ``device(path)`` gives the (major, minor) of a block device, or raises BadLimit.
    ``before``: resources to be changed, for ``update``.  Raises BadLimit.
    """
    for name, why in _GONE.items():
        value = options.get(name)
        if value not in (None, False) and not (name == "memory_swappiness" and int(value) == -1):
            raise BadLimit(_dashed(name), _shown(value), why, hint="leave it out")
    found = {key: dict(value) for key, value in (before or {}).items()}
    _memory(options, found)
    _cpu(options, found)
    _pids(options, found)
    _block(options, found, device)
    _raw(options, found)
    return {key: value for key, value in found.items() if value}


def _dashed(name):
    return "--" + name.replace("_", "-")


def _shown(value):
    return "" if value is True else str(value)


def size(option, text):
    """Bytes of "64m"; -1 of "-1"."""
    if text == "-1":
        return -1
    digits = text.rstrip("bBkKmMgGtTiI")
    unit = text[len(digits) :].lower()
    whole, dot, fraction = digits.partition(".")
    good = (
        digits.isascii()
        and whole.isdecimal()
        and (fraction.isdecimal() or not dot)
        and len(digits) < 20
        and unit[:1] in _UNITS
        and unit[1:] in ("", "b", "ib")
    )
    if not good or unit in ("bb", "bib"):
        raise BadLimit(option, text, "not a size", hint="a number and a unit, for example 512m")
    value = int(float(digits) * _UNITS[unit[:1]]) if dot else int(digits) * _UNITS[unit[:1]]
    if value >= 1 << 63:
        raise BadLimit(option, text, "more than any machine has")
    return value


def _whole(option, value, low, high):
    try:
        number = int(str(value))
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        raise BadLimit(option, value, f"not a number from {low} to {high}")
    return number


def _memory(options, found):
    memory = found.setdefault("memory", {})
    limit, swap, soft = (
        options.get(name) for name in ("memory", "memory_swap", "memory_reservation")
    )
    if limit is not None:
        value = size("--memory", limit)
        if value in (0, -1):
            memory.pop("limit", None)
        elif value < LEAST_MEMORY:
            raise BadLimit(
                "--memory", limit, "no program runs with so little", hint="give 512k or more"
            )
        else:
            if swap is None and memory.get("swap", -1) != -1:
                memory.pop("swap")
            memory["limit"] = value
    if swap is not None:
        value = size("--memory-swap", swap)
        if value > 0 and "limit" not in memory:
            raise BadLimit(
                "--memory-swap",
                swap,
                "it is memory and swap together, and needs --memory",
                hint="add --memory, for example --memory 512m",
            )
        if 0 < value < memory.get("limit", 0):
            raise BadLimit(
                "--memory-swap",
                swap,
                "less than --memory, of which it is the larger part",
                hint="it is memory and swap together; the same value means no swap",
            )
        if value:
            memory["swap"] = value
    if soft is not None:
        value = size("--memory-reservation", soft)
        if memory.get("limit") and value > memory["limit"]:
            raise BadLimit("--memory-reservation", soft, "more than --memory")
        memory["reservation"] = value
        if value <= 0:
            memory.pop("reservation")


def _cpu(options, found):
    cpu = found.setdefault("cpu", {})
    cpus = options.get("cpus")
    if cpus is not None:
        for name in ("cpu_period", "cpu_quota"):
            if options.get(name) is not None:
                raise BadLimit(
                    "--cpus", cpus, f"{_dashed(name)} sets the same", hint="leave one out"
                )
        whole, dot, fraction = str(cpus).partition(".")
        if not ((whole or fraction) and (whole + fraction).isdecimal() and len(whole) < 6):
            raise BadLimit("--cpus", cpus, "not a number of processors", hint="for example 1.5")
        quota = round(float(cpus) * PERIOD)
        cpu.pop("quota", None)
        cpu.pop("period", None)
        if float(cpus):
            if quota < 1000:
                raise BadLimit(
                    "--cpus", cpus, "less than the kernel can measure", hint="give 0.01 or more"
                )
            cpu.update(quota=quota, period=PERIOD)
    if options.get("cpu_period"):
        cpu["period"] = _whole("--cpu-period", options["cpu_period"], 1000, 1_000_000)
    if options.get("cpu_quota"):
        quota = options["cpu_quota"]
        cpu["quota"] = -1 if int(quota) == -1 else _whole("--cpu-quota", quota, 1000, 1 << 44)
    if options.get("cpu_shares"):
        cpu["shares"] = _whole("--cpu-shares", options["cpu_shares"], 2, 262_144)
    for name, key in (("cpuset_cpus", "cpus"), ("cpuset_mems", "mems")):
        if options.get(name):
            cpu[key] = _numbers(_dashed(name), options[name])


def _numbers(option, text):
    """A list as of cpuset(7), "0-3,8"."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and first.isascii() and len(first) < 6) or (
            dash and not (last.isdecimal() and len(last) < 6 and int(last) >= int(first))
        ):
            raise BadLimit(option, text, "not a list of numbers", hint="for example 0-3,8")
    return text


def _pids(options, found):
    limit = options.get("pids_limit")
    if limit is not None:
        value = _whole("--pids-limit", limit, -1, 1 << 22)
        found["pids"] = {"limit": value if value > 0 else -1}


def _block(options, found, device):
    block = found.setdefault("blockIO", {})
    if options.get("blkio_weight"):
        block["weight"] = _whole("--blkio-weight", options["blkio_weight"], 10, 1000)
    rows = _per_device("--blkio-weight-device", options.get("blkio_weight_device"), device)
    if rows:
        block["weightDevice"] = [
            {"major": major, "minor": minor,
             "weight": _whole("--blkio-weight-device", text, 10, 1000)}
            for (major, minor), text in rows
        ]  # fmt: skip
    for name, (key, _) in _THROTTLES.items():
        rows = _per_device(_dashed(name), options.get(name), device)
        if rows:
            block[key] = [
                {"major": major, "minor": minor, "rate": _rate(_dashed(name), text)}
                for (major, minor), text in rows
            ]


def _per_device(option, texts, device):
    found = []
    for text in texts or ():
        path, colon, value = text.rpartition(":")
        if not colon or not path.startswith("/"):
            raise BadLimit(
                option, text, "not a device and a value", hint="for example /dev/sda:1mb"
            )
        found.append((device(option, path), value))
    return found


def _rate(option, text):
    if option.endswith("iops"):
        return _whole(option, text, 1, (1 << 63) - 1)
    value = size(option, text)
    if value <= 0:
        raise BadLimit(option, text, "not a rate in bytes a second")
    return value


def _raw(options, found):
    raw = found.setdefault("unified", {})
    for text in options.get("cgroup_conf") or ():
        key, equals, value = text.partition("=")
        good = key and all(
            part.replace("_", "").isalnum() and part.isascii() for part in key.split(".")
        )
        if not equals or not good or "." not in key or "\n" in value:
            raise BadLimit(
                "--cgroup-conf",
                text,
                "not FILE=VALUE with a file of a cgroup",
                hint="for example memory.high=1073741824",
            )
        if key.startswith("cgroup."):
            raise BadLimit(
                "--cgroup-conf",
                text,
                "the files of cgroup.* are rl's own",
                hint="name a controller's file, such as memory.high",
            )
        raw[key] = value


# --- files of version 2 --------------------------------------------------------------------


def settings(resources, bfq=False):
    """The Settings (list) that make OCI ``resources`` true, in the order to write them.

    ``bfq``: the disks' scheduler is BFQ, which has a weight file of its own.
    """
    found = _memory_settings(resources.get("memory") or {})
    found += _cpu_settings(resources.get("cpu") or {})
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        found.append(Setting("--pids-limit", "pids", "pids.max", _most(limit)))
    found += _block_settings(resources.get("blockIO") or {}, bfq)
    for key, value in (resources.get("unified") or {}).items():
        found.append(Setting("--cgroup-conf", key.partition(".")[0], key, value))
    return found


def _most(value):
    return "max" if value == -1 else str(value)


def _memory_settings(memory):
    found = []
    if "limit" in memory:
        found.append(Setting("--memory", "memory", "memory.max", str(memory["limit"])))
    if "swap" in memory:
        swap = memory["swap"]
        value = "max" if swap == -1 else str(swap - memory.get("limit", 0))
        found.append(Setting("--memory-swap", "memory", "memory.swap.max", value))
    elif "limit" in memory:  # podman's default: as much again; a kernel without swap has no file
        found.append(
            Setting("--memory", "memory", "memory.swap.max", str(memory["limit"]), implied=True)
        )
    if "reservation" in memory:
        found.append(
            Setting("--memory-reservation", "memory", "memory.low", str(memory["reservation"]))
        )
    return found


def _cpu_settings(cpu):
    found = []
    if "quota" in cpu or "period" in cpu:
        option = "--cpus" if {"quota", "period"} <= set(cpu) else "--cpu-quota"
        if cpu.get("period", PERIOD) != PERIOD:
            option = "--cpu-period"
        found.append(
            Setting(
                option,
                "cpu",
                "cpu.max",
                f"{_most(cpu.get('quota', -1))} {cpu.get('period', PERIOD)}",
            )
        )
    if "shares" in cpu:
        found.append(Setting("--cpu-shares", "cpu", "cpu.weight", str(weight(cpu["shares"]))))
    if "cpus" in cpu:
        found.append(Setting("--cpuset-cpus", "cpuset", "cpuset.cpus", cpu["cpus"]))
    if "mems" in cpu:
        found.append(Setting("--cpuset-mems", "cpuset", "cpuset.mems", cpu["mems"]))
    return found


def weight(shares):
    """The cpu.weight (1 to 10,000) of ``shares`` (2 to 262,144), on a straight line."""
    return 1 + (shares - 2) * 9999 // 262142


def _io_weight(value):
    """The io.weight (1 to 10,000) of a --blkio-weight (10 to 1000)."""
    return 1 + (value - 10) * 9999 // 990


def _block_settings(block, bfq):
    found = []
    file = "io.bfq.weight" if bfq else "io.weight"
    scale = int if bfq else _io_weight
    texts = [f"default {scale(block['weight'])}"] if "weight" in block else []
    texts += [
        f"{row['major']}:{row['minor']} {scale(row['weight'])}"
        for row in block.get("weightDevice", ())
    ]
    if texts:
        option = "--blkio-weight" if "weight" in block else "--blkio-weight-device"
        found.append(Setting(option, "io", file, *texts))
    for name, (key, word) in _THROTTLES.items():
        if block.get(key):
            found.append(
                Setting(
                    _dashed(name),
                    "io",
                    "io.max",
                    *(f"{row['major']}:{row['minor']} {word}={row['rate']}" for row in block[key]),
                )
            )
    return found
