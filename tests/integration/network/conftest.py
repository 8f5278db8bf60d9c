"""rl with one store for all tests of its networks, and servers to reach."""

import os
import socket
import subprocess
import time

import pytest

from support import images

IMAGE = "localhost/busybox:latest"
SERVERS = "localhost/servers:latest"


class Net:
    """What the tests do with rl; ``rl`` is the support.command.Rl."""

    image = IMAGE

    def __init__(self, rl):
        self.rl = rl
        self.ok = rl.ok
        self.fails = rl.fails

    def run(self, name, *options, command=("sleep", "1000"), image=IMAGE):
        """Start a container in the background: its id."""
        return self.ok("run", "-d", "--name", name, *options, image, *command).text

    def web(self, name, *options, port=80):
        """A container with a web server that tells its name and logs its clients."""
        command = (
            f"mkdir -p /srv && echo {name} >/srv/name && exec httpd -f -vv -p {port} -h /srv"
        )
        return self.run(name, *options, command=("sh", "-c", command))

    def inspect(self, name, template):
        """One value of rl inspect, as text."""
        return self.ok("inspect", "--format", template, name).text

    def port(self, name, inside):
        """The port of the host that leads to a container's port, as int."""
        return int(self.ok("port", name, inside).text.rpartition(":")[2])

    def until(self, condition, what="it", patience=60):
        """Wait until ``condition()`` is true: what it gave."""
        deadline = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what} did not happen"
            time.sleep(0.05)
        return found

    def child(self, container_id, program):
        """The pid of a process that the container's monitor has for it."""
        monitor = self.monitor(container_id)
        with open(f"/proc/{monitor}/task/{monitor}/children", encoding="ascii") as file:
            for pid in file.read().split():
                if os.path.basename(_words(pid)[0]) == program:
                    return int(pid)
        return None

    def monitor(self, container_id):
        """The pid of a container's monitor."""
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            words = _words(pid)
            if words[0] == "rl-monitor" and f"id={container_id}" in words:
                return int(pid)
        raise AssertionError("there is no monitor")


def _words(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return [""]


def fetch(port, address="127.0.0.1", path="/name"):
    """What a web server answers: its body as str; None while nobody does."""
    try:
        with socket.create_connection((address, port), 10) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            said = b""
            while chunk := client.recv(4096):
                said += chunk
    except OSError:
        return None
    head, _, body = said.partition(b"\r\n\r\n")
    return body.decode() if b" 200 " in head.split(b"\r\n")[0] + b" " else None


def listening(port):
    """Whether anything listens on a TCP port of this host."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def sockets():
    """The listening sockets of this user, as a set of lines of ss(8)."""
    words = ["ss", "-H", "-n", "-l", "-t", "-u", "-e"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return {line.split()[4] for line in done.stdout.splitlines() if f"uid:{os.getuid()} " in line}


@pytest.fixture
def net(shared_rl):
    """A Net over a store with busybox in it and no containers; no listening socket stays."""
    before = sockets()
    yield Net(shared_rl)
    shared_rl.ok("rm", "--all", "--force", "--time", "0")
    left = sockets() - before
    assert not left, f"still listening: {left}"


@pytest.fixture(scope="session")
def servers(shared_rl):
    """The name of an image with nginx, redis and PostgreSQL."""
    said = shared_rl.ok("load", "--quiet", "--input", images.cached("servers.oci")).text
    shared_rl.ok("tag", said.rpartition(" ")[2], SERVERS)
    yield SERVERS
    shared_rl.ok("rmi", "--force", SERVERS)
