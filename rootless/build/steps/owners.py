"""Owners that the one mapped id can't have: asked for by a step, noted for its layer.

Where only one id is mapped, the kernel refuses to give a file to anybody else.  In a build the
calls of the chown family, and mknod of devices, come to P1 (seccomp_unotify(2)), which does
what can be done, answers "done", and notes what was asked for on the file itself:

    ordinary files, directories    store.capture.OWNER, an attribute in the upper directory;
                                   overlayfs hides it from the container, and it stays with
                                   the file through rename and link, and goes with it
    links, pipes                   they take no such attribute: kept open here, by inode
    device nodes                   an empty file with store.capture.NODE

store.capture puts it into the layer.  The container goes on to see the one owner there is.
Everything a call names is looked up in the root of the process that made it; nothing can be
reached that way which that process, root of its namespace, couldn't change by itself.
"""

import errno
import os
from fcntl import ioctl
from struct import Struct

from rootless.kernel import ctype, files, libc
from rootless.runtime import fakeowner
from rootless.store import capture

# linux/seccomp.h
_RECEIVE, _SEND, _VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTICE = Struct("=QIIiIQ6Q")  # id, pid, flags, number, architecture, address, arguments
_ANSWER = Struct("=QqiI")  # id, value, error, flags
_IFMT, _IFDIR, _IFREG, _IFCHR = 0o170000, 0o040000, 0o100000, 0o020000
_PATH = os.O_PATH | os.O_CLOEXEC
_AT_FDCWD = libc.AT_FDCWD & 0xFFFFFFFF
_PAGE = 4096
_LONGEST = 4096  # PATH_MAX
_NOBODY = 0xFFFFFFFF
# Where a path starts, and where the owner does, among the arguments; -1: there is none.
_CHOWN = {
    "chown": (-1, 0, 1), "lchown": (-1, 0, 1), "fchown": (0, -1, 1), "fchownat": (0, 1, 2),
}  # fmt: skip
_NODE = {"mknod": (-1, 0, 1), "mknodat": (0, 1, 2)}

_fchownat = libc.function(
    "fchownat", ctype.c_int, ctype.c_char_p, ctype.c_uint32, ctype.c_uint32, ctype.c_int
)


class Owners:
    """Answers for one step; ``upper`` is a descriptor of its upper directory, ``mine`` the
    (uid, gid) that there are."""

    def __init__(self, upper, mine=(0, 0)):
        self.upper = upper
        self.mine = mine
        self.calls = fakeowner.calls()
        self.kept = {}  # inode → (descriptor, (uid, gid))

    def noted(self):
        """{inode: (uid, gid)} of what takes no attributes."""
        return {inode: owner for inode, (_, owner) in self.kept.items()}

    def answer(self, listener):
        """Take one call from ``listener`` and answer it."""
        notice = bytearray(_NOTICE.size)
        try:
            ioctl(listener, _RECEIVE, notice)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return  # whoever asked was killed meanwhile
            raise
        number, pid, _, call, architecture, _, *arguments = _NOTICE.unpack(notice)
        error = 0
        try:
            name = self.calls[architecture, call]
            task = _Task(pid, lambda: ioctl(listener, _VALID, number.to_bytes(8, "little")))
            if not task.may_chown():
                error = self._refused(name, arguments)
            elif name in _NODE:
                self._make(task, name, arguments)
            else:
                self._chown(task, name, arguments)
        except OSError as problem:
            error = -(problem.errno or errno.EIO)
        try:
            ioctl(listener, _SEND, _ANSWER.pack(number, 0, error, 0))
        except OSError as problem:
            if problem.errno != errno.ENOENT:
                raise

    def _refused(self, name, arguments):
        """What is answered to who may not change owners."""
        if name not in _NODE:
            first = _CHOWN[name.removesuffix("16")][2]
            owner = [_id(value, name.endswith("16")) for value in arguments[first : first + 2]]
            if all(new in (None, old) for new, old in zip(owner, self.mine, strict=True)):
                return 0
        return -errno.EPERM

    # --- chown ---

    def _chown(self, task, name, arguments):
        short = name.endswith("16")
        base, path, first = _CHOWN[name.removesuffix("16")]
        owner = tuple(_id(value, short) for value in arguments[first : first + 2])
        flags = arguments[4] if name == "fchownat" else 0
        follow = not (name.startswith("lchown") or flags & libc.AT_SYMLINK_NOFOLLOW)
        if path < 0:
            target = task.descriptor(arguments[base])
        else:
            text = task.text(arguments[path])
            directory = arguments[base] if base >= 0 else _AT_FDCWD
            if not text and flags & libc.AT_EMPTY_PATH:
                target = task.descriptor(directory)
            else:
                target = task.open(directory, text, follow)
        try:
            # For its other effects: the file is copied up, it loses its set-uid bit.
            real = [_NOBODY if new is None else old
                    for new, old in zip(owner, self.mine, strict=True)]  # fmt: skip
            libc.call(_fchownat, target, b"", *real, libc.AT_EMPTY_PATH)
            if task.in_root(target):
                self._note(os.readlink(f"/proc/self/fd/{target}".encode()), owner)
        finally:
            os.close(target)

    def _note(self, path, owner):
        """Note the owner of what the upper directory has at ``path``."""
        found = self._find(path)
        if found is None:
            return
        status = os.fstat(found)
        if status.st_mode & _IFMT not in (_IFREG, _IFDIR):
            self._keep(found, status.st_ino, owner)
            return
        try:
            place = f"/proc/self/fd/{found}"
            names = os.listxattr(place)
            if capture.OWNER in names:
                owner = _over(owner, capture.parse_owner(os.getxattr(place, capture.OWNER)))
            directory = status.st_mode & _IFMT == _IFDIR
            if directory and capture.ORIGIN not in names and owner == self.mine:
                if capture.OWNER in names:
                    os.removexattr(place, capture.OWNER)
            else:
                os.setxattr(place, capture.OWNER, capture.owner_text(owner))
        finally:
            os.close(found)

    def _keep(self, descriptor, inode, owner):
        """Of something without attributes.  As long as it is open, its inode is its own."""
        known = self.kept.pop(inode, None)
        if known is not None:
            os.close(known[0])
            owner = _over(owner, known[1])
        if _over(owner, self.mine) != self.mine:
            self.kept[inode] = descriptor, owner
        else:
            os.close(descriptor)

    def _find(self, path):
        """A descriptor of ``path`` (bytes, from the root) in the upper directory, or None."""
        try:
            return files.open_beneath(self.upper, path.lstrip(b"/"), _PATH | os.O_NOFOLLOW)
        except OSError:
            return None  # it has no name any more

    # --- mknod ---

    def _make(self, task, name, arguments):
        base, path, first = _NODE[name]
        mode, device = arguments[first] & 0xFFFFFFFF, arguments[first + 1] & 0xFFFFFFFF
        directory = arguments[base] if base >= 0 else _AT_FDCWD
        above, _, last = task.text(arguments[path]).rstrip(b"/").rpartition(b"/")
        text = arguments[path] and task.text(arguments[path])
        holder = task.open(directory, above or (b"/" if text.startswith(b"/") else b"."), True)
        try:
            if not task.in_root(holder):
                return  # /dev and the like: nothing of it comes into the layer
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(last, flags, mode & 0o7777 & ~task.umask(), dir_fd=holder)
            os.close(made)
            path = os.readlink(f"/proc/self/fd/{holder}".encode()).rstrip(b"/") + b"/" + last
        finally:
            os.close(holder)
        found = self._find(path)
        if found is not None:
            kind = "c" if mode & _IFMT == _IFCHR else "b"
            text = f"{kind} {os.major(device)} {os.minor(device)}".encode()
            os.setxattr(f"/proc/self/fd/{found}", capture.NODE, text)
            os.close(found)


