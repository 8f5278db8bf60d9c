"""Making networks in the holder's namespace, and putting containers into them.

All is done from outside, through netlink sockets that were made inside: the caller owns the
user namespaces of the holder and of the containers.  Nothing here imports pyroute2; the rules
come as the bytes that rules.py made.
"""

import os

from rootless.errors import RlError
from rootless.kernel import netlink
from rootless.model.network import is_ipv6, subnet
from rootless.network.bridge import leases
from rootless.network.bridge.definition import mtu
from rootless.network.bridge.holder import Gone

_EEXIST, _EBUSY = 17, 16
_METRIC = 100


class NoNetfilter(RlError):
    """user networks need nf_tables, which this kernel does not offer: {0}"""

    hint = "ask the administrator for: modprobe nf_tables; or use --network private"


class NoBridge(RlError):
    """the bridge of the network {0} cannot be made: {1}"""

    hint = "ask the administrator for: modprobe -a bridge veth; or use --network private"


class NoInterface(RlError):
    """the container cannot be put into the network {0}: {1}"""

    hint = "rl network reload repairs the networks of running containers"


class InterfaceTaken(RlError):
    """the container has an interface {0} already"""

    hint = "choose another name: --network {1}:interface_name=NAME"


def filter_rules(holder, batch):
    """Send one batch of rules; NoNetfilter."""
    if holder.filter is None:
        raise NoNetfilter("the socket of netfilter is missing")
    try:
        netlink.send_batch(holder.filter, batch)
    except OSError as error:
        raise NoNetfilter(error.strerror) from None


def make_network(holder, definition, rules):
    """The bridge of a network, with its addresses and rules, and its names to be served."""
    name, interface = definition["name"], definition["network_interface"]
    with netlink.Route(holder.route) as route:
        try:
            index = _bridge(route, interface, definition)
            for entry in definition["subnets"]:
                prefix = subnet(entry["subnet"])[1]
                route.add_address(index, entry["gateway"], prefix)
        except OSError as error:
            raise NoBridge(name, error.strerror) from None
    holder.ask(b"Y", f"path=ipv6/conf/{interface}/accept_ra", "value=0")
    filter_rules(holder, rules)
    fields = [f"name={name}", f"link={index}", f"dns={int(definition['dns_enabled'])}",
              f"internal={int(definition['internal'])}"]
    fields += [f"server={text}" for text in definition["network_dns_servers"]]
    holder.ask(b"N", *fields)


def _bridge(route, interface, definition):
    for _ in range(2):
        try:
            return route.add_bridge(interface, mac=leases.new_mac(), mtu=mtu(definition))
        except OSError as error:
            if error.errno != _EEXIST:
                raise
            route.delete_link(route.index(interface))  # somebody was killed while making it
    raise OSError(_EEXIST, os.strerror(_EEXIST))


def remove_network(holder, definition, rules):
    """Take a network away that nobody is in; ``rules``: leave's."""
    holder.ask(b"X", f"name={definition['name']}")
    filter_rules(holder, rules)
    with netlink.Route(holder.route) as route:
        try:
            route.delete_link(route.index(definition["network_interface"]))
        except OSError:
            pass  # it was gone


def add_member(holder, definition, lease, container_id, *, namespace, route, pidfd, first):
    """Put a container into a network.

    ``lease`` is of the engine's file: interface, mac, addresses, names, servers; ``namespace``
    a descriptor of its network namespace, ``route`` one of an rtnetlink socket in there,
    ``pidfd`` of its pid 1; ``first``: whether the default route may lead this way.
    """
    name = definition["name"]
    pair = f"veth{os.urandom(4).hex()}"
    try:
        with netlink.Route(holder.route) as outer:
            bridge = outer.index(definition["network_interface"])
            link = outer.add_veth(pair, bridge=bridge, mtu=mtu(definition),
                                  peer=lease["interface"], peer_mac=lease["mac"],
                                  namespace=namespace)
    except OSError as error:
        if error.errno in (_EEXIST, _EBUSY):
            raise InterfaceTaken(lease["interface"], name) from None
        raise NoInterface(name, error.strerror) from None
    fields = [*_facts(name, lease, container_id), f"link={link}"]
    try:
        holder.ask(b"M", *fields, fds=() if pidfd is None else (pidfd,))
        with netlink.Route(route) as inner:
            _configure(inner, definition, lease, first)
    except OSError as error:
        _undo(holder, link)
        raise NoInterface(name, error.strerror) from None
    except RlError:
        _undo(holder, link)
        raise


def _facts(name, lease, container_id):
    fields = [f"id={container_id}", f"network={name}"]
    fields += [f"ip={entry['address']}" for entry in lease["addresses"]]
    fields += [f"alias={text}" for text in lease["names"]]
    return fields + [f"server={text}" for text in lease["servers"]]


def tell_names(holder, name, lease, container_id):
    """Let a member of the network ``name`` be found under the names of its changed lease."""
    holder.ask(b"M", *_facts(name, lease, container_id))


def _undo(holder, link):
    with netlink.Route(holder.route) as outer:
        try:
            outer.delete_link(link)
        except OSError:
            pass


def _configure(inner, definition, lease, first):
    """Addresses and routes, inside."""
    index = inner.index(lease["interface"])
    inner.set_link(index, up=True)
    for entry in lease["addresses"]:
        inner.add_address(index, entry["address"], entry["prefix"])
    metric = int(definition["options"].get("metric") or _METRIC + lease.get("number", 0))
    closed = definition["options"].get("no_default_route") in ("1", "true")
    if first and not definition["internal"] and not closed:
        for entry in lease["addresses"]:
            inner.add_route(None, 0, gateway=entry["gateway"], index=index, metric=metric)
    for route in definition["routes"]:
        base, prefix = subnet(route["destination"])
        inner.add_route(base, prefix, gateway=route["gateway"], index=index,
                        metric=route.get("metric", metric))


def remove_member(holder, definition, container_id):
    """Take a running container out of a network."""
    holder.ask(b"D", f"id={container_id}", f"network={definition['name']}")


def connect_outside(holder, plan, run_dir, start):
    """Have the holder run the helper of ``plan`` (network.plan.make_plan): what
    network.start.start, which is ``start``, returned."""
    try:
        namespace = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Gone() from None
    try:
        return start(plan, pid=holder.pid, run_dir=run_dir, netns_fd=namespace, runner=holder)
    finally:
        os.close(namespace)


def gateways(definition, ipv6=True):
    """The addresses at which a network's names are served, as list of str."""
    found = [entry["gateway"] for entry in definition["subnets"]]
    return [text for text in found if ipv6 or not is_ipv6(text)]
