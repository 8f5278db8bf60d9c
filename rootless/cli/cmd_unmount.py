"""rl unmount"""

from rootless.cli import results
from rootless.engine import lifecycle, mounts


def main(engine, request):
    """Unmount containers' roots; prints their ids."""
    if request.all:
        found = [record for record, _ in mounts.listing(engine)]
    else:
        found = lifecycle.select(engine, request)

    def one(record):
        mounts.unmount(engine, record, request.force)
        return record["id"]

    return results.report(lifecycle.each(found, one))
