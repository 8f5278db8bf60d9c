"""rl cp"""

import os

from rootless.cli import output
from rootless.engine import copy
from rootless.errors import RlError


class FromTerminal(RlError):
    """an archive can't be read from a terminal"""

    hint = "tar c DIRECTORY | rl cp - CONTAINER:PATH"


class ToTerminal(RlError):
    """an archive can't be shown on a terminal"""

    hint = "rl cp CONTAINER:PATH - | tar x, or name a directory instead of -"


def main(engine, request):
    """Copy files between a container and this machine."""
    source, destination = request.args
    if source == "-" and os.isatty(0):
        raise FromTerminal()
    if destination == "-" and os.isatty(1):
        raise ToTerminal()
    left_out = copy.copy(engine, source, destination, request.archive, request.overwrite)
    if left_out:
        output.warn(f"left out: {left_out} device nodes or sockets, which can't be copied")
    return 0
