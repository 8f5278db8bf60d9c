"""Manifests of images in the store: read, and written anew in the other of the two formats."""

from rootless.errors import RlError
from rootless.model import jsontext, oci

_DOCKER = "application/vnd.docker.image.rootfs."
_TO_OCI = {
    oci.DOCKER_CONFIG: oci.OCI_CONFIG,
    oci.DOCKER_LAYER: f"{oci.OCI_LAYER}+gzip",
    f"{_DOCKER}diff.tar": oci.OCI_LAYER,
    f"{_DOCKER}diff.tar.zstd": f"{oci.OCI_LAYER}+zstd",
    f"{_DOCKER}foreign.diff.tar": oci.OCI_LAYER,
    f"{_DOCKER}foreign.diff.tar.gzip": f"{oci.OCI_LAYER}+gzip",
}
_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_TO_DOCKER = {
    oci.OCI_CONFIG: oci.DOCKER_CONFIG,
    oci.OCI_LAYER: f"{_DOCKER}diff.tar",
    f"{oci.OCI_LAYER}+gzip": oci.DOCKER_LAYER,
    _NONDISTRIBUTABLE: f"{_DOCKER}diff.tar",
    f"{_NONDISTRIBUTABLE}+gzip": oci.DOCKER_LAYER,
}
LAYERS = {None: oci.OCI_LAYER, "gzip": f"{oci.OCI_LAYER}+gzip", "zstd": f"{oci.OCI_LAYER}+zstd"}


class NoDockerZstd(RlError):
    """Docker's image format has no layers that are compressed with zstd"""

    hint = "push it with --format oci, or with --compression-format gzip"


def documents(store, record):
    """(Manifest, its bytes, config bytes) of an image's record. Raises NoBlob, BadDocument."""
    data = store.blobs.read(record["manifest"])
    manifest = oci.Manifest(oci.load(data, "manifest"), record.get("media_type"))
    return manifest, data, store.blobs.read(record["config"])


def convert(manifest, data, media_type, layers=None):
    """The bytes of a manifest as ``media_type`` (OCI_MANIFEST or DOCKER_MANIFEST): ``data``
    itself where nothing changes.  ``layers``: descriptors to put in, in whichever format.

    Raises NoDockerZstd.
    """
    if manifest.media_type == media_type and layers is None:
        return data
    document = oci.load(data, "manifest")
    document["mediaType"] = media_type
    if layers is not None:
        document["layers"] = [dict(layer) for layer in layers]
    docker = media_type == oci.DOCKER_MANIFEST
    table = _TO_DOCKER if docker else _TO_OCI
    if docker:
        for name in ("annotations", "artifactType", "subject"):
            document.pop(name, None)
    for part in (document["config"], *document["layers"]):
        if docker and part["mediaType"].endswith("zstd"):
            raise NoDockerZstd()
        if part["mediaType"] in table:
            part["mediaType"] = table[part["mediaType"]]
            part.pop("urls", None)
        if docker:
            part.pop("annotations", None)
    return jsontext.dumps(document, sort_keys=True).encode()
