"""`rl system …`: what takes room, what nothing uses, whether the store is sound."""

from rootless.engine import build_cache, records, volumes, volumes_list
from rootless.engine import filters as reader
from rootless.engine import prune as pruning
from rootless.errors import RlError

PRUNE_FILTERS = ("label", "label!", "until")


class Unsound(RlError):
    """{0} problems found in the store"""

    hint = "rl system check --repair mends what can be mended; what it removes can be pulled again"


class Unrepaired(RlError):
    """{0} problems are left in the store"""

    hint = "with --force it also removes damaged containers and images"


# -- df ------------------------------------------------------------------------------------


def usage(engine):
    """What takes how much room: a dict.

    ``types``: one dict for each kind, with podman's keys (Type, Total, Active, RawSize,
    RawReclaimable); their RawSize add up to ``total``, which is what ``du -s`` says of
    the store.  ``images``, ``containers``, ``volumes``: one dict for each of them.
    """
    from rootless.store import df

    store = engine.store
    measured = df.usage(store)
    everything = records.everything(engine)
    used = volumes.users(engine)[0]
    cached = build_cache.usage(engine, measured, everything)
    images = _images(measured, everything)
    containers = _containers(engine, measured, everything)
    holding = _volumes(measured, used)
    image_bytes = sum(measured["layers"].values()) + sum(measured["blobs"].values())
    image_bytes -= cached["bytes"]
    running = [row for row in containers if row["running"]]
    kept = sum(row["size"] for row in running)
    container_bytes = sum(measured["containers"].values())
    volume_bytes = sum(measured["volumes"].values())
    linked = sum(row["size"] for row in holding if row["links"])
    other = measured["tmp"] + measured["other"]
    types = [
        _type("Images", images, [row for row in images if row["containers"]], image_bytes,
              image_bytes - _needed(store, measured, everything)),
        _type("Containers", containers, running, container_bytes, container_bytes - kept),
        _type("Local Volumes", holding, [row for row in holding if row["links"]], volume_bytes,
              volume_bytes - linked),
        _type("Build Cache", cached["records"], cached["active"],
              cached["bytes"] + measured["build-cache"],
              cached["bytes"] + measured["build-cache"]),
        _type("Records and Temporary Files", (), (), other, 0),
    ]  # fmt: skip
    return {"total": measured["total"], "types": types, "images": images,
            "containers": containers, "volumes": holding}  # fmt: skip


def _type(name, rows, active, size, reclaimable):
    return {"Type": name, "Total": len(rows), "Active": len(active), "RawSize": size,
            "RawReclaimable": reclaimable}  # fmt: skip


def _images(measured, everything):
    users = {}
    for record in everything:
        users[record.get("image")] = users.get(record.get("image"), 0) + 1
    return [{**row, "containers": users.get(row["id"], 0)} for row in measured["images"]]


def _containers(engine, measured, everything):
    rows = []
    for record in everything:
        damaged = "damaged" in record
        state = "damaged" if damaged else records.state(engine, record)["status"]
        rows.append({
            "id": record["id"],
            "name": record["name"],
            "image": record.get("image_name") or "",
            "command": " ".join(record.get("command") or ()),
            "volumes": len(record.get("volumes") or ()),
            "created": record["created"],
            "status": state,
            "running": state in ("running", "paused", "stopping", "initialized",
                                 "restarting"),
            "size": measured["containers"].get(record["id"], 0),
        })  # fmt: skip
    return rows


def _volumes(measured, used):
    return [
        {"name": name, "links": len(used.get(name, ())), "size": size}
        for name, size in sorted(measured["volumes"].items())
        if volumes.is_name(name)
    ]


def _needed(store, measured, everything):
    """Bytes of layers and blobs that would stay if all unused images went."""
    from rootless.store import gc

    layers, blobs = set(), set()
    in_use = {record.get("image") for record in everything}
    for record in everything:
        layers.update(record.get("layers") or ())
    for record in store.images.list():
        if record["id"] in in_use:
            layers.update(record["layers"])
            for digest in (record.get("manifest"), record.get("config")):
                blobs.add(digest)
            blobs |= gc.manifest_blobs(store, record.get("manifest"))
    return sum(size for layer, size in measured["layers"].items() if layer in layers) + sum(
        size for blob, size in measured["blobs"].items() if blob in blobs
    )


# -- prune ---------------------------------------------------------------------------------


def prune(engine, everything=False, with_volumes=False, filters=()):
    """Remove what nothing uses.

    Containers that are not running; then networks that none is on, images without a name
    (``everything``: all that no container uses) and what builds keep to be faster, volumes
    if asked for, and what interrupted work left behind.  A dict: ``containers``,
    ``networks``, ``images``, ``volumes``: lists of (name, error or None);
    ``bytes``: how much room that gave back.  Raises BadFilter before anything is removed.
    """
    from rootless.engine import images_change, networks_list
    from rootless.store import df

    reader.parse(filters, PRUNE_FILTERS)
    for text in filters:
        if text.startswith("until="):
            reader.moment(text.partition("=")[2])
    before = df.usage(engine.store)["total"]
    found = {"containers": pruning.containers(engine, filters), "volumes": []}
    if with_volumes:
        found["volumes"] = volumes_list.prune(engine, filters)
    else:
        volumes_list.sweep(engine)
    found["networks"] = networks_list.prune(engine, filters)
    found["images"] = images_change.prune(engine, everything, filters)
    images_change.sweep(engine, resumable=True)
    found["bytes"] = max(0, before - df.usage(engine.store)["total"])
    return found


def prune_cache(engine, everything=False, filters=()):
    """Remove what builds keep and no image is made of (``everything``: all of it): how many
    steps, and how many bytes that gave back.  Raises BadFilter."""
    from rootless.store import df

    before = df.usage(engine.store)["total"]
    count = build_cache.prune(engine, everything, filters, sweep=True)
    return count, max(0, before - df.usage(engine.store)["total"])


# -- check ---------------------------------------------------------------------------------


def check(engine, quick=False, progress=None):
    """What is wrong in the store: a list of store.check.Problem."""
    from rootless.store import check as checking

    return checking.check(engine.store, quick, progress)


def repair(engine, problems, force=False):
    """Mend what can be mended: a list of (Problem, what was done or None).

    ``force``: containers that can't be read or have lost a layer go too.
    """
    from rootless.engine import images_list
    from rootless.engine.remove import sweep
    from rootless.store import check as checking

    done = []
    removed = set()
    if force:
        for problem in problems:
            if problem.kind in ("container", "container-layer") and problem.what not in removed:
                removed.add(problem.what)
                done.append((problem, _remove(engine, problem)))
    mendable = [problem for problem in problems if problem.what not in removed]
    done += checking.repair(engine.store, mendable, force, images_list.users(engine))
    sweep(engine)
    volumes_list.sweep(engine)
    return done


def _remove(engine, problem):
    """Remove a damaged container; what was done, or None."""
    from rootless.engine.remove import remove

    try:
        record = records.load(engine, problem.what)
    except RlError:
        record = {"id": problem.what, "name": problem.what[:12]}
    try:
        remove(engine, record, force=True, timeout=0)
    except (RlError, OSError) as error:
        problem.detail += f" (removing it failed: {error})"
        return None
    return "removed"


def serious(problems):
    """The problems that make a check fail; others are only remarks."""
    from rootless.store import check as checking

    return [problem for problem in problems if problem.kind not in checking.REMARKS]
