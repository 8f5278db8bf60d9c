"""Builds, beside buildah's with the same Containerfile and context."""

import itertools
import os

import measure
from support import images, tools

BUSYBOX = "localhost/busybox:latest"
LARGE = "localhost/debian:large"


class Pair:
    """The same build by rl and by buildah, whose store is podman's."""

    def __init__(self, bench, name, text, files=0):
        self.bench = bench
        self.directory = f"{bench.directory}/{name}"
        os.makedirs(f"{self.directory}/files", exist_ok=True)
        with open(f"{self.directory}/Containerfile", "w", encoding="utf-8") as file:
            file.write(text)
        for number in range(files):
            above = f"{self.directory}/files/{number // 200}"
            os.makedirs(above, exist_ok=True)
            with open(f"{above}/{number}", "w", encoding="ascii") as file:
                file.write(f"{number}\n" * 100)

    def rl(self, *words):
        """Seconds of `rl build`."""
        return self.bench.rl.time("build", "-q", *words, self.directory)

    def buildah(self, *words):
        """Seconds of `buildah build --layers`."""
        argv = [tools.find("buildah"), "build", "--layers", "-q", *words, self.directory]
        return measure.timed(argv, self.bench.podman.env)

    def compare(self, what, *words, count=5, warm=1, **how):
        """A row: both in turn with the same words."""
        calls = [lambda: self.rl(*words), lambda: self.buildah(*words)]
        own, theirs = measure.interleaved(calls, count, warm)
        self.bench.table.times(what, own, theirs, "buildah", **how)
        self.clean()

    def clean(self):
        """Forget what was built."""
        for engine in (self.bench.rl, self.bench.podman):
            engine.do("image", "prune", "--force")


def steps(bench):
    """Ten steps, done anew each time and not at all."""
    lines = [f"RUN echo {number} > /file{number}" for number in range(10)]
    pair = Pair(bench, "steps", "\n".join([f"FROM {BUSYBOX}", *lines, ""]))
    rounds = max(3, bench.count // 3)
    pair.compare("build, ten RUN steps", "--no-cache", count=rounds, target=0.4)
    pair = Pair(bench, "steps", "\n".join([f"FROM {BUSYBOX}", *lines, ""]))
    pair.compare("build, all of it cached", count=rounds, target=0.5)


def copy(bench):
    """COPY of many small files, one of them another each time: else rl finds at the end that
    it has the layer already, and what is measured is how fast a disk forgets 20,000 files."""
    pair = Pair(bench, "copy", f"FROM {BUSYBOX}\nCOPY files /files\n", files=20_000)
    turns = itertools.count()

    def fresh(build):
        with open(f"{pair.directory}/files/0/0", "w", encoding="ascii") as file:
            file.write(f"{next(turns)}\n" * 100)
        return build("--no-cache")

    calls = [lambda: fresh(pair.rl), lambda: fresh(pair.buildah)]
    own, theirs = measure.interleaved(calls, 3, warm=1)
    bench.table.times("build, COPY of 20,000 files", own, theirs, "buildah", target=0.6)
    pair.clean()


def stages(bench):
    """Two slow stages that know nothing of each other, beside one of them."""
    slow = f"FROM {BUSYBOX} AS %s\nRUN sleep 2; echo %s > /%s\n"
    two = slow % ("a", "a", "a") + slow % ("b", "b", "b")
    last = f"FROM {BUSYBOX}\nCOPY --from=a /a /\n"
    one = Pair(bench, "one", slow % ("a", "a", "a") + last)
    both = Pair(bench, "two", two + last + "COPY --from=b /b /\n")
    calls = [lambda: both.rl("--no-cache"), lambda: one.rl("--no-cache")]
    own, theirs = measure.interleaved(calls, 3, warm=0)
    bench.table.times("build, two slow stages", own, theirs, "one", target=1.2)
    one.clean()


def large(bench):
    """A step that touches one file of a large image."""
    archive = images.cached("debian-large.oci")
    for engine in (bench.rl, bench.podman):
        engine.do("pull", "--quiet", f"oci-archive:{archive}")
        engine.do("tag", _untagged(engine), LARGE)
    text = "FROM %s\nRUN touch /etc/passwd\n"
    pair = Pair(bench, "large", text % LARGE)
    small = Pair(bench, "small", text % BUSYBOX)
    calls = [lambda: pair.rl("--no-cache"), lambda: small.rl("--no-cache"),
             lambda: pair.buildah("--no-cache")]  # fmt: skip
    own, bare, theirs = measure.interleaved(calls, 5, warm=1)
    bench.table.times("build, RUN on 540 MB", own, bare, "on 2 MB", target=1.5)
    bench.table.times("  beside buildah", own, theirs, "buildah")
    pair.clean()
    for engine in (bench.rl, bench.podman):
        engine.do("rmi", "--force", LARGE)


def _untagged(engine):
    """The id of the image that came last."""
    return engine.do("images", "--quiet", "--no-trunc").split()[0]


CASES = {"build_steps": steps, "build_copy": copy, "build_stages": stages, "build_large": large}
