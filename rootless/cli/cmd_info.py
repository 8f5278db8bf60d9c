"""rl info: the machine, the store, and which rung of each ladder is in use."""

from rootless.cli import output
from rootless.engine import info


def main(engine, request):
    """Print what rl found; the exit code."""
    if request.why:
        rungs = info.ladders(engine)
        if request.format:
            output.document(rungs, request.format)
        else:
            output.write(why(rungs, engine.config))
        return 0
    found = info.collect(engine)
    if request.format:
        output.document(found, request.format)
    else:
        output.line(info.yaml({**found, "ladders": _short(found["ladders"])}))
    return 0


def _short(rungs):
    """Each ladder with only the rung in use; --why has the others."""
    shown = {}
    for name, rows in rungs.items():
        row = info.in_use(rows)
        shown[name] = row["rung"] if row else "none works: rl doctor"
    return shown


def why(rungs, config):
    """All rungs of all ladders and the settings that were made, as text in columns."""
    rows = []
    for name, tried in rungs.items():
        chosen = info.in_use(tried)
        for row in tried:
            if row is chosen:
                mark = "in use"
            else:
                mark = "works" if row["ok"] else "no"
            rows.append((name, row["rung"], mark, row["reason"]))
            name = ""
    text = output.columns([("LADDER", "RUNG", "", "WHY"), *rows])
    if config.sources:
        settings = [("", "")]
        settings += [(name, source) for name, source in sorted(config.sources.items())]
        text += output.columns([*settings[:1], ("SETTING", "FROM"), *settings[1:]])
    return text
