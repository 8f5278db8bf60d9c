"""User networks without a kernel: what a network is, who gets which address, which rules."""

import os
import subprocess
import sys

import pytest

import rootless
from rootless.errors import RlError
from rootless.network.bridge import definition, leases

FACTS = {"prefixes": [["192.0.2.0", 24], ["127.0.0.0", 8], ["10.89.0.0", 24]]}
NOW = "2026-01-02T03:04:05Z"


def make(name="shop", others=(), **given):
    return definition.make(name, given, list(others), FACTS, NOW)


def subnets(found):
    return [entry["subnet"] for entry in found["subnets"]]


def test_a_network_takes_the_first_free_subnet():
    first = make()
    assert subnets(first) == ["10.89.1.0/24"]  # this machine uses 10.89.0.0/24
    assert first["subnets"][0]["gateway"] == "10.89.1.1"
    second = make("other", [first])
    assert subnets(second) == ["10.89.2.0/24"]
    assert (first["network_interface"], second["network_interface"]) == ("rl1", "rl2")
    assert (first["internal"], first["dns_enabled"], first["ipv6_enabled"]) == (False, True, False)


def test_a_name_of_its_own():
    assert make(None)["name"] == "rl1"
    assert make(None, [make("rl1", interface_name="br-x")])["name"] == "rl2"


def test_ipv6_adds_a_subnet():
    found = make(ipv6=True)
    assert len(found["subnets"]) == 2 and found["ipv6_enabled"]
    only = make(subnet=["fd99::/64"])
    assert subnets(only) == ["fd99::/64"] and only["ipv6_enabled"]
    both = make(subnet=["10.9.0.0/24"], ipv6=True)
    assert subnets(both)[0] == "10.9.0.0/24" and ":" in subnets(both)[1]


def test_the_default_network():
    found = definition.default([], FACTS, NOW)
    assert (found["name"], found["network_interface"]) == ("bridge", "rl0")
    assert subnets(found) == ["10.88.0.0/16"]
    taken = definition.default([make(subnet=["10.88.3.0/24"])], FACTS, NOW)
    assert subnets(taken) == ["10.89.1.0/24"]


def test_gateways_and_ranges_find_their_subnet():
    found = make(
        subnet=["10.9.0.0/24", "fd99::/64"], gateway=["fd99::9", "10.9.0.254"],
        ip_range=["10.9.0.64/26"],
    )  # fmt: skip
    four, six = found["subnets"]
    assert (four["gateway"], six["gateway"]) == ("10.9.0.254", "fd99::9")
    assert four["lease_range"] == {"start_ip": "10.9.0.64", "end_ip": "10.9.0.127"}
    spelt = make(subnet=["10.9.0.0/24"], ip_range=["10.9.0.5-10.9.0.7"])
    assert spelt["subnets"][0]["lease_range"]["end_ip"] == "10.9.0.7"


@pytest.mark.parametrize(
    "given, words",
    [
        ({"subnet": ["192.0.2.128/25"]}, "already used by this machine"),
        ({"subnet": ["10.7.0.0/16"]}, "already used by the network there"),
        ({"subnet": ["10.9.0.0/24", "10.9.0.0/16"]}, "already used by --subnet"),
        ({"subnet": ["10.9.0.0/32"]}, "no room for containers"),
        ({"subnet": ["10.9.0.0"]}, "is not a subnet"),
        ({"subnet": ["127.0.0.0/8"]}, "not for ordinary addresses"),
        ({"subnet": ["224.0.0.0/8"]}, "not for ordinary addresses"),
        ({"subnet": ["ff00::/64"]}, "not for ordinary addresses"),
        ({"gateway": ["10.9.0.1"]}, "it needs a --subnet"),
        ({"ip_range": ["10.9.0.0/26"]}, "it needs a --subnet"),
        ({"subnet": ["10.9.0.0/24"], "gateway": ["10.8.0.1"]}, "in none of the subnets"),
        ({"subnet": ["10.9.0.0/24"], "gateway": ["10.9.0.0"]}, "the address of the subnet"),
        ({"subnet": ["10.9.0.0/24"], "gateway": ["nonsense"]}, "not an IP address"),
        ({"subnet": ["10.9.0.0/24"], "ip_range": ["10.9.0.0/20"]}, "not inside"),
        ({"subnet": ["10.9.0.0/24"], "ip_range": ["10.9.0.9-10.9.0.4"]}, "ends before"),
        ({"driver": "macvlan"}, "rights over an interface"),
        ({"driver": "ipvlan"}, "rights over an interface"),
        ({"driver": "zebra"}, "there is only bridge"),
        ({"ipam_driver": "dhcp"}, "there is only host-local"),
        ({"opt": ["mtu=1"]}, "not a number from 68"),
        ({"opt": ["vlan=3"]}, "an ordinary user"),
        ({"opt": ["colour=red"]}, "is none of"),
        ({"opt": ["isolate=maybe"]}, "is none of true, false and strict"),
        ({"interface_name": "eth0"}, "another interface"),
        ({"interface_name": "rl7"}, "belongs to another network"),
        ({"interface_name": "a" * 16}, "not a name for a network interface"),
        ({"route": ["10.1.0.0/16"]}, "is not DESTINATION,GATEWAY"),
        ({"route": ["10.1.0.0/16,10.250.0.1"]}, "in no subnet of the network"),
        ({"dns": ["zebra"]}, "not an IP address"),
        ({"dns": ["192.0.2.1"], "disable_dns": True}, "has no DNS"),
    ],
)
def test_bad_definitions(given, words):
    there = make("there", subnet=["10.7.1.0/24"], interface_name="rl7")
    with pytest.raises(RlError) as caught:
        make(others=[there], **given)
    assert words in caught.value.message and caught.value.advice


