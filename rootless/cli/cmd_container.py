"""rl container …: what only the group has (podman-container(1))."""

from rootless.cli import results
from rootless.engine import prune, records


def main(engine, request):
    """Do one of the verbs of the group; the exit code."""
    return _VERBS[request.verb](engine, request)


def _exists(engine, request):
    try:
        records.find_id(engine, request.args[0])
    except (records.NoContainer, records.Ambiguous):
        return 1
    return 0


def _prune(engine, request):
    if not request.force:
        from rootless.cli.confirm import confirm

        if not confirm("This will remove all non running containers."):
            return 0
    return results.report(prune.containers(engine, request.filter, damaged=True))


_VERBS = {"container exists": _exists, "container prune": _prune}
