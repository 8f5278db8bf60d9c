"""What is said when rl itself is wrong."""

import os
import sys
import time

WHERE = "the issue tracker of rl"


def report(error, argv, environ, debug):
    """Tell the user about an exception nobody expected; the exit code (125).

    The traceback goes into a file, with ``--debug`` to standard error.  The words typed
    don't: they may hold passwords; only the verb does.
    """
    import platform
    import traceback

    from rootless import __version__

    verb = next((word for word in argv if not word.startswith("-")), "")
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    about = f"rl {__version__}, Python {platform.python_version()}, Linux {platform.release()}"
    whole = f"{about}\nverb: {verb}\n\n{text}"
    lines = [f"Error: this is a defect in rl: {type(error).__name__}: {_first_line(error)}"]
    if debug:
        lines.append(whole)
        lines.append(f"hint: please report it to {WHERE}, with the text above")
    else:
        path = _save(whole, environ)
        lines.append(
            f"hint: please report it to {WHERE}, with the file {path}"
            if path
            else f"hint: run it again with rl --debug and report what it says to {WHERE}"
        )
    try:
        sys.stderr.write(_safe("\n".join(lines) + "\n"))
        sys.stderr.flush()
    except OSError:
        pass  # nobody is left to be told
    return 125


def _first_line(error):
    return (str(error).splitlines() or [""])[0]


def _safe(text):
    from rootless.cli.output import escape_for

    return escape_for(sys.stderr, text)


def _save(text, environ):
    """Write the report into a file of its own; its path, or None."""
    import tempfile

    try:
        from rootless import config

        directory = config.load({}, environ).runroot
    except Exception:  # what is broken may be this very part
        directory = None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for place in (directory, None):
        try:
            made, path = tempfile.mkstemp(".txt", f"rl-defect-{stamp}-", place)
        except OSError:
            continue
        with os.fdopen(made, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        return path
    return None
