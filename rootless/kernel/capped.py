"""A directory that holds so many bytes and no more, for a writable layer: a tmpfs with a size
(tmpfs(5)), or an ext4 in a file that fuse2fs(1) serves.

Both are mounted in a namespace of ours and taken off again as soon as somebody has what lies
in them open (``let_go``): whoever is killed, the last one who uses it takes it along.
"""

import os

from rootless.errors import RlError
from rootless.kernel import files, mount, process

UPPER, WORK = "upper", "work"
# As mke2fs has it by default: one inode for so many bytes.
BYTES_PER_FILE = 16384
_PATIENCE = 30.0
_BUSY = 60.0  # seconds that somebody else's fuse2fs may take to write out what it has
_STATE = 1024 + 58  # s_state of the superblock (ext4, "The Super Block")
_CLEAN = 1
_REPAIRED = 3  # e2fsck(8): 1 errors were corrected, 2 and a reboot is wanted
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class CappedFailed(RlError):
    """the file system of the writable layer could not be set up: {0}"""

    hint = "without --storage-opt size= the container needs none; rl doctor looks at the machine"


class CappedBusy(RlError):
    """the file system of the writable layer is in use: {0}"""

    hint = "another rl reads or writes the container's files: try again when that has ended"


class CappedDamaged(RlError):
    """the file system of the writable layer is damaged: {0}"""

    hint = "e2fsck -f repairs it by hand: the file is layer.img in the container's directory"


def open_space(capped, like=()):
    """Mount what ``capped`` describes on its directory; (descriptor of its root, pid or None).

    Needs CAP_SYS_ADMIN over a mount namespace of our own.  ``capped``: "way" ("tmpfs", "file"),
    "size" (bytes), "at" (an empty directory, or where to make one) and, for a file, "image",
    "fuse2fs", "e2fsck" (absolute paths).  The pid is that of fuse2fs, a child of ours, which
    must be left to end by itself: it still has to write.  Directories "upper", which looks
    like the directory ``like`` (a path, or empty), and "work" are made where they are missing.
    """
    try:
        os.mkdir(capped["at"], 0o700)
    except FileExistsError:
        pass
    pid = _serve(capped) if capped["way"] == "file" else _memory(capped)
    try:
        root = os.open(capped["at"], _DIRECTORY)
        try:
            _fill(root, like)
        except BaseException:
            os.close(root)
            raise
    except BaseException:
        let_go(capped)
        raise
    return root, pid


def let_go(capped):
    """Take the mount off its directory; it lives for as long as something in it is open."""
    mount.unmount(capped["at"])


def _memory(capped):
    # Its root may belong to a user of the container's, and the caller looks through it.
    options = [("size", str(capped["size"])), ("mode", "0755"),
               ("nr_inodes", str(1024 + capped["size"] // BYTES_PER_FILE))]
    tree = mount.new_filesystem("tmpfs", options, mount.MOUNT_ATTR_NODEV, "rl-layer")
    try:
        where = os.open(capped["at"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount.attach(tree, where)
        finally:
            os.close(where)
    finally:
        os.close(tree)


def _fill(root, like):
    """The two directories of an overlay; "upper" appears whole, by a rename."""
    try:
        os.mkdir(WORK, 0o700, dir_fd=root)
    except FileExistsError:
        pass
    try:
        os.stat(UPPER, dir_fd=root)
        return
    except FileNotFoundError:
        pass
    draft = ".upper"
    try:
        os.mkdir(draft, 0o755, dir_fd=root)
    except FileExistsError:
        pass
    os.chmod(draft, 0o755, dir_fd=root)  # whatever the umask
    if like:
        status = os.stat(like)
        os.chown(draft, status.st_uid, status.st_gid, dir_fd=root)
        os.chmod(draft, status.st_mode & 0o7777, dir_fd=root)
        os.utime(draft, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=root)
    os.rename(draft, UPPER, src_dir_fd=root, dst_dir_fd=root)


# --- a file --------------------------------------------------------------------------------


def make_image(program, path, size):
    """Make an ext4 of ``size`` bytes in the new file ``path`` with mke2fs, an absolute path.

    It takes room on the disk only as it is filled.  It has no journal, because fuse2fs writes
    none.  Raises CappedFailed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        try:
            os.ftruncate(descriptor, size)
        except OSError as error:
            raise CappedFailed(error.strerror) from None
    finally:
        os.close(descriptor)
    argv = [program, "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
            "-i", str(BYTES_PER_FILE), "-O", "^has_journal",
            "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard", path]
    code, said = _run(argv)
    if code:
        raise CappedFailed(f"mke2fs: {said or f'it ended with {code}'}")


def _run(argv, keep=()):
    """Run a program to its end; (exit code, what it said, its last 1000 characters)."""
    words = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        pid = process.spawn(argv, {1: words, 2: words}, _ENVIRON, keep=keep)
        code = process.wait_exit(pid)
        return code, _said(words)
    except OSError as error:
        return error.errno, error.strerror
    finally:
        os.close(words)


_ENVIRON = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}


def _said(words):
    return os.pread(words, 1 << 16, 0).decode("utf-8", "replace").strip()[-1000:]


def _serve(capped):
    """Start fuse2fs on the directory and wait until it is mounted; its pid.

    It inherits the lock on the file, which so lasts until its last byte is written.
    """
    from time import monotonic, sleep

    image, at = capped["image"], capped["at"]
    lock = _locked(image)
    words = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        _check(capped, lock)
        before = os.stat(at).st_dev
        argv = [capped["fuse2fs"], "-f", "-o", "rw,default_permissions", image, at]
        # Without SIGTERM, as fuse-overlayfs above it: kernel.overlay.
        pid = process.spawn(argv, {1: words, 2: words}, _ENVIRON, keep=(lock,),
                            sigmask=(process.SIGTERM,))  # fmt: skip
        deadline = monotonic() + _PATIENCE
        while not _mounted(at, before):
            ended = os.waitpid(pid, os.WNOHANG)[0]
            if ended or monotonic() > deadline:
                if not ended:
                    os.kill(pid, 9)
                    process.wait_exit(pid)
                raise CappedFailed(f"fuse2fs: {_said(words) or 'it does not answer'}")
            sleep(0.001)
        return pid
    finally:
        os.close(words)
        os.close(lock)


def _mounted(at, before):
    try:
        return os.stat(at).st_dev != before
    except OSError:
        return False  # mounted by now, and ended: the next look at the process tells


def _locked(image):
    """The file, open and locked; CappedBusy if others keep it for too long."""
    from time import monotonic, sleep

    try:
        descriptor = os.open(image, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise CappedFailed(f"{image}: {error.strerror}") from None
    deadline = monotonic() + _BUSY
    while not files.lock(descriptor, wait=False):
        if monotonic() > deadline:
            os.close(descriptor)
            raise CappedBusy("others have it mounted, or write what is left to the disk")
        sleep(0.01)
    return descriptor


def _check(capped, image):
    """Repair what a fuse2fs left that was killed: e2fsck(8), which only then takes time."""
    state = int.from_bytes(os.pread(image, 2, _STATE), "little")
    if state == _CLEAN:
        return
    code, said = _run([capped["e2fsck"], "-f", "-y", capped["image"]])
    if code & ~_REPAIRED:
        raise CappedDamaged(f"e2fsck ended with {code}: {said[-300:]}")
