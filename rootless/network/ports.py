"""Published ports: what -p and -P ask for, and whether the host can give it.

podman-run(1): ``[[ip:][hostPort]:]containerPort[/protocol]``, each port a number or a range.
"""

import _socket
import os

from rootless.errors import RlError
from rootless.model.network import address, is_ipv6

LOW_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_LISTEN, _UNCONNECTED = "0A", "07"  # states in /proc/net/tcp and udp, see proc_net_tcp.rst
_EACCES, _EADDRINUSE, _EADDRNOTAVAIL, _EAFNOSUPPORT = 13, 98, 99, 97
_TRIES = 20


class BadPort(RlError):
    """-p {0}: {1}"""

    hint = "[[ADDRESS:][HOST PORT]:]CONTAINER PORT[/tcp|udp], such as 8080:80 or 127.0.0.1::80"


class PortInUse(RlError):
    """port {0} of the host is in use by {1}"""

    hint = "publish another one, or let rl choose: -p {2}"


class PortTooLow(RlError):
    """port {0} of the host is below {1}, the lowest that ordinary users may open"""

    hint = "publish a port from {1} on, or, as root: sysctl net.ipv4.ip_unprivileged_port_start={0}"


class NoSuchAddress(RlError):
    """-p: {0} is not an address of this host"""

    hint = "leave the address out to publish on all of them"


# --- what the options mean -----------------------------------------------------------------


def parse(values):
    """The values of -p as a list of mappings, sorted and joined; BadPort.

    A mapping is {"host_ip", "host_port", "container_port", "protocol", "range"}, as in
    podman's records: ``host_ip`` "" for all addresses, ``host_port`` 0 for one that
    ``assign`` is to choose, ``range`` how many ports in a row.
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


# --- whether the host can give it ------------------------------------------------------------


def assign(mappings):
    """The mappings with every host port chosen and found to be free.

    Ports are tried by binding them for a moment; the helper takes them when the container
    starts.  Raises PortInUse, PortTooLow or NoSuchAddress before anything has started.
    """
    return [_assign(entry) for entry in mappings]


def _assign(entry):
    if entry["host_port"]:
        for offset in range(entry["range"]):
            number = _bind_all(entry, entry["host_port"] + offset)
            if number:
                _explain(entry, entry["host_port"] + offset, number)
        return entry
    for _ in range(_TRIES):
        first = _any_port(entry)
        last = first + entry["range"] - 1
        if last < 65536 and not any(_bind_all(entry, n) for n in range(first, last + 1)):
            return {**entry, "host_port": first}
    raise BadPort(describe(entry), f"no {entry['range']} free ports in a row on the host")


def _addresses(host_ip):
    return ("0.0.0.0", "::") if host_ip == "" else (host_ip,)


def _bind_all(entry, port):
    """0 if the port is free on all addresses of the mapping, else the errno."""
    for text in _addresses(entry["host_ip"]):
        number = _bind(text, port, entry["protocol"])[0]
        if number and not (number == _EAFNOSUPPORT and entry["host_ip"] == ""):
            return number
    return 0


def _bind(text, port, protocol):
    """(errno or 0, the port) after binding and letting go."""
    family = _socket.AF_INET6 if is_ipv6(text) else _socket.AF_INET
    try:
        bound = _socket.socket(family, _KINDS[protocol] | _socket.SOCK_CLOEXEC)
    except OSError as error:
        return error.errno, port
    try:
        if protocol == "tcp":  # connections that are only waiting for their end don't count
            bound.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            bound.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        bound.bind((text, port))
        return 0, bound.getsockname()[1]
    except OSError as error:
        return error.errno, port
    finally:
        bound.close()


def _any_port(entry):
    number, port = _bind(_addresses(entry["host_ip"])[0], 0, entry["protocol"])
    if number:
        _explain(entry, 0, number)
    return port


def _explain(entry, port, number):
    if number == _EADDRINUSE:
        who = holder(port, entry["protocol"])
        raise PortInUse(f"{port}/{entry['protocol']}", who, entry["container_port"])
    if number == _EACCES:
        raise PortTooLow(port, lowest_port())
    if number in (_EADDRNOTAVAIL, _EAFNOSUPPORT):
        raise NoSuchAddress(entry["host_ip"])
    raise BadPort(describe(entry), os.strerror(number))


def lowest_port():
    """The first port that doesn't need privileges (ip(7), ip_unprivileged_port_start)."""
    try:
        with open(LOW_PORTS, "rb", 0) as file:
            return int(file.read(16))
    except (OSError, ValueError):
        return 1024


def holder(port, protocol):
    """Who has a port of the host open, in words: a program and its pid, or a user.

    The kernel's tables name the socket; only processes of the same user can be searched
    for it.
    """
    found = _sockets(port, protocol)
    for pid in sorted((name for name in os.listdir("/proc") if name.isdecimal()), key=int):
        if _has_socket(pid, found):
            return f"{_command(pid)} (pid {pid})"
    for uid in found.values():
        return f"a program of {_user(uid)}"
    return "another program"


def _sockets(port, protocol):
    """{inode: uid} of the sockets bound to the port."""
    found = {}
    state = _LISTEN if protocol == "tcp" else _UNCONNECTED
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/net/{table}", "rb") as file:
                lines = file.read().decode("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9 and words[3] == state:
                if int(words[1].rpartition(":")[2], 16) == port:
                    found[int(words[9])] = int(words[7])
    return found


def _has_socket(pid, inodes):
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:[") and int(target[8:-1]) in inodes:
                return True
    except OSError:
        pass  # it ended, or isn't ours to look into
    return False


def _command(pid):
    try:
        with open(f"/proc/{pid}/comm", "rb", 0) as file:
            text = file.read(64).decode("utf-8", "replace").strip()
    except OSError:
        return "a program"
    return "".join(c if c.isprintable() else "?" for c in text)


def _user(uid):
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
