"""Everything about a container's network that is known before it starts.

For ``--network none`` and ``host`` only the two text makers are loaded.
"""

from rootless.model.network import OWN_MODES
from rootless.network import hosts, resolv

_LIMIT = 1 << 20


def prepare(network, dns, *, programs=None, order=None, names=(), added=(), mac=None,
            base_hosts=None, mtu=None):
    """What the engine needs to give a container the network it asked for, as a dict.

    ``network`` and ``dns`` are of ``model.network.parse`` and ``parse_dns``, ``added`` of
    ``parse_hosts``; ``programs`` maps plan.PROGRAMS to absolute paths or None; ``order`` is a
    function that returns the helpers that work here (``probe.usable``), best first, called
    only if it matters; ``names`` are the container's host name and name; ``base_hosts`` is
    text that takes the place of the host's /etc/hosts (``--hosts-file``); ``mtu`` the size of
    the largest packet if that isn't plan.MTU.

    ``plan``: for start.start, or None; ``resolv`` and ``hosts``: texts of the two files, None
    where the image's own stays (``resolv``) or another container's is used (both);
    ``warning``: a line for the user, or None.  Raises NetworkError and NoHostAddress.
    """
    mode = network["mode"]
    if mode == "container":
        return {"plan": None, "resolv": None, "hosts": None, "warning": None}
    host_text = read(resolv.HOST_FILE)
    upstream = read(resolv.UPSTREAM_FILE)
    plan = None
    if mode in OWN_MODES:
        plan = _plan(network, dns, host_text, upstream, programs, order, mac, mtu)
    text = resolv.make(
        host_text,
        dns,
        shared=mode == "host",
        upstream=upstream,
        forwarder=plan["forwarder"] if plan else None,
        ipv6=plan["ipv6"] if plan else True,
    )
    host = plan["host"] if plan else "127.0.0.1" if mode == "host" else None
    base = read(hosts.HOST_FILE) if base_hosts is None else base_hosts
    addresses = plan["addresses"] if plan else ()
    made = hosts.make(base, names=names, addresses=addresses, host=host, added=added)
    warning = plan["warning"] if plan else None
    return {"plan": plan, "resolv": text, "hosts": made, "warning": warning}


def _plan(network, dns, host_text, upstream, programs, order, mac, mtu):
    from rootless.network import host as host_network
    from rootless.network import plan as planning

    facts = host_network.look()
    servers = dns["servers"] or resolv.reachable(resolv.parse(host_text)[0])
    return planning.make_plan(
        network,
        programs,
        order=order() if order and network["mode"] == "private" else (),
        facts=facts,
        mac=mac,
        mtu=mtu,
        resolvers=servers,
        forward=resolv.needs_forwarder(host_text, dns, upstream),
    )


def read(path):
    """The text of a small file of the host; "" if there is none that can be read."""
    try:
        with open(path, "rb", 0) as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
