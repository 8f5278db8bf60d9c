"""``--storage-opt size=``: a writable layer that can hold only so much.

The kernel lets nobody but root set the quota of a directory, so the layer gets a file system
with a size instead (kernel.capped): a tmpfs for a container of ``--rm``, whose files needn't
outlive it, else an ext4 in a file that fuse2fs serves.  A running container's monitor keeps
it open; who wants to read it from outside goes through that.
"""

import os

from rootless.engine import probes, records
from rootless.errors import RlError
from rootless.kernel import capped as spaces
from rootless.kernel import userns

_PROGRAMS = ("fuse-overlayfs", "fuse2fs", "mke2fs", "e2fsck")
SMALLEST = 1 << 20
_LARGEST = 1 << 44  # 16 TiB: what ext4 can number with blocks of 4 KiB and no more features
OPTION = "--storage-opt size"


class BadStorageOption(RlError):
    """--storage-opt {0}: {1}"""

    hint = "rl knows --storage-opt size=SIZE, for example size=10g"


class CannotCap(RlError):
    """--storage-opt size={0}: nothing here can hold the writable layer to a size: {1}"""


class NotKept(RlError):
    """the files of container {0} are in memory, and only while it runs: {1}"""

    hint = "a container without --rm keeps its files on the disk, in a file that fuse2fs serves"


class Elsewhere(RlError):
    """the root of container {0} cannot be mounted while it runs: its layer has a size"""

    hint = "rl cp, rl export and rl exec see its files"


class OutOfReach(RlError):
    """the files of container {0} are out of reach: it was started outside of this rl unshare"""

    hint = "ask from outside"


# --- when it is made -----------------------------------------------------------------------


def parse(words):
    """(bytes, as typed) of the values of --storage-opt; the last size counts."""
    from rootless.engine.spec import values

    asked = None
    for word in words:
        key, equals, text = word.partition("=")
        if key != "size":
            raise BadStorageOption(word, "there is no such option for a container's storage")
        if not equals or not text:
            raise BadStorageOption(word, "it needs a size")
        asked = text
    size = values.size("--storage-opt size", asked)
    if not SMALLEST <= size <= _LARGEST:
        raise BadStorageOption(f"size={asked}", "a writable layer has from 1m to 16t")
    return size, asked


class Plan:
    """What a new container is to have: made before its image is fetched; BadStorageOption,
    CannotCap."""

    def __init__(self, engine, options):
        if options.get("rootfs"):
            raise BadStorageOption(options["storage_opt"][-1],
                                   "a root directory of your own (--rootfs) has no layer to limit")
        self.size, self.asked = parse(options["storage_opt"])
        self.remove = bool(options.get("rm"))
        self._choose(engine, shifted=False, staged=False)

    def settle(self, engine, record, spec):
        """Decide how the size is kept and by which driver, and write that into the record."""
        from rootless.engine import assemble
        from rootless.runtime import staging

        for entry in spec["linux"]["namespaces"]:
            if entry["type"] == "user" and ("container" in entry or entry.get("path")):
                raise CannotCap(self.asked, "it joins a user namespace that others have made",
                                hint="leave out --userns, or the size")
        ids = assemble.ids_of(engine, spec)
        way, driver = self._choose(engine, any(assemble.shifts(engine, ids)),
                                   staging.needed(ids, os.geteuid(), os.getegid()))
        record["driver"] = driver
        record["capped"] = {"way": way, "size": self.size, "asked": self.asked}

    def make(self, engine, record, draft):
        """Make what the container keeps of it in its directory, the descriptor ``draft``."""
        if record["capped"]["way"] == "file":
            from rootless.store.drivers.capped import IMAGE

            home = os.readlink(f"/proc/self/fd/{draft}")
            spaces.make_image(engine.program("mke2fs"), f"{home}/{IMAGE}", self.size)

    def _choose(self, engine, shifted, staged):
        """(way, driver) for the layer; CannotCap with all reasons."""
        rows = {row["rung"]: row for row in probed(engine)}
        reasons = []
        if self.remove:
            reason, driver = _in_memory(rows["tmpfs"], self.size, shifted)
            if reason is None:
                return "tmpfs", driver
            reasons.append(f"a tmpfs: {reason}")
        reason = rows["file"]["reason"] if not rows["file"]["ok"] else None
        if reason is None and shifted and not staged:
            reason = "its owners would be those of another map of ids (--userns, --uidmap)"
        if reason is None:
            return "file", "fuse-overlayfs"
        reasons.append(f"a file: {reason}")
        raise CannotCap(self.asked, "; ".join(reasons), hint=self._advice(rows, shifted))

    def _advice(self, rows, shifted):
        install = "apt-get install fuse2fs e2fsprogs fuse-overlayfs (as root)"
        ready = rows["file"]["ok"]
        if not self.remove and rows["tmpfs"]["ok"]:
            return f"add --rm, and it lies in memory; or {_LEAVE if ready and shifted else install}"
        return _LEAVE if ready else f"{install}; rl info --why shows what is in the way"


