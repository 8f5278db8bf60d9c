"""The SSH agent of a step: a socket of its own, whose connections are handed on.

The caller's agent would refuse any other user of the container, and its socket has another
owner and mode than a step may ask for.
"""

import os
import select
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

_PIECE = 1 << 16
_PATIENCE = 5  # seconds
_MOST = 64  # connections at once


def listen(path):
    """A socket that listens at ``path``, which may be longer than addresses are."""
    directory, name = os.path.split(path)
    place = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
        listening.bind(f"/proc/self/fd/{place}/{name}")
        listening.listen(16)
        return listening
    finally:
        os.close(place)


class Relay:
    """Hands the connections of listening sockets on to agents, from a poll loop.

    ``pairs``: (listening socket, path of the agent's socket).
    """

    def __init__(self, pairs):
        self.listening = {pair[0].fileno(): pair for pair in pairs}
        self.peers = {}  # descriptor → (its socket, the other)

    def register(self, watch):
        """Watch the listening sockets with ``watch`` (select.poll)."""
        self.watch = watch
        for descriptor in self.listening:
            watch.register(descriptor, select.POLLIN)

    def handle(self, descriptor):
        """Whether ``descriptor``, which poll has named, was ours."""
        if descriptor in self.listening:
            self._accept(*self.listening[descriptor])
            return True
        if descriptor not in self.peers:
            return False
        mine, other = self.peers[descriptor]
        try:
            data = mine.recv(_PIECE)
            if data:
                other.sendall(data)
                return True
        except OSError:
            pass
        self._end(mine, other)
        return True

    def _accept(self, listening, path):
        descriptor, _ = listening._accept()
        near = socket(AF_UNIX, SOCK_STREAM, 0, descriptor)
        os.set_inheritable(descriptor, False)
        far = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
        try:
            if len(self.peers) >= 2 * _MOST:
                raise OSError
            far.connect(path)
        except OSError:
            near.close()
            far.close()
            return
        for mine, other in ((near, far), (far, near)):
            # Who asks and doesn't read may not hold up the step's output for ever.
            mine.settimeout(_PATIENCE)
            self.peers[mine.fileno()] = mine, other
            self.watch.register(mine.fileno(), select.POLLIN)

    def _end(self, *both):
        for one in both:
            self.watch.unregister(one.fileno())
            del self.peers[one.fileno()]
            one.close()

    def close(self):
        """Close everything."""
        for mine, _ in self.peers.values():
            mine.close()
        for listening, _ in self.listening.values():
            listening.close()
        self.peers, self.listening = {}, {}
