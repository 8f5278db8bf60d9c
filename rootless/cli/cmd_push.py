"""rl push"""

from rootless.cli import progress
from rootless.cli.cmd_pull import typed_login


def main(engine, request):
    """Send an image to a registry or into an archive."""
    from rootless.engine import images_push

    login = typed_login(request)
    with progress.choose(request.quiet) as shown:
        images_push.push(engine, request, shown, login)
    return 0
