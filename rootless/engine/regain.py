"""A running container whose runtime directory somebody has deleted: a cleaner of /tmp, or the
end of the login session that it was started in.

Its monitor lives and holds what was in there. It is found by its command line, gets a new
directory and is told so (helpers/monitor_regain.h); from then on everything is as before.
"""

import os
import signal

from rootless.engine import moving, records
from rootless.kernel import files, process

_PATIENCE = 250  # looks, 20 ms apart, at a monitor that has been told
_TOP = "/sys/fs/cgroup"  # where rootless/cgroup looks, too


def regained(engine, container_id, lost):
    """The runtime directory of a container (absolute str), made anew if its monitor lives.

    ``lost``: where it was, and has no life lock any more.
    """
    try:
        record = records.load(engine, container_id)
    except (records.NoContainer, records.Damaged):
        return lost
    if record.get("boot") != records.boot():
        return lost  # it was not started, or not since the machine was
    found = _monitor(container_id)
    if found is None:
        return lost
    try:
        here = os.open(records.directory(engine, container_id), files.DIRECTORY)
    except FileNotFoundError:
        return lost  # removed meanwhile
    try:
        files.lock(here)  # one that does this at a time
        now = os.readlink("run", dir_fd=here)
        if os.path.exists(f"{now}/alive"):
            return now
        # Never the old path unseen: below /tmp it may be another user's by now.
        run_dir = records.own_run_directory(engine, container_id)
        os.makedirs(run_dir, 0o700, exist_ok=True)
        if run_dir != now:
            moving.link(here, run_dir)
        _restore(run_dir, found)
        _tell(container_id, found["monitor"], run_dir)
        return run_dir
    finally:
        os.close(here)


def _words(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb", 0) as file:
            return file.read(1 << 17).split(b"\0")
    except OSError:
        return [b""]


def _monitor(container_id):
    """{"monitor", "pid"} of a container's monitor and pid 1; None if none lives."""
    wanted = f"id={container_id}".encode()
    for name in os.listdir("/proc"):
        if name.isdecimal() and (words := _words(name))[0] == b"rl-monitor" and wanted in words:
            pids = [int(word[4:]) for word in words if word.startswith(b"pid=")]
            try:
                if os.stat(f"/proc/{name}").st_uid == os.geteuid() and pids:
                    return {"monitor": int(name), "pid": pids[0]}
            except FileNotFoundError:
                continue
    return None


def _restore(run_dir, found):
    """Write what others than the monitor had written there."""
    path = (_read(f"/proc/{found['pid']}/cgroup").rpartition("0::")[2]).strip()
    if "/rl-" in path:
        with open(f"{run_dir}/cgroup", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(_TOP + path)
        if _read(f"{_TOP}{path}/cgroup.freeze").strip() == "1":
            os.close(os.open(f"{run_dir}/paused", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    monitor = found["monitor"]
    for child in _read(f"/proc/{monitor}/task/{monitor}/children").split():
        _link_ports(run_dir, child)


def _link_ports(run_dir, pid):
    """The forwarder keeps its note of the ports open and locked: so it can still be read."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{name}").endswith("/ports (deleted)"):
                os.symlink(f"/proc/{pid}/fd/{name}", f"{run_dir}/ports")
    except OSError:
        pass  # another helper, which doesn't let us look


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _tell(container_id, monitor, run_dir):
    """Let the monitor make the rest, and wait until it has."""
    from time import sleep

    try:
        descriptor = process.pidfd(monitor)
    except ProcessLookupError:
        return  # it has just ended, and has said how
    try:
        if f"id={container_id}".encode() in _words(monitor):
            process.send_signal(descriptor, signal.SIGUSR1)
            for _ in range(_PATIENCE):
                if os.path.exists(f"{run_dir}/control") or not os.path.exists(f"/proc/{monitor}"):
                    return
                sleep(0.02)
    finally:
        os.close(descriptor)
