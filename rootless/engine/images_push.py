"""The verb push: an image of the store to a registry, or into an archive."""

import os

from rootless.engine import events, images, images_pull
from rootless.errors import RlError
from rootless.image import push as pusher
from rootless.image.archive import save as writer
from rootless.kernel import files
from rootless.model import reference
from rootless.store.images import NoSuchImage

# Where podman can push to as well.
UNKNOWN = reference.FOREIGN
_FORMS = {"docker-archive": "docker-archive", "oci-archive": "oci-archive", "oci": "oci-dir"}
# What means something to a registry only.
FOR_REGISTRIES = ("authfile", "cert_dir", "creds", "tls_verify", "retry", "retry_delay",
                   "compression_format", "compression_level")  # fmt: skip


class NoDestination(RlError):
    """{name} doesn't say to which registry the image is to be pushed"""

    hint = "rl push {name} REGISTRY/NAME[:TAG]"


class NoTransport(RlError):
    """rl can't push to {name}:"""

    hint = "it can to a registry, oci:DIR, oci-archive:FILE and docker-archive:FILE"


class NotForArchives(RlError):
    """{option} has no meaning for {transport}:"""

    hint = "leave it out, or push to a registry"


class NeedsFormat(RlError):
    """--compression-level needs --compression-format"""

    hint = "add --compression-format gzip or zstd"


def push(engine, request, progress, login=None):
    """The verb: push one image; its digest there (None for a docker-archive).

    ``login`` is what --creds says.  Raises NoSuchImage, NoDestination and what pushing
    raises.
    """
    name = request.args[0]
    destination = request.args[1] if len(request.args) > 1 else None
    transport = (destination or "").partition(":")[0]
    known = images.lookup(engine, name, lists=True) if ":/" not in name else None
    if known is not None and "list" in known:
        from rootless.engine import manifests_push

        return manifests_push.push(engine, request, progress, login)
    if transport in UNKNOWN:
        raise NoTransport(name=transport)
    if request.digestfile:
        check_writable(request.digestfile)
    try:
        if transport in _FORMS:
            digest = _to_archive(engine, request, transport, progress)
        else:
            digest = _to_registry(engine, request, name, destination, progress, login)
    finally:
        engine.store.tmp.release()
    if request.digestfile:
        with writer.Output(request.digestfile) as descriptor:
            files.write_all(descriptor, digest.encode())
    return digest


def check_writable(path):
    """Say before the work, not after it, that a file can't be made."""
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise writer.NotWritten(path=path, why="there is no such directory")


# --- a registry ----------------------------------------------------------------------------


def _to_registry(engine, request, name, destination, progress, login):
    how = packing(request)
    settings = images.registries(engine)
    record = _find(engine, name, settings)
    target = _target(engine, name, record, destination, settings)
    chosen = images_pull.options(
        engine,
        settings,
        login=login,
        authfile=request.authfile,
        cert_dir=request.cert_dir,
        tls_verify=request.tls_verify if "tls_verify" in request.given else None,
        retry=request.retry,
        retry_delay=images_pull.seconds(request.retry_delay),
    )
    digest = pusher.push(engine.store, record, target, chosen, how, progress)
    try:
        # Where it is known to be now: a later push can have its layers mounted from there.
        engine.store.images.add_digest(record["id"], str(target.with_digest(digest)))
    except NoSuchImage:
        pass  # it was removed meanwhile
    events.image(engine, "push", record["id"], str(target))
    return digest


def _find(engine, name, settings):
    """The record of a local image, or of a program of this machine (elf:PATH)."""
    if reference.split_transport(name)[0] == "elf":
        return images.resolve(engine, name, must_run=False)
    return images.find(engine, name, settings)


def packing(request):
    """The image.push.Packing that the options ask for. Raises NeedsFormat, BadLevel."""
    if request.compression_level is not None and not request.compression_format:
        raise NeedsFormat()
    media_type = pusher.FORMATS[request.format] if request.format else None
    return pusher.Packing(request.compression_format, request.compression_level, media_type)


def _target(engine, name, record, destination, settings):
    """The complete Reference to push to; without a ``destination`` the image's own name."""
    if destination is not None:
        return reference.normalise(destination)
    known = engine.store.images.names(record["id"])
    found = images_pull.name_used(name, known, settings)
    parsed = reference.parse(found) if found else None
    if parsed is None or parsed.domain == reference.LOCALHOST:
        raise NoDestination(name=name)
    return parsed


# --- an archive ----------------------------------------------------------------------------


def _to_archive(engine, request, transport, progress):
    """Write the image as ``save`` does: its digest there, None for a docker-archive."""
    for option in FOR_REGISTRIES:
        if option in request.given:
            raise NotForArchives(option=f"--{option.replace('_', '-')}", transport=transport)
    docker = transport == "docker-archive"
    if request.format and docker == (request.format == "oci"):
        raise NotForArchives(option=f"--format {request.format}", transport=transport)
    if docker and request.digestfile:
        # Its manifest is no document that a registry would know.
        raise NotForArchives(option="--digestfile", transport=transport)
    path, _, wanted = request.args[1].partition(":")[2].partition(":")
    item = images_pull.items_to_save(engine, request.args[:1])[0]
    if wanted:
        item.names = [str(reference.for_local(wanted)) if docker else wanted]
    images_pull.save_items(engine, [item], _FORMS[transport], path, progress)
    events.image(engine, "push", item.record["id"], request.args[1])
    return None if docker else writer.oci_digest(engine.store, item.record)
