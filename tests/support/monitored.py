"""The real monitor with a program of the test's choice in the place of a container.

``Monitored`` plays P0 and P1 of docs/monitor.md: it makes the descriptors, forks P1, which
forks P3 and becomes the monitor.  There are no namespaces, so "pid 1" is an ordinary
process, which is what makes these tests quick.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import time

from rootless import helpers_dir
from rootless.kernel import tty
from support.command import TREE

READY = b"\x06"
OUT, ERR, IN = 1, 2, 4
PATIENCE = 20


def build(directory, *flags, name="monitor"):
    """Compile a helper with flags of its own; the path of the program."""
    program = os.path.join(directory, name)
    source = os.path.join(TREE, "helpers", f"{name}.c")
    done = subprocess.run(
        ["cc", "-std=gnu11", "-g", "-O1", "-D_GNU_SOURCE", *flags, "-o", program, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


def eventually(condition, what="it"):
    """Wait until ``condition()`` is true and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.005)
    return found


class Client:
    """One end of a connection to the monitor."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(PATIENCE)

    def send(self, kind, payload=b""):
        self.socket.send(kind + payload)

    def packet(self):
        """The next packet, b"" at the end of the connection."""
        try:
            return self.socket.recv(1 << 17)
        except ConnectionResetError:
            return b""

    def until(self, *kinds):
        """Everything up to the first packet of one of these kinds: (its payload, the
        packets before it)."""
        before = []
        while packet := self.packet():
            if packet[:1] in kinds:
                return packet[1:], before
            before.append(packet)
        raise AssertionError(f"no {kinds} but {before[-5:]}")

    def rest(self):
        """All packets up to the end of the connection."""
        packets = []
        while packet := self.packet():
            packets.append(packet)
        return packets

    def close(self):
        self.socket.close()


def output(packets, kind=b"o"):
    """What the packets of one kind say, put together."""
    return b"".join(packet[1:] for packet in packets if packet[:1] == kind)


class Monitored:
    """A monitor and its program; use it in a ``with``.

    program   argv of the program, or a function that P3 calls instead of execve
    stdio     "pipes", "tty" or "none"
    attach    what the founder is attached to
    words     more words for the monitor
    hold      True: P3 waits for its go
    before    function that P3 calls first
    say       what P3 says on the status pipe before its execve
    """

    def __init__(
        self,
        directory,
        program,
        *,
        stdio="pipes",
        stdin=True,
        attach=OUT | ERR | IN,
        words=(),
        hold=False,
        before=None,
        say=READY,
        monitor=None,
        helpers=(),
        writers=(),
    ):
        self.base = directory
        self.dir = os.path.join(directory, "durable")
        self.run = os.path.join(directory, "run")
        for path in (self.dir, self.run):
            os.makedirs(path, exist_ok=True)
        self.monitor = monitor or os.path.join(helpers_dir(), "monitor")
        self.status = None
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = os.path.join(self.run, "control")
        if os.path.exists(self.control):
            os.unlink(self.control)
        self.listening.bind(self.control)
        self.listening.listen(64)
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.founder = Client(ours)
        self._plan = (program, stdio, stdin, attach, list(words), hold, before, say, helpers,
                      writers)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._become_monitor()
            finally:
                os._exit(99)
        self._theirs.close()
        self.listening.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.founder.close()
        if self.status is None:
            for pid in (self.container_pid(), self.pid):
                try:
                    os.kill(pid or self.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            os.waitpid(self.pid, 0)

    # P1

    def _become_monitor(self):
        program, stdio, stdin, attach, words, hold, before, say, helpers, writers = self._plan
        os.setsid()
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        named = {}
        inner = {}
        if stdio == "pipes":
            for name, number in (("in", 0), ("out", 1), ("err", 2)):
                if name == "in" and not stdin:
                    continue
                read, write = os.pipe()
                inner[number], named[name] = (read, write) if name == "in" else (write, read)
        elif stdio == "tty":
            named["pty"] = tty.open_master()
        status, say_to = os.pipe()
        wait_at, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_program(inner, named.get("pty"), say_to, wait_at if hold else None)
        for fd in (*inner.values(), say_to, wait_at):
            os.close(fd)
        named["status"] = status
        if hold:
            named["go"] = go
        named["dir"] = os.open(self.dir, os.O_RDONLY)
        named["run"] = os.open(self.run, os.O_RDONLY)
        named["alive"] = os.open(os.path.join(self.run, "alive"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(named["alive"], fcntl.LOCK_EX)
        named["listen"] = self.listening.fileno()
        named["client"] = self._theirs.fileno()
        with open(os.path.join(self.base, "pid"), "w", encoding="ascii") as file:
            file.write(str(pid))
        words = [f"helper={helper()}" for helper in helpers] + words
        words += [f"writer={writer()}" for writer in writers]
        for fd in named.values():
            os.set_inheritable(fd, True)
        argv = ["rl-monitor", "id=0123456789abcdef", "name=box", f"pid={pid}", f"attach={attach}"]
        argv += [f"{name}={fd}" for name, fd in named.items()]
        os.execv(self.monitor, argv + words)

    def _become_program(self, inner, master, say_to, wait_at):
        program, _, _, _, _, _, before, say, _, _ = self._plan
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            if before is not None:
                before(say_to)
            if master is not None:
                peer = tty.open_peer(master)
                os.setsid()
                tty.make_controlling(peer)
                inner = {0: peer, 1: peer, 2: peer}
            elif not inner:
                null = os.open("/dev/null", os.O_RDWR)
                inner = {0: null, 1: null, 2: null}
            for number, fd in inner.items():
                os.dup2(fd, number)
            if 0 not in inner:
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.closerange(3, min(say_to, wait_at or say_to))
            if wait_at is not None and not os.read(wait_at, 1):
                os._exit(98)
            os.write(say_to, say)
            if callable(program):
                os.close(say_to)
                program()
                os._exit(0)
            os.set_inheritable(say_to, False)
            os.execvp(program[0], program)
        except OSError as error:
            os.write(say_to, json.dumps({"step": "execve", "text": str(error)}).encode())
        finally:
            os._exit(127)

    # P0

    def container_pid(self):
        """The pid of the program, None before it exists."""
        try:
            with open(os.path.join(self.base, "pid"), encoding="ascii") as file:
                return int(file.read() or "0")
        except FileNotFoundError:
            return None

    def connect(self):
        """A new client."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self.control)
        return Client(connection)

    def wait(self):
        """Wait for the monitor's end: its exit code, -N after signal N."""
        if self.status is None:
            deadline = time.monotonic() + PATIENCE
            while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
                assert time.monotonic() < deadline, "the monitor is still there"
                time.sleep(0.002)
            self.status = os.waitstatus_to_exitcode(found[1])
        return self.status

    def started(self):
        """Wait for the start: all packets that came with it."""
        return self.founder.until(b"s")[1]

    def record(self, name="exit"):
        """A JSON file of the monitor."""
        path = os.path.join(self.dir if name == "exit" else self.run, name)
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def log(self, name="ctr.log"):
        """The log file's bytes."""
        with open(os.path.join(self.dir, name), "rb") as file:
            return file.read()

    def entries(self, name="ctr.log"):
        """A k8s-file log as (stream, F or P, text) per entry."""
        found = []
        for line in self.log(name).split(b"\n")[:-1]:
            _, stream, tag, text = line.split(b" ", 3)
            found.append((stream.decode(), tag.decode(), text))
        return found

    def said(self, name="ctr.log"):
        """What a k8s-file log says, per stream, put together again."""
        pieces = {"stdout": [], "stderr": []}
        for stream, tag, text in self.entries(name):
            pieces[stream].append(text + b"\n" if tag == "F" else text)
        return {stream: b"".join(texts) for stream, texts in pieces.items()}

    def memory(self):
        """Fields of /proc/PID/smaps_rollup in kB."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            lines = [line.split() for line in file.readlines()[1:]]
        return {words[0].rstrip(":"): int(words[1]) for words in lines}
