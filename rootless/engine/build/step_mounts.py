"""RUN --mount: what each mount shows, as steps of the set-up of the container."""

import os
import posixpath

from rootless.build.steps import caches, ops
from rootless.build.steps import run as steps
from rootless.errors import RlError
from rootless.kernel import mount
from rootless.runtime import binds
from rootless.store.drivers.overlay import stacked

_WHITEOUT = 0o020000


class BadTarget(RlError):
    """--mount=target={0}: {1}"""

    hint = "name a directory or file of the image, such as /mnt"


class NeedsOverlay(RlError):
    """a mount of {0} needs overlayfs, which does not work here"""

    hint = "COPY --from={0} brings the files into the stage; rl doctor says what is in the way"


class Mounts:
    """The mounts of one step.

    step     build.steps.run.RunStep
    store    the open store
    home     path of the step's working directory
    overlay  whether overlayfs can be used
    owners   whether files can have owners: with one id they all belong to that
    entries  for the specification; environ  variables that secrets and agents give
    locks    descriptors to be closed when the step is over
    relays   (listening socket, path of the agent's socket)
    """

    def __init__(self, step, store, home, overlay, owners=True):
        self.step = step
        self.store = store
        self.home = home
        self.overlay = overlay
        self.owners = owners
        self.entries, self.environ, self.locks, self.relays = [], [], [], []
        self._private = []
        self._taken = {}  # by id: who has a cache need not wait for it again
        self._count = 0

    def make(self):
        """Look at every mount; what was opened is in ``locks`` even if one raises."""
        for one in sorted(
            (one for one in self.step.mounts if isinstance(one, steps.Cache)), key=_name
        ):
            # In one order in all builds, so that no two wait for each other.
            if one.sharing != "private":
                self._take(one)
        for one in self.step.mounts:
            maker = getattr(self, "_" + type(one).__name__.lower())
            op = maker(one, None if one.target is None else self._target(one.target))
            if op is not None:
                self._add(one, op)

    def _add(self, one, op):
        if isinstance(op, dict):
            self.entries.append(op)
        else:
            self.entries.append({"type": "ops", "destination": op.destination, "ops": [op]})

    def place(self, plan):
        """The steps ``plan`` with what the mounts need before all others."""
        if not self._private:
            return plan
        path = self._directory("private")
        return [plan[0], ops.Private(path, self._private), *plan[1:]]

    def _target(self, text):
        path = posixpath.normpath(posixpath.join("/", self.step.cwd, text))
        if path == "/":
            raise BadTarget(text, "it is the root of the image")
        return path

    def _directory(self, name, mode=0o700):
        path = f"{self.home}/{name}"
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            return path
        os.chmod(path, mode)
        return path

    def _place(self, kind, mode=0o700):
        self._directory("mounts")
        self._count += 1
        return self._directory(f"mounts/{self._count}-{kind}", mode)

    # --- one for each kind ---

    def _bind(self, one, target):
        rootfs, what = self._origin(one.origin, not one.readonly)
        attributes = mount.MOUNT_ATTR_RDONLY if one.readonly else 0
        return ops.Within(rootfs, one.source, target, attributes, self._place("at"), what)

    def _cache(self, one, target):
        if one.sharing == "private":
            taken = caches.take(self.store, one.id, one.sharing)
            self.locks.append(taken.lock)
        else:
            taken = self._taken[one.id]
        fresh, taken.fresh = taken.fresh, None  # the first mount of it makes it ready
        origin = None
        if fresh and one.origin is not None:
            rootfs, what = self._origin(one.origin, False)
            origin = (rootfs, one.source, self._place("at"), what)
        owner = (one.mode, *self._owner(one))
        return ops.Cache(taken.path, target, fresh, owner, origin, one.readonly)

    def _take(self, one):
        if one.id not in self._taken:
            self._taken[one.id] = caches.take(self.store, one.id, one.sharing)
            self.locks.append(self._taken[one.id].lock)

    def _tmpfs(self, one, target):
        words = ["nosuid", "nodev", "mode=1777"]
        if one.size is not None:
            words.append(f"size={one.size}")
        return {"type": "tmpfs", "source": "tmpfs", "destination": target, "options": words}

    def _secret(self, one, target):
        if one.env:
            self.environ.append(f"{one.env}={os.fsdecode(one.data)}")
        if target is None:
            return None
        name = str(len(self._private))
        self._private.append((name, one.data, one.mode, *self._owner(one)))
        attributes = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
        return binds.Bind(f"{self.home}/private/{name}", target, False, attributes)

    def _agent(self, one, target):
        from rootless.engine.build.step_agent import listen

        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in self.environ):
            self.environ.append(f"SSH_AUTH_SOCK={target}")
        path = f"{self._place('agent')}/socket"
        self.relays.append((listen(path), one.socket))
        return ops.Socket(path, target, one.mode, *self._owner(one))

    def _owner(self, one):
        return (one.uid, one.gid) if self.owners else (-1, -1)

    # --- where files come from ---

    def _origin(self, origin, write):
        """(rootfs for ops.open_tree, the origin in words)."""
        if isinstance(origin, steps.Tree):
            mask = self._mask(origin) if origin.ignored else None
            if mask is None and not write:
                return origin.path, "the build context"
            return self._union([*([mask] if mask else []), origin.path], write,
                               "the build context")  # fmt: skip
        paths = self.store.layers.paths(origin.diff_ids) if origin is not None else []
        return self._union(stacked(paths), write, "the stage or image")

    def _union(self, lowers, write, what):
        if not self.overlay:
            raise NeedsOverlay(what)
        # Without an upper directory overlayfs wants two lower ones.
        lowers = [*lowers, self._place("empty", 0o755)]
        if not write:
            if len(lowers) == 1:
                lowers.append(self._place("empty", 0o755))
            return {"lowers": lowers, "options": ["userxattr"]}, what
        mode = os.stat(lowers[0]).st_mode & 0o7777
        upper, work = self._place("upper", mode), self._place("work")
        return {"lowers": lowers, "upper": upper, "work": work,
                "options": ["userxattr", "volatile"]}, what  # fmt: skip

    def _mask(self, tree):
        """A directory of whiteouts over all of ``tree`` that is ignored; None if nothing is."""
        top = self._place("mask", os.stat(tree.path).st_mode & 0o7777)
        return top if _mask(tree, os.fsencode(tree.path), os.fsencode(top)) else None


