"""Images made by hand: layers as tar archives, and the archives that hold images.

Independent of rl's own code, and able to make what no honest tool makes.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile

MEDIA = "application/vnd.oci.image."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}


def architecture():
    """This machine's architecture in the words of the image specification."""
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def digest(data):
    """``sha256:HEX`` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, data=b"", **attributes):
    """A tar member with its data: (TarInfo, bytes).  ``attributes`` are TarInfo's:
    type, mode, uid, gid, linkname, mtime, pax_headers, devmajor…"""
    info = tarfile.TarInfo(name)
    info.mode = attributes.pop("mode", 0o644)
    info.mtime = attributes.pop("mtime", 1_600_000_000)
    for key, value in attributes.items():
        setattr(info, key, value)
    data = data.encode() if isinstance(data, str) else data
    if info.type == tarfile.REGTYPE:
        info.size = len(data)
    return info, data


def directory(name, mode=0o755, **attributes):
    """A directory as a tar member."""
    return entry(name, type=tarfile.DIRTYPE, mode=mode, **attributes)


def symlink(name, target, **attributes):
    """A symbolic link as a tar member."""
    return entry(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777, **attributes)


def hardlink(name, target, **attributes):
    """A hard link as a tar member."""
    return entry(name, type=tarfile.LNKTYPE, linkname=target, **attributes)


def layer(*members):
    """A tar archive of members as ``entry`` gives them: bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """An image in memory: ``layers`` are tar archives (bytes), bottom first.

    ``config`` is the ``config`` object of the image (Env, Cmd, Entrypoint, User…).
    """

    def __init__(self, layers, config=None, compress=True, **facts):
        self.diff_ids = [digest(data) for data in layers]
        pack = (lambda data: gzip.compress(data, 1, mtime=0)) if compress else bytes
        self.blobs = {}
        descriptors = []
        for data in layers:
            packed = pack(data)
            kind = "layer.v1.tar+gzip" if compress else "layer.v1.tar"
            descriptors.append(self.add(packed, MEDIA + kind))
        document = {
            "architecture": architecture(),
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            "history": [{"created_by": f"layer {i}"} for i in range(len(layers))],
        }
        document.update(facts)
        self.config = self.add(json.dumps(document).encode(), MEDIA + "config.v1+json")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MEDIA + "manifest.v1+json",
            "config": self.config,
            "layers": descriptors,
        }
        self.manifest = self.add(json.dumps(manifest).encode(), MEDIA + "manifest.v1+json")

    def add(self, data, media_type):
        """Keep a blob: its descriptor."""
        name = digest(data)
        self.blobs[name] = data
        return {"mediaType": media_type, "digest": name, "size": len(data)}

    def index(self, name=None):
        """The index.json that leads to this image."""
        manifest = dict(self.manifest)
        if name:
            manifest["annotations"] = {"org.opencontainers.image.ref.name": name}
        return {"schemaVersion": 2, "manifests": [manifest]}

    def files(self, name=None):
        """The files of its OCI layout: path → bytes."""
        found = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        found["index.json"] = json.dumps(self.index(name)).encode()
        for key, data in self.blobs.items():
            found["blobs/" + key.replace(":", "/")] = data
        return found

    def oci_directory(self, path, name=None):
        """Write an OCI layout: its path."""
        for relative, data in self.files(name).items():
            target = os.path.join(path, relative)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(data)
        return path

    def oci_archive(self, path, name=None):
        """Write an oci-archive: its path."""
        write_tar(path, self.files(name))
        return path

    def docker_archive(self, path, *names):
        """Write what ``docker save`` writes, layers uncompressed: its path."""
        layers, files = [], {}
        for descriptor, diff_id in zip(
            json.loads(self.blobs[self.manifest["digest"]])["layers"], self.diff_ids, strict=True
        ):
            data = self.blobs[descriptor["digest"]]
            data = gzip.decompress(data) if descriptor["mediaType"].endswith("gzip") else data
            layers.append(diff_id[7:] + ".tar")
            files[layers[-1]] = data
        config = self.config["digest"]
        files[config[7:] + ".json"] = self.blobs[config]
        entries = [{"Config": config[7:] + ".json", "RepoTags": list(names), "Layers": layers}]
        files["manifest.json"] = json.dumps(entries).encode()
        write_tar(path, files)
        return path


def write_tar(path, files):
    """A tar archive of regular files: path → bytes.  Directories come before what is in
    them: skopeo gives those that it has to invent to root."""
    parents = {name[:at] for name in files for at in range(len(name)) if name[at] == "/"}
    with tarfile.open(path, "w") as archive:
        for name in sorted(parents):
            archive.addfile(directory(name)[0])
        for name, data in files.items():
            info, data = entry(name, data)
            archive.addfile(info, io.BytesIO(data))
