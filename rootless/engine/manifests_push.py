"""The verb manifest push: a list and its images to a registry, or into an archive."""

from rootless.engine import events, images_pull, images_push, manifests
from rootless.errors import RlError
from rootless.image import fetch, lists
from rootless.image import pull as puller
from rootless.image import push as pusher
from rootless.image.archive import save as writer
from rootless.image.registry.upload import Target
from rootless.kernel import files
from rootless.model import jsontext, oci, reference

_FORMS = {"oci-archive": "oci-archive", "oci": "oci-dir"}


class EmptyList(RlError):
    """the manifest list {name} is empty"""

    hint = "rl manifest add {name} IMAGE"


class NoTransport(RlError):
    """rl can't push a manifest list to {name}:"""

    hint = "it can to a registry, oci:DIR and oci-archive:FILE"


class NotHere(RlError):
    """{digest} of the list {name} is not here any more"""

    hint = "add it again (rl manifest add), or take it out: rl manifest remove {name} {digest}"


def push(engine, request, progress, login=None):
    """The verb: the digest (str) of the list where it is now.

    Raises NoSuchList, EmptyList, NoTransport, NotHere and what pushing images raises.
    """
    name = request.args[0]
    destination = request.args[1] if len(request.args) > 1 else None
    record = manifests.find(engine, name)
    if not record["list"]:
        raise EmptyList(name=name)
    if request.digestfile:
        images_push.check_writable(request.digestfile)
    transport = (destination or "").partition(":")[0]
    try:
        if transport in (*images_push.UNKNOWN, "docker-archive"):
            raise NoTransport(name=transport)
        if transport in _FORMS:
            digest = _to_archive(engine, request, record, transport, progress, login)
        else:
            digest = _to_registry(engine, request, record, name, destination, progress, login)
    finally:
        engine.store.tmp.release()
    events.image(engine, "push", record["id"], destination or name)
    if request.digestfile:
        with writer.Output(request.digestfile) as descriptor:
            files.write_all(descriptor, digest.encode())
    if request.options.get("rm"):
        manifests.delete(engine, [record["id"]])
    return digest


# --- a registry ----------------------------------------------------------------------------


def _to_registry(engine, request, record, name, destination, progress, login):
    chosen = manifests.connect(engine, request, login)
    if destination is None:
        settings = chosen.registries
        known = engine.store.images.names(record["id"])
        found = images_pull.name_used(name, known, settings)
        target = reference.parse(found) if found else None
        if target is None or target.domain == reference.LOCALHOST:
            raise images_push.NoDestination(name=name)
    else:
        target = reference.normalise(destination)
    return send(engine, record, target, chosen, images_push.packing(request),
                request.format, request.options.get("all", True), progress, name)  # fmt: skip


def send(engine, record, target, chosen, packing, form, everything, progress, name):
    """Push a list's record to a complete Reference: its digest there.

    ``chosen``: image.pull.Options; ``packing``: image.push.Packing; ``form``: "oci",
    "docker" or None; ``everything``: its images, too.
    """
    document = manifests.document(engine, record)
    if form:
        lists.settled(document, lists.FORMATS[form])  # says first what can't be
    if everything:
        repository = reference.Reference(target.domain, target.path)
        for entry in document["manifests"]:
            sent = _send_one(engine, record, entry, repository, chosen, packing, progress, name)
            entry.update(sent)
    document = lists.settled(document, lists.FORMATS[form] if form else None)
    data = jsontext.dumps(document, sort_keys=True).encode()
    digest = lists.digest_of(data)
    if target.digest not in (None, digest):
        raise pusher.OtherDigest(name=target, digest=digest)
    progress.message("Writing manifest list to image destination")
    connection = puller.Connection(chosen)
    try:
        place = chosen.registries.endpoints(target)[-1]
        registry = connection.registry(
            place.domain, place.host, place.repository, place.insecure
        )
        there = Target(registry, connection.session, place.repository)
        there.manifest(target.digest or target.tag, data, document["mediaType"], digest)
    finally:
        connection.close()
    return digest


def _send_one(engine, record, entry, repository, chosen, packing, progress, name):
    """Push one image of a list: what its entry is to have from now on."""
    part = _part(engine, record, entry, name)
    origin = record["list"].get(entry["digest"], {})
    known = [reference.parse(origin["from"])] if origin.get("from") else []
    supply = _Supply(engine, known[0], chosen) if known else None
    return pusher.push_part(
        engine.store, part, repository, chosen, packing, progress, supply, known
    )


def _part(engine, record, entry, name):
    """An entry as image.push wants the record of an image. Raises NotHere."""
    store = engine.store
    if not store.blobs.has(entry["digest"]):
        raise NotHere(name=name, digest=entry["digest"])
    data = store.blobs.read(entry["digest"])
    manifest = oci.Manifest(oci.load(data, "manifest"), entry["mediaType"])
    found = {"manifest": entry["digest"], "config": manifest.config["digest"],
             "media_type": entry["mediaType"]}  # fmt: skip
    if record["list"].get(entry["digest"], {}).get("made"):
        found["built"] = True
    return found


class _Supply:
    """Gets blobs of an image that is in a registry only into the store."""

    def __init__(self, engine, origin, chosen):
        self._store = engine.store
        self._origin = origin
        self._chosen = chosen

    def __call__(self, part, tell, check):
        connection = puller.Connection(self._chosen)
        try:
            registry, repository = connection.places(self._origin)[-1]
            found = puller.Found(registry, repository, b"", None, part["digest"])
            fetch.fetch_blob(self._store, part, puller.Layers(connection, found), tell, check)
        finally:
            connection.close()


# --- an archive ----------------------------------------------------------------------------


def _to_archive(engine, request, record, transport, progress, login):
    for option in ("compression_format", "compression_level"):
        if option in request.given:
            raise images_push.NotForArchives(
                option=f"--{option.replace('_', '-')}", transport=transport
            )
    if request.format not in (None, "oci") or not request.options.get("all", True):
        option = "--all=false" if request.format in (None, "oci") else "--format"
        raise images_push.NotForArchives(option=option, transport=transport)
    chosen = manifests.connect(engine, request, login)
    _complete(engine, record, chosen, progress, request.args[0])
    path, _, wanted = request.args[1].partition(":")[2].partition(":")
    item = writer.Item(record, [wanted] if wanted else [])
    images_pull.save_items(engine, [item], _FORMS[transport], path, progress)
    return writer.oci_digest(engine.store, record)


def _complete(engine, record, chosen, progress, name):
    """Get what an archive needs of images that are in a registry only."""
    store = engine.store
    for entry in manifests.document(engine, record)["manifests"]:
        manifest = oci.Manifest(oci.load(_documents(store, entry, name), "manifest"))
        origin = record["list"].get(entry["digest"], {}).get("from")
        supply = _Supply(engine, reference.parse(origin), chosen) if origin else None
        for part in (manifest.config, *manifest.layers):
            if store.blobs.has(part["digest"]):
                continue
            if supply is None:
                raise NotHere(name=name, digest=entry["digest"])
            key = part["digest"]
            progress.start(key, f"Copying blob {reference.short_digest(key)}", part["size"])
            supply(part, lambda count, key=key: progress.advance(key, count), lambda: None)
            progress.done(key, "done")


def _documents(store, entry, name):
    if not store.blobs.has(entry["digest"]):
        raise NotHere(name=name, digest=entry["digest"])
    return store.blobs.read(entry["digest"])
