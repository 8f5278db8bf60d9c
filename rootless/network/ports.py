"""Published ports: what -p, -P and --expose ask for, and how it is shown.

podman-run(1): ``[[ip:][hostPort]:]containerPort[/protocol]``, each port a number or a range.
"""

from rootless.errors import RlError
from rootless.model.network import address, is_ipv6

_KINDS = ("tcp", "udp")


class BadPort(RlError):
    """-p {0}: {1}"""

    hint = "[[ADDRESS:][HOST PORT]:]CONTAINER PORT[/tcp|udp], such as 8080:80 or 127.0.0.1::80"


# --- what the options mean -----------------------------------------------------------------


def parse(values):
    """The values of -p as a list of mappings; BadPort.

    A mapping is {"host_ip", "host_port", "container_port", "protocol", "range"}, as in
    podman's records: ``host_ip`` "" for all addresses, ``host_port`` 0 for one that
    ``ports_open.open_all`` is to choose, ``range`` how many ports in a row.
    """
    found = []
    for value in values:
        found.append(_one(value))
    _refuse_twice(found)
    return found


def parse_exposed(words):
    """(port, protocol) pairs of EXPOSE lines and --expose: ``80``, ``53/udp``, ``90-92/tcp``."""
    found = []
    for word in words:
        ports, _, protocol = word.partition("/")
        first, count = _range(word, ports)
        protocol = _protocol(word, protocol)
        found += [(first + offset, protocol) for offset in range(count)]
    return list(dict.fromkeys(found))


def publish_all(mappings, exposed):
    """The mappings of -P: one for each exposed port that ``mappings`` doesn't publish."""
    have = {
        (entry["container_port"] + offset, entry["protocol"])
        for entry in mappings
        for offset in range(entry["range"])
    }
    return [_mapping("", 0, port, name, 1) for port, name in exposed if (port, name) not in have]


def _mapping(host_ip, host_port, container_port, protocol, count):
    return {
        "host_ip": host_ip,
        "host_port": host_port,
        "container_port": container_port,
        "protocol": protocol,
        "range": count,
    }


def _one(value):
    rest, slash, protocol = value.partition("/")
    protocol = _protocol(value, protocol if slash else "tcp")
    host_ip = ""
    if rest.startswith("["):
        host_ip, bracket, rest = rest[1:].partition("]:")
        if not bracket or ":" not in rest or not is_ipv6(host_ip):
            raise BadPort(value, "an IPv6 address is written [ADDRESS]:HOST:CONTAINER")
    elif rest.count(":") == 2:
        host_ip, _, rest = rest.partition(":")
    if rest.count(":") > 1:
        raise BadPort(value, "too many colons; an IPv6 address is put in brackets")
    if host_ip:
        try:
            host_ip = address(host_ip)
        except ValueError as error:
            raise BadPort(value, str(error)) from None
    host, colon, container = rest.rpartition(":")
    first, count = _range(value, container)
    if not host:
        return _mapping(host_ip, 0, first, protocol, count)
    host_first, host_count = _range(value, host)
    if host_count != count:
        raise BadPort(value, f"{host_count} host ports for {count} container ports")
    return _mapping(host_ip, host_first, first, protocol, count)


def _protocol(value, text):
    text = text.lower() or "tcp"
    if text not in _KINDS:
        raise BadPort(value, f"the protocol {text!r} can't be published, only tcp and udp")
    return text


def _range(value, text):
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    good = all(n.isascii() and n.isdecimal() and len(n) < 6 for n in numbers)
    if not good or not all(0 < int(n) < 65536 for n in numbers):
        raise BadPort(value, f"{text!r} is not a port (1 to 65535) or a range of ports")
    low, high = map(int, numbers)
    if high < low:
        raise BadPort(value, f"the range {text} runs backwards")
    return low, high - low + 1


def _refuse_twice(mappings):
    """The same port of the host can't lead to two places."""
    seen = {}
    for entry in mappings:
        if not entry["host_port"]:
            continue
        for offset in range(entry["range"]):
            key = (entry["host_port"] + offset, entry["protocol"])
            for host_ip in seen.get(key, ()):
                if _meet(host_ip, entry["host_ip"]):
                    raise BadPort(describe(entry), f"port {key[0]}/{key[1]} is published twice")
            seen.setdefault(key, []).append(entry["host_ip"])


_ALL = ("", "0.0.0.0", "::")


def _meet(one, other):
    if one == other or "" in (one, other):
        return True
    same_family = is_ipv6(one) == is_ipv6(other)
    return same_family and (one in _ALL or other in _ALL)


def describe(entry):
    """A mapping as one would type it after -p."""

    def ports(first):
        return f"{first}-{first + entry['range'] - 1}" if entry["range"] > 1 else str(first)

    ip = entry["host_ip"]
    ip = f"[{ip}]:" if is_ipv6(ip) else f"{ip}:" if ip else ""
    host = f"{ports(entry['host_port'])}:" if entry["host_port"] else ":" if ip else ""
    tail = "" if entry["protocol"] == "tcp" else f"/{entry['protocol']}"
    return f"{ip}{host}{ports(entry['container_port'])}{tail}"
