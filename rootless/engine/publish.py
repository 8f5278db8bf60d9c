"""A container's published ports: opened at its start, carried by helpers/forward.

The ports of the moment are in the file ``ports`` of the container's runtime directory; its
lock is held by the forwarder, so that whoever reads it knows whether they are served.
"""

import os

from rootless import helpers_dir
from rootless.engine import records
from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext

FILE = "ports"
_LIMIT = 1 << 22


class NotServed(RlError):
    """the ports of container {0} are closed: the process that carried them was killed"""

    hint = "open them again with: rl restart {0}"


class Ports:
    """Ports that are open for a start: ``opened`` (network.ports_open), and the lock."""

    def __init__(self, opened, held):
        self.opened = opened
        self.held = held

    def descriptors(self):
        """What nobody but the forwarder may keep (a list of int)."""
        return [*(descriptor for descriptor, _, _ in self.opened.sockets), self.held]

    def close(self):
        """Close them here."""
        self.opened.close()
        if self.held is not None:
            os.close(self.held)
            self.held = None


# --- at start -------------------------------------------------------------------------------


def open_ports(engine, record):
    """Open the ports of a container that is about to start: a Ports.

    Raises PortInUse and the other errors of network.ports_open.
    """
    run_dir = records.run_directory(engine, record["id"])
    from rootless.network import ports_open

    opened = ports_open.open_all(
        record["ports"], who=lambda port, protocol: _owner(engine, record, port, protocol)
    )
    try:
        held = _note(run_dir, opened.mappings)
    except BaseException:
        opened.close()
        raise
    return Ports(opened, held)


def _note(run_dir, mappings):
    """Write the file of the moment's ports; the descriptor of its lock."""
    draft = f"{run_dir}/.{FILE}"
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    held = os.open(draft, flags, 0o600)
    try:
        files.lock(held)
        os.write(held, jsontext.dumps({"version": 1, "ports": mappings}).encode())
        os.rename(draft, f"{run_dir}/{FILE}")
    except BaseException:
        os.close(held)
        raise
    return held


def _owner(engine, record, port, protocol):
    """Which other container has the port: words for an error, or None."""
    for other in records.everything(engine):
        if "damaged" in other or other["id"] == record["id"] or not other.get("ports"):
            continue
        if any(covers(entry, port, protocol) for entry in current(engine, other) or ()):
            return f"container {other['name']}"
    return None


def covers(mapping, port, protocol):
    """Whether a mapping holds this port of the host."""
    first = mapping["host_port"]
    return mapping["protocol"] == protocol and first <= port < first + mapping["range"]


def step(engine, record, ports, connect, gateways):
    """What the launcher calls with the pid of pid 1, where ports are published.

    ``connect`` is the same for the network alone, or None; ``gateways`` the addresses that
    stand for clients whose own can't be kept.
    """
    from rootless.network import forward  # before the fork

    program = f"{helpers_dir()}/forward"
    gateways = [text for text in gateways if text]

    def publish(pid, route):
        started = forward.start(
            program, ports.opened, pid=pid, gateways=gateways, held=ports.held
        )
        words = connect(pid, route) if connect else []
        reason = started.wait()
        if reason:
            text = f"services of {record['name']} don't see their clients' addresses: {reason}"
            os.write(2, f"Warning: {text}\n".encode())
        return [*words, f"helper={started.pid}"]

    return publish


# --- afterwards -----------------------------------------------------------------------------


def current(engine, record):
    """The mappings that are served now; None if the container doesn't run, or they aren't."""
    path = f"{records.run_directory(engine, record['id'])}/{FILE}"
    try:
        # It may be a link to what the monitor has open: engine/regain.py.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if records.hold(descriptor):
            return None
        return jsontext.loads(os.read(descriptor, _LIMIT))["ports"]
    except (jsontext.DecodeError, KeyError):
        return None
    finally:
        os.close(descriptor)


def shown(engine, record, runs):
    """The mappings to show: what is served; of one that doesn't run what was asked for."""
    found = current(engine, record)
    if found is None and not runs:
        found = [entry for entry in record["ports"] if entry["host_port"]]
    return found or []


def served(engine, record):
    """As ``shown``; NotServed if the container runs and its ports have been lost."""
    if not record.get("ports"):
        return []
    runs = bool(records.state(engine, record)["pid"])
    found = shown(engine, record, runs)
    if runs and not found:
        raise NotServed(record["name"])
    return found


def text(mappings):
    """The PORTS column: "0.0.0.0:8080->80/tcp, …"."""
    words = []
    for entry in mappings:
        ip, last = entry["host_ip"] or "0.0.0.0", entry["range"] - 1
        host, port = str(entry["host_port"]), str(entry["container_port"])
        if last:
            host = f"{host}-{entry['host_port'] + last}"
            port = f"{port}-{entry['container_port'] + last}"
        place = f"[{ip}]" if ":" in ip else ip
        words.append(f"{place}:{host}->{port}/{entry['protocol']}")
    return ", ".join(words)


def by_port(mappings, exposed=()):
    """{"80/tcp": [{"HostIp", "HostPort"}]} as inspect shows it; None for ports only exposed."""
    found = {}
    for entry in mappings:
        for offset in range(entry["range"]):
            key = f"{entry['container_port'] + offset}/{entry['protocol']}"
            host = entry["host_port"] + offset if entry["host_port"] else ""
            row = {"HostIp": entry["host_ip"], "HostPort": str(host)}
            found.setdefault(key, []).append(row)
    for key in exposed:
        found.setdefault(key, None)
    return found
