"""What ``rl ps`` shows: rows of facts about containers, filtered and sorted."""

import os

from rootless.engine import filters, records
from rootless.errors import RlError

FILTERS = ("ancestor", "exited", "health", "id", "label", "label!", "name", "network", "pod",
           "since", "before", "status", "until", "volume", "command")
# What --filter KEY=… may say, where that is known beforehand.
_VALUES = {
    "status": ("created", "initialized", "running", "paused", "stopping", "restarting", "exited",
               "lost", "damaged", "removing", "stopped", "configured", "dead"),
    "health": ("none", "starting", "healthy", "unhealthy"),
}
# Other engines' names; how a container ended doesn't change that it has.
_STATUS = {"configured": ("created",), "dead": ("lost",), "exited": ("exited", "lost"),
           "stopped": ("exited", "lost")}
_SORT = {
    "created": lambda row: row["record"]["created"],
    "id": lambda row: row["Id"],
    "image": lambda row: row["Image"],
    "names": lambda row: row["Names"],
    "command": lambda row: row["Command"],
    "runningfor": lambda row: row["Created"],
    "size": lambda row: row.get("Size") or 0,
    "status": lambda row: row["State"],
}
SORT_KEYS = tuple(_SORT)


class BadSort(RlError):
    """cannot sort by {0!r}"""

    hint = "sort by one of: " + ", ".join(SORT_KEYS)


def rows(engine, items, wanted=()):
    """The rows (dicts, podman's names) of these records that pass the --filter texts."""
    pairs = filters.parse(wanted, FILTERS)
    for key, value in pairs:
        if value not in _VALUES.get(key, (value,)):
            raise filters.BadFilter(f"{key}={value}", f"there is no such {key}",
                                    hint="one of: " + ", ".join(_VALUES[key]))
        if key == "exited" and not value.removeprefix("-").isdecimal():
            raise filters.BadFilter(f"{key}={value}", "expected an exit code")
    found = []
    for record in items:
        row = describe(engine, record)
        if _passes(engine, row, pairs):
            found.append(row)
    return found


def describe(engine, record):
    """One row: the record and what the container is doing."""
    if "damaged" in record:
        return {"record": record, "Id": record["id"], "Names": record["name"], "Image": "",
                "ImageID": "", "Command": "", "State": "damaged",
                "Reason": record["damaged"], "CreatedAt": "", "Created": 0,
                "StartedAt": 0, "ExitedAt": 0, "ExitCode": -1,
                "Exited": True, "Pid": 0, "Ports": [], "Labels": {}, "Mounts": [],
                "Networks": [], "AutoRemove": False, "Restarts": 0, "Health": ""}
    state = records.state(engine, record)
    ended = state["exit"] or {}
    created = filters.moment(record["created"])
    return {
        "record": record,
        "Id": record["id"],
        "Names": record["name"],
        "Image": record["image_name"],
        "ImageID": record.get("image") or "",
        "Command": " ".join(record["command"]),
        "Created": int(created),
        "CreatedAt": record["created"],
        "StartedAt": _unix(state["started"]),
        "ExitedAt": _unix(ended.get("finished")),
        "Exited": state["status"] in ("exited", "lost"),
        "ExitCode": ended.get("code"),
        "Reason": ended.get("reason"),
        "State": state["status"],
        "Pid": state["pid"],
        "Health": health(engine, record, state),
        "Ports": _ports(engine, record, state),
        "Labels": record["labels"],
        "Mounts": [mount["Destination"] for mount in record["mounts"]],
        "Networks": record.get("networks", []),
        "AutoRemove": record["remove"],
        "Restarts": record.get("restarts", 0),
    }


def _ports(engine, record, state):
    """The published ports, as mappings of network.ports."""
    if not record.get("ports"):
        return []
    from rootless.engine import publish

    return publish.shown(engine, record, bool(state["pid"]))


