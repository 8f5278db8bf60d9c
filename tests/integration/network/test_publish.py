"""helpers/forward: a container's ports reached from outside, the clients' addresses kept,
nothing that listens once the container or the forwarder has ended."""

import os
import select
import signal
import socket
import struct

import pytest

from integration.network import world
from rootless import helpers_dir
from rootless.kernel import netlink, process, userns
from rootless.model.network import parse
from rootless.network import forward, host, ports, ports_open, start
from rootless.network import plan as planning

NETWORKS = ("pasta", "slirp4netns", "none")
pytestmark = pytest.mark.integration


class Published:
    """A container with a network and published ports; ended by ``with``."""

    def __init__(self, box, directory, mode, *values):
        self.opened = ports_open.open_all(ports.parse(values))
        self.mappings = self.opened.mappings
        gateways, self.helper = (), None
        if mode != "none":
            plan = planning.make_plan(parse((mode,)), world.PROGRAMS, facts=host.look())
            self.helper = start.start(plan, pid=box.pid, run_dir=directory)["pid"]
            gateways = plan["gateways"]
        program = f"{helpers_dir()}/forward"
        started = forward.start(program, self.opened, pid=box.pid, gateways=gateways)
        self.plain = started.wait()
        self.pid = started.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in filter(None, (self.pid, self.helper)):
            os.kill(pid, signal.SIGKILL)
            process.wait_exit(pid)


def serve_tcp(port, ready, address="::"):
    """Answer one connection; the client's address.  Called inside a container."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server(
        (address, port), family=family, dualstack_ipv6=address == "::"
    ) as server:
        server.settimeout(10)
        os.write(ready, b"r")
        connection, client = server.accept()
        connection.settimeout(10)
        connection.sendall(connection.recv(100) and b"hello")
        connection.close()
        return client[0].removeprefix("::ffff:")


def serve_udp(port, ready, address="::"):
    """Answer one datagram; the client's address.  Called inside a container."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        server.settimeout(10)
        os.write(ready, b"r")
        data, client = server.recvfrom(65536)
        server.sendto(b"hello", client)
        return client[0].removeprefix("::ffff:")


