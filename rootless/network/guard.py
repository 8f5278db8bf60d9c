"""The default network of containers whose root may send packets of its own making.

A helper opens the connections that packets on its tap device ask for, in the host's network
namespace: packets to 127.0.0.1 lead to the host's loopback.  The kernel sends none there,
but with CAP_NET_ADMIN or CAP_NET_RAW one can.  Such a container doesn't get the tap device
but one end of a pair; the device is in a namespace between, out of the container's reach,
where filters pass on what may leave:

    container            between                           host
    eth0 ─────────────── guard ── filters ── eth0 (tap) ── helper

The namespace has no process of its own: it lives as long as the helper keeps its device.
"""

import os

from rootless.errors import RlError
from rootless.kernel import netlink, traffic, userns
from rootless.network import start as helpers
from rootless.network.plan import NetworkError

CAPABILITIES = ("CAP_NET_ADMIN", "CAP_NET_RAW")
_NEAR, _PREFIX6 = "guard", 64
_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD
_TO4, _TO6 = 16, 24  # where the destination is in an IP header
EVERYTHING = [traffic.MATCH]


def wanted(network, capabilities):
    """Whether a container with these ``capabilities`` (names) needs the guard on ``network``
    (of model.network.parse): not if its user asked for the host's loopback, or gave pasta
    options that make it listen in the namespace where it is."""
    if not any(name in capabilities for name in CAPABILITIES):
        return False
    options = network.get("options") or ()
    if network["mode"] == "slirp4netns":
        return not options or not options.get("allow_host_loopback")
    return network["mode"] in ("private", "pasta") and not options


def permitted():
    """A program that matches what may leave a container: ARP and IP, but nothing to 127/8 or
    0/8, to ::/64, where ::1 and the forms of IPv4 addresses are: "this host" (RFC 1122, 4291)."""
    return [
        (traffic.LOAD_HALF, 0, 0, traffic.PROTOCOL),
        (traffic.JUMP_EQUAL, 9, 0, _ARP),
        (traffic.JUMP_EQUAL, 0, 3, _IPV4),
        (traffic.LOAD_BYTE, 0, 0, traffic.NETWORK + _TO4),
        (traffic.JUMP_EQUAL, 7, 0, 127),
        (traffic.JUMP_EQUAL, 6, 5, 0),
        (traffic.JUMP_EQUAL, 0, 5, _IPV6),
        (traffic.LOAD_WORD, 0, 0, traffic.NETWORK + _TO6),
        (traffic.JUMP_EQUAL, 0, 2, 0),
        (traffic.LOAD_WORD, 0, 0, traffic.NETWORK + _TO6 + 4),
        (traffic.JUMP_EQUAL, 1, 0, 0),
        traffic.MATCH,
        traffic.PASS,
    ]


def start(plan, *, pid, route, run_dir):
    """As start.start, with the helper in a namespace between.

    ``route`` is a descriptor of an rtnetlink socket in the network namespace of ``pid``.
    """
    entered, ready = os.pipe()
    between = userns.start_in(userns.single_ids(), _hold, ready)
    try:
        os.close(ready)
        ready = None
        if not os.read(entered, 1):
            raise NetworkError("no network namespace can be made")
        found = helpers.start(plan, pid=between.pid, run_dir=run_dir)
        try:
            rung = next(one for one in plan["rungs"] if one["name"] == found["rung"])
            _connect(plan, rung, pid, between.pid, route)
        except OSError as error:
            helpers.end({found["pid"]})
            raise NetworkError(f"the guard before {found['rung']}: {error.args[-1]}") from None
        return found
    finally:
        between.kill()
        for descriptor in (entered, ready):
            if descriptor is not None:
                os.close(descriptor)


def _hold(ready):
    """Make the network namespace and stay until killed: nobody writes to the pipe."""
    userns.unshare(userns.CLONE_NEWNET)
    never, _ = os.pipe()
    os.write(ready, b"n")
    os.close(ready)
    os.read(never, 1)


def _connect(plan, rung, pid, between, route):
    flags = os.O_RDONLY | os.O_CLOEXEC
    opened = [os.open(f"/proc/{between}/ns/{kind}", flags) for kind in ("user", "net")]
    opened.append(os.open(f"/proc/{pid}/ns/net", flags))
    try:
        opened.append(userns.open_inside(*opened[:2], _route_socket))
        name = plan["interface"]
        with netlink.Route(opened[3]) as outer:
            device = next(link for link in outer.links() if link["name"] == name)
            # The device's own address: the helper knows it as its guest's.
            near = outer.add_veth(
                _NEAR,
                bridge=0,
                mtu=plan["mtu"],
                peer=name,
                peer_mac=plan["mac"] or device["address"],
                namespace=opened[2],
            )
            _lead(outer, near, permitted(), device["index"])
            _lead(outer, device["index"], EVERYTHING, near)
        with netlink.Route(route) as inner:
            _configure(inner, plan, rung)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _route_socket():
    return netlink.Route().detach()


def _lead(route, index, program, target):
    traffic.open_filters(route, index)
    traffic.redirect(route, index, traffic.INGRESS, 1, program, target)
    traffic.drop(route, index, traffic.INGRESS, 2)


def _configure(inner, plan, rung):
    """What the helper has told its own device; slirp4netns's IPv6 comes by itself."""
    index = inner.index(plan["interface"])
    inner.set_link(index, up=True)
    families = set()
    for address in rung["addresses"]:
        families.add(":" in address)
        prefix = _PREFIX6 if ":" in address else plan["prefix"]
        inner.add_address(index, address, prefix)
    for gateway in rung["gateways"]:
        if (":" in gateway) in families:
            inner.add_route(None, 0, gateway=gateway, index=index)


# --- whether it works here -----------------------------------------------------------------


def ladder():
    """The rungs: a list of {"rung", "ok", "reason"}; cold, the engine keeps the result."""
    try:
        problem = userns.call_in(userns.single_ids(), _try)
    except (RlError, OSError) as error:
        problem = error.message if isinstance(error, RlError) else error.strerror
    return [
        {"rung": "filters", "ok": not problem, "reason": problem or ""},
        {"rung": "none", "ok": True, "reason": "containers without it"},
    ]


def _try():
    userns.unshare(userns.CLONE_NEWNET)
    here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.Route() as route:
            mac = "02:00:00:00:00:01"
            near = route.add_veth(
                _NEAR, bridge=0, mtu=1500, peer="other", peer_mac=mac, namespace=here
            )
            _lead(route, near, permitted(), route.index("other"))
    except OSError as error:
        return str(error.args[-1])
    return ""
