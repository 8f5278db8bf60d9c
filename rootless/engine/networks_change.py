"""``rl network connect``, disconnect and reload: containers change networks, also running."""

import os

from rootless import helpers_dir
from rootless.engine import connect as connecting
from rootless.engine import events, networks, networks_join, networks_leases, rate, records
from rootless.errors import RlError
from rootless.kernel import userns
from rootless.model.network import address, host_name, is_ipv6, mac_address
from rootless.network import host as host_network
from rootless.network import hosts
from rootless.network.bridge import plug


class NotOnNetworks(RlError):
    """container {0} has --network {1}: it can be on no network with a name"""

    hint = "make it anew with: rl run --network NAME"


class AlreadyOn(RlError):
    """container {0} is on the network {1} already"""

    hint = "rl network disconnect {1} {0} takes it off"


class NotOn(RlError):
    """container {0} is not on the network {1}"""

    hint = "rl inspect {0} shows its networks"


class AddressesLost(RlError):
    """the runtime directory of container {0} was emptied, and its addresses with it"""

    hint = "rl restart {0} gives it others"


class BadWish(RlError):
    """network connect {0} {1}: {2}"""

    hint = "rl network connect --help"


def wish(name, ip=None, ip6=None, mac=None, aliases=()):
    """What ``rl network connect`` asks for, as an entry of model.network; BadWish."""
    entry = {"name": name, "ips": [], "mac": None, "aliases": [], "interface_name": None}
    option, text = "", ""
    try:
        for option, text in (("--ip", ip), ("--ip6", ip6)):
            if text is not None:
                entry["ips"].append(address(text))
                if is_ipv6(entry["ips"][-1]) != (option == "--ip6"):
                    raise ValueError(f"not an IPv{'6' if option == '--ip6' else '4'} address")
        if mac is not None:
            option, text = "--mac-address", mac
            entry["mac"] = mac_address(mac)
        for text in aliases:
            option = "--alias"
            entry["aliases"].append(host_name(text))
    except ValueError as error:
        raise BadWish(option, text, str(error)) from None
    return entry


def connect(engine, network, container, **wanted):
    """Put a container on a network, at once if it runs; ``wanted``: of ``wish``."""
    definition = networks.find(engine, network)
    entry = wish(definition["name"], **wanted)
    record = records.find(engine, container)
    entries = _entries(record)
    if any(one["name"] == entry["name"] for one in entries):
        raise AlreadyOn(record["name"], entry["name"])
    if records.state(engine, record)["pid"]:
        _plug(engine, record, definition, entry)
    _note(engine, record,
          lambda now: [*(one for one in now if one["name"] != entry["name"]), entry])
    events.network(engine, "connect", definition["name"], record["id"])


def _entries(record):
    parsed = record["network"]["parsed"]
    if parsed["mode"] != "networks":
        raise NotOnNetworks(record["name"], parsed["mode"])
    return parsed["networks"]


def _note(engine, record, change):
    """Write down which networks a container is on: ``change`` makes a new list of the old."""

    def changed(now):
        entries = change(_entries(now))
        wanted = {**now["network"], "parsed": {"mode": "networks", "networks": entries}}
        return {"network": wanted, "networks": [entry["name"] for entry in entries]}

    records.update(engine, record, changed)


def _joined(engine):
    definitions = networks.with_default(engine)
    return networks_join.joined_of(engine, [], definitions, host_network.look(),
                                   connecting.programs(engine),
                                   lambda: connecting.rungs(engine))


def live(engine, joined):
    """The holder of this store's networks (networks_join.Live), not entered yet."""
    run_dir = networks_leases.run_directory(engine, make=True)
    return networks_join.Live(engine, run_dir, f"{helpers_dir()}/netholder", joined)


