"""--network-rate: measured in both directions, shown, changed, and out of the container's reach."""

import socket
import threading
import time

import pytest

from integration.network.conftest import fetch

pytestmark = [pytest.mark.integration, pytest.mark.one_id]
RATE = 20_000_000  # bits a second
AMOUNT = 8_000_000  # bytes: 3.2 s, the first burst is of no account
SINK = "nc -l -p 80 >/dev/null"
SOURCE = f"head -c {AMOUNT} /dev/zero | nc -l -p 80"


def send(net, name):
    """Send AMOUNT bytes to a published port: bits a second until the container has them."""
    sink = net.rl.start("exec", name, "sh", "-c", SINK)
    port = serving(net, name)
    chunk, left = bytes(1 << 16), AMOUNT
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        began = time.monotonic()
        while left > 0:
            left -= client.send(chunk[:left])
        client.shutdown(socket.SHUT_WR)
        assert sink.communicate(timeout=60) == (b"", b"")
        return AMOUNT * 8 / (time.monotonic() - began)


def receive(net, name):
    """Read a published port to its end: bits a second."""
    net.ok("exec", "-d", name, "sh", "-c", SOURCE)
    port = serving(net, name)
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        began, got = time.monotonic(), 0
        while data := client.recv(1 << 16):
            got += len(data)
        assert got == AMOUNT
        return AMOUNT * 8 / (time.monotonic() - began)


def serving(net, name):
    """Wait until somebody listens on port 80 of the container: the port of this machine."""
    tables = ("cat", "/proc/net/tcp", "/proc/net/tcp6")
    net.until(lambda: ":0050 " in net.rl("exec", name, *tables).stdout)
    return net.port(name, "80")


def measured(net, name, what):
    """A rate through the published port."""
    return (send if what == "in" else receive)(net, name)


def close(found, wanted):
    """Within a tenth of what was asked for; where the machine is busy it may be slower."""
    return wanted / 4 < found < wanted * 1.1


@pytest.mark.parametrize("what", ["in", "out"])
def test_published_ports_keep_the_rate(net, what):
    net.run("slow", "-p", "127.0.0.1::80", "--network-rate", "20mbit")
    assert close(measured(net, "slow", what), RATE)
    net.ok("update", "--network-rate", "none", "slow")
    assert measured(net, "slow", what) > RATE * 1.5


class Host:
    """A server of this machine that sends or takes AMOUNT bytes."""

    def __init__(self, sends):
        self.sends = sends
        self.server = socket.create_server(("", 0))
        self.port = self.server.getsockname()[1]
        self.rate = self.began = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        self.server.settimeout(60)
        client, _ = self.server.accept()
        client.settimeout(60)
        self.began, done = time.monotonic(), 0
        with client:
            if self.sends:
                client.sendall(bytes(AMOUNT))
                client.shutdown(socket.SHUT_WR)
                return
            while not self.sends and (data := client.recv(1 << 16)):
                done += len(data)
        self.rate = done * 8 / (time.monotonic() - self.began)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join(60)
        self.server.close()


def carried(net, name, what):
    """The rate of a connection that the container makes to this machine."""
    with Host(sends=what == "in") as host:
        address = f"host.containers.internal {host.port}"
        source = f"head -c {AMOUNT} /dev/zero | nc {address}"
        command = f"nc {address} >/dev/null" if what == "in" else source
        net.rl("exec", name, "timeout", "60", "sh", "-c", command, timeout=90)
        ended = time.monotonic()
    if what == "in":  # what the host has sent may still be on its way when it is done
        return AMOUNT * 8 / (ended - host.began)
    return host.rate


@pytest.mark.parametrize("what", ["in", "out"])
def test_the_containers_own_connections_keep_the_rate(net, what):
    net.run("slow", "--network-rate", f"{'ingress' if what == 'in' else 'egress'}=20mbit")
    assert close(carried(net, "slow", what), RATE)


@pytest.fixture
def networks(net):
    """Two networks with names."""
    net.ok("network", "create", "shaped")
    net.ok("network", "create", "later")
    yield "shaped", "later"
    net.ok("rm", "--all", "--force", "--time", "0")
    net.ok("network", "rm", "shaped", "later")


def test_networks_with_names_keep_the_rate(net, networks):
    net.run("slow", "--network", networks[0], "--network-rate", "20mbit")
    for what in ("in", "out"):
        assert close(carried(net, "slow", what), RATE)
    net.ok("network", "connect", networks[1], "slow")
    assert "eth1" in net.ok("exec", "slow", "ls", "/sys/class/net").lines
    assert close(carried(net, "slow", "out"), RATE)


def test_one_direction_leaves_the_other_alone(net):
    net.run("slow", "-p", "127.0.0.1::80", "--network-rate", "egress=20mbit")
    assert close(measured(net, "slow", "out"), RATE)
    assert measured(net, "slow", "in") > RATE * 1.5


def test_it_is_shown_changed_and_kept(net):
    net.run("slow", "--network-rate", "egress=20mbit,latency=80ms")
    shown = net.ok("inspect", "slow").json()[0]["HostConfig"]["NetworkRate"]
    assert shown == {"Egress": RATE, "Ingress": None, "Burst": None, "LatencyMicroseconds": 80_000,
                     "Text": "egress=20mbit,latency=80000us"}  # fmt: skip
    assert net.ok("exec", "slow", "ls", "/sys/class/net").lines == ["eth0", "lo", "rate-out"]
    net.ok("update", "--network-rate", "ingress=1mbit", "slow")
    assert net.ok("exec", "slow", "ls", "/sys/class/net").lines == ["eth0", "lo", "rate-in"]
    net.ok("restart", "--time", "0", "slow")
    assert net.ok("exec", "slow", "ls", "/sys/class/net").lines == ["eth0", "lo", "rate-in"]
    assert net.ok("exec", "slow", "cat", "/sys/class/net/eth0/mtu").text == "1500"
    net.ok("update", "--network-rate", "none", "slow")
    assert net.inspect("slow", "{{json .HostConfig.NetworkRate}}") == "null"
    net.ok("stop", "--time", "0", "slow")
    net.ok("update", "--network-rate", "2mbit", "slow")
    assert "ingress=2mbit" in net.inspect("slow", "{{.HostConfig.NetworkRate.Text}}")


def test_the_container_cannot_undo_it(net):
    net.run("slow", "--network-rate", "20mbit")
    for command in ("ip link set rate-out down", "ip link del rate-in", "ip link set eth0 mtu 9000",
                    "echo 4096 131072 6291456 >/proc/sys/net/ipv4/tcp_rmem"):  # fmt: skip
        assert net.rl("exec", "slow", "sh", "-c", command).code != 0, command


@pytest.mark.parametrize("words", [("--network-rate", "fast"),
                                   ("--network-rate", "10mbit", "--network", "host"),
                                   ("--network-rate", "10mbit", "--network", "none")])  # fmt: skip
def test_what_makes_no_sense(net, words):
    net.fails("run", "--rm", *words, net.image, "true")


def test_a_program_that_serves_stays_reachable_while_limited(net):
    net.web("web", "-p", "127.0.0.1::80", "--network", "none", "--network-rate", "1mbit")
    port = net.port("web", "80")
    assert net.until(lambda: fetch(port), "an answer") == "web\n"
