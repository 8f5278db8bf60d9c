"""From an OCI runtime specification to the list of steps that make it true.  Pure.

Source: the OCI runtime specification's config.md and config-linux.md; mount options as in
mount(8).
"""

from rootless.errors import RlError
from rootless.kernel import mount
from rootless.runtime import binds, ops

# mount(8) words → (attributes to set, attributes to clear)
_ATTRIBUTES = {
    "ro": (mount.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mount.MOUNT_ATTR_RDONLY),
    "nosuid": (mount.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mount.MOUNT_ATTR_NOSUID),
    "nodev": (mount.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mount.MOUNT_ATTR_NODEV),
    "noexec": (mount.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mount.MOUNT_ATTR_NOEXEC),
    "strictatime": (mount.MOUNT_ATTR_STRICTATIME, 0),
    "noatime": (mount.MOUNT_ATTR_NOATIME, 0),
    "nodiratime": (mount.MOUNT_ATTR_NODIRATIME, 0),
    "relatime": (0, 0),
    "defaults": (0, 0),
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}
_PSEUDO = {"proc": "/proc", "sysfs": "/sys", "mqueue": None, "cgroup": "/sys/fs/cgroup"}
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
)
_NODES = ("null", "zero", "full", "random", "urandom", "tty")


class BadMount(RlError):
    """the mount on {0} has an option that rl does not know: {1}"""

    hint = "man rl-run, under --volume and --mount, lists the options"


class MountWords:
    """The options of one mount of the specification, sorted out."""

    __slots__ = ("attributes", "clear", "propagation", "recursive", "data")

    def __init__(self, entry, filesystem):
        self.attributes = self.clear = self.propagation = 0
        self.recursive = True
        self.data = []
        for word in entry.get("options", ()):
            name = word[1:] if word[1:] in _PROPAGATION and word[0] == "r" else word
            if word in _ATTRIBUTES:
                add, remove = _ATTRIBUTES[word]
                self.attributes = (self.attributes & ~remove) | add
                self.clear = (self.clear & ~add) | remove
            elif name in _PROPAGATION:
                self.propagation = _PROPAGATION[name]
            elif word in ("bind", "rbind"):
                self.recursive = word == "rbind"
            elif filesystem:
                key, equals, value = word.partition("=")
                self.data.append((key, value if equals else None))
            else:
                raise BadMount(entry["destination"], word)


def make_plan(spec, rootfs, target, init_path=None):
    """The steps (list of ops.Op) that set up the root and everything in it.

    ``spec`` is the OCI configuration with the additions of engine/spec (its docs say which),
    ``rootfs`` what the store's driver prepared, ``target`` an empty directory to mount it on,
    ``init_path`` the helper to place at /dev/init.
    """
    linux = spec["linux"]
    steps = [ops.MountRoot(rootfs, target)]
    kinds = {entry["type"] for entry in linux["namespaces"]}
    if "network" in kinds and not _joined(linux, "network"):
        steps.append(ops.Loopback())
    if spec.get("hostname") and "uts" in kinds and not _joined(linux, "uts"):
        steps.append(ops.Hostname(spec["hostname"]))
    for entry in spec["mounts"]:
        steps.extend(mount_steps(entry))
        if entry["destination"] == "/dev" and entry["type"] == "tmpfs":
            steps.extend(_devices(linux))  # a /dev of the user's is left as it is
            if spec["process"].get("terminal"):
                steps.append(ops.PlaceToMount("/dev/console"))
    if init_path:
        steps.append(ops.PlaceFile(init_path, "/dev/init", 0o555))
    own = spec.get("rl", {})
    soft = own.get("softSysctl", ())
    steps += [ops.Sysctl(key, value, key in soft)
              for key, value in linux.get("sysctl", {}).items()]
    if not own.get("foreignRoot"):
        steps += [ops.PlaceText(entry["path"], entry["text"], entry["only_if"])
                  for entry in own.get("texts", ())]
        steps.append(ops.MountTable())
        accounts = _own_accounts(spec["mounts"])
        if own.get("passwd") and accounts:
            steps.append(ops.Accounts(own["passwd"], accounts))
    # A tmpfs is filled from the image, and /dev is filled by us, before it gets read-only.
    steps += [ops.MountReadOnly(entry["destination"]) for entry in spec["mounts"]
              if entry["type"] == "tmpfs" and "ro" in entry.get("options", ())]
    if spec["root"].get("readonly"):
        steps.append(ops.RootReadOnly())
    steps += [ops.ReadOnly(path) for path in linux.get("readonlyPaths", ())]
    steps += [ops.Mask(path) for path in linux.get("maskedPaths", ())]
    return steps


def _own_accounts(mounts):
    """Which of the files of accounts are not the user's: mounted themselves, or with /etc."""
    mounted = {entry["destination"] for entry in mounts if entry["type"] != "tmpfs"}
    return tuple(path for path in ("/etc/passwd", "/etc/group")
                 if not mounted & {"/etc", path})


def _joined(linux, kind):
    return any(entry["type"] == kind and entry.get("path") for entry in linux["namespaces"])


def _devices(linux):
    steps = [ops.Device(f"/dev/{name}", f"/dev/{name}") for name in _NODES]
    steps += [ops.Link(target, path) for target, path in _LINKS]
    own = [f"/dev/{name}" for name in _NODES]
    for device in linux.get("devices", ()):
        if device["path"] not in own:
            steps.append(ops.Device(device.get("source", device["path"]), device["path"]))
    return steps


def mount_steps(entry):
    """The steps (list of ops.Op) for one mount of the specification."""
    kind, destination = entry["type"], entry["destination"]
    if kind == "ops":  # made by engine/build: mounts that only a RUN has
        return entry["ops"]
    if kind in ("bind", "overlay", "shm"):
        words = MountWords(entry, False)
        if kind == "shm":
            return [binds.SharedMemory(destination, words.attributes)]
        if kind == "overlay":
            return [binds.OverlayBind(entry["rootfs"], destination, words.attributes)]
        return [
            binds.Bind(entry["source"], destination, words.recursive, words.attributes,
                     words.clear & ~words.attributes & ~mount.MOUNT_ATTR_RDONLY,
                     words.propagation or mount.MS_PRIVATE,
                     entry.get("copy_up"), entry.get("chown"))
        ]
    words = MountWords(entry, True)
    if kind in _PSEUDO:
        return [_pseudo(kind, destination, words)]
    if kind == "tmpfs":
        words.attributes &= ~mount.MOUNT_ATTR_RDONLY
    copy_up = ("tmpcopyup", None) in words.data
    data = [pair for pair in words.data if pair[0] not in ("tmpcopyup", "notmpcopyup")]
    plain = f"{destination}/".startswith("/dev/")
    return [ops.MountFilesystem(kind, destination, data, words.attributes, copy_up,
                                chown=entry.get("chown"), plain=plain)]


def _pseudo(kind, destination, words):
    source = _PSEUDO[kind]
    fallback = None
    if source:
        attributes = words.attributes
        if kind != "proc":
            attributes |= mount.MOUNT_ATTR_RDONLY
        if not words.data:  # what was asked of a fresh one, the machine's would not have
            fallback = binds.Bind(source, destination, True, attributes)
    fstype = "cgroup2" if kind == "cgroup" else kind
    return ops.MountFilesystem(fstype, destination, words.data, words.attributes,
                               fallback=fallback, plain=True)
