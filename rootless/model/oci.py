"""Documents of images: index, manifest and configuration, checked before anything uses them.

OCI image-spec 1.1 (index, manifest, config, descriptor) and Docker "image manifest version
2, schema 2".  Everything here comes from strangers: types, digests and sizes are checked,
unknown fields are left alone, and what could be read in two ways is refused.
"""

from rootless.errors import RlError
from rootless.model import jsontext
from rootless.model.reference import BadDigest, check_digest

DOCUMENT_LIMIT = 4 << 20  # manifest, index, config: what containers/image and registries cap

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
INDEXES = (OCI_INDEX, DOCKER_INDEX)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
ACCEPT = ", ".join((OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST))

# Layer media types to the compression of the tar stream.
_LAYERS = {
    OCI_LAYER: None,
    f"{OCI_LAYER}+gzip": "gzip",
    f"{OCI_LAYER}+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": None,
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": None,
    DOCKER_LAYER: "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": None,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
}
_FOREIGN = ("nondistributable", ".foreign.")

MAX_LAYERS = 500  # far beyond the 127 of other engines; keeps a bomb of empty layers out


class BadDocument(RlError):
    """the {kind} of the image is not valid: {why}"""


class Schema1(RlError):
    """the registry has this image only in the Docker format of 2015 (manifest schema 1)"""

    hint = "pull a newer tag, or have the image pushed again by a current docker or podman"


class NotAnImage(RlError):
    """this is not a container image but an artifact of type {kind}"""


class NoSuchPlatform(RlError):
    """there is no image for {wanted}; available: {available}"""

    hint = "choose one with --platform OS/ARCH"


# --- reading -------------------------------------------------------------------------------


def load(data, kind):
    """The JSON object in ``data`` (bytes); ``kind`` is its name in errors. BadDocument."""
    if len(data) > DOCUMENT_LIMIT:
        raise BadDocument(kind=kind, why=f"it has more than {DOCUMENT_LIMIT >> 20} MiB")
    try:
        value = jsontext.loads(data)
    except jsontext.DecodeError as error:
        raise BadDocument(kind=kind, why=str(error)) from None
    if not isinstance(value, dict):
        raise BadDocument(kind=kind, why="it is not a JSON object")
    return value


def document_type(document, claimed=None):
    """The media type of a manifest or index; ``claimed`` is what the sender called it.

    Raises BadDocument where it could be read both ways (CVE-2021-41190), Schema1 for the
    format that other engines have dropped as well.
    """
    kind = "manifest"
    if document.get("schemaVersion") == 1 or claimed in DOCKER_SCHEMA1:
        raise Schema1()
    if document.get("schemaVersion") != 2:
        raise BadDocument(kind=kind, why="schemaVersion is not 2")
    has_layers = "layers" in document or "config" in document or "fsLayers" in document
    has_manifests = "manifests" in document
    if has_layers == has_manifests:
        why = "it has both layers and manifests" if has_layers else "it has no layers"
        raise BadDocument(kind=kind, why=why)
    inner = document.get("mediaType")
    if inner is not None and not isinstance(inner, str):
        raise BadDocument(kind=kind, why="mediaType is not a string")
    family = INDEXES if has_manifests else MANIFESTS
    for named in (inner, claimed):
        if named in INDEXES + MANIFESTS and named not in family:
            raise BadDocument(kind=kind, why=f"its content doesn't fit its type {named}")
    if inner is not None and claimed in family and inner != claimed:
        raise BadDocument(kind=kind, why=f"it calls itself {inner} but was sent as {claimed}")
    found = inner or (claimed if claimed in family else family[0])
    if found not in family:
        raise BadDocument(kind=kind, why=f"unknown media type {found}")
    return found


def descriptor(value, kind="manifest"):
    """A checked copy of a descriptor: mediaType, digest, size, and what is optional."""
    if not isinstance(value, dict):
        raise BadDocument(kind=kind, why="a descriptor is not an object")
    try:
        check_digest(value.get("digest"))
    except BadDigest as error:
        raise BadDocument(kind=kind, why=error.message) from None
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
        raise BadDocument(kind=kind, why=f"{value['digest']} has no sensible size")
    if not isinstance(value.get("mediaType"), str):
        raise BadDocument(kind=kind, why=f"{value['digest']} has no mediaType")
    for name, wanted in (("annotations", dict), ("platform", dict), ("urls", list)):
        if value.get(name) is not None and not isinstance(value[name], wanted):
            raise BadDocument(kind=kind, why=f"{name} of {value['digest']} has a wrong type")
    return {key: item for key, item in value.items() if item is not None}


