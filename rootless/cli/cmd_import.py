"""rl import"""

import os

from rootless.cli import output, progress
from rootless.errors import RlError


class NothingToRead(RlError):
    """there is nothing to import from a terminal"""

    hint = "tar c -C DIRECTORY . | rl import - NAME"


class NotReadable(RlError):
    """cannot read {0}: {1}"""


def main(engine, request):
    """Make an image of a tar archive; prints its id."""
    from rootless.engine import images_pull

    source = request.args[0]
    if source == "-" and os.isatty(0):
        raise NothingToRead()
    with progress.choose(request.quiet) as shown:
        try:
            record = images_pull.import_tarball(
                engine,
                source,
                request.args[1] if len(request.args) > 1 else None,
                (request.os, request.arch, request.variant),
                request.change,
                request.message,
                shown,
            )
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise NotReadable(source, error.strerror) from None
    output.line(f"sha256:{record['id']}")
    return 0
