"""Whether networks with names can be made on this machine, found by making one.

Cold: the engine keeps the result until the kernel, a helper or rl changes.
"""

import _socket
import os

from rootless.errors import RlError
from rootless.kernel import netlink, userns
from rootless.network.bridge import leases

_MTU, _NETFILTER = 1500, 12  # NETLINK_NETFILTER


def ladder(batch, helper):
    """The rungs, best first: a list of {"rung", "ok", "reason"}, ending with none.

    ``batch`` are the rules of a holder (rules.base), ``helper`` the name of the one that would
    connect all networks to the outside, or None.
    """
    problem = attempt(batch)
    if problem:
        reason = problem
    elif helper:
        reason = f"a holder (0.2 MB) and one {helper} serve all, while a container is on one"
    else:
        reason = "containers reach only each other: neither pasta nor slirp4netns works"
    return [{"rung": "bridges", "ok": not problem, "reason": reason},
            {"rung": "none", "ok": True, "reason": "--network NAME is an error"}]


def attempt(batch):
    """None if a bridge, an interface pair and the rules can be made, else why not (str)."""
    try:
        return userns.call_in(userns.single_ids(), _make, batch) or None
    except (RlError, OSError) as error:
        said = error.message if isinstance(error, RlError) else error.strerror
        return f"no user namespace can be made: {said}"


def _make(batch):
    """In a user namespace like the holder's: "" or what is missing."""
    try:
        userns.unshare(userns.CLONE_NEWNET)
    except OSError as error:
        return f"no network namespace can be made: {error.strerror}"
    here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with netlink.Route() as route:
        try:
            bridge = route.add_bridge("probe", mac=leases.new_mac(), mtu=_MTU)
        except OSError as error:
            return f"no bridge can be made: {error.strerror}"
        try:
            route.add_veth("probe0", bridge=bridge, mtu=_MTU, peer="probe1",
                           peer_mac=leases.new_mac(), namespace=here)
        except OSError as error:
            return f"no pair of interfaces (veth) can be made: {error.strerror}"
    try:
        filtering = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, _NETFILTER)
        netlink.send_batch(filtering.fileno(), batch)
    except OSError as error:
        return f"nf_tables does not take the rules: {error.strerror}"
    return ""
