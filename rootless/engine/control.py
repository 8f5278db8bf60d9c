"""Talking to a container's monitor over its control socket (docs/monitor.md, "Messages")."""

import os

from rootless.engine import records
from rootless.errors import RlError
from rootless.kernel import files
from rootless.kernel.process import look_twice

_LARGEST = 1 << 16
NEVER = 0xFFFFFFFF
_LOOK = 0.002  # seconds between two looks at the life lock


class NotRunning(RlError):
    """container {0} is not running"""

    hint = "start it with: rl start {0}"


class NoAnswer(RlError):
    """the monitor of container {0} does not answer"""

    hint = "end it with: rl rm -f {0}"


class Ended:
    """How a container ended, as its monitor told it."""

    __slots__ = ("code", "signal", "flags")

    def __init__(self, packet):
        self.code, self.signal, self.flags = packet[1], packet[2], packet[3]


class Control:
    """A connection to the monitor of one container; closed by ``with``."""

    def __init__(self, engine, record):
        self.record = record
        self.run_dir = records.run_directory(engine, record["id"])
        self.socket = self._connect()

    def _connect(self):
        from _socket import AF_UNIX, SOCK_SEQPACKET, socket

        connection = socket(AF_UNIX, SOCK_SEQPACKET, 0)
        try:
            directory = os.open(self.run_dir, os.O_PATH | os.O_CLOEXEC)
            try:
                connection.connect(f"/proc/self/fd/{directory}/control")
            finally:
                os.close(directory)
        except OSError:
            connection.close()
            raise NotRunning(self.record["name"]) from None
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def send(self, packet):
        """Send one packet; NotRunning if the monitor is gone."""
        try:
            self.socket.send(packet)
        except OSError:
            raise NotRunning(self.record["name"]) from None

    def kill(self, number, ends=False):
        """Send signal ``number`` to pid 1; ``ends``: the user wants it to end, no restart."""
        self.send(b"K" + bytes((number, bool(ends))))

    def stop(self, number=0, milliseconds=NEVER):
        """The stop signal (0: the container's own), then SIGKILL after ``milliseconds``."""
        self.send(b"T" + bytes((number,)) + milliseconds.to_bytes(4, "little"))

    def begin(self):
        """Let a container that waits for its start go on."""
        self.send(b"S")

    def resize(self, rows, columns):
        """Set the size of its terminal."""
        self.send(b"R" + rows.to_bytes(2, "little") + columns.to_bytes(2, "little"))

    def receive(self, kinds, timeout=None):
        """The next packet whose type (bytes of length 1) is in ``kinds``; None at the end.

        ``timeout`` in seconds; NoAnswer when it has passed.
        """
        if timeout is not None:
            self.socket.settimeout(timeout)
        while True:
            try:
                packet = look_twice(self.socket.recv, _LARGEST)
            except TimeoutError:
                raise NoAnswer(self.record["name"]) from None
            except OSError:
                return None
            if not packet:
                return None
            if packet[:1] in kinds:
                return packet

    def wait_end(self, timeout=None):
        """Wait until the container has ended: Ended, or None if the monitor just vanished."""
        packet = self.receive((b"x",), timeout)
        return Ended(packet) if packet else None


def wait_released(engine, record, seconds=None):
    """Wait until the monitor (or a launch) has let go of the container altogether: True, or
    False if ``seconds`` have passed."""
    run_dir = records.run_directory(engine, record["id"])
    try:
        alive = os.open(f"{run_dir}/alive", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if seconds is None:
            return files.lock(alive, exclusive=False)
        from time import monotonic, sleep

        deadline = monotonic() + seconds
        while not files.lock(alive, exclusive=False, wait=False):
            if monotonic() > deadline:
                return False
            sleep(_LOOK)
        return True
    finally:
        os.close(alive)
