"""The verbs manifest …: lists that join images for several platforms under one name."""

import time

from rootless.engine import events, images, images_platform, images_pull
from rootless.errors import RlError
from rootless.image import lists
from rootless.image import pull as puller
from rootless.image.registry import client, http
from rootless.model import oci, reference
from rootless.store.images import ImageInUse, NoSuchImage

_LOCAL = "containers-storage:"
_OVERRIDES = ("arch", "os", "variant", "os_version", "features", "annotation")


class NoSuchList(RlError):
    """{0}: manifest list not known"""

    hint = "rl images --filter manifest=true shows those that are here"


class NotAList(RlError):
    """{0} is an image, not a manifest list"""

    hint = "rl manifest create LIST {0} makes a list with it"


class NameTaken(RlError):
    """there is {kind} {name} already"""

    hint = "choose another name, or remove it first: rl rmi {name}"


class ListExists(RlError):
    """there is a manifest list {name} already"""

    hint = "rl manifest create --amend {name} adds to it, rl manifest rm {name} removes it"


class NoMember(RlError):
    """the manifest list {name} has no image for {platform} that is here"""

    hint = "rl manifest inspect {name} shows what is in it"


class NotAdded(RlError):
    """there is no image {name} here, and no registry has it: {tried}"""

    hint = "rl images lists what is here; docker://NAME asks a registry only"


class NothingToAnnotate(RlError):
    """rl manifest annotate {name}: {why}"""

    hint = "rl manifest annotate LIST IMAGE, or --index and no IMAGE"


# --- finding -------------------------------------------------------------------------------


def find(engine, name):
    """The record of the manifest list ``name``. Raises NoSuchList, NotAList."""
    found = images.lookup(engine, name, lists=True)
    if found is None:
        raise NoSuchList(name)
    if "list" not in found:
        raise NotAList(name)
    return found


def exists(engine, name):
    """Whether there is a manifest list of that name here."""
    found = images.lookup(engine, name, lists=True)
    return found is not None and "list" in found


def document(engine, record):
    """The index of a list's record (image.lists)."""
    return lists.read(engine.store.blobs.read(record["manifest"]))


def member(engine, record, wanted):
    """The record of the local image for the Platform ``wanted`` in a list; None if it isn't
    here, or there is none."""
    try:
        entry = oci.choose(document(engine, record)["manifests"], wanted)
    except oci.NoSuchPlatform:
        return None
    return _by_manifest(engine, record, entry["digest"])


def _by_manifest(engine, record, digest):
    origin = record["list"].get(digest, {}).get("image")
    found = None
    for one in engine.store.images.list():
        if one.get("manifest") == digest and "list" not in one:
            found = one
            if one["id"] == origin:
                break
    return found


def find_member(engine, record, name, wanted):
    """As ``member``. Raises NoMember."""
    found = member(engine, record, wanted)
    if found is None:
        raise NoMember(name=name, platform=str(wanted))
    return found


def for_run(engine, record, name, wanted):
    """(record of the local image, its name) for ``wanted`` in a list; (None, the name it can
    be pulled by) if it comes from a registry. Raises NoMember, NoSuchPlatform."""
    entry = oci.choose(document(engine, record)["manifests"], wanted)
    found = _by_manifest(engine, record, entry["digest"])
    if found is not None:
        return found, name
    origin = record["list"].get(entry["digest"], {}).get("from")
    if origin is None:
        raise NoMember(name=name, platform=str(wanted))
    return None, origin


# --- making and changing -------------------------------------------------------------------


def create(engine, request, login=None):
    """The verb: the list's record. Raises ListExists, NameTaken and what adding raises."""
    name, *more = request.args
    known, full = _named(engine, name)
    if known is not None and not request.amend:
        raise ListExists(name=full)
    _check_annotations(request.annotation)
    added = [one for text in more for one in _sources(engine, text, request, login)]
    return add_entries(engine, full, known, added, request.annotation, login)


def _named(engine, name):
    """(record of the list ``name`` or None, its complete name). Raises NameTaken."""
    full = str(reference.for_local(name))
    known = images.lookup(engine, name, lists=True)
    if known is None:
        return None, full
    if "list" not in known:
        if full in engine.store.images.names(known["id"]):
            raise NameTaken(kind="an image", name=name)
        return None, full
    return known, full


def add_entries(engine, full, known, added, annotations=(), login=None):
    """Make a list of the complete name ``full``, or change that of the record ``known``:
    its record.  ``added``: (entry, where it is from) to put in."""
    def work(found):
        for entry, _ in added:
            lists.put(found, entry)
        lists.annotate(found, annotations)

    origins = {entry["digest"]: origin for entry, origin in added}
    if known is not None:
        return _change(engine, known, work, origins)
    import os

    record = _write(engine, os.urandom(32).hex(), work, origins, [full])
    events.image(engine, "tag", record["id"], full)
    return record


