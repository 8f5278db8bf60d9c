"""Asking before something is removed."""

import sys


def confirm(warning, lines=()):
    """Show what is about to happen and wait for a y: True if it came.

    ``warning`` is one line, ``lines`` what it is about.  The question goes to standard
    error, so that standard output holds only results; the end of the input means no.
    """
    from rootless.cli.output import escape_for

    text = f"WARNING! {warning}\n" + "".join(f"        - {line}\n" for line in lines)
    text += "Are you sure you want to continue? [y/N] "
    sys.stderr.write(escape_for(sys.stderr, text))
    sys.stderr.flush()
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    return answer.strip().lower() in ("y", "yes")
