"""rl init"""

from rootless.cli import results
from rootless.engine import restart


def main(engine, request):
    """Set containers up to the point where only their program is missing."""
    return results.report(restart.initialize(engine, request))
