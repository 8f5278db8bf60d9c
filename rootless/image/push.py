"""Pushing an image of the store to a registry.

Blobs go first, several at once, and the manifest last: a push that breaks off leaves no
image there.  What the registry has already is not sent, nor what it can take from another
of its repositories.  A manifest that needs no change goes as it came, so that the image
keeps its digest.
"""

import hashlib

from rootless.errors import RlError
from rootless.image import manifests, repack
from rootless.image.fetch import Shared
from rootless.image.progress import Silent
from rootless.image.pull import Connection
from rootless.image.registry import http
from rootless.image.registry.upload import Source, Target
from rootless.image.workers import Workers
from rootless.model import oci, reference
from rootless.model.reference import short_digest
from rootless.store.blobs import NoBlob

PARALLEL = 4
FORMATS = {"oci": oci.OCI_MANIFEST, "docker": oci.DOCKER_MANIFEST, "v2s2": oci.DOCKER_MANIFEST}


class Cancelled(RlError):
    """the upload was given up because another one failed"""


class OtherDigest(RlError):
    """the image can't be pushed as {name}: its manifest has the digest {digest}"""

    hint = "push it to a tag"


class Packing:
    """How layers are to be compressed: ``codec`` ("gzip", "zstd", None for as they are),
    ``level`` of it or None; ``media_type`` of the manifest or None for as it is."""

    def __init__(self, codec=None, level=None, media_type=None):
        self.codec = codec
        self.level = level
        self.media_type = media_type
        if codec is not None:
            repack.check_level(codec, level)

    def codec_for(self, layer, made_here):
        """With what to compress a layer anew; None if it stays as it is."""
        now = oci.compression(layer)
        if oci.is_foreign(layer):
            return None
        if self.codec is None:
            # Images made of this machine's files have plain layers here, to be made fast.
            return "gzip" if now is None and made_here else None
        if now == self.codec and self.level is None:
            return None
        return self.codec


def _made_here(record):
    """Whether an image's plain layers were left plain because it was made here."""
    return "source" in record or bool(record.get("built"))


class _Job:
    """One blob to bring there.  ``diff_id`` and ``codec``: a layer to compress first."""

    def __init__(self, part, kind, diff_id=None, codec=None):
        self.part = part
        self.diff_id = diff_id
        self.codec = codec
        self.label = f"Copying {kind} {short_digest(part['digest'])}"


def push(store, record, target, options, packing=None, progress=None):
    """Push the image of ``record`` to the complete Reference ``target``: its digest there.

    ``options``: image.pull.Options; ``packing``: a Packing.  Raises NoBlob, OtherDigest,
    NoDockerZstd and what the registry's client raises.
    """
    return push_part(store, record, target, options, packing, progress)["digest"]


def push_part(store, record, target, options, packing=None, progress=None, supply=None,
              origins=()):  # fmt: skip
    """As ``push``: the descriptor of the manifest there.  A ``target`` without tag and digest
    means the digest that comes out.

    ``supply(part, tell, check)`` is called for a blob (descriptor) that is neither there nor
    here, and gets it into the store; ``origins``: complete References of where the image
    may be in the same registry.
    """
    packing = packing or Packing()
    connection = Connection(options)
    try:
        with store.tmp.make("push") as workdir:
            push = _Push(store, record, target, connection, workdir, packing, progress)
            push.supply, push.origins = supply, origins
            return push.run()
    finally:
        connection.close()


