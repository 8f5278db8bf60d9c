"""Unpacking one layer: a child in the user namespace, fed through a pipe.

    this process                 child (root of the namespace, chrooted into the tree)
    write(compressed) ──pipe──►  thread: read, decompress, hash  ──queue──►  main: make files
    finish() ◄───────result────  {"diff_id", "size", …}
    compare digests, syncfs, one rename

The child gets a hash object made before the fork and has every module it needs loaded, so
it neither takes a lock that a thread of its parent may have held, nor imports anything
once the archive's files are what it sees as the root directory.
"""

import os
import sys
import zlib
from _thread import allocate_lock, start_new_thread

from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.model import jsontext
from rootless.store import codec, digests, names, tarread, tarsparse, unpacker  # noqa: F401

_PIPE = 1 << 20
_F_SETPIPE_SZ = 1031
_AHEAD = 12
_MIN_FREE = 64 << 20
CHECK_EVERY = 128 << 20

INDEX, ENTRIES, TREE = "index", "entries", "tree"
BUILD = "layer"

# A child must not keep the writing end of another child's pipe open: that one would wait
# for an end that never comes.  So forks and this list change under one lock.
forking = allocate_lock()
_writing = set()


class NoSpace(RlError):
    """no space left for the layer on the file system of the store"""

    hint = "free some: rl system prune; or use another place: rl --root DIR"


class Unpack:
    """A context: ``write`` the layer's bytes, then ``finish``.

    ``present``: the layer turned out to be in the store by now; nothing needs to be
    written, and ``finish`` just returns.  Must be used from one thread, and not from a
    thread that ends before it: the child is made to end together with its maker.
    """

    def __init__(self, store, diff_id=None, progress=None, wait=True):
        self.store = store
        self.diff_id = diff_id
        self.progress = progress
        self.present = False
        self._work = None
        self._child = None
        self._pipe = -1
        files.spread(store.directory("tmp"))
        if diff_id is None:
            self._work = store.tmp.make("new-layer")
        else:
            name = digests.hexdigits(diff_id)
            store.tmp.hold(diff_id)
            if not self._found():
                self._work = store.tmp.named(f"layer-{name}", wait)
                if self._found():
                    self._close()
        if self._work is not None:
            try:
                self._start()
            except BaseException:
                self._close()
                raise

    def _found(self):
        self.present = self.store.layers.has(self.diff_id)
        return self.present

    def _build(self):
        """A descriptor of the empty directory that the layer is made in."""
        from rootless.store import removal

        removal.remove(self.store, self._work.descriptor, BUILD)  # of a killed writer
        os.mkdir(BUILD, 0o700, dir_fd=self._work.descriptor)
        return os.open(BUILD, files.DIRECTORY, dir_fd=self._work.descriptor)

    def _start(self):
        algorithm = digests.split(self.diff_id)[0] if self.diff_id else "sha256"
        hasher = digests.hasher(algorithm)
        layer = self._build()
        try:
            with forking:
                reading, self._pipe = os.pipe()
                grow_pipe(self._pipe)
                _writing.add(self._pipe)
                try:
                    self._child = self._child_of(layer, reading, hasher, algorithm)
                finally:
                    os.close(reading)
        finally:
            os.close(layer)

    def _child_of(self, layer, reading, hasher, algorithm):
        """Start the child that makes the files in ``layer`` of what comes from ``reading``."""
        ids = self.store.ids
        return userns.start_in(ids, _unpack, layer, reading, hasher, algorithm, ids.single)

    def write(self, data):
        """Feed bytes of the layer, compressed or not.  Raises what went wrong inside."""
        if self.present:
            return
        try:
            files.write_all(self._pipe, data)
        except BrokenPipeError:
            self._fail()
        if self.progress is not None:
            self.progress(len(data))

    def _fail(self):
        """The child has stopped reading: raise its reason."""
        self._result()
        raise userns.ChildDied("it stopped reading")

    def _result(self):
        self._end_input()
        child, self._child = self._child, None
        try:
            return child.wait()
        except OSError as error:
            if error.errno in (28, 122):
                raise NoSpace() from None
            raise

    def _end_input(self):
        if self._pipe != -1:
            with forking:
                _writing.discard(self._pipe)
                os.close(self._pipe)
            self._pipe = -1

    def finish(self):
        """Wait, verify and publish; the facts, a dict with "diff_id" and "size" at least.

        WrongDigest if the uncompressed bytes have another digest than asked for; BadArchive,
        BadCompression and NoSpace as they come.  Nothing of the layer is left once closed.
        """
        if self.present:
            return {"diff_id": self.diff_id, "present": True}
        facts = self._result()
        if self.diff_id not in (None, facts["diff_id"]):
            raise digests.WrongDigest(
                what="the layer", found=facts["diff_id"], wanted=self.diff_id
            )
        self.diff_id = facts["diff_id"]
        self._publish()
        # Only when all went well is there nothing left whose removal may have to fork:
        # the thread that finishes a layer must not.  What failed goes in close().
        self._close()
        return facts

    def _publish(self):
        name = digests.hexdigits(self.diff_id)
        self.store.tmp.hold(self.diff_id)
        if self._found():
            return  # the same content came in by another way meanwhile
        home = self.store.directory("layers")
        # Everything below has to be on disk before the name is: a layer that is listed is
        # whole, whatever happens to the machine.
        files.syncfs(home)
        try:
            os.rename(BUILD, name, src_dir_fd=self._work.descriptor, dst_dir_fd=home)
        except OSError:
            if not self._found():
                raise
        os.fsync(home)
        self.present = True

    def _close(self):
        self._end_input()
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._work is not None:
            self._work.remove()
            self._work = None

    def kill(self):
        """End the child at once, from any thread; whoever is in ``write`` gets an error."""
        child = self._child
        if child is not None and child.pid is not None:
            try:
                os.kill(child.pid, 9)
            except ProcessLookupError:
                pass

    def close(self):
        """Give up, if it isn't finished, and leave nothing behind."""
        self._close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._close()


