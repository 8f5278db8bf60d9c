"""The text of a container's /etc/hosts (hosts(5)), made from the host's."""

from rootless.errors import RlError

HOST_FILE = "/etc/hosts"
HOST_NAMES = ("host.containers.internal", "host.docker.internal")
_LOCAL = (("127.0.0.1", "localhost"), ("::1", "localhost"))


class NoHostAddress(RlError):
    """--add-host {0}:host-gateway: this container's network does not reach the host"""

    hint = "leave --network at its default, or give the address itself"


def parse(text):
    """The entries of a hosts file, as a list of (address, names)."""
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1:
            found.append((words[0], tuple(words[1:])))
    return found


def make(base, *, names, addresses=(), host=None, added=()):
    """The text for a container, as str.

    ``base`` is the text of the host's file (or the one of --hosts-file), ``names`` the
    container's own names, ``addresses`` its own addresses (none: its loopback stands in),
    ``host`` the address under which it reaches the host or None, ``added`` what
    ``model.network.parse_hosts`` returned.  A name of a later kind hides the same name in
    an earlier one: base, the host's names, own names, --add-host.
    """
    entries = [(address, tuple(names)) for address in addresses or ("127.0.0.1",)]
    entries = [entry for entry in entries if entry[1]]
    theirs = []
    for address, added_names in added:
        if address == "host-gateway":
            if host is None:
                raise NoHostAddress(added_names[0])
            address = host
        theirs.append((address, tuple(added_names)))
    below = [(host, HOST_NAMES)] if host else []
    layers = [theirs, entries, below, parse(base)]
    lines, taken = [], set()
    for layer in layers:
        seen = set()
        for address, own in layer:
            # One name may have an IPv4 and an IPv6 line within a layer, not across layers.
            left = [name for name in own if name.lower() not in taken]
            seen.update(name.lower() for name in own)
            if left:
                lines.append((address, left))
        taken |= seen
    if "localhost" not in taken:
        lines = [(address, [name]) for address, name in _LOCAL] + lines
    else:
        lines.sort(key=lambda line: "localhost" not in line[1])
    return "".join(f"{address}\t{' '.join(names)}\n" for address, names in lines)
