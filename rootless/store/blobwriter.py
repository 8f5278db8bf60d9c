"""Writing a blob that comes in pieces: hashed on the way, resumed, published by a rename."""

import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import digests
from rootless.store.tmp import RESUMABLE

_DATA = "data"
_PIECE = 1 << 20


class WrongSize(RlError):
    """{what} is {found} bytes long instead of {wanted}"""

    hint = "it was damaged on the way or at its source: fetch it again"


class BlobWriter:
    """A context: ``write`` pieces, then ``commit``.

    ``offset``: how many bytes are there already, to be asked for from there on (a range
    request); ``present``: the blob turned out to be in the store by now, nothing needs to
    be written, and ``commit`` just returns its digest.  Left without a commit, what came
    stays for the next writer of the same digest.
    """

    def __init__(self, store, digest, size, wait):
        self.store = store
        self.digest = digest
        self.size = size
        self.offset = 0
        self.present = False
        self._algorithm = digests.split(digest)[0] if digest else "sha256"
        self._work = None
        self._file = -1
        self._helped = None
        if digest:
            store.tmp.hold(digest)
            if not self._found():
                # Taking the lock may wait for another download, which then has made it.
                self._work = store.tmp.named(RESUMABLE + digests.hexdigits(digest), wait)
                if self._found():
                    self._close(remove=True)
        else:
            self._work = store.tmp.make("new-blob")
        self._hasher = digests.hasher(self._algorithm)
        if self._work is not None:
            self._open()

    def _found(self):
        self.present = self.store.blobs.has(self.digest)
        return self.present

    def _open(self):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(_DATA, flags, 0o600, dir_fd=self._work.descriptor)
        while piece := os.read(self._file, _PIECE):
            self._hasher.update(piece)
            self.offset += len(piece)
        if self.size is not None and self.offset > self.size:
            self.restart()

    def restart(self):
        """Forget what is there: the source can't go on from ``offset``."""
        if self._work is not None:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            self._hasher = digests.hasher(self._algorithm)
            self.offset = 0

    def reopen(self):
        """A new descriptor, at the start, of the ``offset`` bytes that are there."""
        return os.open(
            _DATA, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._work.descriptor
        )

    def write(self, data):
        """Append ``data`` (bytes-like).  WrongSize beyond the size that was announced."""
        if self.present:
            return
        if self.size is not None and self.offset + len(data) > self.size:
            found = self.offset + len(data)
            self.restart()
            raise WrongSize(what=self.digest or "the blob", found=found, wanted=self.size)
        files.write_all(self._file, data)
        self._hasher.update(data)
        self.offset += len(data)

    def fileno(self):
        """The descriptor of the data, for a helper that writes it; see ``written``."""
        return self._file

    def written(self, name, size):
        """Say what a helper has written into ``fileno()``: hex digits of its digest, bytes."""
        self._helped = name
        self.offset = size

    def commit(self):
        """Verify, sync and publish it; its digest.  WrongDigest or WrongSize else.

        What is wrong is thrown away, so that the next try starts from nothing.
        """
        if self.present:
            return self.digest
        if self.size is not None and self.offset != self.size:
            raise WrongSize(what=self.digest or "the blob", found=self.offset, wanted=self.size)
        name = self._helped or self._hasher.hexdigest()
        found = f"{self._algorithm}:{name}"
        if self.digest and found != self.digest:
            self._close(remove=True)
            raise WrongDigest(what="what came", found=found, wanted=self.digest)
        if not self.digest:
            self.store.tmp.hold(found)
        os.fsync(self._file)
        home = self.store.directory(f"blobs/{self._algorithm}")
        os.rename(_DATA, name, src_dir_fd=self._work.descriptor, dst_dir_fd=home)
        os.fsync(home)
        self.digest = found
        self.present = True
        self._close(remove=True)
        return found

    def _close(self, remove):
        if self._file != -1:
            os.close(self._file)
            self._file = -1
        if self._work is not None:
            if remove:
                self._work.remove()
            else:
                self._work.leave()
            self._work = None

    def close(self):
        """Let go of it without a commit; safe to call at any time."""
        self._close(remove=self.digest is None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


WrongDigest = digests.WrongDigest
