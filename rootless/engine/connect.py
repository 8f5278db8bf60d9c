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


def programs(engine):
    """The absolute paths of the programs that networks are made with; None where missing."""
    from rootless.network.plan import PROGRAMS

    return {name: engine.program(name) for name in PROGRAMS}


def prepare(engine, record):
    """The plan and the texts of the container's files: see network.setup.prepare.

    ``record["network"]`` is what engine/create.py made of the options.
    """
    from rootless.model.network import OWN_MODES
    from rootless.network import setup

    wanted = record["network"]
    if wanted["parsed"]["mode"] == "networks":
        from rootless.engine import networks_join

        return networks_join.prepare(engine, record, programs(engine), lambda: rungs(engine))
    own = wanted["parsed"]["mode"] in OWN_MODES
    found = setup.prepare(
        wanted["parsed"],
        wanted["dns"],
        programs=programs(engine) if own else None,
        order=lambda: rungs(engine),
        names=list(dict.fromkeys(n for n in (record["hostname"], record["name"]) if n)),
        added=[tuple(entry) for entry in wanted["added_hosts"]],
        mac=wanted.get("mac"),
        base_hosts=_base_hosts(wanted["hosts_file"]),
    )
    if wanted["no_hosts"]:
        found["hosts"] = None
    return found


def _base_hosts(source):
    """The text to begin with: "none", a file, or None for the host's own."""
    from rootless.network.setup import read

    if not source or source == "image":
        return None
    return "" if source == "none" else read(source)


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

    def connect(pid, route):
        run_dir = records.run_directory(engine, record["id"])
        helper = start(plan, pid=pid, run_dir=run_dir)["pid"]
        return [] if helper is None else [f"unawaited={helper}"]

    return connect
