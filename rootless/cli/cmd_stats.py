"""rl stats"""

import sys
import time

from rootless.cli import output
from rootless.engine import lifecycle, records, stats

_INTERVAL = 5
_CLEAR = "\x1b[2J\x1b[H"
_FIELDS = (("ID", "ID"), ("NAME", "Name"), ("CPU %", "CPUPerc"),
           ("MEM USAGE / LIMIT", "MemUsage"), ("MEM %", "MemPerc"), ("NET IO", "NetIO"),
           ("BLOCK IO", "BlockIO"), ("PIDS", "PIDs"), ("CPU TIME", "UpTime"),
           ("AVG CPU %", "AVGCPU"))  # fmt: skip
# Of cgroups only: shares of the last ten seconds in which some process had to wait.
_PRESSURE = (("CPU PRESSURE", "CPUPressure", "cpu"), ("MEM PRESSURE", "MemPressure", "memory"),
             ("IO PRESSURE", "IOPressure", "io"))  # fmt: skip
_HIDDEN = (*(row[:2] for row in _PRESSURE),
           ("CONTAINER", "Container"), ("CPU", "CPU"), ("SOURCE", "Source"),
           ("MEM USAGE / LIMIT", "MemUsageBytes"))  # fmt: skip
_UNKNOWN = "-- / --"


def main(engine, request):
    """Show what containers use, once or again and again."""
    before = {}
    while True:
        uses = stats.sample(engine, _chosen(engine, request))
        if not request.no_stream and not request.no_reset and sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        items = [_item(use, before.get(use.record["id"]), request) for use in uses]
        output.listing(items, _FIELDS, format=request.format, hidden=_HIDDEN,
                       raw=[_raw(item) for item in items])
        if request.no_stream:
            return 0
        sys.stdout.flush()
        before = {use.record["id"]: use for use in uses}
        time.sleep(request.interval or _INTERVAL)


def _chosen(engine, request):
    """The records to show: those named in any state, else the running ones, or all."""
    if request.args or request.latest:
        return lifecycle.select(engine, request)
    found = [record for record in records.everything(engine) if "damaged" not in record]
    if request.all:
        return found
    return [one for one in found if records.state(engine, one)["pid"]]


def _item(use, before, request):
    percent = average = 100 * use.cpu / use.age if use.age else 0.0
    if before is not None and use.moment > before.moment:
        percent = 100 * max(0.0, use.cpu - before.cpu) / (use.moment - before.moment)
    identity = use.record["id"]
    return {
        "ID": identity if request.no_trunc else identity[:12],
        "Container": identity,
        "Name": use.record["name"],
        "CPU": percent,
        "CPUPerc": f"{percent:.2f}%",
        "MemUsage": _both(use.memory, use.limit),
        "MemUsageBytes": f"{_iec(use.memory)} / {_iec(use.limit)}",
        "MemPerc": f"{100 * use.memory / use.limit:.2f}%",
        "NetIO": _both(use.received, use.sent),
        "BlockIO": _both(use.read, use.written),
        "PIDs": use.tasks,
        "UpTime": f"{use.cpu:.6f}s",
        "AVGCPU": f"{average:.2f}%",
        "Source": use.source,
        **{name: f"{use.pressure[key]:.2f}%" if use.pressure and key in use.pressure else "--"
           for _, name, key in _PRESSURE},
    }


def _both(one, other):
    if one is None or other is None:
        return _UNKNOWN
    return " / ".join(output.size(count).replace(" ", "") for count in (one, other))


def _iec(count):
    """Bytes in units of 1024."""
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))
    unit = next(units)
    while value >= 1024 and unit != "PiB":
        value, unit = value / 1024, next(units)
    return f"{value:.4g}{unit}"


def _raw(item):
    """For ``--format json``: podman's names, and where the numbers are from."""
    return {
        "id": item["ID"], "name": item["Name"], "cpu_time": item["UpTime"],
        "cpu_percent": item["CPUPerc"], "avg_cpu": item["AVGCPU"], "mem_usage": item["MemUsage"],
        "mem_percent": item["MemPerc"], "net_io": item["NetIO"], "block_io": item["BlockIO"],
        "pids": str(item["PIDs"]), "source": item["Source"],
        "cpu_pressure": item["CPUPressure"], "mem_pressure": item["MemPressure"],
        "io_pressure": item["IOPressure"],
    }  # fmt: skip
