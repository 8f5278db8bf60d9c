"""What the store's file system and the kernel allow as a writable layer."""

import errno

from rootless.engine.checks import Finding

NETWORK = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "beegfs_nodev", "ceph",
    "glusterfs", "fuse.glusterfs", "fuse.sshfs", "afs", "panfs", "pvfs2", "orangefs", "9p",
)  # fmt: skip
# File systems that the kernel takes no upper layer of overlayfs from, besides those.
NO_UPPER = ("overlay", "ecryptfs", "vfat", "exfat", "fuse", "fuseblk", "virtiofs", "squashfs")
LOW_BYTES, NO_BYTES = 1 << 30, 32 << 20
LOW_INODES, NO_INODES = 20000, 500


def check(facts):
    """All findings about the writable layer and the file system of the store."""
    found = list(_store(facts))
    found += _place(facts)
    found += _room(facts)
    if facts.best("layer") != "overlay":
        found += _overlay(facts)
        found += _fuse(facts)
    found += _size(facts)
    return found


def _store(facts):
    """Whether the store can be used at all."""
    store = facts.store
    if store["path"] is None or store["error"]:
        yield Finding(
            "store-unreachable",
            "store",
            "fatal",
            f"the store can't be reached: {store['error']}",
            str(store["path"]),
            user="name a directory on a local disk: RL_ROOT=DIR, or root in [storage] of rl.toml",
        )
        return
    if store["owner"] not in (None, facts.uid):
        yield Finding(
            "store-owner",
            "store",
            "fatal",
            f"the store belongs to uid {store['owner']}, not to you",
            [store["path"], f"you are uid {facts.uid}"],
            root=f"chown {facts.uid} {store['path']}, if it was made by mistake through sudo",
            user="use another one: rl --root DIR, or RL_ROOT=DIR",
        )
    elif store["write"] is not None:
        yield _unwritable(store)


def _unwritable(store):
    number = store["write"]
    name = errno.errorcode.get(number, str(number))
    evidence = f"writing 64 KiB to {store['path']}: {name}"
    if number == errno.EDQUOT:
        cause, fix = "your disk quota is used up", "setquota, or a larger quota by its tools"
    elif number == errno.ENOSPC:
        cause, fix = f"the disk at {store['at']} is full", None
    elif number == errno.EROFS:
        cause, fix = f"{store['at']} is mounted read-only", f"mount -o remount,rw {store['at']}"
    else:
        cause, fix = "the store's directory can't be written to", None
    user = "free some: rl system prune -a; or use another disk: RL_ROOT=DIR"
    if number not in (errno.EDQUOT, errno.ENOSPC):
        user = "use a directory that you can write to: RL_ROOT=DIR"
    return Finding("store-unwritable", "store", "fatal", cause, evidence, root=fix, user=user)


def _place(facts):
    """What is special about where the store lies."""
    store = facts.store
    if store["path"] is None or store["error"]:
        return
    kind, at, options = store["type"], store["at"], store["options"]
    evidence = f"{store['path']} is on {at} ({kind}; {','.join(options)})"
    if "noexec" in options:
        yield Finding(
            "store-noexec",
            "store",
            "fatal",
            f"{at} is mounted noexec: no program in a container could run",
            evidence,
            root=f"mount -o remount,exec {at}",
            user="put the store elsewhere: RL_ROOT=DIR, or root in [storage] of rl.toml",
        )
    if "nosuid" in options:
        yield Finding(
            "store-nosuid",
            "store",
            "warn",
            f"{at} is mounted nosuid: su, sudo and ping do nothing in containers",
            evidence,
            root=f"mount -o remount,suid {at}",
            user="put the store elsewhere: RL_ROOT=DIR",
        )
    if kind in NETWORK:
        yield Finding(
            "store-network",
            "store",
            "warn",
            f"the store is on a network file system ({kind}): its server refuses files of other "
            "ids, extended attributes or locks, and starts are slow",
            evidence,
            user="keep it on a local disk: RL_ROOT=/var/tmp/$USER-rl, or root in [storage]",
        )
    elif kind in ("tmpfs", "ramfs"):
        yield Finding(
            "store-memory",
            "store",
            "warn",
            "the store is in memory: it takes room there and is gone at reboot",
            evidence,
            user="keep it on a disk: RL_ROOT=DIR",
        )


