"""Limits of containers: what was asked, where it can be set, what the kernel has of it.

The only part of the engine that knows rootless/cgroup.
"""

import os

from rootless.cgroup import files, group, limits, place
from rootless.engine import records
from rootless.errors import RlError

MODES = ("enabled", "disabled", "no-conmon", "split")
NAME = "cgroup"  # in the runtime directory: the path of the container's cgroup
_DROP_IN = "/etc/systemd/system/user@.service.d/delegate.conf"


class CannotLimit(RlError):
    """{0}: nothing can be limited here: {1}"""

    hint = "rl doctor shows, under limits, what would help; leave {0} out to run without"


class NotDelegated(RlError):
    """{0} needs the controller {1}, which systemd has not handed to users here"""

    hint = (
        f"as root write {_DROP_IN} with the two lines\n"
        "[Service]\n"
        "Delegate=cpu cpuset io memory pids\n"
        "then run systemctl daemon-reload, log out and in again"
    )


class NoController(RlError):
    """{0} needs the controller {1}, which the cgroup of this process was not given"""

    hint = "whoever made this session (a batch system, a CI runner) must delegate {1} to it"


class BadMode(RlError):
    """--cgroups {0}: {1}"""

    hint = "enabled (the default), disabled, no-conmon or split"


class BadParent(RlError):
    """--cgroup-parent {0}: {1}"""


def where(engine):
    """The place.Place of this process."""
    return place.find(engine.config.environ, engine.config.uid)


def plan(engine, options):
    """(resources, settings) of a container to be made, checked; nothing is done yet.

    ``options``: the dict of a Request.  ``resources`` is what OCI calls so, ``settings`` goes
    into the spec's own part: {"mode", "parent"}.  Raises CannotLimit, NotDelegated,
    NoController, BadMode, BadParent, limits.BadLimit.
    """
    mode = options.get("cgroups") or "enabled"
    parent = options.get("cgroup_parent")
    if mode not in MODES:
        raise BadMode(mode, "there is no such mode")
    resources = limits.parse(options, _device)
    settings = limits.settings(resources)
    option = settings[0].option if settings else None
    if mode == "disabled":
        if option or parent:
            raise BadMode(mode, f"{option or '--cgroup-parent'} needs a cgroup")
    elif option or parent or mode == "split":
        found = _chosen(engine, mode)
        check(found, resources, option or ("--cgroup-parent" if parent else "--cgroups split"))
        if parent:
            _check_parent(parent, found)
    return resources, {"mode": mode, "parent": parent}


def _chosen(engine, mode):
    return place.delegated() if mode == "split" else where(engine)


def check(found, resources, option=None):
    """Raise unless the Place ``found`` can hold a container to ``resources``."""
    settings = limits.settings(resources)
    if found.kind == "none" and (settings or option):
        raise CannotLimit(option or settings[0].option, found.why)
    for setting in settings:
        if setting.controller not in found.controllers and not setting.implied:
            error = NotDelegated if found.kind == "systemd" else NoController
            raise error(setting.option, setting.controller)


def _check_parent(parent, found):
    if found.kind == "systemd":
        good = parent.endswith(".slice") and "/" not in parent and not parent.startswith("-")
        if not good:
            raise BadParent(
                parent,
                "systemd keeps containers in slices",
                hint="name a slice, for example --cgroup-parent work.slice",
            )
    elif parent.startswith("/") or ".." in parent.split("/") or not parent.strip("/"):
        raise BadParent(
            parent,
            "it is no path below the cgroup of this process",
            hint="name one or more directories below it, for example --cgroup-parent pod1",
        )


def _device(option, path):
    """(major, minor) of a block device of this machine."""
    import stat

    try:
        found = os.stat(path)
    except OSError as error:
        raise limits.BadLimit(option, path, error.strerror) from None
    if not stat.S_ISBLK(found.st_mode):
        raise limits.BadLimit(
            option,
            path,
            "not a block device",
            hint="lsblk lists them; name the whole disk, not a partition",
        )
    return os.major(found.st_rdev), os.minor(found.st_rdev)


# --- a start -------------------------------------------------------------------------------


def prepare(engine, record, spec):
    """The group.Group of a container that is to be started; None to run without one."""
    chosen = spec["rl"].get("cgroups") or {"mode": "enabled", "parent": None}
    if chosen["mode"] == "disabled":
        return None
    resources = spec["linux"].get("resources") or {}
    found = _chosen(engine, chosen["mode"])
    check(found, resources)
    required = bool(resources or chosen["parent"] or chosen["mode"] == "split")
    if found.kind == "none":
        return None
    settings = limits.settings(resources, _has_bfq())
    if "pids" not in resources and found.kind == "systemd" and "pids" in found.controllers:
        settings.append(
            limits.Setting(
                "--pids-limit", "pids", "pids.max", str(limits.DEFAULT_PIDS), implied=True
            )
        )
    if chosen["parent"] and found.kind == "delegated":
        found = _below(found, chosen["parent"])
    note = f"{records.own_run_directory(engine, record['id'])}/{NAME}"
    return group.Group(
        found,
        f"{place.PREFIX}{record['id']}",
        settings,
        required=required,
        parent=chosen["parent"],
        monitor=chosen["mode"] != "no-conmon",
        notes=lambda path: _note(note, path),
        description=f"rl container {record['name']}",
    )


