"""rl autostart"""

from rootless.cli import output, results
from rootless.engine import autostart
from rootless.errors import RlError


class OneOfThem(RlError):
    """--remove and --now cannot be used together"""

    hint = "rl autostart --help"


def main(engine, request):
    """Arrange that containers are started at boot, undo that, or start them now."""
    if request.remove and request.now:
        raise OneOfThem()
    if request.now:
        return results.report(autostart.start_now(engine))
    told = autostart.disable(engine) if request.remove else autostart.enable(engine)
    for text in told:
        output.line(text)
    return 0
