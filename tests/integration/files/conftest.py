"""Containers with files to be copied, compared and made images of."""

import os
import time

import pytest

IMAGE = "localhost/busybox:latest"


class Files:
    """A directory of the test's, to be written and read in few words."""

    def __init__(self, path):
        self.path = path
        os.mkdir(path)

    def __call__(self, name):
        return f"{self.path}/{name}"

    def write(self, name, text="", mode=0o644):
        os.makedirs(os.path.dirname(self(name)), exist_ok=True)
        with open(self(name), "w") as file:
            file.write(text)
        os.chmod(self(name), mode)
        return self(name)

    def read(self, name):
        with open(self(name)) as file:
            return file.read()

    def list(self, name="."):
        found = []
        for at, directories, names in os.walk(self(name)):
            below = os.path.relpath(at, self(name))
            found += [os.path.normpath(f"{below}/{one}") for one in (*directories, *names)]
        return sorted(found)


@pytest.fixture
def here(workdir):
    return Files(f"{workdir}/here")


@pytest.fixture(params=["running", "stopped"])
def state(request):
    """What the container of ``box`` is doing while the verb under test works on it."""
    return request.param


class Container:
    """A container called c; ``sh`` runs a script in it, started for that if need be."""

    def __init__(self, rl, state, *options, script=":"):
        self.rl = rl
        self.state = state
        self.run(*options, script=script)

    def run(self, *options, script):
        """It does ``script``, and then nothing for long, or ends."""
        words = ["run", "--name", "c", "--network", "none", *options]
        if self.state == "stopped":
            self.rl.ok(*words, IMAGE, "sh", "-c", script)
            return
        self.rl.ok(*words, "-d", IMAGE, "sh", "-c", f"{script}; touch /ready; exec sleep 600")
        self.wait("test -e /ready")

    def wait(self, condition):
        deadline = time.monotonic() + 20
        while self.rl("exec", "c", "sh", "-c", condition).code:
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)

    def sh(self, script):
        """What a script says that is run on the container's files."""
        if self.state == "running":
            return self.rl.ok("exec", "-u", "0", "c", "sh", "-c", script).stdout
        self.rl.ok("commit", "--quiet", "c", "seen")
        return self.rl.ok("run", "--rm", "--network", "none", "-u", "0", "seen", "sh", "-c",
                          script).stdout


@pytest.fixture
def box(rl, busybox, state):
    """A function that makes the container c: options of run, ``script`` to begin with."""

    def make(*options, script=":"):
        return Container(rl, state, *options, script=script)

    return make