@pytest.mark.parametrize("name", ["", "none", "host", "bridge", "container", "-x", "a b", "a/b",
                                  "a" * 65, "zoë"])  # fmt: skip
def test_bad_names(name):
    with pytest.raises(definition.BadNetworkName):
        definition.check_name(name)


def test_options():
    found = make(opt=["com.docker.network.driver.mtu=1400", "isolate=1"])
    assert found["options"] == {"mtu": "1400", "isolate": "true"}
    assert definition.mtu(found) == 1400 and definition.mtu(make()) == 65520
    routed = make(subnet=["10.9.0.0/24"], route=["10.1.0.0/16,10.9.0.3,5"])
    assert routed["routes"] == [
        {"destination": "10.1.0.0/16", "gateway": "10.9.0.3", "metric": 5}]  # fmt: skip


# --- addresses -------------------------------------------------------------------------------


def test_addresses_go_on_after_the_last():
    network = make(subnet=["10.9.0.0/29"])
    taken, last = {}, {}
    given = []
    for name in range(5):
        (row,) = leases.choose(network, [], taken, last)
        taken[row["address"]] = str(name)
        last["10.9.0.0/29"] = row["address"]
        given.append(row["address"][-1])
    assert given == ["2", "3", "4", "5", "6"]
    with pytest.raises(leases.NoAddressLeft):
        leases.choose(network, [], taken, last)
    del taken["10.9.0.3"]
    assert leases.choose(network, [], taken, last)[0]["address"] == "10.9.0.3"


def test_addresses_that_are_asked_for():
    network = make(subnet=["10.9.0.0/24", "fd99::/64"], ip_range=["10.9.0.64/26"])
    found = leases.choose(network, ["fd99::77", "10.9.0.200"], {})
    assert [row["address"] for row in found] == ["10.9.0.200", "fd99::77"]
    assert [row["prefix"] for row in found] == [24, 64]
    assert leases.choose(network, [], {})[0]["address"] == "10.9.0.64"
    for text, error in (
        ("10.9.0.1", leases.NotForContainers),
        ("10.9.0.0", leases.NotForContainers),
        ("10.9.0.255", leases.NotForContainers),
        ("10.8.0.9", leases.NotInNetwork),
        ("10.9.0.9", leases.AddressTaken),
    ):
        with pytest.raises(error):
            leases.choose(network, [text], {"10.9.0.9": "web"})


def test_mac_addresses_are_local_and_unicast():
    for _ in range(50):
        first = int(leases.new_mac()[:2], 16)
        assert first & 3 == 2


# --- rules, and what is loaded ---------------------------------------------------------------


def test_rules_are_the_same_each_time():
    from rootless.network.bridge import rules

    assert rules.base("eth0") == rules.base("eth0") != rules.base("up0")
    assert b"up0" in rules.base("up0")
    assert b"rl7" in rules.join("rl7", ["outward"]) != rules.leave("rl7", ["outward"])


@pytest.mark.parametrize(
    "given, sets",
    [
        ({}, ["bridges", "outward", "routed"]),
        ({"internal": True}, ["bridges"]),
        ({"opt": ["isolate=true"]}, ["bridges", "outward", "routed", "isolated"]),
        ({"opt": ["isolate=strict"]}, ["bridges", "outward"]),
    ],
)
def test_the_sets_of_a_network(given, sets):
    from rootless.network.bridge import rules

    assert rules.sets_of(make(**given)) == sets


def test_a_start_on_a_network_loads_nothing_heavy():
    parent = os.path.dirname(os.path.dirname(rootless.__file__))
    code = (
        f"import sys; sys.path.insert(0, {parent!r})\n"
        "from rootless.engine import networks_join, networks_rules, connect\n"
        "networks_rules.sets_of({'internal': True})\n"
        "print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True,
                          text=True, check=True).stdout.split()  # fmt: skip
    heavy = {"pyroute2", "socket", "ipaddress", "subprocess", "re", "json", "typing", "enum",
             "hashlib", "random"}  # fmt: skip
    assert not heavy & set(said)


def test_a_kernel_without_nf_tables_or_bridges(monkeypatch):
    from rootless.network.bridge import plug

    class Holder:
        filter = route = None

    def no_bridge(*_):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(plug, "_bridge", no_bridge)
    with pytest.raises(plug.NoNetfilter) as caught:
        plug.filter_rules(Holder, b"")
    assert "modprobe nf_tables" in caught.value.advice
    with pytest.raises(plug.NoBridge) as caught:
        plug.make_network(Holder, make(), b"")
    assert "modprobe -a bridge" in caught.value.advice and "shop" in caught.value.message
