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
        _restore(run_dir, container_id, found)
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
    """What a container's monitor was told (docs/monitor.md; dict of str), and its own pid as
    "monitor" (int); None if none lives."""
    wanted = f"id={container_id}".encode()
    for name in os.listdir("/proc"):
        if name.isdecimal() and (words := _words(name))[0] == b"rl-monitor" and wanted in words:
            given = {"monitor": int(name)}
            for word in words:  # the first of a kind: commands come last
                key, _, value = word.decode("ascii", "replace").partition("=")
                given.setdefault(key, value)
            try:
                if os.stat(f"/proc/{name}").st_uid == os.geteuid():
                    return given
            except FileNotFoundError:
                continue
    return None


def _restore(run_dir, container_id, found):
    """Write what others than the monitor had written there."""
    from rootless.engine import cgroups, start
    from rootless.engine.processes import FROZEN

    monitor, first = found["monitor"], found["pid"]
    cgroup = cgroups.note_again(run_dir, container_id, first)
    frozen = cgroup is not None and cgroups.is_frozen(cgroup)
    if frozen or _is_stopped(first):
        with open(f"{run_dir}/paused", "wb", 0) as file:
            file.write(FROZEN if frozen else b"")
    if "layer" in found:
        here = os.open(run_dir, files.DIRECTORY)
        start.note_layer(here, monitor, found["layer"])
        os.close(here)
    if "ports" in found and not os.path.exists(f"{run_dir}/ports"):
        # The forwarder holds a lock on the file that was deleted.
        os.symlink(f"/proc/{monitor}/fd/{found['ports']}", f"{run_dir}/ports")


def _is_stopped(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            return file.read(4096).rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False


def _tell(container_id, monitor, run_dir):
    """Let the monitor make the rest, the socket last, and wait until it has."""
    from time import sleep

    try:
        os.unlink(f"{run_dir}/control")  # only the rest may have been deleted
    except FileNotFoundError:
        pass
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