def _name(cache):
    return cache.id


def _mask(tree, source, mask):
    """Put whiteouts into ``mask`` for what of ``source`` is ignored; whether there are any.

    Directories are made where something in them is hidden, and get the mode and times of
    those they stand over.  A list of those under way, not recursion: paths may be deep.
    """
    made = []  # (path in the mask, its original's status), those above first
    have = {b""}
    found = False
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        with os.scandir(os.path.join(source, path)) as entries:
            for entry in entries:
                here = path + b"/" + entry.name if path else entry.name
                directory = entry.is_dir(follow_symlinks=False)
                if tree.ignored(here, directory):
                    _directories(source, mask, path, have, made)
                    os.mknod(os.path.join(mask, here), _WHITEOUT, 0)
                    found = True
                elif directory:
                    waiting.append(here)
    for below, status in reversed(made):
        os.chmod(below, status.st_mode & 0o7777)
        os.utime(below, ns=(status.st_atime_ns, status.st_mtime_ns))
    return found


def _directories(source, mask, path, have, made):
    """Make the directory ``path`` of the mask, and those above it."""
    missing = []
    while path not in have:
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        have.add(one)
        os.mkdir(os.path.join(mask, one), 0o700)
        made.append((os.path.join(mask, one), os.lstat(os.path.join(source, one))))
