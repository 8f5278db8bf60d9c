"""rl tag"""

from rootless.engine import images_change


def main(engine, request):
    """Give an image more names."""
    images_change.tag(engine, request.args[0], request.args[1:])
    return 0
