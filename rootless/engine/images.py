"""Images: from the name somebody typed to the record of an image that can be run.

On the path of ``rl run``: what talks to registries, reads archives or makes images is
imported only when the image isn't here.
"""

import os

from rootless.engine import images_platform
from rootless.errors import RlError
from rootless.image.registries import BadRegistries, Registries
from rootless.image.stamps import unchanged
from rootless.model import oci, reference
from rootless.store.images import NoSuchImage

POLICIES = ("always", "missing", "never", "newer")
_PODMAN = "containers/registries.conf"


class BadPolicy(RlError):
    """--pull {0!r}: expected always, missing, never or newer"""


class NotHere(RlError):
    """there is no image {name} here, and pulling is off"""

    hint = "rl pull {name}, or leave --pull=never away"


class OtherPlatform(RlError):
    """the image {name} here is for {found}, not for {wanted}, and no other is to be had"""

    hint = "rl pull --platform {wanted} {name}"


def registries(engine):
    """The Registries of the settings files. Raises BadRegistries."""
    config = engine.config
    named = config.environ.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        if not os.path.exists(named):
            raise BadRegistries(path="CONTAINERS_REGISTRIES_CONF", why=f"{named}: no such file")
        return Registries(config.documents_at([os.path.abspath(named)]), borrowed=True)
    documents = config.documents("registries.toml")
    if documents:
        return Registries(documents)
    return Registries(config.documents_at(_podman_files(config)), borrowed=True)


def _podman_files(config):
    """Where podman keeps the same settings (containers-registries.conf(5)), the strongest
    last: a file in the home directory takes the place of the system's."""
    base = config.environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = f"{config.home}/.config" if config.home else ""
    own = f"{base}/{_PODMAN}"
    found = [own] if base and os.path.exists(own) else [f"/etc/{_PODMAN}"]
    for directory in (f"/etc/{_PODMAN}.d", f"{own}.d"):
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        found += [f"{directory}/{name}" for name in names if name.endswith(".conf")]
    return found


def lookup(engine, name, settings=None, lists=False):
    """The record of the local image that ``name`` means, or None. Raises AmbiguousImage.

    Of a manifest list, the image for this machine, if it is here; with ``lists`` the list.
    """
    settings = settings or registries(engine)
    found = engine.store.images.lookup(name, settings.search, settings.aliases)
    if found is not None and "list" in found and not lists:
        from rootless.engine import manifests

        return manifests.member(engine, found, images_platform.host())
    return found


def find(engine, name, settings=None, lists=False):
    """The record of the local image that ``name`` (or an id) means; ``lists`` as in lookup.

    Raises NoSuchImage.
    """
    found = lookup(engine, name, settings, True)
    if found is not None and "list" in found and not lists:
        from rootless.engine import manifests

        return manifests.find_member(engine, found, name, images_platform.host())
    if found is None:
        raise NoSuchImage(name)
    return found


def configuration(engine, record):
    """The checked image configuration (dict) of a record: "config", "history", "rootfs"…"""
    return oci.parse_config(engine.store.blobs.read(record["config"]))


def platform_of(record):
    """The model.oci.Platform of a record."""
    return oci.Platform(
        record.get("os") or "linux", record.get("architecture") or "", record.get("variant")
    )


def resolve(engine, name, pull=None, platform=None, architecture=None, system=None,
            variant=None, progress=None, must_run=True, **options):  # fmt: skip
    """The record of the image ``name``, pulled or made if need be; it can run here.

    ``pull``: a policy, None for the configured one; ``platform``, ``architecture``,
    ``system`` (the OS), ``variant``: what the user asked for (str or None); ``progress``: a
    function that makes the progress to report to (rootless.image.progress), called only if
    there is work; ``must_run``: refuse what this machine can't run; ``options`` as for
    ``image.pull.Options`` (tls_verify, authfile…).

    Raises NoSuchImage, NotHere, OtherPlatform, ForeignArchitecture, what pulling raises.
    """
    policy = pull or engine.config.pull_policy
    if policy not in POLICIES:
        raise BadPolicy(policy)
    own = images_platform.host()
    wanted = oci.wanted_platform(own, platform, system, architecture, variant)
    exact = bool(platform or architecture or system or variant)
    transport, rest = reference.split_transport(name)
    if transport != "docker":
        record = _from_transport(engine, transport, rest, progress)
        _check(name, record, wanted, exact, must_run)
        return record
    settings = registries(engine)
    record = lookup(engine, name, settings, True)
    if record is not None and "list" in record:
        from rootless.engine import manifests

        record, name = manifests.for_run(engine, record, name, wanted)
    if record is None and name == "hello" or record and record.get("source", {}).get("hello"):
        record = _hello(engine, record)
    fitting = record is not None and _fits(record, wanted, exact)
    if policy == "never" or (fitting and (policy == "missing" or _made_here(record))):
        if record is None:
            raise NotHere(name=name)
        _check(name, record, wanted, exact, must_run)
        return record
    from rootless.engine import images_pull

    try:
        found = images_pull.pull_for_run(
            engine, name, record if fitting else None, policy, settings, progress,
            platform=wanted, exact=exact, must_run=must_run, **options,
        )  # fmt: skip
    except NoSuchImage:
        if record is None:
            raise
        found = record  # of this name (localhost/…) there is only the one here
    _check(name, found, wanted, exact, must_run)
    return found


def _fits(record, wanted, exact):
    """Whether a local image serves: the platform asked for, or one that runs here."""
    found = platform_of(record)
    if oci.fits(found, wanted) is not None or not found.architecture:
        return True
    return not exact and images_platform.runs_here(found)


def _check(name, record, wanted, exact, must_run):
    found = platform_of(record)
    if exact and found.architecture and oci.fits(found, wanted) is None:
        raise OtherPlatform(name=name, found=str(found), wanted=str(wanted))
    if must_run:
        images_platform.check(name, found)


def _made_here(record):
    return "source" in record


# --- images of this machine ----------------------------------------------------------------


def _hello(engine, record):
    """The built-in image, made again after rl was updated."""
    if record is not None and unchanged(record["source"]["inputs"]):
        return record
    from rootless.image import hello

    return hello.build(engine.store)


def _from_transport(engine, transport, rest, progress):
    if transport == "elf":
        return _elf(engine, rest)
    from rootless.engine import images_pull

    return images_pull.load_one(engine, transport, rest, progress)


def _elf(engine, path):
    """The image of a program of this machine, made again if any of its files changed."""
    path = os.path.abspath(os.path.expanduser(path))
    name = elf_name(path)
    known = engine.store.images.refs.get(name)
    if known is not None:
        try:
            record = engine.store.images.get(known)
            source = record.get("source", {})
            if source.get("elf") == path and unchanged(source["inputs"]):
                return record
        except RlError:
            pass  # damaged or half removed: it can be made again
    from rootless.image import elf

    return elf.build(engine.store, path, name)


def elf_name(path):
    """The name (str) under which the image of a program (absolute path) is kept.

    ``localhost/elf/usr/bin/env:latest``; where the path isn't fit for a name, a hash of it
    tells it apart.
    """
    parts = path.strip("/").split("/")
    text = "/".join(parts)
    if not all(map(reference.is_component, parts)) or len(text) > 200:
        import hashlib

        base = "".join(c if c.isascii() and c.isalnum() else "-" for c in parts[-1].lower())
        code = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        text = "/".join(filter(None, (base.strip("-")[:64].strip("-"), code)))
    return str(reference.Reference(reference.LOCALHOST, f"elf/{text}", reference.DEFAULT_TAG))
