"""What a test may not leave behind: processes, mounts, sockets, files."""

import ctypes
import os
import signal
import time

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """Make this process the parent of every descendant that loses its own, so that a
    daemon is found among its children; also with two test runners of one user."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _stat(pid):
    """(state, start time) of a process, or None when it is gone."""
    words = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (words[0].decode(), int(words[19])) if words else None


def descendants(keep=None):
    """Every process below this one: a set of (pid, start time).  Zombies that this
    process adopted are reaped on the way, but not ``keep``, whose end somebody awaits."""
    found, waiting = set(), [os.getpid()]
    while waiting:
        parent = waiting.pop()
        for task in os.listdir(f"/proc/{parent}/task") if os.path.isdir(f"/proc/{parent}") else ():
            for word in _read(f"/proc/{parent}/task/{task}/children").split():
                pid = int(word)
                status = _stat(pid)
                if status is None or (status[0] == "Z" and pid != keep and _reap(pid)):
                    continue
                found.add((pid, status[1]))
                waiting.append(pid)
    return found


def _reap(pid):
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # gone, or of a subordinate id: that one ends with its parent


def describe(pid):
    """A process in one line."""
    words = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
    return f"{pid} {words.strip() or _read(f'/proc/{pid}/comm').decode().strip()}"


def mounts(uid):
    """Mounts of this namespace that an unprivileged test can have caused: those below a
    test's directory, and FUSE ones of this user."""
    found = set()
    for line in _read("/proc/self/mountinfo").decode("utf-8", "replace").splitlines():
        if "/rlt-" in line or (" - fuse" in line and f"user_id={uid}," in line):
            found.add(" ".join(line.split()[4:]))
    return found


# Of the tests themselves, and what podman, buildah and skopeo keep per user.
_KNOWN = (
    "rlt-", "pytest-", "containers-user-", "podman-run-", "storage-run-", "run-", "libpod_",
)  # fmt: skip


def files(uid):
    """What this user has at the top of /tmp, /var/tmp and /dev/shm, other than what is
    known to be of others."""
    found = set()
    for top in ("/tmp", "/var/tmp", "/dev/shm"):
        for entry in os.scandir(top) if os.path.isdir(top) else ():
            try:
                own = entry.stat(follow_symlinks=False).st_uid == uid
            except FileNotFoundError:
                continue
            if own and not entry.name.startswith(_KNOWN):
                found.add(entry.path)
    return found


def abstract_sockets():
    """Abstract Unix sockets that name rl: nobody may have one."""
    lines = _read("/proc/net/unix").decode("utf-8", "replace").splitlines()
    names = (line.split(None, 7)[7] for line in lines[1:] if line.count(" ") and " @" in line)
    return {name for name in names if "rl" in name.split("/")[0]}


class Watch:
    """The state before a test, to compare with the state after it."""

    def __init__(self):
        self.uid = os.geteuid()
        self.processes = descendants()
        self.mounts = mounts(self.uid)
        self.files = files(self.uid)
        self.sockets = abstract_sockets()

    def left(self, patience=5.0):
        """What is there now and wasn't: a list of str.  What still runs after
        ``patience`` seconds is killed, so that the next test starts clean."""
        deadline = time.monotonic() + patience
        pause = 0.001
        while (processes := descendants() - self.processes) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(0.1, pause * 2)
        found = [f"process {describe(pid)}" for pid, _ in sorted(processes)]
        for pid, started in processes:
            status = _stat(pid)
            if status and status[1] == started:
                _kill(pid)
        found += [f"mount {line}" for line in sorted(mounts(self.uid) - self.mounts)]
        found += [f"file {path}" for path in sorted(files(self.uid) - self.files)]
        found += [f"socket {name}" for name in sorted(abstract_sockets() - self.sockets)]
        return found


def sockets_below(directory):
    """Paths of the Unix sockets below a directory."""
    found = []
    for at, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(at, name)
            if os.lstat(path).st_mode & 0o170000 == 0o140000:
                found.append(path)
    return found
