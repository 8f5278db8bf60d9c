"""rl doctor: what is missing here, the evidence, and the command that brings it."""

import sys

from rootless.cli import output
from rootless.engine import doctor, info

_COLOURS = {"ok": "32", "warn": "33", "missing": "33", "fatal": "31"}
_WIDTH = 8
_UNABLE = 1


def main(engine, request):
    """Print the findings; 0 if containers can run here, 1 if not."""
    found = doctor.examine(engine)
    if request.format:
        output.document(found, request.format)
    else:
        text = report(found)
        sys.stdout.write(_paint(output.escape(text)) if sys.stdout.isatty() else text)
    return 0 if found["able"] else _UNABLE


def _paint(text):
    """Colour the word that a line begins with."""
    lines = []
    for line in text.splitlines(True):
        word = line[:_WIDTH].strip()
        if word in _COLOURS:
            line = f"\x1b[{_COLOURS[word]}m{line[:_WIDTH]}\x1b[0m{line[_WIDTH:]}"
        lines.append(line)
    return "".join(lines)


def report(found):
    """The findings as text: one line for each ladder, then what each finding has to say."""
    lines = []
    for name, rows in found["ladders"].items():
        row = info.in_use(rows)
        if row is None:
            lines.append(f"{'fatal':<{_WIDTH}} {name}: nothing works")
        else:
            level = "ok" if row is rows[0] else "missing"
            reason = f" ({row['reason']})" if row["reason"] else ""
            lines.append(f"{level:<{_WIDTH}} {name}: {row['rung']}{reason}")
    for finding in found["findings"]:
        lines += ["", f"{finding['level']:<{_WIDTH}} {finding['cause']}"]
        lines += [f"         seen:      {line}" for line in finding["evidence"]]
        if finding["root"]:
            lines.append(f"         as root:   {finding['root']}")
        if finding["user"]:
            lines.append(f"         yourself:  {finding['user']}")
    lines.append("")
    if not found["able"]:
        lines.append("Containers can't run here until the fatal ones are dealt with.")
    elif found["findings"]:
        lines.append("Containers run here; each line above would give them more.")
    else:
        lines.append("Nothing is missing.")
    return "".join(f"{line}\n" for line in lines)
