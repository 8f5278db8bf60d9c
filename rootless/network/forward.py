"""Starting the process that carries a container's published ports: helpers/forward.

Runs in the launcher (P1), whose child it stays, and serves whatever network the container
has: it enters the container's own namespaces and connects from there (docs/networking.md).
"""

import os
import select
from time import monotonic

from rootless.errors import RlError
from rootless.kernel import process
from rootless.model.network import number

PATIENCE = 8.0


class ForwardError(RlError):
    """the container's ports cannot be published: {0}"""

    hint = "rl run without -p starts it; rl doctor says what this machine lacks"


class Forwarder:
    """A forwarder that has been started: ``pid``, and what it says when it serves."""

    def __init__(self, pid, ready):
        self.pid = pid
        self._ready = ready

    def wait(self):
        """Wait until it serves.  Returns None, or why clients' addresses are not kept (str);
        ForwardError if it ended, failed or hangs."""
        poll = select.poll()
        poll.register(self._ready, select.POLLIN)
        deadline = monotonic() + PATIENCE
        try:
            while not poll.poll(max(0.0, deadline - monotonic()) * 1000):
                if monotonic() >= deadline:
                    raise ForwardError(f"the forwarder was not ready within {PATIENCE:g} s")
            words = os.read(self._ready, 256).decode("ascii", "replace").split()
        finally:
            os.close(self._ready)
        if words[:2] == ["ready", "kept"]:
            return None
        if words[:2] == ["ready", "plain"] and len(words) > 2 and words[2].isdecimal():
            return os.strerror(int(words[2]))
        if words[:1] == ["failed"] and len(words) > 2 and words[1].isdecimal():
            raise ForwardError(f"{words[2]}: {os.strerror(int(words[1]))}")
        raise ForwardError("the forwarder ended and said nothing")

    def end(self):
        """Kill and reap it."""
        try:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def start(program, opened, *, pid, gateways=(), held=None):
    """Start the forwarder for the container whose pid 1 is ``pid``; a Forwarder.

    ``program`` is the helper's path, ``opened`` an Opened of ports_open.py, whose sockets are
    closed here, ``gateways`` the addresses that stand for clients whose own can't be kept,
    ``held`` a descriptor (a lock) that stays open while the forwarder lives.  Raises
    ForwardError.
    """
    words = [program, f"parent={os.getpid()}"]
    words += [f"gateway={_hex(text)}" for text in gateways]
    words += [f"{kind}={number}:{port}" for number, port, kind in opened.sockets]
    kept = [descriptor for descriptor, _, _ in opened.sockets]
    own = []
    ready, far = os.pipe()
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC
        own.append(process.pidfd(pid))
        own.append(os.open(f"/proc/{pid}/ns/user", flags))
        own.append(os.open(f"/proc/{pid}/ns/net", flags))
        kept += [far, *own]
        names = ("ready", "container", "user", "net")
        if held is not None:
            kept.append(held)
            words.append(f"held={held}")
        words += [f"{key}={value}" for key, value in zip(names, (far, *own), strict=True)]
        return Forwarder(process.spawn(words, keep=kept), ready)
    except OSError as error:
        os.close(ready)
        raise ForwardError(f"{program}: {error.strerror}") from None
    finally:
        # Neither the network helper nor anybody else may hold these any longer.
        opened.close()
        for descriptor in (far, *own):
            os.close(descriptor)


def _hex(text):
    bits, value = number(text)
    return f"{value:0{bits // 4}x}"
