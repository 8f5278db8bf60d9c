"""The way in: the words typed, to a verb done, to an exit code.

What every call of rl pays for stands here, so the rest is imported where it is needed:
the successful path of a daily verb loads no click (docs/cli.md has the list and the test).
"""

import gc
import os
import sys

from rootless.errors import RlError

_INTERRUPTED = 130
_BROKEN_PIPE = 141
_FAILED = RlError.exit_code
# A start of a container makes fewer objects than this: it never pays for a collection.
_YOUNG = 50_000


class NoRoom(RlError):
    """{0}"""

    hint = "rl system df shows what takes room, rl system prune frees some of it"


class ReadOnly(RlError):
    """{0}"""

    hint = "rl keeps its files elsewhere with: rl --root DIR"


class OpenFiles(RlError):
    """{0}"""

    hint = "raise the limit of open files: ulimit -n 1024"


class LongFile(RlError):
    """{0}"""

    hint = "raise the limit of the size of files: ulimit -f unlimited; or use another disk"


class Forbidden(RlError):
    """{0}"""

    hint = ("it may belong to ids that /etc/subuid and /etc/subgid gave you once: root can give"
            " them back")


class BadDisk(RlError):
    """{0}"""

    hint = "the disk fails: see dmesg(1); rl system check tells what it has cost"


# ENOSPC, EDQUOT, EROFS, EMFILE, ENFILE, EFBIG, EIO, EPERM, EACCES: they may come from
# anywhere, and are nobody's defect.
_OUTSIDE = {28: NoRoom, 122: NoRoom, 30: ReadOnly, 24: OpenFiles, 23: OpenFiles, 27: LongFile,
            5: BadDisk, 1: Forbidden, 13: Forbidden}  # fmt: skip


class NotBuilt(RlError):
    """rl {0} is not in this version"""

    hint = "rl --help lists the commands there are"


def main(argv=None, environ=None):
    """Run rl on the words ``argv`` (without its own name) and return the exit code.

    ``environ`` is the environment rl acts by; both default to the process's.
    """
    gc.disable()
    argv = sys.argv[1:] if argv is None else list(argv)
    environ = os.environ if environ is None else environ
    _mend_streams()
    debug = False
    try:
        try:
            if argv == ["--version"] or argv == ["-v"]:
                return _version()
            overrides, request = _read(argv)
            if request is None:
                return overrides
            debug = overrides.get("log_level") in ("debug", "trace")
            return _finish(_run(overrides, request, environ))
        except BrokenPipeError:
            return _broken_pipe()
    except RlError as error:
        return _report(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as leave:  # click ends this way; so does an argument to exit()
        return leave.code if isinstance(leave.code, int) else _FAILED
    except Exception as error:
        kind = _OUTSIDE.get(error.errno) if isinstance(error, OSError) else None
        if kind:
            where = f": {error.filename}" if error.filename else ""
            return _report(kind(f"{error.strerror}{where}"))
        from rootless.cli.defect import report

        return report(error, argv, environ, debug)


def _read(argv):
    """(overrides, Request), or (exit code, None) where help was all that was wanted."""
    from rootless.cli import fast

    found = fast.parse(argv)
    if found is None:
        from rootless.cli import app

        found = app.parse(argv)
    return found


def _run(overrides, request, environ):
    from rootless import config
    from rootless.cli import options

    module = options.find(request.verb).module
    try:
        command = __import__(f"rootless.cli.{module}", None, None, ("main",))
    except ModuleNotFoundError as error:
        if error.name != f"rootless.cli.{module}":
            raise
        raise NotBuilt(request.verb) from None
    from rootless.engine.context import Engine

    engine = Engine(config.load(overrides, environ))
    gc.freeze()
    gc.set_threshold(_YOUNG)
    gc.enable()
    return command.main(engine, request) or 0


def _version():
    from rootless import __version__

    sys.stdout.write(f"rl version {__version__}\n")
    return _finish(0)


def _mend_streams():
    """Make writing safe whatever the locale: names that are not text come out as they are.

    A stream that the caller closed becomes /dev/null, which takes its descriptor too: no
    file that is opened later may be written to as if it were the terminal.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
        elif name != "stdin" and stream.errors != "surrogateescape":
            utf8 = stream.encoding.lower() in ("utf-8", "utf8")
            stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def _finish(code):
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from rootless.cli.output import CannotWrite

        raise CannotWrite(error.strerror) from None
    return code


def _broken_pipe():
    """Whoever read our output is gone, as in ``rl logs web | head -1``: end quietly.

    A broken pipe to anything else is nobody's wish, so the error goes on.
    """
    import select

    watch = select.poll()
    for fd in (1, 2):
        watch.register(fd, 0)
    if not any(event & select.POLLERR for _, event in watch.poll(0)):
        raise
    # What is still buffered would fail again when Python flushes it at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return _BROKEN_PIPE


def _report(error):
    """Write the error and what to do about it; its exit code."""
    from rootless.cli.output import escape_for

    try:
        sys.stdout.flush()
    except OSError:
        pass  # this very error may be about it
    try:
        text = f"Error: {error.message}\n"
        if error.advice:
            text += f"hint: {error.advice}\n"
        sys.stderr.write(escape_for(sys.stderr, text))
        sys.stderr.flush()
    except OSError:
        pass  # nobody is left to be told; the exit code still says it
    return error.exit_code
