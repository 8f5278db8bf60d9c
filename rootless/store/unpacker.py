"""Entries of an archive into a directory: the half of unpacking that runs confined.

The caller has made the layer's tree the root directory of this process (chroot) inside
the user namespace, so no name, ".." or link of an archive leads out of it; links among
parent directories are followed inside, as other engines do.  What the file system or the
id map can't hold (owners with one id, device nodes, some attributes) goes into the index.
"""

import errno
import os

from rootless.kernel import files
from rootless.store import names
from rootless.store.tarread import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    LINK,
    REGULAR,
    SYMLINK,
    BadArchive,
)

MOST_ENTRIES = 8_000_000
LONGEST_PATH = 4095
DEEPEST = 1000
_MOST_OPEN = 128
_MOST_PENDING = 40_000
_MOST_LINKS = 40
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NO_XATTR = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ERANGE)
_NO_OWNER = (errno.EINVAL, errno.EPERM, errno.EOVERFLOW)
_EAGER = 1 << 20
_LAST_SECOND = (1 << 63) // 1_000_000_000 - 1
# The time of a tree's root that no entry of the archive described (see drivers.base).
UNKNOWN_ROOT = (1, 1)


def clean(name):
    """A member's name as a path below the root (bytes), "" for the root; no links looked at.

    BadArchive for "..", which no archive of a layer needs, and for names the kernel can't
    take.  A leading "/" means the layer's root.
    """
    if b".." in name or b"//" in name or b"./" in name or name[:1] == b"/" or name[-1:] in b"/.":
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise BadArchive(problem=f"the name {names.text(name[:200])!r} leads upwards")
        name = b"/".join(parts)
    if b"\0" in name:
        raise BadArchive(problem="a name has a NUL in it")
    if len(name) > LONGEST_PATH or name.count(b"/") >= DEEPEST:
        raise BadArchive(problem="a name is too long or too deep")
    return name


