"""Talking to the holder of the networks (helpers/netholder), and starting it.

    RUN/networks/alive     locked for as long as it lives
    RUN/networks/control   its socket; only the same user is heard

Messages are packets: a letter, then texts KEY=VALUE that end with a NUL; see
docs/networking.md.  Whoever is connected keeps the holder alive.
"""

import _socket
import os
import select
from time import monotonic, sleep

from rootless.errors import RlError
from rootless.kernel import files, process

PATIENCE = 8.0
_LARGEST = 16384


class HolderFailed(RlError):
    """the network namespace of the user networks could not be made: {0}"""

    hint = "rl doctor says what is in the way; --network private needs no such namespace"


class HolderRefused(RlError):
    """the holder of the user networks refused: {0}"""

    hint = "rl network reload repairs the networks of running containers"


class Silent(HolderFailed):
    """the holder of the user networks, process {0}, does not answer"""

    hint = "end it with: kill -9 {0}; the next start on a network repairs what was on it"


class Gone(HolderFailed):
    """the holder of the user networks has just ended"""

    hint = "try again: the next start on a network, or rl network reload, repairs what was on it"


_REASONS = {
    "namespace": "a user and network namespace cannot be made ({0})",
    "sockets": "its DNS sockets cannot be opened ({0})",
    "descriptors": "a descriptor cannot be made ({0})",
}


class Holder:
    """A connection; ``pid`` of the process inside, ``route`` and ``filter`` (descriptors of
    netlink sockets in its namespace; ``filter`` None without nf_tables), ``connected``:
    whether a helper serves."""

    def __init__(self, connection, run_dir):
        self._connection = connection
        self._run_dir = run_dir
        self._connection.settimeout(PATIENCE)
        self.route = self.filter = None
        said, found = self.ask(b"O")
        words = said.decode().split()
        self.pid = int(words[0])
        self.connected = words[1] == "helper"
        self.route = found[0]
        if len(found) > 1:
            self.filter = found[1]

    def ask(self, verb, *fields, fds=(), words=()):
        """Send one message; (what it answered as bytes, descriptors that came with it).

        ``words`` stand behind the fields as they are: a command line.  Raises HolderRefused,
        Silent where no answer comes in time, and Gone where none can come.
        """
        data = verb + b"".join(text.encode() + b"\0" for text in (*fields, *words))
        rights = b"".join(number.to_bytes(4, "little") for number in fds)
        try:
            self._connection.sendmsg([data], [(1, 1, rights)] if fds else [])
            said, ancillary, _, _ = self._connection.recvmsg(_LARGEST, 64)
        except TimeoutError:
            raise Silent(_pid(self._run_dir)) from None
        except OSError:
            raise Gone() from None
        if not said:
            raise Gone()
        found = []
        for _, _, raw in ancillary:
            found += [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
        for descriptor in found:
            os.set_inheritable(descriptor, False)
        if said[:1] != b"d":
            raise HolderRefused(said[1:].decode("utf-8", "replace"))
        return said[1:], found

    def state(self):
        """(names of the networks it has, set of (member id, network))."""
        said, _ = self.ask(b"S")
        names, members = set(), set()
        for text in said.decode().split("\0"):
            kind, _, value = text.partition("=")
            if kind == "network":
                names.add(value)
            elif kind == "member":
                members.add(tuple(value.split(" ")))
        return names, members

    def spawn(self, argv, descriptors, environ=None):
        """Start a helper as a child of the holder: as kernel.process.spawn."""
        sources = [descriptors.get(number) for number in range(max(descriptors) + 1)]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            fds = [null if source is None else source for source in sources]
            words = [f"words={argv[0]}", *argv[1:]]
            said, _ = self.ask(b"P", fds=fds, words=words)
        finally:
            os.close(null)
        return int(said)

    def end_helper(self):
        """Kill the helper that was started last."""
        try:
            self.ask(b"K")
        except Gone:
            pass

    def serves(self, ready):
        """The helper is to be kept running; its descriptor ``ready`` is not needed any more."""
        self.ask(b"W", f"ready={ready}")
        self.connected = True

    def close(self):
        """Leave; without members it ends now."""
        for descriptor in (self.route, self.filter):
            if descriptor is not None:
                os.close(descriptor)
        self.route = self.filter = None
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def connect(run_dir):
    """The Holder that lives in ``run_dir``; None if there is none."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        connection.close()
        return None
    try:
        connection.settimeout(PATIENCE)
        connection.connect(f"/proc/self/fd/{directory}/control")
        return Holder(connection, run_dir)
    except TimeoutError:
        connection.close()
        raise Silent(_pid(run_dir)) from None
    except (OSError, Gone):
        connection.close()
        return None
    finally:
        os.close(directory)


def _pid(run_dir):
    try:
        with open(f"{run_dir}/alive", "rb", 0) as file:
            return file.read(20).decode().strip()
    except OSError:
        return "unknown"


def lives(run_dir):
    """Whether a holder holds its lock in ``run_dir``."""
    try:
        alive = os.open(f"{run_dir}/alive", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not files.lock(alive, wait=False, exclusive=False)
    finally:
        os.close(alive)


def find_or_start(run_dir, program):
    """(Holder, True if it is a new one).  Called with the lock of ``run_dir`` held."""
    found = connect(run_dir)
    if found:
        return found, False
    alive = os.open(f"{run_dir}/alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = monotonic() + PATIENCE
        while not files.lock(alive, wait=False):  # the last one is about to leave, or is busy
            found = connect(run_dir)
            if found:
                return found, False
            if monotonic() > deadline:
                raise HolderFailed("the one before it does not answer and does not end")
            sleep(0.01)
        _start(run_dir, program, alive)
    finally:
        os.close(alive)
    found = connect(run_dir)
    if not found:
        raise HolderFailed("it ended at once")
    return found, True


def _start(run_dir, program, alive):
    directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    read, write = os.pipe()
    try:
        try:
            os.unlink("control", dir_fd=directory)
        except FileNotFoundError:
            pass
        listening.bind(f"/proc/self/fd/{directory}/control")
        os.chmod("control", 0o600, dir_fd=directory)
        listening.listen(128)
        words = ["rl-network", "listen=3", "alive=4", "ready=5", "dir=6"]
        table = {3: listening.fileno(), 4: alive, 5: write, 6: directory}
        process.wait_exit(process.spawn([program, *words[1:]], table))
        os.close(write)
        write = None
        _wait(read)
    except OSError as error:
        raise HolderFailed(f"{program}: {error.strerror}") from None
    finally:
        listening.close()
        for descriptor in (read, write, directory):
            if descriptor is not None:
                os.close(descriptor)


def _wait(ready):
    watch = select.poll()
    watch.register(ready, select.POLLIN)
    said = os.read(ready, 200).decode() if watch.poll(PATIENCE * 1000) else "time"
    what, _, number = said.partition(" ")
    if what == "ok":
        return
    reason = _REASONS.get(what, "it was not ready in time" if said else "it was killed")
    raise HolderFailed(reason.format(os.strerror(int(number)) if number.isdecimal() else what))
