"""rl builder prune (docker-builder-prune(1))."""

from rootless.cli import output
from rootless.engine import system


def main(engine, request):
    """Remove what builds keep; says how much room that gave back."""
    if not request.force:
        from rootless.cli.confirm import confirm

        what = "all that builds keep" if request.all else "what builds keep and no image is made of"
        if not confirm(f"This will remove {what}."):
            return 0
    count, freed = system.prune_cache(engine, request.all, request.filter)
    output.line(f"Removed steps: {count}")
    output.line(f"Total reclaimed space: {output.size(freed).replace(' ', '')}")
    return 0
