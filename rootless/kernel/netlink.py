"""Raw rtnetlink(7): the few messages that a container's start and its network need.

pyroute2 costs 111 ms to import and knows everything; this knows links, addresses and
routes, and costs less than one.  A ``Route`` is bound for its lifetime to the network
namespace in which it was made, also when its descriptor is used from another process.
"""

import _socket
import os
import struct

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR = 0x10

IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP = 0x1, 0x8, 0x10000
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_TXQLEN = 1, 3, 4, 5, 13
IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 10, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE = 1, 4, 5, 6, 7, 15
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
LOOPBACK_INDEX = 1
_NETFILTER, _PATIENCE = 12, 8  # NETLINK_NETFILTER; seconds

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change mask
_ADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # family, dst, src, tos, table, protocol, scope, type, flags
_ATTR = struct.Struct("=HH")
_WORD = struct.Struct("=I")


def pack_ip(text):
    """(family, address bytes) of an IPv4 or IPv6 address in text; ValueError if it is none."""
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    try:
        return family, _socket.inet_pton(family, text)
    except (OSError, UnicodeError):
        raise ValueError(f"{text!r} is not an IP address") from None


def unpack_ip(data):
    """The text of an address of 4 or 16 bytes."""
    return _socket.inet_ntop(_socket.AF_INET if len(data) == 4 else _socket.AF_INET6, data)


def attribute(kind, data):
    """One attribute, padded to four bytes (netlink(7), struct nlattr)."""
    if isinstance(data, int):
        data = _WORD.pack(data)
    size = _ATTR.size + len(data)
    return _ATTR.pack(size, kind) + data + b"\0" * (-size % 4)


def attributes(data, offset):
    """The attributes of a message from ``offset`` on, as {kind: bytes}."""
    found = {}
    while offset + _ATTR.size <= len(data):
        size, kind = _ATTR.unpack_from(data, offset)
        if size < _ATTR.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTR.size : offset + size]
        offset += (size + 3) & ~3
    return found


def _messages(data):
    offset = 0
    while offset + _HEADER.size <= len(data):
        size, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size:
            return
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + size]
        offset += (size + 3) & ~3


