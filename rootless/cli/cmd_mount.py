"""rl mount"""

from rootless.cli import output
from rootless.engine import lifecycle, mounts
from rootless.errors import RlError


class BadFormat(RlError):
    """--format {0!r}: only json is known"""


def main(engine, request):
    """Mount containers' roots and print where, or list those that are mounted."""
    if request.format not in (None, "json"):
        raise BadFormat(request.format)
    if not (request.args or request.all or request.latest):
        _show(mounts.listing(engine), request)
        return 0
    done = []
    for record in lifecycle.select(engine, request):
        path, live = mounts.mount(engine, record)
        if live:
            output.warn(f"container {record['name']} is running: its root is mounted read-only")
        done.append((record, path))
    if len(request.args) == 1 and request.format is None:
        output.line(done[0][1])
    else:
        _show(done, request)
    return 0


def _show(found, request):
    if request.format == "json":
        output.document([
            {"id": record["id"], "Names": [record["name"]], "mountpoint": path}
            for record, path in found
        ])  # fmt: skip
        return
    width = None if request.no_trunc else 12
    output.write(output.columns([[record["id"][:width], path] for record, path in found]))
