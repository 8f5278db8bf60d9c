"""Published ports in front of servers that people run: nginx, redis, PostgreSQL."""

import socket
import time

import pytest

from integration.network.conftest import fetch

pytestmark = pytest.mark.integration


def test_nginx(net, servers):
    net.run("nginx", "-p", "127.0.0.1::80", image=servers,
            command=("nginx", "-g", "daemon off; error_log /dev/stderr;"))  # fmt: skip
    port = net.port("nginx", "80")
    assert "nginx" in net.until(lambda: fetch(port, path="/"), "an answer").lower()
    log = net.ok("exec", "nginx", "cat", "/var/log/nginx/access.log").text
    assert log.startswith("10.") and "GET /" in log


def test_redis(net, servers):
    net.run("redis", "-p", "127.0.0.1::6379", image=servers,
            command=("redis-server", "--protected-mode", "no", "--bind", "0.0.0.0"))  # fmt: skip
    port = net.port("redis", "6379")

    def ask():
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(b"PING\r\n")
                client.settimeout(5)
                return client.recv(100)
        except OSError:
            return None

    assert net.until(ask, "an answer") == b"+PONG\r\n"
    big = b"x" * 3_000_000
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n" % (len(big), big))
        assert client.recv(100) == b"+OK\r\n"
        client.sendall(b"GET k\r\n")
        said = b""
        while len(said) < len(big) + 12:
            said += client.recv(1 << 16)
        assert said == b"$3000000\r\n" + big + b"\r\n"


def test_postgresql(net, servers):
    """A server that tells its clients apart by their addresses."""
    start = (
        "PG=$(echo /usr/lib/postgresql/*/bin); D=$(mktemp -d); "
        "$PG/initdb -A trust -D $D >/dev/null && "
        "echo host all all 0.0.0.0/0 trust >>$D/pg_hba.conf && "
        "exec $PG/postgres -D $D -h 0.0.0.0 -k $D -F"
    )
    net.run("postgres", "-p", "127.0.0.1::5432", "--user", "postgres", image=servers,
            command=("sh", "-c", start))  # fmt: skip
    port = net.port("postgres", "5432")
    query = "select 'client ' || inet_client_addr()"

    body = b"user\0postgres\0database\0postgres\0\0"
    hello = (len(body) + 8).to_bytes(4, "big") + b"\0\3\0\0" + body

    def connect():
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.settimeout(5)
                client.sendall(hello)
                said = client.recv(4096)
                if not said.startswith(b"R\0\0\0\x08\0\0\0\0"):
                    return None
                text = query.encode() + b"\0"
                client.sendall(b"Q" + (len(text) + 4).to_bytes(4, "big") + text)
                deadline = time.monotonic() + 10
                while b"client " not in said and time.monotonic() < deadline:
                    said += client.recv(4096)
                return said
        except OSError:
            return None

    assert b"client 10." in net.until(connect, "an answer", 120)
