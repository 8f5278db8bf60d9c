"""network/shaping.py: what --network-rate means, and which packets go where."""

import pytest

from rootless.kernel import traffic
from rootless.network import shaping


@pytest.mark.parametrize(
    "value, egress, ingress, burst, latency",
    [
        ("10mbit", 10_000_000, 10_000_000, None, None),
        ("egress=1gbit", 1_000_000_000, None, None, None),
        ("egress=5mbit,ingress=6mbit,burst=64k,latency=50ms", 5_000_000, 6_000_000, 65536, 50_000),
        ("ingress=1.5mbit,latency=2s", None, 1_500_000, None, 2_000_000),
        ("8KBIT", 8000, 8000, None, None),
        ("1mibit", 1 << 20, 1 << 20, None, None),
        ("10mbit,burst=1m", 10_000_000, 10_000_000, 1 << 20, None),
        ("egress=none,ingress=9kbit", None, 9000, None, None),
    ],
)  # fmt: skip
def test_what_is_read(value, egress, ingress, burst, latency):
    expected = {"egress": egress, "ingress": ingress, "burst": burst, "latency": latency}
    assert shaping.parse(value) == expected
    assert shaping.parse(shaping.text(expected)) == expected


@pytest.mark.parametrize("value", ["none", "unlimited", "0", "egress=none,ingress=0"])
def test_no_limit(value):
    assert shaping.parse(value) is None
    assert shaping.text(None) == "none"


@pytest.mark.parametrize(
    "value",
    ["", "10", "10mbps", "10 mbit", "mbit", "-1mbit", "1mbit,1mbit", "egress=1mbit,egress=2mbit",
     "up=1mbit", "1kbit", "2tbit", "burst=64k", "1mbit,burst=1", "1mbit,burst=2g",
     "1mbit,latency=0", "1mbit,latency=1h", "1e6bit", "1.x5mbit", "٣mbit", "1mbit,latency=",
     "1mbit,,", "1..5mbit", "99999999999999999bit"],
)  # fmt: skip
def test_refused(value):
    with pytest.raises(shaping.BadRate) as caught:
        shaping.parse(value)
    assert caught.value.advice


@pytest.mark.parametrize("bits", [8000, 10**6, 10**8, 10**10, 10**12])
@pytest.mark.parametrize("burst", [None, 2000, 1 << 20])
def test_every_packet_fits_into_the_bucket(bits, burst):
    rate = {"egress": bits, "ingress": None, "burst": burst, "latency": None}
    mtu = shaping.largest_packet(rate)
    assert 1500 <= mtu <= 65520
    speed, size, limit = shaping.bucket(bits, rate, mtu)
    assert speed == bits // 8 and size > mtu and limit >= size + mtu
    if burst and burst > mtu + 100:
        assert size == burst
    windows = shaping.windows(rate)
    assert len(windows) == 2
    for words in windows.values():
        least, usual, most = map(int, words.split())
        assert least <= usual <= most


def run(program, *, protocol=0x0800, mark=0, transport=17, port=0):
    """What a classic BPF program says to a packet, as the kernel would run it."""
    facts = {traffic.PROTOCOL: protocol, traffic.MARK: mark}
    version = (9, 20) if protocol == 0x0800 else (6, 40)
    facts[traffic.NETWORK + version[0]] = transport
    facts[traffic.NETWORK + version[1]] = port
    value, at = 0, 0
    for _ in range(10_000):
        code, yes, no, k = program[at]
        at += 1
        if code in (traffic.LOAD_WORD, traffic.LOAD_HALF, traffic.LOAD_BYTE):
            value = facts[k]
        elif code == traffic.JUMP:
            at += k
        elif code == traffic.RETURN:
            return bool(k)
        else:
            holds = {traffic.JUMP_EQUAL: value == k, traffic.JUMP_GREATER: value > k,
                     traffic.JUMP_NOT_LESS: value >= k}[code]  # fmt: skip
            at += yes if holds else no
    raise AssertionError("the program does not end")


def test_which_packets_match():
    assert run(shaping.match_any()) and run(shaping.match_any(), protocol=0x86DD)
    assert not run(shaping.match_any(), protocol=0x0806)
    inward = shaping.match_mark(shaping.MARK_IN)
    assert run(inward, mark=shaping.MARK_IN) and not run(inward, mark=shaping.MARK_OUT)
    assert not run(inward)


@pytest.mark.parametrize("protocol", [0x0800, 0x86DD])
def test_what_services_send(protocol):
    alone = shaping.match_service([])
    assert run(alone, mark=shaping.MARK_OUT, protocol=protocol)
    assert not run(alone, protocol=protocol, port=53)
    ranges = [(53, 53), (100, 200)] + [(n, n) for n in range(1000, 3000, 2)]
    program = shaping.match_service(ranges)
    for port, matched in ((53, True), (52, False), (54, False), (100, True), (200, True),
                          (201, False), (99, False), (2998, True), (2999, False)):  # fmt: skip
        assert run(program, protocol=protocol, port=port) is matched
    assert not run(program, protocol=protocol, port=53, transport=6)
    assert run(program, mark=shaping.MARK_OUT, transport=6, protocol=protocol)
    assert not run(program, protocol=0x0806)
