"""rl pause"""

from rootless.cli import results
from rootless.engine import lifecycle, processes


def main(engine, request):
    """Do what --help says to each container."""

    def one(record):
        processes.pause(engine, record)
        return lifecycle.shown(record)

    return results.report(lifecycle.each(lifecycle.select(engine, request, ("running",)), one))
