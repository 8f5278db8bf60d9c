"""Showing images: images, inspect, history.  On the path of daily verbs."""

import time

from rootless.engine import filters as reader
from rootless.engine import images, records
from rootless.errors import RlError
from rootless.image.record import in_lists, is_dangling
from rootless.model import oci, reference

_FILTERS = ("after", "before", "containers", "dangling", "id", "intermediate", "label", "label!",
            "manifest", "readonly", "reference", "since", "until")  # fmt: skip
_ZERO = "0001-01-01T00:00:00Z"


def users(engine):
    """{image id: [name of a container that was made from it, …]}."""
    found = {}
    for record in records.everything(engine):
        image = record.get("image")
        if image:
            found.setdefault(image, []).append(record.get("name") or record["id"][:12])
    return found


def created(record):
    """When an image was made, in seconds since 1970 (float); 0 where it doesn't say."""
    return oci.unix_time(record.get("created") or "") or 0.0


# --- images --------------------------------------------------------------------------------


def rows(engine, name=None, texts=(), everything=False):
    """One dict for each image: what `images --format json` shows, and "record"; and the
    errors of damaged ones.

    ``name``: only images that are called so; ``texts``: of --filter; ``everything``: also
    those that are only parts of others.  Raises BadFilter, NoSuchImage (before=, since=).
    """
    pairs = reader.parse(texts, _FILTERS)
    found, damaged = engine.store.images.scan()
    if name is not None:
        found = _called(engine, name, found)
    if not everything:
        found = [record for record in found if record["names"] or not _is_part(record, found)]
    for key, value in pairs:
        found = _filtered(engine, key, value, found)
    count = users(engine)
    shown = [_row(record, len(count.get(record["id"], ()))) for record in found]
    return shown, list(damaged.values())


def _is_part(record, every):
    """Whether an image without a name is only a step of building another one."""
    layers = record["layers"]
    return bool(record.get("intermediate")) and any(
        other["id"] != record["id"] and other["layers"][: len(layers)] == layers
        for other in every
    )


def _row(record, containers):
    moment = created(record)
    size = record.get("size") or 0
    return {
        "Id": record["id"],
        "ParentId": "",
        "RepoTags": record["names"],
        "RepoDigests": record.get("digests", []),
        "Size": size,
        "SharedSize": 0,
        "VirtualSize": size,
        "Labels": record.get("labels") or None,
        "Containers": containers,
        "Names": record["names"],
        "Digest": record["manifest"],
        "History": history_of_names(record),
        "Created": int(moment),
        "CreatedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)),
        "record": record,
    }


def history_of_names(record):
    """Every name that an image has, or had since it came."""
    return sorted({*record.get("names_history", ()), *record.get("names", ())})


def _called(engine, name, found):
    """The records that an argument of `rl images` means: one image, or a repository."""
    parsed = None
    try:
        parsed = reference.parse(name)
    except reference.BadReference:
        pass
    if parsed is None or parsed.tag or parsed.digest:
        one = images.lookup(engine, name, lists=True)
        return [record for record in found if one is not None and record["id"] == one["id"]]
    settings = images.registries(engine)
    full = {f"{candidate.name}:" for candidate in settings.candidates(name)}
    ending = None if parsed.domain else f"/{parsed.path}:"

    def fits(text):
        repository = text.rpartition(":")[0] + ":"
        return repository in full or ending is not None and repository.endswith(ending)

    chosen = []
    for record in found:
        names = [text for text in record["names"] if fits(text)]
        if names:
            chosen.append({**record, "names": names})
    if not chosen and reference.is_id(name):
        chosen = [record for record in found if record["id"].startswith(name)]
    return chosen


