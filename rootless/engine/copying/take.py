"""The end of a copy that writes: a tar stream into files.

The stream is not trusted: on this machine it may come from a process that a container has
taken over.  There no link is followed below the destination, and set-id bits are dropped.
In a container links are followed as its programs would follow them, inside its root.
"""

import binascii  # noqa: F401  (tarread and unpacking would load them late)
import errno
import os

from rootless.engine.copying.places import BadDestination, Place
from rootless.errors import RlError
from rootless.kernel import files, tree
from rootless.model.idmap import to_outside
from rootless.runtime import rootdir, users
from rootless.store import names, tarread, tarsparse  # noqa: F401
from rootless.store.tarread import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    LINK,
    REGULAR,
    SYMLINK,
    BadArchive,
)  # fmt: skip

_IFMT, _IFDIR, _IFREG, _IFCHR = 0o170000, 0o040000, 0o100000, 0o020000
_PIECE = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HOLDER = os.O_PATH | os.O_DIRECTORY
_NO_OWNER = (errno.EPERM, errno.EINVAL)
_LAST_SECOND = 1 << 40
_MOST_PENDING = 1 << 16


class InTheWay(RlError):
    """cannot copy {0} over {1}: {2}"""

    hint = "rl cp --overwrite replaces it"


class Rules:
    """How files are made.

    ``archive``    the stream is an archive of somebody's: the destination is a directory
    ``overwrite``  a file may replace a directory, and the other way round
    ``user``       the OCI ``user`` object whose files they are to be; None: see ``owners``
    ``owners``     take the owners from the stream (else nothing is done about them)
    ``ids``        model.idmap.Ids of the container, for ``user``
    ``stored``     the function (uid, gid) of the container → on disk; None: the same
    """

    def __init__(self, archive=False, overwrite=False, user=None, owners=False, ids=None,
                 stored=None):
        self.archive = archive
        self.overwrite = overwrite
        self.user = user
        self.owners = owners
        self.ids = ids
        self.stored = stored


def take(root, source, path, confined, rules):
    """Make the files of the tar stream at the descriptor ``source`` at ``path``.

    ``path``: from "/", whose directory is ``root``.  Returns how many entries were left out
    (device nodes).  Raises BadDestination, InTheWay, BadArchive, OSError.
    """
    taker = Taker(Place(root, confined), rules)
    stream = tarread.Stream(iter(lambda: os.read(source, _PIECE), b""))
    reader = tarread.TarReader(stream)
    try:
        first = True
        if rules.archive:
            taker.into_directory(path)
            first = False
        for entry in reader:
            if first:
                taker.settle(path, entry)
                first = False
            taker.add(entry, reader)
        if first:
            raise BadArchive(problem="nothing came")
        if not reader.ended:
            raise BadArchive(problem="it ends too early")
        taker.finish()
    finally:
        taker.close()
    stream.drain()
    return taker.left_out


