"""A container's part in user networks: before its start, while it starts, and repairs.

    P0  prepare      addresses are taken (leases), the texts of its files made, the holder found
                     or started: a child of P1's would be ended with a launch that fails
    P1  step         the bridges are made, the container plugged in

What P1 needs is loaded before the fork.
"""

import os

from rootless import helpers_dir
from rootless.engine import networks, networks_leases, networks_rules, records
from rootless.engine.control import NotRunning
from rootless.errors import RlError
from rootless.kernel import files, netlink, userns
from rootless.model.network import is_ipv6, subnet
from rootless.network import host as host_network
from rootless.network import hosts, plan, resolv, setup, start
from rootless.network.bridge import holder as holding
from rootless.network.bridge import plug

_NO_HELPER = (
    "neither pasta nor slirp4netns works here: containers on networks reach only each other "
    "(rl doctor tells why)"
)


class Joined:
    """What a start on user networks needs: ``members``, a list of (definition, lease),
    ``rules`` by network's name and "" for the table."""

    def __init__(self, members, rules, outside):
        self.members = members
        self.rules = rules
        self._make = outside
        self._outside = None

    @property
    def outside(self):
        """How the holder's namespace reaches the outside: a plan of network.plan.

        Made when it is first asked for: a holder that is connected needs none.
        """
        if self._outside is None:
            self._outside = self._make()
        return self._outside


def prepare(engine, record, programs, order, base_hosts=None):
    """As network.setup.prepare, for a container on networks with names.

    ``plan`` of the result is for ``step``; the leases count from now on, and ``holder``, a
    connection, keeps the holder alive until the container does.
    """
    wanted = record["network"]
    definitions = networks.with_default(engine)
    by_name = {one["name"]: one for one in definitions}
    members = []
    with networks.Locked(engine):
        networks_leases.run_directory(engine, make=True)
        entries = wanted["parsed"]["networks"]
        interfaces = interface_names(entries)
        for number, entry in enumerate(entries):
            if entry["name"] not in by_name:
                raise networks.NoNetwork(entry["name"])
            definition = by_name[entry["name"]]
            lease = networks_leases.take(engine, record, definition, entry, number,
                                         interfaces[number])
            members.append((definition, lease))
    facts = host_network.look()
    joined = joined_of(engine, members, definitions, facts, programs, order)
    text = resolver(record, members)
    holder = _keep(networks_leases.run_directory(engine)) if members else None
    reaches = not holder or holder.connected or bool(joined.outside["rungs"])
    way_out = host_address(facts) if reaches else None
    own_hosts = _hosts(record, members, way_out, base_hosts)
    gateways = [row["gateway"] for _, lease in members for row in lease["addresses"]]
    return {"plan": {"rungs": [], "gateways": gateways, "joined": joined}, "resolv": text,
            "hosts": own_hosts, "warning": None if reaches else _NO_HELPER, "holder": holder}


def host_address(facts):
    """Where containers find the host, which ``facts`` (network.host.look) are about."""
    return facts["address4"] or facts["address6"]


def _keep(run_dir):
    found = holding.connect(run_dir)
    if found:
        return found
    with locked(run_dir):
        return holding.find_or_start(run_dir, f"{helpers_dir()}/netholder")[0]


def joined_of(engine, members, definitions, facts, programs, order):
    """The Joined of some members; ``definitions`` are all there are."""
    rules = _Rules(engine)
    rules[""] = networks_rules.base(engine, plan.INTERFACE)
    for definition, _ in members:
        rules[definition["name"]] = networks_rules.join(engine, definition)
    return Joined(members, rules, lambda: outside(definitions, facts, programs, order))


class _Rules(dict):
    """The rules by network's name; those of others are read when one has to be repaired."""

    def __init__(self, engine):
        self._engine = engine

    def __missing__(self, name):
        self[name] = networks_rules.join(self._engine, networks.load(self._engine, name))
        return self[name]


def outside(definitions, facts, programs, order):
    """How the holder's namespace reaches the outside: a plan of network.plan."""
    prefixes = list(facts["prefixes"])
    for definition in definitions:
        prefixes += [list(subnet(one["subnet"])) for one in definition["subnets"]]
    return plan.make_plan({"mode": "private"}, programs, order=order(),
                          facts={**facts, "prefixes": prefixes})


def interface_names(entries):
    """The names of a container's interfaces: eth0, eth1 … where none was asked for."""
    taken = [entry["interface_name"] for entry in entries if entry["interface_name"]]
    free = (f"eth{n}" for n in range(len(entries) + len(taken) + 1) if f"eth{n}" not in taken)
    return [entry["interface_name"] or next(free) for entry in entries]


def _hosts(record, members, way_out, base):
    """The text of a container's /etc/hosts; None where the image's own stays."""
    wanted = record["network"]
    if wanted["no_hosts"]:
        return None
    return hosts.make(
        setup.read(hosts.HOST_FILE) if base is None else base,
        names=own_names(record),
        addresses=[row["address"] for _, lease in members for row in lease["addresses"]],
        host=None if all(one["internal"] for one, _ in members) else way_out,
        added=[tuple(entry) for entry in wanted["added_hosts"]],
    )


def own_names(record):
    """The names that a container's own addresses have in its /etc/hosts."""
    return list(dict.fromkeys(name for name in (record["hostname"], record["name"]) if name))


