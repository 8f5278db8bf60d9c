"""Reading images out of archives and directories into the store.

docker-archive: manifest.json of `docker save` (moby image/spec); oci-archive and oci:
image-layout.md of the OCI image specification.  Archives come from strangers: every blob
is checked against its digest, every layer against its diff id, names are parsed, and
nothing of an archive decides where anything is written.
"""

import hashlib
import os

from rootless.errors import RlError
from rootless.image import fetch, recode
from rootless.image.archive.bundle import NotAnArchive, open_bundle
from rootless.image.progress import Silent
from rootless.image.record import add_image
from rootless.image.trouble import full_disk
from rootless.model import oci, reference

_MANIFEST_LIMIT = 1 << 20
_MAX_IMAGES = 1000
_MAX_DEPTH = 3
_REF_NAME = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


class SeveralImages(RlError):
    """{name} holds {count} images, where one is wanted"""

    hint = "rl load takes them all; or name one: oci-archive:PATH:NAME"


class NoSuchEntry(RlError):
    """{name} holds no image {wanted}; it has: {available}"""


class _Image:
    """One image of an archive: its documents and where its layers are."""

    def __init__(self, names, manifest, manifest_data, config_data, config):
        self.names = names
        self.manifest = manifest
        self.manifest_data = manifest_data
        self.config_data = config_data
        self.config = config


def split_path(text):
    """(path, name or None) of PATH[:NAME] behind a transport; a path that exists wins."""
    if os.path.exists(text) or ":" not in text:
        return text, None
    path, _, name = text.partition(":")
    return path, name


def load(store, path, descriptor=None, progress=None, transport=None, wanted=None, platform=None):
    """Have all images of an archive in the store: their records, each with "names".

    ``path`` is read, or ``descriptor`` (taken over, then ``path`` is what to call it).
    ``transport``: docker-archive, oci-archive or oci, None to find out; ``wanted``: only
    the image of that name; ``platform``: which one of a multi-platform image, by default
    all of them.  Raises OSError, NotAnArchive, BadArchive, what the digests say.
    """
    progress = progress or Silent()
    with full_disk(), open_bundle(store, path, descriptor) as bundle:
        if transport in (None, "docker-archive") and bundle.has("manifest.json"):
            images = _docker_images(bundle)
            take = _take_docker
        elif transport in (None, "oci", "oci-archive") and bundle.has("index.json"):
            images = _oci_images(bundle, platform)
            take = _take_oci
        else:
            names = {"docker-archive": "manifest.json"}.get(transport, "index.json")
            why = f"there is no {names if transport else 'manifest.json and no index.json'}"
            raise NotAnArchive(name=path, why=why)
        if wanted is not None:
            images = _choose(path, images, wanted)
        return [take(store, bundle, image, progress) for image in images]


def _choose(path, images, wanted):
    named = {name: image for image in images for name in image.names}
    for name in (wanted, str(reference.for_local(wanted))):
        if name in named:
            return [named[name]]
    raise NoSuchEntry(name=path, wanted=wanted, available=", ".join(sorted(named)) or "none")


def _report_names(store, names, progress, image):
    """Say which names are taken over from other images."""
    for name in names:
        before = store.images.refs.get(name)
        if before is not None and before != image:
            progress.message(f"{name} now names another image (it was {before[:12]})")


# --- OCI layout ----------------------------------------------------------------------------


def _blob_path(digest):
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _blob(bundle, descriptor, limit):
    """A small blob, verified."""
    data = bundle.read(_blob_path(descriptor["digest"]), limit)
    algorithm = descriptor["digest"].partition(":")[0]
    found = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    if found != descriptor["digest"] or len(data) != descriptor["size"]:
        raise bundle.bad(f"{descriptor['digest']} has another digest or size")
    return data


def _oci_images(bundle, platform):
    data = bundle.read("oci-layout", _MANIFEST_LIMIT)
    layout = oci.load(data, "oci-layout")
    if layout.get("imageLayoutVersion") != "1.0.0":
        raise bundle.bad("its imageLayoutVersion is not 1.0.0")
    index = oci.load(bundle.read("index.json", oci.DOCUMENT_LIMIT), "index")
    entries = oci.index_entries(index)
    found = []
    for entry in entries:
        _collect(bundle, entry, _oci_names(entry), platform, found, 0)
    if not found:
        raise NotAnArchive(name=bundle.name, why="there is no image in it")
    return found


def one_image(bundle):
    """(Manifest, checked configuration) of the only image in an OCI layout. SeveralImages."""
    found = _oci_images(bundle, None)
    if len(found) != 1:
        raise SeveralImages(name=bundle.name, count=len(found))
    return found[0].manifest, found[0].config


def _collect(bundle, entry, names, platform, found, depth):
    """Add the images that an entry of an index leads to."""
    data = _blob(bundle, entry, oci.DOCUMENT_LIMIT)
    document = oci.load(data, "manifest")
    kind = oci.document_type(document, entry["mediaType"])
    if kind in oci.INDEXES:
        if depth >= _MAX_DEPTH:
            raise bundle.bad("its indexes are nested too deeply")
        inner = oci.index_entries(document, kind)
        if platform is not None:
            inner = [oci.choose(inner, platform)]
        for one in inner:
            if "unknown" not in (one.get("platform") or {}).values():
                _collect(bundle, one, names, platform, found, depth + 1)
        return
    manifest = oci.Manifest(document, entry["mediaType"])
    if len(found) >= _MAX_IMAGES:
        raise bundle.bad(f"it has more than {_MAX_IMAGES} images")
    config_data = _blob(bundle, manifest.config, oci.DOCUMENT_LIMIT)
    config = oci.parse_config(config_data)
    oci.match_layers(manifest, config)
    found.append(_Image(names, manifest, data, config_data, config))


