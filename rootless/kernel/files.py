"""Files by descriptor: confined opening, locks, atomic replacement, reflinks.

See openat2(2), renameat2(2), ioctl_ficlonerange(2), flock(2), syncfs(2).
"""

import errno
import os
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock, ioctl

from rootless.kernel import ctype, libc

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

RENAME_NOREPLACE = 1

O_PATH = os.O_PATH | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# What says nothing about a file: this process or the machine has run out of something.
SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)

_FICLONE = 0x40049409
_GETFLAGS, _SETFLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x20000  # ioctl_iflags(2)
_SYNC_FILE_RANGE_WRITE = 2
_MAGIC = {
    0x01021994: "tmpfs",
    0x6969: "nfs",
    0x65735546: "fuse",
    0x794C7630: "overlay",
    0x9123683E: "btrfs",
    0x58465342: "xfs",
    0xEF53: "ext4",
    0x2FC12FC1: "zfs",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0xFE534D42: "smb",
    0x62656572: "sysfs",
    0x9FA0: "proc",
    0x858458F6: "ramfs",
}

_syncfs = libc.function("syncfs", ctype.c_int)
_fstatfs = libc.function("fstatfs", ctype.c_int, ctype.c_void_p)
_sync_file_range = libc.function(
    "sync_file_range", ctype.c_int, ctype.c_int64, ctype.c_int64, ctype.c_uint
)
_OpenHow = ctype.c_uint64 * 3  # struct open_how: flags, mode, resolve


def openat2(directory, path, flags, mode=0, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS):
    """A descriptor for ``path`` looked up from the descriptor ``directory``.

    By default ``directory`` is the root for absolute paths, ".." and links alike, and
    nothing in /proc leads out of it.  The descriptor is close-on-exec.  OSError as
    openat2(2) has it: ENOSYS before Linux 5.6 and in some sandboxes.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    while True:
        try:
            return libc.syscall(
                "openat2", directory, name, ctype.byref(how), ctype.sizeof(how), path=path
            )
        except OSError as error:
            # EAGAIN: something was renamed during the walk, so the kernel can't be sure
            # that ".." stayed inside.
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise


_STRICT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


def open_beneath(directory, path, flags=DIRECTORY):
    """A descriptor for the relative ``path`` below ``directory``, through no link at all.

    ``path`` ("" is the directory itself) is str or bytes.  OSError: ELOOP where a part is a
    symbolic link, EXDEV where ".." would lead out.
    """
    if not path:
        return os.open(".", flags | os.O_CLOEXEC, dir_fd=directory)
    try:
        return openat2(directory, path, flags | os.O_NOFOLLOW, resolve=_STRICT)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _walk_beneath(directory, os.fsencode(path).split(b"/"), flags | os.O_NOFOLLOW)


def _walk_beneath(directory, parts, flags):
    """``open_beneath`` where there is no openat2: one open for each part of the path."""
    if b".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    current = os.open(".", O_PATH | os.O_DIRECTORY, dir_fd=directory)
    try:
        for part in parts[:-1]:
            deeper = os.open(part, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = deeper
        return os.open(parts[-1], flags | os.O_CLOEXEC, dir_fd=current)
    finally:
        os.close(current)


def renameat2(old_dir, old, new_dir, new, flags=0):
    """renameat2(2)."""
    libc.syscall(
        "renameat2", old_dir, os.fsencode(old), new_dir, os.fsencode(new), flags, path=new
    )


def ficlone(destination, source):
    """Make the file ``destination`` share the blocks of ``source`` (two descriptors).

    OSError where the file system can't: EOPNOTSUPP, EXDEV, EINVAL, ENOTTY.
    """
    ioctl(destination, _FICLONE, source)


def spread(directory):
    """Let each directory that is made in ``directory`` have a place of its own on the disk.

    ext4 makes files near their directory, and looks at every inode there that was freed in
    the last minute before it takes another: what is made after much was removed waits for
    that, 0.3 ms for each of 20,000 files.  EXT4_TOPDIR_FL (chattr(1), T) sends it elsewhere;
    other file systems have no such flag, and no such wait.
    """
    try:
        found = int.from_bytes(ioctl(directory, _GETFLAGS, bytes(8))[:4], "little")
        if not found & _TOPDIR:
            ioctl(directory, _SETFLAGS, (found | _TOPDIR).to_bytes(8, "little"))
    except OSError:
        pass


def copy_range(destination, source, size):
    """Copy ``size`` bytes between two descriptors in the kernel, from offset 0, with holes.

    Returns the number of bytes that the source really had.
    """
    if not size:
        return 0
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            start = position
        if start >= size:
            break
        try:
            end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        except OSError:
            end = size
        if not _copy_piece(destination, source, start, end):
            break
        position = end
    size = min(size, os.fstat(source).st_size)
    os.ftruncate(destination, size)
    return size


def _copy_piece(destination, source, start, end):
    """Copy [start, end); False if the source ended before."""
    while start < end:
        try:
            done = os.copy_file_range(source, destination, end - start, start, start)
        except OSError as error:
            if error.errno not in (
                errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM
            ):
                raise
            block = os.pread(source, min(end - start, 1 << 20), start)
            done = os.pwrite(destination, block, start) if block else 0
        if not done:
            return False
        start += done
    return True


def syncfs(descriptor):
    """Write everything of the file system that ``descriptor`` is on to its device."""
    libc.call(_syncfs, descriptor)


def start_writeback(descriptor):
    """Begin to write the file's dirty pages without waiting; a later sync is short then."""
    _sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)


