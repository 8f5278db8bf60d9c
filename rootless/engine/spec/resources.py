"""Limits: from options to OCI resources.  Pure.

Sources: podman-run(1), docker's "Resource constraints"; OCI runtime-spec config-linux.md,
"Control groups".  A 0, an empty list and a -1 of memory take a limit back, as ``update`` needs.
"""

from rootless.cgroup.limits import PERIOD
from rootless.engine.spec.values import fail, number, size

LEAST_MEMORY = 512 << 10  # less, and not even the program is loaded

# What version 1 had and 2 has nothing for: to accept it would be to ignore it.  With the value
# that means nothing there either.
_GONE = {
    "memory_swappiness": (-1, "cgroups of version 2 have no swappiness of their own"),
    "oom_kill_disable": (False, "cgroups of version 2 cannot keep the kernel from killing"),
    "cpu_rt_period": (0, "cgroups of version 2 have no limits of real-time processor time"),
    "cpu_rt_runtime": (0, "cgroups of version 2 have no limits of real-time processor time"),
}
_THROTTLES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}


def parse(options, device, before=None):
    """The OCI ``resources`` that ``options`` (dict: name → text, number or tuple) ask for.

    ``device(option, path)`` gives the (major, minor) of a disk.  ``before``: resources to be
    changed, for ``update``.  Raises BadOption.
    """
    for name, (nothing, why) in _GONE.items():
        value = options.get(name)
        if value is not None and value != nothing:
            fail(_dashed(name), "" if value is True else str(value), why, "leave it out")
    found = {key: dict(value) for key, value in (before or {}).items()}
    _memory(options, found.setdefault("memory", {}))
    _cpu(options, found.setdefault("cpu", {}))
    _pids(options, found)
    _block(options, found.setdefault("blockIO", {}), device)
    _raw(options, found.setdefault("unified", {}))
    return {key: value for key, value in found.items() if value}


def _dashed(name):
    return "--" + name.replace("_", "-")


def _put(found, key, value):
    """``value`` under ``key``; nothing is there for one that is none."""
    found.pop(key, None)
    if value:
        found[key] = value


def _bytes(options, name):
    text = options.get(name)
    if text is None:
        return None
    return -1 if text == "-1" else size(_dashed(name), text)


def _memory(options, memory):
    limit, swap, soft = (
        _bytes(options, name) for name in ("memory", "memory_swap", "memory_reservation")
    )
    if limit is not None:
        if 0 < limit < LEAST_MEMORY:
            fail("--memory", options["memory"], "no program runs with so little",
                 "give 512k or more")  # fmt: skip
        _put(memory, "limit", max(limit, 0))
        if memory.get("swap") != -1:
            memory.pop("swap", None)  # it counted from the old one
    if swap is not None:
        if swap > 0:
            _check_swap(options["memory_swap"], swap, memory)
        _put(memory, "swap", swap)
    if soft is not None:
        _put(memory, "reservation", max(soft, 0))
    if memory.get("limit") and memory.get("reservation", 0) > memory["limit"]:
        if soft is not None:
            fail("--memory-reservation", options["memory_reservation"], "more than --memory")
        fail("--memory", options["memory"], "less than its --memory-reservation")


def _check_swap(text, swap, memory):
    if "limit" not in memory:
        fail("--memory-swap", text, "it is memory and swap together, and needs --memory",
             "add --memory, for example --memory 512m")  # fmt: skip
    if swap < memory["limit"]:
        fail("--memory-swap", text, "less than --memory, of which it is the larger part",
             "it is memory and swap together; the same value means no swap")  # fmt: skip


def _cpu(options, cpu):
    if options.get("cpus") is not None:
        _processors(options, str(options["cpus"]), cpu)
    for name, key, low, high in (
        ("cpu_period", "period", 1000, 1_000_000),
        ("cpu_quota", "quota", 1000, 1 << 44),
        ("cpu_shares", "shares", 2, 262_144),
    ):
        value = options.get(name)
        if value is not None:
            free = value == 0 or (key == "quota" and value == -1)
            _put(cpu, key, value if free else number(_dashed(name), str(value), low, high))
    for name, key in (("cpuset_cpus", "cpus"), ("cpuset_mems", "mems")):
        text = options.get(name)
        if text is not None:
            if text and numbers(text) is None:
                fail(_dashed(name), text, "not a list of numbers", "for example 0-3,8")
            _put(cpu, key, text)


def _processors(options, text, cpu):
    for name in ("cpu_period", "cpu_quota"):
        if options.get(name):
            fail("--cpus", text, f"{_dashed(name)} sets the same", "leave one out")
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isdecimal() and digits.isascii() and len(whole) < 6 and len(digits) < 20):
        fail("--cpus", text, "not a number of processors", "for example 1.5")
    quota = round(float(text) * PERIOD)
    if float(text) and quota < 1000:
        fail("--cpus", text, "less than the kernel can measure", "give 0.01 or more")
    _put(cpu, "quota", quota)
    _put(cpu, "period", quota and PERIOD)


def numbers(text):
    """The numbers (set) of a list as in cpuset(7), "0-3,8"; None if it is none."""
    found = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for word in (first, last) if dash else (first,):
            if not (word.isdecimal() and word.isascii() and len(word) < 6):
                return None
        if dash and int(last) < int(first):
            return None
        found.update(range(int(first), int(last or first) + 1))
    return found


def _pids(options, found):
    limit = options.get("pids_limit")
    if limit is not None:
        value = number("--pids-limit", str(limit), -1, 1 << 22)
        found["pids"] = {"limit": value if value > 0 else -1}


def _block(options, block, device):
    weight = options.get("blkio_weight")
    if weight is not None:
        _put(block, "weight", weight and number("--blkio-weight", str(weight), 10, 1000))

    def share(option, text):
        return 0 if text == "0" else number(option, text, 10, 1000)

    _per_device(options, "blkio_weight_device", block, "weightDevice", "weight", device, share)
    for name, key in _THROTTLES.items():
        _per_device(options, name, block, key, "rate", device, _rate)


def _per_device(options, name, block, key, word, device, value):
    """Rows of one kind, one for each disk; 0 takes a disk's row out."""
    rows = {(row["major"], row["minor"]): row[word] for row in block.get(key) or ()}
    for text in options.get(name) or ():
        path, colon, amount = text.rpartition(":")
        if not colon or not path.startswith("/"):
            fail(_dashed(name), text, "not a device and a value", "for example /dev/sda:1mb")
        wanted = value(_dashed(name), amount)
        _put(rows, device(_dashed(name), path), wanted)
    _put(block, key, [{"major": major, "minor": minor, word: amount}
                      for (major, minor), amount in rows.items()])  # fmt: skip


def _rate(option, text):
    return number(option, text, 0, 1 << 62) if option.endswith("iops") else size(option, text)


def _raw(options, raw):
    for text in options.get("cgroup_conf") or ():
        key, equals, value = text.partition("=")
        good = key.isascii() and all(part.replace("_", "").isalnum() for part in key.split("."))
        if not (equals and good and "." in key and value.strip()
                and value.isascii() and value.isprintable()):  # fmt: skip
            fail("--cgroup-conf", repr(text)[1:-1], "not FILE=VALUE with a file of a cgroup",
                 "for example memory.high=1073741824")  # fmt: skip
        if key.startswith("cgroup."):
            fail("--cgroup-conf", text, "the files of cgroup.* are rl's own",
                 "name a controller's file, such as memory.high")  # fmt: skip
        raw[key] = value