def _change(engine, record, work, origins=None):
    return _write(engine, record["id"], work, origins or {}, ())


def _write(engine, image, work, origins, names):
    """Write the list with the id ``image`` anew, after ``work`` on its document: its record."""
    store = engine.store

    def change(known):
        if known is None and not names:
            raise NoSuchImage(image[:12])  # it was removed meanwhile
        found = lists.read(store.blobs.read(known["manifest"])) if known else lists.new()
        work(found)
        data = lists.dump(found)
        every = {**(known or {}).get("list", {}), **origins}
        kept = {one["digest"]: every.get(one["digest"], {}) for one in found["manifests"]}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return {
            "manifest": store.blobs.put(data),
            "media_type": lists.settled(found)["mediaType"],
            "list": kept,
            "size": len(data),
            "created": (known or {}).get("created") or now,
        }

    try:
        return store.images.set_list(image, change, names)
    finally:
        store.tmp.release()


def add(engine, request, login=None):
    """The verb: the list's record."""
    name, *more = request.args
    record = find(engine, name)
    _check_annotations(request.annotation)
    settings = {key: request.options[key] for key in (*_OVERRIDES, "os_features")}
    added = []
    for text in more:
        for entry, origin in _sources(engine, text, request, login):
            lists.change(entry, settings)
            added.append((entry, origin))
    return add_entries(engine, None, record, added)


def _check_annotations(texts):
    lists.annotate({}, texts)


def annotate(engine, request):
    """The verb: the list's record. Raises NotInList, NothingToAnnotate."""
    name, *more = request.args
    record = find(engine, name)
    if request.index == bool(more):
        why = "--index is about the list, not about an image" if more else "which image of it?"
        raise NothingToAnnotate(name=name, why=why)
    settings = {key: request.options[key] for key in (*_OVERRIDES, "os_features")}
    if request.index:
        return _change(engine, record, lambda found: lists.annotate(found, request.annotation))
    digest = _digest(engine, record, more[0], name)
    return _change(
        engine, record, lambda found: lists.change(lists.find(found, digest, name), settings)
    )


def remove(engine, name, text):
    """The verb: the list's record, without the image ``text``. Raises NotInList."""
    record = find(engine, name)
    digest = _digest(engine, record, text, name)

    def work(found):
        lists.find(found, digest, name)
        found["manifests"] = [one for one in found["manifests"] if one["digest"] != digest]

    return _change(engine, record, work)


def _digest(engine, record, text, name):
    """The digest of the entry that ``text`` means: itself, or a local image's."""
    if reference.is_digest(text):
        if text in record["list"]:
            return text
        raise lists.NotInList(name=name, digest=text)
    found = images.lookup(engine, text.removeprefix(_LOCAL), lists=True)
    if found is None:
        full = [str(one) for one in images.registries(engine).candidates(text)]
        for digest, origin in record["list"].items():
            if origin.get("name") in full:
                return digest
        raise NoSuchImage(text)
    for digest, origin in record["list"].items():
        if digest == found["manifest"] or origin.get("image") == found["id"]:
            return digest
    raise lists.NotInList(name=name, digest=text)


def delete(engine, names, ignore=False):
    """The verb rm: as engine.images_change.remove, for lists only."""
    from rootless.engine import images_change

    done = []
    for name in names:
        try:
            record = find(engine, name)
        except NoSuchList as error:
            done += [] if ignore else [(name, error)]
            continue
        except RlError as error:
            done.append((name, error))
            continue
        try:
            gone = engine.store.images.remove(record["id"], force=True)
        except ImageInUse as error:
            done.append((name, error))
            continue
        events.image(engine, "remove", record["id"], name)
        done += [(f"Untagged: {text}", None) for text in gone["untagged"]]
        done += [(f"Deleted: {text}", None) for text in gone["deleted"]]
    if any(error is None for _, error in done):
        images_change.sweep(engine)
    return done


# --- where entries come from ---------------------------------------------------------------


def of_record(engine, record):
    """(entry, where it is from) of a local image's record."""
    store = engine.store
    store.tmp.hold(record["manifest"], record["config"])
    data = store.blobs.read(record["manifest"])
    manifest = oci.Manifest(oci.load(data, "manifest"), record.get("media_type"))
    store.tmp.hold(*(layer["digest"] for layer in manifest.layers))
    entry = lists.entry(data, manifest.media_type, images.configuration(engine, record))
    made = "source" in record or bool(record.get("built"))
    return entry, {"image": record["id"], **({"made": True} if made else {})}


