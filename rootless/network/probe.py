"""Which rungs of the network ladder work on this machine, found by trying them.

Cold: the engine keeps the result until a helper, the kernel or rl changes.
"""

import os
import re
import select

from rootless.errors import RlError
from rootless.kernel import process, userns
from rootless.network import host, plan, start

RUNGS = ("pasta", "slirp4netns")
_PACKAGES = {"pasta": "passt", "slirp4netns": "slirp4netns"}
# Before this date pasta answered a refused connection with a reset that Linux ignores, so
# that programs in the container waited minutes instead of seeing "Connection refused".
# slirp4netns does it right, starts in 4 ms for 16 and keeps 3 MB for 37; pasta has the
# higher throughput.
_GOOD_PASTA = 20230327
# Seconds: a machine whose helpers all hang must hear of it within ten.
_VERSION_PATIENCE, _PATIENCE = 1, 3


def ladder(ids, programs, run_dir):
    """The rungs, best first: a list of {"rung", "ok", "reason"}, ending with none.

    ``ids`` is the map (model.idmap.Ids) to try them under, ``programs`` maps plan.PROGRAMS
    to absolute paths or None, ``run_dir`` a private directory for their logs.
    """
    order = list(RUNGS)
    note = ""
    if programs.get("pasta") and programs.get("slirp4netns"):
        released = pasta_date(programs["pasta"])
        if released is None or released < _GOOD_PASTA:
            order.reverse()
            note = "this version hides refused connections from containers"
    rows = []
    for rung in order:
        problem = _try(rung, ids, programs, run_dir)
        reason = problem or (note if rung == "pasta" else "")
        rows.append({"rung": rung, "ok": problem is None, "reason": reason})
    rows.append({"rung": "none", "ok": True, "reason": "needs no helper, reaches nobody"})
    return rows


def usable(rows):
    """The helpers that work, best first, from what ``ladder`` returned; for make_plan."""
    return [row["rung"] for row in rows if row["ok"] and row["rung"] in RUNGS]


def pasta_date(program):
    """When this pasta was released, as a number (20230309); None if it doesn't say."""
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        pid = process.spawn([program, "--version"], {1: said, 2: said}, {"LC_ALL": "C"},
                            group=0)
        _end_in_time(pid)
        found = re.search(rb"(20\d\d)[_-]?(\d\d)[_-]?(\d\d)", os.pread(said, 200, 0))
    except OSError:
        return None
    finally:
        os.close(said)
    return int(b"".join(found.groups())) if found else None


def _end_in_time(pid):
    """Wait for a child, but not longer than a program takes to say its version."""
    watch = select.poll()
    opened = process.pidfd(pid)
    try:
        watch.register(opened, select.POLLIN)
        if not watch.poll(_VERSION_PATIENCE * 1000):
            os.killpg(pid, 9)
    finally:
        os.close(opened)
        process.wait_exit(pid)


def _try(rung, ids, programs, run_dir):
    """None if the helper connects a namespace of ours, else why it doesn't (str)."""
    if not programs.get(rung):
        return f"not installed (package {_PACKAGES[rung]})"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        missing = not os.path.exists("/dev/net/tun")
        return "no /dev/net/tun here" if missing else "/dev/net/tun may not be opened"
    facts = host.look()
    if rung == "pasta" and not (facts["ipv4"] or facts["ipv6"]):
        return "this machine has no default route, and pasta needs one"
    wanted = plan.make_plan({"mode": rung}, programs, facts=facts)
    directory = f"{run_dir}/probe-{os.getpid()}"
    os.mkdir(directory, 0o700)
    entered, ready = os.pipe()
    child = userns.start_in(ids, _hold, entered, ready)
    try:
        os.close(ready)
        ready = None
        if not os.read(entered, 1):
            return "no network namespace can be made"
        found = start.start(wanted, pid=child.pid, run_dir=directory, patience=_PATIENCE)
        pid = found["pid"]
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return None
    except (RlError, OSError) as error:
        return str(error.args[0]) if isinstance(error, RlError) else str(error)
    finally:
        child.kill()
        for descriptor in (entered, ready):
            if descriptor is not None:
                os.close(descriptor)
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def _hold(entered, ready):
    """In the new user namespace: make the network namespace and stay until killed."""
    userns.unshare(userns.CLONE_NEWNET)
    os.close(entered)
    os.write(ready, b"n")
    import signal

    signal.pause()
