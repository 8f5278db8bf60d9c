"""The monitor's socket from another user's side."""

import os
import socket

import pytest

from support.monitored import Client, Monitored

NOBODY = 65534


def served(path):
    """The kind of the first packet that a client gets, b"" if it is sent away."""
    client = Client(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    client.socket.connect(path)
    kind = client.packet()[:1]
    client.close()
    return kind


@pytest.mark.as_root
def test_another_user_is_not_served(workdir):
    # The modes that keep others away are taken off: this is about the second lock.
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        for path in (workdir, box.run):
            os.chmod(path, 0o755)
        os.chmod(box.control, 0o666)
        assert served(box.control) == b"s"
        os.seteuid(NOBODY)
        try:
            assert served(box.control) == b""
        finally:
            os.seteuid(0)
        box.founder.send(b"E")
        box.founder.until(b"x")
        box.wait()
