"""rl images"""

from rootless.cli import output
from rootless.engine import images_list

_SORT = {
    "created": lambda row: -row["_row"]["Created"],
    "id": lambda row: row["_row"]["Id"],
    "repository": lambda row: (row["Repository"], row["Tag"]),
    "size": lambda row: row["_row"]["Size"],
    "tag": lambda row: row["Tag"],
}
_MORE = (
    ("DIGEST", "Digest"),
    ("HISTORY", "History"),
    ("CREATED AT", "CreatedAt"),
    ("CREATED", "CreatedSince"),
    ("CREATED", "CreatedTime"),
    ("NAMES", "Names"),
    ("REPO TAGS", "RepoTags"),
    ("REPO DIGESTS", "RepoDigests"),
    ("LABELS", "Labels"),
    ("CONTAINERS", "Containers"),
    ("VIRTUAL SIZE", "VirtualSize"),
    ("READ ONLY", "ReadOnly"),
    ("PARENT ID", "ParentId"),
    ("ID", "Id"),
)


def main(engine, request):
    """List images; each name has a line of its own."""
    name = request.args[0] if request.args else None
    found, damaged = images_list.rows(engine, name, request.filter, request.all)
    for error in damaged:
        output.warn(f"{error.message} ({error.advice})")
    if request.quiet:
        lines = [_id(row, request.no_trunc) for row in sorted(found, key=lambda r: -r["Created"])]
        for line in dict.fromkeys(lines):
            output.line(line)
        return 0
    if request.format and request.format.strip() == "json":
        found.sort(key=lambda row: -row["Created"])
        raw = [{key: row[key] for key in row if key != "record"} for row in found]
        output.document(raw)
        return 0
    lines = [line for row in found for line in _lines(row, request.no_trunc)]
    lines.sort(key=_SORT[request.sort or "created"])
    columns = [("REPOSITORY", "Repository"), ("TAG", "Tag")]
    if request.digests:
        columns.append(("DIGEST", "Digest"))
    columns += [("IMAGE ID", "ID"), ("CREATED", "Created"), ("SIZE", "Size")]
    if request.history:
        columns.append(("HISTORY", "History"))
    output.listing(
        lines, columns, format=request.format, noheading=request.noheading, hidden=_MORE
    )
    return 0


def _id(row, whole):
    return f"sha256:{row['Id']}" if whole else row["Id"][:12]


def _lines(row, whole):
    """What the table shows of an image: a dict for each of its names."""
    since = output.ago(row["Created"])
    common = {
        "ID": _id(row, whole),
        "Id": row["Id"],
        "ParentId": row["ParentId"],
        "Digest": row["Digest"],
        "Created": since,
        "CreatedSince": since,
        "CreatedAt": _date(row["CreatedAt"]),
        "CreatedTime": _date(row["CreatedAt"]),
        "Size": output.size(row["Size"]),
        "VirtualSize": output.size(row["Size"]),
        "History": ", ".join(row["History"]),
        "Names": row["Names"],
        "RepoTags": row["RepoTags"],
        "RepoDigests": row["RepoDigests"],
        "Labels": row["Labels"] or {},
        "Containers": row["Containers"],
        "ReadOnly": False,
        "_row": row,
    }
    if not row["Names"]:
        # An image pulled by its digest shows where it is from.
        pinned = row["record"].get("pinned") and row["RepoDigests"]
        repository = row["RepoDigests"][0].partition("@")[0] if pinned else "<none>"
        return [{"Repository": repository, "Tag": "<none>", **common}]
    pairs = [images_list.split_name(name) for name in row["Names"]]
    return [{"Repository": repository, "Tag": tag, **common} for repository, tag in pairs]


def _date(text):
    """A date as Go prints one: 2024-01-02 03:04:05 +0000 UTC."""
    return f"{text[:10]} {text[11:19]} +0000 UTC"
