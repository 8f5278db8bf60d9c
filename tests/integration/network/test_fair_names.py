"""One container asks for more than the network's DNS server has room for: others are served."""

import os
import select
import socket
import struct
import threading

import pytest

from integration.network import test_user_networks as user_networks
from integration.network import world
from integration.network.test_names import OK, answer_to, ask, name_in, question
from support.command import Rl

pytestmark = [pytest.mark.integration, pytest.mark.one_id]
MANY = 300  # far more than there is room for
ADDRESS = "203.0.113.53"


class Held:
    """A name server that keeps its answers back until it is told to give them."""

    def __init__(self, address):
        self.asked = []  # names of questions that wait, with repetitions
        self._waiting = []
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._streams = socket.create_server((address, 53))
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._serve, daemon=True).start()

    def _listen(self):
        while True:
            message, client = self._socket.recvfrom(65536)
            with self._changed:
                self.asked.append(name_in(message))
                self._waiting.append((message, client))
                self._changed.notify_all()

    def _serve(self):
        """Over TCP only quiet.example is answered; who asks for others may wait."""
        kept = []
        while True:
            connection, _ = self._streams.accept()
            message = connection.recv(65536)[2:]
            if name_in(message) == "quiet.example":
                said = answer_to(message, socket.inet_aton(ADDRESS))
                connection.sendall(struct.pack(">H", len(said)) + said)
            kept.append(connection)

    def wait_for(self, name, count=1, patience=60):
        """Until so many questions for a name have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked.count(name) >= count, patience), name

    def answer(self):
        """Answer all that wait, the last ones first."""
        with self._changed:
            for message, client in reversed(self._waiting):
                self._socket.sendto(answer_to(message, socket.inet_aton(ADDRESS)), client)
            self._waiting.clear()


def on_host(function, home, image):
    """``function(rl, greedy, quiet, gateway, server)`` with two containers on one network."""
    return world.run(_with_two, function, home, image)


def _with_two(function, home, image):
    world.replace_file("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    server = Held("127.0.0.53")
    rl = Rl(home)
    rl.ok("load", "--input", image)
    try:
        rl.ok("network", "create", "shop")
        for name in ("greedy", "quiet"):
            user_networks.start(rl, "localhost/busybox:latest", name, "--network", "shop")
        gateway = rl.ok("network", "inspect", "shop").json()[0]["subnets"][0]["gateway"]
        greedy, quiet = (user_networks.Member(rl, name) for name in ("greedy", "quiet"))
        return function(rl, greedy, quiet, gateway, server)
    finally:
        rl.ok("rm", "--all", "--force", "--time", "0")


class Asked:
    """A question of ``member`` that is on its way; ``answer()`` is what came back."""

    def __init__(self, member, gateway, name):
        self.answer = member.start(ask, gateway, question(name), False, 60)


def flood(gateway):
    """Ask for MANY names and await no answer; called inside a container."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.connect((gateway, 53))
        for number in range(MANY):
            client.send(question("greedy.example", number=number))
            if number % 30 == 29:
                _pause(client, MANY + number)
    return "sent"


def _pause(client, number):
    """A question that the server answers itself, and only when the others have been read."""
    client.send(question("quiet", number=number))
    while client.recv(65536)[:2] != struct.pack(">H", number):
        pass


def test_a_question_keeps_its_place_while_others_ask(workdir, busybox_image):
    def scenario(rl, greedy, quiet, gateway, server):
        asked = Asked(quiet, gateway, "quiet.example")
        server.wait_for("quiet.example")
        sent = greedy.do(flood, gateway)
        server.answer()
        return sent, asked.answer()

    sent, said = on_host(scenario, workdir, busybox_image)
    assert sent == "sent"
    assert said.startswith(f"({OK}, False, 1,") and said.endswith("'cb007135')"), said


def test_a_question_gets_a_place_where_all_are_taken(workdir, busybox_image):
    def scenario(rl, greedy, quiet, gateway, server):
        sent = greedy.do(flood, gateway)
        asked = Asked(quiet, gateway, "quiet.example")
        server.wait_for("quiet.example")
        server.answer()
        return sent, asked.answer()

    sent, said = on_host(scenario, workdir, busybox_image)
    assert sent == "sent"
    assert said.startswith(f"({OK}, False, 1,"), said


def hold(gateway, name, count, told):
    """Open many connections, ask for a name on each, and keep them until told: how many of
    them the server has closed; called inside a container."""
    clients = []
    for number in range(count):
        client = socket.create_connection((gateway, 53), 60)
        message = question(name, number=number) if name else b""
        client.sendall(struct.pack(">H", len(message)) + message if name else b"")
        clients.append(client)
    os.write(told[1], b"h")
    os.read(told[2], 1)
    return sum(bool(select.select([client], [], [], 0)[0]) for client in clients)


@pytest.mark.parametrize("name", ["greedy.example", ""], ids=["asking", "idle"])
def test_connections_of_one_leave_room_for_another(workdir, busybox_image, name):
    def scenario(rl, greedy, quiet, gateway, server):
        told = (*os.pipe(), *os.pipe())
        held = greedy.start(hold, gateway, name, 40, told)
        os.read(told[0], 1)
        said = [
            quiet.do(ask, gateway, question(asked), True, 60)
            for asked in ("quiet.example", "greedy", "quiet.example")
        ]
        again = greedy.do(ask, gateway, question("quiet.example"), True, 60)
        os.write(told[3], b"e")
        return int(held()), said, again

    closed, said, again = on_host(scenario, workdir, busybox_image)
    for one in [*said, again]:
        assert one.startswith(f"({OK}, False, 1,"), one
    assert 40 - 16 <= closed < 40  # it has some all the time


def test_a_connection_keeps_its_place_while_others_come(workdir, busybox_image):
    def scenario(rl, greedy, quiet, gateway, server):
        told, first = (*os.pipe(), *os.pipe()), os.pipe()
        asked = quiet.start(two_questions, gateway, first[1], told[2])
        os.read(first[0], 1)
        held = greedy.start(hold, gateway, "greedy.example", 40, told)
        os.read(told[0], 1)
        os.write(told[3], b"ee")
        held()
        return asked()

    assert on_host(scenario, workdir, busybox_image) == "[1, 1]"


def two_questions(gateway, first, told):
    """The numbers of answers to two questions on one connection, the second when told."""
    numbers = []
    with socket.create_connection((gateway, 53), 60) as client:
        for step in range(2):
            if step:
                os.write(first, b"f")
                os.read(told, 1)
            message = question("quiet", number=step)
            client.sendall(struct.pack(">H", len(message)) + message)
            said = client.recv(4096)
            numbers.append(struct.unpack_from(">H", said, 8)[0] if len(said) > 8 else said)
    return numbers
