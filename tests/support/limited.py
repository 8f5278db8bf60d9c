"""rl with limits, on a machine that has cgroups version 2, and what the kernel says of them."""

import subprocess
import time

from support.command import Rl


class Limited(Rl):
    """rl, and what the kernel says of its containers."""

    def detached(self, name, *words, options=()):
        """Start a container in the background; its inspected facts."""
        self.ok("run", "-d", "--network", "none", "--name", name, *options,
                "localhost/busybox:latest", *words, timeout=120)  # fmt: skip
        return self.facts(name)

    def facts(self, name):
        """What inspect says of a container."""
        return self.ok("inspect", name, timeout=60).json()[0]

    def cgroup(self, name):
        """The directory of its cgroup."""
        path = self.facts(name)["State"]["CgroupPath"]
        assert path, "no cgroup"
        return "/sys/fs/cgroup" + path

    def kernel(self, name, file):
        """What stands in a file of its cgroup."""
        with open(f"{self.cgroup(name)}/{file}", encoding="utf-8") as opened:
            return opened.read().strip()


def until(condition, what, patience=60):
    """Wait until ``condition()`` is true: what it gave."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.2)
    return found


def scopes():
    """The scopes of containers that the user's systemd knows."""
    done = subprocess.run(
        ["systemctl", "--user", "list-units", "--plain", "--no-legend", "--all", "rl-*.scope"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.split()[0] for line in done.stdout.splitlines() if line.split()]
