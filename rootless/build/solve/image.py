"""From the last state of a stage to an image: configuration, manifest, record, names."""

from rootless.errors import RlError
from rootless.image import manifests
from rootless.image.record import add_image
from rootless.model import jsontext, oci
from rootless.store.images import NoSuchImage

FORMATS = {"oci": oci.OCI_MANIFEST, "docker": oci.DOCKER_MANIFEST}
_LAYERS = {"": oci.OCI_LAYER, "gzip": f"{oci.OCI_LAYER}+gzip", "zstd": f"{oci.OCI_LAYER}+zstd"}


class TooManyLayers(RlError):
    """the image would have {count} layers, and {most} is the most there can be"""

    hint = "--squash makes one layer of all new ones"


def document(state, omit_history=False, more=None):
    """The image configuration of a State, as bytes: the same state gives the same bytes.

    ``more``: fields beside those of a configuration (dict).
    """
    found = {
        **({"created": state.created} if state.created else {}),
        "architecture": state.platform.architecture,
        "os": state.platform.os,
        **state.extra,
        "config": {key: value for key, value in state.config.items()
                   if value is not None and (value or key in ("Cmd", "Entrypoint"))},
        "rootfs": {"type": "layers", "diff_ids": state.diff_ids},
    }  # fmt: skip
    if state.platform.variant:
        found["variant"] = state.platform.variant
    if state.author:
        found["author"] = state.author
    if not omit_history:
        found["history"] = state.history
    found.update(more or {})
    return jsontext.dumps(found, sort_keys=True).encode()


def descriptor(layer):
    """A layer's descriptor, from its facts; that of a base image's is kept."""
    if "descriptor" in layer:
        return dict(layer["descriptor"])
    return {"mediaType": _LAYERS[layer["compression"]], "digest": layer["blob"],
            "size": layer["blob_size"]}  # fmt: skip


def manifest(state, config, config_digest, media_type, annotations=None):
    """The manifest over a configuration (bytes), as bytes of the media type. NoDockerZstd."""
    if len(state.layers) > oci.MAX_LAYERS:
        raise TooManyLayers(count=len(state.layers), most=oci.MAX_LAYERS)
    layers = [descriptor(layer) for layer in state.layers]
    found = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": {"mediaType": oci.OCI_CONFIG, "digest": config_digest, "size": len(config)},
        "layers": layers,
    }
    if annotations:
        found["annotations"] = annotations
    data = jsontext.dumps(found, sort_keys=True).encode()
    return manifests.convert(oci.Manifest(found), data, media_type, layers)


def add(store, state, form="oci", annotations=None, names=(), omit_history=False, more=None):
    """Make the image of a State known, under all of ``names`` (complete references): its record.

    Nothing is written if it is here already.  All layers must be in the store.
    """
    config = document(state, omit_history, more)
    digest = _digest(config)
    data = manifest(state, config, digest, FORMATS[form], annotations)
    known = _known(store, digest, _digest(data), names)
    if known is not None:
        return known
    store.blobs.put(config)
    checked = oci.parse_config(config)
    parsed = oci.Manifest(oci.load(data, "manifest"))
    # "built": a push may compress its plain layers.
    return add_image(store, parsed, store.blobs.put(data), checked, list(names), built=True)


def _digest(data):
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _known(store, config, manifest_digest, names):
    """The record of the very same image, if it has all of ``names`` and its blobs."""
    image = config.partition(":")[2]
    try:
        record = store.images.get(image)
    except (NoSuchImage, RlError):
        return None
    store.tmp.hold(manifest_digest, config, *record["layers"])
    same = record.get("manifest") == manifest_digest and record.get("built")
    whole = store.blobs.has(config) and store.blobs.has(manifest_digest)
    if same and whole and all(store.images.refs.get(name) == image for name in names):
        return record
    return None
