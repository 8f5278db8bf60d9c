"""rl top"""

from rootless.cli import output
from rootless.engine import lifecycle, processes, records


def main(engine, request):
    """Show the processes of a container."""
    if request.latest:
        record = lifecycle.select(engine, request.replace(args=()))[0]
        columns = request.args
    else:
        record, columns = records.find(engine, request.args[0]), request.args[1:]
    output.write(output.columns(processes.top(engine, record, columns)))
    return 0
