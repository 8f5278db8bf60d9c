"""What a monitor runs to check its container's health; and ``rl healthcheck run``."""

from rootless.engine import health_run, records


def main(engine, request):
    """Run the check once: 0 if the container is well, else 1."""
    return health_run.run(engine, records.find(engine, request.args[0]))
