"""Taking in a layer that was just made: its digests are computed on the way.

For import, commit and build.  The bytes go to the unpacker and, compressed, into a blob,
so that the layer can be pushed, saved and made again.
"""

from rootless.store import codec
from rootless.store.unpack import Unpack


class Adopt:
    """A context: ``write`` the archive (plain, or compressed with gzip or zstd), ``finish``.

    With ``compress`` a plain archive becomes a gzip blob; what comes compressed stays as
    it is.
    """

    def __init__(self, store, compress=True):
        self.store = store
        self.compress = compress
        self._packer = None
        self._seen = None
        self._codec = ""
        self._unpack = Unpack(store)
        self._blob = None

    def _begin(self, data):
        self._seen = (self._seen or b"") + data
        if len(self._seen) < codec.LONGEST_MAGIC:
            return None
        return self._decide()

    def _decide(self):
        self._codec = codec.detect(self._seen)
        data, self._seen = self._seen, None
        self._blob = self.store.blobs.writer()
        if not self._codec and self.compress:
            self._codec = "gzip"
            self._packer = codec.compressor("gzip")
        return data

    def write(self, data):
        """Feed bytes of the archive."""
        if self._blob is None:
            data = self._begin(data)
            if data is None:
                return
        self._unpack.write(data)
        self._blob.write(self._packer.compress(data) if self._packer else data)

    def finish(self):
        """Publish layer and blob: {"diff_id", "size", "blob", "blob_size", "compression", …}.

        "compression" is that of the blob: "gzip", "zstd", … or "" for none.
        """
        if self._blob is None:
            data = self._decide_short()
            self._unpack.write(data)
            self._blob.write(self._packer.compress(data) if self._packer else data)
        if self._packer:
            self._blob.write(self._packer.flush())
        facts = dict(self._unpack.finish())
        size = self._blob.offset
        facts.update(blob=self._blob.commit(), blob_size=size, compression=self._codec)
        return facts

    def _decide_short(self):
        self._seen = self._seen or b""
        return self._decide()

    def close(self):
        """Give up, if it isn't finished, and leave nothing behind."""
        self._unpack.close()
        if self._blob is not None:
            self._blob.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