def grow_pipe(pipe):
    """Give a pipe a buffer of 1 MiB, if the user may have it."""
    import fcntl

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE)
    except OSError:
        pass  # the user has many pipes: it works with 64 KiB as well


# --- in the child --------------------------------------------------------------------------


class Feed:
    """What a thread reads from the pipe, decompressed and hashed, as an iterator of pieces."""

    def __init__(self, descriptor, hasher):
        from queue import SimpleQueue
        from threading import Semaphore

        self.descriptor = descriptor
        self.hasher = hasher
        self.size = 0
        self.codec = None
        self.queue = SimpleQueue()
        self.room = Semaphore(_AHEAD)
        # Packages for codecs are loaded now: behind chroot nothing can be.
        self.plain = {}
        for name in ("gzip", "zstd", "bzip2", "xz"):
            try:
                self.plain[name] = codec.prepare(name)
            except codec.CodecMissing as error:
                self.plain[name] = error

    def start(self):
        start_new_thread(self._run, ())

    def _run(self):
        try:
            head = self._read(codec.LONGEST_MAGIC)
            self.codec = codec.detect(head)
            pieces = self.plain.get(self.codec, codec.prepare(""))
            if isinstance(pieces, RlError):
                raise pieces
            for piece in pieces(_Prefixed(head, self._read_some)):
                self.hasher.update(piece)
                self.size += len(piece)
                self.room.acquire()
                self.queue.put(piece)
            self.queue.put(None)
        except BaseException as error:
            self.queue.put(error)

    def _read_some(self, size):
        return os.read(self.descriptor, size)

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = os.read(self.descriptor, size - len(data))
            if not more:
                break
            data += more
        return data

    def __iter__(self):
        return self

    def __next__(self):
        piece = self.queue.get()
        self.room.release()
        if piece is None:
            self.queue.put(None)
            raise StopIteration
        if isinstance(piece, BaseException):
            raise piece
        return piece