class _Push:
    def __init__(self, store, record, target, connection, workdir, packing, progress):
        self.store = store
        self.record = record
        self.target = target
        self.connection = connection
        self.workdir = workdir
        self.packing = packing
        self.progress = progress or Silent()
        self.shared = Shared(self.progress)
        self.packed = {}  # digest of a layer → its descriptor after compressing it anew
        self.supply = None
        self.origins = ()
        place = connection.options.registries.endpoints(target)[-1]
        self.registry = connection.registry(
            place.domain, place.host, place.repository, place.insecure
        )
        self.repository = place.repository

    def run(self):
        manifest, data, config = manifests.documents(self.store, self.record)
        pairs = oci.match_layers(manifest, oci.parse_config(config))
        parts = (manifest.config, *manifest.layers)
        self.store.tmp.hold(self.record["manifest"], *(part["digest"] for part in parts))
        codecs = {
            layer["digest"]: self.packing.codec_for(layer, _made_here(self.record))
            for layer in manifest.layers
        }
        media_type = self._media_type(manifest, codecs)
        jobs = self._jobs(manifest, pairs, codecs, media_type)
        self.workers = Workers(jobs, Cancelled)
        self.elsewhere = self._elsewhere(jobs)
        # The first question finds out about TLS and the login, before threads do so at once.
        asked = manifest.config["digest"]
        there = self._repository(self.connection.session).has(asked)
        self.known = {asked: there}
        sessions = [http.Session(self.connection.trust)
                    for _ in range(min(PARALLEL, len(self.workers.queue)))]  # fmt: skip
        self.workers.run(sessions, self._begin)
        layers = [self.packed.get(layer["digest"], layer) for layer in manifest.layers]
        data = manifests.convert(manifest, data, media_type, layers if self.packed else None)
        return self._finish(data, media_type)

    def _media_type(self, manifest, codecs):
        """The type of manifest to write. Raises NoDockerZstd."""
        found = {codecs[layer["digest"]] or oci.compression(layer) for layer in manifest.layers}
        wanted = self.packing.media_type
        if wanted == oci.DOCKER_MANIFEST != manifest.media_type and "zstd" in found:
            raise manifests.NoDockerZstd()
        if wanted == oci.DOCKER_MANIFEST and "zstd" in codecs.values():
            raise manifests.NoDockerZstd()
        if wanted is None and "zstd" in codecs.values():
            return oci.OCI_MANIFEST
        return wanted or manifest.media_type

    def _jobs(self, manifest, pairs, codecs, media_type):
        """What has to be there, the largest last; each blob once."""
        found = {manifest.config["digest"]: _Job(manifest.config, "config")}
        for layer, diff_id in pairs:
            digest = layer["digest"]
            left_out = oci.is_foreign(layer) and layer.get("urls")
            if left_out and media_type == manifest.media_type:
                continue  # its manifest says where it is, and no registry takes it
            found.setdefault(digest, _Job(layer, "blob", diff_id, codecs[digest]))
        return sorted(found.values(), key=lambda job: job.part["size"])

    def _elsewhere(self, jobs):
        """{digest: repositories of the same registry that may have the blob}."""
        found = {}
        every = [*self.store.images.list()]
        if self.origins:
            blobs = [job.part["digest"] for job in jobs]
            every.append({"names": map(str, self.origins), "blobs": blobs,
                          "config": self.record["config"]})  # fmt: skip
        for record in every:
            repositories = self._repositories((*record["names"], *record.get("digests", ())))
            for digest in (*record.get("blobs", ()), record["config"]) if repositories else ():
                found.setdefault(digest, {}).update(repositories)
        return found

    def _repositories(self, names):
        """{repository: None} of this registry that the names (str) are in, but the target."""
        found = {}
        for name in names:
            try:
                place = self.connection.options.registries.endpoints(reference.parse(name))[-1]
            except RlError:
                continue  # a blocked registry
            if place.host == self.registry.host and place.repository != self.repository:
                found[place.repository] = None
        return found

    def _repository(self, session):
        return Target(self.registry, session, self.repository)

    def _finish(self, data, media_type):
        """Put the manifest: its descriptor."""
        algorithm = (self.target.digest or "sha256").partition(":")[0]
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if self.target.digest not in (None, digest):
            raise OtherDigest(name=self.target, digest=digest)
        self.progress.message("Writing manifest to image destination")
        target = self._repository(self.connection.session)
        name = self.target.digest or self.target.tag or digest
        target.manifest(name, data, media_type, digest)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    # -- threads --

    def _begin(self, session):
        target = self._repository(session)
        return lambda job: self._bring(job, target)

    def _bring(self, job, target):
        """Have one blob in the repository."""
        key, part = job.part["digest"], job.part
        path = self.store.blobs.path(key)
        if job.codec:
            if self._was_packed(job, target):
                return
            self._have(job, key)
            part, path = self._repack(job)
        digest, size = part["digest"], part["size"]
        self.shared.start(key, job.label, size)
        known = self.known.get(digest)
        if target.has(digest) if known is None else known:
            self.shared.done(key, "already exists")
            return
        origin = target.mount(digest, self.elsewhere.get(digest, ()))
        if origin:
            self.shared.done(key, f"mounted from {origin}")
            return
        self._have(job, key)
        try:
            source = Source(path, size, lambda n: self.shared.advance(key, n),
                            self.workers.check)
        except FileNotFoundError:
            raise NoBlob(digest=digest) from None
        with source:
            target.upload(digest, source)
        self.shared.done(key, "done")

    def _was_packed(self, job, target):
        """Whether the registry has a layer as it was compressed for an earlier push."""
        key = job.part["digest"]
        part = None
        if self.packing.level is None:
            part = repack.remembered(self.store, job.diff_id, job.codec)
        if part is None:
            return False
        origin = None
        if not target.has(part["digest"]):
            origin = target.mount(part["digest"], self.elsewhere.get(key, ()))
            if not origin:
                return False
        with self.workers.lock:
            self.packed[key] = part
        self.shared.start(key, f"Copying blob {short_digest(part['digest'])}", part["size"])
        self.shared.done(key, f"mounted from {origin}" if origin else "already exists")
        return True

    def _have(self, job, key):
        """Get a blob that isn't here, if there is a way to."""
        if self.supply is not None and not self.store.blobs.has(job.part["digest"]):
            self.supply(job.part, lambda n: self.shared.advance(key, n), self.workers.check)

    def _repack(self, job):
        key = job.part["digest"]
        self.shared.start(key, f"Compressing blob {short_digest(key)}", job.part["size"])
        part, path = repack.repack(
            self.store, self.workdir, job.part, job.diff_id, job.codec, self.packing.level,
            lambda count: self.shared.advance(key, count), self.workers.check,
        )  # fmt: skip
        if self.packing.level is None:
            repack.remember(self.store, job.diff_id, job.codec, part)
        with self.workers.lock:
            self.packed[key] = part
        job.label = f"Copying blob {short_digest(part['digest'])}"
        return part, path
