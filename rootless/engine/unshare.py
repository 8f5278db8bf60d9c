"""``rl unshare``: a command in the user namespace that containers get, with its own mounts."""

import os

from rootless.errors import RlError
from rootless.kernel import process, userns

_SIGNALS = (2, 3)  # INT, QUIT: the terminal sends them to everybody, they are the command's
_PATIENCE = 2.0  # seconds


class NoCommand(RlError):
    """{0}: there is no such command on this machine"""

    exit_code = 127


class NotStarted(RlError):
    """{0}: cannot be run: {1}"""

    exit_code = 126


def run(engine, command):
    """Run ``command`` (words; none: the user's shell) as root of a new user namespace.

    Returns its exit code, 128+N after signal N.  An rl in there uses this store and this
    runtime directory.
    """
    environ = {**engine.config.environ, **_own(engine.config), "_RL_UNSHARE": "1"}
    words = list(command) or [environ.get("SHELL") or "/bin/sh"]
    program = words[0] if "/" in words[0] else engine.program(words[0])
    if program is None or not os.path.exists(program):
        raise NoCommand(words[0])
    before = _leave_signals()
    try:
        return userns.call_in(
            engine.ids, _execute, program, words, environ, engine.config.root, mount_ns=True
        )
    finally:
        _take_signals(before)


def _own(config):
    found = {"RL_ROOT": config.root}
    try:
        found["RL_RUNROOT"] = config.runroot
    except RlError:
        pass  # whoever needs it in there will hear why there is none
    return found


def _leave_signals():
    """Let this process outlive what the command is told; execve undoes it for the command."""
    import _signal

    before = {}
    for number in _SIGNALS:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            before[number] = _signal.signal(number, lambda *_: None)
    return before


def _take_signals(before):
    import _signal

    for number, handler in before.items():
        _signal.signal(number, handler)


def _execute(program, words, environ, root):
    import subprocess

    from rootless.engine import mounts

    # Servers of FUSE that a nested rl starts for its mounts come to us when it ends.
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    try:
        child = subprocess.Popen(words, executable=program, env=environ)
    except OSError as error:
        raise NotStarted(words[0], error.strerror) from None
    pid, status = os.wait()
    while pid != child.pid:
        pid, status = os.wait()
    if mounts.sweep(root):
        _reap()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _reap():
    """Give those servers a moment to end."""
    import time

    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.005)
        except ChildProcessError:
            return
