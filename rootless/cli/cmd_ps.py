"""rl ps"""

import sys
import time

from rootless.cli import output
from rootless.engine import listing, records

_FIELDS = (("CONTAINER ID", "ID"), ("IMAGE", "Image"), ("COMMAND", "Command"),
           ("CREATED", "RunningFor"), ("STATUS", "Status"), ("PORTS", "Ports"),
           ("NAMES", "Names"))  # fmt: skip
_NAMESPACE_FIELDS = (("CONTAINER ID", "ID"), ("NAMES", "Names"), ("PID", "Pid"),
                     ("CGROUPNS", "CGROUPNS"), ("IPC", "IPC"), ("MNT", "MNT"), ("NET", "NET"),
                     ("PIDNS", "PIDNS"), ("USERNS", "USERNS"), ("UTS", "UTS"))  # fmt: skip
_LIVING = ("running", "paused", "stopping", "restarting")
_CLEAR = "\x1b[2J\x1b[H"


def main(engine, request):
    """List containers, once or again and again."""
    while True:
        _show(engine, request)
        if not request.watch:
            return 0
        sys.stdout.flush()
        time.sleep(request.watch)
        sys.stdout.write(_CLEAR if sys.stdout.isatty() else "\n")


def _show(engine, request):
    rows = _rows(engine, request)
    if request.quiet and not request.format:
        for row in rows:
            output.line(row["Id"] if request.no_trunc else row["Id"][:12])
        return
    fields = _NAMESPACE_FIELDS if request.ns else _FIELDS
    if request.size:
        fields = (*fields, ("SIZE", "Size"))
    items = [_item(row, request) for row in rows]
    output.listing(items, fields, format=request.format, noheading=request.noheading,
                   raw=[_raw(row) for row in rows])


def _rows(engine, request):
    items = records.everything(engine)
    count = 1 if request.latest else request.last
    everything = request.all or request.filter or (count is not None and count >= 0)
    rows = listing.rows(engine, items, request.filter)
    if not everything:
        rows = [row for row in rows if row["State"] in _LIVING]
    if count is not None and count >= 0:
        rows = rows[len(rows) - min(count, len(rows)) :]
    if request.size or request.sort == "size" or ".Size" in (request.format or ""):
        listing.add_sizes(engine, rows)
    listing.sort(rows, request.sort or "created")
    return rows


def status(row):
    """The STATUS column: "Up 2 minutes", "Exited (0) 3 hours ago" …"""
    state = row["State"]
    if state in ("running", "paused", "stopping"):
        text = f"Up {output.duration(max(0, time.time() - row['StartedAt']))}"
        if state != "running":
            text += f" ({state.capitalize()})"
        return f"{text} ({row['Health']})" if row["Health"] else text
    if state == "restarting":
        return f"Restarting ({row['ExitCode']}) {output.ago(row['ExitedAt'])}"
    if state == "exited" and row["Reason"] == "boot":
        return "Exited (unknown, the machine was restarted)"
    if state == "exited" and row["Reason"] == "damaged":
        return "Exited (unknown, the record of its end is damaged)"
    if state == "exited":
        return f"Exited ({row['ExitCode']}) {output.ago(row['ExitedAt'])}"
    if state == "lost":
        return "Exited (unknown, its monitor was killed)"
    if state == "damaged":
        return f"Damaged: {row['Reason']}"
    return state.capitalize()


def _item(row, request):
    """A row as it is shown: texts, under the names that templates use."""
    trunc = not request.no_trunc
    item = {
        **{key: value for key, value in row.items() if key != "record"},
        "ID": row["Id"][:12] if trunc else row["Id"],
        "Command": output.short(row["Command"], 20, trunc),
        "RunningFor": output.ago(row["Created"]) if row["Created"] else "",
        "Status": status(row),
        "Mounts": ",".join(row["Mounts"]),
        "Ports": _ports(row["Ports"]),
        "Networks": ",".join(row["Networks"]),
        "Labels": row["Labels"],
    }
    if trunc:
        item["ImageID"] = row["ImageID"].removeprefix("sha256:")[:12]
    if "Size" in row:
        total = row["Size"] + row["RootFsSize"]
        item["Size"] = f"{output.size(row['Size'])} (virtual {output.size(total)})"
    if request.ns:
        item.update(listing.namespaces(row["Pid"]))
    return item


def _ports(mappings):
    if not mappings:
        return ""
    from rootless.engine import publish

    return publish.text(mappings)


def _raw(row):
    """A row for ``--format json``: values, not texts."""
    raw = {key: value for key, value in row.items() if key != "record"}
    raw["Names"] = [row["Names"]]
    raw["Command"] = row["record"].get("command", [])
    raw["Status"] = status(row)
    return raw
