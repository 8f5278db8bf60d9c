"""podman as a judge: with a store of its own, apart from everybody's."""

import os

from support import tools


class Podman:
    """podman with a store of its own, where layers are plain directories."""

    def __init__(self, directory):
        self.words = [tools.find("podman"), "--root", f"{directory}/podman", "--runroot",
                      f"{directory}/podman-run", "--storage-driver", "vfs",
                      "--cgroup-manager", "cgroupfs", "--events-backend", "file",
                      "--tmpdir", f"{directory}/podman-tmp"]  # fmt: skip
        self.env = {"HOME": f"{directory}/home", "PATH": tools.PATH, "LANG": "C.UTF-8",
                    "XDG_RUNTIME_DIR": f"{directory}/run"}  # fmt: skip
        os.makedirs(f"{directory}/home", exist_ok=True)
        os.makedirs(f"{directory}/run", 0o700, exist_ok=True)

    def __call__(self, *words):
        return tools.run(*self.words, *words, env=self.env)
