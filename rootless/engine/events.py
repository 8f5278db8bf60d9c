"""Noting what happens to containers, images, volumes and networks, for ``rl events``.

One line of JSON per event in ``events.log`` of the store, written whole with O_APPEND, so
that many writers need no lock; at 1 MiB the file becomes ``events.log.1``.  Starts, ends
and health are noted by a container's monitor, which is there whatever else was killed
(docs/monitor.md, ``events=``).  Reading them is engine/events_read.py's.
"""

import os
from time import gmtime, strftime, time_ns

from rootless.model import jsontext

NAME = "events.log"
_MOST = 1 << 20
_ONE_LINE = 4096


def now():
    """This moment in RFC 3339 with nanoseconds, UTC."""
    moment = time_ns()
    whole = strftime("%Y-%m-%dT%H:%M:%S", gmtime(moment // 1_000_000_000))
    return f"{whole}.{moment % 1_000_000_000:09d}Z"


def path(engine):
    """The event log (absolute str)."""
    return f"{engine.config.root}/{NAME}"


def facts(record):
    """What every event of a container says about it, as a dict."""
    found = {"ID": record["id"], "Name": record["name"], "Image": record.get("image_name") or ""}
    labels = record.get("labels")
    if labels and len(jsontext.dumps(labels)) < _ONE_LINE - 1024:
        found["Attributes"] = labels
    return found


def container(engine, record, status, **more):
    """Note that ``status`` happened to a container; ``more`` are further facts."""
    _append(engine, {"Type": "container", "Status": status, "Time": now(), **facts(record), **more})


def image(engine, status, image_id, name):
    """Note an event of an image; ``name`` is what it is called, or its id."""
    _append(engine, {"Type": "image", "Status": status, "Time": now(), "ID": image_id,
                     "Name": name})


def volume(engine, status, name):
    """Note an event of a volume."""
    _append(engine, {"Type": "volume", "Status": status, "Time": now(), "ID": name, "Name": name})


def network(engine, status, name, container_id=None):
    """Note an event of a network; ``container_id`` of the container that came or went."""
    more = {} if container_id is None else {"Attributes": {"container": container_id}}
    _append(engine, {"Type": "network", "Status": status, "Time": now(), "ID": name,
                     "Name": name, **more})


def _append(engine, event):
    """An event that can't be written (a full disk) doesn't keep the verb from its work."""
    log = path(engine)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(log, flags, 0o600)
        try:
            os.write(descriptor, jsontext.dumps(event).encode() + b"\n")
            if os.fstat(descriptor).st_size > _MOST:
                _rotate(log)
        finally:
            os.close(descriptor)
    except OSError:
        pass


def _rotate(log):
    # Another writer may have done it just now: the new file is small.
    if os.stat(log).st_size > _MOST:
        os.rename(log, f"{log}.1")
