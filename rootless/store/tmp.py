"""Work in progress: one locked directory per writer in tmp/, swept once its lock is free.

A directory is in use as long as somebody holds the flock(2) on the file ``lock`` in it.
The kernel gives locks back when a process ends in any way, so what a killed writer left
is found by trying the lock.  Names made from a digest (``layer-HEX``, ``blob-HEX``) also
serve as the lock of that object: the second writer waits, then finds the work done.
"""

import os
import time
from _thread import allocate_lock

from rootless.errors import RlError
from rootless.kernel import files

_LOCK = "lock"
_KEEP = "keep"
RESUMABLE = "blob-"
COLLECTOR = "gc-"
_PATIENCE = 24 * 3600


class Busy(RlError):
    """somebody else is working on {what}"""

    hint = "wait until the other rl has finished"


class Workdir:
    """A locked directory in tmp/: ``path``, ``descriptor``; a context that removes it."""

    def __init__(self, tmp, name, descriptor, lock):
        self.tmp = tmp
        self.name = name
        self.descriptor = descriptor
        self._lock = lock

    @property
    def path(self):
        return self.tmp.store.path("tmp", self.name)

    def leave(self):
        """Unlock it, and leave it for the next one (to resume) or for the sweep."""
        if self._lock is not None:
            os.close(self._lock)
            os.close(self.descriptor)
            self._lock = None

    def remove(self):
        """Remove it with all it holds, then unlock it."""
        if self._lock is not None:
            _discard(self.tmp.store, self.name, self.descriptor)
            self.leave()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


class Tmp:
    """The tmp/ directory of a store."""

    def __init__(self, store):
        self.store = store
        self._hold = None
        self._holding = allocate_lock()

    def make(self, prefix):
        """A new Workdir with an unused name; sweeps what dead writers left first."""
        self.sweep()
        while True:
            name = f"{prefix}-{os.urandom(8).hex()}"
            found = self._enter(name, True)
            if found:
                return found

    def named(self, name, wait=True):
        """The Workdir of that name, waiting for whoever has it; Busy if ``wait`` is off.

        It may hold what an earlier writer left.
        """
        while True:
            found = self._enter(name, wait)
            if found:
                return found
            if not wait:
                raise Busy(what=name)

    def _enter(self, name, wait):
        """Make and lock tmp/name; None if it was swept meanwhile, or is locked."""
        home = self.store.directory("tmp")
        try:
            os.mkdir(name, 0o700, dir_fd=home)
        except FileExistsError:
            pass
        try:
            descriptor = os.open(name, files.DIRECTORY, dir_fd=home)
        except FileNotFoundError:
            return None
        lock = _take(descriptor, wait)
        if lock is None:
            os.close(descriptor)
            return None
        return Workdir(self, name, descriptor, lock)

    def hold(self, *digests):
        """Keep ``digests`` from garbage collection while this process lives.

        Whoever fetches or makes an image says here what it will need *before* looking
        whether it is there (store.gc reads these lists again after it has set things
        aside).  The writers of blobs and layers do so by themselves.
        """
        with self._holding:
            if self._hold is None:
                self._hold = self.make("hold")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(_KEEP, flags, 0o600, dir_fd=self._hold.descriptor)
        try:
            files.write_all(descriptor, "".join(f"{digest}\n" for digest in digests).encode())
        finally:
            os.close(descriptor)

    def held(self):
        """The digests (set of str) that live writers want kept."""
        found = set()
        home = self.store.directory("tmp")
        for name in os.listdir(home):
            if name.startswith("hold-"):
                try:
                    inner = os.open(name, files.DIRECTORY, dir_fd=home)
                except FileNotFoundError:
                    continue
                try:
                    text = files.read_limited(inner, _KEEP, 64 << 20)
                except FileNotFoundError:
                    continue
                finally:
                    os.close(inner)
                found.update(text.decode("ascii", "replace").split())
        return found

    def wait_for_collectors(self):
        """Wait until no garbage collection has anything set aside; False if none had.

        For those who miss something that should be there: it may be on its way back.
        """
        waited = False
        home = self.store.directory("tmp")
        for name in os.listdir(home):
            if not name.startswith(COLLECTOR):
                continue
            try:
                lock = os.open(f"{name}/{_LOCK}", os.O_RDWR | os.O_CLOEXEC, dir_fd=home)
            except OSError:
                continue
            waited = True
            files.lock(lock)
            try:
                self._restore(name)  # it may have been killed
            finally:
                os.close(lock)
        return waited

    def _restore(self, name):
        """Put back what a dead collector, whose lock we hold, had set aside."""
        from rootless.store import gc

        try:
            directory = os.open(name, files.DIRECTORY, dir_fd=self.store.directory("tmp"))
        except FileNotFoundError:
            return
        try:
            gc.restore(self.store, directory)
        finally:
            os.close(directory)

    def release(self):
        """End what ``hold`` began."""
        if self._hold is not None:
            self._hold.remove()
            self._hold = None

    close = release

    def sweep(self, resumable=False):
        """Remove what nobody is working on any more; the number of directories removed.

        Half-loaded blobs stay for a day, so that the next pull can go on with them, unless
        ``resumable`` says that they may go too.
        """
        home = self.store.directory("tmp")
        count = 0
        for name in os.listdir(home):
            if name.startswith(RESUMABLE) and not resumable and self._recent(name):
                continue
            try:
                descriptor = os.open(name, files.DIRECTORY, dir_fd=home)
            except FileNotFoundError:
                continue
            except OSError:
                os.unlink(name, dir_fd=home)  # a stray file: nothing here is one
                count += 1
                continue
            try:
                lock = _take(descriptor, False)
                if lock is not None:
                    try:
                        if name.startswith(COLLECTOR):
                            self._restore(name)
                        _discard(self.store, name, descriptor)
                        count += 1
                    except PermissionError:
                        pass  # of ids that the user had once: nobody's work stops for that
                    finally:
                        os.close(lock)
            finally:
                os.close(descriptor)
        return count

    def _recent(self, name):
        try:
            status = os.stat(name, dir_fd=self.store.directory("tmp"), follow_symlinks=False)
        except OSError:
            return False
        return abs(time.time() - status.st_mtime) < _PATIENCE


def _take(descriptor, wait):
    """The locked lock file of a directory; None if it is taken, or the directory is gone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(_LOCK, flags, 0o600, dir_fd=descriptor)
    except FileNotFoundError:
        return None
    # Whoever had the lock before may have removed the file while we waited.
    if files.lock(lock, wait=wait) and os.fstat(lock).st_nlink:
        return lock
    os.close(lock)
    return None


def _discard(store, name, descriptor):
    """Remove tmp/name, locked by the caller; the lock file goes last."""
    from rootless.store import removal

    for entry in os.listdir(descriptor):
        if entry != _LOCK:
            removal.remove(store, descriptor, entry)
    os.unlink(_LOCK, dir_fd=descriptor)
    try:
        os.rmdir(name, dir_fd=store.directory("tmp"))
    except OSError:
        pass  # a newcomer has already made its lock file in here: it's theirs now
