"""What a build reads: its file or files, the context, the contexts of --build-context."""

import os

from rootless.build.context import opening, places
from rootless.build.context.outside import Outside
from rootless.build.language import parse
from rootless.engine.build import arguments
from rootless.errors import RlError

_KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
# Lines that do something; "#if it is so" may be a comment, "# define" is one.
_PREPROCESSOR = ("include", "define", "undef", "ifdef", "ifndef")
_IMAGES = ("docker-image://", "container-image://", "oci-layout://")


class BadContext(RlError):
    """--build-context {0!r}: expected NAME=PLACE"""

    hint = "such as --build-context src=../src or --build-context base=docker-image://debian:12"


class NeedsPreprocessor(RlError):
    """{name}, line {line}: {word} is of the C preprocessor, which rl doesn't run"""

    hint = "do it before: cpp -E -P {name} | rl build -f - ."


class Inputs:
    """Everything open; a context that closes it.

    document   parse.Document of the file, or of all files joined
    outside    context.outside.Outside: the way to what isn't here
    context    opening.Context of the build
    named      {name: opening.Context} of --build-context that are files
    trees      {name: what was typed} of the same
    images     {name: what was typed} of those that stand for images
    """

    def __init__(self, engine, options, only_file=False):
        self.options = options
        self._opened = []
        self.named, self.trees, self.images = {}, {}, {}
        self.outside = Outside(
            engine.store, engine.config.environ, engine.program,
            attempts=1 + (3 if options.retry is None else options.retry),
            delay=1.0 if options.retry_delay is None else options.retry_delay,
        )  # fmt: skip
        try:
            values = arguments.given(options, engine.config.environ)
            self.context = self._open(
                _place(options), "the build context", options.ignorefile,
                values.get(_KEEP_GIT_DIR) in ("1", "true"),
            )  # fmt: skip
            self.document = self._documents(self.context)
            for text in () if only_file else options.build_context:
                self._add(text)
        except BaseException:
            self.close()
            raise

    def _open(self, where, what, ignorefile=None, keep_git_dir=False):
        opened = opening.open_context(where, self.outside, ignorefile, what, keep_git_dir)
        self._opened.append(opened)
        return opened

    def _documents(self, opened):
        found = []
        for name in self.options.file or (None,):
            text, shown = opened.containerfile(name)
            if shown.endswith(".in"):
                _check_preprocessed(text, shown)
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
        self.named[name] = self._open(place, f"the context {name}")

    def close(self):
        """Close what is open, and remove what was fetched."""
        while self._opened:
            self._opened.pop().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _check_preprocessed(text, name):
    """Refuse what podman would give to cpp(1): its lines would be comments here, and the image
    another one.  To run it isn't safe, either: #include reads any file of the caller's."""
    for number, line in enumerate(text.splitlines(), 1):
        word = f"{line} ".split(None, 1)[0] if line.startswith("#") else ""
        if word[1:] in _PREPROCESSOR:
            raise NeedsPreprocessor(name=name, line=number, word=word)


def _place(options):
    if options.context is not None:
        return options.context
    for name in options.file:
        if name != "-" and places.kind_of(name) == places.LOCAL:
            return os.path.dirname(name) or "."
    return "."
