"""What the kernel has of a container's limits, for ``rl inspect``; its spec has what was asked."""

import os

from rootless.cgroup import files
from rootless.engine import cgroups
from rootless.engine.spec.resources import numbers
from rootless.engine.spec.values import BadOption, size


def report(engine, record, spec):
    """A row for each limit: asked, what the kernel has, whether that is enforced, and why not."""
    directory = cgroups.of(engine, record)
    resources = spec["linux"].get("resources") or {}
    found = [one for one in cgroups.settings_of(resources) if not one.implied]
    own = _could_be_lifted(spec) if found and directory else ""
    return [_row(setting, directory, own) for setting in found]


def _could_be_lifted(spec):
    """Why the container itself could write to its limits (str): its user owns them, and only the
    mount's nsdelegate keeps whoever is in a cgroup namespace from its top (cgroup-v2.rst)."""
    writable = any(entry["type"] == "cgroup" and "ro" not in entry["options"]
                   for entry in spec.get("mounts") or ())  # fmt: skip
    kept = any("nsdelegate" in line for line in files.read("/proc/self/mountinfo").splitlines()
               if f" {files.TOP} " in line)  # fmt: skip
    if not writable or kept:
        return ""
    return "the container may write to its own cgroup: the machine mounts it without nsdelegate"


def _row(setting, directory, own):
    kernel = files.read(f"{directory}/{setting.file}").strip() if directory else ""
    why = _objection(setting, directory, kernel) or own
    return {
        "Option": setting.option,
        "File": setting.file,
        "Asked": "\n".join(setting.texts),
        "Kernel": kernel,
        "Enforced": not why,
        "Why": why,
    }


def _objection(setting, directory, kernel):
    """Why a limit is not enforced (str); "" if it is."""
    if not directory:
        return "the container has no cgroup now"
    if not os.path.exists(f"{directory}/{setting.file}"):
        return f"there is no {setting.file} in its cgroup"
    if not _agrees(setting, kernel):
        return "the kernel has something else"
    if setting.file == "memory.low":
        return _unprotected(directory, files.number(f"{directory}/{setting.file}"))
    if setting.controller == "cpuset":
        effective = files.read(f"{directory}/{setting.file}.effective").strip()
        if effective and numbers(effective) != numbers(setting.texts[0]):
            return f"the groups above leave it {effective}"
    if setting.file == "io.weight" and not _costed():
        return "no disk here is divided by weight: the scheduler bfq would, or io.cost.qos"
    return ""


def _unprotected(directory, wanted):
    """A protection counts as far as each group above has it (cgroup-v2.rst, "memory.low")."""
    above = os.path.dirname(directory)
    while len(above) > len(files.TOP):
        if os.path.exists(f"{above}/memory.low"):
            has = files.number(f"{above}/memory.low")
            if has is not None and has < (wanted or 0):
                return f"{above.removeprefix(files.TOP)} has a memory.low of {has} only"
        above = os.path.dirname(above)
    return ""


def _costed():
    return any("enable=1" in line for line in files.read(f"{files.TOP}/io.cost.qos").splitlines())


def _agrees(setting, kernel):
    """Whether the kernel's own words mean what was written; it rounds bytes to pages."""
    lines = [set(line.split()) for line in kernel.splitlines()]
    for text in setting.texts:
        words = text.split()
        if any(set(words) <= line for line in lines):
            continue
        if words[0] == "default" and {words[-1]} in lines:
            continue
        if kernel.isdigit() and setting.controller == "memory":
            if 0 <= _bytes(text) - int(kernel) < os.sysconf("SC_PAGE_SIZE"):
                continue
        if setting.controller == "cpuset" and kernel and numbers(text) == numbers(kernel):
            continue
        return False
    return True


def _bytes(text):
    """A number of bytes, also "1G" as these files take it; -1 for no number."""
    try:
        return size("", text)
    except BadOption:
        return -1


def pids(engine, record):
    """How many processes a running container may have that has asked for nothing; 0: any."""
    directory = cgroups.of(engine, record)
    return (files.number(f"{directory}/pids.max") if directory else None) or 0


def disk(major, minor):
    """The path of a disk (str); its numbers where it is gone."""
    for line in files.read(f"/sys/dev/block/{major}:{minor}/uevent").splitlines():
        if line.startswith("DEVNAME="):
            return f"/dev/{line[8:]}"
    return f"{major}:{minor}"

