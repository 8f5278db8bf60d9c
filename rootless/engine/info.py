"""`rl info`: the machine, the store, and which rung of each ladder is in use and why."""

import os

from rootless import __version__
from rootless.config import NoHome, RuntimeDirectory
from rootless.engine import probes
from rootless.engine.checks import facts
from rootless.errors import RlError

LADDERS = ("ids", "layer", "layer size", "limits", "network", "user networks",
           "runtime directory", "confinement")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


# -- ladders -------------------------------------------------------------------------------


def ladders(engine, fresh=False):
    """{ladder: [{"rung", "ok", "reason"}]}, each best rung first.

    Results of earlier calls are used unless ``fresh``, which also renews what later calls
    find.  ``reason`` says why a rung doesn't work, or what there is to say of one that does.
    """
    return {
        "ids": _ids(engine, fresh),
        "layer": _layer(engine, fresh),
        "layer size": _layer_size(engine, fresh),
        "limits": _limits(engine),
        "network": _network(engine, fresh),
        "user networks": _user_networks(engine, fresh),
        "runtime directory": _runtime(engine),
        "confinement": _confinement(),
    }


def in_use(rows):
    """The row of the rung in use: the first that works, or None."""
    return next((row for row in rows if row["ok"]), None)


def _probed(engine, name, compute, fresh):
    if fresh:
        return probes.put(engine, name, compute(engine))
    return probes.get(engine, name, compute)


def _row(rung, ok, reason=""):
    return {"rung": rung, "ok": ok, "reason": reason}


def _ids(engine, fresh):
    from rootless.engine import ladder

    rows = [dict(row) for row in _probed(engine, "ids", ladder.probe, fresh)]
    if rows and rows[0]["rung"] == "single":
        rows.insert(0, _row("range", False, _no_range(engine)))
    for row in rows:
        if row["ok"] and not row["reason"]:
            row["reason"] = _SAID[row["rung"]]
    return rows


_SAID = {
    "range": "containers have users of their own",
    "single": "root in the container is you, and there is nobody else",
}


def _no_range(engine):
    """Why there is no range to even try."""
    from rootless.kernel import userns

    for name in ("newuidmap", "newgidmap"):
        if not engine.program(name):
            return f"{name} is not installed"
    for path, pools in zip(
        ("/etc/subuid", "/etc/subgid"), userns.own_pools(engine.config.uid), strict=True
    ):
        if not pools:
            return f"{path} gives this user no ids"
    return "this process may not map more"


def _layer(engine, fresh):
    from rootless.engine import layer

    try:
        rows = _probed(engine, "layer", layer.find_rungs, fresh)
    except (RlError, OSError) as error:
        return [_row("overlay", False, str(error))]
    named = engine.config.storage_driver
    if not named:
        return rows
    # A driver that was asked for by name is the only one that will do.
    where = engine.config.sources["storage_driver"]
    return [
        _row(row["rung"], row["ok"], f"{row['reason'] or 'named'} (by {where})")
        for row in rows
        if row["rung"] == named
    ]


def _layer_size(engine, fresh):
    """What holds a writable layer to --storage-opt size=."""
    from rootless.engine import capped

    try:
        return capped.rungs(engine, fresh)
    except (RlError, OSError) as error:
        return [_row("tmpfs", False, str(error)), _row("none", True, "a size is an error")]


def _network(engine, fresh):
    from rootless.engine import connect

    try:
        return _probed(engine, "network", connect.find_rungs, fresh)
    except (RlError, OSError) as error:
        return [_row("pasta", False, str(error)), _row("none", True, "needs no helper")]


def _user_networks(engine, fresh):
    from rootless.engine import connect

    try:
        return _probed(engine, "user networks", connect.find_user_networks, fresh)
    except (RlError, OSError) as error:
        return [_row("bridges", False, str(error)), _row("none", True, "needs no bridge")]


