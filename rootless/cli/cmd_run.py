"""rl run"""

from rootless.engine import run


def main(engine, request):
    """Run a command in a new container; its exit code."""
    outcome = run.run(engine, request, progress(request))
    if isinstance(outcome, tuple):
        from rootless.cli import output

        output.line(outcome[1])
        return 0
    return outcome


def progress(request):
    """What makes the display of a pull, loaded only if there is one."""

    def make():
        from rootless.cli.progress import choose

        return choose(request.quiet)

    return make