_LEAVE = "leave out the map of ids"


def _in_memory(row, size, shifted):
    """(why a tmpfs won't do or None, the driver)."""
    usable = [name for name in row["drivers"] if not (shifted and name == "overlay")]
    if not usable:
        return row["reason"] or "with these ids it needs fuse-overlayfs", None
    most = memory() // 2
    if size > most:
        return f"that is more than half of this machine's memory ({most >> 20} MiB)", None
    return None, usable[0]


def memory():
    """The memory of this machine in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def probed(engine, fresh=False):
    """The ways that work here, from the cache unless ``fresh``: rows of rung, ok, reason and
    the drivers above it."""
    programs = {name: engine.program(name) for name in _PROGRAMS}

    def compute(engine):
        from rootless.store.drivers import probing

        return probing.probe_capped(engine.store, programs, engine.config.storage_driver)

    extra = [engine.config.root, engine.config.storage_driver, *programs.values()]
    if fresh:
        return probes.put(engine, "capped", compute(engine), extra)
    return probes.get(engine, "capped", compute, extra)


# --- when it is started or read ------------------------------------------------------------


def root(engine, record, driver, shifts):
    """The rootfs dict (store.drivers) of a container that isn't running."""
    from rootless.store.drivers import capped

    space = {"way": record["capped"]["way"], "size": record["capped"]["size"]}
    if space["way"] == "file":
        for name in ("fuse2fs", "e2fsck"):
            space[name] = engine.program(name)
            if space[name] is None:
                raise CannotCap(record["capped"]["asked"], f"the program {name} is gone",
                                hint="apt-get install fuse2fs e2fsprogs (as root)")
    return capped.rootfs(driver, records.directory(engine, record["id"]),
                         engine.store.layers.paths(record["layers"]), space, *shifts)


def check_kept(record, what):
    """Raise NotKept if the container's files go with its end, and so can't be ``what``."""
    if record.get("capped", {}).get("way") == "tmpfs":
        raise NotKept(record["name"], what)


