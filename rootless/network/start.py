"""Starting a network helper for a container that is being set up.

Runs in the launcher (P1), beside the mounts of pid 1, so its time is mostly hidden.  The
helper stays our child in the foreground: the launcher becomes the monitor, which ends it
with the container, and the kernel ends it should the monitor be killed.

What is waited for is the helper's own word that it serves (pasta: its pid file, which it
writes when everything is initialised, here into a pipe; slirp4netns: --ready-fd), then
the route that the kernel shows in the namespace.  pasta puts itself into the background
only much later, which is why starting it looked slow.
"""

import os
import select
from time import monotonic

from rootless.kernel import process
from rootless.network.plan import NetworkError

PATIENCE = 8.0
_NETNS, _READY, _LOG, _SLIRP_READY = 0, 1, 2, 3


class _Own:
    """The helper is a child of this process, which becomes the monitor."""

    @staticmethod
    def spawn(argv, descriptors, environ):
        # A group of its own: whatever it has started is ended with it.
        return process.spawn(argv, descriptors, environ, group=0)

    @staticmethod
    def serves(ready):
        pass


def start(plan, *, pid, run_dir, netns_fd=None, runner=_Own, patience=PATIENCE):
    """Connect the network namespace of ``pid``; returns {"pid", "rung", "failed"}.

    ``plan`` is of ``plan.make_plan``.  ``pid`` of the result is the helper's, None where the
    plan has no rung; ``failed`` lists [rung, reason] of those that were tried before.
    ``run_dir`` gets the helper's log; ``runner`` starts the helper if that is to be another
    process's child (bridge.holder.Holder); ``patience`` are seconds for all rungs.  Raises
    NetworkError within ten seconds; nothing that was started stays then.
    """
    if not plan["rungs"]:
        return {"pid": None, "rung": "none", "failed": []}
    opened = None
    try:
        if netns_fd is None:
            netns_fd = opened = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        patience /= len(plan["rungs"])
        failed = []
        for rung in plan["rungs"]:
            known = _children()
            try:
                helper = _try(rung, plan, pid, run_dir, netns_fd, patience, runner)
                return {"pid": helper, "rung": rung["name"], "failed": failed}
            except NetworkError as error:
                if runner is _Own:
                    end(_children() - known)
                failed.append([rung["name"], str(error.args[0])])
        raise NetworkError("; ".join(reason for _, reason in failed))
    finally:
        if opened is not None:
            os.close(opened)


def _try(rung, plan, pid, run_dir, netns_fd, patience, runner):
    """Start one helper and wait until it serves; its pid, or NetworkError."""
    log = f"{run_dir}/network.log"
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    log_fd = os.open(log, flags, 0o600)
    read, write = os.pipe()
    try:
        argv, descriptors = _command(rung, pid, netns_fd, write, log_fd)
        try:
            helper = runner.spawn(argv, descriptors, {"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
        except OSError as error:
            raise NetworkError(f"{rung['name']} ({argv[0]}): {error.strerror}") from None
        os.close(write)
        write = None
        try:
            _wait(rung, read, patience, log_fd)
            _check(rung, plan, pid)
            runner.serves(_READY if rung["name"] == "pasta" else _SLIRP_READY)
        except BaseException:
            if runner is _Own:
                end({helper})
            else:
                runner.end_helper()
            raise
        return helper
    finally:
        for descriptor in (read, write, log_fd):
            if descriptor is not None:
                os.close(descriptor)


def _command(rung, pid, netns_fd, write, log_fd):
    """(argv, descriptors): the placeholders of the plan's command line filled in.

    pasta gets the network namespace as its standard input: newer versions close all
    descriptors but the first three at once, and what it may open under /proc depends on
    capabilities that it has dropped by then, or not yet.
    """
    words = {"{pid}": str(pid)}
    if rung["name"] == "pasta":
        descriptors = {_NETNS: netns_fd, _READY: write, _LOG: log_fd}
        words["{netns}"] = f"/proc/self/fd/{_NETNS}"
        words["{ready}"] = f"/proc/self/fd/{_READY}"
        words["{userns}"] = f"/proc/{pid}/ns/user"
    else:
        descriptors = {_LOG: log_fd, _SLIRP_READY: write}
        words["{ready}"] = str(_SLIRP_READY)
    argv = []
    for word in rung["argv"]:
        for key, value in words.items():
            word = word.replace(key, value)
        argv.append(word)
    return argv, descriptors


def _wait(rung, ready, patience, log_fd):
    """Until the helper says that it serves; its end or silence is an error."""
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    deadline = monotonic() + patience
    while not poll.poll(max(0.0, deadline - monotonic()) * 1000):
        if monotonic() >= deadline:
            raise NetworkError(f"{rung['name']} was not ready within {patience:g} s")
    if not os.read(ready, 64):
        said = os.pread(log_fd, 2000, 0).decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in said if line.strip()]
        told = [line for line in said if "option" in line and ": " in line]  # before its usage
        reason = (told or said[-1:] or ["it ended and said nothing"])[0]
        raise NetworkError(f"{rung['name']} failed: {reason}")


def _check(rung, plan, pid):
    """The kernel has the last word: a route through the interface must be there."""
    wanted = plan["interface"].encode()
    for table, column in (("route", 0), ("ipv6_route", -1)):
        try:
            with open(f"/proc/{pid}/net/{table}", "rb", 0) as file:
                lines = file.read(1 << 16).splitlines()
        except OSError:
            continue
        if any(line.split()[column] == wanted for line in lines if line.split()):
            return
    raise NetworkError(f"{rung['name']} ended well but connected nothing")


def _children():
    """The pids of this process's children, as a set."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb", 0) as file:
            return {int(word) for word in file.read(65536).split()}
    except OSError:
        return set()


def end(pids):
    """Kill and reap helpers that are children of this process."""
    for pid in pids:
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, 9)
            except (ProcessLookupError, PermissionError):
                pass
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
