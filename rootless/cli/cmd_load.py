"""rl load"""

import os
import sys

from rootless.cli import output, progress
from rootless.errors import RlError


class NothingToRead(RlError):
    """there is nothing to load from a terminal"""

    hint = "rl load -i FILE, or rl load < FILE"


class NotReadable(RlError):
    """cannot read {0}: {1}"""


def main(engine, request):
    """Load the images of an archive; prints their names."""
    from rootless.engine import images_pull

    with progress.choose(request.quiet) as shown:
        if request.input in (None, "-"):
            if os.isatty(0):
                raise NothingToRead()
            found = images_pull.load(engine, "standard input", os.dup(0), shown)
        else:
            try:
                found = images_pull.load(engine, request.input, None, shown)
            except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
                raise NotReadable(request.input, error.strerror) from None
    for record in found:
        output.line("Loaded image: " + ", ".join(record["names"] or [f"sha256:{record['id']}"]))
    sys.stdout.flush()
    return 0
