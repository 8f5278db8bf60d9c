"""Running rl as a person does: its program, a home of its own, and what came of it."""

import json
import os
import pwd
import subprocess
import sys

from support.terminal import Terminal

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

# What helpers/rl.c starts; for a test run that uses the tree instead of a wheel.
_START = """\
import sys
sys.path.append(sys.argv.pop(1))
sys.argv[0] = 'rl'
from rootless.__main__ import main
sys.exit(main())
"""


def program():
    """The words that start rl: the installed launcher, else the tree by this Python."""
    installed = os.path.join(os.path.dirname(sys.executable), "rl")
    if os.access(installed, os.X_OK):
        return [installed]
    return [sys.executable, "-IS", "-c", _START, TREE]


class Result:
    """What one command did: ``argv``, ``code``, ``stdout`` and ``stderr`` as str, and
    ``raw`` (stdout as bytes)."""

    def __init__(self, argv, code, raw, raw_errors):
        self.argv = argv
        self.code = code
        self.raw = raw
        self.stdout = raw.decode("utf-8", "surrogateescape")
        self.stderr = raw_errors.decode("utf-8", "surrogateescape")

    @property
    def lines(self):
        """stdout as a list of lines."""
        return self.stdout.splitlines()

    @property
    def text(self):
        """stdout without the blanks around it."""
        return self.stdout.strip()

    def json(self):
        """stdout read as JSON."""
        return json.loads(self.stdout)

    def __repr__(self):
        return (
            f"{' '.join(self.argv)}\n-> {self.code}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )


class Rl:
    """rl with a home directory of its own.

    ``rl("run", "--rm", image)`` gives a Result whatever happened; ``rl.ok`` insists on
    exit code 0, ``rl.fails`` on an error as rl words errors.  No call may print a
    traceback.  ``user``: the name of another user to run as, where we are root.
    """

    def __init__(self, home, user=None, **environment):
        self.home = home
        self.user = user
        self.root = f"{home}/data/rl"
        self.run = f"{home}/run"
        self.environment = {
            "HOME": f"{home}/home",
            "XDG_DATA_HOME": f"{home}/data",
            "XDG_CONFIG_HOME": f"{home}/config",
            "XDG_RUNTIME_DIR": self.run,
            "TMPDIR": f"{home}/tmp",
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "TERM": "xterm",
        }
        self.environment.update(environment)
        for name in ("", "home", "data", "config", "run", "tmp"):
            os.makedirs(f"{home}/{name}", mode=0o700, exist_ok=True)
            if user:
                entry = pwd.getpwnam(user)
                os.chown(f"{home}/{name}", entry.pw_uid, entry.pw_gid)

    def _environ(self, env):
        found = dict(self.environment)
        for name, value in (env or {}).items():
            found.pop(name, None)
            if value is not None:
                found[name] = value
        return found

    def words(self, *args):
        """The argv of ``rl ARGS``."""
        become = ["/usr/sbin/runuser", "-u", self.user, "--"] if self.user else []
        return [*become, *program(), *map(str, args)]

    def start(self, *args, env=None, cwd=None, stdin=subprocess.DEVNULL, **more):
        """Start rl with its output in pipes and don't wait: a subprocess.Popen."""
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            self.words(*args), env=self._environ(env), cwd=cwd or self.home, stdin=stdin, **more
        )

    def __call__(self, *args, input=None, env=None, cwd=None, timeout=60, **more):
        """Run rl to its end: a Result.  ``env``: changes, None removes a variable."""
        if isinstance(input, str):
            input = input.encode()
        if input is not None:
            more["stdin"] = subprocess.PIPE
        process = self.start(*args, env=env, cwd=cwd, **more)
        try:
            output, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        result = Result(["rl", *map(str, args)], process.returncode, output or b"", errors or b"")
        assert "Traceback (most recent call last)" not in result.stderr, repr(result)
        return result

    def ok(self, *args, **how):
        """Run rl and insist that it succeeds: a Result."""
        result = self(*args, **how)
        assert result.code == 0, repr(result)
        return result

    def fails(self, *args, code=125, says="", hint=True, **how):
        """Run rl and insist on an error: its exit code, one line that holds ``says``, and
        after it a hint unless ``hint`` is False.  Gives the Result."""
        result = self(*args, **how)
        assert result.code == code, repr(result)
        lines = [line for line in result.stderr.splitlines() if line]
        errors = [line for line in lines if line.startswith("Error: ")]
        assert len(errors) == 1 and says in errors[0], repr(result)
        if hint:
            assert lines[-1].startswith("hint: "), repr(result)
        return result

    def terminal(self, *args, env=None, cwd=None, size=(24, 80)):
        """Start rl with a terminal of its own: a Terminal."""
        return Terminal(self.words(*args), self._environ(env), cwd or self.home, size)
