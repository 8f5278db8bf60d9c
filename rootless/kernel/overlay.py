"""Union mounts: the kernel's overlayfs (overlayfs.rst), and fuse-overlayfs(1) in its place."""

import os

from rootless.errors import RlError
from rootless.kernel import mount, process

_EINVAL, _EPERM, _ENOSYS = 22, 1, 38
_PATIENCE = 10.0
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class FuseFailed(RlError):
    """fuse-overlayfs did not mount the layers: {0}"""

    hint = "rl doctor looks at /dev/fuse; rl --storage-driver clone does without it"


def make(lowers, upper=None, work=None, options=()):
    """A detached overlay mount, as a descriptor.

    ``lowers`` are directories, top first; without ``upper`` and ``work`` it is read-only;
    ``options`` are words of mount(8), KEY or KEY=VALUE.  Directories are named through
    descriptors: no path of the host shows in anybody's mountinfo, and however many they
    are, their names are short.  OSError.
    """
    opened, named = [], []
    try:
        for key, paths in (
            ("lowerdir+", lowers),
            ("upperdir", [upper] if upper else []),
            ("workdir", [work] if upper else []),
        ):
            for path in paths:
                opened.append(os.open(path, _DIRECTORY))
                named.append((key, f"/proc/self/fd/{opened[-1]}"))
        extra = [option.partition("=")[::2] for option in options]
        try:
            return mount.new_filesystem("overlay", named + [(k, v or None) for k, v in extra])
        except OSError as error:
            # lowerdir+ came with Linux 6.8, fsopen(2) with 5.2.
            if error.errno not in (_EINVAL, _EPERM, _ENOSYS):
                raise
        return _by_page(named, options, upper or lowers[0])
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _by_page(named, options, place):
    """The same by mount(2), whose options must fit into one page.

    It knows no detached mounts: one is attached to ``place``, copied and taken off again.
    """
    lowers = ":".join(value for key, value in named if key == "lowerdir+")
    rest = [f"{key}={value}" for key, value in named if key != "lowerdir+"]
    mount.mount("overlay", place, "overlay", 0, ",".join([f"lowerdir={lowers}", *rest, *options]))
    try:
        return mount.clone_tree(place, recursive=False)
    finally:
        mount.unmount(place)


def fuse_arguments(rootfs, write=True):
    """The command line (list of str) that serves ``rootfs``, a driver's dict.

    Descriptor 3 is the connection: libfuse takes /dev/fd/N for one that is mounted already.
    """
    lowers = [_escaped(path) for path in rootfs["lowers"]]
    upper, work = _escaped(rootfs["upper"]), _escaped(rootfs["work"])
    if write:
        options = ["lowerdir=" + ":".join(lowers), f"upperdir={upper}", f"workdir={work}"]
    else:
        options = ["lowerdir=" + ":".join([upper, *lowers])]
    options += rootfs.get("options", ())
    for key in ("uidmapping", "gidmapping"):
        if rootfs.get(key):
            numbers = [str(number) for piece in rootfs[key] for number in piece]
            options.append(f"{key}={':'.join(numbers)}")
    return [rootfs["program"], "-f", "-o", ",".join(options), "/dev/fd/3"]


def _escaped(path):
    """A path for fuse-overlayfs's options, where ":" and "," separate."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def start_fuse(rootfs, write=True):
    """Let fuse-overlayfs serve ``rootfs``; (the detached mount, its pid, a child of ours).

    The mount is ours alone, made with the connection (fuse(4), "fd="): whoever is killed, and
    whenever, its last holder takes the program along.  That must not become an attached
    mount of the mount namespace that the program is in: it would hold itself.
    """
    if not rootfs.get("program"):
        raise FuseFailed("the program isn't here")
    try:
        connection = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise FuseFailed(f"/dev/fuse: {error.strerror}") from None
    try:
        options = [("fd", str(connection)), ("rootmode", "40000"),
                   ("user_id", str(os.geteuid())), ("group_id", str(os.getegid())),
                   ("allow_other", None), ("default_permissions", None),
                   ("subtype", "fuse-overlayfs")]
        attributes = mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOATIME
        tree = mount.new_filesystem("fuse", options, attributes, "fuse-overlayfs")
        try:
            return tree, _serve(fuse_arguments(rootfs, write), connection)
        except BaseException:
            os.close(tree)
            raise
    finally:
        os.close(connection)


def _serve(argv, connection):
    """Start the program and wait until it has taken the kernel's first message."""
    from select import POLLIN, poll
    from time import monotonic, sleep

    words = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        # systemd sends SIGTERM to all of a scope that it stops: the program that is to end in
        # order needs its root until then. Who ends it sends SIGINT.
        pid = process.spawn(argv, {2: words, 3: connection}, {"PATH": "/usr/bin:/bin"},
                            sigmask=(process.SIGTERM,))  # fmt: skip
        waiting = poll()
        waiting.register(connection, POLLIN)
        deadline = monotonic() + _PATIENCE
        while waiting.poll(0):
            ended = os.waitpid(pid, os.WNOHANG)[0]
            if ended or monotonic() > deadline:
                if not ended:
                    os.kill(pid, 9)
                    process.wait_exit(pid)
                said = os.pread(words, 2000, 0).decode("utf-8", "replace").strip()
                raise FuseFailed(said or f"no answer within {_PATIENCE:g} s")
            sleep(0.0005)
        return pid
    finally:
        os.close(words)