def _limits(engine):
    """Who would enforce --memory and the like: systemd, a group given to us, or nobody."""
    group = _group(engine)
    lost = {"legacy": "the controllers are in cgroup v1", "none": "no control groups are mounted",
            "hybrid": "the controllers are in cgroup v1"}.get(group["mode"])  # fmt: skip
    given = f"for {' '.join(group['delegated']) or 'nothing'}"
    kind, own = group["kind"], group["writable"]
    why = group["why"] or "the group of this process comes first"
    rows = [
        _row("systemd scope", kind == "systemd", given if kind == "systemd" else lost or why),
        _row("delegated group", own, (given if kind == "delegated" else "for --cgroups split")
             if own else lost or "none is ours here"),
    ]
    if kind == "delegated":
        rows.reverse()
    return [*rows, _row("none", True, "a limit that is asked for is an error")]


def _group(engine):
    return facts.cgroup(facts.Reader(), engine.config.uid, engine.config.environ)


_MANAGERS = {"systemd scope": "systemd", "delegated group": "cgroupfs", "none": "none"}


def _runtime(engine):
    config = engine.config
    if config.sources.get("runroot"):
        where = config.sources["runroot"]
        try:
            return [_row("named", True, f"{config.runroot} by {where}")]
        except RuntimeDirectory as error:
            return [_row("named", False, error.message)]
    try:
        tries = config.runtime[2]
    except RuntimeDirectory as error:
        return [_row("/tmp", False, error.message)]
    return [
        _row(rung, problem is None, path if problem is None else f"{path} {problem}".strip())
        for rung, path, problem in tries
    ]


def _confinement():
    """What the default confinement rests on: libseccomp, tried with the smallest filter."""
    from rootless.runtime import profile

    try:
        profile.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
    except RlError as error:
        return [_row("seccomp", False, error.message)]
    return [_row("seccomp", True, "system calls are filtered by libseccomp")]


# -- facts for people ----------------------------------------------------------------------


def collect(engine):
    """What `rl info` shows, as a dict whose keys are podman's where podman has them."""
    rungs = ladders(engine)
    return {
        "host": _host(engine, rungs),
        "ladders": rungs,
        "store": _store(engine, rungs),
        "version": {"version": __version__, "python": _python()},
    }


def _python():
    import sys

    return sys.version.split()[0]


def _host(engine, rungs):
    reader = facts.Reader()
    config = engine.config
    name = os.uname()
    group = _group(engine)
    limits, network = in_use(rungs["limits"]), in_use(rungs["network"])
    memory = _memory(reader)
    return {
        "arch": _MACHINES.get(name.machine, name.machine),
        "cgroupControllers": group["delegated"],
        "cgroupManager": _MANAGERS[limits["rung"]],
        "cgroupVersion": "v2" if group["mode"] == "unified" else "v1",
        "container": facts.container(reader, config.environ) or "",
        "cpus": len(os.sched_getaffinity(0)),
        "distribution": _distribution(reader),
        "helpers": {name: engine.program(name) or "" for name in probes.PROGRAMS},
        "hostname": name.nodename,
        "idMappings": _mappings(engine),
        "kernel": name.release,
        "memFree": memory.get("MemAvailable", 0),
        "memTotal": memory.get("MemTotal", 0),
        "network": network["rung"] if network else "",
        "os": "linux",
        "security": {
            "apparmorEnabled": facts.strip(
                reader.text("/sys/module/apparmor/parameters/enabled")
            ) == "Y",
            "rootless": config.uid != 0,
            "seccompEnabled": rungs["confinement"][0]["ok"],
            "selinuxEnabled": reader.stat("/sys/fs/selinux/enforce") is not None,
        },
        "swapFree": memory.get("SwapFree", 0),
        "swapTotal": memory.get("SwapTotal", 0),
        "uid": config.uid,
        "uptime": _uptime(reader),
    }


def _memory(reader):
    """/proc/meminfo in bytes (proc(5))."""
    found = {}
    for _, line in reader.lines("/proc/meminfo") or ():
        key, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdecimal():
            found[key] = int(words[0]) * 1024
    return found


def _distribution(reader):
    """What /etc/os-release says (os-release(5))."""
    found = {}
    for _, line in reader.lines("/etc/os-release") or reader.lines("/usr/lib/os-release") or ():
        key, _, value = line.partition("=")
        found[key] = value.strip("\"'")
    shown = {"distribution": found.get("ID", "unknown"), "version": found.get("VERSION_ID", "")}
    if found.get("VERSION_CODENAME"):
        shown["codename"] = found["VERSION_CODENAME"]
    return shown