class _Prefixed:
    """A read function that gives ``head`` first."""

    def __init__(self, head, read):
        self.head = head
        self.more = read

    def __call__(self, size):
        if self.head:
            head, self.head = self.head[:size], self.head[size:]
            return head
        return self.more(size)


class Listing:
    """The file ``entries`` of a layer: one NUL-ended record per entry, compressed."""

    def __init__(self, directory):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.file = os.open(ENTRIES, flags, 0o600, dir_fd=directory)
        self.packer = zlib.compressobj(1)
        self.lines = []

    def __call__(self, line):
        self.lines.append(line)
        if len(self.lines) > 4096:
            self.flush()

    def flush(self):
        files.write_all(self.file, self.packer.compress(b"".join(self.lines)))
        self.lines.clear()

    def close(self):
        self.flush()
        files.write_all(self.file, self.packer.flush())
        os.close(self.file)


def _unpack(layer, reading, hasher, algorithm, single):
    """In the child: unpack what comes from ``reading`` into the directory ``layer``."""
    let_go()
    feed = Feed(reading, hasher)
    facts = in_tree(layer, lambda listing: _extract(feed, listing, single))
    facts["diff_id"] = f"{algorithm}:{feed.hasher.hexdigest()}"
    facts["size"] = feed.size
    facts["compression"] = feed.codec
    return describe(layer, facts, single)


def let_go():
    """In a child: close what it inherited by chance, other children's pipes."""
    for descriptor in _writing:
        os.close(descriptor)


def in_tree(layer, make):
    """In a child: the facts that ``make(listing)`` gives, called with the new tree as "/"."""
    os.umask(0)
    listing = Listing(layer)
    os.mkdir(TREE, 0o700, dir_fd=layer)
    tree = os.open(TREE, files.DIRECTORY, dir_fd=layer)
    os.fchdir(tree)
    outside = os.open("/", files.DIRECTORY)
    os.chroot(".")
    # From here on "/" is written by the archive: let nothing be imported from there.
    finders, sys.meta_path[:] = sys.meta_path[:], []
    try:
        facts = make(listing)
    finally:
        os.fchdir(outside)
        os.chroot(".")
        sys.meta_path[:] = finders
    listing.close()
    return facts


def describe(layer, facts, single):
    """In a child: write the layer's index; the short form of the facts."""
    facts["rung"] = "single" if single else "range"
    files.write_atomic(layer, INDEX, jsontext.dumps(facts).encode() + b"\n", sync=False)
    brief = ("diff_id", "size", "entries", "bytes", "unmapped", "compression")
    return {key: facts[key] for key in brief}


def _extract(feed, listing, single):
    maker = unpacker.Unpacker(single, listing)
    feed.start()
    stream = tarread.Stream(feed)
    reader = tarread.TarReader(stream)
    add_all(maker, reader)
    if not reader.ended and feed.codec == "zstd":
        # Its reader doesn't tell a cut stream from a whole one.
        raise tarread.BadArchive(problem="its end mark is missing")
    maker.finish()
    stream.drain()
    facts = {"version": 1, **maker.index()}
    os.close(maker.root)
    return facts


def add_all(maker, reader):
    """Make every entry that a TarReader has; NoSpace before the file system is full."""
    watched = 0
    for entry in reader:
        maker.add(entry, reader)
        if maker.bytes - watched > CHECK_EVERY:
            watched = maker.bytes
            check_space(maker.root)


def check_space(descriptor, more=0):
    """Stop before the file system is full to the last block: others write to it as well.

    ``more`` bytes are about to come.
    """
    status = os.fstatvfs(descriptor)
    if status.f_bavail * status.f_frsize < _MIN_FREE + more:
        raise NoSpace()


assert names  # loaded before any fork, like everything else here
