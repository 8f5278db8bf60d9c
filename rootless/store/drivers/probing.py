"""Which drivers work here: found by really using each, in a throwaway namespace."""

import os

from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.store.drivers import mounting

_ENOUGH = 3  # layers to try with


def probe(store, program):
    """See drivers.probe."""
    rows = []
    with store.tmp.make("probe") as work:
        reflink = None
        for name, check in (("overlay", _overlay), ("fuse-overlayfs", _fuse)):
            home = f"{work.path}/{name}"
            reason = check(store, home, program)
            rows.append({"rung": name, "ok": reason is None, "reason": reason or ""})
        reflink = _reflinks(work.descriptor)
    rows.append({"rung": "clone", "ok": True, "reason": reflink})
    return rows


def _overlay(store, home, program):
    return _attempt(store, home, {"driver": "overlay"})


def _fuse(store, home, program):
    if not program:
        return "the program fuse-overlayfs isn't installed"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be opened"
    return _attempt(store, home, {"driver": "fuse-overlayfs", "program": program})


def _attempt(store, home, rootfs):
    """None if the driver does all that containers need of it, else why it doesn't (str)."""
    os.mkdir(home, 0o700)
    try:
        return userns.call_in(store.ids, _try, home, rootfs, mount_ns=True)
    except RlError as error:
        return error.message
    except OSError as error:
        return error.strerror or str(error)


def _try(home, rootfs):
    """In the namespace: change, delete and replace through a mount, then look underneath."""
    lowers = [f"{home}/lower{number}" for number in range(_ENOUGH)]
    target = f"{home}/merged"
    for path in (*lowers, f"{home}/upper", f"{home}/work", target):
        os.mkdir(path, 0o755)
    os.mkdir(f"{lowers[-1]}/dir", 0o755)
    for name in ("gone", "changed", "dir/inside"):
        with open(f"{lowers[-1]}/{name}", "wb") as file:
            file.write(b"lower")
    rootfs.update(lowers=lowers, upper=f"{home}/upper", work=f"{home}/work")
    try:
        root, server = mounting.mount_rootfs(rootfs, target)
    except OSError as error:
        return f"mounting it fails: {error.strerror}"
    try:
        return _exercise(root) or _marks(f"{home}/upper")
    finally:
        mounting.unmount(target, root, server)


def _exercise(root):
    try:
        os.unlink("gone", dir_fd=root)
        file = os.open("changed", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, dir_fd=root)
        os.write(file, b" and upper")
        os.close(file)
        os.unlink("dir/inside", dir_fd=root)
        os.rmdir("dir", dir_fd=root)
        os.mkdir("dir", 0o755, dir_fd=root)
    except OSError as error:
        return f"changing a file through it fails: {error.strerror}"
    if sorted(os.listdir(root)) != ["changed", "dir"] or _names(root, "dir"):
        return "what was deleted through it is still there"
    if files.read_limited(root, "changed", 64) != b"lower and upper":
        return "what was changed through it reads wrongly"
    return None


def _names(root, name):
    descriptor = os.open(name, files.DIRECTORY, dir_fd=root)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _marks(upper):
    """None if what was done shows on disk in a way that store.merged understands."""
    from rootless.store import merged

    level = merged.Level(os.open(upper, files.DIRECTORY))
    try:
        return _read_marks(level)
    finally:
        os.close(level.descriptor)


def _read_marks(level):
    entries, hidden, _ = level.list(b"")
    if b"gone" not in hidden or b"changed" not in entries:
        return "it records deletions in a way that rl doesn't know"
    if not level.list(b"dir")[2]:
        return "this file system can't mark directories as opaque (no user attributes)"
    return None


def _reflinks(directory):
    """A remark on what a clone costs here."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    first = os.open("one", flags, 0o600, dir_fd=directory)
    second = os.open("two", flags, 0o600, dir_fd=directory)
    try:
        os.write(first, b"x" * 65536)
        files.ficlone(second, first)
    except OSError:
        kind = files.filesystem(directory)
        return f"{kind} can't share blocks between files: every container copies its image"
    finally:
        os.close(first)
        os.close(second)
    return "blocks are shared with the image until they are changed"
