"""Limits of containers: what was asked, where it can be set, what the kernel has of it.

With engine/enforced.py, stats.py and checks/facts.py, which only read, the part of the engine
that knows rootless/cgroup.
"""

import os

from rootless.cgroup import files, group, limits, place
from rootless.engine import records
from rootless.engine.spec.values import fail
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
        "then run systemctl daemon-reload, log out everywhere and in again (with lingering:\n"
        "systemctl restart user@UID.service, which ends what the user runs)"
    )


class NoController(RlError):
    """{0} needs the controller {1}, which the cgroup of this process was not given"""

    hint = "whoever made this session (a batch system, a CI runner) must delegate {1} to it"


class NotHandedOut(RlError):
    """{0} needs the controller {1}, which systemd hands to nobody"""

    hint = "only a cgroup that somebody else has delegated can have it: man rl-run, --cgroups split"


class Unlimited(RlError):
    """{0}: container {1} runs without a cgroup, so nothing can be limited"""

    hint = "rl stop {1}, change it, and start it again: rl info shows, under limits, if that helps"


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
    NoController, NotHandedOut, BadMode, BadParent, BadOption.
    """
    mode = options.get("cgroups") or "enabled"
    parent = options.get("cgroup_parent")
    if mode not in MODES:
        raise BadMode(mode, "there is no such mode")
    from rootless.engine.spec.resources import parse

    resources = parse(options, _device)
    settings = limits.settings(resources)
    option = _first(settings)
    double = limits.twice(settings)
    if double:
        fail("--cgroup-conf", " ".join(options["cgroup_conf"]), f"{double} sets the same",
             "leave one out")  # fmt: skip
    if mode == "disabled":
        if option or parent:
            raise BadMode(mode, f"{option or '--cgroup-parent'} needs a cgroup")
    elif option or parent or mode == "split":
        found = _chosen(engine, mode)
        check(found, resources, option or ("--cgroup-parent" if parent else "--cgroups split"))
        if parent:
            _check_parent(parent, found)
    return resources, {"mode": mode, "parent": parent}


def _first(settings):
    """The option of the first that limits something; None without one."""
    return next((one.option for one in settings if not one.implied), None)


def _chosen(engine, mode):
    return place.delegated() if mode == "split" else where(engine)


def check(found, resources, option=None):
    """Raise unless the Place ``found`` can hold a container to ``resources``."""
    settings = limits.settings(resources)
    option = option or _first(settings)
    if found.kind == "none" and option:
        raise CannotLimit(option, found.why)
    for setting in settings:
        if setting.controller not in found.controllers and not setting.implied:
            error = NoController
            if found.kind == "systemd":
                known = setting.controller in place.CONTROLLERS
                error = NotDelegated if known else NotHandedOut
            raise error(setting.option, setting.controller)
        if setting.controller == "cpuset" and setting.option != "--cgroup-conf":
            _check_set(setting, found)


_ONLINE = {"cpuset.cpus": "cpu/online", "cpuset.mems": "node/online"}


def _check_set(setting, found):
    """Raise BadOption for processors or nodes that aren't there: the kernel takes their numbers,
    and then gives the container all there are (cgroup-v2.rst, "cpuset.cpus.effective")."""
    from rootless.engine.spec.resources import numbers

    there = files.read(f"{found.directory}/{setting.file}.effective").strip() or files.read(
        f"/sys/devices/system/{_ONLINE[setting.file]}").strip()  # fmt: skip
    (text,) = setting.texts
    if there and not numbers(text) <= (numbers(there) or set()):
        fail(setting.option, text, f"there are only {there} here", f"for example {there}")


_SLICE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\-")


def _check_parent(parent, found):
    if found.kind == "systemd":
        name, dot, kind = parent.rpartition(".")
        good = dot and kind == "slice" and name and set(name) <= _SLICE and len(parent) < 250
        if not good or "--" in name or name[0] == "-" or name[-1] == "-":
            raise BadParent(
                parent,
                "systemd keeps containers in slices",
                hint="name a slice, for example --cgroup-parent work.slice",
            )
        return
    parts = parent.strip("/").split("/")
    known = {"monitor", "container", place.CALLERS}
    if (
        parent.startswith("/")
        or not all(parent.isprintable() and len(part) < 256 for part in parts)
        or any(part in ("", ".", "..") or part in known for part in parts)
        or any(part.startswith((place.PREFIX, "cgroup.")) for part in parts)
    ):
        raise BadParent(
            parent,
            "it is no path below the cgroup of this process",
            hint="name one or more directories below it, for example --cgroup-parent pod1",
        )


def _device(option, path):
    """(major, minor) of a disk of this machine.  Raises BadOption."""
    import stat

    try:
        found = os.stat(path)
    except OSError as error:
        fail(option, path, error.strerror)
    if not stat.S_ISBLK(found.st_mode):
        fail(option, path, "not a block device", "lsblk lists them")
    numbers = os.major(found.st_rdev), os.minor(found.st_rdev)
    if os.path.exists("/sys/dev/block/{}:{}/partition".format(*numbers)):
        fail(option, path, "it is a partition, and the kernel limits whole disks",
             "lsblk shows which disk it is on")  # fmt: skip
    return numbers


# --- a start -------------------------------------------------------------------------------


def prepare(engine, record, spec):
    """The group.Group of a container that is to be started; None to run without one."""
    chosen = spec["rl"].get("cgroups") or {"mode": "enabled", "parent": None}
    if chosen["mode"] == "disabled":
        return None
    resources = spec["linux"].get("resources") or {}
    found = _chosen(engine, chosen["mode"])
    check(found, resources)
    settings = settings_of(resources)
    required = bool(_first(settings) or chosen["parent"] or chosen["mode"] == "split")
    if found.kind == "none":
        return None
    if "pids" not in resources and found.kind == "systemd" and "pids" in found.controllers:
        settings.append(limits.default_pids())
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
    the step (Group.remove).  Raises what ``check`` does.
    """
    found = where(engine)
    check(found, resources, "--cgroup-parent")
    return group.Group(
        found,
        f"{place.PREFIX}build-{os.urandom(8).hex()}",
        settings_of(resources),
        required=True,
        parent=parent,
        description="rl build, one step",
    )


