"""What was found out about this machine, kept in the runtime directory until it changes.

Trying whether a kernel lets us mount an overlay or map ids costs milliseconds and
processes; every start needs the answers.  An answer holds while the boot, the kernel,
rl, the namespace, the helper programs and the files it came from are the same.  One that
says that the best rung doesn't work also ends when a sysctl that may be the reason
changes, and after a while in any case: somebody may have just followed `rl doctor`.
"""

import os
import time

from rootless import __version__
from rootless.config import RuntimeDirectory, keep_text, read_file
from rootless.model import jsontext

FILE = "probes.json"
LIMIT = 1 << 20
PATIENCE = 300
PROGRAMS = ("newuidmap", "newgidmap", "fuse-overlayfs", "pasta", "slirp4netns")
FILES = ("/etc/subuid", "/etc/subgid", "/dev/fuse", "/dev/net/tun")
SYSCTLS = (
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
)
_PR_GET_NO_NEW_PRIVS = 39


def get(engine, name, compute, extra=()):
    """The result of ``compute(engine)``, remembered under ``name``.

    The result is JSON data; a list of {"rung", "ok", "reason"} is known to be worth
    another try where its first rung isn't ok.  ``extra`` (JSON data) is what else it
    depends on.  What compute raises is passed on and not remembered.
    """
    state = _state(engine)
    extra = [*extra]
    entry = state.entries.get(name)
    if _holds(entry, extra):
        return entry["value"]
    return _put(state, name, compute(engine), extra)


def put(engine, name, value, extra=()):
    """Remember ``value`` as the newest result for ``name`` (info and doctor look afresh)."""
    return _put(_state(engine), name, value, [*extra])


def forget(engine, name):
    """Drop a result that turned out to be wrong, so that the next call tries again."""
    state = _state(engine)
    if state.entries.pop(name, None) is not None:
        state.write()


class _State:
    """The cache file as read once in this process."""

    def __init__(self, path, key):
        self.path = path
        self.key = key
        self.entries = {}
        try:
            kept = jsontext.loads(read_file(path, LIMIT)) if path else None
        except (OSError, ValueError):
            return  # absent, cut short, not JSON: nothing is remembered
        if isinstance(kept, dict) and kept.get("key") == key:
            entries = kept.get("entries")
            self.entries = entries if isinstance(entries, dict) else {}

    def write(self):
        if self.path:
            keep_text(self.path, jsontext.dumps({"key": self.key, "entries": self.entries}))


def _state(engine):
    state = engine.__dict__.get("_probes")
    if state is None:
        try:
            # Inside rl unshare other answers hold, for that namespace only.
            inside = "_RL_UNSHARE" in engine.config.environ
            path = None if inside else f"{engine.runroot}/{FILE}"
        except RuntimeDirectory:
            path = None
        state = engine.__dict__["_probes"] = _State(path, _key(engine))
    return state


def _put(state, name, value, extra):
    entry = {"value": value, "extra": extra, "best": _best(value)}
    if not entry["best"]:
        entry.update(until=int(time.time()) + PATIENCE, sysctls=_sysctls())
    state.entries[name] = entry
    state.write()
    return value


def _holds(entry, extra):
    if not isinstance(entry, dict) or "value" not in entry or entry.get("extra") != extra:
        return False
    if entry.get("best") is True:
        return True
    until, now = entry.get("until"), time.time()
    if not isinstance(until, int) or not now < until <= now + PATIENCE + 1:
        return False
    return entry.get("sysctls") == _sysctls()


def _best(value):
    """Whether nothing better is left to hope for."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0].get("ok", True) is True
    return True


def _sysctls():
    found = []
    for path in SYSCTLS:
        try:
            with open(path, "rb", 0) as file:
                found.append(file.read(64).decode("ascii", "replace").strip())
        except OSError:
            found.append(None)
    return found


def _key(engine):
    """What every result depends on, as a list that JSON keeps as it is."""
    config = engine.config
    with open("/proc/sys/kernel/random/boot_id", "rb", 0) as file:
        boot = file.read(64).decode().strip()
    key = [boot, os.uname().release, __version__, config.uid, config.root]
    key.append(os.readlink("/proc/self/ns/user"))
    key.append(_no_new_privs())
    key.append(_device(config.root))
    for name in PROGRAMS:
        path = engine.program(name)
        key.append([path, _stamp(path)] if path else None)
    key.extend(_stamp(path) for path in FILES)
    return key


def _device(path):
    """The file system that ``path`` is on, or would be."""
    while True:
        try:
            return os.stat(path).st_dev
        except OSError:
            if path == "/":
                return None
            path = os.path.dirname(path)


def _stamp(path):
    """What changes when a file does; a lost set-uid bit moves the ctime only."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mode, status.st_uid, status.st_size, status.st_ino, status.st_ctime_ns]


def _no_new_privs():
    from rootless.kernel import process

    return process.prctl(_PR_GET_NO_NEW_PRIVS)
