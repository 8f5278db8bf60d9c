"""Which helper with which command line; which subnet."""

import pytest

from rootless.model.network import inside, overlap, parse
from rootless.network import host, plan

ALL = {"pasta": "/usr/bin/pasta", "slirp4netns": "/usr/bin/slirp4netns", "setpriv": "/bin/setpriv"}
FACTS = {
    "prefixes": [["127.0.0.1", 8], ["192.0.2.2", 24], ["2001:db8::2", 64]],
    "ipv4": True,
    "ipv6": True,
    "address4": "192.0.2.2",
    "address6": "2001:db8::2",
}


def make(*values, programs=ALL, facts=FACTS, **options):
    return plan.make_plan(parse(values), programs, facts=facts, **options)


def test_the_ladder_keeps_the_order_and_one_address_for_all():
    made = make(order=("slirp4netns", "pasta"))
    assert [rung["name"] for rung in made["rungs"]] == ["slirp4netns", "pasta"]
    assert made["addresses"] == ["10.0.2.100"] and made["host"] == "192.0.2.2"
    assert len(make("pasta")["addresses"]) == 2  # IPv6 only where every rung has it
    assert "--cidr=10.0.2.0/24" in made["rungs"][0]["argv"]
    assert "10.0.2.100" in made["rungs"][1]["argv"]


def test_helpers_end_with_their_parent():
    for rung in make()["rungs"]:
        assert rung["argv"][:4] == ["/bin/setpriv", "--pdeathsig", "KILL", "--"]


def test_the_hosts_loopback_is_shut():
    slirp, pasta = make(order=("slirp4netns", "pasta"))["rungs"]
    assert "--disable-host-loopback" in slirp["argv"]
    assert "--no-map-gw" in pasta["argv"]
    for option in ("-t", "-u", "-T", "-U"):
        assert pasta["argv"][pasta["argv"].index(option) + 1] == "none"


def test_what_the_user_says_to_pasta_replaces_ours():
    made = make("pasta:-T,5000,--map-gw,-I,lan0,--mtu=1500,-a,10.9.0.9")
    argv = made["rungs"][0]["argv"]
    assert argv.count("-T") == 1 and argv[argv.index("-T") + 1] == "5000"
    assert "--no-map-gw" not in argv and "--map-gw" not in argv
    assert "-m" not in argv and argv.count("-I") == 1
    assert made["interface"] == "lan0" and made["addresses"] == ["10.9.0.9"]


def test_what_the_user_says_to_slirp4netns():
    made = make("slirp4netns:allow_host_loopback=true,cidr=10.7.0.0/24,mtu=1500,enable_ipv6=true")
    argv = made["rungs"][0]["argv"]
    assert "--disable-host-loopback" not in argv and "--enable-ipv6" in argv
    assert "--mtu=1500" in argv and "--cidr=10.7.0.0/24" in argv
    assert made["addresses"] == ["10.7.0.100"] and made["host"] == "10.7.0.2"


def test_slirp4netns_leaves_ipv6_to_a_host_that_uses_its_prefix():
    busy = dict(FACTS, prefixes=[*FACTS["prefixes"], ["fd00::2", 64]])
    assert "--enable-ipv6" in make("slirp4netns")["rungs"][0]["argv"]
    assert "--enable-ipv6" not in make("slirp4netns", facts=busy)["rungs"][0]["argv"]


def test_families_follow_the_host():
    only4 = make("pasta", facts=dict(FACTS, ipv6=False))
    assert "-4" in only4["rungs"][0]["argv"] and not only4["ipv6"]
    only6 = make("pasta", facts=dict(FACTS, ipv4=False))
    assert "-6" in only6["rungs"][0]["argv"] and only6["ipv6"]


def test_a_missing_helper():
    nothing = dict.fromkeys(ALL)
    with pytest.raises(plan.NoHelper) as caught:
        make("pasta", programs=nothing)
    assert "passt" in caught.value.advice
    made = make(programs=nothing)
    assert made["rungs"] == [] and "no network" in made["warning"] and made["host"] is None


def test_the_subnet_avoids_the_hosts():
    busy = dict(FACTS, prefixes=[["10.0.0.0", 22], ["10.0.4.7", 32]])
    base, length = host.free_subnet(busy, avoid=["10.0.5.53"])
    assert (base, length) == ("10.0.6.0", 24)


def test_a_host_that_uses_all_of_net_ten():
    busy = dict(FACTS, prefixes=[["10.0.0.0", 8]])
    made = make("pasta", facts=busy)
    assert made["addresses"][0] == "172.16.2.100"


def test_a_default_route_is_no_use():
    busy = dict(FACTS, prefixes=[["0.0.0.0", 0], ["::", 0]])
    assert host.free_subnet(busy) == ("10.0.2.0", 24)


def test_ipv6_subnets_are_local_ones():
    base, length = host.free_subnet(FACTS, ipv6=True)
    assert inside(base, "fc00::", 7) and not overlap((base, length), ("2001:db8::2", 64))
