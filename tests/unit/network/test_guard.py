"""Which packets of a container's root may reach its network helper, and who needs the guard."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rootless.kernel import traffic
from rootless.model.network import parse
from rootless.network import guard

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
_SIZES = {traffic.LOAD_WORD: ">I", traffic.LOAD_HALF: ">H", traffic.LOAD_BYTE: ">B"}


def passes(protocol, packet):
    """Whether the filter matches: classic BPF as the kernel runs it, as far as it is used."""
    program, at, value = guard.permitted(), 0, 0
    while True:
        code, jt, jf, k = program[at]
        at += 1
        if code == traffic.RETURN:
            return bool(k)
        if code in _SIZES:
            if k == traffic.PROTOCOL:
                value = protocol
                continue
            try:
                (value,) = struct.unpack_from(_SIZES[code], packet, k - traffic.NETWORK)
            except struct.error:
                return False  # a load beyond the end ends the program with 0
        elif code == traffic.JUMP_EQUAL:
            at += jt if value == k else jf
        else:
            raise AssertionError(code)


def packet(target):
    """The header of a packet to an address; the rest is of no interest."""
    target = ipaddress.ip_address(target)
    if target.version == 4:
        return IPV4, bytes(16) + target.packed
    return IPV6, b"\x60" + bytes(7) + bytes(16) + target.packed


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1",
        "127.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:198.51.100.2",
    ],
)
def test_this_host_is_out_of_reach(target):
    assert not passes(*packet(target))


@given(some.ip_addresses())
def test_all_others_are_within_reach(target):
    this_host = target in ipaddress.ip_network("127.0.0.0/8" if target.version == 4 else "::/64")
    this_host |= target.version == 4 and target in ipaddress.ip_network("0.0.0.0/8")
    assert passes(*packet(target)) != this_host


@pytest.mark.parametrize(
    "target",
    [
        "10.0.2.2",
        "10.0.2.3",
        "255.255.255.255",
        "224.0.0.1",
        "fe80::2",
        "ff02::2",
        "0:0:0:1::1",
        "0:0:1::",
    ],
)
def test_what_a_network_needs_passes(target):
    assert passes(*packet(target))


def test_what_is_neither_arp_nor_ip_stays():
    assert passes(ARP, b"")
    for protocol in (0x8100, 0x88A8, 0x8847, 0x8864, 0x0004, 0):
        assert not passes(protocol, packet("10.0.2.2")[1])


@given(some.sampled_from((IPV4, IPV6)), some.binary(max_size=23))
def test_packets_that_end_early_stay(protocol, data):
    if protocol == IPV6 or len(data) < 17:
        assert not passes(protocol, data)


@pytest.mark.parametrize(
    "value, capability, needed",
    [
        ("private", "CAP_NET_ADMIN", True),
        ("private", "CAP_NET_RAW", True),
        ("private", "CAP_CHOWN", False),
        ("pasta", "CAP_NET_ADMIN", True),
        ("pasta:-T,80", "CAP_NET_ADMIN", False),
        ("slirp4netns", "CAP_NET_RAW", True),
        ("slirp4netns:mtu=1500", "CAP_NET_RAW", True),
        ("slirp4netns:allow_host_loopback=true", "CAP_NET_RAW", False),
        ("slirp4netns:allow_host_loopback=false", "CAP_NET_RAW", True),
        ("none", "CAP_NET_ADMIN", False),
        ("host", "CAP_NET_ADMIN", False),
    ],
)
def test_who_needs_it(value, capability, needed):
    assert guard.wanted(parse((value,)), ["CAP_KILL", capability]) is needed
