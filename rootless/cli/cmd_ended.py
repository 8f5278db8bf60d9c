"""What a monitor becomes when its container has ended."""

from rootless.engine import restart


def main(engine, request):
    """Remove the container, or start it again."""
    container, *alive = request.args
    restart.ended(engine, container, int(alive[0]) if alive else None)
    return 0
