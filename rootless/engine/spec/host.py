"""What the spec has to know about this machine and this user: plain data."""

import os

_LIMITS = {"nofile": 7, "nproc": 6}


class HostFacts:
    """Everything around a container that decides over its specification.

    ``uid``, ``gid``      of the user that calls rl; ``username`` and ``gecos`` of that user
    ``home``              home directory of that user
    ``ids``               model.idmap.Ids: the map that a container gets by default
    ``environ``           dict: what --env-host, ``-e NAME`` and the proxies may take from
    ``cwd``               the directory that relative paths start from
    ``hostname``          of this machine
    ``limits``            name → (soft, hard) of this process (getrlimit(2)); -1: unlimited
    ``capabilities``      every capability the running kernel has, as a set (int)
    ``oom_score_adj``     of this process
    ``cgroup``            2, 1 or 0 (not mounted)
    ``cgroup_writable``   whether the container gets a cgroup that it may divide
    ``selinux``           whether SELinux is on
    ``apparmor``          whether AppArmor is on
    ``localtime``         the file that says this machine's time zone; it need not exist
    ``zoneinfo``          the directory of time zones
    ``throttles``         the existing /sys/devices/system/cpu/cpu*/thermal_throttle
    ``container``         the new container's id
    ``files``             destination → path of this machine: /etc/hosts and the like
    ``used``              ranges (start, count) of outside user ids that ``auto`` containers have
    ``find``              function: a container's name or id → the id, for container:NAME
    """

    uid = gid = 0
    username = "root"
    gecos = ""
    home = "/root"
    hostname = "localhost"
    cwd = "/"
    capabilities = (1 << 41) - 1
    oom_score_adj = 0
    cgroup = 2
    cgroup_writable = selinux = apparmor = False
    localtime = "/etc/localtime"
    zoneinfo = "/usr/share/zoneinfo"
    container = "0" * 64
    used = throttles = ()

    def __init__(self, ids, **facts):
        self.ids = ids
        self.environ = {}
        self.limits = {"nofile": (1024, 1048576), "nproc": (-1, -1)}
        self.files = {}
        self.find = str
        self.__dict__.update(facts)


def gather(ids, environ, **facts):
    """The HostFacts of this process and machine.

    ``facts`` are those that only the caller knows: ``container``, ``files``, ``used``,
    ``find``, ``cgroup_writable``.
    """
    from rootless.kernel import caps

    uid = os.getuid()
    system = os.uname()
    found = {
        "uid": uid,
        "gid": os.getgid(),
        "username": environ.get("USER") or environ.get("LOGNAME") or str(uid),
        "home": environ.get("HOME") or "/",
        "environ": environ,
        "cwd": _cwd(),
        "hostname": system.nodename,
        "limits": _limits(),
        "capabilities": caps.kernel_all(),
        "oom_score_adj": _number("/proc/self/oom_score_adj"),
        "cgroup": 2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        else int(os.path.ismount("/sys/fs/cgroup")),
        "selinux": os.path.exists("/sys/fs/selinux/enforce"),
        "apparmor": _flag("/sys/module/apparmor/parameters/enabled"),
        "throttles": _throttles(),
    }
    return HostFacts(ids, **{**found, **facts})


def _cwd():
    try:
        return os.getcwd()
    except OSError:
        return "/"  # it was removed


def _limits():
    from resource import getrlimit

    return {name: getrlimit(number) for name, number in _LIMITS.items()}


def _number(path):
    try:
        with open(path, "rb", 0) as file:
            return int(file.read(32))
    except (OSError, ValueError):
        return 0


def _flag(path):
    try:
        with open(path, "rb", 0) as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def _throttles():
    base = "/sys/devices/system/cpu"
    try:
        names = [name for name in os.listdir(base) if name[:3] == "cpu" and name[3:].isdigit()]
    except OSError:
        return ()
    paths = [f"{base}/{name}/thermal_throttle" for name in sorted(names, key=lambda n: int(n[3:]))]
    # One directory tells for all: they come with the processor's driver.
    return tuple(paths) if paths and os.path.isdir(paths[0]) else ()


def account(host):
    """[name, uid, gid, real name, home] of the calling user, as the user database has it."""
    try:
        import pwd

        entry = pwd.getpwuid(host.uid)
        return [entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_gecos.split(",")[0],
                entry.pw_dir]
    except (ImportError, KeyError):
        return [host.username, host.uid, host.gid, host.gecos, host.home]
