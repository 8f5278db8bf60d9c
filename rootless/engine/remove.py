"""Removing containers: one rename makes a container vanish, the rest can be interrupted."""

import os
from time import sleep

from rootless.engine import events, naming, records
from rootless.engine.control import Control, NotRunning, wait_released
from rootless.errors import RlError
from rootless.kernel import files

GONE = ".gone-"
_KILL = 9
_PAUSE, _TRIES = 0.02, 3000  # a launch takes a minute at most
_HEARD = 1.0  # seconds in which a monitor that was told to has ended
_LONGEST = 4_000_000  # seconds: what the monitor's 32 bits of milliseconds hold
_SURELY_LEFT = 60  # seconds from making a runtime directory to holding the lock in it


class StillRunning(RlError):
    """container {0} is running and cannot be removed"""

    exit_code = 2
    hint = "rl stop {0} first, or rl rm -f {0}"


class Needed(RlError):
    """container {0} is required by {1} and cannot be removed"""

    hint = "remove that one first: rl rm {1}"


class NotYours(RlError):
    """files in {0} belong to ids that are not yours, so they stay ({1})"""

    hint = ("/etc/subuid and /etc/subgid gave you other ids once: root can give them back, or"
            " remove the files")


class Busy(RlError):
    """container {0} is being started or removed by another rl"""

    hint = "try again in a moment"


def remove(engine, record, force=False, volumes=False, timeout=None, told=False):
    """Remove a container and what only it used.

    ``force`` ends it first, giving it ``timeout`` seconds (default: its own stop timeout), or
    waits for that if it is ``told``; ``volumes`` takes its anonymous volumes along.  Raises
    StillRunning, Busy.
    """
    if not records.is_free(engine, record["id"]):
        if not force:
            raise StillRunning(record["name"])
        end(engine, record, timeout, told)
    with _Held(engine, record) as held:
        gone = f"{engine.config.root}/containers/{GONE}{record['id']}"
        try:
            os.rename(records.directory(engine, record["id"]), gone)
        except FileNotFoundError:  # another rl was faster
            if records.in_place(held.run_dir, held.alive):
                records.drop_run_directory(held.run_dir)
            return
        records.release_name(engine, record["name"], record["id"])
        _drop_cgroup(held.run_dir)
        records.drop_run_directory(held.run_dir)
    events.container(engine, record, "remove")
    try:
        erase(engine, f"{GONE}{record['id']}")
    except FileNotFoundError:
        pass  # a sweep was faster
    if volumes or record.get("remove"):
        _drop_volumes(engine, record)


def _drop_cgroup(run_dir):
    """Remove the cgroup that the container's last run has left, if it had one."""
    if os.path.exists(f"{run_dir}/cgroup"):
        from rootless.engine import cgroups

        cgroups.forget(run_dir)


def check_needed(engine, record):
    """Raise Needed if another container requires this one."""
    others = is_needed(engine, record)
    if others:
        raise Needed(record["name"], others[0][:12])


def is_needed(engine, record):
    """The ids of the containers that require this one."""
    try:
        found = os.listdir(f"{records.directory(engine, record['id'])}/needed")
    except OSError:
        return []
    return [one for one in found if os.path.isdir(records.directory(engine, one))]


def in_order(items):
    """Records to remove so that what is required goes after what requires it."""
    if any(record.get("requires") for record in items):
        return sorted(items, key=lambda record: record.get("created", ""), reverse=True)
    return items


def forget(engine, record):
    """Remove a container that this rl just made and nobody has started; any part may be missing.

    Its life lock may still be held here.
    """
    records.release_name(engine, record["name"], record["id"])
    name = f"{GONE}{record['id']}"
    containers = f"{engine.config.root}/containers"
    for draft in (record["id"], f".new-{record['id']}"):
        try:
            os.rename(f"{containers}/{draft}", f"{containers}/{name}")
        except FileNotFoundError:
            continue
        erase(engine, name)
    run_dir = records.own_run_directory(engine, record["id"])
    if os.path.isdir(run_dir):
        records.drop_run_directory(run_dir)
    _drop_volumes(engine, record)


def tell(engine, items, timeout=None):
    """Let several containers stop side by side: the ids of those that have been told to.

    ``end`` then waits for each.  Those for which it is not so simple are left to it.
    """
    told = set()
    for record in items if len(items) > 1 else ():
        seconds = _patience(record, timeout)
        if seconds <= 0 or os.path.exists(f"{records.run_directory(engine, record['id'])}/paused"):
            continue
        try:
            with Control(engine, record) as control:
                control.stop(0, int(seconds * 1000))
        except (RlError, OSError):
            continue
        told.add(record["id"])
    return told


