"""Running a container's health check, and asking its monitor to do so."""

import os

from rootless.engine import exec as execution
from rootless.engine import records
from rootless.engine.control import Control
from rootless.errors import RlError
from rootless.kernel import process
from rootless.model.request import Request
from rootless.runtime import enter

_OPTIONS = {"tty": False, "detach": False, "interactive": False, "privileged": False,
            "preserve_fds": None, "env": (), "env_file": (), "user": None, "workdir": None}


class NoCheck(RlError):
    """container {0} has no health check"""

    hint = "give it one with: rl run --health-cmd COMMAND"


class CheckFailed(RlError):
    """the health check of container {0} could not be run: {1}"""


def run(engine, record):
    """Run the check inside the container, its output to ours; 0 or 1, as docker has it.

    Called by the monitor, which measures the time and keeps the result.
    """
    check = record.get("health")
    state = records.state(engine, record)
    if not check or state["status"] != "running":
        return 1
    request = Request("exec", dict(_OPTIONS), check["test"])
    entry = execution.make_entry(engine, record, state["pid"], request)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    entry.stdio = (null, 1, 2)
    pid, _, _ = enter.enter(entry)
    return 0 if process.wait_exit(pid) == 0 else 1


def ask(engine, record):
    """Let the monitor run the check now: (0 or 1, what the check said)."""
    if not record.get("health"):
        raise NoCheck(record["name"])
    with Control(engine, record) as control:
        control.send(b"H")
        packet = control.receive((b"h", b"x"), record["health"]["timeout"] / 1000 + 10)
    if packet is None or packet[:1] == b"x":
        raise CheckFailed(record["name"], "the container has ended")
    if packet[1] == 255:
        raise CheckFailed(record["name"], packet[2:].decode("utf-8", "replace"))
    return packet[1], packet[2:].decode("utf-8", "replace")
