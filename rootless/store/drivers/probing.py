"""Which drivers work here: found by really using each, in a throwaway namespace."""

import os

from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.store.drivers import mounting

_ENOUGH = 3  # layers to try with
_SMALL = 8 << 20  # bytes of a file system to try with
_NAMED = "the storage driver {} has to be used"


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


def probe_capped(store, programs, named=None):
    """Ways to have a writable layer with a size, tried: rows of rung, ok, reason, drivers.

    ``programs``: name → absolute path or None of fuse-overlayfs, fuse2fs, mke2fs, e2fsck;
    ``named``: the only driver that may be used, or None.
    """
    with store.tmp.make("probe") as work:
        return [_memory(store, work.path, programs, named),
                _file(store, work.path, programs, named)]


def _memory(store, work, programs, named):
    row = {"rung": "tmpfs", "ok": False, "reason": _NAMED.format(named), "drivers": []}
    for number, driver in enumerate(("overlay", "fuse-overlayfs")):
        # Whoever names overlay gets fuse-overlayfs where ids are turned (drivers.choose).
        if named not in (None, driver) and not (named == "overlay" and row["drivers"]):
            continue
        rootfs = {"driver": driver, "program": programs["fuse-overlayfs"], "like": (),
                  "capped": {"way": "tmpfs", "size": _SMALL}}
        if driver == "overlay" or programs["fuse-overlayfs"]:
            reason = _attempt(store, f"{work}/tmpfs{number}", rootfs)
            if reason is None:
                row["drivers"].append(driver)
            elif not number or named:
                row["reason"] = reason
    if row["drivers"]:
        row.update(ok=True, reason="")
    return row


def _file(store, work, programs, named):
    from rootless.kernel import capped

    row = {"rung": "file", "ok": False, "reason": "", "drivers": ["fuse-overlayfs"]}
    if named not in (None, "fuse-overlayfs"):
        return {**row, "reason": _NAMED.format(named)}
    for name in ("fuse2fs", "mke2fs", "e2fsck", "fuse-overlayfs"):
        if not programs[name]:
            return {**row, "reason": f"the program {name} isn't installed"}
    image = f"{work}/image"
    try:
        capped.make_image(programs["mke2fs"], image, _SMALL)
    except RlError as error:
        return {**row, "reason": error.message}
    rootfs = {"driver": "fuse-overlayfs", "program": programs["fuse-overlayfs"], "like": (),
              "options": ["noacl"], "capped": {"way": "file", "size": _SMALL, "image": image,
                                               "fuse2fs": programs["fuse2fs"],
                                               "e2fsck": programs["e2fsck"]}}
    reason = _attempt(store, f"{work}/file", rootfs)
    return {**row, "ok": reason is None, "reason": reason or ""}


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
    top = f"{home}/layer" if "capped" in rootfs else home
    own = () if "capped" in rootfs else (f"{top}/upper", f"{top}/work")
    for path in (*lowers, *own, target):
        os.mkdir(path, 0o755)
    os.mkdir(f"{lowers[-1]}/dir", 0o755)
    for name in ("gone", "changed", "dir/inside"):
        with open(f"{lowers[-1]}/{name}", "wb") as file:
            file.write(b"lower")
    rootfs.update(lowers=lowers, upper=f"{top}/upper", work=f"{top}/work")
    if "capped" in rootfs:
        rootfs["capped"]["at"] = top
    try:
        root, servers = mounting.mount_rootfs(rootfs, target)
    except OSError as error:
        return f"mounting it fails: {error.strerror}"
    try:
        # What is in a file system of its own can't be looked at from here any more.
        return _exercise(root) or (None if "capped" in rootfs else _marks(f"{home}/upper"))
    finally:
        mounting.unmount(target, root, servers)


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