def of_step(engine, resources, parent):
    """The group.Group of a RUN step whose build ``plan`` has given ``resources``; it goes with
    the step (Group.remove).  Raises what ``check`` does, and NoCgroup for the parent.
    """
    found = where(engine)
    check(found, resources, "--cgroup-parent")
    if parent and found.kind == "delegated":
        found = _below(found, parent)
    return group.Group(
        found,
        f"{place.PREFIX}build-{os.urandom(8).hex()}",
        limits.settings(resources, _has_bfq()),
        required=True,
        parent=parent,
        description="rl build, one step",
    )


def _below(found, parent):
    """The Place of a cgroup of the user's own making below a delegated one."""
    directory = f"{found.directory}/{parent.strip('/')}"
    group.share(found, directory)
    return place.Place("delegated", controllers=found.controllers, directory=directory)


def _has_bfq():
    """Whether the machine's disks are scheduled by BFQ, whose weights have a file of their own."""
    return any(
        "[bfq]" in files.read(f"/sys/block/{name}/queue/scheduler")
        for name in (os.listdir("/sys/block") if os.path.isdir("/sys/block") else ())
    )


def _note(path, text):
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


# --- a container that runs -----------------------------------------------------------------


def of(engine, record):
    """The directory of a running container's cgroup (str); None without one."""
    path = files.read(f"{records.run_directory(engine, record['id'])}/{NAME}")
    return path if path and os.path.isdir(path) else None


def enter(engine, record, pid):
    """Move a process of ``rl exec`` into the container's cgroup, before any of its code runs.

    Raises what group.enter does.
    """
    directory = of(engine, record)
    if directory:
        group.enter(directory, pid, where(engine), engine.config.uid)


def freeze(engine, record, frozen):
    """Freeze or thaw everything in a running container; False if it has no cgroup."""
    directory = of(engine, record)
    try:
        return bool(directory) and group.freeze(directory, frozen)
    except OSError:
        return False  # it has just ended


def kill(engine, record):
    """SIGKILL to every process in the container's cgroup; False if it has none."""
    directory = of(engine, record)
    return bool(directory) and group.kill(directory)


def change(engine, record, spec, options):
    """``rl update``: the new resources, set in the kernel if the container runs."""
    before = spec["linux"].get("resources") or {}
    resources = limits.parse(options, _device, before)
    directory = of(engine, record)
    chosen = spec["rl"].get("cgroups") or {"mode": "enabled"}
    if chosen["mode"] == "disabled":
        raise BadMode("disabled", "the container was made to have no cgroup, so no limits")
    settings = limits.settings(resources, _has_bfq())
    if directory is None:
        check(_chosen(engine, chosen["mode"]), resources)
        return resources
    enabled = set(files.read(f"{directory}/cgroup.controllers").split())
    check(place.Place(where(engine).kind, controllers=enabled), resources)
    old = {setting.file: setting.texts for setting in limits.settings(before, _has_bfq())}
    changed = [one for one in settings if old.get(one.file) != one.texts]
    gone = _released(old, {one.file for one in settings})
    for setting in [*gone, *changed]:
        try:
            group.apply(directory, setting)
        except group.CannotLimit:
            if not setting.implied:
                raise
    return resources


def _released(old, kept):
    """Settings that take back what is not asked for any more."""
    free = {
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.low": "0",
        "cpu.max": "max",
        "pids.max": "max",
    }
    return [
        # A kernel without swap has no file for it: nobody asked for that one by itself.
        limits.Setting("rl update", "", file, free[file], implied=file == "memory.swap.max")
        for file in old
        if file not in kept and file in free
    ]


def report(engine, record, spec):
    """What ``inspect`` shows of each limit: asked, what the kernel has, enforced or not."""
    directory = of(engine, record)
    found = []
    for setting in limits.settings(spec["linux"].get("resources") or {}, _has_bfq()):
        if setting.implied:
            continue
        kernel = files.read(f"{directory}/{setting.file}").strip() if directory else ""
        found.append({
            "Option": setting.option,
            "File": setting.file,
            "Asked": "\n".join(setting.texts),
            "Kernel": kernel,
            "Enforced": bool(kernel) and _agrees(setting, kernel),
        })  # fmt: skip
    return found


def _agrees(setting, kernel):
    """Whether the kernel's own words mean what was written; it rounds bytes to pages."""
    lines = [set(line.split()) for line in kernel.splitlines()]
    for text in setting.texts:
        words = text.split()
        if any(set(words) <= line for line in lines):
            continue
        if words[0] == "default" and {words[-1]} in lines:
            continue
        if setting.controller == "memory" and kernel.isdigit() and text.isdigit():
            if 0 <= int(text) - int(kernel) < os.sysconf("SC_PAGE_SIZE"):
                continue
        if setting.controller == "cpuset" and _numbers(text) == _numbers(kernel):
            continue
        return False
    return True


def _numbers(text):
    found = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            found |= set(range(int(first), int(last or first) + 1))
    return found
