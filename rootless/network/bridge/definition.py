"""What a network is: checked data from the words of ``rl network create``.

A definition is a dict in the shape that ``podman network inspect`` prints, so that scripts
find their way: name, id, driver, network_interface, created, subnets (subnet, gateway,
lease_range), routes, ipv6_enabled, internal, dns_enabled, network_dns_servers, labels,
options, ipam_options.  Nothing is looked up here but what is given.
"""

from rootless.errors import RlError
from rootless.model.network import (
    DEFAULT_NETWORK as DEFAULT,
)
from rootless.model.network import (
    address,
    at,
    inside,
    interface_name,
    is_ipv6,
    number,
    overlap,
    subnet,
)
from rootless.network.plan import INTERFACE as UPLINK
from rootless.network.plan import MTU

PREFIX = "rl"  # of bridges, and of networks without a name
_RESERVED = (
    "none",
    "host",
    "private",
    "default",
    "container",
    "ns",
    "pasta",
    "slirp4netns",
    DEFAULT,
)
_POOL4 = [(10, high, 0) for high in range(89, 256)]
_POOL6 = "fd72:6c:{0:x}::"
_ISOLATE = ("true", "false", "strict", "1", "0", "t", "f")
_KNOWN = ("mtu", "isolate", "metric", "no_default_route")
# Docker's names for the same things.
_SYNONYMS = {"com.docker.network.driver.mtu": "mtu", "com.docker.network.mtu": "mtu"}
_ELSEWHERE = {
    "vlan": "a VLAN needs an interface of the host, which an ordinary user can't take",
    "mode": "bridges of the host's are out of reach: there is only the managed mode",
    "parent": "an ordinary user can't take an interface of the host",
    "vrf": "this version does not support it",
    "bclim": "it is for macvlan networks",
    "host_interface_name": "our ends of the pairs have names of their own",
    "com.docker.network.bridge.name": "use --interface-name",
}


class BadNetworkName(RlError):
    """{0!r} cannot be a network's name: {1}"""

    hint = "letters, digits, '_', '.' and '-' are allowed, the first one a letter or a digit"


class BadDefinition(RlError):
    """network create {0}: {1}"""

    hint = "rl network create --help, or man rl-network-create"


class SubnetTaken(RlError):
    """subnet {0} is already used by {1}"""

    hint = "rl network ls shows the networks; without --subnet a free one is taken"


class NoSubnetLeft(RlError):
    """there is no free {0} subnet left for another network"""

    hint = "remove networks that nobody uses: rl network prune; or choose one with --subnet"


class NoDriver(RlError):
    """network driver {0}: {1}"""

    hint = "leave --driver at bridge"


_DRIVERS = {
    "macvlan": "it needs rights over an interface of the host, which an ordinary user hasn't",
    "ipvlan": "it needs rights over an interface of the host, which an ordinary user hasn't",
}


def check_name(name):
    """Raise BadNetworkName unless a new network may have this name."""
    if name in _RESERVED:
        raise BadNetworkName(name, "--network knows that word already")
    good = 0 < len(name) <= 64 and name[0].isalnum() and name.isascii()
    if not good or not all(c.isalnum() or c in "_.-" for c in name):
        raise BadNetworkName(name, "1 to 64 letters, digits, '_', '.' and '-'")


def make(name, given, others, facts, created):
    """A new definition.

    ``given`` is a dict of the options (subnet, gateway, ip_range, route, dns, opt: lists of
    str; driver, interface_name, ipam_driver: str or None; internal, ipv6, disable_dns: bool;
    label: dict); ``others`` the definitions there are, ``facts`` what network.host.look says
    of the machine, ``created`` the time as text.  Raises BadDefinition and its kind.
    """
    driver = given.get("driver") or "bridge"
    if driver != "bridge":
        raise NoDriver(driver, _DRIVERS.get(driver, "there is only bridge"))
    if (given.get("ipam_driver") or "host-local") != "host-local":
        raise BadDefinition(
            "--ipam-driver", f"there is only host-local, not {given['ipam_driver']}"
        )
    interface = _interface(given.get("interface_name"), others)
    name = name or interface
    check_name(name)
    internal = bool(given.get("internal"))
    definition = {
        "name": name,
        "id": _id(name),
        "driver": driver,
        "network_interface": interface,
        "created": created,
        "subnets": _subnets(given, others, facts),
        "routes": [_route(text) for text in given.get("route") or ()],
        "ipv6_enabled": False,
        "internal": internal,
        "dns_enabled": not given.get("disable_dns"),
        "network_dns_servers": [_server(text) for text in given.get("dns") or ()],
        "labels": dict(given.get("label") or {}),
        "options": _options(given.get("opt") or ()),
        "ipam_options": {"driver": "host-local"},
    }
    definition["ipv6_enabled"] = any(is_ipv6(one["subnet"]) for one in definition["subnets"])
    for route in definition["routes"]:
        gateway = route["gateway"]
        if not any(inside(gateway, *subnet(one["subnet"])) for one in definition["subnets"]):
            raise BadDefinition("--route", f"the gateway {gateway} is in no subnet of the network")
    if definition["network_dns_servers"] and not definition["dns_enabled"]:
        raise BadDefinition("--dns", "the network has no DNS: --disable-dns was given too")
    return definition


