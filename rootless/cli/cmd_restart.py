"""rl restart"""

from rootless.cli import results
from rootless.engine import restart


def main(engine, request):
    """Stop containers and start them again."""
    return results.report(restart.restart(engine, request))