def call(kind, address, port, local=""):
    """What a server says to us; called inside another machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as client:
        client.settimeout(10)
        if local:
            client.bind((local, 0))
        client.connect((address, port))
        client.send(b"anyone there")
        return client.recv(100).decode()


def exchange(box, remote, serve, inside, outside, address=world.HOST4, bound="::"):
    """(what the client got, from where the server saw it)"""
    read, write = os.pipe()
    wait = box.start(serve, inside, write, bound)
    os.read(read, 1)
    kind = socket.SOCK_DGRAM if serve is serve_udp else socket.SOCK_STREAM
    said = remote.do(call, kind, address, outside)
    os.close(read)
    os.close(write)
    return said, wait()


def _publish(directory, mode):
    words = ("8080:80", f"{world.HOST4}:8090-8091:90-91", "8053:53/udp", "127.0.0.1:8099:99")
    with world.Container() as box, world.Remote() as remote:
        with Published(box, directory, mode, *words) as ours:
            found = [
                ours.plain,
                exchange(box, remote, serve_tcp, 80, 8080),
                exchange(box, remote, serve_tcp, 91, 8091),
                exchange(box, remote, serve_udp, 53, 8053),
                exchange(box, remote, serve_udp, 53, 8053),
            ]
            refused = remote.do(call, socket.SOCK_STREAM, world.HOST4, 8099)
        left = [ports_open.holder(port, "tcp") for port in (8080, 8090, 8091, 8099)]
    return found, refused, left


@pytest.mark.parametrize("mode", NETWORKS)
def test_the_service_sees_the_client(workdir, mode):
    found, refused, left = world.run(_publish, workdir, mode)
    assert found == [None] + [("hello", world.GATEWAY4)] * 4
    assert refused.startswith("ConnectionRefusedError")
    assert left == ["another program"] * 4


def _publish_ipv6(directory, mode, bound):
    with world.Container() as box, world.Remote() as remote:
        with Published(box, directory, mode, "8080:80", "[::]:8053:53/udp"):
            return [
                exchange(box, remote, serve_tcp, 80, 8080, world.HOST6, bound),
                exchange(box, remote, serve_udp, 53, 8053, world.HOST6, bound),
            ]


@pytest.mark.parametrize("mode", ["pasta", "slirp4netns"])
def test_the_service_sees_an_ipv6_client(workdir, mode):
    found = world.run(_publish_ipv6, workdir, mode, "::")
    assert found == [("hello", world.GATEWAY6)] * 2


def _ipv4_service(directory):
    with world.Container() as box, world.Remote() as remote:
        with Published(box, directory, "pasta", "8080:80"):
            return exchange(box, remote, serve_tcp, 80, 8080, world.HOST6, "0.0.0.0")


def test_an_ipv6_client_reaches_a_service_that_knows_ipv4_only(workdir):
    assert world.run(_ipv4_service, workdir) == ("hello", "10.0.2.2")


def _from_here(directory, mode, address, serve, local):
    with world.Container() as box, Published(box, directory, mode, "8080:80", "8080:80/udp"):
        read, write = os.pipe()
        wait = box.start(serve, 80, write)
        os.read(read, 1)
        kind = socket.SOCK_DGRAM if serve is serve_udp else socket.SOCK_STREAM
        said = call(kind, address, 8080, local)
        return said, wait()


@pytest.mark.parametrize("serve", [serve_tcp, serve_udp])
@pytest.mark.parametrize(
    "mode, address, local, seen",
    [
        ("slirp4netns", "127.0.0.1", "", "10.0.2.2"),
        ("pasta", "127.0.0.1", "127.0.0.9", "10.0.2.2"),
        ("pasta", world.HOST4, world.HOST4, world.HOST4),
        ("none", "127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_the_hosts_own_addresses(workdir, serve, mode, address, local, seen):
    found = world.run(_from_here, workdir, mode, address, serve, local)
    assert found == ("hello", seen)


# --- streams --------------------------------------------------------------------------------


def _echo_server(port, ready, count):
    """Serve ``count`` connections at once: back comes what came, then the end."""
    import selectors

    with socket.create_server(("", port), backlog=1024) as server:
        os.write(ready, b"r")
        chosen, left = selectors.DefaultSelector(), count
        chosen.register(server, selectors.EVENT_READ)
        while left:
            for key, _ in chosen.select(10):
                if key.fileobj is server:
                    connection, _ = server.accept()
                    chosen.register(connection, selectors.EVENT_READ)
                    continue
                data = key.fileobj.recv(1 << 16)
                if data:
                    key.fileobj.setblocking(True)
                    key.fileobj.sendall(data)
                else:
                    chosen.unregister(key.fileobj)
                    key.fileobj.close()
                    left -= 1
    return "done"


def _many(directory, count):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count + 100), hard))
    with world.Container() as box, Published(box, directory, "none", "8080:80") as ours:
        read, write = os.pipe()
        wait = box.start(_echo_server, 80, write, count)
        os.read(read, 1)
        clients = [socket.create_connection(("127.0.0.1", 8080), 20) for _ in range(count)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        same = all(c.recv(100) == b"%d" % n for n, c in enumerate(clients))
        for client in clients:
            client.shutdown(socket.SHUT_WR)
        ends = all(client.recv(100) == b"" for client in clients)
        for client in clients:
            client.close()
        with open(f"/proc/{ours.pid}/status", encoding="ascii") as file:
            resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        return same, ends, wait(), resident


def test_many_connections_at_once(workdir):
    same, ends, server, resident = world.run(_many, workdir, 1500)
    assert same and ends and server == "done"
    assert resident < 1000


def _stream_server(port, ready, size):
    """Say hello first, read ``size`` bytes to the end, then answer with a digest."""
    import hashlib

    with socket.create_server(("", port)) as server:
        os.write(ready, b"r")
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 ready\r\n")
            digest = hashlib.sha256()
            while data := connection.recv(1 << 16):
                digest.update(data)
            connection.sendall(digest.hexdigest().encode())
    return "done"


def _half_close(directory, size):
    import hashlib

    with world.Container() as box, Published(box, directory, "none", "8080:80"):
        read, write = os.pipe()
        wait = box.start(_stream_server, 80, write, size)
        os.read(read, 1)
        data = os.urandom(size)
        with socket.create_connection(("127.0.0.1", 8080), 20) as client:
            greeting = client.recv(100)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            said = b""
            while chunk := client.recv(4096):
                said += chunk
        return greeting, said.decode() == hashlib.sha256(data).hexdigest(), wait()


def test_servers_that_speak_first_and_streams_that_end_one_way(workdir):
    found = world.run(_half_close, workdir, 9_000_001)
    assert found == (b"220 ready\r\n", True, "done")


def _nobody_there(directory):
    with world.Container() as box, Published(box, directory, "none", "8080:80"):
        try:  # the reset may be there before we have looked whether we are connected
            with socket.create_connection(("127.0.0.1", 8080), 10) as client:
                return client.recv(10)
        except OSError as error:
            return type(error).__name__


def test_a_port_that_nobody_serves_is_reset(workdir):
    assert world.run(_nobody_there, workdir) == "ConnectionResetError"


def _slow_peer(directory):
    """A client that takes nothing holds up neither the others nor itself for ever."""
    with world.Container() as box, Published(box, directory, "none", "8080:80"):
        read, write = os.pipe()
        wait = box.start(_echo_server, 80, write, 2)
        os.read(read, 1)
        slow = socket.create_connection(("127.0.0.1", 8080), 20)
        slow.setblocking(False)
        sent = 0
        quick = socket.create_connection(("127.0.0.1", 8080), 20)
        try:
            while sent < 8 << 20:
                sent += slow.send(b"x" * 65536)
        except BlockingIOError:
            pass
        slow.setblocking(True)
        slow.shutdown(socket.SHUT_WR)
        got = 0
        while data := slow.recv(1 << 16):
            got += len(data)
        quick.sendall(b"hi")
        said = quick.recv(10)
        quick.close()
        slow.close()
        return sent == got, said, wait()


def test_a_slow_client(workdir):
    assert world.run(_slow_peer, workdir) == (True, b"hi", "done")


def reset(connection):
    """Close so that the other end sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("2i", 1, 0))
    connection.close()