def default(others, facts, created):
    """The definition of the network that ``--network bridge`` means."""
    given = (
        {}
        if any(overlap(("10.88.0.0", 16), taken) for taken in _taken(others, facts))
        else {"subnet": ["10.88.0.0/16"]}
    )
    interface = f"{PREFIX}0"
    if any(other["network_interface"] == interface for other in others):
        interface = _interface(None, others)
    made = make("x", {**given, "interface_name": interface}, others, facts, created)
    return {**made, "name": DEFAULT, "id": _id(DEFAULT)}


def _id(name):
    from hashlib import sha256

    return sha256(name.encode()).hexdigest()


def mtu(definition):
    """The MTU of a network's interfaces."""
    return int(definition["options"].get("mtu") or MTU)


def _interface(wanted, others):
    taken = {other["network_interface"] for other in others}
    if wanted is None:
        names = (f"{PREFIX}{count}" for count in range(1, 1000))
        taken |= {other["name"] for other in others}
        return next(name for name in names if name not in taken)
    try:
        interface_name(wanted)
    except ValueError as error:
        raise BadDefinition("--interface-name", str(error)) from None
    if wanted in (UPLINK, "lo"):
        raise BadDefinition("--interface-name", f"{wanted} is another interface there")
    if wanted in taken:
        raise BadDefinition("--interface-name", f"{wanted} belongs to another network")
    return wanted


def _server(text):
    try:
        return address(text)
    except ValueError as error:
        raise BadDefinition("--dns", str(error)) from None


# --- subnets -----------------------------------------------------------------------------------


def _taken(others, facts):
    found = [tuple(prefix) for prefix in facts["prefixes"] if prefix[1]]
    for other in others:
        found += [subnet(one["subnet"]) for one in other["subnets"]]
    return found


def _subnets(given, others, facts):
    texts = list(given.get("subnet") or ())
    gateways = list(given.get("gateway") or ())
    ranges = list(given.get("ip_range") or ())
    if not texts and (gateways or ranges):
        raise BadDefinition("--gateway" if gateways else "--ip-range", "it needs a --subnet")
    if len(gateways) > len(texts) or len(ranges) > len(texts):
        raise BadDefinition("--subnet", "there are more gateways or ranges than subnets")
    taken = _taken(others, facts)
    found = []
    for text in texts:
        found.append(_subnet(text, gateways, ranges, given.get("internal")))
        ours = subnet(found[-1]["subnet"])
        for other in found[:-1]:
            if overlap(ours, subnet(other["subnet"])):
                raise SubnetTaken(text, f"--subnet {other['subnet']}")
        for other in others:
            if any(overlap(ours, subnet(one["subnet"])) for one in other["subnets"]):
                raise SubnetTaken(text, f"the network {other['name']}")
        if any(overlap(ours, tuple(prefix)) for prefix in facts["prefixes"] if prefix[1]):
            raise SubnetTaken(text, "this machine")
    if gateways or ranges:
        left = (gateways + ranges)[0]
        raise BadDefinition(
            "--gateway" if gateways else "--ip-range", f"{left} is in none of the subnets"
        )
    kinds = {is_ipv6(one["subnet"]) for one in found}
    if not found:
        found.append(_free(taken, False))
        kinds = {False}
    if given.get("ipv6") and True not in kinds:
        found.append(_free(taken, True))
    return found


def _subnet(text, gateways, ranges, internal):
    try:
        base, prefix = subnet(text)
    except ValueError as error:
        raise BadDefinition("--subnet", str(error)) from None
    bits, first = number(base)
    if bits - prefix < 2 or prefix == 0:
        raise BadDefinition("--subnet", f"{text} has no room for containers")
    if _special(base):
        raise BadDefinition("--subnet", f"{text} is not for ordinary addresses")
    found = {"subnet": f"{base}/{prefix}", "gateway": at(bits, first + 1)}
    gateway = _pick(gateways, base, prefix, "--gateway")
    if gateway is not None:
        found["gateway"] = gateway
        if number(gateway)[1] == first or (
            bits == 32 and number(gateway)[1] == _last(bits, first, prefix)
        ):
            raise BadDefinition("--gateway", f"{gateway} is the address of the subnet itself")
    chosen = _pick(ranges, base, prefix, "--ip-range")
    if chosen is not None:
        found["lease_range"] = _range(chosen, base, prefix)
    return found


