"""The first content of a volume: what the image has where the volume is mounted.

    VOLUME/_data      the volume's content
    VOLUME/copy-up    there as long as this is to be done; locked by whoever does it
    VOLUME/filling    a copy on its way

The copy is made beside the content and its entries are then renamed into place, so whoever has
the volume mounted already never sees half a file.  "copy-up" says "moving" from then on: a
start that finds this goes on with the renames; one that finds an unfinished copy makes it
again.  A volume that somebody has put something into stays as it is.
"""

import os

from rootless.kernel import files

_MOVING = b"moving"
_DRAFT = "filling"
_MARKER = "copy-up"


def fill(image, path, owner):
    """Fill the new volume whose content is at ``path`` (str, ending in /_data).

    ``image``: a descriptor of the directory in the image, None if it has none there: then
    ``owner()``, (uid, gid), gets the empty volume, as podman has it.
    Runs as root of the container's user namespace.  OSError if there is no room.
    """
    volume = os.open(os.path.dirname(path), files.DIRECTORY)
    try:
        try:
            marker = os.open(_MARKER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=volume)
        except FileNotFoundError:
            return  # another container was faster
        try:
            files.lock(marker)
            if os.fstat(marker).st_nlink:
                _fill(image, volume, marker, owner)
                os.unlink(_MARKER, dir_fd=volume)
        finally:
            os.close(marker)
    finally:
        os.close(volume)


def _fill(image, volume, marker, owner):
    from rootless.kernel import tree

    content = os.open("_data", files.DIRECTORY, dir_fd=volume)
    try:
        if os.pread(marker, len(_MOVING), 0) != _MOVING:
            tree.remove_tree(volume, _DRAFT)
            if os.listdir(content):
                return
            if image is None:
                if _untouched(volume, content):
                    os.fchown(content, *owner())
                return
            _copy(image, volume)
            os.pwrite(marker, _MOVING, 0)
            os.fsync(marker)
        _move(volume, content)
        if image is not None and _untouched(volume, content):
            status = os.fstat(image)
            os.fchown(content, status.st_uid, status.st_gid)
            os.fchmod(content, status.st_mode & 0o7777)
        tree.remove_tree(volume, _DRAFT)
    finally:
        os.close(content)


def _copy(image, volume):
    from rootless.kernel.tree import copy_tree

    os.mkdir(_DRAFT, 0o700, dir_fd=volume)
    draft = os.open(_DRAFT, files.DIRECTORY, dir_fd=volume)
    try:
        copy_tree(image, draft)
    finally:
        os.close(draft)


def _move(volume, content):
    """Rename the entries of the finished copy into the content."""
    try:
        draft = os.open(_DRAFT, files.DIRECTORY, dir_fd=volume)
    except FileNotFoundError:
        return  # all of them were, and the end of it was interrupted
    try:
        for name in os.listdir(draft):
            try:
                os.stat(name, dir_fd=content, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(name, name, src_dir_fd=draft, dst_dir_fd=content)
    finally:
        os.close(draft)


def _untouched(volume, content):
    """Whether the content has the owner it was made with, and not one that was asked for."""
    ours, now = os.fstat(volume), os.fstat(content)
    return (ours.st_uid, ours.st_gid) == (now.st_uid, now.st_gid)
