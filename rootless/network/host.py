"""What the host's network looks like, as far as a container's network depends on it."""

from rootless.kernel import netlink
from rootless.model.network import at, inside, is_ipv6, number, overlap

_IPV4_CHOICES = [f"10.{high}.{low}.0" for high, low in [(0, n) for n in range(2, 255)]]
_IPV4_CHOICES += [f"172.{high}.2.0" for high in range(16, 32)]
_IPV4_CHOICES += [f"192.168.{low}.0" for low in range(2, 255)]
# fd72:6c::/32 is in the range that RFC 4193 gives to everybody for local use.
_IPV6_CHOICES = [f"fd72:6c:{number:x}::" for number in range(2, 64)]


def look():
    """The host's network as a dict, read from the kernel in under a millisecond.

    ``address4`` and ``address6``: under which a container can reach the host (None if the
    host has no such address but its loopback); ``ipv4`` and ``ipv6``: whether there is a
    default route; ``prefixes``: [address, length] of every subnet that is in use.
    """
    with netlink.Route() as route:
        addresses, routes = route.addresses(), route.routes()
    found = {"prefixes": _prefixes(addresses, routes)}
    for family in (4, 6):
        defaults = [r for r in routes if r["family"] == family and r["destination"] is None]
        defaults.sort(key=lambda entry: entry["metric"])
        found[f"ipv{family}"] = bool(defaults)
        found[f"address{family}"] = _main_address(family, addresses, defaults)
    return found


def _prefixes(addresses, routes):
    found = [[entry["address"], entry["prefix"]] for entry in addresses]
    found += [[r["destination"], r["prefix"]] for r in routes if r["destination"]]
    return found


def _main_address(family, addresses, defaults):
    """The address of the interface with the default route; else any that isn't local."""
    usable = [
        entry
        for entry in addresses
        if entry["family"] == family and entry["scope"] == netlink.SCOPE_UNIVERSE
    ]
    for route in defaults:
        if route["source"]:
            return route["source"]
        for entry in usable:
            if entry["index"] == route["index"]:
                return entry["address"]
    return usable[0]["address"] if usable else None


def free_subnet(facts, ipv6=False, avoid=()):
    """The first of rl's usual /24s (IPv6: /64s) that the host doesn't use, as (base, length).

    ``avoid`` are addresses, such as the resolvers', that must stay outside as well.
    """
    length = 64 if ipv6 else 24
    choices = _IPV6_CHOICES if ipv6 else _IPV4_CHOICES
    taken = [p for p in facts["prefixes"] if is_ipv6(p[0]) == ipv6 and p[1]]
    for base in choices:
        if any(overlap((base, length), prefix) for prefix in taken):
            continue
        if any(is_ipv6(text) == ipv6 and inside(text, base, length) for text in avoid):
            continue
        return base, length
    return choices[0], length


def nth(base, offset):
    """The address ``offset`` after ``base``."""
    bits, value = number(base)
    return at(bits, value + offset)
