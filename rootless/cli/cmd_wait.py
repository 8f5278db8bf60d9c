"""rl wait"""

from rootless.cli import output
from rootless.engine import lifecycle, records


def main(engine, request):
    """Wait for containers and print their exit codes."""
    how = lifecycle.check_conditions(request.condition, request.interval)
    for item in _items(engine, request):
        output.line("-1" if item is None else lifecycle.wait(engine, item, *how))
    return 0


def _items(engine, request):
    if request.latest:
        return lifecycle.select(engine, request)
    found = []
    for name in request.args:
        try:
            found.append(records.find(engine, name))
        except records.NoContainer:
            if not request.ignore:
                raise
            found.append(None)
    return found
