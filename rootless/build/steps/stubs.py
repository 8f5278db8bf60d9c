"""What setting a step up leaves in its writable layer: found before the program runs, and
removed after it if it is still as it was.

Those are the places of mounts (empty files and directories), /etc/mtab and directories that
were only copied up.  Everything is done by descriptor and follows no link: the program has
had these directories to itself meanwhile (CVE-2024-23652).  Runs in the user namespace.
"""

import os

from rootless.kernel import files
from rootless.store import capture, changes, merged

_IFMT, _IFDIR = 0o170000, 0o040000


def look(home, name):
    """{path: identity} of all there is in the tree ``name`` of the directory ``home``."""
    root = os.open(name, files.DIRECTORY, dir_fd=home)
    try:
        found, waiting = {}, [b""]
        while waiting:
            path = waiting.pop()
            holder = files.open_beneath(root, path)
            try:
                for name, status in merged.scan(holder).items():
                    here = merged.join(path, name)
                    found[here] = identity(status)
                    if status.st_mode & _IFMT == _IFDIR:
                        waiting.append(here)
            finally:
                os.close(holder)
        return found
    finally:
        os.close(root)


def added(home, name, path, lowers):
    """As ``look``, for a clone: of what isn't in the layers ``lowers`` (paths of trees).

    ``path``: of the directory ``home``.
    """
    root = os.open(name, files.DIRECTORY, dir_fd=home)
    try:
        found = {}
        for below, kind in changes.find("clone", path, lowers):
            if kind == "A":
                parent, _, last = below.rpartition(b"/")
                holder = files.open_beneath(root, parent)
                found[below] = identity(os.lstat(last, dir_fd=holder))
                os.close(holder)
        return found
    finally:
        os.close(root)


def identity(status):
    """What changes when something else is put in a file's place, or into it."""
    facts = (status.st_ino, status.st_mode, status.st_uid, status.st_gid)
    if status.st_mode & _IFMT == _IFDIR:
        return facts
    return (*facts, status.st_size, status.st_mtime_ns)


def clean(home, name, found):
    """Remove what ``look`` found and nobody has touched; directories only if they are empty."""
    root = os.open(name, files.DIRECTORY, dir_fd=home)
    try:
        for path in sorted(found, key=len, reverse=True):  # what is below comes first
            _remove(root, path, found[path])
    finally:
        os.close(root)


def _remove(root, path, known):
    parent, _, name = path.rpartition(b"/")
    try:
        holder = files.open_beneath(root, parent)
    except OSError:
        return  # the program has put something else there
    try:
        status = os.lstat(name, dir_fd=holder)
        if identity(status) != known:
            return
        before = os.fstat(holder)
        if status.st_mode & _IFMT == _IFDIR:
            if not _owner_given(name, holder):
                os.rmdir(name, dir_fd=holder)
        else:
            os.unlink(name, dir_fd=holder)
        os.utime(holder, ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError:
        pass  # it is gone, or isn't empty
    finally:
        os.close(holder)


def _owner_given(name, holder):
    """Whether the program gave the directory to somebody who isn't there (single id)."""
    descriptor = os.open(name, files.DIRECTORY, dir_fd=holder)
    try:
        return capture.OWNER in os.listxattr(descriptor)
    finally:
        os.close(descriptor)