class Route:
    """An rtnetlink socket of the network namespace that this process is in now; or, with a
    ``descriptor`` (which stays the caller's), one that was made in another."""

    def __init__(self, descriptor=None):
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        if descriptor is None:
            self._socket = _socket.socket(_socket.AF_NETLINK, kind, 0)
            self._socket.bind((0, 0))
        else:
            copy = os.dup(descriptor)
            self._socket = _socket.socket(_socket.AF_NETLINK, kind, 0, copy)
        self._sequence = 0

    def close(self):
        """Close the socket."""
        self._socket.close()

    def detach(self):
        """The descriptor, which is the caller's from now on."""
        return self._socket.detach()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        """The descriptor of the socket."""
        return self._socket.fileno()

    def _send(self, kind, flags, body):
        self._sequence += 1
        size = _HEADER.size + len(body)
        header = _HEADER.pack(size, kind, flags | NLM_F_REQUEST, self._sequence, 0)
        # With an address the kernel asks for the rights of the sender only, not of whoever
        # opened the socket in another user namespace (netlink_ns_capable).
        self._socket.sendto(header + body, (0, 0))

    def _answers(self, what):
        while True:
            for kind, flags, sequence, body in _messages(self._socket.recv(1 << 18)):
                if sequence != self._sequence:
                    continue
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, f"{what}: {os.strerror(number)}")
                    return
                if kind == _NLMSG_DONE:
                    return
                if flags & _NLM_F_DUMP_INTR:
                    raise InterruptedError(what)
                yield body

    def change(self, kind, body, flags=0, what="netlink"):
        """Send one changing message and wait for its acknowledgement; OSError names ``what``."""
        self._send(kind, flags | NLM_F_ACK, body)
        for _ in self._answers(what):
            pass

    def dump(self, kind, body):
        """All objects of one kind, as a list of message bodies.

        The kernel says when a table changed under the dump: it is then read again.
        """
        for _ in range(10):
            self._send(kind, NLM_F_DUMP, body)
            try:
                return list(self._answers("netlink dump"))
            except InterruptedError:
                # The rest of the broken dump bears the old sequence number and is skipped.
                continue
        raise OSError(4, "netlink dump: the table does not stop changing")

    # --- links ---------------------------------------------------------------------------

    def links(self):
        """The interfaces: a list of dicts of index, name, flags, mtu, address (MAC) and
        ``pair``: whether it is one of two ends, as of veth."""
        found = []
        for body in self.dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
            _, _, index, flags, _ = _LINK.unpack_from(body)
            attrs = attributes(body, _LINK.size)
            found.append(
                {
                    "index": index,
                    "name": attrs[IFLA_IFNAME].rstrip(b"\0").decode("utf-8", "replace"),
                    "flags": flags,
                    "mtu": _WORD.unpack(attrs[IFLA_MTU])[0] if IFLA_MTU in attrs else 0,
                    "address": ":".join(f"{byte:02x}" for byte in attrs.get(IFLA_ADDRESS, b"")),
                    "pair": IFLA_LINK in attrs,
                }
            )
        return found

    def index(self, name):
        """The index of the interface ``name``; OSError (ENODEV) if there is none."""
        wanted = attribute(IFLA_IFNAME, name.encode() + b"\0")
        # An acknowledgement ends the answers, or an error instead of one.
        self._send(RTM_GETLINK, NLM_F_ACK, _LINK.pack(0, 0, 0, 0, 0) + wanted)
        (body,) = list(self._answers(f"network interface {name}"))
        return _LINK.unpack_from(body)[2]

    def add_bridge(self, name, *, mac, mtu):
        """Make a bridge that is up; its index.

        It is given a ``mac`` because it would else have the lowest of its ports, which change.
        """
        body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        body += attribute(IFLA_MTU, mtu) + attribute(IFLA_ADDRESS, _mac_bytes(mac))
        body += attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge\0"))
        self.change(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL, f"bridge {name}")
        return self.index(name)

    def add_veth(self, name, *, bridge, mtu, peer, peer_mac, namespace):
        """Make a pair of interfaces: ``name`` here, up, a port of the bridge with the index
        ``bridge``; ``peer``, down, in the network namespace of the descriptor ``namespace``.

        The index of ours.  OSError EEXIST where the namespace has a ``peer`` already.
        """
        far = _LINK.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, peer.encode() + b"\0")
        far += attribute(IFLA_MTU, mtu) + attribute(IFLA_ADDRESS, _mac_bytes(peer_mac))
        far += attribute(IFLA_NET_NS_FD, namespace)
        info = attribute(IFLA_INFO_KIND, b"veth\0")
        info += attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, far))
        body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        body += attribute(IFLA_MTU, mtu) + attribute(IFLA_MASTER, bridge)
        body += attribute(IFLA_LINKINFO, info)
        self.change(RTM_NEWLINK, body, NLM_F_CREATE | NLM_F_EXCL, f"interface {peer}")
        return self.index(name)

    def set_link(self, index, *, up=None, mtu=None, name=None, mac=None, queue=None):
        """Change an interface: up or down, MTU in bytes, name, MAC text, queue in packets.

        A name can only be changed while the interface is down.
        """
        attrs = b""
        if name is not None:
            attrs += attribute(IFLA_IFNAME, name.encode() + b"\0")
        if mtu is not None:
            attrs += attribute(IFLA_MTU, mtu)
        if mac is not None:
            attrs += attribute(IFLA_ADDRESS, _mac_bytes(mac))
        if queue is not None:
            attrs += attribute(IFLA_TXQLEN, queue)
        flags = IFF_UP if up else 0
        mask = 0 if up is None else IFF_UP
        body = _LINK.pack(0, 0, index, flags, mask) + attrs
        self.change(RTM_NEWLINK, body, what=f"network interface {name or index}")

    def delete_link(self, index):
        """Remove an interface."""
        self.change(RTM_DELLINK, _LINK.pack(0, 0, index, 0, 0), what=f"interface {index}")

    # --- addresses -----------------------------------------------------------------------

    def addresses(self):
        """The addresses: a list of dicts of index, address, prefix (bits), scope and family."""
        found = []
        for body in self.dump(RTM_GETADDR, _ADDR.pack(0, 0, 0, 0, 0)):
            family, prefix, _, scope, index = _ADDR.unpack_from(body)
            attrs = attributes(body, _ADDR.size)
            data = attrs.get(IFA_LOCAL) or attrs.get(IFA_ADDRESS)
            if family in (_socket.AF_INET, _socket.AF_INET6) and data:
                found.append(
                    {
                        "index": index,
                        "address": unpack_ip(data),
                        "prefix": prefix,
                        "scope": scope,
                        "family": 4 if len(data) == 4 else 6,
                    }
                )
        return found

    def add_address(self, index, address, prefix):
        """Give an interface an address; IPv6 ones are usable at once (no duplicate check)."""
        family, data = pack_ip(address)
        attrs = attribute(IFA_LOCAL, data) + attribute(IFA_ADDRESS, data)
        flags = IFA_F_NODAD if family == _socket.AF_INET6 else 0
        body = _ADDR.pack(family, prefix, flags, SCOPE_UNIVERSE, index) + attrs
        self.change(RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_EXCL, f"address {address}")

    # --- routes --------------------------------------------------------------------------

    def routes(self):
        """The unicast routes of the main table, IPv4 and IPv6.

        A list of dicts: family (4 or 6), destination (address or None for the default
        route), prefix (bits), gateway (or None), index (or None), metric, source (or None).
        """
        found = []
        for family in (_socket.AF_INET, _socket.AF_INET6):
            for body in self.dump(RTM_GETROUTE, _ROUTE.pack(family, *(0,) * 8)):
                prefix, table, kind = body[1], body[4], body[7]
                attrs = attributes(body, _ROUTE.size)
                if RTA_TABLE in attrs:
                    table = _WORD.unpack(attrs[RTA_TABLE])[0]
                if table != RT_TABLE_MAIN or kind != RTN_UNICAST:
                    continue
                found.append(_route(family, prefix, attrs))
        return found

    def add_route(self, destination, prefix, *, gateway=None, index=None, source=None, table=None,
                  metric=None):  # fmt: skip
        """Add a route; ``destination`` None and ``prefix`` 0 for the default one."""
        known = destination or gateway or source
        family, _ = pack_ip(known)
        attrs = b""
        if destination is not None:
            attrs += attribute(RTA_DST, pack_ip(destination)[1])
        if gateway is not None:
            attrs += attribute(RTA_GATEWAY, pack_ip(gateway)[1])
        if source is not None:
            attrs += attribute(RTA_PREFSRC, pack_ip(source)[1])
        if index is not None:
            attrs += attribute(RTA_OIF, index)
        if metric is not None:
            attrs += attribute(RTA_PRIORITY, metric)
        scope = SCOPE_UNIVERSE if gateway or family == _socket.AF_INET6 else SCOPE_LINK
        numbers = (family, prefix, 0, 0, table or RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST)
        what = f"route to {destination or 'default'}"
        body = _ROUTE.pack(*numbers, 0) + attrs
        self.change(RTM_NEWROUTE, body, NLM_F_CREATE | NLM_F_EXCL, what)


