"""Who has which address: RUN/leases/NETWORK/ID, a file for each container in each network.

RUN is RUNROOT/networks/DEVICE-INODE of the store's directory networks: stores may share a
runtime directory.

A lease counts only while its container's life lock is held: however a container dies, what it
had is free at that moment.
"""

import os

from rootless.engine import networks, records
from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext
from rootless.network.bridge import holder, leases, plug


def run_directory(engine, make=False):
    """Where the networks live at run time (absolute str): below the runtime directory of the
    session that started the holder.  ``make``: this session's if nobody lives there."""
    durable = networks.directory(engine)
    if make:
        os.makedirs(durable, 0o700, exist_ok=True)
    own = f"{engine.runroot}/{place(engine)}"
    link = f"{durable}/.run"
    try:
        found = os.readlink(link)
    except OSError:
        found = None
    if found == own and (not make or os.path.isdir(own)):
        return own
    if found and found != own and (holder.lives(found) or _has_members(engine, found)):
        return found
    if make:
        for path in (os.path.dirname(own), own, f"{own}/leases"):
            os.makedirs(path, 0o700, exist_ok=True)
        if found != own:
            temporary = f"{link}.{os.getpid()}"
            os.symlink(own, temporary)
            os.rename(temporary, link)
    return own


def _has_members(engine, run_dir):
    """Whether a lease in ``run_dir`` counts: its container waits there for another holder."""
    try:
        names = os.listdir(f"{run_dir}/leases")
        found = {entry for name in names for entry in os.listdir(f"{run_dir}/leases/{name}")}
    except OSError:
        return False
    return any(records.is_alive(records.run_directory(engine, entry))
               for entry in found if entry[0] != ".")


def place(engine):
    """The directory of this store's networks below the runtime directory (relative str)."""
    try:
        found = os.stat(networks.directory(engine))
    except OSError:
        return "networks/none"
    return f"networks/{found.st_dev:x}-{found.st_ino:x}"


def _path(engine, name):
    return f"{run_directory(engine)}/leases/{name}"


def of_network(engine, name, sweep=False):
    """The leases that count in a network, by container id."""
    path = _path(engine, name)
    found = {}
    try:
        entries = os.listdir(path)
    except FileNotFoundError:
        return found
    for entry in entries:
        if entry[0] == ".":
            continue
        if records.is_alive(records.run_directory(engine, entry)):
            lease = records.read_json(f"{path}/{entry}")
            if lease:
                found[entry] = lease
        elif sweep:
            _unlink(f"{path}/{entry}")
    return found


def of_container(engine, container_id):
    """The leases of a living container, by the network's name; {} for any other."""
    if not records.is_alive(records.run_directory(engine, container_id)):
        return {}
    return written(engine, container_id)


def written(engine, container_id):
    """The leases that a container has or had last, by the network's name."""
    top = f"{run_directory(engine)}/leases"
    found = {}
    try:
        entries = os.listdir(top)
    except FileNotFoundError:
        return found
    for name in entries:
        lease = records.read_json(f"{top}/{name}/{container_id}")
        if lease:
            found[name] = lease
    return dict(sorted(found.items(), key=lambda item: item[1].get("number", 0)))


def take(engine, record, definition, entry, number, interface):
    """Give a container addresses in a network, written down; with the lock held.

    ``entry`` is what --network asked for (model.network), ``number`` its place among the
    container's networks.  Raises what network.bridge.leases.choose does.
    """
    name = definition["name"]
    others = of_network(engine, name, sweep=True)
    before = others.pop(record["id"], None)
    taken = {}
    for lease in others.values():
        for row in lease["addresses"]:
            taken[row["address"]] = lease["name"]
    path = _path(engine, name)
    last = records.read_json(f"{path}/.last") or {}
    if entry["mac"] and any(lease["mac"] == entry["mac"] for lease in others.values()):
        other = next(lease for lease in others.values() if lease["mac"] == entry["mac"])
        raise leases.AddressTaken(entry["mac"], name, other["name"])
    addresses = _choose(definition, entry["ips"], taken, last, before)
    given = record["network"]["dns"]["servers"] or []
    lease = {
        "id": record["id"],
        "name": record["name"],
        "interface": interface,
        "mac": entry["mac"] or leases.new_mac(),
        "addresses": addresses,
        "names": list(dict.fromkeys([record["name"], *entry["aliases"], record["id"][:12]])),
        "aliases": list(entry["aliases"]),
        "servers": given[:3],
        "number": number,
    }
    for row, subnet in zip(addresses, definition["subnets"], strict=True):
        if not before:
            last[subnet["subnet"]] = row["address"]
    _write(engine, name, record["id"], lease)
    _write(engine, name, ".last", last)
    return lease


def _choose(definition, wanted, taken, last, before):
    """As leases.choose; what a container had ``before`` its restart it gets again, if it can."""
    if before and not wanted:
        again = [row["address"] for row in before["addresses"]]
        try:
            return leases.choose(definition, again, taken, last)
        except RlError:
            pass  # somebody took it meanwhile, or the network is another one
    return leases.choose(definition, wanted, taken, last)


def rename(engine, record, name):
    """Let a container be found as ``name`` on its networks, from now on."""
    run_dir = run_directory(engine)
    for network, lease in of_container(engine, record["id"]).items():
        names = dict.fromkeys([name, *(one for one in lease["names"] if one != lease["name"])])
        lease = {**lease, "name": name, "names": list(names)}
        _write(engine, network, record["id"], lease)
        found = holder.connect(run_dir)
        if found:
            with found:
                try:
                    plug.tell_names(found, network, lease, record["id"])
                except holder.HolderRefused:
                    continue  # it lost this container: what repairs that reads the lease


def _write(engine, network, name, value):
    path = _path(engine, network)
    os.makedirs(path, 0o700, exist_ok=True)
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.write_atomic(here, name, jsontext.dumps(value).encode(), sync=False)
    finally:
        os.close(here)


def drop(engine, name, container_id):
    """Give a container's addresses in a network back."""
    _unlink(f"{_path(engine, name)}/{container_id}")


def forget_network(engine, name):
    """Remove what a network's leases have left."""
    path = _path(engine, name)
    try:
        for entry in os.listdir(path):
            _unlink(f"{path}/{entry}")
        os.rmdir(path)
    except FileNotFoundError:
        pass


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
