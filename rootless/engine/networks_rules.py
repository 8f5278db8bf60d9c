"""The networks' rules as bytes: made once by pyroute2, then read from ROOT/networks/.rules.

``rl network create`` makes them, so that no start of a container has to import pyroute2.
"""

import os
import time

from rootless import __version__
from rootless.engine import networks
from rootless.kernel import files

_FORM = 1  # to be changed with what network/bridge/rules.py makes
_PREFIX = f"{__version__}-{_FORM}-"
_LIMIT = 1 << 20
_PATIENCE = 600  # seconds: to write one of them takes much less


def base(engine, uplink):
    """The table of a new holder whose way out is the interface ``uplink``."""
    return _kept(engine, f"base-{uplink}", lambda rules: rules.base(uplink))


def join(engine, definition):
    """What puts a network's bridge in its place."""
    interface = definition["network_interface"]
    sets = sets_of(definition)
    return _kept(engine, f"join-{interface}-{'.'.join(sets)}",
                 lambda rules: rules.join(interface, sets))


def leave(engine, definition):
    """What takes it away."""
    interface = definition["network_interface"]
    sets = sets_of(definition)
    return _kept(engine, f"leave-{interface}-{'.'.join(sets)}",
                 lambda rules: rules.leave(interface, sets))


def sets_of(definition):
    """The sets of interfaces that the network's bridge is in."""
    from rootless.network.bridge import rules

    return rules.sets_of(definition)


def prepare(engine, definition):
    """Make all that a network will need."""
    from rootless.network.plan import INTERFACE

    base(engine, INTERFACE)
    join(engine, definition)
    leave(engine, definition)


def sweep(engine):
    """Remove what networks that are no more have needed, and what other versions of rl made.

    Called with networks.Locked held.
    """
    path = f"{networks.directory(engine)}/.rules"
    used = {definition["network_interface"] for definition in networks.everything(engine)}
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    for name in names:
        what, _, interface = name.removeprefix(_PREFIX).rpartition("-")[0].partition("-")
        current = name.startswith(_PREFIX) and (what not in ("join", "leave") or interface in used)
        if name.startswith("."):
            current = not files.is_temporary(name) or _is_recent(f"{path}/{name}")
        if not current:
            try:
                os.unlink(f"{path}/{name}")
            except FileNotFoundError:
                pass


def _is_recent(path):
    try:
        return abs(time.time() - os.lstat(path).st_mtime) < _PATIENCE
    except OSError:
        return True


def _kept(engine, name, make):
    path = f"{networks.directory(engine)}/.rules"
    name = f"{_PREFIX}{name}"
    try:
        with open(f"{path}/{name}", "rb", 0) as file:
            found = file.read(_LIMIT)
        if found:
            return found
    except FileNotFoundError:
        pass
    from rootless.network.bridge import rules

    found = make(rules)
    os.makedirs(path, 0o700, exist_ok=True)
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        files.write_atomic(here, name, found, sync=False)
    finally:
        os.close(here)
    return found
