"""rl exec"""

from rootless.cli import output
from rootless.engine import exec as execution
from rootless.engine import lifecycle, records


def main(engine, request):
    """Run a command in a running container; its exit code."""
    if request.latest:
        record = lifecycle.select(engine, request.replace(args=()))[0]
        command = request.args
    else:
        record = records.find(engine, request.args[0])
        command = request.args[1:]
    outcome = execution.run(engine, record, request.replace(args=command))
    if isinstance(outcome, str):
        output.line(outcome)
        return 0
    return outcome
