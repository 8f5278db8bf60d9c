"""rl __complete: the names that the completions of the shells offer."""

import os

from rootless.cli import output
from rootless.errors import RlError

_HUB = ("docker.io/library/", "docker.io/")


def main(engine, request):
    """Print the names of one kind, one a line; nothing at all where something is wrong."""
    (kind,) = request.args
    for name in sorted(set(names(engine, kind))):
        output.line(name)
    return 0


def names(engine, kind):
    """The names of "container", "image", "volume", "network" or "any": a list of str."""
    if not os.path.isdir(engine.config.root):
        return []  # pressing Tab makes no store
    found = []
    for reader in _READERS.get(kind, ()):
        try:
            found += reader(engine)
        except RlError:
            continue  # a shell's prompt is no place for an error
    return found


def _containers(engine):
    from rootless.engine import records

    return [record["name"] for record in records.everything(engine)]


def _volumes(engine):
    from rootless.engine import volumes

    return volumes.names(engine)


def _networks(engine):
    from rootless.engine import networks

    return networks.names(engine)


def _images(engine):
    return [_familiar(name) for record in engine.store.images.list() for name in record["names"]]


def _familiar(name):
    """A name as people type it: docker.io/library/debian:latest is debian:latest."""
    return next((name[len(start) :] for start in _HUB if name.startswith(start)), name)


_READERS = {
    "any": (_containers, _images, _volumes),
    "container": (_containers,),
    "image": (_images,),
    "network": (_networks,),
    "volume": (_volumes,),
}
