"""rl unshare"""

from rootless.engine import unshare


def main(engine, request):
    """Run a command as root of the containers' user namespace; its exit code."""
    return unshare.run(engine, request.args)
