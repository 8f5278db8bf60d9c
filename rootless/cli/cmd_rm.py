"""rl rm"""

from rootless.cli import results
from rootless.engine import lifecycle


def main(engine, request):
    """Remove containers."""
    return results.report(lifecycle.delete(engine, request))
