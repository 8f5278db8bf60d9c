"""Runs the parts of the tests, several at once, and tells what came of them.

    parts.py STATE USER… [-- ARGS]

STATE holds ``venv`` and ``tree``, which tests/setup/test.sh made.  Each USER is a lane: it
takes one part after the other, so that no two runs of one user disturb each other.  Called
by root it runs them as those users, later what needs root.  ARGS are pytest's, for one part.

A part in which few tests fail is asked again for just these: what passes then counts as
passed and is named as flaky.

The machine with systemd (tests/vm) has a lane of its own: it runs these same parts inside
and prints their sums.
"""

import os
import pwd
import re
import shutil
import subprocess
import sys
import threading
import time

AGAIN = 3
NOTHING_TO_RUN, SOME_FAILED = 5, 1
ONE_ID, MACHINE = "rl-test-one", "rl-test-vm"


class Part:
    """``args`` of pytest; ``user`` who has to run it, None for anybody."""

    def __init__(self, name, args, user=None):
        self.name = name
        self.args = args
        self.user = user


class Run:
    """All parts of one run, and the sums over them."""

    def __init__(self, state, users):
        self.state = state
        self.users = users
        self.alone = len(users) == 1  # then what pytest says is shown as it comes
        self.lock = threading.Lock()
        self.passed = self.failed = self.skipped = 0
        self.flaky = []

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def lane(self, user, parts):
        """Take what is left of ``parts`` one by one."""
        while True:
            with self.lock:
                if not parts:
                    return
                part = parts.pop(0)
            self.part(part, part.user or user)

    def part(self, part, user):
        """Run it, and once more the few tests that failed."""
        started = time.monotonic()
        self.say(f"== {part.name}, as {user}: started")
        code, found, output = self.pytest(user, part.args)
        flaky = []
        if code == SOME_FAILED and len(found["failed"]) <= AGAIN:
            output += self.headline(f"{part.name}, once more what failed")
            again_code, again, more = self.pytest(user, ["-q", *found["failed"]])
            output += more
            if again_code in (0, SOME_FAILED):
                flaky = [test for test in found["failed"] if test not in again["failed"]]
                found["failed"] = again["failed"]
        elif code not in (0, SOME_FAILED, NOTHING_TO_RUN):
            found["failed"].append(f"pytest ended with {code}")
        self.add(f"{part.name}, as {user}", started, found, flaky, output)

    def add(self, what, started, found, flaky, output):
        """The sums of one part, and what it said."""
        with self.lock:
            self.passed += found["passed"] + len(flaky)
            self.failed += len(found["failed"])
            self.skipped += found["skipped"]
            self.flaky += flaky
            took = time.monotonic() - started
            print(f"== {what}: {took:.0f} s", flush=True)
            sys.stdout.buffer.write(output)
            sys.stdout.buffer.flush()

    def machine(self, user):
        """The tests in a machine with systemd, which an emulator runs with this user's rights."""
        started = time.monotonic()
        self.say(f"== the machine with systemd, as {user}: started")
        words = self.as_user(user, ["sh", f"{self.state}/tree/tests/vm/run.sh", self.state])
        if os.geteuid() == 0:
            # Its clock goes on while its processors wait for the other lanes.
            words = ["nice", "-n", "-5", *words]
        done = subprocess.run(words, cwd=f"{self.state}/tree", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)  # fmt: skip
        found = _sums(done.stdout.decode("utf-8", "replace"))
        if done.returncode and not found["failed"]:
            found["failed"] = [f"tests/vm ended with {done.returncode}"]
        self.add(f"the machine with systemd, as {user}", started, found, found["flaky"],
                 done.stdout)  # fmt: skip

    def headline(self, text):
        """What comes before the output of a second run."""
        text = f"== {text}\n".encode()
        if not self.alone:
            return text
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return b""

    def pytest(self, user, args):
        """(exit code, what conftest.py notes, output that wasn't shown); see ``_read``."""
        counts = f"{self.state}/counts.{user}"
        with open(counts, "w", encoding="utf-8"):
            os.chmod(counts, 0o666)
        words = [f"{self.state}/venv/bin/pytest", "-p", "no:cacheprovider", *args]
        words = [f"RL_TEST_COUNTS={counts}", "PYTHONDONTWRITEBYTECODE=1", *words]
        words = self.as_user(user, words)
        done = subprocess.run(words, cwd=f"{self.state}/tree", stdin=subprocess.DEVNULL,
                              stdout=None if self.alone else subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)  # fmt: skip
        return done.returncode, _read(counts), done.stdout or b""

    def as_user(self, user, words):
        """The words of a command, and NAME=VALUE before it, for one of the users."""
        words = [f"RL_TEST_CACHE={os.environ['RL_TEST_CACHE']}", *words]
        if user == pwd.getpwuid(os.geteuid()).pw_name:
            return ["env", *words]
        return ["runuser", "-u", user, "--", "env", "-i", f"HOME={pwd.getpwnam(user).pw_dir}",
                f"PATH={os.environ['PATH']}", "LANG=C.UTF-8",
                f"TERM={os.environ.get('TERM', 'dumb')}", *words]  # fmt: skip

    def summary(self):
        """One line; the exit code of the whole."""
        text = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        if self.flaky:
            text += f", {len(self.flaky)} flaky (passed when run again): {' '.join(self.flaky)}"
        print(text, flush=True)
        return 1 if self.failed or not self.passed else 0


