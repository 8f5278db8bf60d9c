"""rl inspect"""

from rootless.cli import output
from rootless.engine import inspect


def main(engine, request):
    """Show everything about containers, images or volumes."""
    found = inspect.inspect(engine, request)
    if request.format is None or request.format.strip() == "json":
        output.document(found, request.format)
        return 0
    for one in found:
        output.document(one, request.format)
    return 0
