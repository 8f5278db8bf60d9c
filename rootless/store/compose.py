"""A layer made of entries that this program thinks up, not of an archive that came.

    this process                 child (root of the namespace, chrooted into the new tree)
    Compose(store, prepare) ───► prepare(…) → plan; plan.write(composer): each entry goes into
    finish() ◄─────result──────  the tree and, as a tar member, to a thread that hashes it
                                 and writes the blob

The tree, the index and the list are those that unpacking the blob would give: one maker of
files (store.unpacker) serves both.  Every file is read once.
"""

import os
from _thread import start_new_thread
from queue import SimpleQueue
from threading import Semaphore

from rootless.kernel import files, tree, userns
from rootless.store import digests, unpack, unpacker
from rootless.store.tarread import (
    CHARACTER,
    DIRECTORY,
    FIFO,
    LINK,
    REGULAR,
    SYMLINK,
    Entry,
)
from rootless.store.tarwrite import TarWriter

PIECE = 1 << 20
_AHEAD = 8
_EAGER = 8 << 20
_SECOND = 1_000_000_000


class Compose(unpack.Unpack):
    """A context: the layer is being made; ``finish`` publishes layer and blob.

    ``prepare(scratch)`` is called in the child before it enters the new tree, with the
    descriptor of a directory for what it needs on the way.  It returns an object with
    ``write(composer)``, which is called inside, where nothing can be imported, and
    ``facts()``, plain data that is added to what ``finish`` returns.  Both get what they need
    by the fork.  ``newest`` (seconds) limits the times, ``stamp`` replaces them all.
    """

    def __init__(self, store, prepare, newest=None, stamp=None):
        self._prepare = prepare
        self._times = (newest, stamp)
        self._blob = store.blobs.writer()
        try:
            super().__init__(store)
        except BaseException:
            self._blob.close()
            raise

    def _start(self):
        layer = self._build()
        try:
            with unpack.forking:
                self._child = userns.start_in(
                    self.store.ids, _compose, layer, self._blob.fileno(),
                    digests.hasher(), self.store.ids.single, self._prepare, self._times,
                    self._work.descriptor,
                )
        finally:
            os.close(layer)

    def finish(self):
        """Wait and publish: {"diff_id", "size", "blob", "blob_size", "compression", …}."""
        facts = dict(super().finish())
        self._blob.written(digests.hexdigits(facts["diff_id"]), facts["size"])
        facts.update(blob=self._blob.commit(), blob_size=facts["size"])
        return facts

    def close(self):
        """Give up, if it isn't finished, and leave nothing behind."""
        super().close()
        self._blob.close()

    def __exit__(self, *_):
        self.close()


# --- in the child --------------------------------------------------------------------------


def _compose(layer, blob, hasher, single, prepare, times, scratch):
    unpack.let_go()
    plan = prepare(scratch)
    sink = _Sink(blob, hasher)

    def make(listing):
        composer = Composer(unpacker.Unpacker(single, listing), sink.write, *times)
        plan.write(composer)
        return composer.finish()

    facts = unpack.in_tree(layer, make)
    sink.finish()
    facts["diff_id"] = f"sha256:{hasher.hexdigest()}"
    facts["size"] = sink.size
    facts["compression"] = ""
    return {**unpack.describe(layer, facts, single), **plan.facts()}


class _Sink:
    """A thread that hashes what it is given and writes it into the blob."""

    def __init__(self, blob, hasher):
        self.blob = blob
        self.hasher = hasher
        self.size = 0
        self.error = None
        self.queue = SimpleQueue()
        self.room = Semaphore(_AHEAD)
        self.done = Semaphore(0)
        self.started = False

    def write(self, data):
        if not self.started:
            start_new_thread(self._run, ())
            self.started = True
        if self.error is not None:
            raise self.error
        self.room.acquire()
        self.size += len(data)
        self.queue.put(data)

    def _run(self):
        waiting = 0
        while (data := self.queue.get()) is not None:
            try:
                if self.error is None:
                    self.hasher.update(data)
                    files.write_all(self.blob, data)
                    waiting += len(data)
                    if waiting >= _EAGER:
                        # It has to be on disk before it gets its name: begin now.
                        files.start_writeback(self.blob)
                        waiting = 0
            except BaseException as error:
                self.error = error
            self.room.release()
        self.done.release()

    def finish(self):
        self.queue.put(None)
        if self.started:
            self.done.acquire()
        if self.error is not None:
            raise self.error


class _Views:
    """What Unpacker takes the data of the current entry from."""

    def __init__(self):
        self.pieces = iter(())

    def views(self, size):
        """The pieces, whatever ``size`` says: there is one entry at a time."""
        return self.pieces