def _uptime(reader):
    seconds = int(float((reader.text("/proc/uptime") or "0").split()[0]))
    return f"{seconds // 3600}h {seconds % 3600 // 60}m {seconds % 60}s"


def _mappings(engine):
    try:
        ids = engine.ids
    except (RlError, OSError):
        return {"gidmap": [], "uidmap": []}
    return {
        name: [{"container_id": i, "host_id": o, "size": n} for i, o, n in ranges]
        for name, ranges in (("gidmap", ids.gids), ("uidmap", ids.uids))
    }


def _store(engine, rungs):
    config = engine.config
    layer = in_use(rungs["layer"])
    shown = {
        "containerStore": _containers(engine),
        "graphDriverName": layer["rung"] if layer else "",
    }
    try:
        root = config.root
    except NoHome as error:
        return {**shown, "graphRoot": "", "problem": error.message}
    mounts = facts.parse_mounts(facts.Reader().text("/proc/self/mountinfo") or "")
    place = facts.existing(root)
    mount = facts.mount_of(place, mounts) or {"at": "", "type": ""}
    room = os.statvfs(place)
    shown.update(
        graphRoot=root,
        graphRootAllocated=room.f_blocks * room.f_frsize,
        graphRootUsed=(room.f_blocks - room.f_bfree) * room.f_frsize,
        graphStatus={"Backing Filesystem": mount["type"], "Mount Point": mount["at"]},
        imageStore={"number": _count(f"{root}/images")},
        layerStore={"number": _count(f"{root}/layers")},
        volumeStore={"number": _count(f"{root}/volumes")},
        volumePath=f"{root}/volumes",
        configFile=sorted({path for path in config.sources.values() if path.startswith("/")}),
    )
    try:
        shown["runRoot"] = config.runroot
    except RuntimeDirectory as error:
        shown["runRoot"] = ""
        shown["problem"] = error.message
    return shown


def _count(path):
    try:
        return sum(not name.startswith(".") for name in os.listdir(path))
    except OSError:
        return 0


def _containers(engine):
    """How many containers there are, by state; unreadable ones count as stopped."""
    from rootless.engine import records

    found = {"number": 0, "paused": 0, "running": 0, "stopped": 0}
    try:
        everything = records.everything(engine)
        for record in everything:
            status = "" if "damaged" in record else records.state(engine, record)["status"]
            found["number"] += 1
            found[status if status in ("paused", "running") else "stopped"] += 1
    except (NoHome, RuntimeDirectory, OSError):
        pass  # said elsewhere: info goes on without
    return found


# -- text ----------------------------------------------------------------------------------


def yaml(value, indent=0):
    """Plain data as YAML text, the way podman's info prints it."""
    pad = "  " * indent
    lines = []
    if isinstance(value, dict):
        for key, inner in value.items():
            lines += _entry(f"{pad}{_scalar(key)}:", inner, indent + 1)
    else:
        for inner in value:
            text = yaml(inner, indent + 1) if _nested(inner) else None
            lines.append(f"{pad}- {text.lstrip() if text else _scalar(inner)}")
    return "\n".join(lines)


def _nested(value):
    return isinstance(value, dict | list | tuple) and len(value) > 0


def _entry(head, inner, indent):
    if _nested(inner):
        deeper = indent if isinstance(inner, dict) else indent - 1
        return [head, yaml(inner, deeper)]
    return [f"{head} {_scalar(inner)}"]


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+()=,;@' ")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "none", "~", "y", "n")


def _scalar(value):
    """One value in YAML: strings are quoted wherever they could be read as something else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict | list | tuple):
        return "{}" if isinstance(value, dict) else "[]"
    text = str(value)
    plain = text and set(text) <= _PLAIN and text[0].isalpha() or text.startswith("/")
    if plain and set(text) <= _PLAIN and text.strip() == text and text.lower() not in _WORDS:
        return text
    from rootless.model import jsontext

    return jsontext.dumps(text)  # JSON's strings are YAML's too