def _room(facts):
    store = facts.store
    if store["path"] is None or store["error"] or store["write"] is not None:
        return
    free, inodes, at = store["free"], store["free_inodes"], store["at"]
    if free < LOW_BYTES:
        yield Finding(
            "disk-full" if free < NO_BYTES else "disk-low",
            "store",
            "fatal" if free < NO_BYTES else "warn",
            f"{free >> 20} MiB are left on {at}, where the store is",
            f"statvfs({store['path']}): {free} bytes free for you",
            user="rl system df shows what takes the room; rl system prune -a frees it",
        )
    if inodes < LOW_INODES:
        yield Finding(
            "inodes-full" if inodes < NO_INODES else "inodes-low",
            "store",
            "fatal" if inodes < NO_INODES else "warn",
            f"{inodes} files can still be made on {at}; an image has thousands",
            f"statvfs({store['path']}): {inodes} inodes free for you",
            user="rl system prune -a, or another disk: RL_ROOT=DIR",
        )


def _overlay(facts):
    """Why the kernel's overlayfs isn't in use."""
    reason = facts.reason("layer", "overlay")
    evidence = [f"trying it: {reason}"] if reason else []
    kind, version = facts.store["type"], facts.kernel_version
    common = "layer", "missing"
    if "overlay" not in facts.file_systems:
        yield Finding(
            "overlay-absent",
            *common,
            "the kernel has no overlay file system loaded",
            ["/proc/filesystems has no line 'overlay'", *evidence],
            root="modprobe overlay && echo overlay >/etc/modules-load.d/overlay.conf",
        )
    elif version < (5, 11):
        yield Finding(
            "overlay-kernel",
            *common,
            f"kernel {facts.kernel} mounts overlays only for root; from 5.11 on it does for users",
            [f"uname -r: {facts.kernel}", *evidence],
            root="install a newer kernel",
            user="install fuse-overlayfs" if not facts.programs.get("fuse-overlayfs") else None,
        )
    elif version < (5, 13) and facts.selinux:
        yield Finding(
            "overlay-selinux",
            *common,
            f"with SELinux, kernel {facts.kernel} refuses overlays of users; from 5.13 on it "
            "doesn't",
            [f"uname -r: {facts.kernel}", "/sys/fs/selinux/enforce: 1", *evidence],
            root="install a newer kernel",
        )
    elif kind in NETWORK or kind in NO_UPPER:
        yield Finding(
            "overlay-upper",
            *common,
            f"overlayfs takes no writable layer from {kind}, which the store is on",
            [f"{facts.store['path']} is on {facts.store['at']} ({kind})", *evidence],
            user="put the store on ext4, xfs, btrfs or tmpfs: RL_ROOT=DIR",
        )
    elif reason:
        yield Finding("overlay-refused", *common, "mounting an overlay failed", evidence,
                      root="dmesg | tail  shows the kernel's own words for it")


def _size(facts):
    """Why a container that is kept can't have a size."""
    for row in facts.rungs.get("layer size", ()):
        if row["rung"] == "file" and not row["ok"]:
            yield Finding(
                "layer-size-file",
                "layer size",
                "warn",
                "--storage-opt size= works only with --rm: it takes fuse2fs to keep the files",
                f"trying it: {row['reason']}",
                root="apt-get install fuse2fs e2fsprogs fuse-overlayfs",
                user="run with --rm, or without a size",
            )


def _fuse(facts):
    """Why fuse-overlayfs, the second rung, isn't in use either."""
    if facts.best("layer") in ("overlay", "fuse-overlayfs"):
        return
    number = facts.devices.get("/dev/fuse")
    if not facts.programs.get("fuse-overlayfs"):
        yield Finding(
            "fuse-overlayfs-absent",
            "layer",
            "missing",
            "fuse-overlayfs is not installed",
            "fuse-overlayfs: not found on PATH",
            root="apt-get install fuse-overlayfs",
            user="a static fuse-overlayfs anywhere on PATH does as well; without it every "
            "container has a copy of its image",
        )
    if number == errno.ENOENT:
        yield Finding(
            "fuse-device-absent",
            "layer",
            "missing",
            "there is no /dev/fuse",
            "/dev/fuse: does not exist",
            root="modprobe fuse; for a container that rl runs in: --device /dev/fuse",
        )
    elif number is not None:
        yield Finding(
            "fuse-device-closed",
            "layer",
            "missing",
            "/dev/fuse may not be opened",
            f"open(/dev/fuse): {errno.errorcode.get(number, number)}",
            root="chmod 0666 /dev/fuse",
        )
