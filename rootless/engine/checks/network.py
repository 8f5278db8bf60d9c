"""Why containers can't have a network of their own, or less of one."""

import errno

from rootless.engine.checks import Finding


def check(facts):
    """All findings about the network ladder, name resolution and ports."""
    found = []
    old = facts.note("network", "pasta")
    if old and facts.best("network") != "pasta":
        found.append(
            Finding(
                "pasta-old",
                "network",
                "warn",
                f"{facts.best('network')} is used in place of pasta, which is too old here",
                f"{(facts.programs.get('pasta') or {}).get('path', 'pasta')}: {old}",
                root="apt-get install --only-upgrade passt",
                user="a newer static pasta anywhere on PATH does as well",
            )
        )
    elif facts.best("network") not in ("bridge", "pasta"):
        found += _programs(facts)
        found += _tun(facts)
    found += _bridges(facts)
    if facts.sysctl("user/max_net_namespaces") == 0:
        found.append(
            Finding(
                "netns-limit",
                "network",
                "missing",
                "this machine allows no network namespaces",
                "user.max_net_namespaces = 0",
                root="sysctl -w user.max_net_namespaces=65536",
                user="containers can use the host's network: --network host",
            )
        )
    found += _names(facts)
    found += _ports(facts)
    return found


def _programs(facts):
    pasta, slirp = facts.programs.get("pasta"), facts.best("network") == "slirp4netns"
    why = facts.reason("network", "pasta")
    if not pasta and slirp:
        yield Finding(
            "slirp-only",
            "network",
            "warn",
            "containers reach the network through slirp4netns, which carries less than pasta",
            "pasta: not found on PATH; slirp4netns works",
            root="apt-get install passt",
            user="a static pasta anywhere on PATH does as well",
        )
    elif not pasta:
        yield Finding(
            "no-pasta",
            "network",
            "missing",
            "pasta, which gives containers a network, is not installed",
            "pasta: not found on PATH",
            root="apt-get install passt",
            user="a static pasta anywhere on PATH does as well; without it "
            "there are --network host and --network none",
        )
    elif "default route" in why:
        yield Finding(
            "no-route",
            "network",
            "warn",
            "this machine has no default route, which pasta needs to reach other machines",
            [f"trying {pasta['path']}: {why}"],
            root="ip route add default via ADDRESS",
            user="slirp4netns does without one" if slirp
            else "containers can use the host's network: --network host",
        )
    elif why and facts.devices.get("/dev/net/tun") is None:
        yield Finding(
            "pasta-refused",
            "network",
            "missing",
            f"{pasta['path']} is there but doesn't do its work",
            [f"trying it: {why}"],
            root="apt-get install --only-upgrade passt",
            user="a newer static pasta anywhere on PATH does as well",
        )


def _bridges(facts):
    why = facts.reason("user networks", "bridges")
    if why:
        yield Finding(
            "no-bridges",
            "user networks",
            "missing",
            "containers can't be on networks with names, and so not find each other",
            f"trying one: {why}",
            root="modprobe -a bridge veth nf_tables nft_chain_nat nft_masq nft_ct",
            user="containers reach each other through ports that they publish, or share one "
            "network: --network container:NAME",
        )


def _tun(facts):
    number = facts.devices.get("/dev/net/tun")
    if number is None:
        return
    absent = number in (errno.ENOENT, errno.ENODEV, errno.ENXIO)
    yield Finding(
        "tun-absent" if absent else "tun-closed",
        "network",
        "missing",
        "there is no /dev/net/tun" if absent else "/dev/net/tun may not be opened",
        f"open(/dev/net/tun): {errno.errorcode.get(number, number)}",
        root="modprobe tun; for a container that rl runs in: --device /dev/net/tun"
        if absent
        else "chmod 0666 /dev/net/tun",
        user="containers can use the host's network: --network host",
    )


def _loopback(address):
    address = address.partition("%")[0]
    return address.startswith("127.") or address in ("::1", "0.0.0.0", "::")


def _names(facts):
    """A resolver on the host's loopback is out of a container's reach unless translated."""
    servers = facts.nameservers
    if not servers:
        yield Finding(
            "no-nameserver",
            "network",
            "warn",
            "the host names no server for host names, so containers resolve none",
            "/etc/resolv.conf: no line 'nameserver'",
            user="name one: rl run --dns ADDRESS, or dns in [containers] of rl.toml",
        )
    elif all(map(_loopback, servers)) and facts.best("network") == "none":
        yield Finding(
            "nameserver-loopback",
            "network",
            "warn",
            "the host's name server listens on the host's loopback only",
            [f"/etc/resolv.conf: nameserver {server}" for server in servers],
            user="containers on the host's network reach it: --network host",
        )


def _ports(facts):
    lowest = facts.sysctl("net/ipv4/ip_unprivileged_port_start")
    if lowest is not None and lowest > 80 and facts.uid != 0:
        yield Finding(
            "low-ports",
            "network",
            "warn",
            f"host ports below {lowest} can't be published",
            f"net.ipv4.ip_unprivileged_port_start = {lowest}",
            root="sysctl -w net.ipv4.ip_unprivileged_port_start=80",
            user=f"publish a port from {lowest} on: -p 8080:80",
        )
    words = (facts.sysctls.get("net/ipv4/ping_group_range") or "").split()
    if len(words) == 2 and all(word.isdecimal() for word in words):
        groups = {facts.gid, *facts.groups}
        if facts.uid != 0 and not any(int(words[0]) <= gid <= int(words[1]) for gid in groups):
            yield Finding(
                "ping-groups",
                "network",
                "warn",
                "your groups may not send pings, so pings from containers get no answer",
                f"net.ipv4.ping_group_range = {' '.join(words)}",
                root="sysctl -w net.ipv4.ping_group_range='0 2147483647'",
            )
