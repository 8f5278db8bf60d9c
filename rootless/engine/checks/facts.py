"""Everything the checks look at, gathered once and without changing anything.

The checks are pure functions over ``Facts``; its defaults describe a machine where
nothing is missing, so that a test only says what it wants broken.
"""

import errno
import os

SYSCTLS = (
    "kernel/unprivileged_userns_clone",
    "kernel/apparmor_restrict_unprivileged_userns",
    "user/max_user_namespaces",
    "user/max_net_namespaces",
    "user/max_mnt_namespaces",
    "user/max_pid_namespaces",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ping_group_range",
    "kernel/keys/maxkeys",
    "fs/inotify/max_user_instances",
)
PROGRAMS = (
    "newuidmap",
    "newgidmap",
    "fuse-overlayfs",
    "fusermount3",
    "pasta",
    "slirp4netns",
    "systemctl",
    "loginctl",
)
DEVICES = ("/dev/fuse", "/dev/net/tun", "/dev/null")

_HEALTHY_SYSCTLS = {
    "user/max_user_namespaces": "100000",
    "net/ipv4/ip_unprivileged_port_start": "80",
    "net/ipv4/ping_group_range": "0\t2147483647",
}


def program(path, mode=0o755, uid=0, caps=False, mount=()):
    """What is known of a helper program, as the dict that ``Facts.programs`` holds."""
    return {"path": path, "mode": mode, "uid": uid, "caps": caps, "mount": list(mount)}


class Facts:
    """What was seen.  Attributes are given by name; the others keep a healthy default.

    uid, gid (int), user (str or None), groups (list of int)
    kernel (str, as uname -r), container (str or None: what shows that this is one)
    uid_map (list of [inside, outside, count]: the map rl itself runs under)
    no_new_privs, seccomp (int), bounding (int), single_root ("/" is a mount: no chroot)
    userns: None, or the errno of trying to make a user namespace
    subuid, subgid: list of (line number, text) or None where the file is absent
    subid_source: what /etc/nsswitch.conf says of subid, or None
    programs: {name: program() or None}; sysctls: {"a/b": str or None}
    devices: {path: None if it can be opened, else the errno}
    file_systems: names in /proc/filesystems; selinux (enforcing), apparmor: bool
    store, runtime, cgroup, session: dicts, see the functions that gather them
    nofile, nproc: hard limits (int, -1: none); nameservers: list of str
    seccomp_library: bool; helpers: names of rl's own helpers that are not there
    clock_behind: seconds that the clock is behind the time rl was installed (float, or 0)
    rungs: {ladder: [{"rung", "ok", "reason"}]}, best first
    """

    def __init__(self, **given):
        self.uid, self.gid, self.user, self.groups = 1000, 1000, "alice", [1000]
        self.kernel, self.container = "6.8.0", None
        self.uid_map = [[0, 0, 4294967295]]
        self.no_new_privs, self.seccomp, self.bounding = 0, 0, (1 << 41) - 1
        self.single_root, self.userns = True, None
        self.subuid = [(1, "alice:100000:65536")]
        self.subgid = [(1, "alice:100000:65536")]
        self.subid_source = None
        self.programs = {name: program(f"/usr/bin/{name}") for name in PROGRAMS}
        for name in ("newuidmap", "newgidmap"):
            self.programs[name]["mode"] = 0o4755
        self.sysctls = {name: _HEALTHY_SYSCTLS.get(name) for name in SYSCTLS}
        self.devices = dict.fromkeys(DEVICES)
        self.file_systems = ["proc", "overlay", "fuse", "tmpfs", "ext4"]
        self.selinux, self.apparmor = False, False
        self.store = healthy_store()
        self.runtime = {"path": "/run/user/1000/rl", "rung": "XDG_RUNTIME_DIR", "error": None,
                        "tries": [["XDG_RUNTIME_DIR", "/run/user/1000", None]]}
        self.cgroup = {"mode": "unified", "own": "/user.slice", "writable": True,
                       "kind": "systemd", "why": "",
                       "controllers": ["cpu", "cpuset", "io", "memory", "pids"],
                       "delegated": ["cpu", "cpuset", "io", "memory", "pids"]}
        self.session = {"systemd": True, "bus": True, "linger": True, "trouble": None}
        self.nofile, self.nproc = 1048576, 127000
        self.nameservers = ["192.0.2.53"]
        self.seccomp_library, self.helpers, self.clock_behind = True, [], 0
        self.rungs = {}
        for name, value in given.items():
            if name not in self.__dict__:
                raise TypeError(f"no such fact: {name}")
            setattr(self, name, value)

    @property
    def kernel_version(self):
        """(major, minor) of the running kernel."""
        numbers = []
        for part in self.kernel.split(".")[:2]:
            digits = part[: len(part) - len(part.lstrip("0123456789"))]
            numbers.append(int(digits or 0))
        return tuple(numbers)

    @property
    def nested(self):
        """True if rl itself runs in a user namespace that maps only some ids."""
        return sum(row[2] for row in self.uid_map) < 4294967295

    def sysctl(self, name):
        """The value of a sysctl as int; None if the kernel doesn't have it."""
        try:
            return int(self.sysctls.get(name) or "")
        except ValueError:
            return None

    def best(self, ladder):
        """The first rung that works, or None."""
        for row in self.rungs.get(ladder, ()):
            if row["ok"]:
                return row["rung"]
        return None

    def note(self, ladder, rung):
        """What there is to say of a rung that works (str), or ""."""
        for row in self.rungs.get(ladder, ()):
            if row["rung"] == rung and row["ok"]:
                return row["reason"]
        return ""

    def reason(self, ladder, rung):
        """Why a rung doesn't work (str), or "" if it does or wasn't tried."""
        for row in self.rungs.get(ladder, ()):
            if row["rung"] == rung and not row["ok"]:
                return row["reason"]
        return ""


