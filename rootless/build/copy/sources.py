"""The sources of a COPY or ADD, one for each word of the instruction.

A source is made by the one who knows where files are; ``open()``, called in the child, gives
its view.  ``pattern`` is the word as written, expanded: a path from the top of the view, with
wildcards.
"""

import hashlib
import os

from rootless.build.copy import view


class Tree:
    """Files of a directory: the build context, or a named one.

    ``root``: its descriptor, or a path; ``ignore``: Patterns (language.ignore) or None;
    ``what``: the name of it in messages; ``known``: a known.Known table of its files, or None.
    """

    archives = True

    def __init__(self, root, pattern, ignore=None, what="the build context", known=None):
        self.root = root
        self.pattern = pattern
        self.ignore = ignore
        self.what = what
        self.known = known

    def open(self):
        root = self.root
        if not isinstance(root, int):
            root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return view.Directory(root, self.ignore, self.what)


class Layers:
    """Files of a stage or image: ``paths`` of the layers' trees, bottom first.

    Owners are kept unless the step names one.
    """

    archives = False
    known = None

    def __init__(self, paths, pattern, what="the stage"):
        self.paths = list(paths)
        self.pattern = pattern
        self.what = what

    def open(self):
        return view.Stack(self.paths, self.what)


class Inline:
    """A heredoc: a file ``name`` (str) with ``data`` (bytes)."""

    archives = False

    def __init__(self, name, data):
        self.name = name
        self.data = data


class Download:
    """A file that was fetched (context.adding): ``name``, ``descriptor`` of its content,
    ``mtime`` in seconds (None if nobody knows it)."""

    archives = False

    def __init__(self, name, descriptor, mtime=None):
        self.name = name
        self.descriptor = descriptor
        self.mtime = mtime

    def digest(self):
        """The digest of its content (bytes)."""
        hasher = hashlib.sha256()
        for piece in self.read()[1]:
            hasher.update(piece)
        return hasher.digest()

    def read(self):
        """Its size, and its pieces (bytes) from the start."""
        size = os.fstat(self.descriptor).st_size
        return size, _pieces(self.descriptor, size)


def _pieces(descriptor, size):
    at = 0
    while at < size:
        piece = os.pread(descriptor, min(size - at, 1 << 20), at)
        if not piece:
            raise OSError(5, "a downloaded file became shorter")
        at += len(piece)
        yield piece
