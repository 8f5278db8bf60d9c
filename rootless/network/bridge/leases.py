"""Which address a member of a network gets: arithmetic over what is taken."""

from rootless.errors import RlError
from rootless.model.network import at, inside, is_ipv6, number, subnet


class NoAddressLeft(RlError):
    """network {0} has no free address left in {1}"""

    hint = "remove containers, or make a larger network: rl network create --subnet …"


class AddressTaken(RlError):
    """the address {0} is already in use on the network {1}, by the container {2}"""

    hint = "leave the address out and one is chosen; rl network inspect {1} shows those in use"


class NotInNetwork(RlError):
    """the address {0} is in no subnet of the network {1}: {2}"""

    hint = "rl network inspect {1} shows its subnets"


class NotForContainers(RlError):
    """the address {0} is the {1} of the network {2}"""

    hint = "choose another one, or leave it out"


def choose(definition, wanted, taken, last=None):
    """The addresses of a new member: a list of {"address", "prefix", "gateway"}, one for each
    subnet of the network.

    ``wanted`` are the addresses it asks for, ``taken`` maps those in use to whom they belong,
    ``last`` maps a subnet to the address that was given out last: they are not used again at
    once.  Raises NoAddressLeft, AddressTaken, NotInNetwork and NotForContainers.
    """
    found = []
    left = list(wanted)
    for entry in definition["subnets"]:
        base, prefix = subnet(entry["subnet"])
        own = [text for text in left if inside(text, base, prefix)][:1]
        if own:
            left.remove(own[0])
            _check(definition, entry, own[0], taken)
            chosen = own[0]
        else:
            chosen = _next(definition, entry, taken, (last or {}).get(entry["subnet"]))
        found.append({"address": chosen, "prefix": prefix, "gateway": entry["gateway"]})
    if left:
        subnets = ", ".join(entry["subnet"] for entry in definition["subnets"])
        raise NotInNetwork(left[0], definition["name"], subnets)
    return found


def _check(definition, entry, text, taken):
    if text in taken:
        raise AddressTaken(text, definition["name"], taken[text])
    base, prefix = subnet(entry["subnet"])
    bits, first = number(base)
    last = first | ((1 << (bits - prefix)) - 1)
    if text == entry["gateway"]:
        raise NotForContainers(text, "gateway", definition["name"])
    if number(text)[1] == first or (bits == 32 and number(text)[1] == last):
        raise NotForContainers(text, "network or broadcast address", definition["name"])


def _next(definition, entry, taken, last):
    base, prefix = subnet(entry["subnet"])
    bits, first = number(base)
    low, high = first + 1, (first | ((1 << (bits - prefix)) - 1)) - (bits == 32)
    chosen = entry.get("lease_range")
    if chosen:
        low = max(low, number(chosen["start_ip"])[1])
        high = min(high, number(chosen["end_ip"])[1])
    used = {number(text)[1] for text in taken if is_ipv6(text) == (bits == 128)}
    used.add(number(entry["gateway"])[1])
    start = low
    if last is not None and low <= number(last)[1] < high:
        start = number(last)[1] + 1
    # Among one more than there are used ones there is a free one, if any is.
    for value in _walk(start, low, high, len(used) + 1):
        if value not in used:
            return at(bits, value)
    raise NoAddressLeft(definition["name"], entry["subnet"])


def _walk(start, low, high, most):
    yield from range(start, min(high, start + most) + 1)
    yield from range(low, min(start, low + most + 1, high + 1))


def new_mac():
    """A random MAC address, unicast and locally administered, as text."""
    import os

    data = bytearray(os.urandom(6))
    data[0] = data[0] & 0xFC | 0x02
    return ":".join(f"{byte:02x}" for byte in data)
