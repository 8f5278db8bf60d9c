"""What a container's network options mean: text of the command line to checked data.

Words are podman's (podman-run(1): --network, --dns, --add-host …).  Nothing is looked up
here; the result is plain data that goes into the container's record.
"""

import _socket

from rootless.errors import RlError

MAX_INTERFACE = 15  # IFNAMSIZ - 1, see netdevice(7)
DEFAULT_NETWORK = "bridge"  # always there; podman calls its own "podman"
OWN_MODES = ("private", "pasta", "slirp4netns")
_PLAIN = ("none", "host", "private", "default", "bridge")
_WITH_TARGET = {"container": "the name or id of a container", "ns": "an absolute path"}
_NETWORK_KEYS = ("ip", "ip6", "mac", "alias", "interface_name")
_SLIRP_KEYS = {
    "allow_host_loopback": "bool",
    "enable_ipv6": "bool",
    "mtu": "mtu",
    "cidr": "cidr",
    "outbound_addr": "text",
    "outbound_addr6": "text",
    "port_handler": "handler",
}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class BadNetwork(RlError):
    """--network {0}: {1}"""

    hint = "none, host, private, pasta, slirp4netns, container:ID, ns:PATH or a network's name"


class BadNetworkOption(RlError):
    """{0} {1}: {2}"""

    hint = "man rl-run describes {0}"


class NetworkConflict(RlError):
    """{0} cannot be combined with --network {1}"""

    hint = "leave one of the two out"


# --- small checked things ------------------------------------------------------------------


def address(text):
    """The canonical text of an IP address; ValueError if it is none (no zone, no prefix)."""
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    try:
        return _socket.inet_ntop(family, _socket.inet_pton(family, text))
    except (OSError, UnicodeError):
        raise ValueError(f"{text!r} is not an IP address") from None


def is_ipv6(text):
    """Whether an address in canonical text is an IPv6 one."""
    return ":" in text


def number(text):
    """An IP address as (bits: 32 or 128, value)."""
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    data = _socket.inet_pton(family, text)
    return len(data) * 8, int.from_bytes(data, "big")


