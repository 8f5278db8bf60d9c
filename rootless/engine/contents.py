"""Where the files of a container are: what diff, export, commit, cp and mount share."""

import os

from rootless.engine import assemble, records
from rootless.errors import RlError
from rootless.kernel import files, userns

# What setting a container up puts into its root, beside the places of its mounts: none of it
# is the container's own doing.
_PLACED = ("/etc/mtab",)


class Kept:
    """For a ``with`` around reading a container's files from outside.

    Nobody starts or removes one that is stopped meanwhile; it still shows as stopped.  If
    it was running and is gone half-way, what was missing then is NoContainer.
    """

    def __init__(self, engine, record):
        self.engine = engine
        self.record = record
        self.alive = self.layer = None

    def __enter__(self):
        self._hold()
        if self.record.get("capped"):
            self.engine.layers[self.record["id"]] = self
        return self

    def home(self):
        """Where the directories of a layer that has a size are, opened when first asked for."""
        if self.layer is None:
            from rootless.engine.capped import Layer

            self.layer = Layer(self.engine, self.record)
        return self.layer.path

    def _hold(self):
        container_id = self.record["id"]
        run_dir = records.run_directory(self.engine, container_id)
        try:
            alive = records.open_life(run_dir)
        except OSError:
            return  # the directory of another session, which is over
        free = files.lock(alive, exclusive=False, wait=False)
        if free and records.is_current(self.engine, container_id, run_dir, alive):
            self.alive = alive
            return
        gone = not os.path.isdir(records.directory(self.engine, container_id))
        if free and gone and records.in_place(run_dir, alive):
            records.drop_run_directory(run_dir)
        os.close(alive)
        if gone:
            raise records.NoContainer(self.record["name"])

    def __exit__(self, kind, error, _):
        if self.record.get("capped"):
            del self.engine.layers[self.record["id"]]
        if self.layer is not None:
            self.layer.close()
        if self.alive is not None:
            os.close(self.alive)
        gone = isinstance(error, (FileNotFoundError, userns.ChildDied))
        if gone and not os.path.isdir(records.directory(self.engine, self.record["id"])):
            raise records.NoContainer(self.record["name"]) from None


class OwnRoot(RlError):
    """container {0} runs on a root directory of its own (--rootfs), not on an image"""

    hint = "its files are in that directory: {1}"


def place(engine, record):
    """(driver, directory, paths of its layers) of a container that has an image, and is Kept.

    The root is prepared if it never was, so all three can be used.  Raises OwnRoot, and
    RungChanged where its files can't be understood any more.
    """
    if record["rootfs"]:
        raise OwnRoot(record["name"], record["rootfs"])
    if record["rung"] != engine.ids.rung:
        raise assemble.RungChanged(record["name"], record["rung"], engine.ids.rung)
    if not has_root(engine, record):
        prepare(engine, record)
    if record.get("capped"):
        home = engine.layers[record["id"]].home()
    else:
        home = records.directory(engine, record["id"])
    return assemble.driver(engine, record), home, engine.store.layers.paths(record["layers"])


def prepare(engine, record):
    """The container's root as a rootfs dict (store.drivers), made if it isn't there."""
    spec = records.load_spec(engine, record["id"])
    return assemble.root(engine, record, assemble.ids_of(engine, spec))


def has_root(engine, record):
    """False as long as the container has no writable layer: it has changed nothing."""
    if record.get("capped"):
        return True  # whoever opens it makes what is missing
    home = records.directory(engine, record["id"])
    return bool(record.get("driver")) and any(
        os.path.lexists(f"{home}/{name}") for name in ("upper", "rootfs")
    )


def own_changes(found, spec):
    """A container's changes, [(path, kind)] sorted, without what its set-up brought about.

    Those are the mount points, all below them, and directories above them in which nothing
    else has changed.
    """
    points = {os.path.normpath(entry["destination"]) for entry in spec["mounts"]}
    points.update(_PLACED)
    above = set()
    for point in points:
        while point != "/":
            point = os.path.dirname(point)
            above.add(point)
    kept = []
    needed = set()
    for path, kind in reversed(found):  # what is below comes first
        if _covered(path, points) or path in above and kind != "D" and path not in needed:
            continue
        needed.add(os.path.dirname(path))
        kept.append((path, kind))
    return kept[::-1]


def _covered(path, points):
    while path != "/":
        if path in points:
            return True
        path = os.path.dirname(path)
    return False