def _unix(text):
    return int(filters.moment(text)) if text else 0


def health(engine, record, state):
    """The state of the container's health check: "", starting, healthy or unhealthy."""
    if not record.get("health") or state["status"] not in ("running", "paused"):
        return ""
    found = records.read_json(f"{records.run_directory(engine, record['id'])}/health")
    return (found or {}).get("Status", "starting")


def _passes(engine, row, pairs):
    """All labels must be there; of other filters with the same key one must fit."""
    by_key = {}
    for key, value in pairs:
        by_key.setdefault(key, []).append(value)
    for key, values in by_key.items():
        fits = [_fits(engine, row, key, value) for value in values]
        if not (all(fits) if key in ("label", "label!") else any(fits)):
            return False
    return True


def _fits(engine, row, key, value):
    record = row["record"]
    if key in ("name", "id", "command"):
        return _matches(row, key, value)
    if key == "label":
        return filters.has_label(row["Labels"], value)
    if key == "label!":
        return not filters.has_label(row["Labels"], value)
    if key == "status":
        return row["State"] in _STATUS.get(value, (value,))
    if key == "exited":
        return row["Exited"] and str(row["ExitCode"]) == value
    if key == "ancestor":
        return _descends(row, value)
    if key == "health":
        return (row["Health"] or "none") == value
    if key == "volume":
        return any(value in (mount["Destination"], mount.get("Name"), mount.get("Source"))
                   for mount in record.get("mounts", ()))
    if key == "network":
        return value in row["Networks"]
    if key == "pod":
        return False
    if key == "until":
        return filters.moment(record["created"]) < filters.moment(value)
    other = filters.moment(records.find(engine, value)["created"])
    created = filters.moment(record["created"])
    return created > other if key == "since" else created < other


def _matches(row, key, value):
    import re

    text = {"name": row["Names"], "id": row["Id"], "command": row["Command"]}[key]
    try:
        return re.search(value, text) is not None if key != "id" else text.startswith(value)
    except re.error as error:
        raise filters.BadFilter(f"{key}={value}", str(error)) from None


def _descends(row, value):
    name = row["Image"]
    if row["ImageID"].removeprefix("sha256:").startswith(value) and len(value) >= 6:
        return True
    plain = name.rpartition("/")[2]
    return value in (name, name.partition(":")[0], plain, plain.partition(":")[0])


def sort(found, key):
    """Sort rows in place by one of SORT_KEYS; BadSort."""
    if key not in _SORT:
        raise BadSort(key)
    found.sort(key=_SORT[key])


def add_sizes(engine, found):
    """Add to each row ``Size`` (bytes of its writable layer) and ``RootFsSize`` (with image)."""
    for row in found:
        record = row["record"]
        own = disk_usage(records.directory(engine, record["id"]))
        if record.get("capped"):
            from rootless.engine import capped

            own += capped.used(engine, record)
        image = sum(engine.store.layers.size(layer) for layer in record.get("layers", ()))
        row["Size"], row["RootFsSize"] = own, own + image


def disk_usage(path):
    """What is below ``path`` in bytes of file content; what can't be read counts as 0."""
    total = 0
    for above, _, names in os.walk(path, onerror=lambda error: None):
        for name in names:
            try:
                total += os.lstat(f"{above}/{name}").st_size
            except OSError:
                pass
    return total


def namespaces(pid):
    """The numbers of the namespaces a process is in: a dict of str, by podman's headings."""
    found = {}
    for heading, kind in (("CGROUPNS", "cgroup"), ("IPC", "ipc"), ("MNT", "mnt"), ("NET", "net"),
                          ("PIDNS", "pid"), ("USERNS", "user"), ("UTS", "uts")):
        try:
            text = os.readlink(f"/proc/{pid}/ns/{kind}") if pid else ""
        except OSError:
            text = ""
        found[heading] = text.partition("[")[2].rstrip("]")
    return found
