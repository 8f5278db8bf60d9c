"""rl update"""

from rootless.cli import output
from rootless.engine import lifecycle


def main(engine, request):
    """Change a container that exists."""
    for record in lifecycle.select(engine, request):
        lifecycle.change(engine, record, request)
        output.line(record["id"])
    return 0
