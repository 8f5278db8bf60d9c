"""rl healthcheck run"""

from rootless.cli import output
from rootless.engine import health_run, records


def main(engine, request):
    """Run the check now; 0 healthy, 1 not, as podman-healthcheck-run(1)."""
    code, _ = health_run.ask(engine, records.find(engine, request.args[0]))
    if code:
        output.line("unhealthy")
    return 1 if code else 0
