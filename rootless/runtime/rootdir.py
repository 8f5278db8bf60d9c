"""The container's root directory, seen from outside it: every look-up stays beneath.

Image content is hostile: any name in it may be a symbolic link.  All paths are resolved by
the kernel with openat2(2) RESOLVE_IN_ROOT, which treats the root as chroot(2) would, and
mounts go onto the descriptor that came out, so nothing can be swapped in between.
"""

import os

from rootless.errors import RlError
from rootless.kernel.files import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)

_CONFINED = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_ELOOP = 40
_MOST_LINKS = 40  # as the kernel: ELOOP past that


class BadTarget(RlError):
    """cannot use {0} inside the container: {1}"""

    hint = "look at the image with: rl run --rm --entrypoint ls IMAGE -la"


class RootDir:
    """The directory ``descriptor`` as a root; paths are as the container sees them."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def open(self, path, flags=os.O_PATH, mode=0):
        """Open ``path``, following links inside the root only; OSError as openat2(2)."""
        path = path.strip("/") or "."
        return openat2(self.descriptor, path, flags | os.O_CLOEXEC, mode, resolve=_CONFINED)

    def exists(self, path):
        """True if ``path`` leads to something."""
        try:
            os.close(self.open(path))
        except OSError:
            return False
        return True

    def read(self, path, limit):
        """The bytes of the ordinary file at ``path``, at most ``limit``; None if it is absent.

        Anything else than an ordinary file counts as absent: a FIFO must not block us.
        """
        from stat import S_ISREG

        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return None
        try:
            if not S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = b""
            while len(content) < limit:
                chunk = os.read(descriptor, limit - len(content))
                if not chunk:
                    break
                content += chunk
            return content
        finally:
            os.close(descriptor)

    def directory(self, path, mode=0o755, owner=None, plain=False):
        """An O_PATH descriptor of the directory ``path``, made with its parents if need be.

        ``owner`` (uid, gid) is given to the directories made here.  ``plain``: no link may
        be on the way.  Raises BadTarget, also if it is the root itself.
        """
        found = self._make(path, mode, owner, None)
        try:
            if os.path.sameopenfile(found, self.descriptor):
                raise BadTarget(path, "it leads to the root itself")
            if plain:
                self._check_plain(path)
        except BaseException:
            os.close(found)
            raise
        return found

    def file(self, path, mode=0o644):
        """An O_PATH descriptor of ``path``, made as an empty file if nothing is there."""
        return self._make(path, 0o755, None, mode)

    def _check_plain(self, path):
        flags, how = os.O_PATH | os.O_CLOEXEC, _CONFINED | RESOLVE_NO_SYMLINKS
        try:
            os.close(openat2(self.descriptor, path.strip("/"), flags, 0, resolve=how))
        except OSError as error:
            if error.errno != _ELOOP:
                raise
            raise BadTarget(path, "the image has a symbolic link there") from None

    def _make(self, path, mode, owner, file_mode, links=0):
        try:
            return self.open(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise BadTarget(path, error.strerror) from None
        names = [name for name in path.split("/") if name not in ("", ".")]
        done = ""
        for index, name in enumerate(names):
            here = f"{done}/{name}"
            last = index == len(names) - 1
            try:
                os.close(self.open(here))
            except FileNotFoundError:
                target = self._create(done, name, mode, owner, file_mode if last else None)
                if target is not None:
                    if links == _MOST_LINKS:
                        raise BadTarget(path, "too many symbolic links") from None
                    base = target if target.startswith("/") else f"{done}/{target}"
                    rest = "/".join([base, *names[index + 1 :]])
                    return self._make(rest, mode, owner, file_mode, links + 1)
            except OSError as error:
                raise BadTarget(path, error.strerror) from None
            done = here
        try:
            return self.open(path)
        except OSError as error:
            raise BadTarget(path, error.strerror) from None

    def _create(self, parent, name, mode, owner, file_mode):
        """Make one entry.  A dangling link is left alone: what it points to is returned."""
        try:
            above = self.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise BadTarget(f"{parent}/{name}", error.strerror) from None
        try:
            if name == "..":
                return None
            if file_mode is None:
                os.mkdir(name, mode, dir_fd=above)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, file_mode, dir_fd=above))
            if owner:
                os.chown(name, *owner, dir_fd=above, follow_symlinks=False)
        except FileExistsError:
            try:
                return os.readlink(name, dir_fd=above)
            except OSError:
                return None
        except OSError as error:
            raise BadTarget(f"{parent}/{name}", error.strerror) from None
        finally:
            os.close(above)
        return None
