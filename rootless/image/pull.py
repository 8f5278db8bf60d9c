"""Pulling an image from a registry into the store."""

import hashlib

from rootless.errors import RlError
from rootless.image import fetch
from rootless.image.credentials import Keyring
from rootless.image.progress import Silent
from rootless.image.record import add_image
from rootless.image.registries import Registries
from rootless.image.registry import client, http
from rootless.image.trouble import full_disk
from rootless.model import oci
from rootless.model.reference import Reference

PARALLEL = 4
_MAX_NESTING = 3


class WrongDocument(RlError):
    """{host} sent a {kind} with the digest {found} instead of {wanted}"""

    hint = "the registry or a proxy on the way to it is broken or hostile; try another one"


class Options:
    """How to pull; attributes as keyword arguments.

    ``registries`` (image.registries.Registries), ``environ``, ``home``, ``find_program``;
    ``tls_verify`` None means as the registries say; ``creds`` is USER:PASSWORD, or
    ``login``; ``authfile``, ``cert_dir`` (paths); ``retry`` (times), ``retry_delay``
    (seconds); ``platform`` (model.oci.Platform) with ``exact`` if the user asked for it;
    ``check`` is called with the Platform of what was found, before any layer comes.
    """

    def __init__(self, platform, **settings):
        self.platform = platform
        self.registries = Registries()
        self.environ = {}
        self.home = None
        self.find_program = lambda name: None
        self.tls_verify = None
        self.login = None
        self.authfile = None
        self.cert_dir = None
        self.retry = 3
        self.retry_delay = 1.0
        self.exact = False
        self.check = None
        self.__dict__.update(settings)


class Connection:
    """The way to where a reference's image is: sessions, trust and one Registry per place.

    ``session`` is the main thread's.
    """

    def __init__(self, options):
        self.options = options
        config = options.environ.get("XDG_CONFIG_HOME") or (
            f"{options.home}/.config" if options.home else None
        )
        directories = [f"{config}/containers/certs.d"] if config else []
        directories += ["/etc/containers/certs.d", "/etc/docker/certs.d"]
        self._insecure = set()
        self.trust = http.Trust(
            options.environ, self._insecure.__contains__, options.cert_dir, directories
        )
        self.session = http.Session(self.trust)
        self._registries = {}
        self._keyring = Keyring(
            options.environ,
            options.home,
            options.authfile,
            options.find_program,
            options.registries.helpers,
        )

    def registry(self, domain, host, repository="", insecure=False):
        """The client.Registry for a place, with the login for ``repository`` there."""
        options = self.options
        if options.tls_verify is not None:
            insecure = not options.tls_verify
        login = options.login or self._keyring.find(domain, repository)
        key = (host, insecure, login and (login.user, login.token))
        if key not in self._registries:
            if insecure:
                self._insecure.add(host)
            retry = client.Retry(options.retry, options.retry_delay)
            self._registries[key] = client.Registry(domain, host, login, insecure, retry)
        return self._registries[key]

    def places(self, reference):
        """[(client.Registry, repository)] to try for a Reference, in order."""
        return [
            (self.registry(e.domain, e.host, e.repository, e.insecure), e.repository)
            for e in self.options.registries.endpoints(reference)
        ]

    def close(self):
        """Close the main thread's connections."""
        self.session.close()


def verify(data, digest, kind, host):
    """``data`` if it has ``digest``. Raises WrongDocument."""
    algorithm = digest.partition(":")[0]
    found = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    if found != digest:
        raise WrongDocument(host=host, kind=kind, found=found, wanted=digest)
    return data


def digest_of(data):
    """The sha256 digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Found:
    """An image in a registry: where, its manifest and what led there."""

    def __init__(self, registry, repository, data, claimed, digest):
        self.registry = registry
        self.repository = repository
        self.data = data
        self.claimed = claimed
        self.digest = digest  # of what the reference itself stands for: maybe an index
        self.index = None  # the bytes of that index


def locate(connection, reference):
    """The manifest or index that ``reference`` stands for, as Found; mirrors come first.

    Raises what the last place raises.
    """
    places = connection.places(reference)
    for position, (registry, repository) in enumerate(places):
        wanted = reference.digest or reference.tag
        try:
            data, claimed = registry.manifest(connection.session, repository, wanted)
            if reference.digest:
                verify(data, reference.digest, "manifest", registry.domain)
            return Found(
                registry, repository, data, claimed, reference.digest or digest_of(data)
            )
        except RlError:
            if position == len(places) - 1:
                raise
    raise AssertionError("a reference without a place")


def settle(connection, found, options):
    """Follow indexes to the one image for the platform: (Manifest, digest, config bytes,
    config). ``found.data`` becomes that manifest's. Raises NoSuchPlatform and others."""
    digest, listed = found.digest, False
    for _ in range(_MAX_NESTING):
        document = oci.load(found.data, "manifest")
        if oci.document_type(document, found.claimed) in oci.MANIFESTS:
            break
        if found.index is None:
            found.index = found.data
        entry = oci.choose(oci.index_entries(document, found.claimed), options.platform)
        listed = True
        digest = entry["digest"]
        found.data, found.claimed = found.registry.manifest(
            connection.session, found.repository, digest
        )
        verify(found.data, digest, "manifest", found.registry.domain)
        if len(found.data) != entry["size"]:
            raise oci.BadDocument(kind="manifest", why="it has not the size the index says")
    manifest = oci.Manifest(document, found.claimed)
    data = found.registry.blob_bytes(
        connection.session, found.repository, manifest.config["digest"], oci.DOCUMENT_LIMIT
    )
    verify(data, manifest.config["digest"], "configuration", found.registry.domain)
    config = oci.parse_config(data)
    has = oci.config_platform(config)
    if options.exact and not listed and oci.fits(has, options.platform) is None:
        raise oci.NoSuchPlatform(wanted=str(options.platform), available=str(has))
    if options.check:
        options.check(has)
    return manifest, digest, data, config