class Manifest:
    """One image: ``media_type``, ``config`` and ``layers`` (descriptors), ``annotations``."""

    __slots__ = ("media_type", "config", "layers", "annotations")

    def __init__(self, document, claimed=None):
        self.media_type = document_type(document, claimed)
        if self.media_type not in MANIFESTS:
            raise BadDocument(kind="manifest", why="it is an index of several images")
        self.config = descriptor(document.get("config"))
        layers = document.get("layers")
        if not isinstance(layers, list):
            raise BadDocument(kind="manifest", why="layers is not a list")
        if len(layers) > MAX_LAYERS:
            raise BadDocument(kind="manifest", why=f"it has more than {MAX_LAYERS} layers")
        if self.config["mediaType"] not in (OCI_CONFIG, DOCKER_CONFIG):
            raise NotAnImage(kind=document.get("artifactType") or self.config["mediaType"])
        self.layers = [descriptor(layer) for layer in layers]
        for layer in self.layers:
            compression(layer)
        if self.config["size"] > DOCUMENT_LIMIT:
            raise BadDocument(kind="config", why=f"it has more than {DOCUMENT_LIMIT >> 20} MiB")
        self.annotations = _strings(document.get("annotations"), "manifest", "annotations")


def compression(layer):
    """How a layer's tar stream is compressed: None, "gzip" or "zstd".

    Raises BadDocument for what isn't a layer, such as an encrypted one.
    """
    try:
        return _LAYERS[layer["mediaType"]]
    except KeyError:
        why = f"layer {layer['digest']} has the unknown type {layer['mediaType']}"
        raise BadDocument(kind="manifest", why=why) from None


def is_foreign(layer):
    """Whether a layer may have to be fetched from its own ``urls``, not from a registry."""
    return any(part in layer["mediaType"] for part in _FOREIGN)


def index_entries(document, claimed=None):
    """The checked descriptors of an index."""
    if document_type(document, claimed) not in INDEXES:
        raise BadDocument(kind="index", why="it is the manifest of one image")
    entries = document.get("manifests")
    if not isinstance(entries, list):
        raise BadDocument(kind="index", why="manifests is not a list")
    return [descriptor(entry, "index") for entry in entries]


def _strings(value, kind, name):
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise BadDocument(kind=kind, why=f"{name} is not a table of strings")
    return value


# --- configuration -------------------------------------------------------------------------

# The fields of "config" that rl uses and the types they must have (image-spec config.md).
_CONFIG = {
    "User": str,
    "ExposedPorts": dict,
    "Env": list,
    "Entrypoint": list,
    "Cmd": list,
    "Volumes": dict,
    "WorkingDir": str,
    "Labels": dict,
    "StopSignal": str,
    "Shell": list,
    "OnBuild": list,
    "Healthcheck": dict,
}


def parse_config(data):
    """The image configuration in ``data`` (bytes) as a dict with checked fields.

    Missing and null fields stay missing; ``config`` is always there.  Raises BadDocument.
    """
    document = {k: v for k, v in load(data, "config").items() if v is not None}
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise BadDocument(kind="config", why='rootfs has not the type "layers"')
    diff_ids = rootfs["diff_ids"] = rootfs.get("diff_ids") or []
    if not isinstance(diff_ids, list):
        raise BadDocument(kind="config", why="diff_ids is not a list")
    for diff_id in diff_ids:
        try:
            check_digest(diff_id)
        except BadDigest as error:
            raise BadDocument(kind="config", why=error.message) from None
    for name in ("architecture", "os", "variant", "created", "author", "os.version"):
        if not isinstance(document.get(name, ""), str):
            raise BadDocument(kind="config", why=f"{name} is not a string")
    document["config"] = _checked(document.get("config", {}))
    history = document.get("history", [])
    if not isinstance(history, list) or not all(isinstance(h, dict) for h in history):
        raise BadDocument(kind="config", why="history is not a list of objects")
    return document


def _checked(config):
    if not isinstance(config, dict):
        raise BadDocument(kind="config", why="config is not an object")
    config = {key: value for key, value in config.items() if value is not None}
    for name, wanted in _CONFIG.items():
        value = config.get(name)
        if value is None:
            continue
        if not isinstance(value, wanted):
            raise BadDocument(kind="config", why=f"{name} has a wrong type")
        if wanted is list and not all(isinstance(item, str) for item in value):
            raise BadDocument(kind="config", why=f"{name} is not a list of strings")
    if "Env" in config:
        # An entry without "=" would take the host's value in engines that read it as
        # `--env NAME` (CVE-2026-57231).  There are images with such entries: they mean nothing.
        config["Env"] = [e for e in config["Env"] if "=" in e[1:] and "\0" not in e]
    _strings(config.get("Labels"), "config", "Labels")
    return config


def match_layers(manifest, config):
    """[(descriptor, diff id)] of an image, bottom first. Raises BadDocument."""
    diff_ids = config["rootfs"]["diff_ids"]
    if len(diff_ids) != len(manifest.layers):
        why = f"it has {len(manifest.layers)} layers, its configuration {len(diff_ids)}"
        raise BadDocument(kind="manifest", why=why)
    return list(zip(manifest.layers, diff_ids, strict=True))


