"""Writing images into archives and directories that podman, skopeo and docker read.

oci-archive and oci-dir keep the blobs as they are, so layers keep their digests; a Docker
manifest is written anew with OCI types.  docker-archive has plain layers, named by their
diff id, as `podman save` writes it.
"""

import os

from rootless.errors import RlError
from rootless.image import layertar, lists, manifests
from rootless.image.progress import Silent
from rootless.kernel import files
from rootless.model import jsontext, oci
from rootless.model.reference import short_digest
from rootless.store import codec

_PIECE = 1 << 20
_REF_NAME = "org.opencontainers.image.ref.name"
FORMATS = ("docker-archive", "oci-archive", "oci-dir")


class NotEmpty(RlError):
    """{path} is not an empty directory"""

    hint = "name a new directory"


class NotWritten(RlError):
    """cannot write {path}: {why}"""


class Output:
    """A context for the archive ``path``: a descriptor of a temporary file that takes its
    name in the end, so that a failure leaves nothing half done.  What isn't an ordinary
    file (a pipe, /dev/stdout) is written to directly.
    """

    def __init__(self, path):
        self.path = path
        self._temporary = None

    def __enter__(self):
        try:
            if os.path.lexists(self.path) and not os.path.isfile(self.path):
                return self._open(self.path, os.O_WRONLY)
            target = os.path.realpath(self.path)
            self._temporary = f"{target}.{os.urandom(4).hex()}"
            self.path = target
            return self._open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            self._temporary = None
            raise NotWritten(path=self.path, why=error.strerror) from None

    def _open(self, path, flags):
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        return self._descriptor

    def __exit__(self, kind, *_):
        if self._temporary is not None and kind is None:
            os.fsync(self._descriptor)
        os.close(self._descriptor)
        if self._temporary is not None:
            if kind is None:
                os.rename(self._temporary, self.path)
            else:
                os.unlink(self._temporary)


class Item:
    """An image to save: its ``record`` and the ``names`` (complete references, str)."""

    def __init__(self, record, names):
        self.record = record
        self.names = names


