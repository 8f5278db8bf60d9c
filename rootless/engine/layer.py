"""Which ways there are to give a container its writable layer: found once, remembered."""

from rootless.engine import probes

PROGRAM = "fuse-overlayfs"


def rungs(engine):
    """The drivers, best first: a list of {"rung", "ok", "reason"}, for drivers.choose."""
    return probes.get(engine, "layer", find_rungs)


def find_rungs(engine):
    """Try all drivers on the store's file system."""
    from rootless.store import drivers

    return drivers.probe(engine.store, engine.program(PROGRAM))
