"""Which Containerfile and which ignore file hold: podman's and BuildKit's rules.

What is looked up in a context is opened beneath it: a link that leads out of the context is
an error, not a way to read other files of this machine (CVE-2022-4122).  What is named on the
command line and lies elsewhere is the user's own choice.
"""

import errno
import os

from rootless.build.context.errors import BadContainerfile, BadIgnoreFile, NoContainerfile
from rootless.build.language import ignore
from rootless.kernel import files

NAMES = ("Containerfile", "Dockerfile")
IGNORES = (".containerignore", ".dockerignore")
LIMIT = 8 << 20
_OUT = {
    errno.EXDEV: "it is a link that leads out of the context",
    errno.ELOOP: "it is a link that leads out of the context, or in circles",
    errno.EISDIR: "it is a directory",
    errno.EFBIG: f"it is longer than {LIMIT >> 20} MiB",
}
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MISSING = (errno.ENOENT, errno.ENOTDIR)


def read_beneath(root, path, limit=LIMIT):
    """The bytes of the ordinary file ``path`` (str) below the descriptor ``root``.

    Links are followed as long as they stay inside.  OSError: EXDEV where one leads out, EINVAL
    for what is no ordinary file, EFBIG beyond ``limit``; never waits.
    """
    descriptor = _open_beneath(root, path)
    try:
        return _content(descriptor, path, limit)
    finally:
        os.close(descriptor)


def _open_beneath(root, path):
    beneath = files.RESOLVE_BENEATH | files.RESOLVE_NO_MAGICLINKS
    try:
        return files.openat2(root, path, _FLAGS, resolve=beneath)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return files.open_beneath(root, path, _FLAGS)  # no openat2 here: no link at all, then


def _content(descriptor, path, limit):
    status = os.fstat(descriptor)
    if status.st_mode & 0o170000 == 0o040000:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if status.st_mode & 0o170000 != 0o100000:
        raise OSError(errno.EINVAL, "it is not an ordinary file", path)
    chunks, left = [], limit + 1
    while left > 0 and (chunk := os.read(descriptor, left)):
        chunks.append(chunk)
        left -= len(chunk)
    if left <= 0:
        raise OSError(errno.EFBIG, _OUT[errno.EFBIG], path)
    return b"".join(chunks)


def decode(data):
    """Text of a Containerfile or ignore file; what isn't UTF-8 comes through unchanged."""
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def why(error):
    """What an OSError means here."""
    return _OUT.get(error.errno) or error.strerror


class Found:
    """A Containerfile: ``text``, ``name`` for messages, and where its ignore file may be:
    ``beside`` is a path below the context, or an absolute one; None for no place at all."""

    def __init__(self, text, name, beside):
        self.text = text
        self.name = name
        self.beside = beside


def containerfile(root, top, name, private, shown):
    """The Found for ``-f name``, or without it (None) for the first default name.

    ``root``: descriptor of the context, ``top``: its absolute path, ``private``: it was
    fetched, so that a relative name means a file in it; else the working directory comes
    first, as in podman.  A directory stands for the default names in it.  ``shown``: the
    context in messages.
    """
    if name is None:
        return _first(root, "", shown)
    for where, path in _candidates(root, top, name, private):
        found = _try(where, path, name, shown)
        if found is not None:
            return found
    raise BadContainerfile(name, "it isn't there")


def _candidates(root, top, name, private):
    """Where ``-f name`` may be, in order: (root, path below the context) or (None, path)."""
    absolute = os.path.abspath(name)
    in_context = []
    if not os.path.isabs(name):
        in_context.append((root, os.path.normpath(name)))
    if private:
        return [*in_context, (None, absolute)]
    # What lies in the context is read as a part of it, however it is written.
    directory, base = os.path.split(absolute)
    real = os.path.join(os.path.realpath(directory), base)
    for path, above in ((absolute, os.path.abspath(top)), (real, os.path.realpath(top))):
        if path == above or path.startswith(above.rstrip("/") + "/"):
            return [(root, os.path.relpath(path, above)), *in_context]
    return [(None, absolute), *in_context]


def _try(root, path, name, shown):
    """The Found of one candidate; None if nothing is there."""
    if root is not None and (path == ".." or path.startswith("../")):
        return None
    try:
        if root is not None:
            return Found(decode(read_beneath(root, path)), name, path)
        descriptor = os.open(path, _FLAGS)
        try:
            return Found(decode(_content(descriptor, path, LIMIT)), name, path)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.EISDIR:
            if root is not None:
                return _first(root, "" if path == "." else path, shown)
            inner = os.open(path, files.DIRECTORY)
            try:
                found = _first(inner, "", path)
                found.beside = f"{path}/{found.beside}"
                return found
            finally:
                os.close(inner)
        if error.errno not in _MISSING:
            raise BadContainerfile(name, why(error)) from None
    return None


def _first(root, below, shown):
    for name in NAMES:
        path = f"{below}/{name}" if below else name
        try:
            return Found(decode(read_beneath(root, path)), name, path)
        except OSError as error:
            if error.errno not in _MISSING:
                raise BadContainerfile(path, why(error)) from None
    raise NoContainerfile(f"{shown}/{below}" if below else shown)


# --- ignore files --------------------------------------------------------------------------


def patterns(root, named, beside):
    """The Patterns that hold in a context, None if there are none.

    ``named``: --ignorefile, from the working directory; ``beside``: Found.beside or None.
    First NAME.containerignore and NAME.dockerignore beside the Containerfile, then the
    context's own.
    """
    if named is not None:
        try:
            descriptor = os.open(named, _FLAGS)
            try:
                return _read(_content(descriptor, named, LIMIT), named)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise BadIgnoreFile(named, why(error)) from None
    candidates = []
    if beside is not None:
        candidates += [beside + ending for ending in IGNORES]
    for path in (*candidates, *IGNORES):
        try:
            if path.startswith("/"):
                descriptor = os.open(path, _FLAGS)
                try:
                    data = _content(descriptor, path, LIMIT)
                finally:
                    os.close(descriptor)
            else:
                data = read_beneath(root, path)
        except OSError as error:
            if error.errno in _MISSING:
                continue
            raise BadIgnoreFile(path, why(error)) from None
        return _read(data, path)
    return None


def _read(data, name):
    found = ignore.read(decode(data), name)
    return found if found else None