def unix_time(text):
    """The seconds since 1970 (float) of a date as RFC 3339 writes it; None for anything else.

    Without datetime: `rl images` passes here.
    """
    try:
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hours, minutes, seconds = int(text[11:13]), int(text[14:16]), int(text[17:19])
        rest = text[19:]
        fraction = 0.0
        if rest[:1] == ".":
            digits = len(rest) - len(rest[1:].lstrip("0123456789"))
            fraction, rest = float(f"0{rest[:digits]}"), rest[digits:]
        if rest not in ("Z", "z"):
            sign = {"+": 1, "-": -1}[rest[0]]
            minutes -= sign * (int(rest[1:3]) * 60 + int(rest[4:6]))
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    # Days from 1970 in the proleptic Gregorian calendar, years beginning in March.
    year -= month < 3
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds + fraction


# --- platforms -----------------------------------------------------------------------------

_ARCH = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "mips64el": "mips64le",
    "mipsel": "mipsle",
    "ppc64el": "ppc64le",
    "loongarch64": "loong64",
}
_VARIANT = {"armhf": "v7", "armel": "v6", "armv8l": "v8"}


class BadPlatform(RlError):
    """{text!r} is not a platform"""

    hint = "platforms look like linux/amd64 or linux/arm/v7"


class Platform(tuple):
    """(os, architecture, variant) in Go's names; ``variant`` is "" where there is one only."""

    __slots__ = ()

    def __new__(cls, os, architecture, variant=""):
        os, arch, variant = os.lower(), architecture.lower(), (variant or "").lower()
        if arch.startswith("armv") and arch[4:5].isdigit():
            arch, variant = "arm", variant or f"v{arch[4]}"
        variant = variant or _VARIANT.get(arch, "")
        arch = _ARCH.get(arch, arch)
        if variant and variant[0].isdigit():
            variant = f"v{variant}"
        if arch == "arm64" and variant == "v8" or arch == "amd64" and variant == "v1":
            variant = ""
        if arch == "arm" and not variant:
            variant = "v7"
        return tuple.__new__(cls, (os, arch, variant))

    os = property(lambda self: self[0])
    architecture = property(lambda self: self[1])
    variant = property(lambda self: self[2])

    def __str__(self):
        return "/".join(part for part in self if part)


def parse_platform(text, host):
    """The Platform that ``text`` (OS, ARCH, OS/ARCH or OS/ARCH/VARIANT) asks for on a
    machine of the Platform ``host``. Raises BadPlatform."""
    parts = text.split("/")
    if not all(parts) or len(parts) > 3 or not text.replace("/", "").isprintable():
        raise BadPlatform(text=text)
    if len(parts) == 1:
        known = ("linux", "windows", "darwin", "freebsd", "wasi", "wasip1")
        if text.lower() in known:
            return Platform(text, host.architecture, host.variant)
        return Platform(host.os, text)
    return Platform(*parts)


def wanted_platform(host, platform=None, os=None, architecture=None, variant=None):
    """The Platform asked for by --platform, or by --os, --arch and --variant; ``host`` where
    they say nothing. Raises BadPlatform."""
    if platform:
        return parse_platform(platform, host)
    if not (os or architecture or variant):
        return host
    arch = architecture or host.architecture
    if not architecture and not variant:
        variant = host.variant
    return Platform(os or host.os, arch, variant)


def config_platform(config):
    """The Platform that an image's configuration names; empty fields mean nothing said."""
    return Platform(
        config.get("os") or "linux", config.get("architecture") or "", config.get("variant")
    )


def fits(found, wanted):
    """How well an image for ``found`` serves who wants ``wanted``: None not at all, else a
    number, lower is better.  An older variant runs on a newer one."""
    if found[:2] != wanted[:2]:
        return None
    if found.variant == wanted.variant:
        return 0
    have, want = found.variant.lstrip("v"), wanted.variant.lstrip("v")
    if not have:
        return 50  # it says nothing: the baseline
    if found.architecture == "arm64" and not want:
        want = "8"
    if found.architecture == "amd64" and not want:
        want = "1"
    try:
        distance = float(want or 0) - float(have)
    except ValueError:
        return None
    return 1 + distance if distance > 0 else None


def choose(entries, wanted):
    """The entry of an index for the Platform ``wanted``. Raises NoSuchPlatform.

    Entries that are no images (attestations name the platform unknown/unknown) don't count.
    """
    best, best_rank, available = None, None, []
    for entry in entries:
        if entry["mediaType"] not in MANIFESTS + INDEXES:
            continue
        named = entry.get("platform")
        if named is None:
            found, rank = None, 100
        else:
            found = _entry_platform(named)
            rank = fits(found, wanted)
            if "unknown" in found:
                continue
        available.append(str(found) if found else "unnamed")
        if rank is not None and (best is None or rank < best_rank):
            best, best_rank = entry, rank
    if best is None or (best_rank == 100 and len(available) > 1):
        names = ", ".join(sorted(set(available))) or "none"
        raise NoSuchPlatform(wanted=str(wanted), available=names)
    return best


def _entry_platform(named):
    parts = [named.get(name) or "" for name in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) for part in parts):
        raise BadDocument(kind="index", why="a platform is not made of strings")
    return Platform(*parts)
