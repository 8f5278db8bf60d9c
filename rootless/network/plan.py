"""Which helper carries a container's packets, and with which command line.

pasta(1) copies the host's addresses into the container by default, so that the host is
out of reach there.  Here every container has an address of its own instead; the same one
for both helpers, so that the files in the container don't depend on which one it is.
"""

import os

from rootless.errors import RlError
from rootless.model.network import inside, is_ipv6, subnet
from rootless.network import host as host_network

MTU = 65520
SLIRP_IPV6 = ("fd00::", 64)  # fixed in slirp4netns(1)
INTERFACE = "eth0"
PROGRAMS = ("pasta", "slirp4netns", "setpriv")
_OWN, _GATEWAY, _DNS = 100, 2, 3  # offsets that slirp4netns(1) fixes, used for pasta as well

# pasta's options by what they decide: one of the user's replaces ours of the same kind.
_PASTA_KINDS = {
    "-a": "address", "--address": "address", "-n": "netmask", "--netmask": "netmask",
    "-g": "gateway", "--gateway": "gateway", "-I": "interface", "--ns-ifname": "interface",
    "-m": "mtu", "--mtu": "mtu", "-t": "tcp", "--tcp-ports": "tcp", "-u": "udp",
    "--udp-ports": "udp", "-T": "tcp-ns", "--tcp-ns": "tcp-ns", "-U": "udp-ns",
    "--udp-ns": "udp-ns", "--no-map-gw": "map", "--map-gw": "map", "-4": "family",
    "--ipv4-only": "family", "-6": "family", "--ipv6-only": "family",
    "--dns-forward": "forward", "-D": "dns", "--dns": "dns", "--ns-mac-addr": "mac",
}  # fmt: skip
_NO_VALUE = ("--no-map-gw", "--map-gw", "-4", "-6", "--ipv4-only", "--ipv6-only")


class NetworkError(RlError):
    """no network for the container: {0}"""

    hint = "rl info shows which helpers work; --network none and --network host need none"


class NoHelper(NetworkError):
    """no network for the container: {0} is not installed"""

    hint = "install {0} (Debian, Ubuntu, Fedora: package {1}), or use --network none or host"


def make_plan(network, programs, *, order=("pasta", "slirp4netns"), facts=None, mac=None,
              resolvers=(), forward=False, mtu=None):
    """How to connect a container whose network is ``private``, ``pasta`` or ``slirp4netns``.

    ``network`` is what ``model.network.parse`` returned; ``programs`` maps PROGRAMS to
    absolute paths or None; ``order`` are the rungs that work here, best first; ``facts``
    what ``host.look`` says; ``mac`` the canonical MAC address wanted; ``resolvers`` the
    servers the container will ask; ``forward`` whether it needs the helper's forwarder;
    ``mtu`` the largest packet if that isn't MTU.

    The result is plain data: ``rungs`` (what start.start tries in turn), ``interface``,
    ``addresses`` (the container's own), ``gateways`` (the first routers that it sees, IPv4
    and IPv6), ``host`` (where it finds the host, or None),
    ``forwarder`` (address for resolv.conf, or None), ``ipv6`` and ``warning`` (or None).
    NoHelper if a helper that was asked for isn't there; without any helper the private
    network stays unconnected and ``warning`` says so.
    """
    facts = facts or host_network.look()
    mode = network["mode"]
    base = _slirp_base(network) or host_network.free_subnet(facts, avoid=resolvers)
    names = _helpers(mode, programs, order)
    plan = {
        "interface": INTERFACE,
        "own": host_network.nth(base[0], _OWN),
        "gateway": host_network.nth(base[0], _GATEWAY),
        "prefix": base[1],
        "host": facts["address4"] or facts["address6"],
        "forwarder": host_network.nth(base[0], _DNS) if forward else None,
        "ipv6": False,
        "mac": mac,
        "mtu": mtu or MTU,
        "warning": None,
        "rungs": [],
    }
    options = network.get("options") or ()
    make = {"pasta": _pasta, "slirp4netns": _slirp}
    plan["rungs"] = [make[name](plan, programs, facts, options) for name in names]
    plan["ipv6"] = any(rung["ipv6"] for rung in plan["rungs"])
    plan["addresses"] = _common(plan["rungs"])
    plan["gateways"] = list(dict.fromkeys(g for rung in plan["rungs"] for g in rung["gateways"]))
    if not names:
        plan.update(host=None, forwarder=None)
        plan["warning"] = (
            "neither pasta nor slirp4netns works here: the container has no network "
            "(rl doctor tells why)"
        )
    return plan


def _common(rungs):
    """The addresses that the container has whichever rung it will be, else the first's."""
    if not rungs:
        return []
    best = rungs[0]["addresses"]
    return [a for a in best if all(a in rung["addresses"] for rung in rungs)] or best


def _helpers(mode, programs, order):
    """The helpers to try, best first."""
    if mode != "private":
        if not programs.get(mode):
            raise NoHelper(mode, "passt" if mode == "pasta" else mode)
        return [mode]
    return [name for name in order if programs.get(name)]


def _slirp_base(network):
    cidr = (network.get("options") or {}).get("cidr") if network["mode"] == "slirp4netns" else None
    if not cidr:
        return None
    base, _, prefix = cidr.partition("/")
    return base, int(prefix)


def _rung(name, programs, arguments, addresses, ipv6, gateways):
    """``watch`` ends a helper whose parent is gone, however it went (prctl(2), PDEATHSIG)."""
    setpriv = programs.get("setpriv")
    watch = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    argv = [*watch, programs[name], *arguments]
    return {"name": name, "argv": argv, "addresses": addresses, "ipv6": ipv6,
            "gateways": gateways}


