"""The DNS server of networks: names of the outside, large answers, hostile questions."""

import os
import random
import socket
import struct
import threading

import pytest

from integration.network import test_user_networks as user_networks
from integration.network import world
from support.command import Rl

pytestmark = [pytest.mark.integration, pytest.mark.one_id]
A, TXT, AAAA = 1, 16, 28
OK, FORMAT_ERROR, FAILED, NO_NAME, NOT_DONE = range(5)


# --- messages (RFC 1035) ---------------------------------------------------------------------


def encode(name):
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(name, kind=A, number=None):
    number = random.randrange(1 << 16) if number is None else number
    header = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
    return header + encode(name) + struct.pack(">2H", kind, 1)


def answer_to(message, data, kind=A, flags=0x8180):
    """The answer with one record; none where ``data`` is empty."""
    end = message.index(b"\0", 12) + 5
    header = message[:2] + struct.pack(">5H", flags, 1, 1 if data else 0, 0, 0)
    record = struct.pack(">3HIH", 0xC00C, kind, 1, 60, len(data)) + data if data else b""
    return header + message[12:end] + record


def name_in(message):
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels)


def ask(server, message, tcp=False, patience=8.0):
    """(code, truncated, number of answers, length, last bytes); called inside a container."""
    said = exchange(server, message, tcp, patience)
    if said[:2] != message[:2]:
        return "another id"
    return (said[3] & 15, bool(said[2] & 2), struct.unpack_from(">H", said, 6)[0], len(said),
            said[-4:].hex())


def exchange(server, message, tcp, patience):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(patience)
        client.connect((server, 53))
        if not tcp:
            client.send(message)
            return client.recv(65536)
        client.sendall(struct.pack(">H", len(message)) + message)
        whole = b""
        while len(whole) < 2 or len(whole) < 2 + struct.unpack(">H", whole[:2])[0]:
            piece = client.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            whole += piece
        return whole[2:]


class Resolver:
    """A name server of the host: small.example, big.example (too big for UDP), nothing else."""

    def __init__(self, address, data):
        self.data = socket.inet_aton(data)
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind((address, 53))
        self.streams = socket.create_server((address, 53))
        for serve in (self._datagrams, self._streams):
            threading.Thread(target=serve, daemon=True).start()

    def _answer(self, message, tcp):
        name = name_in(message)
        if name == "small.example":
            return answer_to(message, self.data)
        if name == "big.example":
            if not tcp:
                return answer_to(message, b"", flags=0x8380)
            return answer_to(message, bytes(20000) + self.data, TXT)
        return answer_to(message, b"", flags=0x8183)

    def _datagrams(self):
        while True:
            message, client = self.datagrams.recvfrom(65536)
            self.datagrams.sendto(self._answer(message, False), client)

    def _streams(self):
        while True:
            connection, _ = self.streams.accept()
            message = connection.recv(65536)[2:]
            said = self._answer(message, True)
            connection.sendall(struct.pack(">H", len(said)) + said)
            connection.close()


# --- in a host of our own -------------------------------------------------------------------


def on_host(function, home, image):
    """``function(rl, member, gateway)`` on a host whose resolver listens on its loopback."""
    return world.run(_with_resolver, function, home, image)