def resolver(record, members):
    """The text of a container's /etc/resolv.conf; None where the image's own stays."""
    dns = record["network"]["dns"]
    host_text = setup.read(resolv.HOST_FILE)
    # Networks that know the outside come first: the first server is asked for everything.
    ordered = sorted(members, key=lambda member: member[0]["internal"])
    servers = [text for one, _ in ordered if one["dns_enabled"] for text in plug.gateways(one)]
    if dns["servers"] is None or not servers:
        ipv6 = any(one["ipv6_enabled"] for one, _ in members)
        return resolv.make(host_text, dns, upstream=setup.read(resolv.UPSTREAM_FILE), ipv6=ipv6)
    servers.sort(key=is_ipv6)
    options = dns["options"] or resolv.parse(host_text)[2]
    if not any(word.startswith("ndots:") for word in options):
        options = [*options, "ndots:0"]  # a container's name has no dot: ask for it as it is
    return resolv.make(host_text, {**dns, "servers": servers[:3], "options": options})


# --- in P1, and from verbs -------------------------------------------------------------------


def step(engine, record, joined):
    """What the launcher calls with the pid of pid 1; it puts the container into its networks."""
    run_dir = networks_leases.run_directory(engine)
    program = f"{helpers_dir()}/netholder"

    def connect(pid, route):
        if not joined.members:  # every one was disconnected
            return []
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            pidfd = os.pidfd_open(pid)
        except OSError:  # it has ended: what it said is told, if it said anything
            raise plug.NoInterface(joined.members[0][0]["name"], "its process has ended") from None
        try:
            with Live(engine, run_dir, program, joined, skip=record["id"]) as live:
                live.plug(record["id"], joined.members, namespace, route, pidfd)
        finally:
            os.close(namespace)
            os.close(pidfd)
        return []

    return connect


class locked:
    """Nobody else works on what the holder in ``run_dir`` has."""

    def __init__(self, run_dir):
        self._path = f"{run_dir}/lock"

    def __enter__(self):
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        files.lock(self._lock)
        return self

    def __exit__(self, *error):
        os.close(self._lock)


class Live:
    """The holder, with the lock of its directory: nobody else changes what it has.

    Entering starts it if need be, connects it to the outside, and puts the running
    containers of a lost holder back (but not ``skip``, which is being started).
    """

    def __init__(self, engine, run_dir, program, joined, skip=None):
        self.engine = engine
        self.run_dir = run_dir
        self.program = program
        self.joined = joined
        self.skip = skip
        self.repaired = []

    def __enter__(self):
        self._lock = locked(self.run_dir)
        self._lock.__enter__()
        try:
            self.holder, new = holding.find_or_start(self.run_dir, self.program)
        except BaseException:
            self._lock.__exit__()
            raise
        try:
            self.known, self.members = self.holder.state()
            if not self.known:
                new = True
                plug.filter_rules(self.holder, self.joined.rules[""])
            if not self.holder.connected:
                plug.connect_outside(self.holder, self.joined.outside, self.run_dir, start.start)
            if new:
                self.repair()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        self.holder.close()
        self._lock.__exit__()

    def network(self, definition):
        """See that the network is there."""
        if definition["name"] not in self.known:
            plug.make_network(self.holder, definition, self.joined.rules[definition["name"]])
            self.known.add(definition["name"])

    def plug(self, container_id, members, namespace, route, pidfd):
        """Put a container into networks: a list of (definition, lease)."""
        for definition, lease in members:
            self.network(definition)
            plug.add_member(self.holder, definition, lease, container_id, namespace=namespace,
                            route=route, pidfd=pidfd, first=True)
            pidfd = None  # it knows the member now
            self.members.add((container_id, definition["name"]))

    def repair(self):
        """Plug in the running containers that the holder doesn't know: their names."""
        for record, members in running_members(self.engine):
            missing = [(one, lease) for one, lease in members
                       if (record["id"], one["name"]) not in self.members]
            if record["id"] == self.skip or not missing:
                continue
            try:
                with Inside(self.engine, record) as inside:
                    inside.clear([lease["interface"] for _, lease in missing])
                    known = any(member == record["id"] for member, _ in self.members)
                    self.plug(record["id"], missing, inside.namespace, inside.route,
                              None if known else inside.pidfd)
                self.repaired.append(record["name"])
            except RlError:
                continue  # it has just ended; or else network reload tells


def running_members(engine):
    """Every running container on networks: (record, [(definition, lease)])."""
    found = {}
    for definition in networks.everything(engine):
        for container_id, lease in networks_leases.of_network(engine, definition["name"]).items():
            found.setdefault(container_id, []).append((definition, lease))
    for container_id, members in found.items():
        try:
            record = records.load(engine, container_id)
        except RlError:
            continue
        if records.state(engine, record)["pid"]:
            yield record, sorted(members, key=lambda member: member[1]["number"])


class Inside:
    """A running container's network, opened from outside: ``namespace``, ``route`` (an
    rtnetlink socket in there) and ``pidfd`` are descriptors.  NotRunning if it has ended."""

    def __init__(self, engine, record):
        self._opened = []
        pid = records.state(engine, record)["pid"]
        if not pid:
            raise NotRunning(record["name"])
        try:
            self.pidfd = self._keep(os.pidfd_open(pid))
            user = self._keep(os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
            self.namespace = self._keep(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            self.route = self._keep(userns.open_inside(user, self.namespace, _route_socket))
        except OSError:
            self.close()
            raise NotRunning(record["name"]) from None

    def _keep(self, descriptor):
        self._opened.append(descriptor)
        return descriptor

    def clear(self, interfaces):
        """Remove what is left of interfaces whose other end may be gone."""
        with netlink.Route(self.route) as route:
            for name in interfaces:
                try:
                    route.delete_link(route.index(name))
                except OSError:
                    pass

    def close(self):
        """Close the descriptors."""
        for descriptor in self._opened:
            os.close(descriptor)
        self._opened = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _route_socket():
    return netlink.Route().detach()
