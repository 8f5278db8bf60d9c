"""rl start"""

from rootless.cli import results
from rootless.engine import restart


def main(engine, request):
    """Start containers; attached, the exit code of the container."""
    if request.attach or request.interactive:
        return restart.start_attached(engine, request)
    return results.report(restart.start(engine, request))
