"""The writable layer of a container: three ways to have one, best first.

    overlay          the kernel's overlayfs, mounted inside the user namespace (userxattr)
    fuse-overlayfs   the same in user space; it can also show owners shifted (keep-id)
    clone            one merged copy per container, sharing blocks where the file system can

A driver makes the directories and says in a plain dict, the *rootfs*, what the runtime has
to mount.  In every container's directory: ``upper`` and ``work``, or ``rootfs``.
"""

from rootless.errors import RlError

LADDER = ("overlay", "fuse-overlayfs", "clone")


class NoDriver(RlError):
    """the storage driver {name} doesn't work here: {reason}"""

    hint = "rl doctor says what is in the way; without --storage-driver rl takes one that works"


class UnknownDriver(RlError):
    """there is no storage driver {0!r}"""

    hint = "the drivers are overlay, fuse-overlayfs and clone"


def probe(store, program=None):
    """Try all drivers on this store's file system: a list of {"rung", "ok", "reason"}.

    ``program``: the absolute path of fuse-overlayfs, or None.  The result may be kept
    until the kernel, the helper or the store's place changes.
    """
    from rootless.store.drivers import probing

    return probing.probe(store, program)


def choose(store, config=None, rows=None, program=None, shifted=False):
    """The driver to use for a new container.

    ``config.storage_driver`` names one, else the best that ``rows`` (a result of ``probe``,
    by default a fresh one) says works.  ``shifted``: the container shows owners other than
    the store's, which the kernel's overlay can't do for us: the next rungs can.
    """
    if rows is None:
        rows = probe(store, program)
    wanted = getattr(config, "storage_driver", None)
    if wanted:
        reason = _problem(rows, wanted)
        if reason is not None:
            raise NoDriver(name=wanted, reason=reason)
        if not (shifted and wanted == "overlay"):
            return named(store, wanted, program)
    for name in LADDER:
        if shifted and name == "overlay":
            continue
        if _problem(rows, name) is None:
            return named(store, name, program)
    raise NoDriver(name="clone", reason=_problem(rows, "clone"))


def _problem(rows, name):
    for row in rows:
        if row["rung"] == name:
            return None if row["ok"] else row["reason"]
    return "it was not tried"


def named(store, name, program=None):
    """The driver called ``name``, as a container's record has it; UnknownDriver."""
    if name == "overlay":
        from rootless.store.drivers.overlay import Overlay

        return Overlay(store)
    if name == "fuse-overlayfs":
        from rootless.store.drivers.fuse import FuseOverlay

        return FuseOverlay(store, program)
    if name == "clone":
        from rootless.store.drivers.clone import Clone

        return Clone(store)
    raise UnknownDriver(name)
