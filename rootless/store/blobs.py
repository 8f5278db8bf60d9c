"""Blobs: manifests, configs and compressed layers, by digest, verified on the way in."""

import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import digests

READ_LIMIT = 4 << 20
_PIECE = 1 << 20


class NoBlob(RlError):
    """the blob {digest} is missing from the store"""

    hint = "pull or load the image again; rl system check says what else is affected"


class Blobs:
    """The blobs/ directory of a store."""

    def __init__(self, store):
        self.store = store

    def path(self, digest):
        """The absolute path that the blob has, or would have."""
        return self.store.path("blobs", *digests.split(digest))

    def size(self, digest):
        """Its size in bytes; None if it isn't here."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return None

    def has(self, digest):
        """True if the blob is here, whole: nothing unverified ever gets the name."""
        return self.size(digest) is not None

    def needed(self, digest):
        """As ``has``, for a blob that a record names: a collection may have it in hand."""
        return self.has(digest) or (self.store.tmp.wait_for_collectors() and self.has(digest))

    def read(self, digest, limit=READ_LIMIT, wait=True):
        """Its bytes; NoBlob if it isn't here, OSError (EFBIG) beyond ``limit`` bytes.

        ``wait`` off: a collection that has it in hand is not waited for.
        """
        algorithm, name = digests.split(digest)
        home = self.store.directory(f"blobs/{algorithm}")
        try:
            return files.read_limited(home, name, limit)
        except FileNotFoundError:
            if not wait or not self.needed(digest):
                raise NoBlob(digest=digest) from None
        return files.read_limited(home, name, limit)

    def is_whole(self, digest):
        """Read it: True if its content has the digest. FileNotFoundError, OSError."""
        return self.digest_on_disk(digest) == digest

    def digest_on_disk(self, digest):
        """The digest that the content of the blob has. FileNotFoundError, OSError."""
        algorithm, name = digests.split(digest)
        hasher = digests.hasher(algorithm)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=self.store.directory(f"blobs/{algorithm}"))
        try:
            while piece := os.read(file, _PIECE):
                hasher.update(piece)
        finally:
            os.close(file)
        return f"{algorithm}:{hasher.hexdigest()}"

    def list(self):
        """The digests of all blobs, a list of str."""
        found = []
        for algorithm in self.store.names("blobs"):
            size = digests.SIZES.get(algorithm)
            for name in self.store.names(f"blobs/{algorithm}") if size else ():
                if len(name) == size and digests.is_hex(name):
                    found.append(f"{algorithm}:{name}")
        return found

    def put(self, data, algorithm="sha256"):
        """Store ``data`` (bytes); its digest."""
        hasher = digests.hasher(algorithm)
        hasher.update(data)
        name = hasher.hexdigest()
        digest = f"{algorithm}:{name}"
        self.store.tmp.hold(digest)
        if self.size(digest) != len(data):
            files.write_atomic(self.store.directory(f"blobs/{algorithm}"), name, data)
        return digest

    def writer(self, digest=None, size=None, wait=True):
        """A writer of one blob that comes in pieces; see store.blobwriter.BlobWriter.

        With ``digest`` only one process at a time writes it, others wait (Busy if ``wait``
        is off), and what an earlier, interrupted one got is gone on with.  ``size`` (bytes)
        is where it has to end.
        """
        from rootless.store.blobwriter import BlobWriter

        return BlobWriter(self.store, digest, size, wait)

    def remove(self, digest):
        """Remove a blob; one that is missing is fine.  True if it was there."""
        algorithm, name = digests.split(digest)
        try:
            os.unlink(name, dir_fd=self.store.directory(f"blobs/{algorithm}"))
        except FileNotFoundError:
            return False
        return True
