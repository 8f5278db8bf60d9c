"""Namespaces and kernel parameters: --network, --pid, --ipc, --uts, --cgroupns, --sysctl.  Pure."""

from rootless.engine.spec.values import fail
from rootless.errors import RlError
from rootless.model import idmap, network

_KINDS = ("network", "pid", "ipc", "uts", "cgroup")
_IPC_SYSCTLS = frozenset(
    "kernel." + name
    for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)
PING = "net.ipv4.ping_group_range"
_MOST_PING = (1 << 31) - 1  # the largest group that this parameter takes


class TwoContainers(RlError):
    """namespaces of {0} and of {1} cannot be joined at once: each has its own users"""

    hint = "join namespaces of one container only"


class BadHostname(RlError):
    """{0!r} cannot be a host name"""

    hint = "up to 64 letters, digits, '-', '_' and '.', the first one a letter or a digit"


class Namespaces:
    """Which namespaces are new, joined, or the host's.

    ``modes``   kind → "private", "host", "container" or "ns"
    ``targets`` kind → the container or path for the last two
    ``network`` what model.network.parse returned
    ``ipc``     the word given to --ipc ("shareable" by default)
    ``space``   what idmaps.plan returned; joining another container's namespace joins
                its user namespace too, because that owns them
    """

    def __init__(self, request, host, space):
        options = request.options
        self.space = dict(space)
        self.modes, self.targets = {}, {}
        self.network = network.parse(tuple(options.get("network") or ()))
        if network.creates_namespace(self.network):
            self.modes["network"] = "private"
        else:
            self.modes["network"] = self.network["mode"]
            self.targets["network"] = self.network.get("target")
        self.ipc = options.get("ipc") or "shareable"
        self._take("pid", options.get("pid"))
        self._take("ipc", self.ipc, ("shareable", "none"))
        self._take("uts", options.get("uts"))
        default = "private" if host.cgroup == 2 else "host"
        self._take("cgroup", options.get("cgroupns") or default)
        if options.get("cgroupns") == "private" and host.cgroup != 2:
            fail("--cgroupns", "private", "this machine does not use cgroups version 2",
                 "leave it out, or write --cgroupns host")
        self._share_users(request, host)

    def _take(self, kind, text, more=()):
        option = "--cgroupns" if kind == "cgroup" else "--" + kind
        mode, _, target = (text or "private").partition(":")
        if mode in ("container", "ns"):
            if not target or (mode == "ns" and not target.startswith("/")):
                fail(option, text, "what to join is missing",
                     f"{option} container:NAME or {option} ns:/PATH")
            self.targets[kind] = target
        elif text and text not in ("private", "host", *more):
            fail(option, text, "there is no such mode",
                 ", ".join(("private", "host", *more, "container:NAME or ns:PATH")))
        self.modes[kind] = "private" if mode in more else mode

    def _share_users(self, request, host):
        joined = [self.targets[kind] for kind in _KINDS if self.modes[kind] == "container"]
        if self.space["mode"] == "container":
            joined.append(self.space["target"])
        if not joined:
            return
        for other in joined[1:]:
            if host.find(other) != host.find(joined[0]):
                raise TwoContainers(joined[0], other)
        options = request.options
        own = options.get("userns") or options.get("uidmap") or options.get("gidmap")
        if own and self.space["mode"] != "container":
            fail("--userns", options.get("userns") or "(from --uidmap)",
                 f"a namespace of {joined[0]} belongs to the user namespace of {joined[0]}",
                 f"leave --userns out, or write --userns container:{joined[0]}")
        self.space = {**self.space, "mode": "container", "target": joined[0], "ids": None,
                      "user": None, "keep": None}

    def private(self, kind):
        """Whether the container has a new namespace of that kind."""
        return self.modes[kind] == "private"

    def entries(self):
        """The ``namespaces`` list of the spec.  Those to join have ``path``, or ``container``."""
        found = [{"type": "user"}, {"type": "mount"}]
        if self.space["mode"] != "new":
            found[0] = _entry("user", self.space["mode"], self.space["target"])
        for kind in _KINDS:
            if self.modes[kind] != "host":
                found.append(_entry(kind, self.modes[kind], self.targets.get(kind)))
        return found

    def hostname(self, request, host):
        """The host name that the container sees, and whether rl sets it (bool)."""
        given = request.options.get("hostname")
        own = self.private("uts")
        if given is not None:
            if not own:
                fail("--hostname", given, f"it belongs to the --uts {self.modes['uts']} namespace",
                     "leave --hostname or --uts out")
            _check_hostname(given)
            return given, True
        if self.modes["network"] == "host" or self.modes["uts"] == "host":
            return host.hostname, own
        return host.container[:12], own

    def sysctls(self, request):
        """(``sysctl`` of the spec, the keys that may fail).  Raises BadOption."""
        found, soft = {}, []
        ids = self.space["ids"]
        if self.private("network") and ids and idmap.to_outside(ids.gids, 0) is not None:
            found[PING] = idmap.widest(ids.gids, _MOST_PING)  # ping without CAP_NET_RAW, for all
            soft.append(PING)
        for entry in request.options.get("sysctl") or ():
            key, equals, value = entry.partition("=")
            if not equals or not key:
                fail("--sysctl", entry, "not NAME=VALUE")
            if entry != entry.strip() or key != key.strip() or value != value.strip():
                fail("--sysctl", repr(entry), "there is a space too many", "NAME=VALUE")
            self._allow(entry, key.replace("/", "."))
            found[key.replace("/", ".")] = value
            if key == PING:
                soft = []
        return found, soft

    def _allow(self, entry, key):
        """Only parameters that belong to a namespace of the container's own."""
        if ".." in key or not all(c.isascii() and (c.isalnum() or c in "._-") for c in key):
            fail("--sysctl", entry, "not the name of a kernel parameter")
        if key.startswith("net."):
            kind, option = "network", "--network"
        elif key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
            kind, option = "ipc", "--ipc"
        else:
            fail("--sysctl", entry, "this parameter belongs to the whole machine",
                 "net.*, fs.mqueue.* and the kernel.msg*, kernel.sem and kernel.shm* can be set")
        if not self.private(kind):
            fail("--sysctl", entry, f"it would change the namespace of {option} {self.modes[kind]}")


def _entry(kind, mode, target):
    if mode == "private":
        return {"type": kind}
    return {"type": kind, "path" if mode == "ns" else "container": target}


def _check_hostname(text):
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    if len(text) > 64 or not (plain.isascii() and plain.isalnum()) or not text[0].isalnum():
        raise BadHostname(text)
