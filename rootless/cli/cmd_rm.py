"""rl rm"""

from rootless.cli import results
from rootless.engine import lifecycle


def main(engine, request):
    """Remove containers; with --force those that don't exist are as good as removed."""
    if request.force:
        request = request.replace(ignore=True)
    return results.report(lifecycle.delete(engine, request))
