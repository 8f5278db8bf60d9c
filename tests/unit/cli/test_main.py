"""The way in: exit codes, messages, pipes, locales, defects."""

import errno
import os
import signal
import stat
import subprocess
import sys
import types

import pytest

import rootless
from rootless.cli import defect, help, main, options
from rootless.errors import RlError

PARENT = os.path.dirname(os.path.dirname(os.path.abspath(rootless.__file__)))
START = (
    f"import sys; sys.path.append({PARENT!r}); sys.argv[0] = 'rl'\n"
    "from rootless.__main__ import main; main()"
)
ENVIRON = {"HOME": "/proc/1/nowhere", "PATH": os.defpath}


def rl(*words, **more):
    """Run rl as the launcher does, with the packages of this Python at hand."""
    start = START
    for path in sys.path:
        if path.endswith("-packages"):
            start = start.replace("; sys.argv", f"; sys.path.append({path!r}); sys.argv", 1)
    more.setdefault("env", {"HOME": "/proc/1/nowhere", "PATH": os.defpath})
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", start, *words],
        capture_output=True, check=False, timeout=60, **more,
    )  # fmt: skip


class Teapot(RlError):
    """short and {0}"""

    hint = "tip {0} over"
    exit_code = 41


@pytest.fixture
def verb(monkeypatch, tmp_path):
    """Make ``rl version`` do something else: verb(function) → main's exit code."""
    runroot = tmp_path / "run"
    runroot.mkdir(0o700)

    def call(function, *words):
        module = types.ModuleType("rootless.cli.cmd_version")
        module.main = function
        monkeypatch.setitem(sys.modules, "rootless.cli.cmd_version", module)
        argv = [*words, "--runroot", str(runroot), "--root", str(tmp_path / "root"), "version"]
        # A report of a defect goes where the environment says.
        return main.main(argv, {"HOME": str(tmp_path), "RL_RUNROOT": str(runroot)})

    return call


def raising(error):
    def function(engine, request):
        raise error

    return function


def test_the_verbs_code_is_rls(verb):
    assert verb(lambda engine, request: 7) == 7
    assert verb(lambda engine, request: None) == 0


def test_an_error_is_one_line_and_a_hint(verb, capsys):
    assert verb(raising(Teapot("stout"))) == 41
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Error: short and stout\nhint: tip stout over\n")


def test_an_error_without_advice(verb, capsys):
    assert verb(raising(Teapot("stout", hint=""))) == 41
    assert capsys.readouterr().err == "Error: short and stout\n"


@pytest.mark.parametrize("number, says", [
    (errno.ENOSPC, "system prune"), (errno.EDQUOT, "system prune"), (errno.EROFS, "--root DIR"),
    (errno.EMFILE, "ulimit -n"), (errno.EFBIG, "ulimit -f"), (errno.EIO, "the disk fails"),
    (errno.EPERM, "subuid"), (errno.EACCES, "subuid"),
])  # fmt: skip
def test_a_disk_that_takes_nothing_is_no_defect(verb, capsys, number, says):
    assert verb(raising(OSError(number, os.strerror(number), "/some/file"))) == 125
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"Error: {os.strerror(number)}: /some/file"
    assert second.startswith("hint: ") and says in second


def test_an_interrupt(verb, capsys):
    assert verb(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""


def test_a_defect_says_so_and_saves_the_traceback(verb, capsys, tmp_path):
    assert verb(raising(ZeroDivisionError("by\nzero"))) == 125
    first, second = capsys.readouterr().err.splitlines()
    assert first == "Error: this is a defect in rl: ZeroDivisionError: by"
    path = second.rpartition(" ")[2]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path, encoding="utf-8") as file:
        text = file.read()
    os.unlink(path)
    assert "verb: " in text and "Traceback" in text and "ZeroDivisionError" in text


def test_a_defect_with_debug_is_shown(verb, capsys):
    assert verb(raising(ZeroDivisionError()), "--debug") == 125
    err = capsys.readouterr().err
    assert "Traceback" in err and "with the text above" in err


def test_a_defects_report_has_no_words_of_the_user(tmp_path, capsys):
    environ = {"HOME": str(tmp_path), "RL_RUNROOT": str(tmp_path / "run")}
    assert defect.report(ValueError("x"), ["run", "-e", "TOKEN=s3cret"], environ, True) == 125
    err = capsys.readouterr().err
    assert "verb: run" in err and "s3cret" not in err


def test_a_broken_pipe_elsewhere_is_a_defect(verb, capsys):
    assert verb(raising(BrokenPipeError("socket")), "--debug") == 125
    assert "BrokenPipeError" in capsys.readouterr().err


def test_a_verb_that_is_not_built(monkeypatch, capsys):
    monkeypatch.setattr(options.find("version"), "module", "cmd_nowhere")
    for words in (["version"], ["version", "--help"]):
        assert main.main(words, ENVIRON) == 125
        assert capsys.readouterr().err.startswith("Error: rl version is not in this version\n")
    assert "version" not in help.offered()


def test_version_and_launch():
    for words in (["--version"], ["-v"]):
        done = rl(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode() == f"rl version {rootless.__version__}\n"


def test_python_m_rootless():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rootless", "--version"]
        if sys.version_info >= (3, 11) else [sys.executable, "-m", "rootless", "--version"],
        capture_output=True, check=False, env={**os.environ, "PYTHONPATH": PARENT},
    )  # fmt: skip
    assert done.stdout.startswith(b"rl version "), done.stderr


