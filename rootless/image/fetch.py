"""Layers on their way into the store: fetched, checked and unpacked in one go.

    source ──readinto──► buffer ──► sha256 ──► tmp/blob-HEX ──► blobs/        (a thread)
                            └─────► pipe ────► decompress, sha256, untar      (a child)

Who forks and when.  A layer is unpacked by a child in a user namespace of its own, and a
process with threads must not fork: the child would inherit locks that nobody in it will
ever release, and unshare(CLONE_NEWUSER) of a process with threads is refused.  Several
downloads at once, on the other hand, want threads: names, TLS and redirects block, hashing
and reading release the interpreter's lock.  So work goes in rounds.  Each round

1. starts, with one thread, the unpacking children of up to ``ROUND`` layers, in the order
   of their diff ids: the lock of a layer is taken there, and two pulls that take locks in
   the same order never wait for each other in a circle;
2. starts the threads, which feed these children, the largest layer first, and wait for the
   result of each;
3. joins the threads.

Nearly every image is one round.  Children start before any thread opens a socket, and the
one connection that the main thread has used for the manifest is closed before, so that a
child holds no socket; what comes out of a registry's archives never meets one.
"""

import os
import threading

from rootless.errors import RlError
from rootless.image.progress import Silent
from rootless.image.trouble import Interrupted, full_disk
from rootless.image.workers import Workers
from rootless.model.oci import compression
from rootless.model.reference import short_digest
from rootless.store import codec, tarread
from rootless.store.blobwriter import WrongSize
from rootless.store.digests import WrongDigest

ROUND = 16
BUFFER = 512 << 10
_GOES_ON = 1 << 20  # bytes that make an attempt count as a new start


class Cancelled(RlError):
    """the download was given up because another layer failed"""


class Spoiled(RlError):
    """what was here of the layer {0} is damaged"""


class Job:
    """One layer to get: its descriptor and diff id."""

    def __init__(self, layer, diff_id):
        self.layer = layer
        self.digest = layer["digest"]
        self.size = layer["size"]
        self.diff_id = diff_id
        compression(layer)  # refuses what isn't a layer; the bytes themselves tell which it is
        self.label = f"Copying blob {short_digest(self.digest)}"
        self.unpack = None
        self.fed = 0  # how many bytes of the blob the unpacker has


def fetch(store, pairs, source, progress=None):
    """Have every layer of ``pairs`` [(descriptor, diff id)] in the store, blob and tree.

    ``source.parallel`` is how many threads may read at once; each calls ``source.open()``
    for a reader of its own: ``start(layer, offset)`` gives (body, the offset it begins at),
    where body has ``readinto`` and ``close``; ``place`` names where it reads from;
    ``pause(attempt, error)`` waits before another attempt, or raises when there have been
    enough; ``abort()``, which may be called from another thread, ends a read that waits;
    ``close()``.

    Raises what the source, the digests and the unpacking raise; finished layers stay.
    """
    with full_disk():
        _fetch(store, pairs, source, Shared(progress or Silent()))


def _fetch(store, pairs, source, progress):
    jobs = {}
    for layer, diff_id in pairs:
        jobs.setdefault(diff_id, Job(layer, diff_id))
    store.tmp.hold(*jobs, *(job.digest for job in jobs.values()))
    missing = []
    for job in sorted(jobs.values(), key=lambda job: job.diff_id):
        # A layer whose tree came from another blob (compressed differently) is not enough:
        # a push or a repair needs the blob that the manifest names.
        if store.layers.has(job.diff_id) and store.blobs.has(job.digest):
            progress.start(job.digest, job.label, job.size)
            progress.done(job.digest, "already exists")
        else:
            missing.append(job)
    for start in range(0, len(missing), ROUND):
        _whole_round(store, missing[start : start + ROUND], source, progress)


def _whole_round(store, jobs, source, progress):
    """One round; another one if what an earlier process left here turned out to be bad, and is
    gone now: that must neither be blamed on the source nor stop every pull to come."""
    while True:
        try:
            _Round(store, jobs, source, progress).run()
            return
        except Spoiled:
            left = [job for job in jobs
                    if not (store.layers.has(job.diff_id) and store.blobs.has(job.digest))]
            jobs = [Job(job.layer, job.diff_id) for job in left]


def _load_codecs():
    """Import here once what every child would import for itself."""
    for name in ("gzip", "zstd", "xz", "bzip2"):
        try:
            codec.prepare(name)
        except codec.CodecMissing:
            pass  # said by the child that meets such a layer


class Shared:
    """A progress that several threads may report to."""

    def __init__(self, progress):
        self._lock = threading.Lock()
        for name in ("start", "advance", "done"):
            setattr(self, name, self._locked(getattr(progress, name)))

    def _locked(self, method):
        def call(*args):
            with self._lock:
                method(*args)

        return call


