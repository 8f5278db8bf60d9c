"""rl with one store for all tests of containers' lives, and containers to live them."""

import os
import time

import pytest

IMAGE = "localhost/busybox:latest"


class Life:
    """What the tests do with rl; ``rl`` is the support.command.Rl."""

    image = IMAGE

    def __init__(self, rl):
        self.rl = rl
        self.ok = rl.ok
        self.fails = rl.fails

    def detached(self, name, *words, options=()):
        """Start a container in the background: its id."""
        words = words or ("sleep", "1000")
        return self.rl.ok("run", "-d", "--name", name, "--network", "none", *options, IMAGE,
                          *words).text  # fmt: skip

    def inspect(self, name, template):
        """One value of rl inspect, as text."""
        return self.rl.ok("inspect", "--format", template, name).text

    def status(self, name):
        """The state that inspect shows."""
        return self.inspect(name, "{{.State.Status}}")

    def until(self, condition, what="it", patience=20):
        """Wait until ``condition()`` is true: what it gave."""
        deadline = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what} did not happen"
            time.sleep(0.02)
        return found

    def directory(self, container_id):
        """The durable directory of a container."""
        return f"{self.rl.root}/containers/{container_id}"

    def run_directory(self, container_id):
        """Its directory that a reboot empties."""
        return os.readlink(f"{self.directory(container_id)}/run")

    def monitor(self, container_id, missing_ok=False):
        """The pid of a container's monitor; None if it may be missing and is."""
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if words[0] == b"rl-monitor" and f"id={container_id}".encode() in words:
                return int(pid)
        assert missing_ok, "there is no monitor"
        return None


    def open_files(self, pid):
        """What the descriptors of a process lead to: a list of str."""
        found = []
        for number in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
            except FileNotFoundError:
                pass  # closed just now
        return found

    def until_it_watches(self, process):
        """Wait until a Popen of rl looks at what changes (inotify(7))."""
        self.until(lambda: "anon_inode:inotify" in self.open_files(process.pid), "the watch")


@pytest.fixture
def life(shared_rl):
    """A Life over a store with busybox in it and no containers."""
    yield Life(shared_rl)
    shared_rl.ok("rm", "--all", "--force", "--time", "0")
    shared_rl.ok("volume", "prune", "--force")