def _id(value, short):
    """An id among arguments; None for "leave it"."""
    value &= 0xFFFF if short else 0xFFFFFFFF
    return None if value == (0xFFFF if short else _NOBODY) else value


def _over(owner, before):
    return tuple(old if new is None else new for new, old in zip(owner, before, strict=True))


class _Task:
    """The thread that made a call; ``check()`` raises if it isn't waiting for us any more."""

    def __init__(self, pid, check):
        self.pid = pid
        self.check = check

    def text(self, address):
        """The string (bytes) at an address of its memory."""
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.check()
            found = b""
            while len(found) < _LONGEST:
                here = address + len(found)
                try:
                    piece = os.pread(memory, _PAGE - here % _PAGE, here)
                except (OSError, OverflowError):  # nothing is there: an end, as below
                    piece = b""
                text, end, _ = piece.partition(b"\0")
                found += text
                if end:
                    return found
                if not piece:
                    raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        finally:
            os.close(memory)

    def descriptor(self, number):
        """One of its descriptors, as a path (O_PATH)."""
        number &= 0xFFFFFFFF
        place = f"/proc/{self.pid}/cwd" if number == _AT_FDCWD else f"/proc/{self.pid}/fd/{number}"
        try:
            found = os.open(place, _PATH)
        except FileNotFoundError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        self.check()
        return found

    def root(self):
        found = os.open(f"/proc/{self.pid}/root", _PATH | os.O_DIRECTORY)
        self.check()
        return found

    def open(self, directory, path, follow):
        """What ``path`` (bytes) leads to from its descriptor ``directory``, as it sees it."""
        if not path:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        flags = _PATH | (0 if follow else os.O_NOFOLLOW)
        if not path.startswith(b"/"):
            base = self.descriptor(directory)
            try:
                return files.openat2(base, path, flags, resolve=files.RESOLVE_BENEATH
                                     | files.RESOLVE_NO_MAGICLINKS)  # fmt: skip
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                path = self._from_root(base) + b"/" + path
            finally:
                os.close(base)
        root = self.root()
        try:
            return files.openat2(root, path, flags)
        finally:
            os.close(root)

    def _from_root(self, descriptor):
        """The path of a directory as the process sees it, which may have changed its root."""
        path = os.readlink(f"/proc/self/fd/{descriptor}".encode())
        root = os.readlink(f"/proc/{self.pid}/root".encode())
        return path[len(root) :] if root != b"/" and path.startswith(root + b"/") else path

    def in_root(self, descriptor):
        """Whether it lies in the step's own root file system, not in something mounted."""
        root = self.root()
        try:
            return os.fstat(root).st_dev == os.fstat(descriptor).st_dev
        finally:
            os.close(root)

    def umask(self):
        """Its file mode creation mask."""
        return int(self._status(b"Umask:", b"022"), 8)

    def may_chown(self):
        """Whether it has CAP_CHOWN, the capability with the number 0."""
        return bool(int(self._status(b"CapEff:", b"0"), 16) & 1)

    def _status(self, name, default):
        """A field of its /proc/PID/status (proc(5)): bytes."""
        with open(f"/proc/{self.pid}/status", "rb", 0) as file:
            for line in file.read(4096).splitlines():
                if line.startswith(name):
                    return line.split()[1]
        return default
