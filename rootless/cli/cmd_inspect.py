"""rl inspect"""

from rootless.cli import output, results
from rootless.engine import inspect


def main(engine, request):
    """Show everything about containers, images or volumes."""
    found, failed = inspect.inspect(engine, request)
    if request.format is None or request.format.strip() == "json":
        output.document(found, request.format)
    else:
        for one in found:
            output.document(one, request.format)
    return results.report(failed)
