"""The two builders, each with a store of its own that has the same base images."""

import json
import os
import subprocess

from conformance import tree
from support import images, oci, tools
from support.command import Rl

BASE = "localhost/base:latest"
TRIGGERS = "localhost/triggers:latest"


def base_images():
    """{name: oci.Image}: busybox, and one with triggers, volumes and settings to inherit."""
    layer = oci.layer(
        oci.directory("data", 0o750, uid=7, gid=8),
        oci.entry("data/old", "old\n", mode=0o640, uid=7, gid=8),
        oci.directory("opt", 0o755),
        oci.symlink("link", "data"),
        oci.symlink("absolute", "/opt"),
        oci.directory("srv", 0o2775, gid=50),
    )
    triggers = images.busybox(
        Env=["PATH=/usr/bin:/bin:/sbin", "BASE=yes"],
        WorkingDir="/start",
        User="daemon",
        Labels={"base": "one", "kept": "two"},
        Entrypoint=["/bin/echo"],
        Cmd=["base"],
        OnBuild=["USER 0", "COPY trigger /triggered/", "ENV TRIGGERED=$BASE"],
    )
    return {BASE: images.busybox(layer), TRIGGERS: triggers}


class Rl_:
    """rl: ``build`` gives a tree.Built."""

    def __init__(self, directory):
        self.directory = directory
        self.rl = Rl(f"{directory}/rl")

    def load(self, name, path):
        """Make the image of an oci-archive known by that name."""
        self.rl.ok("load", "-q", "-i", path)
        self.rl.ok("tag", name.partition("/")[2].partition(":")[0] + "-archive", name)

    def build(self, context, *args, env=None):
        """Build ``context`` as the image that is given back."""
        self.rl.ok("build", "-q", "--format", "docker", "-t", "result", *args, context,
                   timeout=300, env=env)  # fmt: skip
        return self.saved("result")

    def saved(self, name):
        """A local image, read."""
        path = f"{self.directory}/saved.tar"
        self.rl.ok("save", "-q", "--format", "docker-archive", "-o", path, name, timeout=300)
        try:
            return tree.from_docker_archive(path)
        finally:
            os.unlink(path)


class Buildah:
    """Debian's buildah: ``build`` gives a tree.Built."""

    def __init__(self, directory):
        self.directory = directory
        self.store = f"{directory}/buildah"
        self.words = [tools.find("buildah"), "--root", self.store, "--runroot",
                      f"{directory}/buildah-run", "--storage-driver", "vfs"]  # fmt: skip
        self.env = {"HOME": f"{directory}/home", "PATH": tools.PATH, "LANG": "C.UTF-8",
                    "XDG_RUNTIME_DIR": f"{directory}/run",
                    "TMPDIR": f"{directory}/tmp"}  # fmt: skip
        for name, mode in (("home", 0o755), ("run", 0o700), ("tmp", 0o700)):
            os.makedirs(f"{directory}/{name}", mode, exist_ok=True)
        self.version = json.loads(self("version", "--json"))["version"]

    def __call__(self, *words, **how):
        return tools.run(*self.words, *words, env={**self.env, **how.pop("env", {})}, **how)

    def load(self, name, path):
        """Make the image of an oci-archive known by that name."""
        found = self("pull", "-q", f"oci-archive:{path}").strip()
        self("tag", found, name)

    def build(self, context, *args, env=None):
        """Build ``context`` as the image that is given back."""
        out = f"{self.directory}/result"
        try:
            self("build", "--isolation", "chroot", "--format", "docker", "-q", "-t", f"dir:{out}",
                 *args, context, env=env or {}, cwd=context)  # fmt: skip
            return tree.from_directory(out)
        finally:
            subprocess.run(["rm", "-rf", out], check=True)

    def remove(self):
        """Remove the store, whose files belong to subordinate ids."""
        tools.remove_tree(self.store)
        tools.remove_tree(f"{self.directory}/buildah-run")


def write_context(directory, files):
    """Write ``files``: {path: text, bytes, or (kind, value, mode)} below ``directory``.

    Kinds are ``file``, ``dir`` (no value), ``link`` (value is the target), ``hard`` (the
    other path) and ``fifo``; modes are exact.
    """
    late = []
    for path, what in files.items():
        kind, value, mode = what if isinstance(what, tuple) else ("file", what, 0o644)
        target = os.path.join(directory, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if kind == "dir":
            os.makedirs(target, exist_ok=True)
        elif kind == "link":
            os.symlink(value, target)
            continue
        elif kind == "hard":
            os.link(os.path.join(directory, value), target)
            continue
        elif kind == "fifo":
            os.mkfifo(target)
        else:
            with open(target, "wb") as file:
                file.write(value.encode() if isinstance(value, str) else value)
        late.append((target, mode))
    for target, mode in late:
        os.chmod(target, mode)
