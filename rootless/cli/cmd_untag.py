"""rl untag"""

from rootless.engine import images_change


def main(engine, request):
    """Take names from an image, all if none is given."""
    images_change.untag(engine, request.args[0], request.args[1:])
    return 0
