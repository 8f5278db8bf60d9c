"""Manifest lists: one document that stands for images of several platforms.

An OCI image index or Docker's "manifest list"; which of them is decided by what is in it.
The functions change documents (dict) that ``read`` or ``new`` gave.
"""

from rootless.errors import RlError
from rootless.model import jsontext, oci

FORMATS = {"oci": oci.OCI_INDEX, "docker": oci.DOCKER_INDEX, "v2s2": oci.DOCKER_INDEX}
MANIFESTS = {oci.OCI_INDEX: oci.OCI_MANIFEST, oci.DOCKER_INDEX: oci.DOCKER_MANIFEST}


class NotInList(RlError):
    """the list {name} has no image {digest}"""

    hint = "rl manifest inspect {name} shows what is in it"


class BadAnnotation(RlError):
    """--annotation {0!r}: expected KEY=VALUE"""

    hint = "--annotation org.example.key=value"


class NoAnnotations(RlError):
    """Docker's format has no annotations"""

    hint = "push it with --format oci"


def new():
    """The document of an empty list."""
    return {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": []}


def read(data):
    """The document in ``data`` (bytes), its entries checked. Raises BadDocument."""
    document = oci.load(data, "index")
    document["manifests"] = oci.index_entries(document)
    return document


def dump(document):
    """A document as bytes, of the type that its entries allow: the same list, the same bytes."""
    return jsontext.dumps(settled(document), sort_keys=True).encode()


def settled(document, media_type=None):
    """A copy of a document with the right media type: ``media_type``, or Docker's if all its
    images are Docker's. Raises NoAnnotations."""
    entries = document["manifests"]
    found = dict(document)
    docker = bool(entries) and all(e["mediaType"] == oci.DOCKER_MANIFEST for e in entries)
    has = bool(document.get("annotations")) or any(e.get("annotations") for e in entries)
    if media_type == oci.DOCKER_INDEX and has:
        raise NoAnnotations()
    found["mediaType"] = media_type or (
        oci.DOCKER_INDEX if docker and not has else oci.OCI_INDEX
    )
    return found


def entry(data, media_type, config):
    """The descriptor for an image: ``data``, the bytes of its manifest, of the media type;
    ``config``, its checked configuration (dict)."""
    return {
        "mediaType": media_type,
        "digest": digest_of(data),
        "size": len(data),
        "platform": platform(config),
    }


def platform(config):
    """The "platform" of an entry, from an image's configuration."""
    found = oci.config_platform(config)
    shown = {"architecture": found.architecture, "os": found.os}
    if found.variant:
        shown["variant"] = found.variant
    elif found.architecture == "arm64" and config.get("variant"):
        shown["variant"] = config["variant"]
    if config.get("os.version"):
        shown["os.version"] = config["os.version"]
    features = config.get("os.features")
    if isinstance(features, list) and features and all(isinstance(f, str) for f in features):
        shown["os.features"] = features
    return shown


def digest_of(data):
    """The sha256 digest of ``data``."""
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def put(document, added):
    """Add an entry; one of the same image goes."""
    entries = [e for e in document["manifests"] if e["digest"] != added["digest"]]
    document["manifests"] = [*entries, added]


def find(document, digest, name):
    """The entry of the image with that digest. Raises NotInList."""
    for one in document["manifests"]:
        if one["digest"] == digest:
            return one
    raise NotInList(name=name, digest=digest)


def change(one, settings):
    """Change an entry as the options say.

    ``settings``: "arch", "os", "variant", "os_version" (str or None), "features",
    "os_features" (lists of str), "annotation" (KEY=VALUE). Raises BadAnnotation.
    """
    shown = one["platform"] = dict(one.get("platform") or {})
    for name, field in (("arch", "architecture"), ("os", "os"), ("variant", "variant"),
                        ("os_version", "os.version"), ("features", "features"),
                        ("os_features", "os.features")):  # fmt: skip
        if settings.get(name):
            value = settings[name]
            shown[field] = value if isinstance(value, str) else list(value)
    for name in ("architecture", "os"):
        shown.setdefault(name, "")
    annotate(one, settings.get("annotation") or ())


def annotate(holder, texts):
    """Add annotations (KEY=VALUE) to an entry or a document. Raises BadAnnotation."""
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadAnnotation(text)
        holder["annotations"] = {**holder.get("annotations", {}), key: value}
