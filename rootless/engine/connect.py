"""A container's network: from what its record asks for to what its start needs."""

import os

from rootless.engine import probes, records


def rungs(engine):
    """The network helpers that work here, best first (list of str)."""
    from rootless.network import probe

    return probe.usable(probes.get(engine, "network", find_rungs))


def find_rungs(engine):
    """Try the network helpers: the rows of network.probe.ladder."""
    from rootless.network import probe

    directory = f"{engine.runroot}/network-probe"
    os.makedirs(directory, 0o700, exist_ok=True)
    return probe.ladder(engine.ids, programs(engine), directory)


def find_user_networks(engine):
    """Try to make a network with a name: the rows of network.bridge.probe.ladder."""
    from rootless.network.bridge import probe, rules
    from rootless.network.plan import INTERFACE

    # Not from the store, which may not exist yet: looking shall not make one.
    return probe.ladder(rules.base(INTERFACE), next(iter(rungs(engine)), None))


def programs(engine):
    """The absolute paths of the programs that networks are made with; None where missing."""
    from rootless.network.plan import PROGRAMS

    return {name: engine.program(name) for name in PROGRAMS}


def prepare(engine, record, capabilities=()):
    """The plan and the texts of the container's files: see network.setup.prepare.

    ``record["network"]`` is what engine/create.py made of the options; ``capabilities`` are
    the names of those that the container's root has.
    """
    from rootless.model.network import OWN_MODES
    from rootless.network import setup

    wanted = record["network"]
    if wanted["parsed"]["mode"] == "networks":
        from rootless.engine import networks_join

        return networks_join.prepare(
            engine,
            record,
            programs(engine),
            lambda: rungs(engine),
            base_hosts(engine, record),
        )
    own = wanted["parsed"]["mode"] in OWN_MODES
    found = setup.prepare(
        wanted["parsed"],
        wanted["dns"],
        programs=programs(engine) if own else None,
        order=lambda: rungs(engine),
        names=list(dict.fromkeys(n for n in (record["hostname"], record["name"]) if n)),
        added=[tuple(entry) for entry in wanted["added_hosts"]],
        mac=wanted.get("mac"),
        base_hosts=base_hosts(engine, record),
        mtu=_mtu(wanted),
    )
    if wanted["no_hosts"]:
        found["hosts"] = None
    if found["plan"] and found["plan"]["rungs"]:
        _guard(engine, wanted["parsed"], capabilities, found)
    return found


def _guard(engine, network, capabilities, found):
    """See that root in the container can't reach the host's loopback, or tell that it can."""
    if "CAP_NET_ADMIN" not in capabilities and "CAP_NET_RAW" not in capabilities:
        return
    from rootless.network import guard

    if not guard.wanted(network, capabilities):
        return
    first = probes.get(engine, "network guard", lambda _: guard.ladder())[0]
    found["plan"]["guard"] = first["ok"]
    if not first["ok"]:
        found["warning"] = (
            "root in this container can reach services on the host's loopback, because "
            f"packets can't be filtered here ({first['reason']}); --network bridge keeps it out"
        )


def _mtu(wanted):
    """The largest packet of a network whose rate is limited; None for as large as it gets."""
    if not wanted.get("rate"):
        return None
    from rootless.network import shaping

    return shaping.largest_packet(wanted["rate"])


def base_hosts(engine, record):
    """The text that /etc/hosts begins with (--hosts-file); None for the host's own."""
    source = record["network"]["hosts_file"]
    if not source:
        return None
    if source == "none":
        return ""
    if source == "image":
        return _hosts_of_image(engine, record)
    from rootless.network.setup import read

    return read(source)


def _hosts_of_image(engine, record):
    """/etc/hosts of the uppermost layer that has one; "" if none has."""
    from rootless.kernel import files

    roots = [record["rootfs"]] if record["rootfs"] else engine.store.layers.paths(record["layers"])
    for path in reversed(roots):
        above = os.open(path, files.DIRECTORY)
        try:
            found = files.open_beneath(above, "etc/hosts", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue  # not there, or not a plain file in a plain directory
        finally:
            os.close(above)
        with open(found, "rb", 0) as file:
            if os.path.isfile(f"/proc/self/fd/{found}"):
                return file.read(1 << 20).decode("utf-8", "replace")
    return ""


def launch_step(engine, record, plan):
    """What the launcher calls with the pid of pid 1: starts the helper, returns words about
    it for the monitor.

    The end of a helper takes the kernel some 20 ms, which nobody has to wait for.
    """
    if plan is not None and "joined" in plan:
        from rootless.engine import networks_join

        return networks_join.step(engine, record, plan["joined"])
    if plan is None or not plan["rungs"]:
        return None
    from rootless.network.start import start  # before the fork

    guarded = plan.get("guard")
    if guarded:
        from rootless.network.guard import start

    def connect(pid, route):
        run_dir = records.run_directory(engine, record["id"])
        way = {"route": route} if guarded else {}
        helper = start(plan, pid=pid, run_dir=run_dir, **way)["pid"]
        return [] if helper is None else [f"unawaited={helper}"]

    return connect
