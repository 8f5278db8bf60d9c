"""rl unpause"""

from rootless.cli import results
from rootless.engine import lifecycle, processes


def main(engine, request):
    """Do what --help says to each container."""

    def one(record):
        processes.unpause(engine, record)
        return lifecycle.shown(record)

    return results.report(lifecycle.each(lifecycle.select(engine, request, ("paused",)), one))