def _patience(record, timeout):
    return min(record.get("stop_timeout", 10) if timeout is None else timeout, _LONGEST)


def end(engine, record, timeout=None, told=False):
    """Stop a running container, which may have been ``told`` to, and wait until its monitor
    has left."""
    seconds = _patience(record, timeout)
    run_dir = records.run_directory(engine, record["id"])
    if seconds > 0 and os.path.exists(f"{run_dir}/paused"):
        from rootless.engine import processes

        processes.wake(engine, record)
    for _ in range(_TRIES):
        try:
            with Control(engine, record) as control:
                if seconds <= 0:
                    control.kill(_KILL, ends=True)
                elif not told:
                    control.stop(0, int(seconds * 1000))
                told = False
                control.wait_end(seconds + 30)
            # A monitor that was just leaving for the next run has not heard it: then there
            # is another one soon.
            if wait_released(engine, record, _HEARD):
                return
        except NotRunning:
            if not records.is_alive(run_dir):
                return
        sleep(_PAUSE)  # it is just being launched or removed, or its monitor leaves
    raise Busy(record["name"])


class _Held:
    """The container's life lock, so that nobody starts it while it is being removed."""

    def __init__(self, engine, record):
        self.engine = engine
        self.record = record
        self.run_dir = records.run_directory(engine, record["id"])
        self.alive = records.open_life(self.run_dir)

    def __enter__(self):
        if not records.hold(self.alive) or self._is_others():
            os.close(self.alive)
            raise Busy(self.record["name"])
        return self

    def _is_others(self):
        """Whether it is there, and a session with another runtime directory is at work."""
        return not records.is_current(
            self.engine, self.record["id"], self.run_dir, self.alive
        ) and os.path.isdir(records.directory(self.engine, self.record["id"]))

    def __exit__(self, *error):
        os.close(self.alive)


def erase(engine, name):
    """Delete the directory ``name`` of containers/, whoever owns what is in it."""
    containers = f"{engine.config.root}/containers"
    try:
        _erase(containers, name)
    except PermissionError:
        # Files of the container's other users belong to subordinate ids: only the root of a
        # namespace that maps them may delete them.
        from rootless.kernel import userns

        try:
            userns.call_in(engine.ids, _erase, containers, name)
        except PermissionError as error:
            raise NotYours(f"{containers}/{name}", error.strerror) from None


def _erase(containers, name):
    from rootless.kernel.tree import remove_tree

    above = os.open(containers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(above, name)
    finally:
        os.close(above)


def _drop_volumes(engine, record):
    names = record.get("anonymous_volumes")
    if not names:
        return
    from rootless.engine import volumes

    for name in names:
        try:
            volumes.remove(engine, name)
        except RlError:
            pass  # in use by another container, or gone: both are fine


def sweep(engine):
    """Delete what interrupted creations and removals left behind; the number of entries.

    Also the containers of --rm whose rl was killed before it could remove them.
    """
    containers = f"{engine.config.root}/containers"
    swept = 0
    try:
        names = os.listdir(containers)
    except FileNotFoundError:
        return 0
    for name in names:
        if not name.startswith("."):
            swept += _sweep_left(engine, name)
            continue
        if not name.startswith((GONE, ".new-")):
            continue
        mine = _lock_left(f"{containers}/{name}")
        if mine is None:
            continue
        try:
            erase(engine, name)
            swept += 1
        except (FileNotFoundError, NotYours):
            pass  # whoever removed it goes on with it; or nobody but root can
        finally:
            os.close(mine)
    _sweep_run_directories(engine)
    naming.sweep(engine)
    return swept


def _sweep_left(engine, container_id):
    try:
        record = records.load(engine, container_id)
        if records.is_left(engine, record):
            remove(engine, record, volumes=True)
            return 1
    except RlError:
        pass  # damaged: system check tells; or somebody else removes it
    return 0


def _sweep_run_directories(engine):
    """Runtime directories of a container that was never made: its rl was killed before."""
    from time import time

    above = f"{engine.runroot}/containers"
    try:
        names = os.listdir(above)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{above}/{name}"
        known = os.path.isdir(records.directory(engine, name))
        if known or records.is_alive(path) or os.path.exists(f"{path}/started"):
            continue
        try:
            if os.stat(path).st_mtime < time() - _SURELY_LEFT:
                records.drop_run_directory(path)
        except FileNotFoundError:
            pass  # another rl sweeps too


def _lock_left(path):
    """A descriptor that holds the directory's lock; None if somebody is at work in it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if files.lock(descriptor, wait=False):
        return descriptor
    os.close(descriptor)
    return None

