"""``--network-rate``: the traffic of a container's network, limited at its start and later."""

import os

from rootless.engine import records
from rootless.errors import RlError
from rootless.kernel import userns


class NotItsOwn(RlError):
    """--network-rate cannot be combined with --network {0}: that network is not the container's"""

    hint = "limit the container that has the network, or leave one of the two out"


def check(network, given, ports):
    """The parsed rate of a new container; None without one.  Raises BadRate, NotItsOwn."""
    from rootless.network import shaping

    mode = network["mode"]
    if mode in ("host", "container", "ns") or (mode == "none" and not ports):
        raise NotItsOwn(mode)
    return shaping.parse(given)


def step(record, connect):
    """The network step of a launch, with the limits behind it."""
    from rootless.network import shaping  # noqa: F401  (before the fork)

    def limit(pid, route):
        words = connect(pid, route) if connect else []
        _apply(pid, record, record["network"]["rate"])
        return words

    return limit


def renew(engine, record):
    """Take in the interfaces that a running container has been given since its start."""
    pid = records.state(engine, record)["pid"]
    if pid and record["network"].get("rate"):
        _apply(pid, record, record["network"]["rate"])


def change(engine, record, given):
    """``rl update --network-rate``: the rate, in force already if the container runs."""
    rate = check(record["network"]["parsed"], given, record.get("ports"))
    pid = records.state(engine, record)["pid"]
    if pid:
        _apply(pid, record, rate)
    return rate


def _apply(pid, record, rate):
    from rootless.network import shaping

    ports = record.get("ports") or ()
    shared = record["network"]["parsed"]["mode"] == "networks"
    flags = os.O_RDONLY | os.O_CLOEXEC
    opened = [os.open(f"/proc/{pid}/ns/{kind}", flags) for kind in ("user", "net")]
    try:
        opened.append(userns.open_inside(*opened, lambda: shaping.open_socket(rate)))
        shaping.apply(opened[-1], rate, ports, shared)
    except OSError as error:
        raise shaping.CannotShape(error.strerror) from None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def shown(record):
    """For inspect: the limits in bits a second, None where there is none."""
    rate = record["network"].get("rate")
    if not rate:
        return None
    from rootless.network import shaping

    return {"Egress": rate["egress"], "Ingress": rate["ingress"], "Burst": rate["burst"],
            "LatencyMicroseconds": rate["latency"], "Text": shaping.text(rate)}
