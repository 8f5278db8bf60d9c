"""rl diff"""

from rootless.cli import output
from rootless.engine import diff
from rootless.errors import RlError

_NAMES = {"C": "changed", "A": "added", "D": "deleted"}


class BadFormat(RlError):
    """--format {0!r}: only json is known"""


def main(engine, request):
    """List what differs: A added, C changed, D deleted."""
    form = request.format
    if form not in (None, "", "json"):
        raise BadFormat(form)
    found = diff.diff(engine, request)
    if form == "json":
        kinds = {}
        for letter, name in _NAMES.items():
            paths = [path for path, kind in found if kind == letter]
            if paths:
                kinds[name] = paths
        output.document(kinds)
        return 0
    output.write("".join(f"{kind} {_shown(path)}\n" for path, kind in found))
    return 0


def _shown(path):
    return path.replace("\n", "\\n")
