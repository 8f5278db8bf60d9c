"""network/ports.py: what -p means, and what is refused before anything starts."""

import os
import resource
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.network import ports, ports_open


def mapping(host_ip, host_port, container_port, protocol="tcp", count=1):
    return {
        "host_ip": host_ip,
        "host_port": host_port,
        "container_port": container_port,
        "protocol": protocol,
        "range": count,
    }


@pytest.mark.parametrize(
    "value, expected",
    [
        ("80", mapping("", 0, 80)),
        ("8080:80", mapping("", 8080, 80)),
        ("8080:80/tcp", mapping("", 8080, 80)),
        ("53:53/UDP", mapping("", 53, 53, "udp")),
        ("127.0.0.1:8080:80", mapping("127.0.0.1", 8080, 80)),
        ("127.0.0.1::80", mapping("127.0.0.1", 0, 80)),
        ("0.0.0.0:1:2", mapping("0.0.0.0", 1, 2)),
        ("[::1]:8080:80", mapping("::1", 8080, 80)),
        ("[2001:DB8::1]::53/udp", mapping("2001:db8::1", 0, 53, "udp")),
        ("8000-8010:80-90", mapping("", 8000, 80, "tcp", 11)),
        ("90-92", mapping("", 0, 90, "tcp", 3)),
        (":80", mapping("", 0, 80)),
    ],
)
def test_forms(value, expected):
    assert ports.parse([value]) == [expected]


@pytest.mark.parametrize(
    "value",
    ["", "0", "65536", "a", "80:", "-80", "80/sctp", "80:b", "1.2.3:80:80", "::1:80:80", "90-80",
     "8000-8001:80-90", "1:2:3:4", "[::1]8080:80", "[127.0.0.1]:80:80", "٨٠", "80-", "080000",
     "127.0.0.1:80:"],
)  # fmt: skip
def test_refused(value):
    with pytest.raises(ports.BadPort) as caught:
        ports.parse([value])
    assert caught.value.advice


@pytest.mark.parametrize(
    "values, clash",
    [
        (["80:80", "80:81"], True),
        (["80:80", "127.0.0.1:80:81"], True),
        (["0.0.0.0:80:80", "127.0.0.1:80:81"], True),
        (["[::]:80:80", "127.0.0.1:80:81"], False),
        (["80:80", "80:80/udp"], False),
        (["127.0.0.1:80:80", "127.0.0.2:80:80"], False),
        (["8000-8010:80-90", "8010:91"], True),
        (["80", "80"], False),
    ],
)
def test_the_same_host_port_twice(values, clash):
    if clash:
        with pytest.raises(ports.BadPort, match="twice"):
            ports.parse(values)
    else:
        assert len(ports.parse(values)) == 2


def test_expose_and_publish_all():
    exposed = ports.parse_exposed(["80", "53/udp", "90-92/tcp", "80/tcp"])
    assert exposed == [(80, "tcp"), (53, "udp"), (90, "tcp"), (91, "tcp"), (92, "tcp")]
    made = ports.publish_all(ports.parse(["8080:80", "91"]), exposed)
    assert [entry["container_port"] for entry in made] == [53, 90, 92]
    assert all(entry["host_port"] == 0 for entry in made)


_PORT = st.integers(1, 65535)


@given(
    st.sampled_from(["", "127.0.0.1", "::1", "0.0.0.0"]),
    st.none() | _PORT,
    _PORT,
    st.integers(1, 5),
    st.sampled_from(["tcp", "udp"]),
)
def test_describe_is_the_way_back(host_ip, host, container, count, protocol):
    count = min(count, 65536 - container, 65536 - (host or 1))
    entry = mapping(host_ip, host or 0, container, protocol, count)
    assert ports.parse([ports.describe(entry)]) == [entry]


def opened(*values, who=None):
    return ports_open.open_all(ports.parse(values), who)


def test_a_free_port_is_found_and_kept():
    found = opened("127.0.0.1::80", "127.0.0.1::53/udp")
    first, second = found.mappings
    assert 0 < first["host_port"] < 65536 and second["host_port"]
    assert [row[1:] for row in found.sockets] == [(80, "tcp"), (53, "udp")]
    socket.create_connection(("127.0.0.1", first["host_port"])).close()
    found.close()
    again = ports_open.open_all([first])
    assert again.mappings == [first]
    again.close()


def test_a_range_gets_ports_in_a_row():
    found = opened("127.0.0.1::90-94")
    (entry,) = found.mappings
    assert entry["host_port"] + 4 < 65536 and len(found.sockets) == 5
    with pytest.raises(ports_open.PortInUse):
        opened(f"127.0.0.1:{entry['host_port'] + 4}:1")
    found.close()


def test_without_an_address_a_port_is_open_to_both_families():
    found = opened("80")
    port = found.mappings[0]["host_port"]
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, port)).close()
    found.close()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_in_use_names_its_holder(protocol):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as bound:
        bound.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            bound.listen()
        number = bound.getsockname()[1]
        value = f"127.0.0.1:{number}:80/{protocol}"
        with pytest.raises(ports_open.PortInUse) as caught:
            opened(value)
        with pytest.raises(ports_open.PortInUse, match="in use by container web"):
            opened(value, who=lambda port, kind: "container web")
    assert f"(pid {os.getpid()})" in caught.value.message
    assert str(number) in caught.value.message and "-p 80" in caught.value.advice


def test_what_was_opened_before_an_error_is_closed():
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(ports_open.NoSuchAddress):
        opened("127.0.0.1::80-84", "203.0.113.77:8080:80")
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_more_ports_than_files_may_be_open(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    with pytest.raises(ports_open.TooManyPorts, match=r"5000 .* 4096"):
        opened("127.0.0.1:10000-14999:10000-14999")


def test_an_unused_port_has_no_holder():
    assert ports_open.holder(1, "tcp") == "another program"
