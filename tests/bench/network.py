"""Networks: starts, and bytes a second beside podman and beside pasta itself.

podman publishes with what it has here: slirp4netns before version 4.4.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import measure
from support import tools

IMAGE = "localhost/busybox:latest"
SECONDS = 2
_PASTA = ("--config-net", "-f", "-q", "-T", "none", "-U", "none", "-u", "none", "-m", "65520",
          "-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2", "--no-map-gw")  # fmt: skip


def starts(bench):
    """One container with slirp4netns, which both have; alone, and while another one runs."""
    words = ("run", "--rm", "--network", "slirp4netns", IMAGE, "true")
    bench.compare("run, slirp4netns", words, target=0.6)
    own = bench.rl.timer("run", "--rm", "-p", "127.0.0.1::80", IMAGE, "true")
    theirs = bench.podman.timer("run", "--rm", "-p", "127.0.0.1::80", IMAGE, "true")
    found = measure.interleaved([own, theirs], bench.count)
    bench.table.times("run -p", *found, target=0.6)
    for engine in (bench.rl, bench.podman):
        engine.do("run", "-d", "--network", "slirp4netns", IMAGE, "sleep", "1000")
    bench.compare("  while another network is up", words, target=0.35)
    for engine in (bench.rl, bench.podman):
        engine.clear()


def memory(bench):
    """What publishing a port keeps in memory, beyond the same container without it."""
    found = []
    for engine in (bench.rl, bench.podman):
        sizes = []
        for words in ((), ("-p", "127.0.0.1::80")):
            engine.do("run", "-d", *words, IMAGE, "sleep", "1000")
            time.sleep(1)
            sizes.append(sum(measure.proportional(pid) for pid, _ in measure.outside()))
            engine.clear()
        found.append(max(1, sizes[1] - sizes[0]))
    bench.table.row("memory of a published port", *found, unit="kB", target=0.1)


# --- throughput -----------------------------------------------------------------------------


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _iperf(argv, env=None):
    """Run an iperf3 client: bits a second that arrived."""
    said = subprocess.run(
        [*argv, "-J", "-t", str(SECONDS)], env=env, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    try:
        return json.loads(said.stdout)["end"]["sum_received"]["bits_per_second"]
    except (ValueError, KeyError):
        told = said.stdout[-200:] + said.stderr[-200:]
        raise measure.Failed(f"{' '.join(argv)}: {told}") from None


def _patiently(argv, env=None):
    """``_iperf`` as soon as the server is there."""
    for _ in range(50):
        with contextlib.suppress(measure.Failed):
            return _iperf(argv, env)
        time.sleep(0.1)
    return _iperf(argv, env)


@contextlib.contextmanager
def _server(words, env=None):
    process = subprocess.Popen(
        words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _program():
    found = shutil.which("iperf3", path=tools.PATH)
    if not found:
        raise measure.Failed("iperf3 is missing: make bench BENCH_INSTALL=1")
    return found


def _address():
    """The address of this machine's default route; a helper carries nothing without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


def _volumes():
    """iperf3 in a container is this machine's."""
    words = []
    for path in ("/usr", "/lib", "/lib64"):
        if os.path.isdir(path):
            words += ["-v", f"{os.path.realpath(path)}:{path}:ro"]
    return words


def published(bench):
    """Into a container and out of it through a published port of the loopback."""
    program, port = _program(), _free_port()
    for what, more in (("into a published port", ()), ("out of a published port", ("-R",))):
        client = [program, "-c", "127.0.0.1", "-p", str(port), *more]
        rates = []
        for engine in (bench.rl, bench.podman):
            engine.do("run", "-d", *_volumes(), "-p", f"{port}:5201", IMAGE, program, "-s")
            rates.append(_patiently(client))
            engine.clear()
        pasta = [tools.find("pasta"), *_PASTA, "-t", f"{port}:5201", "--", program, "-s", "-1"]
        with _server(pasta):
            rates.append(_patiently(client))
        _compare(bench, what, rates)


def outgoing(bench):
    """From a container to this machine and back, by each helper."""
    program, port, address = _program(), _free_port(), _address()
    for what, more in (("container to host", ()), ("host to container", ("-R",))):
        client = [program, "-c", address, "-p", str(port), *more]
        with _server([program, "-s", "-p", str(port)]):
            time.sleep(0.3)
            own, theirs = (
                engine.argv("run", "--rm", *_volumes(), "--network", "slirp4netns", IMAGE, *client)
                for engine in (bench.rl, bench.podman)
            )
            pasta = bench.rl.argv("run", "--rm", *_volumes(), "--network", "pasta", IMAGE, *client)
            rates = [_iperf(own, bench.rl.env), _iperf(theirs, bench.podman.env)]
            _compare(bench, f"{what}, slirp4netns", rates)
            bare = [tools.find("pasta"), *_PASTA, "-t", "none", "--", *client]
            rates = [_iperf(pasta, bench.rl.env), _iperf(bare)]
            _row(bench, f"{what}, pasta", *rates, "by hand", 1.1)


# --- networks with names --------------------------------------------------------------------

_NAMED = "bench"
_IP = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"


@contextlib.contextmanager
def _named(bench):
    """A network in each engine; podman's need CNI's plugins or netavark."""
    try:
        for engine in (bench.rl, bench.podman):
            engine.do("network", "create", _NAMED)
        yield
    finally:
        for engine in (bench.rl, bench.podman):
            engine.clear()
            engine.do("network", "rm", _NAMED)


def named_starts(bench):
    """One container on a network of one's own, the first one there and a further one."""
    words = ("run", "--rm", "--network", _NAMED, IMAGE, "true")
    with _named(bench):
        bench.compare("run, on a network with a name", words)
        for engine in (bench.rl, bench.podman):
            engine.do("run", "-d", "--network", _NAMED, IMAGE, "sleep", "1000")
        bench.compare("  while it is up", words)


def between(bench):
    """From container to container, and out of one, on a network of theirs."""
    program, port, address = _program(), _free_port(), _address()
    with _named(bench):
        rates, out = [], []
        for engine in (bench.rl, bench.podman):
            run = ("run", "--rm", *_volumes(), "--network", _NAMED, IMAGE, program)
            engine.do("run", "-d", "--name", "server", *run[2:], "-s")
            peer = engine.do("inspect", "--format", _IP, "server").strip()
            rates.append(_patiently(engine.argv(*run, "-c", peer), engine.env))
            with _server([program, "-s", "-p", str(port)]):
                time.sleep(0.3)
                out.append(_iperf(engine.argv(*run, "-c", address, "-p", str(port)), engine.env))
        _compare(bench, "container to container", rates)
        _compare(bench, "container to host, network with a name", out)


def _compare(bench, what, rates):
    _row(bench, what, rates[0], rates[1], "podman", 1.0)
    if len(rates) > 2:
        _row(bench, "  beside pasta by hand", rates[0], rates[2], "pasta", 1.1)


def _row(bench, what, own, theirs, peer, target):
    """Throughput as time: what a gigabyte takes, so that less is better as everywhere."""
    bench.table.row(what, 8000 / own * 1e9, 8000 / theirs * 1e9, peer, target, unit="ms/GB")


CASES = {
    "network starts": starts,
    "network memory": memory,
    "network published": published,
    "network outgoing": outgoing,
    "network named starts": named_starts,
    "network named throughput": between,
}
