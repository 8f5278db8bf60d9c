"""rl stop"""

from rootless.cli import results
from rootless.engine import lifecycle


def main(engine, request):
    """Do what --help says; the exit code is the first error's."""
    return results.report(lifecycle.stop(engine, request))