def lost(connection):
    """Whether a connection whose end has been read turns out to be broken."""
    watch = select.poll()
    watch.register(connection, 0)  # errors and hang-ups only
    return bool(watch.poll(20000))


def _half_server(port, told, heard, closes):
    """One side of a connection that ends in halves; called inside a container.

    Who ``closes`` sends its end and, when told, a reset.  The other one reads the end and says
    whether it hears of the reset though it neither reads nor writes.
    """
    with socket.create_server(("", port)) as server:
        os.write(told, b"r")
        connection, _ = server.accept()
        with connection:
            return _half(connection, told, heard, closes)


def _half(connection, told, heard, closes):
    connection.settimeout(20)
    if closes:
        connection.shutdown(socket.SHUT_WR)
        os.read(heard, 1)
        reset(connection)
        return "reset"
    assert connection.recv(10) == b""
    os.write(told, b"e")
    return lost(connection)


def _half_and_reset(directory, by):
    with world.Container() as box, Published(box, directory, "none", "8080:80"):
        to_us, to_box = os.pipe(), os.pipe()
        wait = box.start(_half_server, 80, to_us[1], to_box[0], by == "service")
        os.read(to_us[0], 1)
        client = socket.create_connection(("127.0.0.1", 8080), 20)
        ends = (to_box[1], to_us[0]) if by == "service" else (None, to_us[0])
        said = _half(client, *ends, by == "client")
        if by == "service":
            client.close()
        return said, wait()


@pytest.mark.parametrize("by, said", [("client", "reset"), ("service", True)])
def test_a_reset_after_one_way_has_ended(workdir, by, said):
    other = "True" if by == "client" else "reset"
    assert world.run(_half_and_reset, workdir, by) == (said, other)


