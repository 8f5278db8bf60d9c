"""make bench: rl beside podman, crun and bwrap, in one run, as ratios of medians.

    bench.py [--only REGEX] [-n COUNT] [--all] [--strict]

Calls alternate, so that what disturbs one engine disturbs the other.  Everything is kept
in a directory of its own in /var/tmp, on a disk, and removed at the end.
"""

import argparse
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import build  # noqa: E402
import engines  # noqa: E402
import life  # noqa: E402
import measure  # noqa: E402
import network  # noqa: E402
import start  # noqa: E402
from support import leaks, tools  # noqa: E402
from table import Table  # noqa: E402


class Bench:
    """What every case gets: the engines, the table, the number of rounds."""

    def __init__(self, directory, count):
        self.directory = directory
        self.count = count
        self.rl = engines.Rl(f"{directory}/rl")
        self.podman = engines.Podman(f"{directory}/podman")
        self.table = Table()

    def compare(self, what, words, count=None, warm=2, **how):
        """The same words for both."""
        calls = [self.rl.timer(*words), self.podman.timer(*words)]
        own, theirs = measure.interleaved(calls, count or self.count, warm)
        self.table.times(what, own, theirs, **how)

    def close(self):
        """Remove everything."""
        self.rl.close()
        self.podman.close()


def options():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name matches")
    parser.add_argument("-n", type=int, default=15, dest="count", help="rounds (15)")
    parser.add_argument("--all", action="store_true", help="also 1,000 containers, a 1 GB log")
    parser.add_argument("--strict", action="store_true", help="fail if a target is missed")
    return parser.parse_args()


def main():
    """Run the cases asked for; the exit code."""
    asked = options()
    cases = {**start.CASES, **life.CASES, **build.CASES, **network.CASES}
    if asked.all:
        cases.update(life.ASKED_FOR)
    leaks.adopt_orphans()
    directory = tempfile.mkdtemp(prefix="rlt-b", dir="/var/tmp")
    bench = Bench(directory, asked.count)
    try:
        start.prepare(bench)
        for name, case in cases.items():
            if not re.search(asked.only, name):
                continue
            try:
                case(bench)
            except (measure.Failed, AssertionError) as error:
                bench.table.failure(name, error)
                bench.rl.clear()
                bench.podman.clear()
    finally:
        bench.close()
        tools.remove_tree(directory)
    if bench.table.missed:
        print(f"{len(bench.table.missed)} missed: " + "; ".join(map(str.strip, bench.table.missed)))
    return 1 if bench.table.failed or (asked.strict and bench.table.missed) else 0


if __name__ == "__main__":
    sys.exit(main())
