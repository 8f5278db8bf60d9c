"""rl commit"""

from rootless.cli import output, progress
from rootless.engine import commit, records


def main(engine, request):
    """Make an image of a container; prints its id."""
    record = records.find(engine, request.args[0])
    options = commit.Options(
        author=request.author,
        change=request.change,
        format=request.format or "oci",
        include_volumes=request.include_volumes,
        message=request.message,
        pause=request.pause,
        squash=request.squash,
    )
    name = request.args[1] if len(request.args) > 1 else None
    with progress.choose(request.quiet) as shown:
        image = commit.commit(engine, record, name, options, shown)
    if request.iidfile:
        commit.write_id(request.iidfile, image["id"])
    output.line(image["id"])
    return 0
