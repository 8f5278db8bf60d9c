"""`rl doctor`: what keeps this machine's containers from a better rung, and the way up."""

from rootless.engine import info
from rootless.engine.checks import Finding, facts, ids, layer, network, session

CHECKS = (ids.check, layer.check, network.check, session.check)
_ORDER = {"fatal": 0, "missing": 1, "warn": 2}


def examine(engine):
    """Look at everything afresh.

    A dict: ``able`` (bool: containers can run), ``ladders`` ({name: rows}, see
    info.ladders), ``findings`` (list of dicts, see checks.Finding, the gravest first).
    """
    rungs = info.ladders(engine, fresh=True)
    seen = facts.gather(engine, rungs)
    found = findings(seen)
    return {
        "able": able(seen, found),
        "ladders": rungs,
        "findings": [finding.as_dict() for finding in found],
    }


def findings(seen):
    """What all checks say about the Facts ``seen``, and the lost rungs that none explains."""
    found = [finding for check in CHECKS for finding in check(seen)]
    found += _unexplained(seen, found)
    found.sort(key=lambda finding: _ORDER[finding.level])
    return found


def able(seen, found):
    """Whether containers can run here: nothing is fatal and each needed ladder has a rung."""
    if any(finding.level == "fatal" for finding in found):
        return False
    return all(seen.best(ladder) for ladder in ("ids", "layer") if ladder in seen.rungs)


def _unexplained(seen, found):
    """A finding with the probe's own words for each ladder whose loss no check accounts for."""
    spoken = {finding.ladder for finding in found}
    for ladder, rows in seen.rungs.items():
        if ladder in spoken or not rows or rows[0]["ok"]:
            continue
        lost = []
        for row in rows:
            if row["ok"]:
                break
            lost.append(row)
        yield Finding(
            f"{ladder}-lost".replace(" ", "-"),
            ladder,
            "missing" if len(lost) < len(rows) else "fatal",
            f"{lost[0]['rung']} doesn't work here",
            [f"trying {row['rung']}: {row['reason']}" for row in lost],
        )
