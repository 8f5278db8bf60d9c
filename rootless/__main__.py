"""``python -m rootless``, and where the launcher (helpers/rl.c) goes in."""

import os
import sys

from rootless import finder


def main():
    """Run rl on sys.argv and end the process: this doesn't return.

    Everything rl opens is closed by the one who opened it, so the interpreter's own
    tidying, some milliseconds, has nothing to do.
    """
    finder.install(os.path.dirname(__file__))
    from rootless.cli.main import main as run

    code = run()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError):
        pass
    os._exit(code)


if __name__ == "__main__":
    main()