class _Round:
    def __init__(self, store, jobs, source, progress):
        self.store = store
        self.jobs = jobs
        self.source = source
        self.progress = progress
        self.workers = Workers(sorted(jobs, key=lambda job: job.size), Cancelled)

    def run(self):
        try:
            if len(self.jobs) > 1:
                _load_codecs()
            for job in self.jobs:
                job.unpack = self.store.layers.unpack(job.diff_id)
            readers = [self.source.open()
                       for _ in range(min(self.source.parallel, len(self.jobs)))]  # fmt: skip
            self.workers.run(readers, self._begin, self._kill)
        finally:
            for job in self.jobs:
                if job.unpack is not None:
                    job.unpack.close()

    def _kill(self):
        for job in self.jobs:
            job.unpack.kill()

    def _begin(self, reader):
        buffer = memoryview(bytearray(BUFFER))
        return lambda job: self._get(job, reader, buffer)

    def _get(self, job, reader, buffer):
        """Fetch and unpack one layer."""
        self.progress.start(job.digest, job.label, job.size)
        with self.store.blobs.writer(job.digest, job.size) as writer:
            present, before = writer.present, writer.offset
            try:
                self._feed_file(job, writer, buffer)
                if not present:
                    self._download(job, reader, writer, buffer)
                    self._commit(writer, reader)
                job.unpack.finish()
            except (WrongDigest, WrongSize, codec.BadCompression, tarread.BadArchive):
                if not self._drop_spoiled(job, writer, present, before):
                    raise
                raise Spoiled(short_digest(job.digest)) from None
        self.progress.done(job.digest, "done")

    def _commit(self, writer, reader):
        try:
            writer.commit()
        except WrongDigest as error:
            what = f"a layer from {reader.place}"
            raise WrongDigest(**{**error.fields, "what": what}) from None

    def _drop_spoiled(self, job, writer, present, before):
        """Whether what was here before (a blob that is ``present``, or the first ``before``
        bytes of one) is at fault, or may be: then it goes."""
        if present:
            if self.store.blobs.is_whole(job.digest):
                return False
            self.store.blobs.remove(job.digest)
        elif before and not writer.present:
            writer.restart()
        return bool(present or before and not writer.present)

    def _feed_file(self, job, writer, buffer):
        """Unpack what the store has of the blob already."""
        if writer.present:
            file = os.open(self.store.blobs.path(job.digest), os.O_RDONLY | os.O_CLOEXEC)
        elif writer.offset:
            file = writer.reopen()
        else:
            return
        with open(file, "rb", 0) as body:
            while count := body.readinto(buffer):
                self.workers.check()
                self._feed(job, buffer[:count])

    def _feed(self, job, piece):
        job.unpack.write(piece)
        job.fed += len(piece)
        self.progress.advance(job.digest, len(piece))

    def _download(self, job, reader, writer, buffer):
        _download(
            job.layer, reader, writer, lambda body: self._copy(job, body, writer, buffer),
            self.workers.check,
        )  # fmt: skip

    def _copy(self, job, body, writer, buffer):
        """Body to blob and unpacker.  What the unpacker has already comes again where a
        registry can't go on in the middle."""
        while count := body.readinto(buffer):
            self.workers.check()
            piece = buffer[:count]
            begin = writer.offset
            writer.write(piece)
            if writer.offset > job.fed:
                self._feed(job, piece[max(0, job.fed - begin) :])


def _download(layer, reader, writer, copy, check):
    """Read a blob to its end, with as many attempts as the reader allows."""
    attempt, reached = 1, writer.offset
    while True:
        try:
            body, start = reader.start(layer, writer.offset)
            try:
                if start != writer.offset:
                    writer.restart()
                copy(body)
            finally:
                body.close()
            if writer.offset >= layer["size"]:
                return
            raise Interrupted(5, "the connection ended too early")
        except Interrupted as error:
            check()
            if writer.offset - reached > _GOES_ON:
                attempt, reached = 1, writer.offset
            reader.pause(attempt, error)
            attempt += 1


def fetch_blob(store, part, source, tell, check):
    """Have one blob (its descriptor) in the store, nothing unpacked; may run in a thread.

    ``source`` as for ``fetch``; ``tell(count)`` hears of bytes, ``check()`` may raise.
    """
    buffer = memoryview(bytearray(BUFFER))
    reader = source.open()

    def copy(body):
        while count := body.readinto(buffer):
            check()
            writer.write(buffer[:count])
            tell(count)

    try:
        with full_disk(), store.blobs.writer(part["digest"], part["size"]) as writer:
            if not writer.present:
                _download(part, reader, writer, copy, check)
                writer.commit()
    finally:
        reader.close()
