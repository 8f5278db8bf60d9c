"""The text of a Containerfile, places in it, and errors that show them."""

from rootless.errors import RlError

_WIDEST = 100  # columns of a shown line; a longer one is cut around the place
_BEFORE = 60


class Source:
    """A text with its ``name`` as people know it ("Containerfile", "-")."""

    __slots__ = ("name", "lines")

    def __init__(self, text, name):
        self.name = name
        self.lines = text.split("\n")

    def line(self, number):
        """Line ``number`` (1-based) without its end; an empty str beyond the end."""
        return self.lines[number - 1].rstrip("\r") if number <= len(self.lines) else ""


class Place:
    """``width`` characters from ``column`` (both 1-based) of ``line`` in a Source."""

    __slots__ = ("source", "line", "column", "width")

    def __init__(self, source, line, column=1, width=1):
        self.source = source
        self.line = line
        self.column = column
        self.width = width

    @property
    def where(self):
        """As editors jump to it: ``Containerfile:3:5``."""
        return f"{self.source.name}:{self.line}:{self.column}"

    @property
    def shown(self):
        """The line and a second one that marks the place, each after a newline."""
        text = self.source.line(self.line)
        start = max(0, self.column - 1 - _BEFORE) if len(text) > _WIDEST else 0
        head = "…" if start else ""
        tail = "…" if len(text) > start + _WIDEST else ""
        piece = text[start : start + _WIDEST]
        before = piece[: self.column - 1 - start]
        width = max(1, min(self.width, len(piece) - len(before)))
        # Tabs are kept, so that the mark stands below what it marks in every terminal.
        indent = "".join(char if char == "\t" else " " for char in head + before)
        number = f"{self.line:5} | "
        blank = " " * 6 + "| "
        return f"\n{number}{head}{piece}{tail}\n{blank}{indent}{'^' * width}"


class BuildError(RlError):
    """{where}{text}{shown}"""

    def __init__(self, text="", *, at=None, hint=None, **fields):
        """``at`` is the Place of the mistake; None where there is no file."""
        if hint is not None:  # a hint is a template, and may quote what was typed
            hint = hint.replace("{", "{{").replace("}", "}}")
        super().__init__(hint=hint, text=text, **fields)
        self.at = at
        self.fields["where"] = f"{at.where}: " if at else ""
        self.fields["shown"] = at.shown if at else ""


class UnknownInstruction(BuildError):
    """{where}unknown instruction {text}{shown}"""


class EmptyFile(BuildError):
    """{where}there are no instructions in it"""

    hint = "a Containerfile begins with FROM, such as: FROM debian:12"


class TooBig(BuildError):
    """{where}{text}"""


def error_at(node, text, hint=None, at=None):
    """A BuildError that points into the instruction ``node``; raise it.

    ``at`` is the part that is wrong, as it stands in the file (str; it is searched) or its
    offset in ``node.original`` (int); without it, or if it isn't found, the instruction
    itself is marked.  ``node`` None makes an error without a place.
    """
    return BuildError(text, at=node.place(at) if node else None, hint=hint)
