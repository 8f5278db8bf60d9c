"""rl system …: room, garbage, soundness, and the end of it all (podman-system(1))."""

from rootless.cli import output, results
from rootless.engine import system
from rootless.errors import RlError


class NotTogether(RlError):
    """--verbose and a template can't be used together"""

    hint = "rl system df --verbose --format json has everything"


def main(engine, request):
    """Do one of the verbs of the group; the exit code."""
    return _VERBS[request.verb](engine, request) or 0


# -- df ------------------------------------------------------------------------------------

_COLUMNS = (
    ("TYPE", "Type"),
    ("TOTAL", "Total"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
)


def _size(count):
    return output.size(count).replace(" ", "")


def _df(engine, request):
    wanted = (request.format or "").strip()
    if request.verbose and wanted not in ("", "json", "table"):
        raise NotTogether()
    found = system.usage(engine)
    rows = [_shown(row) for row in found["types"]]
    if not request.verbose:
        output.listing(
            rows, _COLUMNS, format=request.format,
            hidden=(("RAW SIZE", "RawSize"), ("RAW RECLAIMABLE", "RawReclaimable")),
        )  # fmt: skip
    elif wanted == "json":
        output.document({**found, "types": rows})
    else:
        _verbose(found)


def _shown(row):
    size, free = row["RawSize"], row["RawReclaimable"]
    share = round(100 * free / size) if size else 0
    return {**row, "Size": _size(size), "Reclaimable": f"{_size(free)} ({share}%)"}


def _verbose(found):
    from rootless.engine.filters import moment

    rows = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE",
             "CONTAINERS")]  # fmt: skip
    for image in found["images"]:
        created = output.ago(moment(image["created"])) if image["created"] else ""
        for name in image["names"] or ["<none>:<none>"]:
            repository, _, tag = name.rpartition(":")
            rows.append((repository, tag, image["id"][:12], created, _size(image["size"]),
                         _size(image["shared"]), _size(image["unique"]),
                         str(image["containers"])))  # fmt: skip
    _table("Images space usage:", rows)
    rows = [("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS",
             "NAMES")]  # fmt: skip
    for one in found["containers"]:
        created = output.ago(moment(one["created"])) if one["created"] else ""
        rows.append((one["id"][:12], one["image"], output.short(one["command"], 20),
                     str(one["volumes"]), _size(one["size"]), created, one["status"],
                     one["name"]))  # fmt: skip
    _table("\nContainers space usage:", rows)
    rows = [("VOLUME NAME", "LINKS", "SIZE")]
    rows += [(one["name"], str(one["links"]), _size(one["size"])) for one in found["volumes"]]
    _table("\nLocal Volumes space usage:", rows)
    output.line(f"\nTotal: {_size(found['total'])}")


def _table(title, rows):
    output.line(f"{title}\n")
    output.write(output.columns(rows))


# -- prune ---------------------------------------------------------------------------------


def _prune(engine, request):
    if not request.force:
        from rootless.cli.confirm import confirm

        lines = ["all stopped containers", "all networks not used by at least one container"]
        lines += ["all volumes not used by at least one container"] if request.volumes else []
        lines.append(
            "all images without at least one container associated to them"
            if request.all
            else "all dangling images"
        )
        if not confirm("This command removes:", lines):
            return 0
    found = system.prune(engine, request.all, request.volumes, request.filter)
    code = 0
    for title, kind in (
        ("Deleted Containers", "containers"),
        ("Deleted Networks", "networks"),
        ("Deleted Volumes", "volumes"),
        ("Deleted Images", "images"),
    ):
        if any(error is None for _, error in found[kind]):
            output.line(title)
        code = code or results.report(found[kind])
    output.line(f"Total reclaimed space: {_size(found['bytes'])}")
    return code


# -- check ---------------------------------------------------------------------------------


def _check(engine, request):
    """0: sound, or sound after the repair; else an error with what is left."""
    problems = system.check(engine, request.quick)
    bad = system.serious(problems)
    if not request.repair:
        for problem in problems:
            output.line(problem.text)
        if bad:
            raise system.Unsound(len(bad))
        return 0
    left = 0
    for problem, done in system.repair(engine, problems, request.force):
        output.line(f"{problem.text}: {done or 'left as it is'}")
        left += done is None and problem in bad
    if left:
        raise system.Unrepaired(left)
    return 0


# -- reset ---------------------------------------------------------------------------------


def _reset(engine, request):
    from rootless.engine import reset

    root = reset.target(engine)
    if root is None:
        return 0
    if not request.force:
        from rootless.cli.confirm import confirm

        alive = len(reset.running(engine))
        if alive:
            raise reset.StillRunning(alive)
        lines = ("all containers", "all images", "all volumes", f"everything in {root}")
        if not confirm("This will remove:", lines):
            return 0
    reset.reset(engine, request.force)
    return 0


_VERBS = {
    "system df": _df,
    "system prune": _prune,
    "system check": _check,
    "system reset": _reset,
}