def healthy_store():
    """What ``store`` gives for a store where nothing is wrong."""
    return {"path": "/home/alice/.local/share/rl", "at": "/home/alice", "type": "ext4",
            "options": ["rw", "relatime"], "owner": 1000, "error": None, "write": None,
            "free": 1 << 40, "free_inodes": 1 << 20}


# -- gathering -----------------------------------------------------------------------------


class Reader:
    """Small files under a prefix ("" on a real machine)."""

    def __init__(self, prefix=""):
        self.prefix = prefix

    def text(self, path, limit=1 << 20):
        """The text of a file, or None if it can't be had."""
        try:
            with open(self.prefix + path, "rb", 0) as file:
                return file.read(limit).decode("utf-8", "replace")
        except OSError:
            return None

    def lines(self, path):
        """[(number, line)] without empty ones and comments; None if there is no file."""
        text = self.text(path)
        if text is None:
            return None
        rows = enumerate((line.strip() for line in text.splitlines()), 1)
        return [(number, line) for number, line in rows if line and not line.startswith("#")]

    def stat(self, path):
        try:
            return os.stat(self.prefix + path)
        except OSError:
            return None


def gather(engine, rungs, prefix=""):
    """The Facts of this machine.

    ``rungs`` are the results of the probes (engine.info.ladders); ``prefix`` is put before
    /proc, /sys, /etc and /dev, for tests.
    """
    reader = Reader(prefix)
    config = engine.config
    mounts = parse_mounts(reader.text("/proc/self/mountinfo") or "")
    facts = Facts(
        uid=config.uid,
        gid=os.getegid(),
        user=_user(config.uid),
        groups=os.getgroups(),
        kernel=os.uname().release,
        container=container(reader, config.environ),
        single_root=any(mount["at"] == "/" for mount in mounts),
        subuid=reader.lines("/etc/subuid"),
        subgid=reader.lines("/etc/subgid"),
        subid_source=_subid_source(reader),
        programs={name: _program(engine, name, mounts) for name in PROGRAMS},
        sysctls={name: strip(reader.text(f"/proc/sys/{name}")) for name in SYSCTLS},
        devices={path: _openable(prefix + path) for path in DEVICES},
        file_systems=[line.split()[-1] for _, line in reader.lines("/proc/filesystems") or ()],
        selinux=strip(reader.text("/sys/fs/selinux/enforce")) == "1",
        apparmor=strip(reader.text("/sys/module/apparmor/parameters/enabled")) == "Y",
        nameservers=_nameservers(reader),
        cgroup=cgroup(reader, config.uid, config.environ),
        session=session(reader, config),
        rungs=rungs,
    )
    _from_status(facts, reader.text("/proc/self/status") or "")
    facts.uid_map = [
        [int(word) for word in line.split()] for _, line in reader.lines("/proc/self/uid_map") or ()
    ] or facts.uid_map
    facts.userns = _try_userns()
    facts.store = store(config.root if _has_home(config) else None, mounts)
    facts.runtime = _runtime(config)
    _limits(facts)
    facts.seccomp_library = facts.best("confinement") == "seccomp"
    facts.helpers = _missing_helpers()
    facts.clock_behind = _clock_behind()
    return facts


