"""rl create"""

from rootless.cli import output
from rootless.cli.cmd_run import progress
from rootless.engine.create import create


def main(engine, request):
    """Create a container and print its id."""
    output.line(create(engine, request, progress(request), durable=True)["id"])
    return 0
