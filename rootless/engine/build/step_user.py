"""Who a step runs as where only one id is mapped: the user's number then stands for it.

Elsewhere root of the step's user namespace becomes the user.  With one id there is nobody else
to become, so the namespace has that user's number in place of root's.
"""

import os

from rootless.build.copy import view
from rootless.kernel import files
from rootless.model.idmap import Ids, Range
from rootless.runtime import users


def ids_for(engine, step):
    """The Ids of a step's user namespace."""
    ids = engine.ids
    if not ids.single or step.user in ("", "0", "root", "0:0", "root:root"):
        return ids
    stack = view.Stack(engine.store.layers.paths(step.layers))
    try:
        texts = [_read(stack, path) for path in (b"etc/passwd", b"etc/group")]
    finally:
        stack.close()
    found = users.resolve(step.user, *texts)
    maps = ((ids.uids[0], found.uid), (ids.gids[0], found.gid))
    uids, gids = ([Range(number, one.outside, 1)] for one, number in maps)
    return Ids(uids, gids, ids.rung, ids.direct, ids.programs)


def _read(stack, path):
    place = view.resolve(stack, path)
    if place is None or place.kind != view.IFREG:
        return None
    descriptor = files.open_beneath(place.descriptor, place.path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, users.LIMIT)
    finally:
        os.close(descriptor)


def mine(ids):
    """(uid, gid) that root of the namespace, or who stands for it, has inside."""
    return (ids.uids[0].inside, ids.gids[0].inside) if ids.single else (0, 0)
