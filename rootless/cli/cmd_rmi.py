"""rl rmi"""

from rootless.cli import results
from rootless.engine import images_change


def main(engine, request):
    """Remove images or names; prints what was done."""
    ignore = request.ignore or request.force
    done = images_change.remove(
        engine, request.args, request.all, request.force, ignore, not request.no_prune
    )
    code = results.report(done)
    failed = {error.exit_code for _, error in done if error is not None}
    # 1 only if every failure was an image that doesn't exist, 2 before 125 (podman-rmi(1)).
    return max(failed) if len(failed) > 1 else code
