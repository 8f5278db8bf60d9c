"""Traffic shaping: ``--network-rate``, by token buckets in the container's own namespace.

Everything that leaves the container goes through one bucket, everything that enters it
through another: two ifb interfaces, to which filters send the packets of its interfaces.
Published ports come in over lo, where helpers/forward marks both directions.
"""

import os

from rootless.errors import RlError
from rootless.kernel import netlink, traffic

OUT, IN = "rate-out", "rate-in"
# Of helpers/forward_inside.h: what a service sends, and what it is sent.
MARK_OUT, MARK_IN = 0x726C7030, 0x726C7031
_IPV4, _IPV6, _UDP = 0x0800, 0x86DD, 17
_LEAST, _MOST = 8_000, 1_000_000_000_000  # bits a second
_QUEUE = 1 << 17
# Direction, parameter, the kernel's own default and largest value (tcp(7)).
_WINDOWS = (("ingress", "/proc/sys/net/ipv4/tcp_rmem", 131072, 6291456),
            ("egress", "/proc/sys/net/ipv4/tcp_wmem", 16384, 4194304))  # fmt: skip
_WHOLE_MTU, _SMALL_MTU, _LOOPBACK_MTU = 65520, 1500, 65536
_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12,
          "kibit": 1 << 10, "mibit": 1 << 20, "gibit": 1 << 30, "tibit": 1 << 40}  # fmt: skip
_TIMES = {"us": 1, "ms": 1000, "s": 1_000_000}
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "kb": 1 << 10, "mb": 1 << 20}
_NONE = ("none", "unlimited", "0")


class BadRate(RlError):
    """--network-rate {0}: {1}"""

    hint = "10mbit, or egress=10mbit,ingress=50mbit,burst=64k,latency=50ms; none lifts it"


class CannotShape(RlError):
    """the network's rate cannot be limited here: {0}"""

    hint = "leave --network-rate out, or let root load what is missing: modprobe MODULE"


# --- what is asked for ----------------------------------------------------------------------


def parse(value):
    """The value of --network-rate as a dict; None for no limit at all.

    ``egress`` and ``ingress`` in bits a second (None: unlimited), ``burst`` in bytes (None:
    chosen by the rate), ``latency`` in microseconds (None: likewise).  Raises BadRate.
    """
    found = dict.fromkeys(("egress", "ingress", "burst", "latency"))
    seen = set()
    for word in value.split(","):
        key, equals, text = word.partition("=")
        keys = (key,) if equals else ("egress", "ingress")
        if not equals:
            text = word
        for key in keys:
            if key not in found:
                raise BadRate(value, f"there is no {key!r}, only {', '.join(found)}")
            if key in seen:
                raise BadRate(value, f"{key} is given twice")
            seen.add(key)
            found[key] = _READERS[key](value, text.strip().lower())
    if found["egress"] is None and found["ingress"] is None:
        if seen & {"burst", "latency"}:
            raise BadRate(value, "burst and latency need a rate")
        return None
    return found