class Layer:
    """A layer that has a size, open to be read from outside: ``path`` has "upper" in it.

    Nobody may start or remove a container that is stopped meanwhile (engine.contents.Kept).
    """

    def __init__(self, engine, record):
        self.engine = engine
        self.record = record
        self.descriptor = self._child = self._talk = None
        if records.state(engine, record)["alive"]:
            self.descriptor = _through_monitor(engine, record)
        elif record["capped"]["way"] == "tmpfs":
            # It never ran: there is nothing in it yet.
            from rootless.store.drivers.capped import PLACE

            self.path = f"{records.directory(engine, record['id'])}/{PLACE}"
            os.makedirs(f"{self.path}/upper", 0o700, exist_ok=True)
            return
        else:
            self._mount()
        self.path = f"/proc/self/fd/{self.descriptor}/."  # it may be opened with O_NOFOLLOW

    def _mount(self):
        from rootless.engine import assemble
        from rootless.runtime.launch import socketpair

        rootfs = root(self.engine, self.record, assemble.driver(self.engine, self.record), ())
        near, far = socketpair()
        try:
            self._child = userns.start_in(self.engine.ids, _serve, near, far, rootfs["capped"],
                                          rootfs["like"], mount_ns=True)
        finally:
            far.close()
        self._talk = near
        _, ancillary, _, _ = near.recvmsg(16, 64)
        if not ancillary:
            near.close()
            self._child.wait()  # says what was wrong
            raise spaces.CappedFailed("the process that mounts it was killed")
        self.descriptor = int.from_bytes(ancillary[0][2][:4], "little")
        os.set_inheritable(self.descriptor, False)

    def close(self):
        """Let go of it, and wait until it is whole on the disk."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self._child is not None:
            self._talk.close()
            self._child.wait()


def _serve(near, far, space, like):
    """In a namespace of its own: mount it, hand it over, and wait for what it writes."""
    near.close()
    descriptor, pid = spaces.open_space(space, like)
    try:
        far.sendmsg([b"l"], [(1, 1, descriptor.to_bytes(4, "little"))])
    finally:
        os.close(descriptor)
        spaces.let_go(space)
    far.recv(1)  # nothing: it is closed when nobody needs this any more
    os.waitpid(pid, 0)


def _through_monitor(engine, record):
    """The layer of a running container: a descriptor of the directory that it lies in."""
    try:
        with open(f"{records.run_directory(engine, record['id'])}/layer", "rb", 0) as file:
            pid, number = file.read(64).split()
        return os.open(f"/proc/{int(pid)}/fd/{int(number)}",
                       os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        raise OutOfReach(record["name"]) from None
    except (OSError, ValueError):
        raise spaces.CappedBusy("the container is just starting or ending") from None


# --- what is shown -------------------------------------------------------------------------


def report(engine, record):
    """The row of ``inspect`` for the size: asked, what the file system has, enforced or not."""
    size, kernel = record["capped"]["size"], ""
    if records.state(engine, record)["pid"]:
        try:
            descriptor = _through_monitor(engine, record)
            room = os.fstatvfs(descriptor)
            os.close(descriptor)
            kernel = str(room.f_blocks * room.f_frsize)
        except (OSError, RlError):
            pass
    page = os.sysconf("SC_PAGE_SIZE")
    return {"Option": OPTION, "File": record["capped"]["way"], "Asked": str(size),
            "Kernel": kernel, "Enforced": bool(kernel) and int(kernel) < size + page}


def used(engine, record):
    """Bytes of files in the layer, without what its own file system takes."""
    from rootless.engine.listing import disk_usage
    from rootless.store.drivers.capped import IMAGE

    try:
        file = os.stat(f"{records.directory(engine, record['id'])}/{IMAGE}").st_size
    except FileNotFoundError:
        file = 0
    try:
        layer = Layer(engine, record)
    except RlError:
        return -file  # it is just being started or removed
    try:
        return disk_usage(f"{layer.path}/{spaces.UPPER}") - file
    finally:
        layer.close()


def rungs(engine, fresh=False):
    """The ladder "layer size" of ``rl info``."""
    shown = []
    for row in probed(engine, fresh):
        reason = row["reason"]
        if row["ok"] and row["rung"] == "tmpfs":
            reason = f"for --rm, up to {memory() // 2 >> 20} MiB, with {row['drivers'][0]}"
        elif row["ok"]:
            reason = "for containers that are kept, with fuse2fs and fuse-overlayfs"
        shown.append({"rung": row["rung"], "ok": row["ok"], "reason": reason})
    return [*shown, {"rung": "none", "ok": True, "reason": "a size that is asked for is an error"}]