class _Tar:
    """An archive written to a descriptor, member by member."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.written = set()

    def begin(self, name, size):
        """Start the member ``name``; False if it is there already."""
        if name in self.written:
            return False
        self.written.add(name)
        self.write(layertar.header(name, layertar.FILE, 0o644, size))
        return True

    def write(self, data):
        files.write_all(self.descriptor, data)

    def add_directories(self, *names):
        """skopeo gives directories that come without a member to root, or fails to."""
        for name in names:
            self.write(layertar.header(f"{name}/", layertar.DIRECTORY, 0o755))

    def add(self, name, data):
        if self.begin(name, len(data)):
            self.write(layertar.pad(data))

    def add_blob(self, name, path, size):
        if self.begin(name, size):
            for piece in _pieces(path):
                self.write(piece)
            self.write(layertar.padding(size))

    def finish(self):
        self.write(layertar.END)


class _Directory:
    """The same, as files below a directory."""

    def __init__(self, path):
        self.path = path

    def add_directories(self, *names):
        """Made when they are needed."""

    def _open(self, name):
        target = f"{self.path}/{name}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(target, flags, 0o644)

    def add(self, name, data):
        descriptor = self._open(name)
        try:
            files.write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def add_blob(self, name, path, size):
        if os.path.exists(f"{self.path}/{name}"):
            return
        descriptor = self._open(name)
        try:
            for piece in _pieces(path):
                files.write_all(descriptor, piece)
        finally:
            os.close(descriptor)

    def finish(self):
        pass


def _pieces(path):
    with open(path, "rb", 0) as file:
        while piece := file.read(_PIECE):
            yield piece


def save(store, items, form, output, path=None, progress=None):
    """Write ``items`` (list of Item) in the format ``form``.

    ``output`` is a descriptor, or for oci-dir None and ``path`` the directory.  Raises
    NoBlob, NoLayer, NotEmpty, NotWritten.
    """
    progress = progress or Silent()
    try:
        if form == "oci-dir":
            os.makedirs(path, exist_ok=True)
            if os.listdir(path):
                raise NotEmpty(path=path)
            target = _Directory(path)
        else:
            target = _Tar(output)
        (_save_docker if form == "docker-archive" else _save_oci)(store, items, target, progress)
        target.finish()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotWritten(path=path or "the archive", why=error.strerror) from None


# --- OCI -----------------------------------------------------------------------------------

def oci_digest(store, record):
    """The digest that an image or a list has in the OCI formats."""
    return lists.digest_of(_oci_list(store, record)[0] if "list" in record
                           else _oci_image(store, record)[1])  # fmt: skip


def _oci_image(store, record):
    """(Manifest, its bytes in OCI's format, config bytes)."""
    manifest, data, config = manifests.documents(store, record)
    return manifest, manifests.convert(manifest, data, oci.OCI_MANIFEST), config


def _oci_list(store, record):
    """(the bytes of a list in OCI's format, its images as records)."""
    document = lists.read(store.blobs.read(record["manifest"]))
    parts = []
    for entry in document["manifests"]:
        part = {"manifest": entry["digest"], "media_type": entry["mediaType"]}
        found = oci.load(store.blobs.read(entry["digest"]), "manifest")
        part["config"] = oci.Manifest(found, entry["mediaType"]).config["digest"]
        parts.append(part)
        data = _oci_image(store, part)[1]
        entry.update(mediaType=oci.OCI_MANIFEST, digest=lists.digest_of(data), size=len(data))
    return jsontext.dumps(lists.settled(document, oci.OCI_INDEX), sort_keys=True).encode(), parts


def _save_oci(store, items, target, progress):
    target.add("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    target.add_directories("blobs", "blobs/sha256")
    entries = []
    for item in items:
        if "list" in item.record:
            data, parts = _oci_list(store, item.record)
            for part in parts:
                _add_image(store, part, target, progress)
            kind = oci.OCI_INDEX
        else:
            kind, data = oci.OCI_MANIFEST, _add_image(store, item.record, target, progress)
        digest = lists.digest_of(data)
        target.add(_blob_name(digest), data)
        entry = {"mediaType": kind, "digest": digest, "size": len(data)}
        for name in item.names or [None]:
            entries.append({**entry, "annotations": {_REF_NAME: name}} if name else entry)
    index = {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}
    target.add("index.json", jsontext.dumps(index).encode())


def _add_image(store, record, target, progress):
    """Write an image's layers and configuration; the bytes of its manifest."""
    manifest, data, config = _oci_image(store, record)
    for layer in manifest.layers:
        _add_layer(store, layer, target, progress)
    target.add(_blob_name(manifest.config["digest"]), config)
    target.add(_blob_name(lists.digest_of(data)), data)
    return data


def _blob_name(digest):
    return "blobs/" + digest.replace(":", "/")


def _add_layer(store, layer, target, progress):
    from rootless.store.blobs import NoBlob

    digest = layer["digest"]
    size = store.blobs.size(digest)
    if size is None:
        raise NoBlob(digest=digest)
    progress.start(digest, f"Copying blob {short_digest(digest)}", size)
    target.add_blob(_blob_name(digest), store.blobs.path(digest), size)
    progress.done(digest, "done")


# --- docker-archive ------------------------------------------------------------------------


def _save_docker(store, items, target, progress):
    entries = {}
    for item in items:
        manifest, _, config = manifests.documents(store, item.record)
        layers = []
        for layer, diff_id in oci.match_layers(manifest, oci.parse_config(config)):
            layers.append(_add_plain(store, layer, diff_id, target, progress))
        name = f"{item.record['id']}.json"
        target.add(name, config)
        entry = entries.setdefault(name, {"Config": name, "RepoTags": [], "Layers": layers})
        entry["RepoTags"] += [one for one in item.names if one not in entry["RepoTags"]]
    for entry in entries.values():
        entry["RepoTags"] = entry["RepoTags"] or None
    target.add("manifest.json", jsontext.dumps(list(entries.values())).encode())


def _add_plain(store, layer, diff_id, target, progress):
    """Write a layer's plain archive, made from its blob; its name in the archive."""
    name = f"{diff_id.partition(':')[2]}.tar"
    size = store.layers.index(diff_id)["size"]
    path = store.blobs.path(layer["digest"])
    if not store.blobs.has(layer["digest"]):
        store.blobs.read(layer["digest"])  # says which one is missing, and what to do
    if not target.begin(name, size):
        return name
    progress.start(diff_id, f"Copying blob {short_digest(diff_id)}", size)
    left = size
    with open(path, "rb", 0) as file:
        head = file.read(codec.LONGEST_MAGIC)
        file.seek(0)
        for piece in codec.plain(codec.detect(head), file.read):
            left -= len(piece)
            target.write(piece)
            progress.advance(diff_id, len(piece))
    if left:
        raise oci.BadDocument(kind="layer", why=f"{diff_id} is not as long as it was")
    target.write(layertar.padding(size))
    progress.done(diff_id, "done")
    return name