def _special(base):
    bits, value = number(base)
    if bits == 32:
        return value >> 24 in (0, 127) or value >> 28 >= 14
    return value >> 120 == 0xFF or value >> 118 == 0x3FA or value >> 64 == 0


def _last(bits, first, prefix):
    return first | ((1 << (bits - prefix)) - 1)


def _pick(texts, base, prefix, option):
    """Take the first of ``texts`` that lies in the subnet out of the list."""
    for position, text in enumerate(texts):
        start = text.partition("/")[0].partition("-")[0]
        try:
            found = address(start)
        except ValueError as error:
            raise BadDefinition(option, str(error)) from None
        if inside(found, base, prefix):
            texts.pop(position)
            return found if option == "--gateway" else text
    return None


def _range(text, base, prefix):
    """--ip-range: a subnet of the subnet, or FIRST-LAST."""
    try:
        if "-" in text:
            start, _, end = text.partition("-")
            start, end = address(start), address(end)
        else:
            first, length = subnet(text)
            bits, value = number(first)
            start, end = at(bits, value), at(bits, _last(bits, value, length))
            if (length < bits and first == base) or length == prefix:
                start = at(bits, value + 1)
    except ValueError as error:
        raise BadDefinition("--ip-range", str(error)) from None
    if not inside(start, base, prefix) or not inside(end, base, prefix):
        raise BadDefinition("--ip-range", f"{text} is not inside {base}/{prefix}")
    if number(start)[1] > number(end)[1]:
        raise BadDefinition("--ip-range", f"{text} ends before it begins")
    return {"start_ip": start, "end_ip": end}


def _free(taken, ipv6):
    """The first subnet of rl's pool that nobody uses."""
    if ipv6:
        choices = ((_POOL6.format(n), 64) for n in range(0x59, 0x1000))
    else:
        choices = ((f"10.{a}.{b}.0", 24) for _, a, _ in _POOL4 for b in range(256))
    for base, prefix in choices:
        if not any(overlap((base, prefix), other) for other in taken):
            bits, first = number(base)
            return {"subnet": f"{base}/{prefix}", "gateway": at(bits, first + 1)}
    raise NoSubnetLeft("IPv6" if ipv6 else "IPv4")


# --- routes and options ---------------------------------------------------------------------


def _route(text):
    """--route DESTINATION,GATEWAY[,METRIC]."""
    words = text.split(",")
    if len(words) not in (2, 3):
        raise BadDefinition("--route", f"{text!r} is not DESTINATION,GATEWAY[,METRIC]")
    try:
        base, prefix = subnet(words[0])
        gateway = address(words[1])
        if is_ipv6(base) != is_ipv6(gateway):
            raise ValueError(f"{words[0]} and {words[1]} are of different families")
        found = {"destination": f"{base}/{prefix}", "gateway": gateway}
        if len(words) == 3:
            if not words[2].isdecimal() or not 0 < int(words[2]) < 1 << 32:
                raise ValueError(f"{words[2]!r} is not a metric")
            found["metric"] = int(words[2])
    except ValueError as error:
        raise BadDefinition("--route", str(error)) from None
    return found


def _options(texts):
    found = {}
    for text in texts:
        for pair in text.split(",") if text.count("=") > 1 else (text,):
            key, equals, value = pair.partition("=")
            key = _SYNONYMS.get(key, key)
            if key in _ELSEWHERE:
                raise BadDefinition(f"--opt {key}", _ELSEWHERE[key])
            if key not in _KNOWN or not equals:
                raise BadDefinition("--opt", f"{pair!r} is none of {', '.join(_KNOWN)}")
            found[key] = _option(key, value)
    return found


def _option(key, value):
    if key == "mtu":
        if value == "0":
            return str(MTU)
        if not value.isdecimal() or not 68 <= int(value) <= 65535:
            raise BadDefinition("--opt mtu", f"{value!r} is not a number from 68 to 65535")
    elif key == "metric":
        if not value.isdecimal() or not 0 < int(value) < 1 << 32:
            raise BadDefinition("--opt metric", f"{value!r} is not a number from 1 up")
    elif key == "isolate":
        if value.lower() not in _ISOLATE:
            raise BadDefinition("--opt isolate", f"{value!r} is none of true, false and strict")
        value = value.lower()
        value = {"1": "true", "t": "true", "0": "false", "f": "false"}.get(value, value)
    elif value not in ("0", "1", "true", "false"):
        raise BadDefinition(f"--opt {key}", f"{value!r} is neither 0 nor 1")
    return value