class Unpacker:
    """Makes the entries of one layer; ``finish`` completes it.

    ``single`` says that only one id is mapped: owners are recorded, not set.  ``listing``
    takes one line (bytes) for each entry.  After ``finish``, ``index()`` has the facts for
    the layer's index.
    """

    def __init__(self, single, listing):
        self.single = single
        self.listing = listing
        self.root = os.open("/", files.DIRECTORY)
        self.parents = {}
        self.pending = {}
        self.whiteouts = set()
        self.opaques = set()
        self.owners = {}
        self.devices = {}
        self.xattrs = {}
        self.entries = self.bytes = self.unmapped = 0
        self.pending[b""] = (0o755, 0, 0, None, None)
        self.makers = {
            REGULAR: self._regular,
            DIRECTORY: self._directory,
            LINK: self._hard_link,
            SYMLINK: self._symbolic_link,
            FIFO: self._fifo,
            CHARACTER: self._device,
            BLOCK_DEVICE: self._device,
        }

    def add(self, entry, reader):
        """Make one entry; ``reader`` (TarReader) has its data."""
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise BadArchive(problem=f"it has more than {MOST_ENTRIES} entries")
        path = clean(entry.name)
        if not path:
            if entry.kind != DIRECTORY:
                raise BadArchive(problem="it makes its root something else than a directory")
            self._remember(b"", entry)
            return
        before, _, name = path.rpartition(b"/")
        try:
            parent, base = self.parent(before)
            if base != before:
                path = base + b"/" + name if base else name
            if name.startswith(names.WHITEOUT):
                self._whiteout(parent, base, name)
            else:
                self.makers[entry.kind](parent, name, path, entry, reader)
        except OSError as error:
            raise self._explained(error, path) from None

    def _explained(self, error, path):
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
            return BadArchive(problem=f"{names.text(path)!r}: {error.strerror}")
        return OSError(error.errno, error.strerror, names.text(path))

    # --- parents ---

    def parent(self, path):
        """(descriptor, real path) of the directory ``path`` in the layer, made if missing."""
        found = self.parents.get(path)
        if found is not None:
            return found
        try:
            found = (self._open(path), path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                raise
            found = self._make_parents(path)
        if len(self.parents) >= _MOST_OPEN:
            os.close(self.parents.pop(next(iter(self.parents)))[0])
        self.parents[path] = found
        return found

    def _open(self, path):
        return files.open_beneath(self.root, path, _PARENT)

    def forget_parents(self):
        """Something that may be a part of a known path was replaced."""
        for descriptor, _ in self.parents.values():
            os.close(descriptor)
        self.parents.clear()

    def _make_parents(self, path):
        """Walk down ``path``, following links inside the layer, and make what is missing."""
        parts = path.split(b"/")[::-1]
        real, links = [], 0
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del real[-1:]
                continue
            if part.startswith(names.WHITEOUT):
                raise BadArchive(problem=f"{names.text(path)!r} is below a whiteout")
            here = b"/".join((*real, part))
            target = self._step(here, b"/".join(real), part)
            if target is None:
                real.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith(b"/"):
                real.clear()
            parts.extend(target.split(b"/")[::-1])
        path = b"/".join(real)
        if len(path) > LONGEST_PATH or len(real) >= DEEPEST:
            raise BadArchive(problem="a name is too long or too deep")
        return self._open(path), path

    def _step(self, here, above, name):
        """Make sure that ``here`` is a directory; the link's text if it is a link instead."""
        holder = self._open(above)
        try:
            try:
                status = os.lstat(name, dir_fd=holder)
            except FileNotFoundError:
                status = None
            kind = status.st_mode & 0o170000 if status else 0
            if kind == 0o040000:
                return None
            if kind == 0o120000:
                return os.readlink(name, dir_fd=holder)
            if here in self.whiteouts:
                self._uncover(here, name, holder)
            elif kind:
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            os.mkdir(name, 0o700, dir_fd=holder)
            self.pending[here] = (0o755, 0, 0, None, None)
            self.listing(b"d 755 0 0 " + here + b"\0")
            return None
        finally:
            os.close(holder)

    # --- things in the way ---

    def _uncover(self, path, name, parent):
        """A directory comes where a whiteout is: it hides all of the lower one."""
        self.whiteouts.discard(path)
        self.opaques.add(path)
        for node in (name, names.WHITEOUT + name):
            try:
                os.unlink(node, dir_fd=parent)
            except FileNotFoundError:
                pass

    def _replace(self, parent, name, path):
        """Remove what an earlier entry made under this name."""
        from rootless.kernel import tree

        if path in self.whiteouts:
            self.whiteouts.discard(path)
        status = os.lstat(name, dir_fd=parent)
        kind = status.st_mode & 0o170000
        if kind == 0o040000:
            self._forget_below(path)
        if kind in (0o040000, 0o120000):
            self.forget_parents()
            parent, _ = self.parent(path.rpartition(b"/")[0])
            tree.remove_tree(parent, name)
            return parent
        os.unlink(name, dir_fd=parent)
        self._forget_one(path)
        return parent

    def _forget_one(self, path):
        for table in (self.owners, self.devices, self.xattrs, self.pending):
            table.pop(path, None)

    def _forget_below(self, path):
        below = path + b"/"
        for table in (self.owners, self.devices, self.xattrs, self.pending):
            for known in [k for k in table if k == path or k.startswith(below)]:
                del table[known]
        for known in (self.whiteouts, self.opaques):
            known.difference_update([k for k in known if k == path or k.startswith(below)])

    def _making(self, make, parent, name, path):
        """Call ``make(parent)``, once more after removing what has the name already."""
        if self.devices:
            self.devices.pop(path, None)
        try:
            return make(parent)
        except FileExistsError:
            return make(self._replace(parent, name, path))

    # --- one maker for each kind ---

    def _regular(self, parent, name, path, entry, reader):
        mode = entry.mode
        try:
            file = os.open(name, _NEW, mode & 0o777, dir_fd=parent)
        except FileExistsError:
            parent = self._replace(parent, name, path)
            file = os.open(name, _NEW, mode & 0o777, dir_fd=parent)
        try:
            if entry.sparse is None:
                for view in reader.views(entry.size):
                    files.write_all(file, view)
            else:
                self._sparse(file, entry, reader)
            owned = self._chown(file, path, entry)
            if mode & 0o7000 or owned:
                os.fchmod(file, mode)
            if entry.xattrs:
                self._set_xattrs(file, path, entry.xattrs)
            if entry.size >= _EAGER:
                files.start_writeback(file)
            self._utime(file, entry.mtime)
        finally:
            os.close(file)
        if self.devices:
            self.devices.pop(path, None)
        self.bytes += entry.length
        self.listing(b"f %o %d %d %b\0" % (mode, entry.length, entry.mtime, path))

    def _sparse(self, file, entry, reader):
        for offset, size in entry.sparse:
            os.lseek(file, offset, os.SEEK_SET)
            for view in reader.views(size):
                files.write_all(file, view)
        try:
            os.ftruncate(file, entry.length)
        except OverflowError:
            raise BadArchive(problem="a sparse file has an impossible size") from None

    def _directory(self, parent, name, path, entry, reader):
        if path in self.whiteouts:
            self._uncover(path, name, parent)
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if os.lstat(name, dir_fd=parent).st_mode & 0o170000 != 0o040000:
                parent = self._replace(parent, name, path)
                os.mkdir(name, 0o700, dir_fd=parent)
        if self.devices:
            self.devices.pop(path, None)
        self._remember(path, entry)

    def _remember(self, path, entry):
        """Directories get their metadata when nothing is written into them any more."""
        self.listing(b"d %o 0 %d %b\0" % (entry.mode, entry.mtime, path))
        self.pending.pop(path, None)
        self.pending[path] = (entry.mode, entry.uid, entry.gid, entry.mtime, entry.xattrs)
        if len(self.pending) > _MOST_PENDING:
            self._settle(list(self.pending)[: _MOST_PENDING // 2])

    def _hard_link(self, parent, name, path, entry, reader):
        before, _, base = clean(entry.link).rpartition(b"/")
        if not base:
            raise BadArchive(problem=f"{names.text(path)!r} is a hard link to the root")
        try:
            self._link(parent, name, path, before, base)
        except FileNotFoundError:
            raise BadArchive(
                problem=f"{names.text(path)!r} is a hard link to nothing in this layer"
            ) from None
        source = before + b"/" + base if before else base
        for table in (self.owners, self.xattrs):
            if source in table:
                table[path] = table[source]
        self.listing(b"h 0 0 0 " + path + b"\0")

    def _link(self, parent, name, path, before, base):
        # Opened apart from the cache: making room in it could close ``parent``.
        holder = os.open(b"/" + before, _PARENT)
        try:
            kind = os.lstat(base, dir_fd=holder).st_mode & 0o170000
            if kind == 0o040000:
                raise OSError(errno.EINVAL, "it is a hard link to a directory")
            if kind == 0o020000:
                raise FileNotFoundError  # a whiteout, the only such node there can be
            self._making(
                lambda into: os.link(
                    base, name, src_dir_fd=holder, dst_dir_fd=into, follow_symlinks=False
                ),
                parent, name, path,
            )
        finally:
            os.close(holder)

    def _symbolic_link(self, parent, name, path, entry, reader):
        if not entry.link or b"\0" in entry.link:
            raise BadArchive(problem=f"{names.text(path)!r} is a link without a target")
        if len(entry.link) > LONGEST_PATH:
            raise BadArchive(problem=f"{names.text(path)!r} is a link with too long a target")

        def make(into):
            os.symlink(entry.link, name, dir_fd=into)
            return into

        parent = self._making(make, parent, name, path)
        self._chown(name, path, entry, parent)
        self._utime(name, entry.mtime, parent)
        self.listing(b"l 777 %d %d %b\0" % (len(entry.link), entry.mtime, path))

    def _fifo(self, parent, name, path, entry, reader):
        def make(into):
            os.mkfifo(name, entry.mode & 0o777, dir_fd=into)
            return into

        parent = self._making(make, parent, name, path)
        if self._chown(name, path, entry, parent) or entry.mode & 0o7000:
            os.chmod(name, entry.mode, dir_fd=parent)
        self._utime(name, entry.mtime, parent)
        self.listing(b"p %o 0 %d %b\0" % (entry.mode, entry.mtime, path))

    def _device(self, parent, name, path, entry, reader):
        """Device nodes can't be made here; the index keeps them for save, push and commit.

        A node 0:0 would be taken for a whiteout, so none is ever made from an archive.
        """
        if path not in self.whiteouts:
            try:
                self._replace(parent, name, path)
            except FileNotFoundError:
                pass
        self.devices[path] = [
            entry.kind, entry.mode, entry.uid, entry.gid, entry.major, entry.minor, entry.mtime,
        ]

    # --- whiteouts ---

    def _whiteout(self, parent, base, name):
        if name == names.OPAQUE:
            self.opaques.add(base)
            return
        if name.startswith(names.META):
            return  # bookkeeping of aufs
        hidden = name[len(names.WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise BadArchive(problem=f"the whiteout {names.text(name)!r} hides nothing")
        path = base + b"/" + hidden if base else hidden
        try:
            status = os.lstat(hidden, dir_fd=parent)
        except FileNotFoundError:
            if path not in self.whiteouts:
                self._hide(parent, hidden, path)
            return
        # A whiteout is about lower layers: what this one has stays, hiding all below it.
        if status.st_mode & 0o170000 == 0o040000:
            self.opaques.add(path)

    def _hide(self, parent, hidden, path):
        self.whiteouts.add(path)
        try:
            os.mknod(hidden, 0o020000, 0, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOTSUP):
                raise
            # Before Linux 5.8, and on some network file systems: fuse-overlayfs and the
            # clone understand this one too.
            os.close(os.open(names.WHITEOUT + hidden, _NEW, 0o600, dir_fd=parent))

    # --- metadata ---

    def _chown(self, target, path, entry, parent=None):
        """Set the owner; True if that was needed.  What can't be set is recorded."""
        uid, gid = entry.uid, entry.gid
        if not uid and not gid:
            if self.owners:
                self.owners.pop(path, None)
            return False
        if not self.single:
            try:
                if parent is None:
                    os.fchown(target, uid, gid)
                else:
                    os.chown(target, uid, gid, dir_fd=parent, follow_symlinks=False)
                return True
            except OSError as error:
                if error.errno not in _NO_OWNER:
                    raise
                self.unmapped += 1
        self.owners[path] = [uid, gid]
        return False

    def _utime(self, target, mtime, parent=None):
        second = mtime // 1_000_000_000
        if not -_LAST_SECOND < second < _LAST_SECOND:
            mtime = 0
        if parent is None:
            os.utime(target, ns=(mtime, mtime))
        else:
            os.utime(target, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)

    def _set_xattrs(self, file, path, xattrs):
        for name, value in xattrs.items():
            shown = names.text(name)
            if b"\0" in name or not names.keep_xattr(shown):
                continue
            try:
                os.setxattr(file, name, value)
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise
                self.xattrs.setdefault(path, {})[shown] = value.hex()

    def _settle(self, paths):
        """Give directories their metadata."""
        for path in paths:
            mode, uid, gid, mtime, xattrs = self.pending.pop(path)
            file = files.open_beneath(self.root, path)
            try:
                if uid or gid:
                    entry = _Owner(uid, gid)
                    self._chown(file, path, entry)
                os.fchmod(file, mode)
                if xattrs:
                    self._set_xattrs(file, path, xattrs)
                if path in self.opaques:
                    self._mark_opaque(file)
                if mtime is not None:
                    self._utime(file, mtime)
                elif not path:
                    os.utime(file, ns=UNKNOWN_ROOT)
            finally:
                os.close(file)

    def _mark_opaque(self, file):
        for name in names.OPAQUE_XATTRS:
            try:
                os.setxattr(file, name, b"y")
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise
                # No attributes here: fuse-overlayfs looks for this file as well.
                try:
                    os.close(os.open(names.OPAQUE, _NEW, 0o600, dir_fd=file))
                except FileExistsError:
                    pass
                return

    def finish(self):
        """Complete the directories."""
        self.forget_parents()
        self._settle_opaque()
        self._settle(list(self.pending))

    def _settle_opaque(self):
        """Mark opaque directories that have no metadata waiting."""
        for path in self.opaques:
            if path not in self.pending:
                file = files.open_beneath(self.root, path)
                try:
                    status = os.fstat(file)
                    self._mark_opaque(file)
                    os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))
                finally:
                    os.close(file)

    def index(self):
        """What was noted on the way, as plain data (see layers.Layers.index)."""
        return {
            "entries": self.entries,
            "bytes": self.bytes,
            "unmapped": self.unmapped,
            "whiteouts": sorted(map(names.text, self.whiteouts)),
            "opaques": sorted(map(names.text, self.opaques)),
            "owners": {names.text(path): owner for path, owner in self.owners.items()},
            "devices": {names.text(path): facts for path, facts in self.devices.items()},
            "xattrs": {names.text(path): facts for path, facts in self.xattrs.items()},
        }


class _Owner:
    __slots__ = ("uid", "gid")

    def __init__(self, uid, gid):
        self.uid, self.gid = uid, gid
