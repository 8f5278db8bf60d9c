"""Where a user may make cgroups: the ladder of limits.

systemd     the user's systemd makes a scope and gives it away (Delegate=yes)
delegated   the cgroup that this process is in is the user's own: a batch step, a job of
            a CI system, a unit with Delegate=yes
none        neither; nothing is limited
"""

import os

from rootless.cgroup import bus, files

# What containers are given, as far as it was delegated.
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


class Place:
    """One rung: ``kind`` "systemd", "delegated" or "none", and why.

    ``controllers`` what can be limited there (set); ``directory`` of the delegated cgroup;
    ``bus`` the path of the bus's socket; ``manager`` the cgroup of the user's systemd.
    """

    def __init__(self, kind, why="", controllers=(), directory=None, bus=None):
        self.kind = kind
        self.why = why
        self.controllers = frozenset(controllers)
        self.directory = directory
        self.bus = bus


def find(environ, uid, top=files.TOP):
    """The best Place of this process.  Costs a handful of system calls."""
    if not os.path.exists(f"{top}/cgroup.controllers"):
        return Place("none", "this machine does not use cgroups version 2 alone")
    path, manager = _manager(environ, uid, top)
    if path and _is_there(path):
        return Place("systemd", controllers=_listed(f"{manager}/cgroup.controllers"), bus=path)
    found = delegated(top)
    if found.kind != "none":
        return found
    return Place(
        "none",
        f"there is no user session of systemd (no bus at {path or '/run/user'}), and {found.why}",
    )


def _manager(environ, uid, top):
    """(socket of the bus, cgroup) of the systemd that this user may ask."""
    if not uid:  # root's containers belong to the machine's own
        return (
            "/run/dbus/system_bus_socket" if os.path.isdir("/run/systemd/system") else None
        ), top
    manager = f"{top}/user.slice/user-{uid}.slice/user@{uid}.service"
    return bus.address(environ, uid), manager


def _is_there(path):
    return path[:1] == "@" or os.path.exists(path)


def delegated(top=files.TOP, own=None):
    """The Place of the cgroup that this process is in, if it was delegated to the caller."""
    own = own or files.of_process()
    if own is None:
        return Place("none", "this process is in no cgroup that it can see")
    directory = _home(top + own.rstrip("/"))
    if not all(
        os.access(f"{directory}/{name}", os.W_OK)
        for name in ("cgroup.procs", "cgroup.subtree_control", "")
    ):
        return Place("none", f"the cgroup {own} of this process is not the user's own")
    return Place("delegated", controllers=_listed(f"{directory}/cgroup.controllers"),
                 directory=directory)  # fmt: skip


def _home(directory):
    """Where containers go: beside the leaf that an earlier rl made for its callers, or beside
    the container whose monitor starts it anew."""
    parent, _, leaf = directory.rpartition("/")
    if leaf == CALLERS:
        return parent
    if leaf == "monitor" and parent.rpartition("/")[2].startswith(PREFIX):
        return parent.rpartition("/")[0]
    return directory


CALLERS = "rl-callers"
PREFIX = "rl-"


def _listed(path):
    return set(files.read(path).split()) & set(CONTROLLERS)