def strip(text):
    """``text`` without white space around it; None stays None."""
    return None if text is None else text.strip()


def _user(uid):
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _has_home(config):
    from rootless.config import NoHome

    try:
        return bool(config.root)
    except NoHome:
        return False


def container(reader, environ):
    """What says that this is the inside of a container, or None."""
    for path in ("/run/.containerenv", "/.dockerenv"):
        if reader.stat(path):
            return path
    if environ.get("container"):
        return f"container={environ['container']}"
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return "KUBERNETES_SERVICE_HOST"
    return None


def _subid_source(reader):
    for _, line in reader.lines("/etc/nsswitch.conf") or ():
        key, _, value = line.partition(":")
        if key.strip() == "subid":
            return value.strip()
    return None


def parse_mounts(text):
    """The mounts in a mountinfo file (proc(5)), later ones last: dicts of at, type, options."""
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        words, rest = left.split(" "), right.split(" ")
        if len(words) < 6 or not rest[0]:
            continue
        path = words[4]
        for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            path = path.replace(code, letter)
        options = words[5].split(",")
        mounts.append({"at": path, "type": rest[0], "options": options})
    return mounts


def mount_of(path, mounts):
    """The mount that ``path`` (absolute, without links) is on; None if none is known."""
    found = None
    for mount in mounts:
        at = mount["at"]
        if path == at or at == "/" or path.startswith(at + "/"):
            if found is None or len(at) >= len(found["at"]):
                found = mount
    return found


def _program(engine, name, mounts):
    path = engine.program(name)
    if path is None:
        return None
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError:
        return None
    try:
        caps = bool(os.getxattr(real, "security.capability"))
    except OSError:
        caps = False
    mount = mount_of(real, mounts)
    options = mount["options"] if mount else ()
    return program(path, status.st_mode & 0o7777, status.st_uid, caps, options)


