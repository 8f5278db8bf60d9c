"""rl image …: what only the group has (podman-image(1))."""

from rootless.cli import results
from rootless.engine import images_change


def main(engine, request):
    """Do one of the verbs of the group; the exit code."""
    return _VERBS[request.verb](engine, request)


def _exists(engine, request):
    return 0 if images_change.exists(engine, request.args[0]) else 1


def _prune(engine, request):
    if not request.force:
        from rootless.cli.confirm import confirm

        what = "images without at least one container associated to them"
        if not confirm(f"This will remove all {what if request.all else 'dangling images'}."):
            return 0
    return results.report(images_change.prune(engine, request.all, request.filter))


_VERBS = {"image exists": _exists, "image prune": _prune}
