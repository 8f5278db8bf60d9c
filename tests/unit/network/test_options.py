"""model/network.py: every form of the network options, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import RlError
from rootless.model import jsontext, network


@pytest.mark.parametrize(
    "values, expected",
    [
        ((), {"mode": "private"}),
        (("private",), {"mode": "private"}),
        (("default",), {"mode": "private"}),
        (("none",), {"mode": "none"}),
        (("host",), {"mode": "host"}),
        (("container:web",), {"mode": "container", "target": "web"}),
        (("ns:/run/netns/a b",), {"mode": "ns", "target": "/run/netns/a b"}),
        (("pasta",), {"mode": "pasta", "options": []}),
        (("pasta:-T,80,--mtu=1500",), {"mode": "pasta", "options": ["-T", "80", "--mtu=1500"]}),
        (("slirp4netns",), {"mode": "slirp4netns", "options": {}}),
        (
            ("slirp4netns:allow_host_loopback=true,mtu=1500,cidr=10.7.0.9/24,enable_ipv6=false",),
            {
                "mode": "slirp4netns",
                "options": {
                    "allow_host_loopback": True,
                    "mtu": 1500,
                    "cidr": "10.7.0.0/24",
                    "enable_ipv6": False,
                },
            },
        ),
    ],
)
def test_modes(values, expected):
    assert network.parse(values) == expected


def test_networks():
    found = network.parse(("web:ip=10.89.0.5,ip6=FD00::5,mac=92:D0:c6:a:29:33", "db:alias=pg"))
    web, db = found["networks"]
    assert found["mode"] == "networks"
    assert web["ips"] == ["10.89.0.5", "fd00::5"] and web["mac"] == "92:d0:c6:0a:29:33"
    assert db["aliases"] == ["pg"] and db["interface_name"] is None
    assert network.parse(("bridge:interface_name=lan0",))["networks"][0]["name"] == "bridge"


@pytest.mark.parametrize(
    "values, word",
    [
        (("",), "name of a network"),
        (("none:x",), "no options"),
        (("host:a=b",), "no options"),
        (("container:",), "needs"),
        (("ns:relative",), "absolute"),
        (("none", "web"), "names"),
        (("web", "web"), "twice"),
        (("web:colour=red",), "unknown option"),
        (("web:ip=10.0.0.300",), "not an IP address"),
        (("web:mac=01:00:5e:00:00:01",), "multicast"),
        (("web:interface_name=way-too-long-name",), "not a name"),
        (("-web",), "name of a network"),
        (("we b",), "name of a network"),
        (("pasta:-f",), "for rl to set"),
        (("pasta:-P/tmp/x",), "for rl to set"),
        (("pasta:--netns=/proc/1/ns/net",), "for rl to set"),
        (("pasta:-T,1,--pcap=/tmp/x",), "for rl to set"),
        (("pasta:evil",), "not an option"),
        (("slirp4netns:mtu=99999",), "mtu"),
        (("slirp4netns:mtu",), "mtu"),
        (("slirp4netns:cidr=fd00::/64",), "IPv4"),
        (("slirp4netns:cidr=10.0.2.0/30",), "prefix"),
        (("slirp4netns:port_handler=rootlesskit",), "clients"),
        (("slirp4netns:nonsense=1",), "unknown option"),
        (("slirp4netns:enable_ipv6=maybe",), "true or false"),
    ],
)
def test_refused(values, word):
    with pytest.raises(network.BadNetwork) as caught:
        network.parse(values)
    assert word in caught.value.message and caught.value.exit_code == 125


def test_dns():
    found = network.parse_dns(("9.9.9.9", "2620:FE::fe"), ("corp.example",), ("ndots:2",))
    assert found == {
        "servers": ["9.9.9.9", "2620:fe::fe"],
        "search": ["corp.example"],
        "options": ["ndots:2"],
    }
    assert network.parse_dns(("none",), (), ())["servers"] is None
    assert network.parse_dns((), (".",), ())["search"] == ["."]


@pytest.mark.parametrize(
    "arguments",
    [
        (("resolver",), (), ()),
        (("127.1",), (), ()),
        (("fe80::1%eth0",), (), ()),
        (("none", "9.9.9.9"), (), ()),
        (("none",), ("a.example",), ()),
        ((), (".", "a.example"), ()),
        ((), ("a b",), ()),
        ((), ("line\nnameserver 6.6.6.6",), ()),
        ((), (), ("ndots:2 nameserver",)),
        ((), (), ("x\n",)),
    ],
)
def test_dns_refused(arguments):
    with pytest.raises(network.BadNetworkOption):
        network.parse_dns(*arguments)


def test_add_host():
    words = ("a;b.example:10.0.0.1", "six:2001:DB8::1", "s:[::1]", "h:host-gateway")
    found = network.parse_hosts(words)
    assert found == [
        ["10.0.0.1", ["a", "b.example"]],
        ["2001:db8::1", ["six"]],
        ["::1", ["s"]],
        ["host-gateway", ["h"]],
    ]


@pytest.mark.parametrize(
    "value",
    ["a", "a:", ":10.0.0.1", "a:b", "a b:10.0.0.1", "a;:10.0.0.1", "a:10.0.0.1\n10.0.0.2 b"],
)
def test_add_host_refused(value):
    with pytest.raises(network.BadNetworkOption):
        network.parse_hosts((value,))


@pytest.mark.parametrize(
    "values, options",
    [
        (("none",), {"dns": True}),
        (("container:x",), {"dns": True}),
        (("container:x",), {"ports": True}),
        (("none",), {"mac": "92:d0:c6:0a:29:33"}),
        ((), {"ip": "10.0.0.1"}),
        (("slirp4netns",), {"aliases": ("a",)}),
        (("a", "b"), {"ip": "10.0.0.1"}),
        (("a", "b"), {"mac": "92:d0:c6:0a:29:33"}),
        (("a",), {"ip": "fd00::1"}),
        (("a",), {"ip6": "10.0.0.1"}),
        (("a",), {"aliases": ("x y",)}),
        ((), {"mac": "nonsense"}),
    ],
)
def test_options_that_do_not_fit(values, options):
    with pytest.raises(RlError) as caught:
        network.check(network.parse(values), **options)
    assert caught.value.message and "{" not in (caught.value.advice or "")


@pytest.mark.parametrize(
    "values, options",
    [
        ((), {"dns": True, "ports": True, "mac": "92:d0:c6:0a:29:33"}),
        (("host",), {"dns": True}),
        (("a",), {"ip": "10.0.0.1", "ip6": "fd00::1", "aliases": ("x",)}),
    ],
)
def test_options_that_fit(values, options):
    network.check(network.parse(values), **options)


_PREFIXES = st.integers(0, 32)
_ADDRESSES = st.integers(0, 2**32 - 1)


@given(_ADDRESSES, _PREFIXES, _ADDRESSES, _PREFIXES)
def test_overlap_is_what_ipaddress_says(one, one_length, other, other_length):
    import ipaddress

    first = network.subnet(f"{network.at(32, one)}/{one_length}")
    second = network.subnet(f"{network.at(32, other)}/{other_length}")
    theirs = [ipaddress.ip_network(f"{base}/{length}") for base, length in (first, second)]
    assert network.overlap(first, second) == theirs[0].overlaps(theirs[1])


@given(st.text(max_size=40))
def test_parse_refuses_or_gives_plain_data(text):
    for parse in (network.parse, network.parse_hosts):
        try:
            found = parse((text,))
        except RlError as error:
            assert error.message
        else:
            assert jsontext.loads(jsontext.dumps(found)) == found


@given(st.text(alphabet="0123456789abcdefABCDEF:-", max_size=20))
def test_mac_addresses_are_canonical(text):
    try:
        found = network.mac_address(text)
    except ValueError:
        return
    assert network.mac_address(found) == found and len(found) == 17
