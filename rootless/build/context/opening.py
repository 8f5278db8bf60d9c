"""Opening a context: whatever the word on the command line means becomes a directory.

Most contexts are one already: what fetches and unpacks is imported for the others.
"""

import os

from rootless.build.context import lookup, places
from rootless.build.context.errors import (
    BadContainerfile,
    BadContextArchive,
    DownloadFailed,
    NoContext,
    StdinTwice,
)
from rootless.build.copy.known import Known
from rootless.build.copy.sources import Tree
from rootless.kernel import files

_UNKNOWN = object()


class Context:
    """An open context: ``descriptor`` and ``path`` of its directory; ``close`` it.

    ``what`` names it in messages; ``private``: it was made for this build alone.
    """

    def __init__(self, outside, path, private=False, ignorefile=None, what="the build context",
                 resources=(), text=None, shown=None):  # fmt: skip
        self.outside = outside
        self.path = path
        self.private = private
        self.what = what
        self.shown = shown or path
        self._ignorefile = ignorefile
        self._resources = list(resources)
        self._text = text
        self._beside = None
        self._patterns = _UNKNOWN
        self._known = None
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def containerfile(self, name=None):
        """(text, name for messages) of the Containerfile ``name``: a path, ``-``, a URL;
        without it, that of the context.  Raises NoContainerfile, BadContainerfile, ….

        The first one asked for decides which ignore file holds.
        """
        if name == "-":
            return self._from_stdin(), "-"
        if name is not None and places.kind_of(name) == places.URL:
            return read_url(self.outside, name), places.without_secrets(name)
        if name is None and self._text is not None:
            return self._text, self.shown
        found = lookup.containerfile(
            self.descriptor, self.path, name, self.private, self.shown
        )
        if self._beside is None:
            self._beside = found.beside
        return found.text, found.name if name is None else name

    def _from_stdin(self):
        if self.shown == "-":
            raise StdinTwice()
        return read_text(lambda size: os.read(self.outside.stdin, size), "-")

    @property
    def ignore(self):
        """The Patterns of its ignore file; None where there is none.  Raises BadIgnoreFile."""
        if self._patterns is _UNKNOWN:
            self._patterns = lookup.patterns(self.descriptor, self._ignorefile, self._beside)
        return self._patterns

    def source(self, pattern):
        """The copy.sources.Tree for a word of COPY or ADD."""
        if self._known is None and not self.private:
            self._known = Known(self.outside.store, self.path)
        return Tree(self.descriptor, pattern, self.ignore, self.what, self._known)

    def close(self):
        """Remove what was fetched for it; keep what is known of its files."""
        if self._known is not None:
            self._known.save()
            self._known = None
        if self.descriptor != -1:
            os.close(self.descriptor)
            self.descriptor = -1
        for resource in self._resources:
            resource.close()
        self._resources = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def open_context(where, outside, ignorefile=None, what="the build context", keep_git_dir=False):
    """The Context for ``where``: a directory, an archive, ``-``, a URL, a git repository.

    ``outside``: outside.Outside; ``ignorefile``: --ignorefile; ``keep_git_dir``: leave .git
    in a checkout (BUILDKIT_CONTEXT_KEEP_GIT_DIR).  Raises the errors of context.errors,
    http's, BadArchive, NoSpace.
    """
    kind = places.kind_of(where)
    if kind == places.GIT and "://" not in where and os.path.isdir(where):
        kind = places.LOCAL
    common = {"ignorefile": ignorefile, "what": what}
    if kind == places.GIT:
        from rootless.build.context import git

        found = git.Checkout(outside, places.parse_git(where), keep_git_dir)
        return _owning(outside, found.path, found, places.without_secrets(where), common)
    if kind == places.URL:
        from rootless.build.context import fetch

        answer = fetch.Opened(outside, where)
        try:
            return _stream(outside, answer.read, answer.shown, common, "Dockerfile")
        finally:
            answer.close()
    if kind == places.STDIN:
        return _stream(outside, lambda size: os.read(outside.stdin, size), "-", common)
    return _local(outside, where, common)


def _local(outside, where, common):
    try:
        descriptor = os.open(where, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise NoContext(where, error.strerror) from None
    try:
        mode = os.fstat(descriptor).st_mode & 0o170000
        if mode == 0o040000:
            return Context(outside, os.path.abspath(where), shown=where, **common)
        from rootless.build.context import archive

        head = os.pread(descriptor, 1 << 16, 0) if mode == 0o100000 else b""
        if not archive.looks_like_one(head):
            raise NoContext(where, "it is neither a directory nor an archive")
        return _stream(outside, lambda size: os.read(descriptor, size), where, common)
    finally:
        os.close(descriptor)


def _stream(outside, read, shown, common, name=None):
    """The Context for a stream: an archive, or a Containerfile and nothing else.

    ``name``: what the Containerfile is called in the context, if it is to be there.
    """
    from rootless.build.context import archive

    head = archive.head_of(read)
    found = archive.looks_like_one(head)
    if found is None:
        raise BadContextArchive(shown, "it is compressed, but no tar archive")
    if found:
        return _unpacked(outside, head, read, shown, common)
    text = read_text(_prefixed(head, read), shown)
    work = _Work(outside.store.tmp.make("context"))
    try:
        os.mkdir("files", 0o700, dir_fd=work.descriptor)
        path = f"{work.path}/files"
        if name:
            directory = os.open(path, files.DIRECTORY)
            try:
                data = text.encode("utf-8", "surrogateescape")
                files.write_atomic(directory, name, data, 0o644, sync=False)
            finally:
                os.close(directory)
        return _owning(outside, path, work, shown, common, text)
    except BaseException:
        work.close()
        raise


def _unpacked(outside, head, read, shown, common):
    from rootless.build.context import archive

    made = archive.Extraction(outside.store, shown)
    try:
        made.write(head)
        while piece := read(1 << 20):
            made.write(piece)
        made.finish()
        return _owning(outside, made.path, made, shown, common)
    except BaseException:
        made.close()
        raise


def _owning(outside, path, resource, shown, common, text=None):
    try:
        return Context(
            outside, path, True, resources=[resource], shown=shown, text=text, **common
        )
    except BaseException:
        resource.close()
        raise


class _Work:
    """A tmp.Workdir with ``close``."""

    def __init__(self, work):
        self.path = work.path
        self.descriptor = work.descriptor
        self.close = work.remove


def _prefixed(head, read):
    def more(size):
        nonlocal head
        if head:
            data, head = head[:size], head[size:]
            return data
        return read(size)

    return more


def read_text(read, shown):
    """A Containerfile from a stream (str).  Raises BadContainerfile."""
    chunks, left = [], lookup.LIMIT
    while data := read(min(left + 1, 1 << 16)):
        left -= len(data)
        if left < 0:
            raise BadContainerfile(shown, f"it is longer than {lookup.LIMIT >> 20} MiB")
        chunks.append(data)
    data = b"".join(chunks)
    if b"\0" in data:
        raise BadContainerfile(shown, "it is neither text nor an archive")
    return lookup.decode(data)


def read_url(outside, url):
    """A Containerfile from the web (str)."""
    from rootless.build.context import fetch

    answer = fetch.Opened(outside, url)
    try:
        if answer.size is not None and answer.size > lookup.LIMIT:
            raise DownloadFailed(url=answer.shown, why="it is too long for a Containerfile")
        return read_text(answer.read, answer.shown)
    finally:
        answer.close()
