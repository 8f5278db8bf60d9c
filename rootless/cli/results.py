"""Telling what a verb did to each of several things."""

import sys

from rootless.cli import output


def report(done, show=True):
    """Print the names that went well and the errors of those that didn't; the exit code.

    ``done`` is a list of (name, error or None), as the verbs of the engine return it.
    """
    code = 0
    for name, error in done:
        if error is None:
            if show:
                output.line(name)
            continue
        sys.stdout.flush()
        text = f"Error: {error.message}\n"
        if error.advice:
            text += f"hint: {error.advice}\n"
        sys.stderr.write(output.escape_for(sys.stderr, text))
        code = code or error.exit_code
    return code
