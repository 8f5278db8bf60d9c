"""rl import: an image of one layer from a tar archive with a root file system."""

import os
import time

from rootless.errors import RlError
from rootless.image import recode
from rootless.image.changes import apply
from rootless.image.local import iso
from rootless.image.progress import Silent
from rootless.image.record import add_image
from rootless.image.registry import http
from rootless.model import jsontext, oci


def open_source(text, trust):
    """(read function, size or None, close function) of a path or an http(s) URL."""
    if text.startswith(("http://", "https://")):
        session = http.Session(trust)
        try:
            response = session.send("GET", text)
        except http.Interrupted as error:
            raise http.Unreachable(host=text, why=error.strerror) from None
        if response.status != 200:
            response.close()
            session.close()
            raise http.Unreachable(host=text, why=f"it answers with status {response.status}")
        length = response.headers.get("Content-Length") or ""
        size = int(length) if length.isdecimal() else None
        return _whole(text, response, size), size, session.close
    return from_descriptor(os.open(text, os.O_RDONLY | os.O_CLOEXEC))


def from_descriptor(descriptor):
    """The same for a descriptor, which is closed in the end."""
    size = os.fstat(descriptor).st_size or None
    return (
        lambda buffer: os.readv(descriptor, [buffer]),
        size,
        lambda: os.close(descriptor),
    )


class CutShort(RlError):
    """{source} broke off: {why}"""

    hint = "try again"


def _whole(source, response, size):
    """A read function that doesn't take a broken connection for the end."""
    got = 0

    def read(buffer):
        nonlocal got
        try:
            count = response.readinto(buffer)
        except http.Interrupted as error:
            raise CutShort(source=source, why=error.strerror) from None
        got += count
        if not count and size is not None and got < size:
            raise CutShort(source=source, why="the connection ended too early")
        return count

    return read


def take(store, read, size, platform, names=(), changes=(), message="", made_by="", progress=None):
    """Make the image: its record.

    ``changes``: --change texts, checked before anything is read; ``platform``: what it is
    for; ``message``: the comment of its history; ``made_by``: its "created by".
    """
    progress = progress or Silent()
    config = apply({}, changes)
    progress.start("import", made_by, size)
    layer, diff_id = recode.take(store, read, None, lambda count: progress.advance("import", count))
    progress.done("import", "done")
    now = iso(time.time())
    document = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": now,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": now, "created_by": made_by, "comment": message}],
    }
    if platform.variant:
        document["variant"] = platform.variant
    data = jsontext.dumps(document).encode()
    digest = store.blobs.put(data)
    manifest = recode.make_manifest([layer], data, digest)
    return add_image(
        store,
        oci.Manifest(oci.load(manifest, "manifest")),
        store.blobs.put(manifest),
        oci.parse_config(data),
        list(names),
    )