def _openable(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        return error.errno
    return None


def _nameservers(reader):
    found = []
    for _, line in reader.lines("/etc/resolv.conf") or ():
        words = line.split()
        if words[0] == "nameserver" and len(words) > 1:
            found.append(words[1])
    return found


def _from_status(facts, text):
    for line in text.splitlines():
        key, _, value = line.partition(":")
        value = value.strip()
        if key == "NoNewPrivs":
            facts.no_new_privs = int(value)
        elif key == "Seccomp":
            facts.seccomp = int(value)
        elif key == "CapBnd":
            facts.bounding = int(value, 16)


def _try_userns():
    """Make a user namespace in a child that ends at once: None, or the errno."""
    from rootless.kernel import userns

    try:
        userns.call_in(userns.single_ids(), os.getpid)
    except userns.NoUserNamespace as error:
        return getattr(error, "errno", None) or _errno_of(str(error))
    except OSError as error:
        return error.errno
    except userns.MapFailed:
        return errno.EPERM
    return None


def _errno_of(text):
    for number in (errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.ENOSYS):
        if errno.errorcode[number] in text:
            return number
    return errno.EPERM


def store(path, mounts):
    """Facts about the directory of the store, or about where it would be made."""
    if path is None:
        return dict(healthy_store(), path=None, error="there is no home directory")
    found = {"path": path, "owner": None, "error": None, "write": None}
    place = existing(path)
    try:
        owner = os.stat(path).st_uid if os.path.lexists(path) else None
        room = os.statvfs(place)
    except OSError as error:
        return dict(healthy_store(), path=path, error=error.strerror)
    mount = mount_of(place, mounts) or {"at": "?", "type": "?", "options": []}
    found.update(at=mount["at"], type=mount["type"], options=mount["options"], owner=owner)
    found.update(free=room.f_bavail * room.f_frsize, free_inodes=room.f_favail)
    if room.f_files == 0:
        found["free_inodes"] = 1 << 20  # btrfs and others make them as needed
    found["write"] = _try_write(place)
    return found


def existing(path):
    """The nearest directory that exists: ``path`` or one above it, without links."""
    place = os.path.realpath(path)
    while not os.path.isdir(place) and place != "/":
        place = os.path.dirname(place)
    return place


def _try_write(place):
    """Whether 64 KiB can be written to a directory: None, or the errno (quota, read-only)."""
    handle, name = None, f"{place}/.rl-doctor-{os.urandom(6).hex()}"
    try:
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(name)
        os.write(handle, b"\1" * 65536)
        os.fsync(handle)
    except OSError as error:
        return error.errno
    finally:
        if handle is not None:
            os.close(handle)
    return None


def _runtime(config):
    from rootless.config import RuntimeDirectory, find_runtime

    try:
        path, rung, tries = find_runtime(config.environ, config.uid)
    except RuntimeDirectory as error:
        return {"path": None, "rung": None, "error": error.message, "tries": []}
    return {"path": path, "rung": rung, "error": None, "tries": [list(row) for row in tries]}


def cgroup(reader, uid, environ):
    """Facts about control groups: mode, our own group, and what of it is ours to divide.

    ``kind`` and ``why`` of the rung in use, ``delegated`` what can be limited there.
    """
    from rootless.cgroup import files, place

    top = reader.prefix + files.TOP
    own = files.own_path(reader.text("/proc/self/cgroup") or "")
    controllers = reader.text(f"{files.TOP}/cgroup.controllers")
    mode = "unified" if controllers is not None else "none"
    if mode == "none" and reader.text(f"{files.TOP}/unified/cgroup.controllers") is not None:
        mode = "hybrid"
    elif mode == "none" and (
        reader.stat(f"{files.TOP}/memory") or reader.stat(f"{files.TOP}/pids")
    ):
        mode = "legacy"
    found = place.find(environ, uid, top, own)
    here = place.delegated(top, own) if mode == "unified" else found
    return {
        "mode": mode,
        "own": own if mode == "unified" else None,
        "writable": here.kind == "delegated",
        "controllers": (controllers or "").split(),
        "delegated": sorted(found.controllers),
        "kind": found.kind,
        "why": found.why,
    }


def session(reader, config):
    """Facts about the login: systemd as pid 1, a way to the user's manager, lingering."""
    from rootless.cgroup import place

    user = _user(config.uid)
    socket = place.socket(config.environ, config.uid)
    return {
        "systemd": reader.stat("/run/systemd/system") is not None,
        "bus": socket is not None,
        "trouble": _trouble(socket),
        "linger": user is not None and reader.stat(f"/var/lib/systemd/linger/{user}") is not None,
    }


def _trouble(socket):
    """What systemd on that bus has instead of an answer (str); None if it does answer."""
    if socket is None:
        return None
    from rootless.cgroup import bus, systemd
    from rootless.errors import RlError

    try:
        with bus.Bus(socket, os.geteuid(), patience=3.0) as connection:
            systemd.ping(connection)
    except RlError as error:
        return error.message
    return None


def _limits(facts):
    import resource

    facts.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    facts.nproc = resource.getrlimit(resource.RLIMIT_NPROC)[1]


def _missing_helpers():
    import rootless

    try:
        directory = rootless.helpers_dir()
    except Exception as error:  # said in its own words: a broken installation
        return [str(error)]
    return [name for name in ("monitor", "init") if not os.access(f"{directory}/{name}", os.X_OK)]


def _clock_behind():
    """How far the clock is behind the time stamp of rl's own code, in seconds; 0 if it isn't."""
    import time

    try:
        installed = os.stat(__file__).st_ctime
    except OSError:
        return 0
    behind = installed - time.time()
    return behind if behind > 3600 else 0
