"""Whole directory trees by descriptor: copied with everything they carry, or removed.

Nothing here follows a symbolic link or looks a path up from outside the descriptors given,
so trees that hostile programs wrote are safe to work on.
"""

import errno
import os

from rootless.kernel import files

_IFMT, _IFDIR, _IFREG, _IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
_IFCHR, _IFBLK, _IFSOCK = 0o020000, 0o060000, 0o140000
_NO_XATTR = (errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES, errno.EINVAL)
_DEEP = 48


# --- removing ------------------------------------------------------------------------------


def remove_tree(directory, name, missing_ok=True):
    """Remove ``name`` of the directory descriptor, whatever it is, with all below it.

    Directories without permissions are opened up first.  Depth costs neither descriptors
    nor recursion: what lies deep is moved to the top, then removed there.  OSError for
    what can't be removed (somebody else's files, a mount point).
    """
    try:
        _unlink(directory, name)
        return
    except FileNotFoundError:
        if missing_ok:
            return
        raise
    except IsADirectoryError:
        pass
    _remove_directory(directory, name, None, 0)


def _unlink(directory, name):
    """unlinkat(2), with IsADirectoryError for a directory on every file system."""
    try:
        os.unlink(name, dir_fd=directory)
    except (PermissionError, IsADirectoryError) as error:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if status.st_mode & _IFMT == _IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
        raise error from None


def _open_directory(directory, name):
    """Open a directory for listing and change, giving ourselves the permissions if needed."""
    try:
        descriptor = os.open(name, files.DIRECTORY, dir_fd=directory)
    except PermissionError:
        _open_up(directory, name)
        descriptor = os.open(name, files.DIRECTORY, dir_fd=directory)
    if os.fstat(descriptor).st_mode & 0o700 != 0o700:
        try:
            os.fchmod(descriptor, 0o700)
        except PermissionError:
            pass  # not ours; root of the namespace needs no permission bits
    return descriptor


def _open_up(directory, name):
    flags = files.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    handle = os.open(name, flags, dir_fd=directory)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)


def _remove_directory(directory, name, top, depth):
    """Remove the directory ``name``; ``top`` is the descriptor of the tree's root."""
    try:
        inner = _open_directory(directory, name)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=directory)  # it became something else meanwhile
        return
    try:
        while True:
            changed = _empty(inner, inner if top is None else top, depth)
            try:
                os.rmdir(name, dir_fd=directory)
                return
            except FileNotFoundError:
                return
            except OSError as error:
                # Not empty: deep directories were moved here, or the listing skipped names
                # while others were being removed.  Look again, as long as it gets smaller.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not changed:
                    raise
    finally:
        os.close(inner)


def _empty(current, top, depth):
    """Remove what ``current`` lists, moving to ``top`` what lies too deep; True if it did."""
    changed = False
    directories = []
    with os.scandir(current) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                changed = True  # also if it is gone: somebody else is at work here
                try:
                    os.unlink(entry.name, dir_fd=current)
                    continue
                except FileNotFoundError:
                    continue
                except IsADirectoryError:
                    pass
            directories.append(entry.name)
    for name in directories:
        if depth >= _DEEP:
            moved = f".rl-{os.urandom(8).hex()}"
            try:
                _open_up(current, name)
                os.rename(name, moved, src_dir_fd=current, dst_dir_fd=top)
            except FileNotFoundError:
                pass  # removed or moved by somebody else
        else:
            _remove_directory(current, name, top, depth + 1)
        changed = True
    return changed


# --- copying -------------------------------------------------------------------------------


