"""Code of ours at work on a container's files, where the container sees them.

A running container's are seen from its own namespaces (runtime.enter.start_inside), so with
everything that is mounted in it.  A stopped one is set up for a moment in a namespace made
for that: its root, and the volumes and directories it is given.
"""

import os
import time
from types import SimpleNamespace

from rootless.engine import assemble, contents, records
from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.runtime import enter, init, ops, plan, rootdir
from rootless.store import changes
from rootless.store.drivers import clone, mounting

_PATIENCE = 10.0
_SHOWN = ("bind", "volume", "overlay", "image")


class Busy(RlError):
    """container {0} is just starting or ending"""

    hint = "try again; rl ps -a shows what it does"


class Inside:
    """A function at work at a container's files: ``wait`` gives what it returned.

    ``stored`` and ``seen`` turn owners: (uid, gid) of the container → on disk, and back;
    None where both are the same.
    """

    def __init__(self, child, lock=None):
        self._child = child
        self._lock = lock

    def wait(self):
        """As userns.Child.wait."""
        try:
            return self._child.wait()
        finally:
            self._release()

    def kill(self):
        """As userns.Child.kill."""
        try:
            self._child.kill()
        finally:
            self._release()

    def _release(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Container:
    """The files of the container ``record``, whatever it is doing."""

    def __init__(self, engine, record):
        self.engine = engine
        self.record = record
        self.spec = records.load_spec(engine, record["id"])
        self.ids = assemble.ids_of(engine, self.spec)
        self.pid, self._lock = _hold(engine, record)
        self.stored = self.seen = None
        try:
            if not self.pid:
                self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self):
        """Let go of a stopped container; what ``start`` began goes on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self):
        engine, record = self.engine, self.record
        if record["rung"] != engine.ids.rung:
            raise assemble.RungChanged(record["name"], record["rung"], engine.ids.rung)
        if record.get("capped"):
            from rootless.engine import capped

            capped.check_kept(record, "it is not running")
        rootfs = contents.prepare(engine, record)
        self.rootfs = {**rootfs, "uidmapping": [], "gidmapping": []}
        self.home = records.directory(engine, record["id"])
        if rootfs["driver"] == "clone" and not record["rootfs"]:
            home = os.open(self.home, files.DIRECTORY)
            try:
                facts = changes.clone_facts(home)[0]
            finally:
                os.close(home)
            self.seen = changes.seen_owner(facts)
            self.stored = clone.owner_function(facts.get("shift_uids", ()),
                                               facts.get("shift_gids", ()))

    def _steps(self):
        """The steps that mount what the container is given, without tmpfs."""
        own = {entry["destination"] for entry in self.spec["rl"]["volumes"]}
        found = []
        for entry in self.spec["mounts"]:
            if entry["destination"] not in own or entry["type"] not in _SHOWN:
                continue
            if entry["source"].startswith(records.FILES) or "container" in entry:
                continue
            ready = assemble.runnable(self.engine, self.record, entry, {}, self.ids, {})
            if ready["type"] in ("bind", "overlay"):
                ready = {key: value for key, value in ready.items() if key != "chown"}
                found += plan.mount_steps(ready)
        return found

    def start(self, function, *args, keep=(), drop=()):
        """Begin ``function(root, *args)`` in a process there; an Inside.

        ``keep``: the descriptors it uses; ``drop``: those that it must not have, such as
        the other ends of its pipes.
        """
        if self.pid:
            return Inside(enter.start_inside(self.pid, function, *args, keep=keep))
        child = userns.start_in(
            self.engine.ids, _in_stopped, self.rootfs, f"{self.home}/root", self._steps(),
            SimpleNamespace(spec=self.spec, ids=self.ids), drop, function, args, mount_ns=True,
        )
        lock, self._lock = self._lock, None
        return Inside(child, lock)


def _in_stopped(rootfs, target, steps, job, drop, function, args):
    for descriptor in drop:
        os.close(descriptor)
    os.umask(0)
    root, server = mounting.mount_rootfs(rootfs, target)
    try:
        stage = init.Stage(job)
        stage.root = rootdir.RootDir(root)
        for step in steps:
            try:
                step.execute(stage)
            except ops.StepFailed:
                continue  # its source has gone: the rest can be copied all the same
        return function(root, *args)
    finally:
        for step in reversed(steps):
            _unmount(stage, step)
        mounting.unmount(target, root, server)


def _unmount(stage, step):
    """Take a mount away again, so that a server of the root below it can end."""
    from rootless.kernel import mount

    try:
        where = stage.root.open(step.destination)
    except OSError:
        return
    try:
        mount.unmount(f"/proc/self/fd/{where}")
    except OSError:
        pass
    finally:
        os.close(where)


def _hold(engine, record):
    """(pid 1 of a running container, None), or (0, a lock that keeps others from starting it).

    The lock is shared: whoever asks for the container's state still sees it stopped.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        state = records.state(engine, record)
        if state["pid"]:
            return state["pid"], None
        run_dir = records.run_directory(engine, record["id"])
        alive = records.open_life(run_dir)
        if files.lock(alive, exclusive=False, wait=False):
            if records.is_current(engine, record["id"], run_dir, alive):
                return 0, alive
            if not os.path.isdir(records.directory(engine, record["id"])):
                if records.in_place(run_dir, alive):
                    records.drop_run_directory(run_dir)
                os.close(alive)
                raise records.NoContainer(record["name"])  # removed meanwhile
        os.close(alive)
        if time.monotonic() > deadline:
            raise Busy(record["name"])
        time.sleep(0.02)