# --- pasta ---------------------------------------------------------------------------------


def _pasta(plan, programs, facts, options):
    """pasta's command line.  {userns}, {netns} and {ready} are filled in by start.py."""
    given, words = _sort_pasta(options)
    ipv4 = facts["ipv4"]
    ipv6 = facts["ipv6"] and facts["address6"] is not None
    ours, gateways = [], [plan["gateway"]] if ipv4 else []
    if "address" in given:
        addresses = _own_addresses(words)
        ipv6 = any(is_ipv6(text) for text in addresses)
    else:
        added, addresses, gateways = _pasta_addresses(plan, facts, ipv4, ipv6)
        ours += added
    for kind, default in (
        ("interface", ["-I", plan["interface"]]),
        ("mtu", ["-m", str(plan["mtu"])]),
        ("tcp", ["-t", "none"]),
        ("udp", ["-u", "none"]),
        ("tcp-ns", ["-T", "none"]),
        ("udp-ns", ["-U", "none"]),
        ("map", ["--no-map-gw"]),
    ):
        if kind not in given:
            ours += default
    if "interface" in given:
        plan["interface"] = given["interface"]
    if plan["forwarder"] and "forward" not in given:
        ours += ["--dns-forward", plan["forwarder"]]
    elif "dns" not in given:
        ours += ["-D", "none"]
    if plan["mac"] and "mac" not in given:
        ours += ["--ns-mac-addr", plan["mac"]]
    run = ["-f", "-q", "--config-net", "--no-netns-quit", "-P", "{ready}"]
    if os.geteuid() == 0:
        run += ["--runas", "0:0"]  # else it becomes nobody, who may not open our namespaces
    argv = [*run, *ours, *words, "--userns", "{userns}", "--netns", "{netns}"]
    return _rung("pasta", programs, argv, addresses, ipv6, gateways)


def _pasta_addresses(plan, facts, ipv4, ipv6):
    """(words for the command line, addresses, gateways): for each family that the host has."""
    words, addresses, gateways = [], [], []
    if ipv4:
        words += ["-a", plan["own"], "-n", str(plan["prefix"]), "-g", plan["gateway"]]
        addresses.append(plan["own"])
        gateways.append(plan["gateway"])
    if ipv6:
        base, _ = host_network.free_subnet(facts, ipv6=True)
        own = host_network.nth(base, _OWN)
        gateways.append(host_network.nth(base, _GATEWAY))
        words += ["-a", own, "-g", gateways[-1]]
        addresses.append(own)
    if ipv4 != ipv6:
        words.append("-4" if ipv4 else "-6")
    return words, addresses, gateways


def _sort_pasta(options):
    """({kind: value} of the user's options that replace ours, the words to pass on)."""
    given, words = {}, []
    pending = None
    for word in options:
        name, equals, value = word.partition("=")
        if pending:
            given[pending], pending = word, None
        elif name in _PASTA_KINDS:
            given[_PASTA_KINDS[name]] = value
            if not equals and name not in _NO_VALUE:
                pending = _PASTA_KINDS[name]
        if word != "--map-gw":  # podman's word: it only takes our --no-map-gw away
            words.append(word)
    return given, words


def _own_addresses(words):
    """The addresses that the user chose for pasta."""
    found = []
    for position, word in enumerate(words):
        if word in ("-a", "--address"):
            found += words[position + 1 : position + 2]
        elif word.startswith("--address="):
            found.append(word.partition("=")[2])
    return found


# --- slirp4netns ---------------------------------------------------------------------------


def _slirp(plan, programs, facts, options):
    """slirp4netns's command line; it can do IPv6 only where the host doesn't use fd00::/64."""
    options = dict(options) if isinstance(options, dict) else {}
    ipv6 = options.get("enable_ipv6")
    if ipv6 is None:
        ipv6 = facts["ipv6"] and not _uses(facts, SLIRP_IPV6)
    base = f"{subnet(plan['gateway'] + '/' + str(plan['prefix']))[0]}/{plan['prefix']}"
    mtu = options.get("mtu", plan["mtu"])
    argv = ["-c", f"--mtu={mtu}", f"--cidr={base}", "--ready-fd={ready}"]
    if not options.get("allow_host_loopback"):
        argv.append("--disable-host-loopback")
    elif plan["host"] is None or "allow_host_loopback" in options:
        plan["host"] = plan["gateway"]
    if ipv6:
        argv.append("--enable-ipv6")
    if plan["mac"]:
        argv.append(f"--macaddress={plan['mac']}")
    for key in ("outbound_addr", "outbound_addr6"):
        if key in options:
            argv.append(f"--{key.replace('_', '-')}={options[key]}")
    # The sandbox is entered through the target's user namespace, which slirp4netns 1.2
    # only finds by pid: with paths it fails at setegid.
    argv += ["--enable-sandbox", "--enable-seccomp"]
    argv += ["{pid}", plan["interface"]]
    gateways = [plan["gateway"]]
    if ipv6:
        gateways.append(host_network.nth(SLIRP_IPV6[0], _GATEWAY))
    return _rung("slirp4netns", programs, argv, [plan["own"]], ipv6, gateways)


def _uses(facts, prefix):
    return any(
        is_ipv6(base) and length and inside(base, prefix[0], min(length, prefix[1]))
        for base, length in facts["prefixes"]
    )