# --- ends -----------------------------------------------------------------------------------


def _the_end(directory, victim):
    with world.Container() as box:
        ours = Published(box, directory, "none", "8080:80", "8080:80/udp")
        if victim == "container":
            box.child.kill()
        else:
            os.kill(ours.pid, signal.SIGKILL)
        process.wait_exit(ours.pid)
        left = [ports_open.holder(8080, kind) for kind in ("tcp", "udp")]
        again = ports_open.open_all(ours.mappings)
        again.close()
        return left


@pytest.mark.parametrize("victim", ["container", "forwarder"])
def test_nothing_listens_after_the_end(workdir, victim):
    assert world.run(_the_end, workdir, victim) == ["another program"] * 2


def _parent_killed(directory, told):
    with world.Container() as box:
        ours = Published(box, directory, "none", "8080:80")
        os.write(told, str(ours.pid).encode())
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_forwarder_ends_with_its_parent(workdir):
    read, write = os.pipe()
    with pytest.raises(userns.ChildDied):
        world.run(_parent_killed, workdir, write)
    pid = int(os.read(read, 32))
    os.close(read)
    os.close(write)
    assert world.gone(pid)


def _rules():
    with netlink.Route() as route:
        body = netlink._ROUTE.pack(2, *(0,) * 8)
        return len(route.dump(34, body))


def _udp_routes(directory):
    """Routes for UDP clients are there while they are served, and not for others."""
    with world.Container() as box, world.Remote() as remote:
        with Published(box, directory, "slirp4netns", "8053:53/udp"):
            before = int(box.do(_rules))
            found = exchange(box, remote, serve_udp, 53, 8053)
            # The same container still reaches the client as any other host, from other ports.
            with world.listen("0.0.0.0") as server:
                answer = box.do(world.connect, world.SERVER4, world.port_of(server))
            return before, found, answer


def test_udp_leaves_the_containers_own_traffic_alone(workdir):
    rules, found, answer = world.run(_udp_routes, workdir)
    assert rules == 5  # the kernel's three, one for marks, one for the port
    assert found == ("hello", world.GATEWAY4)
    assert answer == "connected"


# --- errors ---------------------------------------------------------------------------------


def _too_low():
    with open(ports_open.LOW_PORTS, "w", encoding="ascii") as file:
        file.write("1024")
    return userns.call_in(userns.single_ids(), _bind_low)


def _bind_low():
    try:
        ports_open.open_all(ports.parse(["80:80"]))
    except ports_open.PortTooLow as error:
        return error.message, error.advice
    return None


def test_a_low_port_names_the_sysctl(workdir):
    message, advice = world.run(_too_low)
    assert "port 80" in message and "1024" in message
    assert "ip_unprivileged_port_start=80" in advice


BROKEN = {"exit 0\n": "said nothing", "kill -9 $$\n": "said nothing", "exec sleep 1000\n": "ready"}


def _broken(directory, body):
    program = f"{directory}/forward"
    with open(program, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\n{body}")
    os.chmod(program, 0o755)
    with world.Container() as box:
        opened = ports_open.open_all(ports.parse(["8080:80"]))
        try:
            started = forward.start(program, opened, pid=box.pid)
        except forward.ForwardError as error:
            return error.message
        try:
            started.wait()
        except forward.ForwardError as error:
            said = error.message
        started.end()
        free = ports_open.open_all(ports.parse(["8080:80"]))
        free.close()
        return said


@pytest.mark.parametrize("body", sorted(BROKEN))
def test_a_broken_forwarder(workdir, monkeypatch, body):
    monkeypatch.setattr(forward, "PATIENCE", 1.0)
    assert BROKEN[body] in world.run(_broken, workdir, body)


def _missing():
    with world.Container() as box:
        opened = ports_open.open_all(ports.parse(["8080:80"]))
        try:
            forward.start("/nonexistent/forward", opened, pid=box.pid)
        except forward.ForwardError as error:
            return error.message


def test_a_missing_forwarder(workdir):
    assert "/nonexistent/forward" in world.run(_missing)
