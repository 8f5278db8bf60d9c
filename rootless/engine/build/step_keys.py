"""--ssh ID=KEY: keys in files, held by an ssh-agent(1) of the build's own.

The program of OpenSSH reads the keys and answers for them; a step gets its answers by
step_agent, never a key.  The agent lives below a shell that waits for the end of a pipe, so
that it ends with the build, however that ends.
"""

import os
import select
from socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from rootless.errors import RlError
from rootless.kernel import process

_WAITING = 'echo "$SSH_AGENT_PID $SSH_AUTH_SOCK"; read -r _; kill "$SSH_AGENT_PID"'
# ssh-add says nothing where it would have to ask.
_SILENT = "the key has a passphrase, and a build asks for none"
_SAID = 4096
_PATIENCE = 20_000  # ms
_WHICH = b"\0\0\0\1\x0b"  # "which keys have you?" (draft-miller-ssh-agent, 4.4)
_HINT = "ssh-add KEY gives it to your own agent, which --ssh default passes on"


class NoAgentProgram(RlError):
    """--ssh {text}: for keys in files {program} is needed, and isn't installed"""

    hint = "install openssh-client (Debian, Ubuntu) or openssh-clients (Fedora)"


class BadKey(RlError):
    """--ssh {text}: {said}"""

    hint = _HINT


class KeyAgent:
    """An agent with the keys in the files ``paths``; ``socket`` is the path of its socket,
    ``pid`` its number.

    ``program``: function name → absolute path or None; ``environ``: the caller's
    environment; ``text``: the option as typed.  Raises NoAgentProgram, BadKey.
    """

    def __init__(self, program, environ, text, paths):
        self._text = text
        agent, adder, shell = (self._find(program, name) for name in ("ssh-agent", "ssh-add", "sh"))
        self._environ = {name: environ[name] for name in ("HOME", "PATH", "TMPDIR", "LANG")
                         if name in environ}  # fmt: skip
        self._owner = os.getpid()
        self.pid = self._shell = self._end = None
        waiting, self._hold = os.pipe()
        try:
            self._start([agent, shell, "-c", _WAITING], waiting)
            self._add([adder, "-q", "--", *paths])
        except BaseException:
            self.close()
            raise
        finally:
            os.close(waiting)

    def _find(self, program, name):
        found = program(name)
        if found is None:
            raise NoAgentProgram(text=self._text, program=name)
        return found

    def _start(self, argv, waiting):
        reading, writing = os.pipe()
        said = os.memfd_create("ssh-agent", os.MFD_CLOEXEC)
        try:
            descriptors = {0: waiting, 1: writing, 2: said}
            self._shell = process.spawn(argv, descriptors, self._environ)
            os.close(writing)
            writing = -1
            with open(reading, "rb", closefd=False) as stream:
                line = stream.readline(_SAID)
            if not line.endswith(b"\n"):
                raise BadKey(text=self._text, said=_text(said) or "ssh-agent doesn't start")
        finally:
            for descriptor in (reading, writing, said):
                if descriptor != -1:
                    os.close(descriptor)
        pid, _, path = line[:-1].partition(b" ")
        self.pid, self.socket = int(pid), os.fsdecode(path)
        self._end = process.pidfd(self.pid)
        self._hear()

    def _hear(self):
        """Wait until the agent answers: before that, a signal would be its end at once, and
        its socket would stay."""
        with socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) as asking:
            try:
                asking.settimeout(_PATIENCE / 1000)
                asking.connect(self.socket)
                asking.sendall(_WHICH)
                heard = asking.recv(1)
            except OSError:
                heard = b""
        if not heard:
            raise BadKey(text=self._text, said="ssh-agent doesn't answer")

    def _add(self, argv):
        # Nobody is asked for a passphrase in the middle of a build: a program that fails is.
        environ = {**self._environ, "SSH_AUTH_SOCK": self.socket, "SSH_ASKPASS": "/bin/false",
                   "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}  # fmt: skip
        said = os.memfd_create("ssh-add", os.MFD_CLOEXEC)
        try:
            code = process.wait_exit(process.spawn(argv, {1: said, 2: said}, environ))
            if code:
                raise BadKey(text=self._text, said=_text(said) or _SILENT)
        finally:
            os.close(said)

    def close(self):
        """End the agent; in a process that was forked since, only forget it."""
        if self._hold == -1:
            return
        os.close(self._hold)
        self._hold = -1
        if self._owner == os.getpid() and self._shell is not None:
            # Who was forked since may hold the pipe for longer: nobody waits for its end here.
            if self._end is not None:
                try:
                    process.send_signal(self._end, 15)
                except ProcessLookupError:
                    pass
                watch = select.poll()
                watch.register(self._end, select.POLLIN)
                watch.poll(_PATIENCE)  # it removes its socket
            os.kill(self._shell, 15)
            process.wait_exit(self._shell)
        if self._end is not None:
            os.close(self._end)


def _text(said):
    """What a program has said, in one line."""
    text = os.pread(said, _SAID, 0).decode("utf-8", "replace")
    return "; ".join(line.strip(" \r@") for line in text.splitlines() if line.strip(" \r@"))