def _oci_names(entry):
    """The names (complete references, str) of an entry of index.json."""
    annotations = entry.get("annotations") or {}
    for key in (_FULL_NAME, _REF_NAME):
        text = annotations.get(key)
        if isinstance(text, str) and text:
            try:
                return [str(reference.for_local(text))]
            except reference.BadReference:
                continue  # another program's idea of a name: the image comes without one
    return []


def _take_oci(store, bundle, image, progress):
    pairs = oci.match_layers(image.manifest, image.config)
    fetch.fetch(store, pairs, Blobs(bundle), progress)
    digest = store.blobs.put(image.manifest_data)
    store.blobs.put(image.config_data, image.manifest.config["digest"].partition(":")[0])
    _report_names(store, image.names, progress, image.manifest.config["digest"].partition(":")[2])
    record = add_image(store, image.manifest, digest, image.config, image.names)
    return {**record, "names": image.names}


class Blobs:
    """The blobs of an OCI layout, as a source for image.fetch."""

    parallel = 2

    def __init__(self, bundle):
        self.bundle = bundle
        self.place = bundle.name

    def open(self):
        return self

    def start(self, layer, offset):
        descriptor, start, size = self.bundle.open(_blob_path(layer["digest"]))
        if size != layer["size"]:
            self.bundle.release(descriptor)
            raise self.bundle.bad(f"{layer['digest']} has another size")
        return _Part(self.bundle, descriptor, start + offset, start + size), offset

    def pause(self, attempt, error):
        raise self.bundle.bad(error.strerror)

    def abort(self):
        """Reading a file doesn't wait."""

    def close(self):
        """The bundle is closed by who opened it."""


class _Part:
    """Some bytes of a file, from ``position`` to ``end``."""

    def __init__(self, bundle, descriptor, position, end):
        self.bundle = bundle
        self.descriptor = descriptor
        self.position = position
        self.end = end

    def readinto(self, buffer):
        room = buffer[: self.end - self.position]
        count = os.preadv(self.descriptor, [room], self.position) if room else 0
        self.position += count
        return count

    def close(self):
        self.bundle.release(self.descriptor)


# --- docker-archive ------------------------------------------------------------------------


def _docker_images(bundle):
    """The images of manifest.json; ``manifest`` is the list of their layers' files."""
    document = _json_list(bundle)
    if len(document) > _MAX_IMAGES:
        raise bundle.bad(f"it has more than {_MAX_IMAGES} images")
    found = []
    for entry in document:
        if not isinstance(entry, dict):
            raise bundle.bad("manifest.json is not a list of objects")
        layers, tags = entry.get("Layers") or [], entry.get("RepoTags") or []
        if not _strings(layers) or not _strings(tags) or not isinstance(entry.get("Config"), str):
            raise bundle.bad("manifest.json makes no sense")
        if len(layers) > oci.MAX_LAYERS:
            raise bundle.bad(f"it has an image with more than {oci.MAX_LAYERS} layers")
        config_data = bundle.read(entry["Config"], oci.DOCUMENT_LIMIT)
        config = oci.parse_config(config_data)
        if len(config["rootfs"]["diff_ids"]) != len(layers):
            raise bundle.bad("manifest.json and the configuration disagree about the layers")
        names = [_tag(bundle, tag) for tag in tags]
        found.append(_Image(names, layers, None, config_data, config))
    if not found:
        raise NotAnArchive(name=bundle.name, why="there is no image in it")
    return found


def _tag(bundle, text):
    """A name of manifest.json as a complete reference (str)."""
    parsed = reference.normalise(text)
    if parsed.digest:
        raise bundle.bad(f"it gives the image the name {text!r}")
    return str(parsed)


def _json_list(bundle):
    from rootless.model import jsontext

    try:
        document = jsontext.loads(bundle.read("manifest.json", _MANIFEST_LIMIT))
    except jsontext.DecodeError as error:
        raise bundle.bad(f"manifest.json: {error}") from None
    if not isinstance(document, list):
        raise bundle.bad("manifest.json is not a list")
    return document


def _strings(value):
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _take_docker(store, bundle, image, progress):
    known = recode.known_blobs(store)
    layers = []
    for diff_id, path in zip(image.config["rootfs"]["diff_ids"], image.manifest, strict=True):
        store.tmp.hold(diff_id)
        found = known.get(diff_id)
        if found is not None:
            store.tmp.hold(found["digest"])
        if found is None or not (
            store.layers.has(diff_id) and store.blobs.has(found["digest"])
        ):
            found = _take_layer(store, bundle, diff_id, path, progress)
        else:
            progress.start(diff_id, _label(diff_id))
            progress.done(diff_id, "already exists")
        layers.append(known.setdefault(diff_id, found))
    config_digest = store.blobs.put(image.config_data)
    data = recode.make_manifest(layers, image.config_data, config_digest)
    digest = store.blobs.put(data)
    manifest = oci.Manifest(oci.load(data, "manifest"))
    _report_names(store, image.names, progress, config_digest.partition(":")[2])
    record = add_image(store, manifest, digest, image.config, image.names)
    return {**record, "names": image.names}


def _label(diff_id):
    return f"Copying blob {reference.short_digest(diff_id)}"


def _take_layer(store, bundle, diff_id, path, progress):
    descriptor, start, size = bundle.open(path)
    part = _Part(bundle, descriptor, start, start + size)
    try:
        progress.start(diff_id, _label(diff_id), size)
        found, _ = recode.take(
            store, part.readinto, diff_id, lambda count: progress.advance(diff_id, count)
        )
        progress.done(diff_id, "done")
        return found
    finally:
        part.close()