class Copier:
    """Copies entries of one tree into another, keeping hard links between them.

    ``target`` is the descriptor of the new tree's root.  ``owner(uid, gid)`` gives the
    owner to set, by default the same one.  ``keep_xattr(name)`` says which extended
    attributes come along (str, by default all).  ``lost`` counts owners and attributes
    that this file system or id map could not take.  ``reflink`` turns off by itself when
    the file system says it can't.
    """

    def __init__(self, target, owner=None, keep_xattr=None):
        self.target = target
        self.owner = owner
        self.keep_xattr = keep_xattr
        self.links = {}
        self.reflink = True
        self.lost = 0
        self.files = 0
        self.bytes = 0

    def entry(self, source, name, status, directory, path):
        """Copy the non-directory ``name`` of descriptor ``source`` into ``directory``.

        ``status`` is its lstat result, ``path`` (bytes) where it lands below the root of
        the new tree.  Sockets are left out: nobody could be listening.
        """
        kind = status.st_mode & _IFMT
        if kind == _IFSOCK:
            return
        key = None
        if status.st_nlink > 1:
            key = (status.st_dev, status.st_ino)
            known = self.links.get(key)
            if known is not None and self._link(known, directory, name):
                return
        if kind == _IFREG:
            self._file(source, name, directory)
        elif kind == _IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=directory)
            self._chown(status, name, directory)
            times = (status.st_atime_ns, status.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
        else:
            self._special(name, status, directory)
        self.files += 1
        if key is not None:
            self.links[key] = path

    def _link(self, known, directory, name):
        parent, _, base = known.rpartition(b"/")
        holder = files.open_beneath(self.target, parent, files.O_PATH | os.O_DIRECTORY)
        try:
            os.link(base, name, src_dir_fd=holder, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EMLINK, errno.EPERM, errno.EXDEV):
                raise
            return False
        finally:
            os.close(holder)
        return True

    def _file(self, source, name, directory):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        origin = os.open(name, flags, dir_fd=source)
        try:
            status = os.fstat(origin)
            if status.st_mode & _IFMT != _IFREG:
                raise OSError(errno.ESTALE, "it changed while it was copied", name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            copy = os.open(name, flags, 0o600, dir_fd=directory)
            try:
                self._content(copy, origin, status.st_size)
                self.metadata(copy, status, origin)
            finally:
                os.close(copy)
            self.bytes += status.st_size
        finally:
            os.close(origin)

    def _content(self, copy, origin, size):
        if self.reflink and size:
            try:
                files.ficlone(copy, origin)
                return
            except OSError as error:
                unable = (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.EPERM)
                if error.errno not in unable:
                    raise
                # EINVAL may be about this one file (swap, immutable); the others say never.
                self.reflink = error.errno == errno.EINVAL
        files.copy_range(copy, origin, size)

    def _special(self, name, status, directory):
        try:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=directory)
        except PermissionError:
            if status.st_mode & _IFMT not in (_IFCHR, _IFBLK):
                raise
            self.lost += 1  # device nodes can't be made in a user namespace
            return
        self._chown(status, name, directory)
        os.chmod(name, status.st_mode & 0o7777, dir_fd=directory)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _chown(self, status, target, directory=None):
        uid, gid = status.st_uid, status.st_gid
        if self.owner is not None:
            uid, gid = self.owner(uid, gid)
        try:
            if directory is None:
                os.fchown(target, uid, gid)
            else:
                os.chown(target, uid, gid, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM, errno.EOVERFLOW):
                raise
            self.lost += 1  # an id that this map doesn't have

    def metadata(self, copy, status, origin):
        """Give the descriptor ``copy`` the owner, mode, attributes and times of ``origin``."""
        # chown drops set-uid bits and capabilities, so it goes first; times go last.
        self._chown(status, copy)
        os.fchmod(copy, status.st_mode & 0o7777)
        self._xattrs(copy, origin)
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _xattrs(self, copy, origin):
        try:
            names = os.listxattr(origin)
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise
            return
        for name in names:
            if self.keep_xattr is not None and not self.keep_xattr(name):
                continue
            try:
                os.setxattr(copy, name, os.getxattr(origin, name))
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise
                self.lost += 1


def copy_tree(source, target, owner=None, keep_xattr=None, skip=None):
    """Copy all that is in the directory descriptor ``source`` into ``target``.

    Owners, modes, times, extended attributes, holes and hard links come along; the two
    roots' own metadata too.  Content is shared (reflink) where the file system can.
    ``owner`` and ``keep_xattr``: see Copier.  ``skip(path, status)`` leaves an entry out
    (path in bytes).  ``target`` should be empty: an existing name is FileExistsError, an
    existing directory is filled.  Returns the Copier, with its counts.
    """
    copier = Copier(target, owner, keep_xattr)
    waiting, made = [b""], []
    while waiting:
        path = waiting.pop()
        origin = files.open_beneath(source, path)
        try:
            copy = files.open_beneath(target, path)
            try:
                waiting.extend(_copy_directory(copier, origin, copy, path, skip))
            finally:
                os.close(copy)
            made.append(path)
        finally:
            os.close(origin)
    # Directories get their metadata when nothing is written into them any more.
    for path in reversed(made):
        origin = files.open_beneath(source, path)
        try:
            copy = files.open_beneath(target, path)
            try:
                copier.metadata(copy, os.fstat(origin), origin)
            finally:
                os.close(copy)
        finally:
            os.close(origin)
    return copier


def _copy_directory(copier, origin, copy, path, skip):
    """Copy one directory's entries; the paths of its subdirectories, made but empty."""
    deeper = []
    with os.scandir(origin) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            below = path + b"/" + name if path else name
            status = entry.stat(follow_symlinks=False)
            if skip is not None and skip(below, status):
                continue
            if status.st_mode & _IFMT != _IFDIR:
                copier.entry(origin, name, status, copy, below)
                continue
            try:
                os.mkdir(name, 0o700, dir_fd=copy)
            except FileExistsError:
                pass
            deeper.append(below)
    return deeper