def _filtered(engine, key, value, found):
    if key in ("before", "after", "since"):
        limit = created(images.find(engine, value, lists=True))
        return [r for r in found if (created(r) < limit if key == "before" else created(r) > limit)]
    if key == "until":
        limit = reader.moment(value)
        return [record for record in found if created(record) < limit]
    if key in ("label", "label!"):
        want = key == "label"
        return [r for r in found if reader.has_label(r.get("labels") or {}, value) == want]
    if key == "reference":
        return _fitting(value, found)
    if key == "id":
        start = value.removeprefix("sha256:")
        return [record for record in found if record["id"].startswith(start)]
    want = reader.truth(key, value)
    if key == "readonly":
        return [] if want else found  # every image here can be removed
    if key == "manifest":
        return [record for record in found if ("list" in record) == want]
    if key == "containers":
        used = users(engine)
        return [record for record in found if (record["id"] in used) == want]
    if key == "intermediate":
        return [r for r in found if _is_part(r, found) == want]
    listed = in_lists(engine.store.images.list())
    return [r for r in found if is_dangling(r, r["names"], listed) == want]


def _fitting(pattern, found):
    """Images with a name that ``pattern`` (with * and ?) fits, whole or from a slash on."""
    from fnmatch import fnmatchcase

    chosen = []
    for record in found:
        names = [name for name in record["names"] if _fits(name, pattern, fnmatchcase)]
        if names:
            chosen.append({**record, "names": names})
    return chosen


def _fits(name, pattern, match):
    repository = name.rpartition(":")[0]
    for text in (name, repository):
        parts = text.split("/")
        for start in range(len(parts)):
            if match("/".join(parts[start:]), pattern):
                return True
    return False


def split_name(name):
    """(repository, tag) of a complete reference."""
    repository, _, tag = name.rpartition(":")
    return repository, tag


# --- inspect -------------------------------------------------------------------------------


def inspect(engine, name):
    """Everything about the image ``name``: a dict in podman's shape. Raises NoSuchImage."""
    record = images.find(engine, name)
    names = engine.store.images.names(record["id"])
    document = images.configuration(engine, record)
    config = document["config"]
    data = engine.store.blobs.read(record["manifest"])
    manifest = oci.Manifest(oci.load(data, "manifest"), record.get("media_type"))
    history = document.get("history", [])
    size = record.get("size") or 0
    trees = [engine.store.layers.path(layer) for layer in reversed(record["layers"])]
    return {
        "Id": record["id"],
        "Digest": record["manifest"],
        "RepoTags": names,
        "RepoDigests": record.get("digests", []),
        "Parent": "",
        "Comment": next((h["comment"] for h in reversed(history) if h.get("comment")), ""),
        "Created": document.get("created") or _ZERO,
        "Config": config,
        "Version": _text(document.get("docker_version")),
        "Author": document.get("author", ""),
        "Architecture": document.get("architecture", ""),
        **({"Variant": document["variant"]} if document.get("variant") else {}),
        "Os": document.get("os", ""),
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {"Name": "layers", "Data": {"LowerDir": ":".join(trees)}},
        "RootFS": {"Type": "layers", "Layers": record["layers"]},
        "Labels": config.get("Labels"),
        "Annotations": manifest.annotations,
        "ManifestType": manifest.media_type,
        "User": config.get("User", ""),
        "History": history,
        "NamesHistory": history_of_names({**record, "names": names}),
        **({"Healthcheck": config["Healthcheck"]} if config.get("Healthcheck") else {}),
    }


def _text(value):
    return value if isinstance(value, str) else ""


# --- history -------------------------------------------------------------------------------


def history(engine, name):
    """How an image was made, the last step first: a list of dicts.

    "id" (of the image itself for the first row, else "<missing>"), "created" (text),
    "CreatedBy", "size" (bytes), "comment".  Raises NoSuchImage.
    """
    record = images.find(engine, name)
    document = images.configuration(engine, record)
    layers = list(record["layers"])
    steps = document.get("history") or [{} for _ in layers]
    found = []
    for step in steps:
        size = 0
        if not step.get("empty_layer") and layers:
            size = _layer_size(engine, layers.pop(0))
        found.append({
            "id": "<missing>",
            "created": _text(step.get("created")) or _ZERO,
            "CreatedBy": _text(step.get("created_by")),
            "size": size,
            "comment": _text(step.get("comment")),
        })  # fmt: skip
    found.reverse()
    if found:
        found[0]["id"] = record["id"]
    return found


def _layer_size(engine, diff_id):
    try:
        return engine.store.layers.index(diff_id)["size"]
    except (RlError, OSError, KeyError):
        return 0  # a damaged layer must not hide how the image was made
