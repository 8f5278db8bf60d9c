"""rl save"""

import os

from rootless.cli import progress
from rootless.errors import RlError


class NoTerminal(RlError):
    """an archive can't be shown on a terminal"""

    hint = "rl save -o FILE, or rl save > FILE"


class NeedsOutput(RlError):
    """the format {0} needs a directory to write to"""

    hint = "rl save --format {0} -o DIRECTORY …"


def main(engine, request):
    """Write images into an archive or a directory."""
    from rootless.engine import images_pull

    form = request.format or "docker-archive"
    if request.output is None:
        if form.endswith("-dir"):
            raise NeedsOutput(form)
        if os.isatty(1):
            raise NoTerminal()
    with progress.choose(request.quiet) as shown:
        images_pull.save(
            engine, request.args, form, request.output, request.multi_image_archive, shown
        )
    return 0