def _number(value, text, units, what):
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz/")
    unit = text[len(digits) :]
    whole, _, part = digits.partition(".")
    good = whole.isascii() and whole.isdecimal() and (not part or part.isdecimal())
    if not good or unit not in units or len(digits) > 15:
        known = ", ".join(name for name in units if name)
        raise BadRate(value, f"{text!r} is not {what}: a number and one of {known}")
    return int(whole) * units[unit] + (int(part) * units[unit] // 10 ** len(part) if part else 0)


def _rate(value, text):
    if text in _NONE:
        return None
    found = _number(value, text, _UNITS, "a rate")
    if not _LEAST <= found <= _MOST:
        raise BadRate(value, f"{text} is not between 8kbit and 1tbit")
    return found


def _burst(value, text):
    found = _number(value, text, _SIZES, "a size")
    if not 2000 <= found <= 1 << 30:
        raise BadRate(value, f"a burst of {text} is not between 2000 bytes and 1024m")
    return found


def _latency(value, text):
    found = _number(value, text, _TIMES, "a time")
    if not 1000 <= found <= 10_000_000:
        raise BadRate(value, f"a latency of {text} is not between 1ms and 10s")
    return found


_READERS = {"egress": _rate, "ingress": _rate, "burst": _burst, "latency": _latency}


def text(rate):
    """A parsed rate as one would type it; None becomes "none"."""
    if rate is None:
        return "none"
    words = [f"{key}={_short(rate[key])}" for key in ("egress", "ingress") if rate[key]]
    if rate["burst"]:
        words.append(f"burst={rate['burst']}")
    if rate["latency"]:
        words.append(f"latency={rate['latency']}us")
    return ",".join(words)


def _short(bits):
    for name in ("gbit", "mbit", "kbit"):
        if bits % _UNITS[name] == 0:
            return f"{bits // _UNITS[name]}{name}"
    return f"{bits}bit"


# --- what the kernel is told -----------------------------------------------------------------


def largest_packet(rate):
    """The MTU for a rate: a packet should not block the line for more than 2 ms."""
    slowest = min(bits for bits in (rate["egress"], rate["ingress"]) if bits)
    most = min(_WHOLE_MTU, slowest // 8 // 500)
    if rate["burst"]:
        most = min(most, rate["burst"] - 100)
    return max(_SMALL_MTU, most)


def bucket(bits, rate, mtu):
    """(bytes a second, burst, limit of the queue) for one direction.

    Where no latency is asked for the queue takes 50 ms, and at least what TCP sends at once:
    helpers have no selective acknowledgements, and losses in a row cost them seconds.
    """
    per_second = bits // 8
    burst = max(rate["burst"] or per_second // 100, mtu + 100)
    if rate["latency"]:
        return per_second, burst, burst + max(mtu, per_second * rate["latency"] // 1_000_000)
    return per_second, burst, burst + max(_QUEUE, 2 * mtu, per_second // 20)


def windows(rate):
    """How much a TCP connection may have under way: the texts of net.ipv4.tcp_rmem and
    tcp_wmem, by their paths.

    Behind the queues is a helper whose TCP is slow to find out about losses: better that
    one connection can't make them overflow.
    """
    found = {}
    for key, path, usual, largest in _WINDOWS:
        if rate and rate[key]:
            mtu = largest_packet(rate)
            _, burst, limit = bucket(rate[key], rate, mtu)
            largest = min(largest, max((limit - burst) // 2, 4 * mtu))
        found[path] = f"4096 {min(usual, largest)} {largest}"
    return found


def open_socket(rate):
    """An rtnetlink socket for ``apply``, made in the network namespace in question, in which
    the windows are set as well; its descriptor."""
    for path, words in windows(rate).items():
        with open(path, "wb", 0) as file:
            file.write(words.encode())
    with netlink.Route() as route:
        return os.dup(route.fileno())


def match_any():
    """A program that matches every IP packet."""
    return [
        (traffic.LOAD_HALF, 0, 0, traffic.PROTOCOL),
        (traffic.JUMP_EQUAL, 1, 0, _IPV4),
        (traffic.JUMP_EQUAL, 0, 1, _IPV6),
        traffic.MATCH,
        traffic.PASS,
    ]


def match_mark(mark):
    """A program that matches packets with a mark."""
    return [
        (traffic.LOAD_WORD, 0, 0, traffic.MARK),
        (traffic.JUMP_EQUAL, 0, 1, mark),
        traffic.MATCH,
        traffic.PASS,
    ]


def match_service(udp):
    """A program that matches what published services send: marked, or UDP (which can't take
    a mark over) from one of the ports ``udp``, a list of (first, last)."""
    start = [(traffic.LOAD_WORD, 0, 0, traffic.MARK), (traffic.JUMP_EQUAL, 0, 1, MARK_OUT),
             traffic.MATCH]  # fmt: skip
    if not udp:
        return [*start, traffic.PASS]
    ports = []
    for first, last in udp:
        ports += [(traffic.JUMP_NOT_LESS, 0, 2, first), (traffic.JUMP_GREATER, 1, 0, last),
                  traffic.MATCH]  # fmt: skip
    blocks = [
        [
            (traffic.LOAD_BYTE, 0, 0, traffic.NETWORK + protocol),
            (traffic.JUMP_EQUAL, 1, 0, _UDP),
            traffic.PASS,
            (traffic.LOAD_HALF, 0, 0, traffic.NETWORK + port),
            *ports,
            traffic.PASS,
        ]
        for protocol, port in ((9, 20), (6, 40))
    ]
    choice = [
        (traffic.LOAD_HALF, 0, 0, traffic.PROTOCOL),
        (traffic.JUMP_EQUAL, 0, 1, _IPV6),
        (traffic.JUMP, 0, 0, 2 + len(blocks[0])),
        (traffic.JUMP_EQUAL, 1, 0, _IPV4),
        traffic.PASS,
    ]
    return [*start, *choice, *blocks[0], *blocks[1]]


def apply(descriptor, rate, ports=(), shared=False):
    """Limit the traffic of a network namespace, or change the limits; None lifts them.

    ``descriptor`` is of an rtnetlink socket of that namespace, ``ports`` are the container's
    published ones (mappings of ports.parse).  ``shared``: others send to its interfaces as
    well, packets as large as these were made for.  Raises CannotShape.
    """
    with netlink.Route(descriptor) as route:
        try:
            _apply(route, rate, ports, shared)
        except OSError as error:
            raise CannotShape(str(error.args[-1])) from None


def _apply(route, rate, ports, shared):
    links = {link["name"]: link for link in route.links()}
    ours = [links.pop(name) for name in (OUT, IN) if name in links]
    indexes = {link["name"]: link["index"] for link in ours}
    rate = rate or dict.fromkeys(("egress", "ingress", "burst", "latency"))
    # What the far end of a pair sends is dropped where it is larger than the near one's MTU.
    shared = shared or any(link["pair"] for link in links.values())
    limited = bool(rate["egress"] or rate["ingress"])
    # What the interfaces had before: kept as the MTU of ours, which have no use for it.
    whole = ours[0]["mtu"] if ours else _whole_mtu(links.values())
    mtu = min(whole, largest_packet(rate)) if limited else whole
    target = {}
    for name, bits in ((OUT, rate["egress"]), (IN, rate["ingress"])):
        if bits:
            index = target[name] = indexes.get(name) or traffic.add_ifb(route, name)
            route.set_link(index, mtu=whole)
            # A helper sends packets as large as it was started with.
            most = whole if shared or name == IN else mtu
            speed, burst, limit = bucket(bits, rate, most)
            traffic.set_bucket(route, index, rate=speed, burst=burst, limit=limit)
    for link in links.values():
        _lead(route, link, target, _udp(ports))
        if not link["flags"] & netlink.IFF_LOOPBACK:
            if not shared:
                route.set_link(link["index"], mtu=mtu)
        elif ports:
            route.set_link(link["index"], mtu=mtu if limited else _LOOPBACK_MTU)
    for name, index in indexes.items():
        if name not in target:
            route.delete_link(index)


def _whole_mtu(links):
    return min([link["mtu"] for link in links if not link["flags"] & netlink.IFF_LOOPBACK],
               default=_WHOLE_MTU)  # fmt: skip


def _udp(ports):
    return [
        (entry["container_port"], entry["container_port"] + entry["range"] - 1)
        for entry in ports
        if entry["protocol"] == "udp"
    ]


def _lead(route, link, target, udp):
    """Send an interface's packets to the buckets; away from them where there is none."""
    index = link["index"]
    if not target:
        traffic.close_filters(route, index)
        return
    traffic.open_filters(route, index)
    if link["flags"] & netlink.IFF_LOOPBACK:
        into, out = match_mark(MARK_IN), match_service(udp)
        rows = ((traffic.EGRESS, into, IN), (traffic.EGRESS, out, OUT))
    else:
        rows = ((traffic.INGRESS, match_any(), IN), (traffic.EGRESS, match_any(), OUT))
    for priority, (side, program, name) in enumerate(rows, 1):
        if name in target:
            traffic.redirect(route, index, side, priority, program, target[name])
