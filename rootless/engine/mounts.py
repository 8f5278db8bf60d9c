"""``rl mount`` and ``rl unmount``: containers' roots in the mounts of ``rl unshare``.

The kernel's own list of mounts (/proc/self/mountinfo, proc(5)) is all the state there is:
the mounts go with the namespace they were made in.
"""

import os

from rootless.engine import contents, records
from rootless.errors import RlError
from rootless.kernel import mount as mounting
from rootless.kernel import userns
from rootless.store.drivers import mounting as roots

_EBUSY = 16
INSIDE = "_RL_UNSHARE"


class NotInside(RlError):
    """containers can be mounted only where mounting is possible: inside rl unshare"""

    hint = "rl unshare sh -c 'ls $(rl mount CONTAINER)', or rl unshare for a shell"


class NotMounted(RlError):
    """container {0} is not mounted here"""

    hint = "rl mount lists what is"


class InUse(RlError):
    """the root of container {0} is in use: {1}"""

    hint = "leave it, or detach it anyway: rl unmount --force {0}"


class CannotMount(RlError):
    """cannot mount the root of container {0}: {1}"""

    hint = "rl info says which storage drivers work here"


def _check(engine):
    if INSIDE not in engine.config.environ or not userns.may_set_ids():
        raise NotInside()


def point(engine, record):
    """Where a container's root is mounted (absolute str)."""
    return f"{os.path.realpath(engine.config.root)}/containers/{record['id']}/root"


def mounted():
    """The mount points of this mount namespace (a set of str)."""
    with open("/proc/self/mountinfo", "rb", 0) as file:
        lines = file.read().split(b"\n")
    return {_unescape(line.split(b" ")[4]) for line in lines if line}


def _unescape(field):
    """Blanks, newlines and backslashes are octal in mountinfo."""
    head, *parts = field.split(b"\\")
    for part in parts:
        head += bytes((int(part[:3], 8),)) + part[3:]
    return os.fsdecode(head)


def listing(engine):
    """(record, mount point) of every container that is mounted here."""
    _check(engine)
    here = mounted()
    return [(record, point(engine, record)) for record in records.everything(engine)
            if point(engine, record) in here]


def mount(engine, record):
    """Mount a container's root; (its path, True if it can only be read).

    That of a running container is mounted by the container already: a second mount that
    writes would be undefined (overlayfs.rst, "Sharing and copying layers").
    """
    _check(engine)
    target = point(engine, record)
    live = bool(records.state(engine, record)["alive"])
    if target in mounted():
        return target, live
    if record.get("capped"):
        from rootless.engine import capped

        if live:
            raise capped.Elsewhere(record["name"])
        capped.check_kept(record, "it is not running")
    rootfs = {**contents.prepare(engine, record), "uidmapping": [], "gidmapping": []}
    try:
        if rootfs["driver"] == "clone":
            tree = mounting.clone_tree(rootfs["path"])
            where = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            mounting.attach(tree, where)
            os.close(where)
            os.close(tree)
            return target, False
        root, _ = roots.mount_rootfs(rootfs, target, not live, apart=False)
        os.close(root)
    except OSError as error:
        raise CannotMount(record["name"], error.strerror) from None
    return target, live


def unmount(engine, record, force=False):
    """Take a container's root away again; NotMounted, InUse."""
    _check(engine)
    target = point(engine, record)
    if target not in mounted():
        raise NotMounted(record["name"])
    try:
        mounting.unmount(target, mounting.MNT_DETACH if force else 0)
    except OSError as error:
        if error.errno != _EBUSY:
            raise CannotMount(record["name"], error.strerror) from None
        raise InUse(record["name"], "a program has a file or a directory of it open") from None


def sweep(root):
    """Unmount all that is mounted below the store ``root``, so that the servers of FUSE end.

    Returns how many mounts that were.
    """
    base = f"{os.path.realpath(root)}/containers/"
    count = 0
    for path in mounted():
        if path.startswith(base):
            try:
                mounting.unmount(path)
                count += 1
            except OSError:
                pass
    return count