def _plug(engine, record, definition, entry):
    joined = _joined(engine)
    name = definition["name"]
    with networks.Locked(engine):
        networks_leases.run_directory(engine, make=True)
        there = networks_leases.of_container(engine, record["id"])
        used = {lease["interface"] for lease in there.values()}
        interface = next(f"eth{n}" for n in range(len(used) + 1) if f"eth{n}" not in used)
        number = max((lease["number"] for lease in there.values()), default=-1) + 1
        lease = networks_leases.take(engine, record, definition, entry, number, interface)
    try:
        with live(engine, joined) as there, networks_join.Inside(engine, record) as inside:
            if (record["id"], name) not in there.members:
                known = any(member == record["id"] for member, _ in there.members)
                there.plug(record["id"], [(definition, lease)], inside.namespace, inside.route,
                           None if known else inside.pidfd)
    except BaseException:
        networks_leases.drop(engine, name, record["id"])
        raise
    rate.renew(engine, record)
    _rewrite(engine, record, added=lease)


def disconnect(engine, network, container, force=False):
    """Take a container off a network, at once if it runs.

    ``force``: also where the network's definition is gone.
    """
    record = records.find(engine, container)
    try:
        definition = networks.find(engine, network)
        name = definition["name"]
    except networks.NoNetwork:
        if not force:
            raise
        definition, name = None, network
    entries = _entries(record)
    left = [one for one in entries if one["name"] != name]
    if len(left) == len(entries):
        raise NotOn(record["name"], name)
    lease = networks_leases.of_container(engine, record["id"]).get(name)
    if lease and definition and records.state(engine, record)["pid"]:
        joined = _joined(engine)
        with live(engine, joined) as there:
            plug.remove_member(there.holder, definition, record["id"])
        networks_leases.drop(engine, name, record["id"])
        _rewrite(engine, record, removed=lease)
    _note(engine, record, lambda now: [one for one in now if one["name"] != name])
    events.network(engine, "disconnect", name, record["id"])


def reload(engine, record):
    """Put a running container anew into its networks, whatever happened to them."""
    name = record["name"]
    if record["network"]["parsed"]["mode"] != "networks":
        raise NotOnNetworks(name, record["network"]["parsed"]["mode"])
    if record["network"]["parsed"]["networks"] and not networks_leases.of_container(
        engine, record["id"]
    ):
        raise AddressesLost(name)
    joined = _joined(engine)
    with live(engine, joined) as there:
        for running, members in networks_join.running_members(engine):
            if running["id"] != record["id"] or name in there.repaired:
                continue
            for definition, _ in members:
                plug.remove_member(there.holder, definition, record["id"])
            with networks_join.Inside(engine, record) as inside:
                inside.clear([lease["interface"] for _, lease in members])
                there.plug(record["id"], members, inside.namespace, inside.route, inside.pidfd)
    rate.renew(engine, record)


# --- the files of a running container --------------------------------------------------------


def _rewrite(engine, record, added=None, removed=None):
    """Let /etc/hosts and /etc/resolv.conf of a running container follow its networks."""
    directory = f"{records.directory(engine, record['id'])}/files"
    leased = networks_leases.of_container(engine, record["id"])
    members = [(networks.load(engine, name), lease) for name, lease in leased.items()]
    text = networks_join.resolver(record, members)
    if text is not None:
        _replace(engine, f"{directory}/resolv.conf", text)
    path = f"{directory}/hosts"
    if record["network"]["no_hosts"] or not os.path.exists(path):
        return
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read(1 << 20).splitlines()
    gone = {row["address"] for row in (removed or {}).get("addresses", ())}
    lines = [line for line in lines if not gone or line.split()[:1] not in [[a] for a in gone]]
    names = " ".join(networks_join.own_names(record))
    lines += [f"{row['address']}\t{names}" for row in (added or {}).get("addresses", ())]
    if added and not any("host.containers.internal" in line.split() for line in lines):
        host = networks_join.host_address(host_network.look())
        if host and any(not one["internal"] for one, _ in members):
            lines.append(f"{host}\t{' '.join(hosts.HOST_NAMES)}")
    _replace(engine, path, "".join(f"{line}\n" for line in lines))


def _replace(engine, path, text):
    """Write into the file as it is: it is mounted in the container."""
    try:
        _write(path, text)
    except FileNotFoundError:
        return  # the image's own is in use
    except PermissionError:  # it belongs to the container's root
        userns.call_in(engine.ids, _write, path, text)


def _write(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)
