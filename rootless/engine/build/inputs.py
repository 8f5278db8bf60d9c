"""What a build reads: its file or files, the context, the contexts of --build-context."""

import os

from rootless.build import context as contexts
from rootless.build.copy import sources
from rootless.build.language import parse
from rootless.errors import RlError

_IMAGES = ("docker-image://", "container-image://", "oci-layout://")


class BadContext(RlError):
    """--build-context {0!r}: expected NAME=PLACE"""

    hint = "such as --build-context src=../src or --build-context base=docker-image://debian:12"


class Inputs:
    """Everything open; a context that closes it.

    document   parse.Document of the file, or of all files joined
    context    Files of the build's context, None if it has none
    named      {name: Files} of --build-context that are files
    trees      {name: what was typed} of the same
    images     {name: what was typed} of those that stand for images
    """

    def __init__(self, engine, options, only_file=False):
        self.engine = engine
        self.options = options
        self._opened = []
        self.named, self.trees, self.images = {}, {}, {}
        self.context = None
        try:
            opened = self._open(_place(options), options.file, options.ignorefile)
            self.document = self._documents(opened)
            if opened.root_fd is not None:
                self.context = Files(opened, "the build context")
            if not only_file:
                for text in options.build_context:
                    self._add(text)
        except BaseException:
            self.close()
            raise

    def _open(self, where, file=(), ignorefile=None):
        opened = contexts.open_context(
            where, file=file, ignorefile=ignorefile, tmp=self.engine.store.tmp,
            fetch=self._fetch(),
        )  # fmt: skip
        self._opened.append(opened)
        return opened

    def _fetch(self):
        return None

    def _documents(self, opened):
        found = []
        for name in self.options.file or (None,):
            text, shown = opened.containerfile(name)
            found.append(parse.parse(text, shown))
        return found[0] if len(found) == 1 else parse.join(found)

    def _add(self, text):
        name, equals, place = text.partition("=")
        if not (name and equals and place):
            raise BadContext(text)
        name = name.lower()
        if place.startswith(_IMAGES):
            self.images[name] = place
            return
        self.trees[name] = place
        self.named[name] = Files(self._open(place), f"the context {name}")

    def close(self):
        """Close what is open, and remove what was fetched."""
        while self._opened:
            self._opened.pop().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Files:
    """An open context as a source of files; ``what`` is its name in messages."""

    def __init__(self, opened, what):
        self.opened = opened
        self.what = what

    def source(self, pattern):
        """The copy source for ``pattern`` (a path from the top, with wildcards)."""
        return sources.Tree(self.opened.root_fd, pattern, self.opened.ignore, self.what)


def _place(options):
    if options.context is not None:
        return options.context
    for name in options.file:
        if name != "-" and "://" not in name:
            return os.path.dirname(name) or "."
    return "."
