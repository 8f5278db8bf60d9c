"""Scopes of the user's systemd (org.freedesktop.systemd1(5), systemd.scope(5))."""

from rootless.cgroup.bus import Refused

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager")  # fmt: skip
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_JOBS = ("type='signal',sender='org.freedesktop.systemd1',"
         "interface='org.freedesktop.systemd1.Manager',member='JobRemoved'")  # fmt: skip


def request_scope(bus, name, pids, slice_name, description, collect=True):
    """Ask for a transient scope around ``pids`` and don't wait; what ``await_scope`` needs.

    ``name`` ends in ``.scope``, ``slice_name`` in ``.slice`` or is None for the manager's own.
    """
    bus.listen(_JOBS)
    serial = _start(bus, name, pids, slice_name, description, collect)
    bus.flush()
    return serial


def _start(bus, name, pids, slice_name, description, collect):
    properties = [
        ("Description", ("s", description)),
        ("Delegate", ("b", True)),
        ("PIDs", ("au", list(pids))),
    ]
    if slice_name:
        properties.append(("Slice", ("s", slice_name)))
    if collect:
        properties.append(("CollectMode", ("s", "inactive-or-failed")))
    return bus.send(*_MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))",
                    name, "fail", properties, [])  # fmt: skip


def await_scope(bus, serial, name):
    """Wait until the scope has its processes.  Raises Refused, BusTrouble."""
    job = bus.answer(serial)[0]
    _, _, _, result = bus.signal("JobRemoved", lambda values: values[1:2] == [job])
    if result != "done":
        raise Refused(result, f"the scope {name} could not be started")


def is_taken(error):
    """Whether a Refused says that there is a unit of this name."""
    return error.name == _EXISTS


def attach(bus, name, below, pid):
    """Move a process into the cgroup ``below`` (a path from the scope's, with its ``/``).

    For one that is elsewhere in a tree which isn't ours, a login session's: there systemd may
    move it and we may not (cgroups(7), "Delegation containment").
    """
    serial = bus.send(*_MANAGER, "AttachProcessesToUnit", "ssau", name, below, [pid])
    bus.answer(serial)