def at(bits, value):
    """The text of the address with the given number of bits (32 or 128) and value."""
    family = _socket.AF_INET if bits == 32 else _socket.AF_INET6
    return _socket.inet_ntop(family, value.to_bytes(bits // 8, "big"))


def subnet(text):
    """(first address, prefix length) of ADDRESS/PREFIX; host bits are cleared."""
    base, slash, prefix = text.partition("/")
    bits, value = number(address(base))
    if not slash or not prefix.isdecimal() or not 0 <= int(prefix) <= bits:
        raise ValueError(f"{text!r} is not a subnet such as 10.89.0.0/24")
    keep = bits - int(prefix)
    return at(bits, value >> keep << keep), int(prefix)


def inside(text, base, prefix):
    """Whether the address ``text`` lies in the subnet ``base``/``prefix``."""
    bits, value = number(text)
    size, first = number(base)
    return bits == size and value >> (bits - prefix) == first >> (bits - prefix)


def overlap(one, other):
    """Whether two subnets, each (address, prefix), share addresses."""
    shorter = min(one[1], other[1])
    return inside(one[0], other[0], shorter)


def mac_address(text):
    """The canonical text of a unicast Ethernet address; ValueError if it is none."""
    parts = text.replace("-", ":").lower().split(":")
    try:
        data = bytes(int(part, 16) for part in parts if 0 < len(part) <= 2)
    except ValueError:
        data = b""
    if len(data) != 6 or len(parts) != 6:
        raise ValueError(f"{text!r} is not a MAC address such as 92:d0:c6:0a:29:33")
    if data[0] & 1:
        raise ValueError(f"{text!r} is a multicast MAC address")
    if not any(data):
        raise ValueError(f"{text!r} is no usable MAC address")
    return ":".join(f"{byte:02x}" for byte in data)


def host_name(text):
    """``text`` if it can be a host name or an alias in /etc/hosts, else ValueError."""
    labels = text.removesuffix(".").split(".")
    good = 0 < len(text) <= 253 and all(0 < len(label) <= 63 for label in labels)
    if not good or not all(_label(label) for label in labels):
        raise ValueError(f"{text!r} is not a host name")
    return text


def _label(text):
    plain = text.replace("-", "").replace("_", "")
    return text[0] != "-" and text[-1] != "-" and plain.isascii() and plain.isalnum()


def interface_name(text):
    """``text`` if Linux takes it as the name of an interface, else ValueError."""
    bad = not 0 < len(text.encode()) <= MAX_INTERFACE or text in (".", "..")
    if bad or any(c in "/:" or c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{text!r} is not a name for a network interface (1 to 15 bytes)")
    return text


# --- --network -----------------------------------------------------------------------------


def parse(values):
    """The values of ``--network`` as one dict.

    ``mode``: none, host, private, pasta, slirp4netns, container, ns or networks;
    ``options``: what follows pasta: or slirp4netns: (a list of words, a dict);
    ``target``: the container or path of container: and ns:;
    ``networks``: for mode networks a list of {name, ips, mac, aliases, interface_name}.
    Raises BadNetwork.
    """
    if not values:
        return {"mode": "private"}
    found = [_one(value) for value in values]
    if len(found) == 1:
        return found[0]
    for value, entry in zip(values, found, strict=True):
        if entry["mode"] != "networks":
            raise BadNetwork(value, "only networks with names can be given more than once")
    joined = [network for entry in found for network in entry["networks"]]
    names = [network["name"] for network in joined]
    for name in names:
        if names.count(name) > 1:
            raise BadNetwork(name, "given twice")
    return {"mode": "networks", "networks": joined}


def _one(value):
    mode, colon, rest = value.partition(":")
    if mode in _WITH_TARGET:
        if not rest or (mode == "ns" and not rest.startswith("/")):
            raise BadNetwork(value, f"{mode}: needs {_WITH_TARGET[mode]}")
        return {"mode": mode, "target": rest}
    if mode == "pasta":
        return {"mode": mode, "options": _pasta_options(value, rest)}
    if mode == "slirp4netns":
        return {"mode": mode, "options": _slirp_options(value, rest)}
    if mode in _PLAIN and not (mode == "bridge" and rest):
        if colon:
            raise BadNetwork(value, f"{mode} takes no options")
        if mode == "bridge":
            return {"mode": "networks", "networks": [_network(value, DEFAULT_NETWORK, "")]}
        return {"mode": "private" if mode == "default" else mode}
    return {"mode": "networks", "networks": [_network(value, mode, rest)]}


def _network(value, name, rest):
    if not name or name[0] in "-._" or not all(c.isalnum() or c in "-_." for c in name):
        raise BadNetwork(value, f"{name!r} is not the name of a network")
    found = {"name": name, "ips": [], "mac": None, "aliases": [], "interface_name": None}
    for word in filter(None, rest.split(",")):
        key, equals, text = word.partition("=")
        if key not in _NETWORK_KEYS or not equals:
            raise BadNetwork(value, f"unknown option {key!r}; there are {', '.join(_NETWORK_KEYS)}")
        try:
            if key in ("ip", "ip6"):
                found["ips"].append(address(text))
            elif key == "mac":
                found["mac"] = mac_address(text)
            elif key == "alias":
                found["aliases"].append(host_name(text))
            else:
                found["interface_name"] = interface_name(text)
        except ValueError as error:
            raise BadNetwork(value, str(error)) from None
    return found


# What rl itself has to decide about pasta: where it attaches, how it is run and watched.
_PASTA_OURS = frozenset(
    "-f --foreground -P --pid --netns --userns --netns-only --no-netns-quit --config-net -q "
    "--quiet -d --debug --trace -e --stderr -l --log-file --log-size --runas -h --help "
    "--version -p --pcap -s --socket -F --fd -1 --one-off".split()
)


def _pasta_options(value, rest):
    """The words for pasta's command line; commas separate them (podman-run(1))."""
    words = [word for word in rest.split(",") if word]
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("-") and (name in _PASTA_OURS or _bundled(name)):
            raise BadNetwork(value, f"{name} is for rl to set")
    if words and not words[0].startswith("-"):
        raise BadNetwork(value, f"{words[0]!r} is not an option of pasta")
    return words


def _bundled(name):
    """Whether a short option hides one of ours: ``-fq``, ``-P/some/file``."""
    return not name.startswith("--") and len(name) > 2 and name[:2] in _PASTA_OURS


def _slirp_options(value, rest):
    found = {}
    for word in filter(None, rest.split(",")):
        key, equals, text = word.partition("=")
        kind = _SLIRP_KEYS.get(key)
        if kind is None:
            raise BadNetwork(value, f"unknown option {key!r}; there are {', '.join(_SLIRP_KEYS)}")
        try:
            found[key] = _slirp_value(kind, text if equals else "")
        except ValueError as error:
            raise BadNetwork(value, f"{key}: {error}") from None
    return found


def _slirp_value(kind, text):
    if kind == "bool":
        if text.lower() not in _TRUTH:
            raise ValueError("true or false")
        return _TRUTH[text.lower()]
    if kind == "mtu":
        if not text.isdecimal() or not 68 <= int(text) <= 65521:
            raise ValueError("a number from 68 to 65521")
        return int(text)
    if kind == "cidr":
        base, prefix = subnet(text)
        if is_ipv6(base) or not 8 <= prefix <= 25:
            raise ValueError("an IPv4 subnet with a prefix from /8 to /25")
        return f"{base}/{prefix}"
    if kind == "handler":
        if text != "slirp4netns":
            raise ValueError("only slirp4netns, which keeps the clients' addresses")
        return text
    if not text:
        raise ValueError("an address or the name of an interface")
    return text


def creates_namespace(network):
    """Whether a container with this network has a network namespace of its own."""
    return network["mode"] in ("none", "networks", *OWN_MODES)


# --- --dns, --add-host and the others --------------------------------------------------------


def parse_dns(servers, search, options):
    """The values of --dns, --dns-search and --dns-option, checked, as a dict of lists.

    ``servers`` is None for ``--dns none``: /etc/resolv.conf of the image stays.  A list is
    empty where nothing was given; ``search`` is ["."] where the host's domains must not be
    taken over.  Raises BadNetworkOption.
    """
    found = []
    for text in servers:
        if text == "none":
            if len(servers) > 1 or search or options:
                raise BadNetworkOption("--dns", text, "leaves no room for other DNS options")
            return {"servers": None, "search": [], "options": []}
        try:
            found.append(address(text))
        except ValueError:
            raise BadNetworkOption("--dns", text, "not an IP address") from None
    domains = [text for text in search if text]
    if "." in domains and len(domains) > 1:
        raise BadNetworkOption("--dns-search", ".", "leaves no room for other domains")
    for text in domains:
        try:
            text == "." or host_name(text)
        except ValueError as error:
            raise BadNetworkOption("--dns-search", text, str(error)) from None
    for text in options:
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise BadNetworkOption("--dns-option", text, "not a resolver option")
    return {"servers": found, "search": domains, "options": list(options)}


def parse_hosts(values):
    """The values of --add-host, ``NAME[;NAME…]:ADDRESS``, as a list of [address, names].

    The address ``host-gateway`` stays as it is: hosts.py puts the host's address there.
    """
    found = []
    for value in values:
        names, colon, text = value.partition(":")
        names = names.split(";")
        text = text.strip("[]") if text.startswith("[") else text
        try:
            if not colon or not text:
                raise ValueError("give it as NAME:ADDRESS")
            names = [host_name(name) for name in names]
            found.append([text if text == "host-gateway" else address(text), names])
        except ValueError as error:
            raise BadNetworkOption("--add-host", value, str(error)) from None
    return found


def check(network, *, dns=False, mac=None, ip=None, ip6=None, aliases=(), ports=False):
    """Refuse options that mean nothing with this network, as podman does.

    ``dns`` and ``ports`` say whether any of --dns*, or -p and -P, were given; the others
    are the options' values.  Raises NetworkConflict or BadNetworkOption.
    """
    mode = network["mode"]
    shown = mode if "target" not in network else f"{mode}:{network['target']}"
    if dns and mode in ("none", "container"):
        raise NetworkConflict("--dns, --dns-option and --dns-search", shown)
    if ports and mode in ("container", "ns"):
        hint = "publish them with the container that has the network" if mode[0] == "c" else None
        raise NetworkConflict("-p and -P", shown, hint=hint)
    for name, value in (("--ip", ip), ("--ip6", ip6)):
        if value is None:
            continue
        try:
            six = is_ipv6(address(value))
        except ValueError:
            raise BadNetworkOption(name, value, "not an IP address") from None
        if six != (name == "--ip6"):
            raise BadNetworkOption(name, value, f"not an {'IPv6' if not six else 'IPv4'} address")
    if mac is not None:
        try:
            mac_address(mac)
        except ValueError as error:
            raise BadNetworkOption("--mac-address", mac, str(error)) from None
        if mode in ("none", "host", "container", "ns"):
            raise NetworkConflict("--mac-address", shown)
    _check_member(network, shown, ip=ip, ip6=ip6, mac=mac, aliases=aliases)


def _check_member(network, shown, *, ip, ip6, mac, aliases):
    """Options that only a user network has a use for."""
    given = {"--ip": ip, "--ip6": ip6, "--network-alias": aliases or None}
    for name, value in given.items():
        if value is not None and network["mode"] != "networks":
            hint = "rl network create makes a network whose addresses you choose"
            raise NetworkConflict(name, shown, hint=hint)
    if len(network.get("networks", ())) > 1:
        for name, value in {"--ip": ip, "--ip6": ip6, "--mac-address": mac}.items():
            if value is not None:
                key = name.strip("-").replace("-address", "")
                hint = f"write it with the network it is for: --network NAME:{key}={value}"
                raise NetworkConflict(name, "more than once", hint=hint)
    for alias in aliases:
        try:
            host_name(alias)
        except ValueError as error:
            raise BadNetworkOption("--network-alias", alias, str(error)) from None