def test_a_reader_that_leaves():
    """rl | head -1: no traceback, no message, and the code says SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    start = START.replace("main(); ", "")
    for path in sys.path:
        if path.endswith("-packages"):
            start = start.replace("; sys.argv", f"; sys.path.append({path!r}); sys.argv", 1)
    for words in (["run", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", start, *words],
            stdout=write, stderr=subprocess.PIPE, check=False, env=ENVIRON,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    os.close(write)


def test_a_full_disk_is_not_success():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", START, "--version"],
            stdout=full, stderr=subprocess.PIPE, check=False, env=ENVIRON,
        )  # fmt: skip
    assert done.returncode == 125
    assert done.stderr == b"Error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "en_US.ISO-8859-1"])
def test_names_come_out_as_they_went_in(locale):
    word = b"\xc3\xa9\xff"
    done = rl("rename", word, env={"LC_ALL": locale, "HOME": "/proc/1/nowhere"})
    assert done.returncode == 125
    assert done.stderr.startswith(b"Error: rl rename: NAME is missing\n")
    done = rl(word, env={"LC_ALL": locale, "HOME": "/proc/1/nowhere"})
    assert done.returncode == 125 and b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"Error: rl has no command '")


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_descriptors(closed):
    done = rl("--version", preexec_fn=lambda: os.close(closed))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"rl version ") or closed == 1


ERRORS = [
    ("run --nmae x y", "rl run has no option --nmae", "did you mean --name?"),
    ("run -Z x", "rl run has no option -Z", "rl run --help lists the options"),
    ("run -itZ x", "rl run has no option -Z (in -itZ)", None),
    ("--rot x ps", "rl has no option --rot", "did you mean --root?"),
    ("rnu x", "rl has no command 'rnu'", "did you mean rl run?"),
    ("list", "rl has no command 'list'", "did you mean rl ps?"),
    ("frobnicate", "rl has no command 'frobnicate'", "rl --help lists the commands"),
    ("secret ls", "rl has no command 'secret'", "-v FILE:/run/secrets/NAME:ro"),
    ("system service -t 0", "rl has no command 'system service'", "no daemon"),
    ("volume lss", "rl has no command 'volume lss'", "did you mean rl volume ls?"),
    ("volume", "rl volume: which command? There are: ", None),
    ("run", "rl run: IMAGE is missing", "usage: rl run [OPTIONS] IMAGE [COMMAND [ARG...]]"),
    ("exec web", "rl exec: COMMAND is missing", None),
    ("exec", "rl exec: CONTAINER is missing", None),
    ("stop", "rl stop: CONTAINER is missing (or --all, --latest, --filter, --cidfile)", None),
    ("stop --all web", "rl stop: --all says which ones already: 'web' is too much", None),
    ("rename a b c", "rl rename: 'c' is one argument too many", None),
    ("version x", "rl version: it takes no arguments: 'x'", None),
    ("run --name", "rl run: --name needs a value: --name NAME", None),
    ("ps -n x", "--last: 'x' is not a whole number", None),
    ("ps -n -2", "--last: -2 is less than -1", None),
    ("ps --sort x", "--sort: 'x' is none of command, created, ", None),
    ("run --rm=maybe x", "--rm: 'maybe' is neither true nor false", None),
    ("run --gpus all x", "--gpus: devices of other kinds than files are not supported by", None),
    ("build --hooks-dir y x", "--hooks-dir: rl runs no hooks", None),
    ('run --device "a"b x', "--device: '\"a\"b' is not a list: ", None),
    ("--log-level loud ps", "--log-level: 'loud' is none of trace, ", None),
]


@pytest.mark.parametrize(("line", "message", "hint"), ERRORS, ids=[row[0] for row in ERRORS])
def test_bad_lines(line, message, hint, capsys, monkeypatch):
    monkeypatch.setattr(help, "is_built", lambda verb: verb.unavailable is None)
    monkeypatch.setattr(main, "_run", None)  # none of them gets that far
    assert main.main(line.split(), ENVIRON) == 125
    out, err = capsys.readouterr()
    first, *rest = err.splitlines()
    assert out == "" and first.startswith(f"Error: {message}")
    assert len(rest) <= 1 and all(text.startswith("hint: ") for text in rest)
    if hint:
        assert hint in rest[0]


def test_help_is_no_error(capsys):
    for line in ("--help", "-h", "", "help", "help version", "version --help", "version -h"):
        assert main.main(line.split(), ENVIRON) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Usage: rl") and err == ""


def test_every_verb_has_help(capsys, monkeypatch):
    monkeypatch.setattr(help, "is_built", lambda verb: verb.unavailable is None)
    for name in [*options.names(), *options.ALIASES]:
        verb = options.find(name)
        assert main.main([*name.split(), "--help"], ENVIRON) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"Usage: rl {verb.name}")
        for row in verb.options:
            assert (row.names[-1] in out) or row.unavailable, row
            if row.unavailable:
                left = [line.split(" ")[0] for line in out.replace(",", "").split("\n  ")]
                assert not set(left) & set(row.names)
    for group in options.GROUPS:
        assert main.main([group, "--help"], ENVIRON) == 0
        assert capsys.readouterr().out.startswith(f"Usage: rl {group} COMMAND")
