"""rl attach"""

from rootless.engine import lifecycle, restart


def main(engine, request):
    """Attach to a running container; its exit code."""
    record = lifecycle.select(engine, request)[0]
    streams = {"stdout", "stderr"}
    if record["stdin_open"] and not request.no_stdin:
        streams.add("stdin")
    return restart.attached(engine, record, streams, request)
