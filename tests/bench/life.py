"""Containers that live on: detached ones, what is done to them, what they cost."""

import itertools
import os
import time

import measure
from start import IMAGE

DETACHED = ("run", "--detach", "--network", "none")
IDLE = (IMAGE, "sleep", "100000")
LINE = "a line of a log that somebody may read"


def _both(bench):
    return bench.rl, bench.podman


def _named(engine, verb, *args):
    """A function that makes a container untimed, then times ``verb`` on it."""
    numbers = itertools.count()

    def call():
        name = f"b{next(numbers)}"
        engine.do(*DETACHED, "--name", name, *IDLE)
        took = engine.time(verb, *args, name)
        engine.do("rm", "--force", "--time", "0", "--ignore", name)
        return took

    return call


def detached(bench):
    """Start and leave; each is removed before the next."""

    def call(engine):
        took = engine.time(*DETACHED, "--name", "d", *IDLE)
        engine.do("rm", "--force", "--time", "0", "d")
        return took

    calls = [lambda engine=engine: call(engine) for engine in _both(bench)]
    own, theirs = measure.interleaved(calls, bench.count)
    bench.table.times("run -d --network none", own, theirs, target=0.45, aim=0.35)


def verbs(bench):
    """What is done to one running container."""
    for engine in _both(bench):
        engine.do(*DETACHED, "--name", "x", *IDLE)
    bench.compare("exec", ("exec", "x", "true"), target=0.40, aim=0.30)
    bench.compare("inspect CONTAINER", ("inspect", "x"), target=0.7)
    for engine in _both(bench):
        engine.do("rm", "--force", "--time", "0", "x")
    for what, *words in (("stop -t 0", "stop", "-t", "0"), ("rm -f", "rm", "-f", "-t", "0")):
        calls = [_named(engine, *words) for engine in _both(bench)]
        own, theirs = measure.interleaved(calls, max(3, bench.count // 2))
        bench.table.times(what, own, theirs, target=0.7)


def many(bench, count=200):
    """``ps`` with many containers, one in ten running: crun makes a keyring for each, and
    Linux lets a user have 200 keys."""
    for engine in _both(bench):
        for number in range(count):
            if number % 10:
                engine.do("create", "--network", "none", *IDLE)
            else:
                engine.do(*DETACHED, *IDLE)
    bench.compare(f"ps --all, {count} containers", ("ps", "--all"), target=0.7)
    for engine in _both(bench):
        engine.clear()


def logs(bench):
    """Reading a long log, and writing one."""
    _write_log(bench, LINE, 100 << 20, "100 MB", max(2, bench.count // 4))
    for engine in _both(bench):
        engine.do(*DETACHED, "--name", "l", IMAGE, *_fill(LINE, 100 << 20))
        engine.do("wait", "l")
    bench.compare("logs, 100 MB", ("logs", "l"), target=0.7, count=2, warm=1)
    for engine in _both(bench):
        engine.do("rm", "l")


def long_log(bench):
    """1 GB of the shortest lines, 21 GB on the disk; only when asked for (--all)."""
    _write_log(bench, "y", 1 << 30, "1 GB", 1)


def _fill(line, size):
    return "sh", "-c", f"yes {line} | head -c {size}"


def _write_log(bench, line, size, shown, count):
    """From the start to the end of a container that writes ``size`` bytes."""

    def write(engine):
        started = time.perf_counter()
        engine.do(*DETACHED, "--name", "w", IMAGE, *_fill(line, size))
        engine.do("wait", "w")
        took = time.perf_counter() - started
        engine.do("rm", "w")
        return took

    calls = [lambda engine=engine: write(engine) for engine in _both(bench)]
    own, theirs = measure.interleaved(calls, count, warm=0)
    bench.table.times(f"writing a log of {shown}", own, theirs, target=1.0)


def memory(bench, count=10):
    """What an engine's own processes hold for each idle container."""
    found = []
    for engine in _both(bench):
        engine.do(*DETACHED, *IDLE)  # what the first one brings for all isn't counted
        before = measure.outside()
        for _ in range(count):
            engine.do(*DETACHED, *IDLE)
        time.sleep(1)
        own = measure.outside() - before
        found.append(sum(measure.proportional(pid) for pid, _ in own) / count)
        engine.clear()
    bench.table.row("memory for an idle container", *found, target=0.35, unit="kB")


def thousand(bench, count=1000):
    """A thousand containers on this machine; only when asked for (--all)."""
    engine = bench.rl
    times = [engine.time(*DETACHED, "--name", f"k{number}", *IDLE) for number in range(count)]
    early, late = times[5:25], times[-20:]
    bench.table.times(f"run -d, the {count}th", late, early, "the 10th", target=1.5)
    listed = engine.time("ps")
    bench.table.row(f"ps, {count} containers", listed * 1000, 2000, "limit", target=1.0)
    started = time.perf_counter()
    names = [f"k{number}" for number in range(count)]
    engine.do("stop", "-t", "0", *names)
    engine.do("rm", *names)
    print(f"  stopped and removed in {time.perf_counter() - started:.1f} s")
    left = os.listdir(f"{engine.env['XDG_DATA_HOME']}/rl/containers")
    if left:
        raise measure.Failed(f"{len(left)} containers are still there")


CASES = {
    "detached": detached,
    "verbs": verbs,
    "many": many,
    "logs": logs,
    "memory": memory,
}
ASKED_FOR = {"long-log": long_log, "thousand": thousand}