def _sources(engine, text, request, login):
    """[(entry, where it is from)] of what was named to be added."""
    transport, rest = reference.split_transport(text)
    if transport != "docker":
        return [of_record(engine, images.resolve(engine, text, must_run=False))]
    if not text.startswith("docker://"):
        local = images.lookup(engine, text.removeprefix(_LOCAL), lists=True)
        if local is not None:
            return _of_local(engine, local, text, request)
        if text.startswith(_LOCAL):
            raise NoSuchImage(text.removeprefix(_LOCAL))
    return _of_registry(engine, text.removeprefix("docker://"), request, login)


def _wanted(request):
    return oci.wanted_platform(
        images_platform.host(), None, request.options.get("os"), request.options.get("arch"),
        request.options.get("variant"),
    )  # fmt: skip


def _of_local(engine, local, text, request):
    if "list" not in local:
        return [of_record(engine, local)]
    entries = document(engine, local)["manifests"]
    if not request.all:
        entries = [oci.choose(entries, _wanted(request))]
    return [(entry, local["list"].get(entry["digest"], {})) for entry in entries]


def connect(engine, request, login=None):
    """The image.pull.Options that the options of a manifest verb ask for."""
    verify = request.tls_verify if "tls_verify" in request.given else None
    if request.options.get("insecure"):
        verify = False
    return images_pull.options(
        engine,
        images.registries(engine),
        login=login,
        authfile=request.authfile,
        cert_dir=request.options.get("cert_dir"),
        tls_verify=verify,
        retry=request.options.get("retry"),
        retry_delay=images_pull.seconds(request.options.get("retry_delay")),
    )


def ask(engine, text, chosen, work):
    """What ``work(connection, found, candidate)`` makes of the first place that has the image
    ``text``. Raises NotAdded."""
    candidates = chosen.registries.to_pull(text)
    failed = []
    for candidate in candidates:
        connection = puller.Connection(chosen)
        try:
            return work(connection, puller.locate(connection, candidate), candidate)
        except (http.Unreachable, client.Unknown, client.Denied) as error:
            failed.append(f"{candidate.domain} ({error.message})")
            last = error
        finally:
            connection.close()
    if len(candidates) == 1 and isinstance(last, client.Denied):
        raise last
    raise NotAdded(name=text, tried="; ".join(failed))


def _of_registry(engine, text, request, login):
    chosen = connect(engine, request, login)
    chosen.platform = _wanted(request)

    def work(connection, found, candidate):
        kind = oci.document_type(oci.load(found.data, "manifest"), found.claimed)
        if kind in oci.INDEXES and request.all:
            return _every(engine, connection, found, candidate, chosen)
        manifest, digest, config_data, config = puller.settle(connection, found, chosen)
        return [_remote(engine, candidate, manifest, found.data, digest, config_data, config)]

    return ask(engine, text, chosen, work)


def _remote(engine, candidate, manifest, data, digest, config_data, config):
    """(entry, where it is from) of an image in a registry; its documents are kept."""
    store = engine.store
    store.tmp.hold(digest, manifest.config["digest"])
    store.blobs.put(data, digest.partition(":")[0])
    store.blobs.put(config_data, manifest.config["digest"].partition(":")[0])
    entry = {**lists.entry(data, manifest.media_type, config), "digest": digest}
    return entry, {"from": str(candidate.with_digest(digest)), "name": str(candidate)}


def _every(engine, connection, found, candidate, chosen):
    """All images of a list in a registry, their entries as they are there."""
    added = []
    for entry in oci.index_entries(oci.load(found.data, "index"), found.claimed):
        if entry["mediaType"] not in oci.MANIFESTS or "unknown" in (
            (entry.get("platform") or {}).get("architecture"),
        ):
            continue  # an attestation, or a list in the list
        data, claimed = found.registry.manifest(
            connection.session, found.repository, entry["digest"]
        )
        one = puller.Found(found.registry, found.repository, data, claimed, entry["digest"])
        puller.verify(data, entry["digest"], "manifest", found.registry.domain)
        got = puller.settle(connection, one, chosen)
        _, origin = _remote(engine, candidate, got[0], data, *got[1:])
        added.append((entry, origin))
    return added


# --- showing -------------------------------------------------------------------------------


def inspect(engine, request):
    """The verb: the document (dict) of a list here or in a registry, or an image's manifest."""
    name = request.args[0]
    if not name.startswith("docker://"):
        found = images.lookup(engine, name, lists=True)
        if found is not None and "list" in found:
            return shown(document(engine, found))
        if found is not None:
            raise NotAList(name)
    chosen = connect(engine, request)
    return ask(
        engine, name.removeprefix("docker://"), chosen,
        lambda connection, found, candidate: oci.load(found.data, "manifest"),
    )  # fmt: skip


def shown(found):
    """An index in the order in which podman shows its fields."""
    order = ("schemaVersion", "mediaType", "manifests", "annotations")
    return {key: found[key] for key in (*order, *sorted(found)) if key in found}