def settings_of(resources):
    """What limits.settings makes of them on this machine's disks."""
    block = resources.get("blockIO") or {}
    return limits.settings(resources, ("weight" in block or "weightDevice" in block) and _has_bfq())


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


def note_again(run_dir, container_id, pid):
    """Note once more in a runtime directory which cgroup the container with this pid 1 has:
    its directory (str); None without one.

    The program may have divided its cgroup, as systemd does: what counts is all of it.
    """
    path = files.of_process(pid) or ""
    above, own, rest = path.partition(f"/{place.PREFIX}{container_id}")
    if not own:
        return None
    directory = f"{files.TOP}{above}{own}{rest.partition('/')[0]}/container"
    _note(f"{run_dir}/{NAME}", directory)
    return directory


def is_frozen(directory):
    """Whether the cgroup of a container is to be frozen."""
    return files.read(f"{directory}/cgroup.freeze").strip() == "1"


def enter(engine, record, pid, first):
    """Move a process of ``rl exec`` into the cgroup of the container whose pid 1 is ``first``,
    before any of its code runs.

    Raises what group.enter does.
    """
    directory = of(engine, record)
    if directory:
        group.enter(directory, pid, where(engine), engine.config.uid, first)


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


def forget(run_dir):
    """Remove what a container that has ended leaves of its cgroup; ``run_dir`` is its runtime
    directory.  systemd removes its scopes itself."""
    directory = os.path.dirname(files.read(f"{run_dir}/{NAME}"))
    if os.path.basename(directory).startswith(place.PREFIX) and not directory.endswith(".scope"):
        group.remove(directory)


def change(engine, record, spec, options):
    """``rl update``: the new resources, set in the kernel if the container runs.

    All of them, or none.  Raises what ``plan`` does, Unlimited, group.CannotLimit.
    """
    from rootless.engine.spec.resources import parse

    before = spec["linux"].get("resources") or {}
    resources = parse(options, _device, before)
    chosen = spec["rl"].get("cgroups") or {"mode": "enabled"}
    if chosen["mode"] == "disabled":
        raise BadMode("disabled", "the container was made to have no cgroup, so no limits")
    directory = of(engine, record)
    found = _chosen(engine, chosen["mode"])
    old, new = (settings_of(one) for one in (before, resources))
    changes = limits.difference(old, new)
    if directory is None:
        option = _first(changes)
        if option and records.state(engine, record)["pid"]:
            raise Unlimited(option, record["name"])
        check(found, resources)
        return resources
    needed = {one.controller for one in changes if not one.implied}
    if found.kind == "delegated" and directory.startswith(f"{found.directory}/"):
        if not needed <= _enabled(directory):
            check(found, resources)
            group.extend(found, directory, needed)
    else:
        found = place.Place(found.kind, found.why, _enabled(directory), found.directory)
    check(found, resources)
    _change(directory, changes, limits.difference(new, old))
    return resources


def _enabled(directory):
    return set(files.read(f"{directory}/cgroup.controllers").split())


def _change(directory, changes, back):
    """Write Settings; if the kernel refuses one, what was there before."""
    for setting in changes:
        try:
            group.apply(directory, setting)
        except group.CannotLimit:
            if setting.implied:
                continue
            for one in back:
                try:
                    group.apply(directory, one)
                except group.CannotLimit:
                    pass
            raise
