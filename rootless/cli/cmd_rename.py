"""rl rename"""

from rootless.engine import lifecycle, records


def main(engine, request):
    """Give a container another name."""
    old, new = request.args
    lifecycle.rename(engine, records.find(engine, old), new)
    return 0
