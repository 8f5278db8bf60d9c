"""rl search"""

from rootless.cli import output
from rootless.cli.cmd_pull import typed_login

_LONGEST = 44  # of a description, as podman and docker have it
_COLUMNS = (("NAME", "Name"), ("DESCRIPTION", "Description"))
_MORE = (("STARS", "Stars"), ("OFFICIAL", "Official"), ("AUTOMATED", "Automated"))
_INDEX = (("INDEX", "Index"),)


def main(engine, request):
    """Show what registries have of a term, or the tags of a repository."""
    from rootless.engine import images_search

    login = typed_login(request)
    if request.list_tags:
        return _tags(request, *images_search.tags(engine, request, login))
    rows, failed = images_search.search(engine, request, login)
    for error in failed:
        output.warn(error.message)
    if request.format and request.format.strip() == "json":
        output.document(rows)
        return 0
    for row in rows:
        text = " ".join(row["Description"].split())
        if not request.no_trunc and len(text) > _LONGEST:
            text = text[: _LONGEST - 3] + "..."
        row["Description"] = text
    columns = (*_COLUMNS, *_MORE) if request.compatible else _COLUMNS
    if request.format is None and not rows:
        return 0
    output.listing(rows, columns, format=request.format, hidden=(*_MORE, *_INDEX))
    return 0


def _tags(request, name, tags):
    if request.format and request.format.strip() == "json":
        output.document([{"Name": name, "Tags": tags}])
        return 0
    rows = [{"Name": name, "Tag": tag} for tag in tags]
    output.listing(rows, (("NAME", "Name"), ("TAG", "Tag")), format=request.format)
    return 0
