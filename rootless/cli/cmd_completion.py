"""rl completion."""

from rootless.cli import output
from rootless.errors import RlError

_SHELLS = ("bash", "zsh", "fish")


class UnknownShell(RlError):
    """there is no completion for {0!r}"""

    hint = "there are: bash, zsh, fish"


class CannotSave(RlError):
    """cannot write {0}: {1}"""


def main(engine, request):
    """See docs/cli.md."""
    from rootless.cli import completions

    (shell,) = request.args
    if shell not in _SHELLS:
        raise UnknownShell(shell)
    text = getattr(completions, shell)()
    if not request.file:
        output.write(text)
        return 0
    try:
        with open(request.file, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CannotSave(request.file, error.strerror) from None
    return 0
