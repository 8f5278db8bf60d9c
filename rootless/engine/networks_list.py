"""What ``rl network ls``, inspect, rm and prune do; and what containers show of networks."""

from rootless.engine import events, networks, networks_leases, networks_rules, records
from rootless.engine import filters as reader
from rootless.errors import RlError
from rootless.model.network import DEFAULT_NETWORK

FILTERS = ("dangling", "driver", "id", "label", "label!", "name", "since", "until")


class NetworkInUse(RlError):
    """network {0} is used by the container {1}"""

    exit_code = 2
    hint = "rl network rm -f {0} removes its containers as well"


class Kept(RlError):
    """the default network {0} cannot be removed"""

    hint = "it takes nothing while no container is on it"


class Missing(networks.NoNetwork):
    """no network has the name or id {0!r}"""

    exit_code = 1


def users(engine):
    """Which containers are on which network: {name: [records]}, running or not."""
    found = {}
    for record in records.everything(engine):
        if "damaged" in record:
            continue
        for entry in record["network"]["parsed"].get("networks", ()):
            found.setdefault(entry["name"], []).append(record)
    return found


# --- showing -----------------------------------------------------------------------------------


def listing(engine, wanted=()):
    """The rows of ``rl network ls``: definitions in podman's words, sorted by name."""
    pairs = reader.parse(wanted, FILTERS)
    used = users(engine) if any(key == "dangling" for key, _ in pairs) else {}
    rows = []
    for definition in networks.with_default(engine):
        if _passes(definition, pairs, used):
            rows.append(row(definition))
    return rows


def row(definition):
    """A definition as templates name its parts."""
    return {
        "ID": definition["id"],
        "Name": definition["name"],
        "Driver": definition["driver"],
        "NetworkInterface": definition["network_interface"],
        "Created": definition["created"],
        "Subnets": definition["subnets"],
        "Routes": definition["routes"],
        "IPv6Enabled": definition["ipv6_enabled"],
        "Internal": definition["internal"],
        "DNSEnabled": definition["dns_enabled"],
        "NetworkDNSServers": definition["network_dns_servers"],
        "Labels": definition["labels"],
        "Options": definition["options"],
        "IPAMOptions": definition["ipam_options"],
    }


def plain(definition):
    """A definition as JSON shows it: empty lists are left out, as podman does."""
    return {key: value for key, value in definition.items()
            if key != "version" and (value or key not in ("routes", "network_dns_servers"))}


def _passes(definition, pairs, used):
    by_key = {}
    for key, value in pairs:
        by_key.setdefault(key, []).append(value)
    for key, values in by_key.items():
        fits = [_fits(definition, key, value, used) for value in values]
        if not (all(fits) if key in ("label", "label!") else any(fits)):
            return False
    return True


def _fits(definition, key, value, used):
    if key in ("label", "label!"):
        return reader.has_label(definition["labels"], value) == (key == "label")
    if key == "name":
        import re

        try:
            return re.search(value, definition["name"]) is not None
        except re.error as error:
            raise reader.BadFilter(f"name={value}", str(error)) from None
    if key == "id":
        return definition["id"].startswith(value)
    if key == "dangling":
        return (definition["name"] not in used) == reader.truth(key, value)
    if key in ("since", "until"):
        made = reader.moment(definition["created"])
        return made < reader.moment(value) if key == "until" else made > reader.moment(value)
    return definition["driver"] == value


def facts(engine, definition, whole=False):
    """``rl network inspect``: a definition, and who is on it now; ``whole``: with the lists that
    are empty, which templates may ask for."""
    shown = plain(definition)
    if whole:
        shown = {key: definition[key] for key in definition if key != "version"}
    shown["containers"] = {
        container_id: {"name": lease["name"], "interfaces": {lease["interface"]: {
            "subnets": [{"ipnet": f"{one['address']}/{one['prefix']}", "gateway": one["gateway"]}
                        for one in lease["addresses"]],
            "mac_address": lease["mac"]}}}
        for container_id, lease in networks_leases.of_network(engine, definition["name"]).items()
    }
    return shown


