"""Layers that come without a blob of their own: tar streams from docker-archive and import.

The stream goes to the unpacking child as it is, and, compressed on the way, into a blob: a
push, a save or a repair finds the same bytes again later.  A stream that is compressed
already is kept so.
"""

from rootless.image.trouble import full_disk
from rootless.model import oci
from rootless.store import codec

_BUFFER = 1 << 20
TYPES = {"gzip": oci.DOCKER_LAYER, "zstd": f"{oci.OCI_LAYER}+zstd"}


class _Gzip:
    """A blob writer that compresses what it is given."""

    def __init__(self, writer):
        self.writer = writer
        self.packer = codec.compressor("gzip")

    def write(self, data):
        packed = self.packer.compress(data)
        if packed:
            self.writer.write(packed)

    def finish(self):
        self.writer.write(self.packer.flush())


class _AsIs:
    def __init__(self, writer):
        self.write = writer.write

    def finish(self):
        pass


def take(store, read, diff_id=None, advance=lambda count: None):
    """Put one layer into the store: (its descriptor, diff id).

    ``read(buffer)`` fills a memoryview and returns how much, 0 at the end; ``diff_id`` is
    what it has to be, None if nobody knows yet; ``advance`` is told the bytes read.  Raises
    what the unpacking raises.
    """
    # The child is forked before the blob's file is open; there are no threads here at all.
    with full_disk(), store.layers.unpack(diff_id) as unpack, store.blobs.writer() as writer:
        stream = _Stream(read, advance)
        kind = codec.detect(stream.head)
        sink = _AsIs(writer) if kind in TYPES else _Gzip(writer)
        pieces = stream if kind in ("", *TYPES) else codec.plain(kind, stream.read)
        for piece in pieces:
            unpack.write(piece)
            sink.write(piece)
        sink.finish()
        facts = unpack.finish()
        size = writer.offset
        digest = writer.commit()
    kind = kind if kind in TYPES else "gzip"
    return {"mediaType": TYPES[kind], "digest": digest, "size": size}, facts["diff_id"]


class _Stream:
    """What ``read`` gives, with its first bytes looked at: by pieces, or by ``read(n)``."""

    def __init__(self, read, advance):
        self._read = read
        self._advance = advance
        self._buffer = memoryview(bytearray(_BUFFER))
        self._ready = 0
        while self._ready < codec.LONGEST_MAGIC:
            count = read(self._buffer[self._ready :])
            if not count:
                break
            self._ready += count
        self.head = bytes(self._buffer[: min(self._ready, codec.LONGEST_MAGIC)])

    def __iter__(self):
        return iter(self._next, 0)

    def _next(self):
        """The next piece, valid until the one after it is asked for; 0 at the end."""
        count, self._ready = self._ready, 0
        count = count or self._read(self._buffer)
        self._advance(count)
        return self._buffer[:count] if count else 0

    def read(self, size):
        """Up to ``size`` bytes of the stream as bytes, b"" at its end."""
        if self._ready:
            # Asked for in pieces of a fixed size smaller than the buffer: keep the rest.
            taken = bytes(self._buffer[: min(size, self._ready)])
            rest = self._ready - len(taken)
            self._buffer[:rest] = bytes(self._buffer[len(taken) : self._ready])
            self._ready = rest
        else:
            count = self._read(self._buffer[:size])
            taken = bytes(self._buffer[:count])
        self._advance(len(taken))
        return taken


def known_blobs(store):
    """{diff id: descriptor} of the layers whose blobs are in the store, by its images."""
    found = {}
    for record in store.images.list():
        layers, blobs = record["layers"], record.get("blobs", ())
        if len(layers) != len(blobs) or record.get("media_type") is None:
            continue
        for layer in _descriptors(store, record):
            diff_id = layers[blobs.index(layer["digest"])]
            if store.blobs.has(layer["digest"]):
                found[diff_id] = layer
    return found


def _descriptors(store, record):
    from rootless.errors import RlError

    try:
        document = oci.load(store.blobs.read(record["manifest"]), "manifest")
        return oci.Manifest(document, record["media_type"]).layers
    except (RlError, OSError):
        return ()


def make_manifest(layers, config_data, config_digest):
    """The bytes of a manifest over ``layers`` (descriptors): Docker's where its types do."""
    from rootless.model import jsontext

    docker = all(layer["mediaType"] == oci.DOCKER_LAYER for layer in layers)
    if not docker:
        types = {oci.DOCKER_LAYER: f"{oci.OCI_LAYER}+gzip"}
        layers = [{**one, "mediaType": types.get(one["mediaType"], one["mediaType"])}
                  for one in layers]  # fmt: skip
    document = {
        "schemaVersion": 2,
        "mediaType": oci.DOCKER_MANIFEST if docker else oci.OCI_MANIFEST,
        "config": {
            "mediaType": oci.DOCKER_CONFIG if docker else oci.OCI_CONFIG,
            "digest": config_digest,
            "size": len(config_data),
        },
        "layers": layers,
    }
    return jsontext.dumps(document, sort_keys=True).encode()
