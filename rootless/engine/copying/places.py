"""Paths at one end of a copy, as the container or as the caller sees them."""

import os

from rootless.errors import RlError
from rootless.kernel.files import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

_MOST_LINKS = 40  # as the kernel: ELOOP past that
_ENOENT, _ENOTDIR = 2, 20


class NoSource(RlError):
    """cannot copy {0}: {1}"""

    hint = "rl exec CONTAINER ls, or rl diff CONTAINER, show what is in a container"


class BadDestination(RlError):
    """cannot copy to {0}: {1}"""

    hint = "the directory to copy into must exist; see man rl-cp"


class Place:
    """Where paths are looked up: ``root`` is a descriptor of the directory called "/".

    ``confined``: it is a container's.  No link leads out of it, and none of those in /proc
    are followed, which lead anywhere.
    """

    def __init__(self, root, confined):
        self.root = root
        self.confined = confined
        self._resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS if confined else 0

    def open(self, path, flags=os.O_PATH):
        """A descriptor for ``path``; a slash at its end asks for a directory.  OSError."""
        return openat2(self.root, path.lstrip("/") or ".", flags | os.O_CLOEXEC,
                       resolve=self._resolve)

    def final(self, path):
        """(descriptor of a directory, name in it) that ``path`` means; the name is no link.

        Nothing need be there.  OSError if the directory isn't.
        """
        for _ in range(_MOST_LINKS):
            above, _, name = path.rstrip("/").rpartition("/")
            if name in ("", ".", ".."):
                raise IsADirectoryError(21, os.strerror(21), path)
            holder = self.open(above or "/", os.O_PATH | os.O_DIRECTORY)
            try:
                target = os.readlink(name, dir_fd=holder)
            except OSError:
                return holder, name  # it isn't a link, or isn't there
            os.close(holder)
            path = target if target.startswith("/") else f"{above}/{target}"
        raise OSError(40, os.strerror(40), path)


def base(path):
    """(name, only what is in it) of a source as it was typed: docker's rule for ``/.``."""
    last = path.rstrip("/").rpartition("/")[2]
    if last in ("", "."):
        return ".", True
    if last == "..":
        last = os.path.basename(os.path.normpath(path))
        return (last, False) if last not in ("", "/", "..") else (".", True)
    return last, False
