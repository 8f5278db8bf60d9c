"""Which rung of the id ladder is in use: found once per boot, then remembered."""

from rootless.errors import RlError
from rootless.kernel import userns


def _programs(engine):
    return {name: engine.program(name) for name in ("newuidmap", "newgidmap")}


def candidates(engine):
    """The rungs to try, best first, as Ids."""
    best = userns.find_ids(_programs(engine))
    return [best] if best.single else [best, userns.single_ids()]


def _works():
    return True


def try_ids(ids):
    """None if a namespace with these ids can be made, else why it can't (str)."""
    try:
        userns.call_in(ids, _works)
    except (RlError, OSError) as error:
        return str(error)
    return None


def probe(engine):
    """Try the rungs: a list of {"rung", "ok", "reason"}, for the cache and for rl info."""
    rows = []
    for ids in candidates(engine):
        problem = try_ids(ids)
        rows.append({"rung": ids.rung, "ok": problem is None, "reason": problem or ""})
    return rows


def find_ids(engine):
    """The best Ids that work here; NoUserNamespace if there are none.

    What was found is kept with the other probe results: a helper that lost its set-uid bit
    shows as another modification time, and is tried again.
    """
    from rootless.engine import probes

    rungs = candidates(engine)
    if rungs[0].single:
        return rungs[0]
    rows = probes.get(engine, "ids", probe)
    for ids in rungs:
        if any(row["rung"] == ids.rung and row["ok"] for row in rows):
            return ids
    raise userns.NoUserNamespace(rows[-1]["reason"])
