"""Clocks and scales: how long a command takes, how much memory its processes hold."""

import os
import re
import statistics
import tempfile
import time

from support import leaks


class Failed(Exception):
    """A measured command that did not succeed; what it took means nothing."""


def timed(argv, env, cwd="/"):
    """Run a command to its end: seconds.  Its output goes nowhere.  Raises Failed."""
    with tempfile.TemporaryFile() as errors:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, errors.fileno(), 2),
        ]
        started = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter() - started
        if status:
            errors.seek(0)
            said = " / ".join(errors.read().decode("utf-8", "replace").split("\n")[-3:])
            raise Failed(f"{' '.join(argv)}: exit code {os.waitstatus_to_exitcode(status)}: {said}")
    return took


def together(argv, env, count):
    """Start a command ``count`` times at once: seconds until the last one has ended."""
    actions = [
        (os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)
    ]
    started = time.perf_counter()
    pids = [os.posix_spawn(argv[0], argv, env, file_actions=actions) for _ in range(count)]
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    took = time.perf_counter() - started
    if any(codes):
        raise Failed(f"{count} times at once {' '.join(argv)}: {codes}")
    return took


def interleaved(calls, count, warm=2):
    """Call each of ``calls`` (each gives seconds) in turn, ``count`` rounds after ``warm``
    ones that don't count: a list of lists.  What disturbs one disturbs the others.

    The disks are quiet before each: who syncs what it wrote must not pay for what the other
    has left unwritten.
    """
    found = [[] for _ in calls]
    for round_ in range(-warm, count):
        for call, times in zip(calls, found, strict=True):
            os.sync()
            took = call()
            if round_ >= 0:
                times.append(took)
    return found


def median(times):
    """The median of seconds, in milliseconds."""
    return statistics.median(times) * 1000


def _kilobytes(path, pattern):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(), re.M)
    except OSError:
        return None
    return int(found[1]) if found else None


def proportional(pid):
    """The memory that a process holds, shared pages divided by their users (PSS), in kB;
    all its resident pages where the kernel won't show more."""
    found = _kilobytes(f"/proc/{pid}/smaps_rollup", r"^Pss:\s+(\d+)")
    if found is None:
        found = _kilobytes(f"/proc/{pid}/status", r"^VmRSS:\s+(\d+)")
    return found or 0


def outside():
    """The processes below this one that aren't in a pid namespace of a container."""
    own = os.stat("/proc/self/ns/pid").st_ino
    found = set()
    for pid, started in leaks.descendants():
        try:
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == own:
                found.add((pid, started))
        except OSError:  # gone, or hidden from us and so not outside either
            level = _kilobytes(f"/proc/{pid}/status", r"^NSpid:\t\d+((?:\t\d+)*)$")
            if level is None and os.path.exists(f"/proc/{pid}"):
                found.add((pid, started))
    return found


def peak(argv, env):
    """Run a command: (seconds, most kB resident in all its processes together, summed up
    every few milliseconds).  Shared pages count once for each process: an upper bound."""
    before = leaks.descendants()
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    most = 0
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        now = sum(
            _kilobytes(f"/proc/{each}/status", r"^VmRSS:\s+(\d+)") or 0
            for each, _ in leaks.descendants(keep=pid) - before
        )
        most = max(most, now)
        time.sleep(0.005)
    if status:
        raise Failed(f"{' '.join(argv)}: exit code {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, most
