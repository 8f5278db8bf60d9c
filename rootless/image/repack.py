"""Layers compressed anew for a push: out of the store's blobs into a directory in tmp/."""

import os

from rootless.errors import RlError
from rootless.image import manifests
from rootless.image.trouble import full_disk
from rootless.kernel import files
from rootless.model import oci
from rootless.model.reference import short_digest
from rootless.store import codec, digests, records
from rootless.store.blobs import NoBlob

LEVELS = {"gzip": (1, 9), "zstd": (1, 22)}


class BadLevel(RlError):
    """--compression-level {level}: {codec} has the levels {least} to {most}"""


def check_level(name, level):
    """See that ``level`` (int or None) is one of the codec ``name``. Raises BadLevel."""
    least, most = LEVELS[name]
    if level is not None and not least <= level <= most:
        raise BadLevel(level=level, codec=name, least=least, most=most)


def remembered(store, diff_id, name):
    """The descriptor that a layer had when it was last compressed with ``name`` at its usual
    level; None if that isn't known.  Where a registry has that blob, it needs no other."""
    found = _note(store, diff_id, lambda home: records.read(home, f"packed.{name}", None, 4096))
    if not found or found.get("mediaType") != manifests.LAYERS[name]:
        return None
    found.pop("version", None)
    try:
        return oci.descriptor(found)
    except oci.BadDocument:
        return None


def remember(store, diff_id, name, part):
    """Note the descriptor ``part`` for ``remembered``, beside the layer's tree."""
    _note(store, diff_id, lambda home: records.write(home, f"packed.{name}", part, sync=False))


def _note(store, diff_id, work):
    """``work(descriptor of the layer's directory)``; None if that can't be done."""
    try:
        home = os.open(os.path.dirname(store.layers.path(diff_id)), files.DIRECTORY)
    except OSError:
        return None  # its blob is here alone
    try:
        return work(home)
    except (OSError, RlError):
        return None
    finally:
        os.close(home)


def repack(store, workdir, layer, diff_id, name, level, tell, check):
    """Write a layer compressed with ``name`` into ``workdir``: (its descriptor, path).

    ``tell(count)`` hears of the bytes read, ``check()`` may raise to end it.  The plain
    bytes are held against ``diff_id``: a damaged blob must not get a good digest.  Raises
    NoBlob, BadCompression, CodecMissing, WrongDigest, NoSpace.
    """
    target = f"{diff_id.partition(':')[2]}.{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(target, flags, 0o600, dir_fd=workdir.descriptor)
    try:
        with full_disk():
            digest, size = _write(store, descriptor, layer, diff_id, name, level, tell, check)
    finally:
        os.close(descriptor)
    found = {"mediaType": manifests.LAYERS[name], "digest": digest, "size": size}
    return found, f"{workdir.path}/{target}"


def _write(store, descriptor, layer, diff_id, name, level, tell, check):
    packer = codec.compressor(name, level)
    inner, outer = digests.hasher(diff_id.partition(":")[0]), digests.hasher("sha256")
    size = 0
    for data in _packed(store, layer, packer, inner, tell, check):
        outer.update(data)
        files.write_all(descriptor, data)
        size += len(data)
    found = f"{diff_id.partition(':')[0]}:{inner.hexdigest()}"
    if found != diff_id:
        what = f"the layer {short_digest(layer['digest'])} in the store"
        hint = "rl system check says what else is damaged"
        raise digests.WrongDigest(what=what, found=found, wanted=diff_id, hint=hint)
    return f"sha256:{outer.hexdigest()}", size


def _packed(store, layer, packer, inner, tell, check):
    """The compressed pieces of a layer; its plain bytes go through ``inner`` on the way."""
    try:
        file = open(store.blobs.path(layer["digest"]), "rb", 0)
    except FileNotFoundError:
        raise NoBlob(digest=layer["digest"]) from None
    with file:
        head = file.read(codec.LONGEST_MAGIC)
        file.seek(0)

        def read(count):
            check()
            data = file.read(count)
            tell(len(data))
            return data

        for piece in codec.plain(codec.detect(head), read):
            inner.update(piece)
            data = packer.compress(piece)
            if data:
                yield data
    yield packer.flush()
