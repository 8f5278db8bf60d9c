"""Root in a container that may send packets of its own making: it reaches what others reach,
and not the host's loopback."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from integration.network import test_user_networks as user_networks
from integration.network import world
from integration.network.conftest import fetch
from support.command import Rl

pytestmark = [pytest.mark.integration, pytest.mark.one_id]
IMAGE = "localhost/busybox:latest"
LOOPBACKS = ("127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1")


# --- packets ---------------------------------------------------------------------------------


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source, target, port, said):
    """A whole IP packet with a datagram in it."""
    six = ":" in target
    family = socket.AF_INET6 if six else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    length = 8 + len(said)
    datagram = struct.pack(">4H", 5555, port, length, 0) + said
    pseudo = ends + (struct.pack(">IxxxB", length, 17) if six else struct.pack(">xBH", 17, length))
    datagram = datagram[:6] + struct.pack(">H", checksum(pseudo + datagram) or 0xFFFF) + said
    if six:
        return struct.pack(">IHBB", 6 << 28, length, 17, 64) + ends + datagram
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 7, 0, 64, 17, 0) + ends
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + datagram


def send(gateways, sources, targets):
    """Send a datagram to each (address, port) in a frame to the gateway, whatever the routes;
    called inside a container."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as frames:
        frames.bind(("eth0", 0x0800))
        own = frames.getsockname()[4]
        for target, port in targets:
            six = ":" in target
            if sources[six] is None:
                continue
            router = neighbour(gateways[six])
            kind = b"\x86\xdd" if six else b"\x08\x00"
            said = f"to {target}".encode()
            frames.send(router + own + kind + packet(sources[six], target, port, said))
    return "sent"


def neighbour(address):
    """The hardware address of a router, asked for as the kernel does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket(family, socket.SOCK_DGRAM) as poke:
            poke.connect((address, 9))
            poke.send(b"x")
        words = subprocess.run(["ip", "neigh", "show", address], capture_output=True, text=True,
                               check=True).stdout.split()  # fmt: skip
        if "lladdr" in words:
            return bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
        time.sleep(0.05)
    raise TimeoutError(address)


# --- what arrives ----------------------------------------------------------------------------


def reached(home, image, *options):
    """Where datagrams of a container's root arrive: a sorted list of targets."""
    return world.run(_reached, home, image, options)


def _reached(home, image, options):
    # One listener for each family, on all addresses: a datagram says where it was sent to.
    heard = {
        ":" in bound: world.listen(bound, kind=socket.SOCK_DGRAM) for bound in ("0.0.0.0", "::")
    }
    rl = Rl(home)
    rl.ok("load", "--input", image)
    try:
        user_networks.start(rl, IMAGE, "root", *options)
        root = user_networks.Member(rl, "root")
        port4, port6 = (world.port_of(heard[six]) for six in (False, True))
        # "::ffff:…" and its like lead to sockets of IPv4.
        ports = {target: port6 if target in ("::1", "::", world.HOST6) else port4
                 for target in (*LOOPBACKS, world.HOST4, world.HOST6)}  # fmt: skip
        known = root.do(addresses)
        six = known.rpartition(" ")[2] if " " in known else None
        gateways = ("10.0.2.2", f"{six.rpartition('::')[0]}::2" if six else None)
        targets = [*((t, ports[t]) for t in LOOPBACKS), *((t, ports[t]) for t in ports)]
        assert root.do(send, gateways, (known.partition(" ")[0], six), targets) == "sent"
        found, deadline = set(), time.monotonic() + 20
        while time.monotonic() < deadline and f"to {world.HOST4}" not in found:
            for one in select.select([*heard.values()], [], [], 0.2)[0]:
                found.add(one.recv(100).decode())
        while ready := select.select([*heard.values()], [], [], 0.5)[0]:
            found |= {one.recv(100).decode() for one in ready}
        return sorted(text.removeprefix("to ") for text in found)
    finally:
        rl.ok("rm", "--all", "--force", "--time", "0")


def addresses():
    """The container's IPv4 address and its IPv6 address, if it has one."""
    said = subprocess.run(["ip", "-o", "addr", "show", "dev", "eth0", "scope", "global"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip
    found = [line.split()[3].partition("/")[0] for line in said.splitlines()]
    return " ".join(sorted(found, key=lambda text: ":" in text))


@pytest.mark.parametrize(
    "options",
    [
        ("--cap-add", "NET_ADMIN"),
        ("--privileged", "--network", "pasta"),
        ("--cap-add", "NET_RAW", "--network", "slirp4netns:mtu=1500"),
    ],
)
def test_the_hosts_loopback_stays_out_of_reach(workdir, busybox_image, options):
    found = reached(workdir, busybox_image, *options)
    assert world.HOST4 in found
    assert not set(found) & set(LOOPBACKS), found
    if "pasta" in options:
        assert world.HOST6 in found


def test_the_packets_would_get_there(workdir, busybox_image):
    """What the test above sends does arrive where the user asked for the loopback."""
    found = reached(workdir, busybox_image, "--cap-add", "NET_ADMIN", "--network",
                    "slirp4netns:allow_host_loopback=true")  # fmt: skip
    assert {"127.0.0.1", "0.0.0.0", world.HOST4} <= set(found)


# --- it is a network like the others ----------------------------------------------------------


def test_names_ports_and_rates_work(net):
    net.web("web", "--privileged", "-p", "80", "--mac-address", "02:00:00:00:00:77",
            "--network-rate", "50mbit")  # fmt: skip
    port = net.port("web", "80")
    assert net.until(lambda: fetch(port)) == "web\n"
    said = net.ok("exec", "web", "ip", "addr", "show", "eth0").stdout
    assert "10.0.2.100/24" in said and "02:00:00:00:00:77" in said
    net.ok("update", "--network-rate", "none", "web")
    assert fetch(port) == "web\n"
    plain = net.ok("run", "--rm", net.image, "sh", "-c", "cat /etc/resolv.conf; ip route").stdout
    own = net.ok("exec", "web", "sh", "-c", "cat /etc/resolv.conf; ip route").stdout
    assert own == plain


def test_nothing_stays_between(net):
    """The namespace between has no process, and it ends with the helper."""
    before = len(user_networks.processes(net.rl, ""))
    name = net.run("root", "--privileged", "--network", "slirp4netns")
    assert len(user_networks.processes(net.rl, "")) == before + 3  # monitor, program, helper
    os.kill(net.child(name, "slirp4netns"), signal.SIGKILL)
    net.until(lambda: "eth0" not in net.ok("exec", "root", "ip", "link").stdout)


def test_where_packets_cannot_be_filtered_it_is_said(net):
    run = ("run", "--rm", "--cap-add", "NET_RAW", net.image, "true")
    assert "loopback" not in net.ok(*run).stderr
    cache = f"{net.rl.run}/rl/probes.json"
    with open(cache) as file:
        kept = json.load(file)
    kept["entries"]["network guard"]["value"][0].update(ok=False, reason="no cls_bpf here")
    with open(cache, "w") as file:
        json.dump(kept, file)
    said = net.ok(*run).stderr
    assert "host's loopback" in said and "no cls_bpf here" in said and "--network bridge" in said
    assert net.ok("run", "--rm", net.image, "true").stderr == ""
    os.unlink(cache)
