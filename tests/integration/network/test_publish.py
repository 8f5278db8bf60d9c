"""Published ports: reached from outside, the client's address kept, gone with the helper."""

import os
import socket

import pytest

from integration.network import world
from rootless.kernel import userns
from rootless.model.network import parse
from rootless.network import host, ports, start
from rootless.network import plan as planning

HELPERS = ("pasta", "slirp4netns")
pytestmark = pytest.mark.integration


def published(container, directory, mode, *values):
    mappings = ports.assign(ports.parse(values))
    network = parse((mode,))
    plan = planning.make_plan(network, world.PROGRAMS, facts=host.look(), ports=mappings)
    return start.start(plan, pid=container.pid, run_dir=directory)


def serve_tcp(port, ready):
    """Answer one connection; the client's address.  Called inside a container."""
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.settimeout(5)
        os.write(ready, b"r")
        connection, client = server.accept()
        connection.settimeout(5)
        connection.sendall(connection.recv(100) and b"hello")
        connection.close()
        return client[0].removeprefix("::ffff:")


def serve_udp(port, ready):
    """Answer one datagram; the client's address.  Called inside a container."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("0.0.0.0", port))
        server.settimeout(5)
        os.write(ready, b"r")
        data, client = server.recvfrom(100)
        server.sendto(b"hello", client)
        return client[0]


def call(kind, address, port):
    """What a server says to us; called inside another machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as client:
        client.settimeout(3)
        client.connect((address, port))
        client.send(b"anyone there")
        return client.recv(100).decode()


def exchange(box, remote, serve, inside, outside, address=world.HOST4):
    """(what the client got, from where the server saw it)"""
    read, write = os.pipe()
    wait = box.start(serve, inside, write)
    os.read(read, 1)
    kind = socket.SOCK_DGRAM if serve is serve_udp else socket.SOCK_STREAM
    said = remote.do(call, kind, address, outside)
    os.close(read)
    os.close(write)
    return said, wait()


def _publish(directory, mode):
    with world.Container() as box, world.Remote() as remote:
        words = ("8080:80", f"{world.HOST4}:8090-8091:90-91", "8053:53/udp", "127.0.0.1:8099:99")
        result = published(box, directory, mode, *words)
        found = [
            exchange(box, remote, serve_tcp, 80, 8080),
            exchange(box, remote, serve_tcp, 91, 8091),
            exchange(box, remote, serve_udp, 53, 8053),
        ]
        refused = remote.do(call, socket.SOCK_STREAM, world.HOST4, 8099)
        world.end(result["pid"])
        left = [ports.holder(port, "tcp") for port in (8080, 8090, 8091, 8099)]
    return found, refused, left, os.listdir(directory)


@pytest.mark.parametrize("mode", HELPERS)
def test_the_service_sees_the_client(workdir, mode):
    found, refused, left, files = world.run(_publish, workdir, mode)
    assert found == [("hello", world.GATEWAY4)] * 3
    assert refused.startswith("ConnectionRefusedError")
    assert left == ["another program"] * 4
    assert files == ["network.log"]


def _publish_ipv6(directory):
    with world.Container() as box, world.Remote() as remote:
        result = published(box, directory, "private", f"[{world.HOST6}]:8080:80")
        found = exchange(box, remote, serve_tcp, 80, 8080, world.HOST6)
        world.end(result["pid"])
    return result["rung"], found


def test_a_port_on_an_ipv6_address(workdir):
    answer = ("pasta", ("hello", world.GATEWAY6))
    assert world.run(_publish_ipv6, workdir) == answer


def _too_low():
    with open(ports.LOW_PORTS, "w", encoding="ascii") as file:
        file.write("1024")
    return userns.call_in(userns.single_ids(), _bind_low)


def _bind_low():
    try:
        ports.assign(ports.parse(["80:80"]))
    except ports.PortTooLow as error:
        return error.message, error.advice
    return None


def test_a_low_port_names_the_sysctl(workdir):
    message, advice = world.run(_too_low)
    assert "port 80" in message and "1024" in message
    assert "ip_unprivileged_port_start=80" in advice


def _taken_meanwhile(directory):
    mappings = ports.assign(ports.parse(["8080:80"]))
    plan = planning.make_plan(parse(("slirp4netns",)), world.PROGRAMS, ports=mappings)
    with world.Container() as box, world.listen("0.0.0.0", 8080):
        try:
            start.start(plan, pid=box.pid, run_dir=directory)
        except planning.NetworkError as error:
            return error.message
    return None


def test_a_port_that_is_taken_between_check_and_start(workdir):
    assert "0.0.0.0:8080/tcp" in world.run(_taken_meanwhile, workdir)
