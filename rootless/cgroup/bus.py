"""A connection to the user's message bus, for a few calls: strict in time, lean in imports."""

import os
import select
import time
from _struct import Struct

from rootless.cgroup import wire
from rootless.errors import RlError

_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_TIMEVAL = Struct("@ll")
PATIENCE = 8.0  # seconds for everything; a healthy bus answers within milliseconds


class BusTrouble(RlError):
    """the user's message bus {0}: {1}"""

    hint = "systemctl --user status shows whether the user's systemd is at work"


class Refused(RlError):
    """systemd refused: {1} ({0})"""

    hint = "systemctl --user status shows whether the user's systemd is at work"

    def __init__(self, name, text):
        super().__init__(name, text)
        self.name = name


def addresses(environ, uid):
    """Where the socket of the user's bus may be (list of str; "@name" for an abstract one).

    ``environ`` is the caller's; those of DBUS_SESSION_BUS_ADDRESS count, in their order, then
    where systemd puts it (sd_bus_open_user(3)).
    """
    found = []
    for transport, pairs in _entries(environ):
        if transport == "unix" and pairs.get("path", "").startswith("/"):
            found.append(pairs["path"])
        elif transport == "unix" and pairs.get("abstract"):
            found.append("@" + pairs["abstract"])
    directory = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    if directory.startswith("/") and f"{directory}/bus" not in found:
        found.append(f"{directory}/bus")
    return [path for path in found if "\0" not in path]


def unusable(environ):
    """The transports of DBUS_SESSION_BUS_ADDRESS that rl does not speak, "tcp, unixexec"."""
    return ", ".join(dict.fromkeys(
        transport for transport, _ in _entries(environ) if transport not in ("unix", "")
    ))  # fmt: skip


def _entries(environ):
    """(transport, {key: value}) of each alternative ("Server Addresses")."""
    for entry in environ.get("DBUS_SESSION_BUS_ADDRESS", "").split(";"):
        transport, _, rest = entry.strip().partition(":")
        pairs = (word.partition("=")[::2] for word in rest.split(","))
        yield transport, {key: _unescaped(value) for key, value in pairs}


def _unescaped(text):
    """%41 is A; what is escaped are bytes ("Server Addresses")."""
    first, *rest = os.fsencode(text).split(b"%")
    found = first
    for part in rest:
        try:
            found += bytes([int(part[:2], 16)]) + part[2:]
        except ValueError:
            found += b"%" + part
    return os.fsdecode(found)


class Bus:
    """One connection.  Everything sent before the first answer leaves in one write.

    ``path`` as ``address`` gives it; ``patience`` seconds for all that is done with it.
    Raises BusTrouble whenever the bus is not there, hangs, dies or talks nonsense.
    """

    def __init__(self, path, uid, patience=PATIENCE):
        from _socket import AF_UNIX, SO_SNDTIMEO, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

        self.path = path
        self._deadline = time.monotonic() + patience
        self._socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
        self._serial = 0
        self._greeted = False
        self._data = bytearray()
        self._waiting = []  # signals that came while an answer was awaited
        # SASL, EXTERNAL: the kernel tells the bus who we are ("Authentication Protocol").
        self._out = bytearray(
            b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\nBEGIN\r\n"
        )
        try:
            # A queue of callers that is full takes the next one as soon as there is room
            # (unix(7)): a hundred containers may be starting.
            limit = _TIMEVAL.pack(int(patience), int(patience % 1 * 1e6))
            self._socket.setsockopt(SOL_SOCKET, SO_SNDTIMEO, limit)
            self._socket.connect("\0" + path[1:] if path[:1] == "@" else path)
            self._socket.setblocking(False)
        except BlockingIOError:
            self.close()
            raise BusTrouble(path, "it takes no connection") from None
        except OSError as error:
            self.close()
            raise BusTrouble(path, error.strerror or error) from None
        self.send(*_BUS, "Hello")

    def close(self):
        """End the connection."""
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- out ---

    def send(self, destination, path, interface, member, signature="", *arguments):
        """Queue a call; its serial number, for ``answer``."""
        self._serial += 1
        self._out += wire.call(self._serial, destination, path, interface, member, signature,
                               *arguments)  # fmt: skip
        return self._serial

    def flush(self):
        """Write what is queued."""
        while self._out:
            try:
                del self._out[: self._socket.send(self._out)]
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise BusTrouble(self.path, error.strerror) from None

    def listen(self, rule):
        """Ask for the signals that match ``rule`` ("Match Rules")."""
        return self.send(*_BUS, "AddMatch", "s", rule)

    # --- in ---

    def answer(self, serial):
        """The values that answer the call ``serial``.  Refused if it is an error."""
        self.flush()
        while True:
            message = self._next()
            if message.fields.get(wire.REPLY_SERIAL) == serial:
                if message.kind == wire.ERROR:
                    text = next((value for value in message.body if isinstance(value, str)), "")
                    raise Refused(
                        message.fields.get(wire.ERROR_NAME, ""), text or "no reason given"
                    )
                return message.body
            if message.kind == wire.SIGNAL:
                self._waiting.append(message)

    def signal(self, member, wanted):
        """The values of the first signal ``member`` for which ``wanted(values)`` is true."""
        self.flush()
        while True:
            message = self._waiting.pop(0) if self._waiting else self._next()
            if (
                message.kind == wire.SIGNAL
                and message.fields.get(wire.MEMBER) == member
                and wanted(message.body)
            ):
                return message.body

    def _next(self):
        while True:
            if not self._greeted:
                self._greet()
            if self._greeted:
                try:
                    message, used = wire.parse(self._data)
                except wire.Malformed as error:
                    raise BusTrouble(self.path, f"it sent what is no message: {error}") from None
                if message:
                    del self._data[:used]
                    return message
            self._receive()

    def _greet(self):
        line, end, rest = self._data.partition(b"\r\n")
        if not end:
            if len(self._data) > 4096:
                raise BusTrouble(self.path, "it does not speak D-Bus")
            return
        if not line.startswith(b"OK "):
            raise BusTrouble(self.path, "it does not let us in")
        self._data = bytearray(rest)
        self._greeted = True

    def _receive(self):
        self._wait(select.POLLIN)
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise BusTrouble(self.path, error.strerror) from None
        if not data:
            raise BusTrouble(self.path, "it ended the connection")
        self._data += data

    def _wait(self, event):
        left = self._deadline - time.monotonic()
        watch = select.poll()
        watch.register(self._socket.fileno(), event)
        if left <= 0 or not watch.poll(left * 1000):
            raise BusTrouble(self.path, "it does not answer")
