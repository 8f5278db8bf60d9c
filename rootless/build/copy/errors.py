"""What can be wrong with a COPY or ADD."""

from rootless.errors import RlError


class CopyError(RlError):
    """{0}"""


class NotFound(CopyError):
    """no file {0!r} in {1}"""

    hint = "look at the spelling and at the ignore file; paths begin at the top of {1}"


class Unreadable(CopyError):
    """cannot read {0!r} of {1}: {2}"""

    hint = "give yourself the permission, or name it in .containerignore"


class NoDirectory(CopyError):
    """several files can't be copied to {0!r}, which is not a directory"""

    hint = "let it end with a slash: {0}/"


class NoName(CopyError):
    """there is no name to copy it under to {0!r}"""

    hint = "write the whole destination: {0}NAME"


class InTheWay(CopyError):
    """cannot copy to {0!r}: {1}"""

    hint = "name another destination, or remove what is there with a RUN before"


class TooManyLinks(CopyError):
    """{0!r} leads through too many symbolic links"""


class SourceChanged(CopyError):
    """{0!r} of {1} changed while it was read"""

    hint = "build again when nothing writes into the context"


class ContentChanged(CopyError):
    """{0} changed between two looks of this build"""

    hint = "build again when nothing writes into it"


class BadName(CopyError):
    """{0!r} can't be in a layer: names that begin with .wh. mean that a file is deleted"""

    hint = "rename it, or name it in .containerignore"


class NoSuchKind(CopyError):
    """{0!r} of {1} is {2}, which can't be copied"""

    hint = "leave it out: name it in .containerignore, or with --exclude"


class BadPattern(CopyError):
    """{0!r} is not a pattern"""

    hint = "a [ needs its ], and a backslash something behind it"


class BadMode(CopyError):
    """{0!r} is not a mode"""

    hint = "write octal digits up to 7777, or letters as chmod(1) does: u=rwx,go=rx"
