"""Images made here: of files of this machine (ELF images, the built-in one)."""

import hashlib
import os

from rootless.errors import RlError
from rootless.image import layertar
from rootless.image.record import add_image
from rootless.image.trouble import full_disk
from rootless.model import jsontext, oci

_PASSWD = (
    b"root:x:0:0:root:/root:/bin/sh\n"
    b"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"
BASE = {"/etc/passwd": _PASSWD, "/etc/group": _GROUP}


class Changed(RlError):
    """{path} changed while the image was made from it"""

    hint = "try again"


def iso(seconds):
    """A time (seconds since 1970) as RFC 3339 has it, in UTC."""
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def write_layer(store, files, links, directories):
    """Put a layer into the store as an uncompressed blob: (its descriptor, newest time).

    ``files``: path → path of this machine, or bytes; ``links``: path → target;
    ``directories``: paths, parents are added.  Members come sorted, belong to root and
    have no set-id bits.  /tmp is there, with mode 1777.
    """
    every = set(directories) | {"/tmp"}
    for path in (*files, *links, *directories):
        while path := path.rpartition("/")[0]:
            every.add(path)
    every -= {*files, *links}
    newest = 0
    with full_disk(), store.blobs.writer() as writer:
        for path in sorted({*every, *files, *links}):
            name = path[1:]
            if path in links:
                writer.write(layertar.header(name, layertar.LINK, 0o777, target=links[path]))
            elif path in files:
                newest = max(newest, _write_file(writer, name, files[path]))
            else:
                mode = 0o1777 if path == "/tmp" else 0o755
                writer.write(layertar.header(f"{name}/", layertar.DIRECTORY, mode))
        writer.write(layertar.END)
        size = writer.offset
        digest = writer.commit()
    return {"mediaType": oci.OCI_LAYER, "digest": digest, "size": size}, newest


def _write_file(writer, name, source):
    if isinstance(source, bytes):
        writer.write(layertar.header(name, layertar.FILE, 0o644, len(source)))
        writer.write(layertar.pad(source))
        return 0
    with open(source, "rb", 0) as file:
        status = os.fstat(file.fileno())
        mode = 0o755 if status.st_mode & 0o111 else 0o644
        left = status.st_size
        mtime = int(status.st_mtime)
        writer.write(layertar.header(name, layertar.FILE, mode, left, mtime))
        while left:
            piece = file.read(min(left, 1 << 20))
            if not piece:
                raise Changed(path=source)
            writer.write(piece)
            left -= len(piece)
        writer.write(layertar.padding(status.st_size))
    return mtime


def _unpack(store, digest):
    """Unpack a layer that is an uncompressed blob of the store."""
    store.tmp.hold(digest)
    with store.layers.unpack(digest) as unpack:
        if not unpack.present:
            with open(store.blobs.path(digest), "rb", 0) as file:
                while piece := file.read(1 << 20):
                    unpack.write(piece)
        unpack.finish()


def make_image(store, layers, config, created, architecture, names, made_by, **facts):
    """Add an image whose layers are uncompressed blobs of the store: its record.

    ``layers``: descriptors; ``config``: the image configuration's "config"; ``created``:
    seconds since 1970; ``made_by`` goes into the history; ``facts`` into the record.
    """
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": iso(created),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        "history": [{"created": iso(created), "created_by": made_by} for _ in layers],
    }
    data = jsontext.dumps(document, sort_keys=True).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": {
            "mediaType": oci.OCI_CONFIG,
            "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
            "size": len(data),
        },
        "layers": layers,
    }
    manifest_data = jsontext.dumps(manifest, sort_keys=True).encode()
    for layer in layers:
        _unpack(store, layer["digest"])
    store.blobs.put(data)
    digest = store.blobs.put(manifest_data)
    checked = oci.parse_config(data)
    return add_image(store, oci.Manifest(manifest), digest, checked, names, **facts)