def _read(counts):
    """What tests/conftest.py wrote: "passed failed skipped", and the tests that failed."""
    with open(counts, encoding="utf-8") as file:
        lines = file.read().splitlines()
    numbers = [int(word) for word in lines[0].split()] if lines else [0, 0, 0]
    return {"passed": numbers[0], "failed": lines[1:], "skipped": numbers[2]}


_SUM = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped(.*)$", re.M)


def _sums(text):
    """The same of all summaries in what a machine's parts have printed."""
    found = {"passed": 0, "failed": [], "skipped": 0, "flaky": []}
    for passed, failed, skipped, more in _SUM.findall(text):
        flaky = more.split()[7:]  # ", N flaky (passed when run again): TEST…"
        found["passed"] += int(passed) - len(flaky)
        found["failed"] += ["a test in the machine"] * int(failed)
        found["skipped"] += int(skipped)
        found["flaky"] += flaky
    return found


def everything(tree, users):
    """(parts for all lanes, parts that need root and the machine for themselves)."""
    parts = [Part("fast tests", ["-q", "tests/unit"])]
    for above in ("tests/integration", "tests"):
        for name in sorted(os.listdir(f"{tree}/{above}")):
            path = f"{above}/{name}"
            if name in ("unit", "integration", "bench", "vm") or name[0] in "._":
                continue
            if os.path.isdir(f"{tree}/{path}") and _has_tests(f"{tree}/{path}"):
                parts.append(Part(name, ["-q", path]))
    names = sorted(os.listdir(f"{tree}/tests/integration"))
    single = [f"tests/integration/{name}" for name in names if name.startswith("test_")]
    parts.append(Part("the rest", ["-q", *single]))
    alone = []
    if os.geteuid() == 0:
        parts.insert(0, Part("without subordinate ids", ["-q", "-m", "one_id",
                                                         "tests/integration"], ONE_ID))  # fmt: skip
        alone = [Part("root and two users", ["-q", "-m", "as_root", "tests/integration"], "root")]
    return parts, alone


def _has_tests(path):
    return any(name.startswith("test_") for _, _, names in os.walk(path) for name in names)


def main(words):
    state, *users = words
    if "--" in users:
        at = users.index("--")
        users, args = users[:at], users[at + 1 :]
        run = Run(state, users[:1])
        run.lane(users[0], [Part("the tests asked for", args)])
        return run.summary()
    run = Run(state, users)
    parts, alone = everything(f"{state}/tree", users)
    lanes = [threading.Thread(target=run.lane, args=(user, parts), daemon=True) for user in users]
    emulated = shutil.which("qemu-system-x86_64") is not None
    if emulated and os.geteuid() == 0:
        lanes.insert(0, threading.Thread(target=run.machine, args=(MACHINE,), daemon=True))
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    run.lane("root", alone)
    if emulated and os.geteuid():  # it would be taken for something that a test has left
        run.machine(users[0])
    elif not emulated:
        print("tests/vm did not run: qemu-system-x86 is not installed")
    return run.summary()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
