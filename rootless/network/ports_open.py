"""Opening published ports on the host, before the container starts.

rl binds them itself, so that a port that is taken, too low or on a foreign address is an
error at once, and hands the listening sockets to helpers/forward (network/forward.py).
"""

import _socket
import os

from rootless.errors import RlError
from rootless.model.network import is_ipv6
from rootless.network.ports import BadPort, describe

LOW_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_LISTEN, _UNCONNECTED = "0A", "07"  # states in /proc/net/tcp and udp, see proc_net_tcp.rst
_EACCES, _EADDRINUSE, _EADDRNOTAVAIL, _EAFNOSUPPORT = 13, 98, 99, 97
_TRIES = 20
_BACKLOG = 4096  # the kernel's own limit is net.core.somaxconn
_FEW = 200  # sockets for which every limit of open files is enough


class PortInUse(RlError):
    """port {0} of the host is in use by {1}"""

    hint = "publish another one, or let rl choose: -p {2}"


class PortTooLow(RlError):
    """port {0} of the host is below {1}, the lowest that ordinary users may open"""

    hint = "publish a port from {1} on, or, as root: sysctl net.ipv4.ip_unprivileged_port_start={0}"


class NoSuchAddress(RlError):
    """-p: {0} is not an address of this host"""

    hint = "leave the address out to publish on all of them"


class TooManyPorts(RlError):
    """{0} published ports need as many open files, and this user may have {1}"""

    hint = "publish fewer, or raise the limit: ulimit -Hn, or LimitNOFILE= of a service"


class Opened:
    """Published ports that are open on the host.

    ``mappings`` are those of ``ports.parse`` with every host port chosen; ``sockets`` a list
    of (descriptor, port of the container, protocol).
    """

    def __init__(self):
        self.mappings = []
        self.sockets = []

    def close(self):
        """Close the sockets; whoever has inherited them keeps them."""
        for descriptor, _, _ in self.sockets:
            os.close(descriptor)
        self.sockets = []


def open_all(mappings, who=None):
    """Open every port of the mappings; an Opened.

    ``who(port, protocol)`` names the holder of a port if the caller knows better than the
    kernel's tables (str or None).  Raises PortInUse, PortTooLow, NoSuchAddress, TooManyPorts
    or BadPort; nothing stays open then.
    """
    _make_room(sum(entry["range"] for entry in mappings))
    opened = Opened()
    try:
        for entry in mappings:
            opened.mappings.append(_open(entry, opened.sockets, who))
    except BaseException:
        opened.close()
        raise
    return opened


def _make_room(count):
    if count <= _FEW:
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count + _FEW > hard:
        raise TooManyPorts(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + _FEW)), hard))


def _open(entry, sockets, who):
    """Open one mapping's ports, adding to ``sockets``; the mapping with its host port."""
    tries = 1 if entry["host_port"] else _TRIES
    for _ in range(tries):
        first, found = entry["host_port"], []
        for offset in range(entry["range"]):
            wanted = first + offset if first else 0
            number, descriptor, port = _listen(entry, wanted) if wanted < 65536 else (1, -1, 0)
            if number:
                break
            first = first or port
            found.append((descriptor, entry["container_port"] + offset, entry["protocol"]))
        else:
            sockets += found
            return {**entry, "host_port": first}
        for descriptor, _, _ in found:
            os.close(descriptor)
        if entry["host_port"] or not found:
            _explain(entry, wanted, number, who)
    raise BadPort(describe(entry), f"no {entry['range']} free ports in a row on the host")


def _listen(entry, port):
    """(errno or 0, descriptor, port) of a socket that listens on the mapping's address.

    Without an address it is one socket for IPv4 and IPv6; or IPv4, if that is all there is.
    """
    result = _EAFNOSUPPORT, -1, port
    if entry["host_ip"]:
        return _bind(entry["host_ip"], port, entry["protocol"])
    for text in ("::", "0.0.0.0"):
        result = _bind(text, port, entry["protocol"], both=True)
        if result[0] not in (_EAFNOSUPPORT, _EADDRNOTAVAIL):
            break
    return result


def _bind(text, port, protocol, both=False):
    family = _socket.AF_INET6 if is_ipv6(text) else _socket.AF_INET
    try:
        bound = _socket.socket(family, _KINDS[protocol] | _socket.SOCK_CLOEXEC)
    except OSError as error:
        return error.errno, -1, port
    try:
        if protocol == "tcp":  # connections that are only waiting for their end don't count
            bound.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            bound.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0 if both else 1)
        bound.bind((text, port))
        if protocol == "tcp":
            bound.listen(_BACKLOG)
        port = bound.getsockname()[1]
        return 0, bound.detach(), port
    except OSError as error:
        bound.close()
        return error.errno, -1, port


# --- why it can't be opened ------------------------------------------------------------------


def _explain(entry, port, number, who):
    """Raise the error for a port that could not be opened."""
    if number == _EADDRINUSE:
        named = who(port, entry["protocol"]) if who else None
        raise PortInUse(
            f"{port}/{entry['protocol']}",
            named or holder(port, entry["protocol"]),
            entry["container_port"],
        )
    if number == _EACCES:
        raise PortTooLow(port, lowest_port())
    if number in (_EADDRNOTAVAIL, _EAFNOSUPPORT):
        raise NoSuchAddress(entry["host_ip"] or "IPv6")
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
