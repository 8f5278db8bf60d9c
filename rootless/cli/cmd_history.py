"""rl history"""

from rootless.cli import output
from rootless.engine import images_list
from rootless.model.oci import unix_time

_COLUMNS = (
    ("ID", "ID"),
    ("CREATED", "Created"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
)
_MORE = (("CREATED AT", "CreatedAt"), ("CREATED", "CreatedSince"), ("TAGS", "Tags"))
_WIDTH = 45


def main(engine, request):
    """Show how an image was made, the last step first."""
    steps = images_list.history(engine, request.args[0])
    if request.format and request.format.strip() == "json":
        output.document(steps)
        return 0
    if request.quiet:
        for step in steps:
            output.line(step["id"] if request.no_trunc else step["id"][:12])
        return 0
    rows = [_row(step, request.human, not request.no_trunc) for step in steps]
    output.listing(rows, _COLUMNS, format=request.format, hidden=_MORE)
    return 0


def _row(step, human, trunc):
    moment = unix_time(step["created"])
    since = output.ago(moment) if moment is not None and moment > 0 else "N/A"
    return {
        "ID": step["id"][:12] if trunc else step["id"],
        "Created": since if human else step["created"],
        "CreatedSince": since,
        "CreatedAt": step["created"],
        "CreatedBy": output.short(step["CreatedBy"], _WIDTH, trunc),
        "Size": output.size(step["size"]) if human else str(step["size"]),
        "Comment": step["comment"],
        "Tags": "",
    }