class Composer:
    """Takes the entries of a layer: parents first, each path once.

    Paths are bytes, relative and clean; times are nanoseconds and become whole seconds, as
    archives of layers have them.
    """

    def __init__(self, maker, sink, newest=None, stamp=None):
        self.maker = maker
        self.writer = TarWriter(sink)
        self.newest = newest
        self.stamp = stamp
        self._views = _Views()
        self._watched = 0

    def _entry(self, kind, path, mode, uid, gid, mtime, xattrs=None):
        seconds = mtime // _SECOND
        if self.stamp is not None:
            seconds = self.stamp
        elif self.newest is not None and seconds > self.newest:
            seconds = self.newest
        entry = Entry()
        entry.kind, entry.name, entry.link = kind, path, b""
        entry.mode, entry.uid, entry.gid, entry.mtime = mode, uid, gid, seconds * _SECOND
        entry.size = entry.length = entry.major = entry.minor = 0
        entry.sparse = entry.xattrs = None
        if xattrs:
            entry.xattrs = {os.fsencode(key): value for key, value in xattrs.items()}
        return entry

    def _add(self, entry, xattrs=None, size=0):
        name = entry.name + b"/" if entry.kind == DIRECTORY else entry.name
        self.writer.header(
            name, entry.kind.encode(), entry.mode, entry.uid, entry.gid, size,
            entry.mtime // _SECOND, entry.link, entry.major, entry.minor, xattrs,
        )

    def directory(self, path, mode, uid, gid, mtime, xattrs=None):
        """A directory."""
        entry = self._entry(DIRECTORY, path, mode, uid, gid, mtime, xattrs)
        self._add(entry, xattrs)
        self.maker.add(entry, None)

    def data(self, path, mode, uid, gid, mtime, content, xattrs=None):
        """An ordinary file with ``content`` (bytes)."""
        entry = self._entry(REGULAR, path, mode, uid, gid, mtime, xattrs)
        entry.size = entry.length = len(content)
        self._add(entry, xattrs, len(content))
        self.writer.data(content)
        self._views.pieces = (content,)
        self.maker.add(entry, self._views)
        self._look()

    def stream(self, path, mode, uid, gid, mtime, size, pieces, xattrs=None, watch=None,
               parts=None):  # fmt: skip
        """An ordinary file of ``size`` bytes that come in pieces (bytes), exactly as many.

        ``watch`` is shown every piece; ``parts``: the (offset, size) pairs of what isn't zero,
        if the file is sparse; then ``pieces`` is a function of such a pair.
        """
        entry = self._entry(REGULAR, path, mode, uid, gid, mtime, xattrs)
        entry.size = entry.length = size
        self._add(entry, xattrs, size)
        tee = _Tee(self.writer, watch)
        if parts is None:
            self._views.pieces = tee.all(pieces)
            self.maker.add(entry, self._views)
        else:
            entry.sparse = parts
            self.maker.add(entry, _Sparse(tee, pieces, parts, size))
        self.writer.pad(size)
        self._look()

    def link(self, path, target, mode, uid, gid, mtime):
        """A hard link to the entry ``target`` of this layer, of which all else is told again.

        Other engines set what a link's header says on the file.
        """
        entry = self._entry(LINK, path, mode, uid, gid, mtime)
        entry.link = target
        self._add(entry)
        self.maker.add(entry, None)

    def symlink(self, path, target, uid, gid, mtime):
        """A symbolic link."""
        entry = self._entry(SYMLINK, path, 0o777, uid, gid, mtime)
        entry.link = target
        self._add(entry)
        self.maker.add(entry, None)

    def fifo(self, path, mode, uid, gid, mtime):
        """A named pipe."""
        entry = self._entry(FIFO, path, mode, uid, gid, mtime)
        self._add(entry)
        self.maker.add(entry, None)

    def device(self, path, facts):
        """A device node, as the index of a layer describes it (store.layers)."""
        kind, mode, uid, gid, major, minor, mtime = facts
        entry = self._entry(kind, path, mode, uid, gid, mtime)
        entry.major, entry.minor = major, minor
        self._add(entry)
        self.maker.add(entry, None)

    def _look(self):
        if self.maker.bytes - self._watched > unpack.CHECK_EVERY:
            self._watched = self.maker.bytes
            unpack.check_space(self.maker.root)

    def finish(self):
        """End the archive; the facts for the index."""
        self.writer.finish()
        self.maker.finish()
        facts = {"version": 1, **self.maker.index()}
        os.close(self.maker.root)
        return facts


class _Tee:
    """Hands pieces on, into the archive and to whoever watches as well."""

    def __init__(self, writer, watch):
        self.writer = writer
        self.watch = watch

    def one(self, piece):
        self.writer.piece(piece)
        if self.watch is not None:
            self.watch(piece)
        return piece

    def all(self, pieces):
        return map(self.one, pieces)


class _Sparse:
    """The data of a sparse file: into the archive with its zeros, to the maker without."""

    def __init__(self, tee, pieces, parts, size):
        self.tee = tee
        self.pieces = pieces
        self.parts = iter(parts)
        self.at = 0
        self.size = size
        self.last = parts[-1] if parts else None
        if not parts:
            self._zeros(size)

    def views(self, size):
        part = next(self.parts)
        self._zeros(part[0])
        for piece in self.pieces(part):
            yield self.tee.one(piece)
        self.at = part[0] + part[1]
        if part is self.last:
            self._zeros(self.size)

    def _zeros(self, until):
        while self.at < until:
            count = min(until - self.at, PIECE)
            self.tee.one(bytes(count))
            self.at += count


assert tree and CHARACTER  # loaded before any fork: in the new tree nothing can be
