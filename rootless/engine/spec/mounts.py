"""The mounts every container has, and their order with those that were asked for.  Pure.

The table is that of docs/confinement.md; OCI runtime specification, config.md "mounts".
"""

import os

from rootless.engine.spec.values import fail, size
from rootless.model import idmap

_SHM = 65536 << 10
_TTY_GROUP = 5
_IPC = ("/dev/mqueue", "/dev/shm")
_WRITABLE = ("/run", "/tmp", "/var/tmp")
_SYSTEMD = ("/run", "/run/lock", "/tmp", "/var/log/journal")


def defaults(request, host, spaces, options):
    """The list of mount entries that need no wish of the user.

    ``spaces`` is a namespaces.Namespaces, ``options`` a security.Options.
    """
    given = request.options
    found = [_proc(spaces, options), _dev(given), _pts(spaces), *_ipc(request, spaces)]
    read_write = "rw" if given.get("privileged") else "ro"
    if spaces.private("network"):
        words = ["nosuid", "noexec", "nodev", read_write]
        found.append(entry("/sys", "sysfs", "sysfs", words))
    else:
        # Only the owner of a network namespace may mount a sysfs that shows it.
        found.append(_host("/sys", ["nosuid", "noexec", "nodev", read_write]))
    if host.cgroup:
        words = ["nosuid", "noexec", "nodev", "relatime", read_write]
        if spaces.private("cgroup") and host.cgroup == 2:
            found.append(entry("/sys/fs/cgroup", "cgroup", "cgroup", words))
        elif spaces.private("network"):
            found.append(_host("/sys/fs/cgroup", [*words[:3], "ro"]))
    if given.get("read_only") and given.get("read_only_tmpfs", True):
        found += [tmpfs(path, ["rw", "nosuid", "nodev", "tmpcopyup"]) for path in _WRITABLE]
    return found


def entry(destination, kind, source, words):
    """One OCI mount."""
    return {"destination": destination, "type": kind, "source": source, "options": words}


def _host(path, words):
    return entry(path, "bind", path, ["rbind", "rprivate", *words])


def tmpfs(destination, words):
    """The entry of a tmpfs."""
    return entry(destination, "tmpfs", "tmpfs", words)


def _proc(spaces, options):
    if not spaces.private("pid"):
        if spaces.modes["pid"] == "host":
            if options.proc:
                fail("--security-opt", "proc-opts=" + ",".join(options.proc),
                     "with --pid host the /proc of this machine is shown")
            return _host("/proc", ["nosuid", "noexec", "nodev"])
    return entry("/proc", "proc", "proc", ["nosuid", "noexec", "nodev", *options.proc])


def _dev(given):
    words = ["nosuid", "strictatime", "mode=755", "size=65536k"]
    if given.get("read_only") and not given.get("read_only_tmpfs", True):
        words.append("ro")
    return entry("/dev", "tmpfs", "tmpfs", words)


def _pts(spaces):
    words = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    ids = spaces.space["ids"]
    if ids is None or idmap.to_outside(ids.gids, _TTY_GROUP) is not None:
        words.append(f"gid={_TTY_GROUP}")
    return entry("/dev/pts", "devpts", "devpts", words)


def _ipc(request, spaces):
    """/dev/shm and /dev/mqueue, which show the IPC namespace."""
    given, mode = request.options, spaces.modes["ipc"]
    text = given.get("shm_size")
    if text is not None and mode != "private":
        fail("--shm-size", text, f"/dev/shm is that of --ipc {mode}")
    if text is not None and spaces.ipc == "none":
        fail("--shm-size", text, "--ipc none leaves /dev/shm out")
    words = ["nosuid", "noexec", "nodev"]
    found = []
    if mode == "host":
        return [_host(path, words) for path in _IPC if os.path.isdir(path)]
    found.append(entry("/dev/mqueue", "mqueue", "mqueue", words))
    if mode == "container":
        shared = _host("/dev/shm", words)
        shared["container"] = spaces.targets["ipc"]
        found.append(shared)
    elif spaces.ipc != "none":
        limit = _SHM if text is None else size("--shm-size", text)
        words = [*words, "mode=1777"]
        if limit:
            words.append(f"size={limit}")
        if given.get("read_only") and not given.get("read_only_tmpfs", True):
            words.append("ro")
        found.append(tmpfs("/dev/shm", words))
    return found


def of_files(request, host):
    """The files that rl makes for each container (/etc/hosts …), bound over the image's."""
    words = ["bind", "rprivate"]
    if request.options.get("read_only"):
        words += ["ro", "nosuid", "noexec", "nodev"]
    return [entry(path, "bind", source, list(words)) for path, source in host.files.items()]


def of_systemd():
    """The tmpfs that systemd wants as pid 1 (podman-run(1), --systemd)."""
    return [tmpfs(path, ["rw", "nosuid", "nodev", "tmpcopyup"]) for path in _SYSTEMD]


def merged(own, wanted):
    """``own`` entries, replaced by the ``wanted`` ones on the same place, in mounting order.

    Whoever mounts a /dev of their own gets nothing of ours below it (podman).  What lies
    deeper comes later, so that nothing is hidden by a mount above it.
    """
    places = {entry["destination"] for entry in wanted}
    kept = [
        entry
        for entry in own
        if entry["destination"] not in places
        and not ("/dev" in places and entry["destination"].startswith("/dev/"))
    ]
    last = {entry["destination"]: entry for entry in kept}  # the later one of ours counts
    kept = [entry for entry in kept if last[entry["destination"]] is entry]
    everything = [*kept, *wanted]
    return sorted(everything, key=lambda entry: entry["destination"].count("/"))
