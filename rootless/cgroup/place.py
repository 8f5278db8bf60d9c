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
CALLERS = "rl-callers"
PREFIX = "rl-"


class Place:
    """One rung: ``kind`` "systemd", "delegated" or "none", and why.

    ``controllers`` what can be limited there (set); ``directory`` of the delegated cgroup, or
    of that of the user's systemd; ``bus`` the path of the bus's socket.
    """

    def __init__(self, kind, why="", controllers=(), directory=None, bus=None):
        self.kind = kind
        self.why = why
        self.controllers = frozenset(controllers)
        self.directory = directory
        self.bus = bus


def find(environ, uid, top=files.TOP, own=None):
    """The best Place of this process.  Costs a handful of system calls.

    Who was given a cgroup outside of the login's part of the tree, by a batch system or a unit
    of the machine's, stays in it: a scope of the user's systemd would take the containers out
    of what limits and ends that job.
    """
    if not os.path.exists(f"{top}/cgroup.controllers"):
        return Place("none", "this machine does not use cgroups version 2 alone")
    own = own or files.of_process()
    here = delegated(top, own)
    at_home = not uid or f"/user-{uid}.slice/" in f"{own}/"
    if here.kind == "delegated" and not at_home:
        return here
    if here.kind == "none" and _is_batch(own):
        return Place("none", "this is a job of Slurm, which has not handed over its cgroup, and"
                     " outside of that the job's limits would not hold")  # fmt: skip
    path, manager = socket(environ, uid), top
    if uid:  # root's containers belong to the machine's own
        manager = f"{top}/user.slice/user-{uid}.slice/user@{uid}.service"
    if path:
        controllers = _listed(f"{manager}/cgroup.controllers")
        return Place("systemd", controllers=controllers, directory=manager, bus=path)
    if here.kind == "delegated":
        return here
    return Place("none", f"there is no user session of systemd ({_no_bus(environ, uid)}), and"
                 f" {here.why}")  # fmt: skip


def _is_batch(own):
    """Whether a cgroup is that of a Slurm step (slurm.conf(5), cgroup/v2)."""
    return any(part.endswith("slurmstepd.scope") for part in (own or "").split("/"))


def socket(environ, uid):
    """The path of the bus on which this user's systemd is asked (str); None without one."""
    if not uid:
        return "/run/dbus/system_bus_socket" if os.path.isdir("/run/systemd/system") else None
    return next(filter(_is_there, bus.addresses(environ, uid)), None)


def _is_there(path):
    if path[:1] != "@":
        return os.path.exists(path)
    return any(line.endswith(f" {path}") for line in files.read("/proc/net/unix").splitlines())


def _no_bus(environ, uid):
    looked = bus.addresses(environ, uid)
    text = f"no bus at {' or '.join(looked)}" if looked else "no XDG_RUNTIME_DIR"
    other = bus.unusable(environ)
    return f"{text}; DBUS_SESSION_BUS_ADDRESS speaks {other}, which rl does not" if other else text


def delegated(top=files.TOP, own=None):
    """The Place of the cgroup that this process is in, if it was delegated to the caller."""
    own = own or files.of_process()
    if own is None:
        return Place("none", "this process is in no cgroup that it can see")
    directory = _home(top + own.rstrip("/"))
    # The top of a cgroup namespace looks like "/", and is a group all the same.
    kind = files.read(f"{directory}/cgroup.type").strip()
    if kind not in ("", "domain"):
        return Place("none", f"the cgroup {own} of this process is for threads ({kind})")
    for name in ("cgroup.procs", "cgroup.subtree_control", ""):
        if not os.access(f"{directory}/{name}", os.W_OK):
            fixed = os.path.exists(directory) and os.statvfs(directory).f_flag & os.ST_RDONLY
            why = "is mounted read-only" if fixed else "is not the user's own"
            return Place("none", f"the cgroup {own} of this process {why}")
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


def _listed(path):
    return set(files.read(path).split())