def _mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def _route(family, prefix, attrs):
    def address(kind):
        return unpack_ip(attrs[kind]) if kind in attrs else None

    def number(kind):
        return _WORD.unpack(attrs[kind])[0] if kind in attrs else None

    return {
        "family": 4 if family == _socket.AF_INET else 6,
        "destination": address(RTA_DST),
        "prefix": prefix,
        "gateway": address(RTA_GATEWAY),
        "index": number(RTA_OIF),
        "metric": number(RTA_PRIORITY) or 0,
        "source": address(RTA_PREFSRC),
    }


def send_batch(descriptor, batch):
    """Send the messages of one nf_tables transaction through a netlink socket and wait until
    it has taken effect; OSError names the number of the message that the kernel refused."""
    channel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, _NETFILTER, os.dup(descriptor))
    try:
        channel.settimeout(_PATIENCE)
        wanted = sum(1 for _, flags, _, _ in _messages(batch) if flags & NLM_F_ACK)
        channel.sendto(batch, (0, 0))
        while wanted > 0:
            for kind, _, sequence, body in _messages(channel.recv(1 << 16)):
                number = -struct.unpack_from("=i", body)[0] if kind == _NLMSG_ERROR else 0
                if number:
                    raise OSError(number, f"nf_tables message {sequence}: {os.strerror(number)}")
                wanted -= kind == _NLMSG_ERROR
    finally:
        channel.close()
