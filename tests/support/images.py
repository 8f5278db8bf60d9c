"""The images that tests run: small busybox ones, and a real Debian."""

import gzip
import hashlib
import json
import os

from support import oci, tools

# Made once for a machine by tests/setup/machine.sh.
CACHE = os.environ.get("RL_TEST_CACHE", "/var/cache/rl-tests")

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
user:x:1000:1000:a user:/home/user:/bin/sh
"""
_GROUP = "root:x:0:\ndaemon:x:1:\nstaff:x:50:user\nuser:x:1000:\nnobody:x:65534:\n"


def busybox_layer():
    """A root file system with Debian's static busybox and its applets: a tar (bytes)."""
    path = tools.find("busybox")
    applets = tools.run(path, "--list").split()
    with open(path, "rb") as file:
        program = file.read()
    names = ("bin", "dev", "etc", "home", "home/user", "proc", "root", "sys", "tmp", "usr",
             "usr/bin", "usr/sbin", "var", "var/tmp", "sbin")  # fmt: skip
    modes = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}
    members = [oci.directory(name, modes.get(name, 0o755)) for name in names]
    members.append(oci.entry("bin/busybox", program, mode=0o755))
    members += [oci.hardlink(f"bin/{name}", "bin/busybox", mode=0o755)
                for name in applets if name != "busybox"]  # fmt: skip
    members.append(oci.entry("etc/passwd", _PASSWD))
    members.append(oci.entry("etc/group", _GROUP))
    return oci.layer(*members)


def busybox(*more_layers, **config):
    """A busybox image with layers above: an oci.Image."""
    config.setdefault("Cmd", ["sh"])
    config.setdefault("Env", ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"])
    return oci.Image([busybox_layer(), *more_layers], config)


def cached(name):
    """A file that tests/setup/machine.sh made: ``debian.tar``, a root file system by
    mmdebstrap, and ``debian.oci``, the image of it."""
    path = f"{CACHE}/{name}"
    assert os.path.exists(path), f"{path} is missing: sudo sh tests/setup/machine.sh makes it"
    return path


def archive_of(tar_path, path, config=None, level=1):
    """An oci-archive with one layer from a tar too large for memory: its path."""
    plain, packed = hashlib.sha256(), hashlib.sha256()
    layer = f"{path}.layer"
    with open(tar_path, "rb") as source, open(layer, "wb") as raw:
        writer = gzip.GzipFile("", "wb", level, raw, mtime=0)
        while data := source.read(1 << 20):
            plain.update(data)
            writer.write(data)
        writer.close()
    with open(layer, "rb") as file:
        while data := file.read(1 << 20):
            packed.update(data)
    image = oci.Image([], config)
    document = json.loads(image.blobs[image.config["digest"]])
    document["rootfs"]["diff_ids"] = ["sha256:" + plain.hexdigest()]
    document["history"] = [{"created_by": "mmdebstrap"}]
    manifest = json.loads(image.blobs[image.manifest["digest"]])
    image.blobs.clear()
    manifest["config"] = image.add(
        json.dumps(document).encode(), manifest["config"]["mediaType"]
    )
    blob = "sha256:" + packed.hexdigest()
    manifest["layers"] = [{
        "mediaType": oci.MEDIA + "layer.v1.tar+gzip",
        "digest": blob,
        "size": os.path.getsize(layer),
    }]  # fmt: skip
    image.manifest = image.add(json.dumps(manifest).encode(), image.manifest["mediaType"])
    oci.write_tar(path, image.files())
    _append(path, layer, "blobs/sha256/" + packed.hexdigest())
    os.unlink(layer)
    return path


def _append(archive, path, name):
    """Add a file to a tar archive without reading it into memory."""
    import tarfile

    with tarfile.open(archive, "a") as out, open(path, "rb") as file:
        info = tarfile.TarInfo(name)
        info.size, info.mode = os.path.getsize(path), 0o644
        out.addfile(info, file)


def multilayer(directory):
    """An image of several layers made by buildah from a Containerfile: an oci-archive."""
    with open(f"{directory}/Containerfile", "w", encoding="utf-8") as file:
        file.write(
            "FROM oci-archive:base.oci\n"
            "ENV LAYERS=yes\n"
            "RUN mkdir /data && echo one > /data/one && echo two > /data/two\n"
            "RUN rm /data/one && echo three > /data/three\n"
            "RUN rm -r /data && mkdir /data && echo four > /data/four\n"
            "WORKDIR /data\n"
            'CMD ["cat", "/data/four"]\n'
        )
    busybox().oci_archive(f"{directory}/base.oci")
    store = ["--root", f"{directory}/store", "--runroot", f"{directory}/runroot"]
    words = [tools.find("buildah"), *store, "--storage-driver", "vfs"]
    tools.run(
        *words, "build", "--isolation", "chroot", "--layers", "--format", "oci",
        "-t", "multilayer", directory, cwd=directory,
    )  # fmt: skip
    path = f"{directory}/multilayer.oci"
    tools.run(*words, "push", "-q", "localhost/multilayer", f"oci-archive:{path}", cwd=directory)
    tools.remove_tree(f"{directory}/store")
    tools.remove_tree(f"{directory}/runroot")
    return path


def main(tar_path, path):
    """For tests/setup/machine.sh: an oci-archive of a root file system."""
    env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    archive_of(tar_path, path, {"Cmd": ["bash"], "Env": env})


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