def settings(engine, record):
    """NetworkSettings.Networks of ``rl inspect`` for a container on networks: a dict."""
    leased = networks_leases.of_container(engine, record["id"])
    found = {}
    for entry in record["network"]["parsed"]["networks"]:
        name = entry["name"]
        lease = leased.get(name)
        shown = {"EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0,
                 "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
                 "MacAddress": entry["mac"] or "", "NetworkID": name, "DriverOpts": None,
                 "IPAMConfig": _asked(entry), "Links": None,
                 "Aliases": [*entry["aliases"], record["id"][:12]]}
        if lease:
            shown.update(_addresses(lease))
        found[name] = shown
    return found


def _asked(entry):
    if not entry["ips"]:
        return None
    found = {}
    for text in entry["ips"]:
        found["IPv6Address" if ":" in text else "IPv4Address"] = text
    return found


def _addresses(lease):
    found = {"MacAddress": lease["mac"]}
    for one in lease["addresses"]:
        if ":" in one["address"]:
            found.setdefault("GlobalIPv6Address", one["address"])
            found.setdefault("GlobalIPv6PrefixLen", one["prefix"])
            found.setdefault("IPv6Gateway", one["gateway"])
        else:
            found.setdefault("IPAddress", one["address"])
            found.setdefault("IPPrefixLen", one["prefix"])
            found.setdefault("Gateway", one["gateway"])
    return found


# --- removing ----------------------------------------------------------------------------------


def remove(engine, text, force=False, timeout=None):
    """``rl network rm``: the name of the network that is gone.

    ``force`` removes its containers first, giving each ``timeout`` seconds to end.  Raises
    Missing, Kept and NetworkInUse.
    """
    try:
        definition = networks.find(engine, text)
    except networks.NoNetwork:
        raise Missing(text) from None
    except networks.DamagedNetwork:
        if not force:
            raise
        with networks.Locked(engine):
            networks.delete(engine, text)
        return text
    name = definition["name"]
    if name == DEFAULT_NETWORK:
        raise Kept(name)
    if force:
        from rootless.engine import remove as removing

        items = users(engine).get(name, ())
        told = removing.tell(engine, items, timeout)
        for record in items:
            try:
                removing.remove(engine, record, True, timeout=timeout, told=record["id"] in told)
            except records.NoContainer:
                pass  # removed meanwhile
    _remove(engine, definition)
    return name


def _remove(engine, definition):
    name = definition["name"]
    with networks.Locked(engine):
        used = users(engine).get(name)
        if used:
            raise NetworkInUse(name, used[0]["name"])
        _take_down(engine, definition)
        networks.delete(engine, name)
        networks_rules.sweep(engine)
        networks_leases.forget_network(engine, name)
    events.network(engine, "remove", name)


def _take_down(engine, definition):
    """Remove the bridge from a holder that lives."""
    from rootless.engine.networks_join import locked
    from rootless.network.bridge import holder, plug

    run_dir = networks_leases.run_directory(engine)
    if not holder.lives(run_dir):
        return
    with locked(run_dir):
        found = holder.connect(run_dir)
        if found:
            with found:
                if definition["name"] in found.state()[0]:
                    plug.remove_network(found, definition, networks_rules.leave(engine, definition))


def prunable(engine, wanted=()):
    """The names of the networks that ``prune`` would remove."""
    pairs = reader.parse(wanted, ("label", "label!", "until"))
    used = users(engine)
    return [one["name"] for one in networks.everything(engine)
            if one["name"] not in used and one["name"] != DEFAULT_NETWORK
            and _passes(one, pairs, used)]


def prune(engine, wanted=()):
    """Remove the networks that no container is on: a list of (name, error or None)."""
    done = []
    for name in prunable(engine, wanted):
        try:
            _remove(engine, networks.load(engine, name))
            done.append((name, None))
        except (RlError, OSError) as error:
            done.append((name, error))
    return done
