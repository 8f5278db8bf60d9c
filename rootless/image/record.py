"""From documents to the store's record of an image."""

from rootless.errors import RlError
from rootless.model import oci


def is_dangling(record, names, listed=()):
    """Whether nobody calls an image by ``names`` or meant it by its digest.

    ``listed``: what manifest lists name, see ``in_lists``.
    """
    return not names and not record.get("pinned") and record.get("manifest") not in listed


def in_lists(records):
    """The digests (set) of the images in the manifest lists among ``records``."""
    return {digest for record in records for digest in record.get("list", ())}


def add_image(store, manifest, digest, config, names, digests=(), **facts):
    """Record an image whose layers and blobs are in the store: its record.

    ``manifest``: model.oci.Manifest, ``digest``: its digest; ``config``: the checked
    configuration; ``names``: complete references (str); ``digests``: NAME@DIGEST it is known
    by; ``facts``: what else to note ("source").
    """
    diff_ids = config["rootfs"]["diff_ids"]
    blobs = [layer["digest"] for layer in manifest.layers]
    found = oci.config_platform(config)
    return store.images.add(
        digest,
        manifest.config["digest"],
        diff_ids,
        names,
        digests=list(digests),
        blobs=blobs,
        media_type=manifest.media_type,
        created=config.get("created"),
        os=found.os,
        architecture=found.architecture,
        variant=found.variant,
        size=layers_size(store, diff_ids),
        labels=config["config"].get("Labels") or {},
        names_history=_names_history(store, manifest.config["digest"], names),
        **facts,
    )


def _names_history(store, config_digest, names):
    """The names that an image has had before, with ``names``."""
    try:
        known = store.images.get(config_digest.partition(":")[2]).get("names_history", ())
    except RlError:
        known = ()
    return sorted({*known, *names})


def name_image(store, record, name):
    """Make the complete reference ``name`` (str) stand for an image, and remember it.

    NoSuchImage if it was removed meanwhile.
    """
    store.images.tag(name, record["id"])


def layers_size(store, diff_ids):
    """The sum of the sizes of the layers' plain archives, in bytes: podman's SIZE."""
    return sum(store.layers.index(diff_id).get("size", 0) for diff_id in set(diff_ids))
