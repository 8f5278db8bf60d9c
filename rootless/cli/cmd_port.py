"""rl port"""

from rootless.engine import lifecycle
from rootless.errors import RlError


class NotPublished(RlError):
    """container {0} has no published port {1}"""

    hint = "this version publishes no ports; with --network host its ports are the machine's"


def main(engine, request):
    """Show published ports: there are none yet, so only what is asked for can be missing."""
    if request.latest:
        items, ports = lifecycle.select(engine, request.replace(args=())), request.args
    else:
        items = lifecycle.select(engine, request.replace(args=request.args[:1]))
        ports = request.args[1:]
    for record in items:
        if ports:
            raise NotPublished(record["name"], ports[0])
    return 0
