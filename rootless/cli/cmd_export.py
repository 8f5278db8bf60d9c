"""rl export"""

import os

from rootless.engine import export, records
from rootless.errors import RlError


class NoTerminal(RlError):
    """an archive can't be shown on a terminal"""

    hint = "rl export -o FILE {0}, or rl export {0} > FILE"


def main(engine, request):
    """Write the files of a container as a tar archive."""
    path = None if request.output == "-" else request.output
    record = records.find(engine, request.args[0])
    if path is None and os.isatty(1):
        raise NoTerminal(request.args[0])
    export.export(engine, record, path)
    return 0
