"""Containers whose root is nobody to the caller: ``--userns auto``, ``nomap``, ``--uidmap``.

What the caller owns, the 0700 store above all, is closed to a user namespace that has no id
for the caller.  So P2 makes two, one in the other:

    the caller's  ──►  A: the store's own map  ──►  B: the container's map
                       opens everything there       makes all other namespaces, runs P3

In A, with a mount namespace of its own, every step takes hold of what it needs of the host
as detached mounts (open_tree(2)): descriptors that work in B however closed the way to them
is.  fuse-overlayfs serves from A too: B is below the namespace that its mount belongs to,
so the kernel lets B's processes in (allow_other, fuse(4)), and nothing of B can touch it.
"""

import os

from rootless.errors import RlError
from rootless.model.idmap import Ids, relative, to_inside, to_outside
from rootless.runtime.init import Stage, run_step


class NoOwner(RlError):
    """user {0}:{1} of the container does not exist outside it: it cannot own files"""

    hint = "map it with --uidmap and --gidmap, or run as another --user"


def needed(ids, uid, gid):
    """True if a namespace with ``ids`` has nobody for the caller's ``uid`` or ``gid``."""
    return to_inside(ids.uids, uid) is None or to_inside(ids.gids, gid) is None


def below(ids, around):
    """``ids`` with the outside numbers of a namespace mapped by ``around``."""
    return Ids(relative(ids.uids, around.uids), relative(ids.gids, around.gids), ids.rung,
               direct=True)


class Outside(Stage):
    """The stage as A sees it: owners are what the container's are called there."""

    def owner_of(self, wanted):
        inner = super().owner_of(wanted)
        maps = (("uids", inner[0]), ("gids", inner[1]))
        outer = [to_outside(getattr(self.job.ids, kind), number) for kind, number in maps]
        if None in outer:
            raise NoOwner(*inner)
        around = self.job.store_ids
        return to_inside(around.uids, outer[0]), to_inside(around.gids, outer[1])


def gather(job):
    """In A: let every step open what it needs, then stand on the target.

    The container's root is attached to the working directory later: see ops.MountRoot.
    """
    stage = Outside(job)
    for step in job.plan:
        run_step(step, stage, "gather")
    os.chdir(job.target)