def pull(store, reference, options, progress=None):
    """Have the image that a complete Reference stands for in the store: its record.

    A tag moves the name to it.  Nothing is visible before everything is there.
    """
    progress = progress or Silent()
    connection = Connection(options)
    try:
        with full_disk():
            return _pull(store, connection, reference, options, progress)
    finally:
        connection.close()


def _pull(store, connection, reference, options, progress):
    found = locate(connection, reference)
    manifest, digest, config_data, config = settle(connection, found, options)
    pairs = oci.match_layers(manifest, config)
    store.tmp.hold(digest, found.digest, manifest.config["digest"])
    # No child may inherit a socket: see image/fetch.py.
    connection.close()
    fetch.fetch(store, pairs, Layers(connection, found), progress)
    progress.message("Writing manifest to image destination")
    if found.index is not None:
        store.blobs.put(found.index, found.digest.partition(":")[0])
    store.blobs.put(found.data, digest.partition(":")[0])
    store.blobs.put(config_data, manifest.config["digest"].partition(":")[0])
    digests = {digest, found.digest}
    return add_image(
        store,
        manifest,
        digest,
        config,
        names=[str(Reference(reference.domain, reference.path, reference.tag))]
        if reference.tag
        else [],
        digests=[str(reference.with_digest(one)) for one in sorted(digests)],
        # Who pulls by digest means to keep it: such an image is not dangling.
        **({} if reference.tag else {"pinned": True}),
    )


def all_tags(reference, options):
    """The complete References of all tags in the repository of ``reference``."""
    connection = Connection(options)
    try:
        places = connection.places(reference)
        for position, (registry, repository) in enumerate(places):
            try:
                tags = registry.tags(connection.session, repository)
                return [reference.with_tag(tag) for tag in tags]
            except RlError:
                if position == len(places) - 1:
                    raise
    finally:
        connection.close()
    raise AssertionError("a reference without a place")


def current_digest(reference, options):
    """The digest that a tag stands for in its registry now (str or None)."""
    connection = Connection(options)
    try:
        for registry, repository in connection.places(reference):
            return registry.manifest_digest(connection.session, repository, reference.tag)
    finally:
        connection.close()


class Layers:
    """The layers of one image in a registry, as a source for image.fetch."""

    parallel = PARALLEL

    def __init__(self, connection, found):
        self.connection = connection
        self.found = found

    def open(self):
        return _Reader(self.connection, self.found)


class _Reader:
    """One thread's way to the layers."""

    def __init__(self, connection, found):
        self.connection = connection
        self.registry = found.registry
        self.repository = found.repository
        self.session = http.Session(connection.trust)
        self.place = found.registry.domain

    def start(self, layer, offset):
        """(body, offset it starts at) of a layer."""
        try:
            return self.registry.blob(self.session, self.repository, layer["digest"], offset)
        except client.Unknown:
            if not (oci.is_foreign(layer) and layer.get("urls")):
                raise
        return self._foreign(layer, offset)

    def _foreign(self, layer, offset):
        """A layer that has to come from elsewhere: without any credentials, over TLS."""
        headers = {"Range": f"bytes={offset}-"} if offset else None
        last = None
        for url in layer["urls"]:
            if not isinstance(url, str) or not url.startswith("https://"):
                continue
            last = url
            response = self.session.send("GET", url, headers)
            if response.status == 200 or response.status == 206 and offset:
                start = client.range_start(response) if response.status == 206 else 0
                if start in (0, offset):
                    return response, start
            response.close()
        raise client.Unknown(
            host=self.registry.domain, what="blob", name=layer["digest"],
            said=f", nor has {last}" if last else "",
        )  # fmt: skip

    def pause(self, attempt, error):
        """Wait before another attempt; raises GaveUp after the last."""
        if attempt > self.registry.retry.times:
            raise client.give_up(self.registry.domain, "a layer", attempt, error) from None
        self.registry.retry.wait(attempt, error)

    def abort(self):
        self.session.abort()

    def close(self):
        self.session.close()
