"""resolv.conf and hosts of a container."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.model import network
from rootless.network import hosts, resolv

NOTHING = {"servers": [], "search": [], "options": []}
HOST = """\
# made by hand
domain ignored.example
search corp.example lab.example
nameserver 127.0.0.53
nameserver 192.0.2.53
nameserver fe80::1%eth0
nameserver 2001:db8::53
; sortlist
options edns0 trust-ad
options ndots:2
"""


def test_loopback_servers_are_left_out():
    assert resolv.make(HOST, NOTHING) == (
        "search corp.example lab.example\n"
        "nameserver 192.0.2.53\n"
        "nameserver 2001:db8::53\n"
        "options edns0 trust-ad ndots:2\n"
    )


def test_no_ipv6_servers_without_ipv6():
    assert "2001" not in resolv.make(HOST, NOTHING, ipv6=False)


def test_the_hosts_network_keeps_the_hosts_servers():
    text = resolv.make(HOST, NOTHING, shared=True)
    assert "nameserver 127.0.0.53\n" in text and "fe80::1%eth0" in text


def test_upstream_servers_stand_in_for_a_local_stub():
    text = resolv.make("nameserver 127.0.0.53\n", NOTHING, upstream="nameserver 192.0.2.7\n")
    assert text == "nameserver 192.0.2.7\n"


def test_the_forwarder_stands_in_for_a_local_resolver():
    text = resolv.make("nameserver ::1\n", NOTHING, forwarder="10.0.2.3")
    assert text == "nameserver 10.0.2.3\n"
    assert resolv.needs_forwarder("nameserver ::1\n", NOTHING)
    assert resolv.needs_forwarder(HOST, NOTHING)
    assert not resolv.needs_forwarder("nameserver 2001:db8::53\n", NOTHING)
    text = resolv.make("nameserver 192.0.2.1\n", NOTHING, forwarder="10.0.2.3")
    assert resolv.parse(text)[0] == ["10.0.2.3", "192.0.2.1"]
    assert not resolv.needs_forwarder("", dict(NOTHING, servers=["192.0.2.1"]))


def test_no_resolver_is_invented():
    assert resolv.make("", NOTHING) == ""
    assert resolv.make("nameserver 127.0.0.1\n", NOTHING) == ""


def test_options_of_the_user_win():
    given_ = network.parse_dns(("192.0.2.1",), ("own.example",), ("timeout:1",))
    assert resolv.make(HOST, given_) == (
        "search own.example\nnameserver 192.0.2.1\noptions timeout:1\n"
    )
    assert "search" not in resolv.make(HOST, network.parse_dns((), (".",), ()))
    assert resolv.make(HOST, network.parse_dns(("none",), (), ())) is None


@given(st.text(max_size=200))
def test_whatever_the_host_has_no_loopback_server_gets_in(text):
    made = resolv.make(text, NOTHING, upstream=text)
    servers = resolv.parse(made)[0]
    assert not [server for server in servers if resolv.is_loopback(server) or "%" in server]


BASE = """\
127.0.0.1 localhost # the usual
127.0.1.1 laptop.example laptop
::1 localhost ip6-localhost
192.0.2.9 nas
"""


def test_hosts():
    made = hosts.make(
        BASE, names=["4f5a", "web"], addresses=["10.0.2.100", "fd00::64"], host="192.0.2.2"
    )
    assert hosts.parse(made) == [
        ("127.0.0.1", ("localhost",)),
        ("::1", ("localhost", "ip6-localhost")),
        ("10.0.2.100", ("4f5a", "web")),
        ("fd00::64", ("4f5a", "web")),
        ("192.0.2.2", ("host.containers.internal", "host.docker.internal")),
        ("127.0.1.1", ("laptop.example", "laptop")),
        ("192.0.2.9", ("nas",)),
    ]


def test_later_kinds_hide_earlier_ones():
    words = ("NAS:192.0.2.1", "web:192.0.2.3", "host.docker.internal:192.0.2.4")
    added = network.parse_hosts(words)
    made = hosts.make(BASE, names=["web"], addresses=["10.0.2.100"], host="192.0.2.2", added=added)
    found = {name.lower(): address for address, names in hosts.parse(made) for name in names}
    assert found["nas"] == "192.0.2.1" and found["web"] == "192.0.2.3"
    assert found["host.docker.internal"] == "192.0.2.4"
    assert found["host.containers.internal"] == "192.0.2.2"


def test_host_gateway():
    added = network.parse_hosts(("gw:host-gateway",))
    assert "192.0.2.2\tgw\n" in hosts.make("", names=[], host="192.0.2.2", added=added)
    with pytest.raises(hosts.NoHostAddress):
        hosts.make("", names=[], added=added)


def test_without_a_network_the_own_name_is_loopback():
    made = hosts.parse(hosts.make("", names=["box"]))
    assert made == [("127.0.0.1", ("localhost",)), ("::1", ("localhost",)), ("127.0.0.1", ("box",))]


@given(st.text(max_size=200))
def test_any_base_gives_a_readable_file(text):
    made = hosts.make(text, names=["box"], addresses=["10.0.2.100"])
    entries = hosts.parse(made)
    assert ("10.0.2.100", ("box",)) in entries
    assert [address for address, names in entries if "localhost" in names]
