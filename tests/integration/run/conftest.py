"""A container per question: ``box`` runs scripts in busybox and gives what they said."""

import os
import time

import pytest

IMAGE = "localhost/busybox:latest"


class Box:
    """rl with busybox loaded; ``box(OPTIONS…, sh=SCRIPT)`` runs one container to its end.

    The network is none unless the options choose one: it is much quicker.
    """

    image = IMAGE

    def __init__(self, rl):
        self.rl = rl

    def words(self, options, command):
        words = ["run", "--rm"]
        if not any(str(option).startswith(("--net", "--publish")) for option in options):
            words += ["--network", "none"]
        return [*words, *options, self.image, *command]

    def __call__(self, *options, sh, code=0, **how):
        """Run ``sh -c SCRIPT``: a Result with that exit code."""
        result = self.rl(*self.words(options, ["sh", "-c", sh]), **how)
        assert result.code == code, repr(result)
        return result

    def text(self, *options, sh, **how):
        """What the script wrote, without blanks around it; nothing may go to stderr."""
        result = self(*options, sh=sh, **how)
        assert result.stderr == "", repr(result)
        return result.text

    def parts(self, *options, **scripts):
        """What several scripts say in one container: name → list of lines."""
        whole = "\n".join(f"echo '=== {name}'\n{text}" for name, text in scripts.items())
        found, current = {}, None
        for line in self.text(*options, sh=whole).splitlines():
            if line.startswith("=== "):
                current = found.setdefault(line[4:], [])
            else:
                current.append(line)
        return found

    def fails(self, *options, command=("true",), **how):
        """A run that rl itself refuses: the Result (see Rl.fails)."""
        return self.rl.fails(*self.words(options, command), **how)

    def nothing_left(self):
        """No container, no name, no file of one; a monitor may still be removing its own."""
        assert self.rl.ok("ps", "--all", "--quiet").text == ""
        deadline = time.monotonic() + 10
        for path in (f"{self.rl.root}/containers", f"{self.rl.root}/names",
                     f"{self.rl.run}/rl/containers"):
            while os.path.isdir(path) and os.listdir(path):
                assert time.monotonic() < deadline, f"{path}: {os.listdir(path)}"
                time.sleep(0.02)


@pytest.fixture
def box(shared_rl):
    """A Box on the store that all tests share; it must be as empty afterwards."""
    found = Box(shared_rl)
    yield found
    found.nothing_left()


@pytest.fixture
def own_box(rl, busybox):
    """A Box on a store of its own, for tests that leave volumes, images or containers."""
    return Box(rl)


@pytest.fixture
def running(box):
    """``running(OPTIONS…, name=, sh=)``: a container in the background; removed afterwards."""
    names = []

    def start(*options, name="c", sh="sleep 60"):
        words = ["run", "--detach", "--name", name, *options]
        if not any(option.startswith("--net") for option in options):
            words[1:1] = ["--network", "none"]
        box.rl.ok(*words, box.image, "sh", "-c", sh)
        names.append(name)
        return name

    yield start
    if names:
        box.rl.ok("rm", "--force", "--time", "0", "--ignore", *names)
