"""The text of a container's /etc/resolv.conf, made from the host's (resolv.conf(5)).

Servers on the host's loopback, and ones with a zone of one of the host's interfaces, mean
nothing inside a private network: the servers that systemd-resolved itself asks stand in
for them.  The network helper's forwarder comes first: slirp4netns asks whomever the host's
file names at the time, also after the machine has moved to another network.  No resolver
is ever invented.
"""

HOST_FILE = "/etc/resolv.conf"
UPSTREAM_FILE = "/run/systemd/resolve/resolv.conf"
_MOST_SERVERS = 3  # MAXNS of resolv.conf(5)


def parse(text):
    """(servers, search domains, options) that a resolv.conf names; each a list of str.

    As in resolv.conf(5), the last of ``search`` and ``domain`` counts, options add up.
    """
    servers, search, options = [], [], []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or line[0] in "#;":
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = words[1:] if words[0] == "search" else words[1:2]
        elif words[0] == "options":
            options += words[1:]
    return servers, search, options


def is_loopback(server):
    """Whether a resolver's address is of the host's loopback."""
    return server.startswith("127.") or server in ("::1", "0.0.0.0", "::", "localhost")


def reachable(servers, ipv6=True):
    """Those of the servers that also mean the same machine inside a private network."""
    found = [server for server in servers if not is_loopback(server) and "%" not in server]
    return found if ipv6 else [server for server in found if ":" not in server]


def make(host_text, dns, *, shared=False, upstream="", forwarder=None, ipv6=True):
    """The text for a container, as str; None where the image's own file stays.

    ``host_text`` is the host's file, ``dns`` what ``model.network.parse_dns`` returned.
    ``shared``: the container uses the host's own network, every server works there.
    ``upstream`` is the text of UPSTREAM_FILE, ``forwarder`` the address at which the
    network helper passes queries on to the host's resolver, ``ipv6`` whether the
    container has IPv6.
    """
    if dns["servers"] is None:
        return None
    servers, search, options = parse(host_text)
    if dns["servers"]:
        servers = dns["servers"]
    elif not shared:
        servers = reachable(servers, ipv6) or reachable(parse(upstream)[0], ipv6)
        if forwarder:
            servers = [forwarder, *servers][:_MOST_SERVERS]
    if dns["search"]:
        search = [domain for domain in dns["search"] if domain != "."]
    options = dns["options"] or options
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def needs_forwarder(host_text, dns, upstream="", ipv6=True):
    """Whether a private network uses the helper's forwarder: if it gets no server otherwise,
    or the host has one that the forwarder knows (its first, if that is an IPv4 address)."""
    if dns["servers"] is None or dns["servers"]:
        return False
    servers = parse(host_text)[0]
    if servers and ":" not in servers[0]:
        return True
    return not (reachable(servers, ipv6) or reachable(parse(upstream)[0], ipv6))