def clean(name):
    """The parts of a member's name (list of bytes); BadArchive where it leads upwards."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise BadArchive(problem=f"{names.text(name)!r} leads out of the archive")
    return parts


class Taker:
    """Makes files below one directory: ``top``, which is called ``path`` from "/"."""

    def __init__(self, place, rules):
        self.place = place
        self.rules = rules
        self.top = self.path = None
        self.renamed = None
        self.in_place = None
        self.pending = {}
        self.left_out = 0
        self.owner = self._owner() if place.confined else None

    def _owner(self):
        """(uid, gid) on disk for everything that is made; None: as the stream says."""
        if self.rules.user is None:
            return None
        try:
            user = users.resolve_in(rootdir.RootDir(self.place.root), self.rules.user)
            ids = user.uid, user.gid
        except RlError:
            ids = 0, 0  # its passwd doesn't know the user any more
        if self.rules.ids is not None and None in (
            to_outside(self.rules.ids.uids, ids[0]), to_outside(self.rules.ids.gids, ids[1])
        ):
            return None
        return self.rules.stored(*ids) if self.rules.stored else ids

    def close(self):
        """Let go of the place: what is open in it keeps a program from ending that serves it."""
        for descriptor in (self.top, self.in_place):
            if descriptor is not None:
                os.close(descriptor)

    # --- where ---

    def into_directory(self, path):
        """Members go below the directory ``path``; BadDestination if it isn't one."""
        try:
            self.top = self.place.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise BadDestination(path, error.strerror) from None
        self.path = path

    def settle(self, path, entry):
        """Find out what ``path`` means for a stream that begins with ``entry``."""
        directory = entry.kind == DIRECTORY
        parts = clean(entry.name)
        wants = path.endswith(("/", "/."))
        try:
            found = self.place.open(path)
        except FileNotFoundError:
            if wants and not directory:
                raise BadDestination(path, "there is no such directory") from None
            self._become(path, parts)
            return
        except OSError as error:
            raise BadDestination(path, error.strerror) from None
        kind = os.fstat(found).st_mode & _IFMT
        os.close(found)
        if kind == _IFDIR:
            self.into_directory(path)
            return
        if wants:
            raise BadDestination(path, "it is not a directory")
        if directory and not self.rules.overwrite:
            raise InTheWay("a directory", path, "it is not a directory")
        if not directory and kind != _IFREG and not self.place.confined:
            # A pipe or a device of this machine: written to, not replaced.
            self.in_place = self.place.open(path, os.O_WRONLY)
            return
        self._become(path, parts)

    def _become(self, path, parts):
        """The first member is to be called as ``path`` ends."""
        try:
            holder, name = self.place.final(path)
        except OSError as error:
            raise BadDestination(path, f"{os.path.dirname(path.rstrip('/'))}: "
                                 f"{error.strerror}") from None
        self.top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=holder)
        os.close(holder)
        self.renamed = (len(parts), os.fsencode(name))
        # ``path`` may have gone through links: below, names are looked up from ``top`` itself.
        self.path = None

    def _parts(self, name):
        parts = clean(name)
        if self.renamed is not None:
            count, name = self.renamed
            return [name, *parts[count:]]
        return parts

    def _parent(self, parts):
        """A descriptor of the directory ``parts`` below the top, made if it isn't there."""
        path = b"/".join(parts)
        try:
            return self._open(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if not self.rules.overwrite or error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise self._refused(path, error) from None
        current = self._open(b"")
        for number, part in enumerate(parts):
            below = b"/".join(parts[: number + 1])
            try:
                deeper = self._open(below)
            except FileNotFoundError:
                self._mkdir(current, part, below)
                deeper = self._open(below)
            except OSError as error:
                if not self.rules.overwrite or error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    os.close(current)
                    raise self._refused(below, error) from None
                os.unlink(part, dir_fd=current)
                self._mkdir(current, part, below)
                deeper = self._open(below)
            os.close(current)
            current = deeper
        return current

    def _mkdir(self, parent, name, path):
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            return
        self._pend(parent, name, path, (0o755, self.owner, None, None))

    def _open(self, path):
        """The directory ``path`` (bytes) below the top."""
        if not path:
            return os.open(".", _HOLDER | os.O_CLOEXEC, dir_fd=self.top)
        if self.place.confined and self.path is not None:
            whole = os.fsencode(self.path) + b"/" + path
            return self.place.open(os.fsdecode(whole), _HOLDER)
        return files.open_beneath(self.top, path, _HOLDER)

    def _refused(self, path, error):
        shown = names.text(path)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return InTheWay("a directory", shown, "it is not a directory")
        return OSError(error.errno, error.strerror, shown)

    # --- what ---

    def add(self, entry, reader):
        """Make the file of one member."""
        if self.in_place is not None:
            self._write(self.in_place, entry, reader)
            return
        if entry.kind in (CHARACTER, BLOCK_DEVICE):
            self.left_out += 1
            return
        parts = self._parts(entry.name)
        if not parts:
            return  # the top itself, which was there before
        parent = self._parent(parts[:-1])
        try:
            path = b"/".join(parts)
            try:
                _MAKERS[entry.kind](self, parent, parts[-1], path, entry, reader)
            except OSError as error:
                raise OSError(error.errno, error.strerror, names.text(path)) from None
        finally:
            os.close(parent)

    def _clear(self, parent, name, path, what):
        """See that ``name`` can be replaced by a file: False if nothing is there."""
        try:
            status = os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            return False
        if status.st_mode & _IFMT != _IFDIR:
            return True
        if not self.rules.overwrite:
            raise InTheWay(what, names.text(path), "it is a directory")
        above = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            tree.remove_tree(above, os.fsdecode(name))
        finally:
            os.close(above)
        return False

    def _place(self, parent, name, path, make):
        """``make(name)`` under the name, in the place of a file that has it."""
        if not self._clear(parent, name, path, "a file"):
            try:
                return make(name)
            except FileExistsError:
                self._clear(parent, name, path, "a file")
        temporary = b".rl-cp-" + os.urandom(8).hex().encode()
        made = make(temporary)
        try:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError:
            os.unlink(temporary, dir_fd=parent)
            if made is not None:
                os.close(made)
            raise
        return made

    def _regular(self, parent, name, path, entry, reader):
        def make(called):
            return os.open(called, _NEW, 0o600, dir_fd=parent)

        try:
            file = self._place(parent, name, path, make)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # Something is mounted on it (/etc/hosts of a container): only its content changes.
            flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(name, flags, dir_fd=parent)
            try:
                self._write(file, entry, reader)
            finally:
                os.close(file)
            return
        try:
            self._write(file, entry, reader)
            self._finish(file, entry.mode, self._owner_of(entry), entry.mtime, entry.xattrs)
        finally:
            os.close(file)

    def _write(self, file, entry, reader):
        if entry.sparse is None:
            for view in reader.views(entry.size):
                files.write_all(file, view)
            return
        for offset, size in entry.sparse:
            os.lseek(file, offset, os.SEEK_SET)
            for view in reader.views(size):
                files.write_all(file, view)
        os.ftruncate(file, entry.length)

    def _directory(self, parent, name, path, entry, reader):
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            try:
                os.close(self._open(path))
                return  # a directory that was there keeps its owner and its mode
            except OSError:
                pass
            if not self.rules.overwrite:
                raise InTheWay("a directory", names.text(path), "it is not a directory") from None
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
        self._pend(parent, name, path,
                   (entry.mode, self._owner_of(entry), entry.mtime, entry.xattrs))

    def _link(self, parent, name, path, entry, reader):
        target = self._parts(entry.link)
        if not target:
            raise BadArchive(problem=f"{names.text(path)!r} is a hard link to the top")
        try:
            holder = self._open(b"/".join(target[:-1]))
        except OSError as error:
            raise OSError(error.errno, error.strerror, names.text(b"/".join(target))) from None
        try:
            self._place(parent, name, path, lambda called: os.link(
                target[-1], called, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False))
        finally:
            os.close(holder)

    def _symlink(self, parent, name, path, entry, reader):
        if not entry.link or b"\0" in entry.link:
            raise BadArchive(problem=f"{names.text(path)!r} is a link without a target")

        def make(called):
            os.symlink(entry.link, called, dir_fd=parent)
            owner = self._owner_of(entry)
            if owner:
                self._chown(owner, called, dir_fd=parent, follow_symlinks=False)
            if abs(entry.mtime) // 1_000_000_000 < _LAST_SECOND:
                times = entry.mtime, entry.mtime
                os.utime(called, ns=times, dir_fd=parent, follow_symlinks=False)

        self._place(parent, name, path, make)

    def _fifo(self, parent, name, path, entry, reader):
        def make(called):
            os.mkfifo(called, entry.mode & 0o777, dir_fd=parent)
            owner = self._owner_of(entry)
            if owner:
                self._chown(owner, called, dir_fd=parent, follow_symlinks=False)

        self._place(parent, name, path, make)

    # --- metadata ---

    def _owner_of(self, entry):
        if self.owner is not None:
            return self.owner
        if not self.rules.owners:
            return None
        owner = entry.uid, entry.gid
        return self.rules.stored(*owner) if self.rules.stored else owner

    def _chown(self, owner, target, **how):
        try:
            os.chown(target, *owner, **how)
        except OSError as error:
            if error.errno not in _NO_OWNER:
                raise  # such an owner doesn't exist here: the file stays root's

    def _finish(self, file, mode, owner, mtime, xattrs):
        """Owner, mode, attributes and time of an open file, in the order that keeps them."""
        if owner:
            self._chown(owner, file)
        os.fchmod(file, mode & (0o7777 if self.place.confined else 0o777))
        for name, value in (xattrs or {}).items():
            shown = names.text(name)
            if b"\0" not in name and names.keep_xattr(shown):
                try:
                    os.setxattr(file, name, value)
                except OSError:
                    pass  # this file system doesn't take it, or only root may set it
        if mtime is not None and abs(mtime) // 1_000_000_000 < _LAST_SECOND:
            os.utime(file, ns=(mtime, mtime))

    def _pend(self, parent, name, path, facts):
        """A directory gets its metadata when nothing is written into it any more."""
        status = os.lstat(name, dir_fd=parent)
        self.pending[path] = ((status.st_dev, status.st_ino), facts)
        if len(self.pending) > _MOST_PENDING:
            self.finish()

    def finish(self):
        """Complete the directories that were made."""
        for path, (made, facts) in reversed(self.pending.items()):
            try:
                holder = self._open(path)
            except OSError:
                continue  # it was replaced meanwhile, by a later member or by the container
            try:
                file = os.open(".", files.DIRECTORY, dir_fd=holder)
                try:
                    status = os.fstat(file)
                    if (status.st_dev, status.st_ino) == made:  # the one that was made here
                        self._finish(file, *facts)
                finally:
                    os.close(file)
            finally:
                os.close(holder)
        self.pending = {}


_MAKERS = {
    REGULAR: Taker._regular, DIRECTORY: Taker._directory, LINK: Taker._link,
    SYMLINK: Taker._symlink, FIFO: Taker._fifo,
}  # fmt: skip