def _with_resolver(function, home, image):
    world.replace_file("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    Resolver("127.0.0.53", "203.0.113.53")
    rl = Rl(home)
    rl.ok("load", "--input", image)
    try:
        rl.ok("network", "create", "shop")
        user_networks.start(rl, "localhost/busybox:latest", "user", "--network", "shop")
        gateway = rl.ok("network", "inspect", "shop").json()[0]["subnets"][0]["gateway"]
        return function(rl, user_networks.Member(rl, "user"), gateway)
    finally:
        rl.ok("rm", "--all", "--force", "--time", "0")


def test_other_names_come_from_the_host_s_resolver(workdir, busybox_image):
    def scenario(rl, user, gateway):
        answers = [user.do(ask, gateway, question("small.example"), tcp) for tcp in (False, True)]
        return [*answers, user.do(ask, gateway, question("nobody.example"))]

    udp, tcp, unknown = on_host(scenario, workdir, busybox_image)
    for said in (udp, tcp):
        assert said.startswith("(0, False, 1,") and "cb007135" in said  # 203.0.113.53
    assert unknown.startswith(f"({NO_NAME},")


def test_large_answers_come_over_tcp(workdir, busybox_image):
    def scenario(rl, user, gateway):
        return [user.do(ask, gateway, question("big.example", TXT), tcp) for tcp in (False, True)]

    udp, tcp = on_host(scenario, workdir, busybox_image)
    assert udp.startswith("(0, True, 0,")
    assert tcp.startswith("(0, False, 1, 200") and "cb007135" in tcp


def test_a_changed_resolv_conf_counts_at_once(workdir, busybox_image):
    def scenario(rl, user, gateway):
        before = user.do(ask, gateway, question("small.example"))
        Resolver("127.0.0.54", "203.0.113.54")
        path = os.path.realpath("/etc/resolv.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write("options edns0\nnameserver 127.0.0.99\nnameserver\t127.0.0.54\n")
        return before, user.do(ask, gateway, question("small.example"))

    before, after = on_host(scenario, workdir, busybox_image)
    assert "cb007135" in before and "cb007136" in after


def test_without_a_resolver_the_answer_is_a_failure(workdir, busybox_image):
    def scenario(rl, user, gateway):
        with open(os.path.realpath("/etc/resolv.conf"), "w", encoding="ascii") as file:
            file.write("nameserver 127.0.0.98\n")
        return [user.do(ask, gateway, question("small.example"), tcp) for tcp in (False, True)]

    for said in on_host(scenario, workdir, busybox_image):
        assert said.startswith(f"({FAILED},"), said


def test_a_server_of_ones_own_is_asked_from_inside(workdir, busybox_image):
    """--dns names a server as the container would reach it: also another container."""

    def scenario(rl, user, gateway):
        target = user_networks.address(rl, "user", "shop")
        user_networks.start(rl, "localhost/busybox:latest", "two", "--network", "shop",
                            "--dns", target)
        answer = user.start(_answer_once)
        said = user_networks.Member(rl, "two").do(ask, gateway, question("any.example"))
        return said, answer()

    said, asked = on_host(scenario, workdir, busybox_image)
    assert "cb00710a" in said and asked == "any.example"


def _answer_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", 53))
        server.settimeout(20)
        message, client = server.recvfrom(65536)
        server.sendto(answer_to(message, socket.inet_aton("203.0.113.10")), client)
        return name_in(message)


def test_the_host_is_reached_and_its_loopback_is_not(workdir, busybox_image):
    def scenario(rl, user, gateway):
        outside = world.listen(world.HOST4)
        inside = world.listen("127.0.0.1")
        hosts = rl.ok("exec", "user", "cat", "/etc/hosts").stdout
        name = next(line.split()[0] for line in hosts.splitlines()
                    if "host.containers.internal" in line)
        return (name, user.do(world.connect, name, world.port_of(outside)),
                user.do(world.connect, gateway, world.port_of(inside)),
                user.do(world.connect, "10.0.2.2", world.port_of(inside)),
                user.do(world.connect, name, world.port_of(inside)))

    name, host, *others = on_host(scenario, workdir, busybox_image)
    assert (name, host) == (world.HOST4, "connected")
    assert "connected" not in others


@pytest.mark.parametrize("helper, other", [("slirp4netns", "pasta"), ("pasta", "slirp4netns")])
def test_the_outside_is_reached_over_either_helper(workdir, busybox_image, helper, other):
    os.mkdir(f"{workdir}/fakes")
    with open(f"{workdir}/fakes/{other}", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 1\n")
    os.chmod(f"{workdir}/fakes/{other}", 0o755)

    def scenario(rl, _, gateway):
        rl.ok("rm", "--force", "--time", "0", "user")
        rl.environment["PATH"] = f"{workdir}/fakes:{rl.environment['PATH']}"
        rl.ok("network", "create", "--ipv6", "both")
        user_networks.start(rl, "localhost/busybox:latest", "user", "--network", "both")
        user = user_networks.Member(rl, "user")
        with open(f"/proc/{user_networks.holder(rl)[2]}/cmdline", "rb") as file:
            program = file.read().partition(b"\0")[0].decode()
        bound = [world.listen(address) for address in (world.HOST4, world.HOST6)]
        return [program, *(user.do(world.connect, one.getsockname()[0], world.port_of(one))
                           for one in bound)]

    program, *answers = on_host(scenario, workdir, busybox_image)
    assert program.endswith(helper) and answers == ["connected", "connected"]


# --- hostile questions -----------------------------------------------------------------------


def questions():
    """Messages that aren't one plain question, and what is said to them (None: nothing)."""
    plain = question("web", number=7)
    yield b"", None
    yield plain[:11], None
    yield plain[:2] + b"\x81\x80" + plain[4:], None  # an answer
    yield plain[:2] + b"\x29\x00" + plain[4:], NOT_DONE  # an update
    yield plain[:4] + b"\0\0" + plain[6:], FORMAT_ERROR
    yield plain[:4] + b"\0\2" + plain[6:], FORMAT_ERROR
    yield plain[:12] + b"\xc0\x0c" + plain[-4:], FORMAT_ERROR  # a name that is itself
    yield plain[:12] + b"\x3f" + plain[13:], FORMAT_ERROR  # a label beyond the end
    yield plain[:-3], FORMAT_ERROR
    yield plain[:12] + (b"\x3f" + b"x" * 63) * 5 + b"\0" + plain[-4:], FORMAT_ERROR
    yield question("web", number=7) + bytes(3000), OK  # what follows is nobody's business
    yield question("1.2.3.in-addr.arpa", 12, number=7), None
    yield question("999.0.0.10.in-addr.arpa", 12, number=7), None


def hostile(gateway):
    """Send them all; what went wrong.  Called inside a container."""
    wrong = []
    for message, code in questions():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.3 if code is None else 8)
            client.connect((gateway, 53))
            client.send(message)
            try:
                said = client.recv(65536)[3] & 15
            except TimeoutError:
                said = None
            if code is not None and said != code:
                wrong.append((message[:40].hex(), said, code))
    generator = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((gateway, 53))
        for _ in range(3000):
            message = bytearray(question("web.example", number=7) * generator.randrange(1, 4))
            for _ in range(generator.randrange(1, 12)):
                message[generator.randrange(2, len(message))] = generator.randrange(256)
            client.send(message[: generator.randrange(1, len(message))])
    for _ in range(40):  # more connections than there is room for, one byte each
        with socket.create_connection((gateway, 53), 5) as client:
            client.send(b"\xff")
    return wrong


def test_hostile_questions(rl, busybox):
    rl.ok("network", "create", "--internal", "shop")
    user_networks.start(rl, busybox, "web", "--network", "shop")
    gateway = rl.ok("network", "inspect", "shop").json()[0]["subnets"][0]["gateway"]
    pid = user_networks.holder(rl)[0]
    assert user_networks.Member(rl, "web").do(hostile, gateway) == "[]"
    for tcp in (False, True):
        said = user_networks.Member(rl, "web").do(ask, gateway, question("web"), tcp)
        assert said.startswith("(0, False, 1,")
    assert user_networks.holder(rl)[0] == pid


def test_many_addresses_of_one_name(rl, busybox):
    rl.ok("network", "create", "--ipv6", "shop")
    for number in range(3):
        user_networks.start(rl, busybox, f"web{number}", "--network", "shop:alias=all")
    gateway = rl.ok("network", "inspect", "shop").json()[0]["subnets"][0]["gateway"]
    member = user_networks.Member(rl, "web0")
    for kind in (A, AAAA):
        assert member.do(ask, gateway, question("all", kind)).startswith("(0, False, 3,")
    assert member.do(ask, gateway, question("all", TXT)).startswith("(0, False, 0,")
