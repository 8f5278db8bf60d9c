"""``rl commit``: an image out of what a container has become (podman-commit(1))."""

import time

from rootless.engine import contents, events, export, images, processes, records
from rootless.errors import RlError
from rootless.image import changes, manifests, recode
from rootless.image.local import iso
from rootless.image.progress import Silent
from rootless.image.record import add_image
from rootless.image.trouble import full_disk
from rootless.model import jsontext, oci, reference
from rootless.store import export as exporting
from rootless.store.images import NoSuchImage

_TYPES = {"oci": oci.OCI_MANIFEST, "docker": oci.DOCKER_MANIFEST}
# What rl itself puts into the environment of every container.
_OWN = ("container", "HOSTNAME")
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")


class ImageGone(RlError):
    """the image of container {0} is not here any more, so nothing can be put on top of it"""

    hint = "rl commit --squash {0} makes an image of all its files"


class CannotWriteId(RlError):
    """cannot write the image's id to {0}: {1}"""


class Options:
    """What a commit is to do: see ``rl commit --help``."""

    def __init__(self, author=None, change=(), format="oci", include_volumes=False, message=None,
                 pause=False, squash=False):
        self.author = author
        self.change = tuple(change)
        self.format = format
        self.include_volumes = include_volumes
        self.message = message
        self.pause = pause
        self.squash = squash


def commit(engine, record, name, options, progress=None):
    """Make the image; its record.

    ``name``: what to call it, or None; ``options``: Options.  Raises ImageGone, OwnRoot,
    image.changes.BadChange.
    """
    progress = progress or Silent()
    names = [str(reference.for_local(name))] if name else []
    base = _base(engine, record, options.squash)
    config = configuration(engine, record, base["config"], options)
    paused = options.pause and records.state(engine, record)["status"] == "running"
    if paused:
        processes.pause(engine, record)
    try:
        facts = _layer(engine, record, options.squash, progress)
    finally:
        if paused:
            processes.unpause(engine, record)
    try:
        found = _add(engine, record, base, config, facts, names, options)
    finally:
        engine.store.tmp.release()
    events.container(engine, record, "commit")
    return found


# --- what it is made on --------------------------------------------------------------------


def _base(engine, record, squash):
    """The document of the container's image, and the descriptors of its layers."""
    try:
        image = engine.store.images.get(record["image"]) if record["image"] else None
    except NoSuchImage:
        if not squash:
            raise ImageGone(record["name"]) from None
        image = None
    if image is None:
        return {"document": {}, "config": {}, "layers": [], "diff_ids": [], "history": []}
    document = images.configuration(engine, image)
    if squash:
        return {"document": document, "config": document.get("config") or {}, "layers": [],
                "diff_ids": [], "history": []}
    manifest = manifests.documents(engine.store, image)[0]
    return {
        "document": document,
        "config": document.get("config") or {},
        "layers": list(manifest.layers),
        "diff_ids": list(record["layers"]),
        "history": list(document.get("history") or ()),
    }


def configuration(engine, record, base, options):
    """The "config" of the new image: the old one's, the container's settings, the changes."""
    spec = records.load_spec(engine, record["id"])
    given = record["options"]["given"]
    config = dict(base)
    _set_command(config, given, record["options"]["args"][1:])
    config["Env"] = _environment(base, spec, given)
    if record.get("labels"):
        config["Labels"] = dict(record["labels"])
    for key, option in (("User", "user"), ("WorkingDir", "workdir"), ("StopSignal", "stop_signal")):
        if given.get(option):
            config[key] = given[option]
    if options.include_volumes:
        places = dict(config.get("Volumes") or {})
        places.update((entry["Destination"], {}) for entry in record["mounts"]
                      if entry["Type"] in ("bind", "volume"))
        if places:
            config["Volumes"] = places
    return changes.apply(config, options.change)


def _set_command(config, given, words):
    """docker's rules: --entrypoint hides the image's command, words replace it."""
    if given.get("entrypoint") is not None:
        text = given["entrypoint"]
        found = [text] if text else []
        if text.startswith("["):
            try:
                found = jsontext.loads(text)
            except jsontext.DecodeError:
                pass
        config["Entrypoint"] = found
        config.pop("Cmd", None)
    if words:
        config["Cmd"] = list(words)


def _environment(base, spec, given):
    """The image's variables and the container's own, without what rl gives every one."""
    found = dict(entry.partition("=")[::2] for entry in base.get("Env") or ())
    automatic = {*_OWN, *_PROXIES, *(name.upper() for name in _PROXIES)}
    if given.get("tty"):
        automatic.add("TERM")
    mine = dict(entry.partition("=")[::2] for entry in spec["process"]["env"])
    for name, value in mine.items():
        if name in found or name not in automatic:
            found[name] = value
    return [f"{name}={value}" for name, value in found.items() if name in mine]


# --- what is added to it -------------------------------------------------------------------


def _layer(engine, record, squash, progress):
    """Put the files into the store as a layer: what store.adopt says about it."""
    progress.start("commit", f"commit {record['name']}", None)
    with full_disk(), engine.store.layers.adopt() as adopt:

        def write(data):
            adopt.write(data)
            progress.advance("commit", len(data))

        if squash:
            export.merged(engine, record, write)
        else:
            with contents.Kept(engine, record):
                driver, home, layers = contents.place(engine, record)
                exporting.export_layer(engine.store, driver, home, layers, write)
        facts = adopt.finish()
    progress.done("commit", "done")
    return facts


def _add(engine, record, base, config, facts, names, options):
    store, now = engine.store, iso(time.time())
    entry = {"created": now, "created_by": " ".join(record["command"])}
    if options.author:
        entry["author"] = options.author
    if options.message:
        entry["comment"] = options.message
    document = {
        "created": now,
        "architecture": base["document"].get("architecture") or _architecture(),
        "os": base["document"].get("os") or "linux",
        "config": {key: value for key, value in config.items() if value not in (None, [], {})},
        "rootfs": {"type": "layers", "diff_ids": [*base["diff_ids"], facts["diff_id"]]},
        "history": [*base["history"], entry],
    }
    for key in ("variant", "os.version", "os.features"):
        if base["document"].get(key):
            document[key] = base["document"][key]
    author = options.author or base["document"].get("author")
    if author:
        document["author"] = author
    if options.format == "docker" and options.message:
        document["comment"] = options.message
    data = jsontext.dumps(document).encode()
    layer = {"mediaType": oci.DOCKER_LAYER, "digest": facts["blob"], "size": facts["blob_size"]}
    manifest = recode.make_manifest([*base["layers"], layer], data, store.blobs.put(data))
    manifest = manifests.convert(
        oci.Manifest(oci.load(manifest, "manifest")), manifest, _TYPES[options.format]
    )
    return add_image(
        store,
        oci.Manifest(oci.load(manifest, "manifest")),
        store.blobs.put(manifest),
        oci.parse_config(data),
        names,
    )


def _architecture():
    from rootless.engine import images_platform

    return images_platform.host().architecture


def write_id(path, image):
    """--iidfile: the id, without an end of line."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(image)
    except OSError as error:
        raise CannotWriteId(path, error.strerror) from None
