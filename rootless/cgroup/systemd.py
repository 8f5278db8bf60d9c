"""Scopes of the user's systemd (org.freedesktop.systemd1(5), systemd.scope(5))."""

from rootless.cgroup.bus import Refused

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager")  # fmt: skip
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_ERRORS = "org.freedesktop.DBus.Error."
_JOBS = ("type='signal',sender='org.freedesktop.systemd1',"
         "interface='org.freedesktop.systemd1.Manager',member='JobRemoved'")  # fmt: skip


def request_scope(bus, name, pids, slice_name, description):
    """Ask for a transient scope around ``pids`` and don't wait; what ``await_scope`` needs.

    ``name`` ends in ``.scope``, ``slice_name`` in ``.slice`` or is None for the manager's own.
    """
    bus.listen(_JOBS)
    properties = [
        ("Description", ("s", description)),
        ("Delegate", ("b", True)),
        ("PIDs", ("au", list(pids))),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    if slice_name:
        properties.append(("Slice", ("s", slice_name)))
    serial = bus.send(*_MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))",
                      name, "fail", properties, [])  # fmt: skip
    bus.flush()
    return serial


def await_scope(bus, serial, name):
    """Wait until the scope has its processes.  Raises Refused, BusTrouble."""
    job = bus.answer(serial)[0]
    _, _, _, result = bus.signal("JobRemoved", lambda values: values[1:2] == [job])
    if result != "done":
        raise Refused(result, f"the scope {name} could not be started")


def is_taken(error):
    """Whether a Refused says that there is a unit of this name."""
    return error.name == _EXISTS


def has_left(error):
    """Whether a Refused says that systemd left the bus before it answered, as it does to start
    itself anew (systemctl daemon-reexec): what it was asked may or may not have happened."""
    return error.name == f"{_ERRORS}NoReply"


def is_absent(error):
    """Whether a Refused says that there is no systemd on this bus."""
    return error.name in (f"{_ERRORS}ServiceUnknown", f"{_ERRORS}NameHasNoOwner")


def ping(bus):
    """Wait for a sign of life of systemd.  Raises Refused, BusTrouble."""
    bus.answer(bus.send(*_MANAGER[:2], "org.freedesktop.DBus.Peer", "Ping"))


def attach(bus, name, below, pid):
    """Move a process into the cgroup ``below`` (a path from the scope's, with its ``/``).

    For one that is elsewhere in a tree which isn't ours, a login session's: there systemd may
    move it and we may not (cgroups(7), "Delegation containment").
    """
    serial = bus.send(*_MANAGER, "AttachProcessesToUnit", "ssau", name, below, [pid])
    bus.answer(serial)
