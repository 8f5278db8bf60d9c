"""`rl system reset`: everything that rl keeps goes, and nothing else.

It has to work on a store that is damaged in any way, so it opens none: a directory with the
marker of a store that belongs to us is emptied, the marker last.  A reset that is
interrupted is still recognised as a store, and the next one goes on.
"""

import os

from rootless.config import RuntimeDirectory
from rootless.engine import networks_leases, records
from rootless.engine.remove import end
from rootless.errors import RlError
from rootless.kernel import files, tree
from rootless.store.store import MARKER

_OURS_BELOW_RUNROOT = ("probes.json", "rl.toml.json", "registries.toml.json")


class NoMarker(RlError):
    """{0} doesn't look like a store of rl: nothing was removed"""

    hint = "a store has a file named rl-store in it; rl info shows which directory is in use"


class NotOurs(RlError):
    """{0} belongs to uid {1}: nothing was removed"""

    hint = "the owner can run rl system reset; or name your own store: rl --root DIR"


class StillRunning(RlError):
    """{0} containers are running: nothing was removed"""

    hint = "rl stop --all first, or rl system reset --force"


class Leftover(RlError):
    """could not remove {0}: {1}"""

    hint = "end what uses it (rl ps -a, lsof), then run rl system reset again"


def target(engine):
    """The directory that a reset empties: its path as str, or None if there is no store.

    Raises NoMarker, NotOurs.
    """
    handle = _open(engine.config.root)
    if handle is None:
        return None
    os.close(handle)
    return engine.config.root


def _open(root):
    """A descriptor of the store's directory, seen to be a store of ours; None if absent."""
    try:
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Leftover(root, error.strerror) from None
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            raise NotOurs(root, status.st_uid)
        try:
            marker = os.stat(MARKER, dir_fd=handle, follow_symlinks=False)
        except FileNotFoundError:
            if not os.listdir(handle):
                return handle  # what an interrupted reset leaves
            raise NoMarker(root) from None
        if marker.st_mode & 0o170000 != 0o100000 or marker.st_uid != os.geteuid():
            raise NoMarker(root)
    except BaseException:
        os.close(handle)
        raise
    return handle


def running(engine):
    """The ids of the containers whose monitor is alive, readable record or not."""
    try:
        return [one for one in _ids(engine) if _alive(engine, one)]
    except RuntimeDirectory:
        return []  # theirs is another one, which we can't know


def _ids(engine):
    try:
        return records.ids(engine)
    except OSError:
        return []  # containers/ is no directory: nothing is beyond damage here


def _alive(engine, container):
    return records.is_alive(records.run_directory(engine, container))


def reset(engine, force=False):
    """Remove images, containers, volumes and all else of this store.

    ``force`` ends running containers first.  Raises NoMarker, NotOurs, StillRunning,
    Leftover.
    """
    handle = _open(engine.config.root)
    if handle is None:
        return
    try:
        alive = running(engine)
        if alive and not force:
            raise StillRunning(len(alive))
        for container in alive:
            _end(engine, container)
        containers = _ids(engine)
        networks = networks_leases.place(engine)
        _empty(engine, handle)
        _clear_runroot(engine, (*(f"containers/{one}" for one in containers), networks))
    finally:
        os.close(handle)
    try:
        os.rmdir(engine.config.root)
    except OSError:
        pass  # a mount point, or its parent isn't ours: an empty directory is fine too


def _end(engine, container):
    """End a container; of a damaged record the id is enough."""
    try:
        record = records.load(engine, container)
    except RlError:
        record = {"id": container, "name": container[:12]}
    end(engine, record, 0)


def _empty(engine, handle):
    """Remove all that is in the store, its marker last."""
    names = [name for name in os.listdir(handle) if name not in (MARKER, "lost+found")]
    try:
        _remove(handle, names)
    except PermissionError:
        # Only the root of a namespace that maps the owners may delete other users' files.
        from rootless.kernel import userns

        try:
            left = [name for name in os.listdir(handle) if name not in (MARKER, "lost+found")]
            userns.call_in(engine.ids, _remove, handle, left)
        except OSError as error:
            raise Leftover(_place(engine, error), error.strerror) from None
    except OSError as error:
        raise Leftover(_place(engine, error), error.strerror) from None
    try:
        os.unlink(MARKER, dir_fd=handle)
    except FileNotFoundError:
        pass


def _place(engine, error):
    """What an error is about; a path by way of a descriptor says nothing to anybody."""
    name = str(error.filename or "")
    if not name or name.startswith("/proc/"):
        return f"all of {engine.config.root}"
    return name


def _remove(handle, names):
    for name in names:
        tree.remove_tree(handle, name)


def _clear_runroot(engine, places):
    """Remove what belongs to this store below the runtime directory; others may share it."""
    try:
        here = os.open(engine.runroot, files.DIRECTORY)
    except (RuntimeDirectory, OSError):
        return
    try:
        for name in (*_OURS_BELOW_RUNROOT, *places):
            tree.remove_tree(here, name)
    finally:
        os.close(here)
