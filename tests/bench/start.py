"""From nothing to a running container: starts, images, pulls."""

import itertools
import os

import engines
import measure
from support import images, tools
from support.registry import Registry

IMAGE = "localhost/busybox:latest"
TRUE = ("run", "--rm", "--network", "none", IMAGE, "true")


def prepare(bench):
    """The same busybox in both stores."""
    archive = images.busybox().oci_archive(f"{bench.directory}/busybox.oci", IMAGE)
    for engine in (bench.rl, bench.podman):
        engine.do("load", "--input", archive)


def start(bench):
    """One container in the foreground, beside podman and beside no engine at all."""
    layer = f"{bench.directory}/busybox.tar"
    with open(layer, "wb") as file:
        file.write(images.busybox_layer())
    bare = engines.Bare(f"{bench.directory}/bare", layer)
    calls = [bench.rl.timer(*TRUE), bench.podman.timer(*TRUE), bare.crun, bare.bwrap]
    own, podman, crun, bwrap = measure.interleaved(calls, bench.count)
    target = 0.4 if engines.BUS in os.environ else 0.35  # each in a scope of its own
    bench.table.times("run --rm --network none", own, podman, target=target, aim=0.25)
    bench.table.times("  beside a bare runtime", own, crun, "crun")
    bench.table.times("  beside a bare sandbox", own, bwrap, "bwrap")


def scope(bench):
    """With limits, where systemd is there to make a scope for each container."""
    if engines.BUS in os.environ:
        words = (*TRUE[:-2], "--memory", "256m", "--pids-limit", "100", *TRUE[-2:])
        bench.compare("run --rm -m 256m, a scope", words, target=0.4)


def network(bench):
    """One container with the network that each engine gives by default."""
    words = ("run", "--rm", IMAGE, "true")
    bench.compare("run --rm, default network", words, aim=0.35, target=0.7)


def several(bench):
    """Eight starts at once; all cores busy with them is as good as it gets."""
    cores = os.cpu_count()
    argv = bench.rl.argv(*TRUE)
    one, eight, theirs = measure.interleaved(
        [
            bench.rl.timer(*TRUE),
            lambda: measure.together(argv, bench.rl.env, 8),
            lambda: measure.together(bench.podman.argv(*TRUE), bench.podman.env, 8),
        ],
        max(3, bench.count // 3),
    )
    shares = [took * 8 / cores for took in one]
    bench.table.times("8 at once", eight, shares, f"8/{cores} x 1", target=1.3)
    bench.table.times("  beside podman", eight, theirs)


def listing(bench):
    """What people look at all day."""
    bench.compare("images", ("images",), target=0.7)
    bench.compare("inspect IMAGE", ("inspect", IMAGE), target=0.7)


def pull(bench):
    """A large image from a registry on loopback into a store that has nothing of it."""
    name = "debian-large.oci"
    os.mkdir(f"{bench.directory}/registry")
    with Registry(f"{bench.directory}/registry") as server:
        reference = server.push(f"oci-archive:{images.cached(name)}", "debian:large")
        words = ("pull", "--quiet", "--tls-verify=false", reference)

        def fresh(engine):
            if reference in engine.do("images", "--format", "{{.Repository}}:{{.Tag}}"):
                engine.do("rmi", "--force", reference)
            return engine.time(*words)

        calls = [lambda: fresh(bench.rl), lambda: fresh(bench.podman)]
        own, theirs = measure.interleaved(calls, 2, warm=1)
        bench.table.times("pull, 540 MB", own, theirs, target=0.6)
        bench.rl.do("rmi", "--force", reference)
        _, memory = measure.peak(bench.rl.argv(*words), bench.rl.env)
        bench.table.row("  peak memory", memory / 1024, 150, "limit", target=1.0, unit="MB")
        for engine in (bench.rl, bench.podman):
            engine.do("rmi", "--force", reference)


def push(bench):
    """The large image into an empty registry, by what has it already: rl and podman in their
    stores, skopeo in a directory of blobs, which it only has to copy."""
    source = f"oci-archive:{images.cached('debian-large.oci')}"
    name, numbers = "localhost/debian:large", itertools.count()
    skopeo = [tools.find("skopeo"), "--insecure-policy", "copy", "--quiet"]
    blobs = f"oci:{bench.directory}/blobs:large"
    tools.run(*skopeo, source, blobs)
    for engine in (bench.rl, bench.podman):
        engine.do("tag", engine.do("pull", "--quiet", source).split()[-1], name)

    def into_an_empty_one(call):
        def timed():
            directory = f"{bench.directory}/push{next(numbers)}"
            os.mkdir(directory)
            with Registry(directory) as server:
                took = call(f"{server.address}/debian:large")
            tools.remove_tree(directory)
            return took

        return timed

    def pushed(engine):
        words = ("push", "--quiet", "--tls-verify=false", name)
        return lambda target: engine.time(*words, target)

    def copied(target):
        words = [*skopeo, "--dest-tls-verify=false", "--dest-no-creds", blobs, f"docker://{target}"]
        return measure.timed(words, bench.podman.env)

    calls = [into_an_empty_one(call) for call in (pushed(bench.rl), pushed(bench.podman), copied)]
    own, other, bare = measure.interleaved(calls, 3, warm=1)
    bench.table.times("push, 540 MB", own, other, target=0.8)
    bench.table.times("  beside a copy of its blobs", own, bare, "skopeo", target=0.8)
    for engine in (bench.rl, bench.podman):
        engine.do("rmi", "--force", name)


def floor(bench):
    """rl doing nothing, beside Python doing nothing."""
    python = os.path.realpath(tools.find("python3"))
    calls = [
        bench.rl.timer("--version"),
        lambda: measure.timed([python, "-IS", "-c", "pass"], bench.rl.env),
    ]
    own, bare = measure.interleaved(calls, bench.count)
    bench.table.times("--version", own, bare, "python")


CASES = {
    "floor": floor,
    "start": start,
    "scope": scope,
    "network": network,
    "several": several,
    "listing": listing,
    "pull": pull,
    "push": push,
}