def filesystem(descriptor):
    """The type of the file system that ``descriptor`` is on: "ext4", "tmpfs", or hex digits."""
    buffer = (ctype.c_long * 32)()
    libc.call(_fstatfs, descriptor, ctype.byref(buffer))
    magic = buffer[0] & 0xFFFFFFFF
    return _MAGIC.get(magic, f"{magic:x}")


def lock(descriptor, exclusive=True, wait=True):
    """flock(2): True once the lock is held, False if somebody has it and ``wait`` is off."""
    try:
        flock(descriptor, (LOCK_EX if exclusive else LOCK_SH) | (0 if wait else LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(descriptor):
    """Give the flock(2) back."""
    flock(descriptor, LOCK_UN)


def write_all(descriptor, data):
    """Write every byte of ``data`` (bytes-like)."""
    done = os.write(descriptor, data)
    if done < len(data):
        view = memoryview(data)
        while done < len(data):
            done += os.write(descriptor, view[done:])


def write_atomic(directory, name, data, mode=0o600, sync=True):
    """Make ``name`` in the directory descriptor hold ``data`` (bytes), all or nothing.

    A temporary file is written, synced, renamed over ``name``, and the directory synced:
    after a power cut the old or the new content is there.  ``sync`` off leaves out both
    syncs, for files that needn't outlive the boot.
    """
    temporary = f".{name[:200]}.{os.getpid()}-{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode, dir_fd=directory)
    try:
        try:
            write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        try:
            os.unlink(temporary, dir_fd=directory)
        except OSError:
            pass
        raise
    if sync:
        os.fsync(directory)


def is_temporary(name):
    """Whether ``name`` is one that ``write_atomic`` gives to its temporary files."""
    pid, dash, digits = name.rpartition(".")[2].partition("-")
    return name[:1] == "." and bool(dash) and pid.isdecimal() and len(digits) == 8


def read_limited(directory, name, limit):
    """The content (bytes) of the ordinary file ``name`` of the directory descriptor (None:
    ``name`` is a path).

    Never waits and follows no link: a FIFO, a device or a link is EINVAL or ELOOP, a file
    of more than ``limit`` bytes EFBIG.  FileNotFoundError if there is none.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if status.st_mode & 0o170000 != 0o100000:
            raise OSError(errno.EINVAL, "not an ordinary file", name)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", name)
        chunks, left = [], limit + 1
        while left > 0:
            # One byte more than the size says, so that the end is seen without asking again.
            chunk = os.read(descriptor, min(left, max(status.st_size + 1, 4096)))
            if not chunk:
                break
            chunks.append(chunk)
            left -= len(chunk)
            if len(chunk) == status.st_size and len(chunks) == 1:
                break
        if left <= 0:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", name)
        return b"".join(chunks)
    finally:
        os.close(descriptor)
