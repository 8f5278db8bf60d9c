"""From a container's record and spec to what can be launched now.

A record names volumes, images and other containers; here they become paths and descriptors
of this moment.  Nothing of it is written back.
"""

import os

from rootless.engine import connect, probes, records
from rootless.errors import RlError
from rootless.model.idmap import Ids, Range, shift, to_outside, total
from rootless.runtime import seccomp

_KINDS = {"network": "net", "mount": "mnt"}


class RungChanged(RlError):
    """container {0} was made with {1} and now there is {2}"""

    hint = "rl doctor says what changed; the container can be removed and made anew"


class NotRunningToJoin(RlError):
    """container {0}, whose {1} namespace is to be joined, is not running"""

    hint = "start it first: rl start {0}"


class CannotJoin(RlError):
    """cannot join the {0} namespace {1}: {2}"""

    hint = "name a file below /proc/PID/ns, of a process of yours"


class Ready:
    """A container that can be launched: see runtime.launch.Job for the meanings."""

    def __init__(self):
        self.spec = self.rootfs = self.ids = self.network = self.cgroup = self.warning = None
        self.ports = None  # engine.publish.Ports
        self.holder = None  # network.bridge.holder.Holder
        self.filters = []
        self.join = {}
        self.shared = set()  # kinds of namespaces to join that are the machine's own

    def close(self):
        """Close the namespaces that were opened to be joined, and the published ports."""
        for descriptor in self.join.values():
            os.close(descriptor)
        self.join = {}
        if self.ports:
            self.ports.close()
        if self.holder:
            self.holder.close()


def assemble(engine, record, spec=None):
    """Everything that ``record`` needs to be launched, as a Ready."""
    spec = spec or records.load_spec(engine, record["id"])
    ready = Ready()
    if record["rung"] != engine.ids.rung:
        raise RungChanged(record["name"], record["rung"], engine.ids.rung)
    joined = _join(engine, spec, ready)
    ready.ids = joined or ids_of(engine, spec)
    try:
        network = connect.prepare(engine, record, _capabilities(spec))
        ready.warning, ready.holder = network["warning"], network.get("holder")
        ready.network = connect.launch_step(engine, record, network["plan"])
        if record["network"].get("rate"):
            from rootless.engine import rate

            ready.network = rate.step(record, ready.network)
        if record.get("ports"):
            _publish(engine, record, network["plan"], ready)
        files = _write_files(engine, record, spec, network)
        ready.rootfs = root(engine, record, ready.ids, volatile=record["remove"])
        mounts = [runnable(engine, record, entry, files, ready.ids, ready.join)
                  for entry in spec["mounts"]]
        own = {**spec["rl"], "foreignRoot": record["rootfs"] and not record["rootfs_overlay"]}
        process = {**spec["process"], "setHome": own["setHome"]}
        linux = {**spec["linux"], "namespaces": [
            entry for entry in spec["linux"]["namespaces"] if entry["type"] not in ready.shared]}
        ready.spec = {**spec, "mounts": [entry for entry in mounts if entry], "rl": own,
                      "process": process, "linux": linux}
        ready.filters = filters(engine, spec, ready.ids)
        ready.cgroup = _cgroup(engine, record, spec)
    except BaseException:
        ready.close()
        raise
    return ready


def _capabilities(spec):
    """The names of what the container's root may do."""
    return (spec["process"].get("capabilities") or {}).get("bounding") or ()


def _cgroup(engine, record, spec):
    """What makes the container's cgroup; None where users have none."""
    if not (spec["rl"].get("cgroups") or os.path.exists("/sys/fs/cgroup/cgroup.controllers")):
        return None
    from rootless.engine import cgroups

    return cgroups.prepare(engine, record, spec)


def _publish(engine, record, plan, ready):
    from rootless.engine import publish

    ready.ports = publish.open_ports(engine, record)
    gateways = plan["gateways"] if plan else ()
    ready.network = publish.step(engine, record, ready.ports, ready.network, gateways)


def filters(engine, spec, ids, privileged=False):
    """The seccomp programs for a process of the container, in order."""
    if privileged:
        spec = {"linux": {}, "process": {}, "rl": {"seccomp": "unconfined"}}
    return seccomp.programs(spec, ids, f"{engine.runroot}/seccomp")


# --- ids and namespaces --------------------------------------------------------------------


class NotOpen(RlError):
    """--preserve-fds {0}: file descriptor {1} is not open"""

    hint = "open it for rl, for example: rl run --preserve-fds 1 … 3<FILE"


def preserved(request):
    """How many descriptors from 3 up --preserve-fds passes on; NotOpen if one isn't there."""
    count = request.preserve_fds or 0
    for number in range(3, 3 + count):
        try:
            ours = not os.get_inheritable(number)  # what this rl itself has opened
        except OSError:
            ours = True
        if ours:
            raise NotOpen(count, number)
    return count


def ids_of(engine, spec):
    """The Ids of the user namespace that a spec describes."""
    linux = spec["linux"]
    if "uidMappings" not in linux:
        return engine.ids
    maps = [tuple(Range(row["containerID"], row["hostID"], row["size"]) for row in linux[key])
            for key in ("uidMappings", "gidMappings")]
    own = engine.ids
    return Ids(*maps, spec["rl"].get("rung") or own.rung, own.direct, own.programs)


def _join(engine, spec, ready):
    """Open the namespaces to join; the Ids of the user namespace if that is joined too."""
    ids = None
    for entry in spec["linux"]["namespaces"]:
        kind = entry["type"]
        if "container" in entry:
            other = records.find(engine, entry["container"])
            path = _namespace_of(engine, other, kind)
            if kind == "user":
                ids = ids_of(engine, records.load_spec(engine, other["id"]))
        elif entry.get("path"):
            path = entry["path"]
        else:
            continue
        try:
            own = kind != "user" and os.path.samefile(path, f"/proc/self/ns/{_file(kind)}")
            if own:
                ready.shared.add(kind)  # it is the machine's: there is nothing to enter
            else:
                ready.join[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if kind == "user" and "container" not in entry:
                    ids = _ids_at(engine, ready.join[kind])
        except OSError as error:
            ready.close()
            raise CannotJoin(kind, path, error.strerror) from None
    return ids


def _ids_at(engine, namespace):
    """The Ids of a user namespace that somebody else has made."""
    from rootless.kernel import userns

    uids, gids = userns.maps_of(namespace)
    rung = "single" if total(uids) == total(gids) == 1 else "range"
    return Ids(uids, gids, rung, engine.ids.direct, engine.ids.programs)


def _file(kind):
    """The name below /proc/PID/ns of an OCI kind of namespace."""
    return _KINDS.get(kind, kind)


def _namespace_of(engine, other, kind):
    state = records.state(engine, other)
    if not state["pid"]:
        raise NotRunningToJoin(other["name"], kind)
    return f"/proc/{state['pid']}/ns/{_file(kind)}"


# --- the root ------------------------------------------------------------------------------


def driver_rows(engine):
    """Which storage drivers work on this store: rows of rung, ok, reason."""
    from rootless.store import drivers

    return probes.get(engine, "layers", lambda _: drivers.probe(
        engine.store, engine.program("fuse-overlayfs")), extra=[engine.config.root])


def driver(engine, record, shifted=False):
    """The driver of a container: the one it was made with, else the best for a new one."""
    from rootless.store import drivers

    name = record.get("driver")
    if name is None:
        found = best_driver(engine, shifted)
        record["driver"] = found.name
        records.update(engine, record, {"driver": found.name}, sync=False)
        return found
    return drivers.named(engine.store, name, engine.program("fuse-overlayfs"))


def best_driver(engine, shifted):
    """The driver for a new container; ``shifted``: its ids are not those of the store."""
    from rootless.store import drivers

    program = engine.program("fuse-overlayfs")
    return drivers.choose(engine.store, engine.config, driver_rows(engine), program, shifted)


def driver_of_new(engine, spec):
    """The name of the driver for a container that is being made; None where only the start
    knows, because it joins a user namespace."""
    for entry in spec["linux"]["namespaces"]:
        if entry["type"] == "user" and ("container" in entry or entry.get("path")):
            return None
    return best_driver(engine, any(shifts(engine, ids_of(engine, spec)))).name


def shifts(engine, ids):
    """How the layers' owners differ from what the map ``ids`` wants: for the driver."""
    if ids.single:  # with one id every file is that one's, under whatever number
        return (), ()
    return shift(ids.uids, engine.ids.uids), shift(ids.gids, engine.ids.gids)


def root(engine, record, ids, volatile=False):
    """The root of a container with the map ``ids``, prepared: a rootfs dict (store.drivers).

    ``volatile``: for a start of what is removed at its end.
    """
    if record["rootfs"]:
        return _own_root(engine, record)
    pieces = shifts(engine, ids)
    chosen = driver(engine, record, shifted=any(pieces))
    if record.get("capped"):
        from rootless.engine import capped

        return capped.root(engine, record, chosen, pieces)
    return chosen.prepare(
        records.directory(engine, record["id"]),
        engine.store.layers.paths(record["layers"]),
        *pieces,
        volatile=volatile,
    )


def _own_root(engine, record):
    """--rootfs: the directory itself, or an overlay above it."""
    if not record["rootfs_overlay"]:
        return {"driver": "clone", "path": record["rootfs"]}
    return _overlay(engine, record, "rootfs", [record["rootfs"]])


def _overlay(engine, record, name, lowers, upper=None, work=None):
    """An overlay above directories, its writes kept in the container's directory."""
    base = f"{records.directory(engine, record['id'])}/overlays/{name}"
    for part in () if upper else ("upper", "work"):
        os.makedirs(f"{base}/{part}", 0o700, exist_ok=True)
    if not upper:
        os.chmod(f"{base}/upper", os.stat(lowers[0]).st_mode & 0o7777)
    return {"driver": "overlay", "lowers": lowers, "upper": upper or f"{base}/upper",
            "work": work or f"{base}/work", "options": ["userxattr"]}


# --- files and mounts ----------------------------------------------------------------------


def _write_files(engine, record, spec, network):
    """Write the files rl gives a container; name → path of those that exist."""
    directory = f"{records.directory(engine, record['id'])}/files"
    texts = {
        "hosts": network["hosts"],
        "resolv.conf": network["resolv"],
        "hostname": f"{spec['rl']['hostname']}\n",
        ".containerenv": _containerenv(record, spec),
    }
    if network["hosts"] is None and record["network"]["parsed"]["mode"] == "container":
        texts.update(_texts_of_other(engine, record))
    found = {}
    for name, text in texts.items():
        if text is None:
            continue
        path = f"{directory}/{name}"
        try:
            os.unlink(path)  # it may belong to the container's root since the last start
        except FileNotFoundError:
            pass
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.write(descriptor, text.encode())
        os.fchmod(descriptor, 0o644)
        os.close(descriptor)
        found[name] = path
    return found


def _texts_of_other(engine, record):
    """With --network container:NAME: that container's hosts and resolv.conf."""
    other = records.find_id(engine, record["network"]["parsed"]["target"])
    found = {}
    for name in ("hosts", "resolv.conf"):
        try:
            with open(f"{records.directory(engine, other)}/files/{name}", encoding="utf-8") as file:
                found[name] = file.read(1 << 20)
        except OSError:
            pass
    return found


def _containerenv(record, spec):
    if not spec["rl"]["privileged"]:
        return ""
    return (f'engine="rl"\nname="{record["name"]}"\nid="{record["id"]}"\n'
            f'image="{record["image_name"]}"\nimageid="{record["image"] or ""}"\nrootless=1\n')


def runnable(engine, record, entry, files, ids, join):
    """A recorded mount as the runtime takes it; None for one that has nothing to show.

    The namespace that one comes from is opened into ``join``.
    """
    kind, source = entry["type"], entry["source"]
    if kind == "bind" and source.startswith(records.FILES):
        path = files.get(source[len(records.FILES) :])
        if path and to_outside(ids.uids, 0) not in (None, os.geteuid()):
            entry = {**entry, "chown": "root"}
        return {**entry, "source": path} if path else None
    if kind == "bind" and "container" in entry:
        if "shm" not in join:
            join["shm"] = _mounts_of(engine, entry["container"])
        return {**entry, "type": "shm"}
    if kind == "volume":
        return _volume(engine, record, entry)
    if kind == "overlay":
        return _layered(engine, record, entry)
    if kind == "image":
        return _image(engine, record, entry)
    return entry


def _layered(engine, record, entry):
    """A directory under an overlay that keeps what the container writes."""
    rootfs = _overlay(engine, record, _kept_as(entry), [entry["source"]], entry.get("upper"),
                      entry.get("work"))  # fmt: skip
    return {**entry, "type": "overlay", "rootfs": rootfs, "options": []}


def _kept_as(entry):
    """A file name for a destination, a different one for each."""
    return entry["destination"].strip("/").replace("%", "%25").replace("/", "%2F")


def _mounts_of(engine, name):
    """The mount namespace of another container, in which its /dev/shm is found."""
    other = records.find(engine, name)
    state = records.state(engine, other)
    if not state["pid"]:
        raise NotRunningToJoin(other["name"], "ipc")
    return os.open(f"/proc/{state['pid']}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _volume(engine, record, entry):
    from rootless.engine import volumes

    found = volumes.resolve(engine, entry["source"], container=record["id"],
                            anonymous=bool(entry.get("anonymous")))
    if entry.get("layered"):
        if found["type"] == "tmpfs":
            raise volumes.VolumeDevice(found["name"], "memory", "cannot have a layer above it",
                                       hint="leave O out")  # fmt: skip
        return _layered(engine, record, {**entry, "source": found["source"]})
    words = [word for word in found["options"] if word not in entry["options"]]
    mounted = {**entry, "type": found["type"], "source": found["source"]}
    if found["type"] == "tmpfs":
        kept = [w for w in entry["options"] if w not in ("rbind", "bind", "rprivate", "private")]
        return {**mounted, "options": [*kept, *words]}
    mounted["options"] = [*entry["options"], *words]
    if found["copy_up"] and entry.get("copy", True):
        mounted["copy_up"] = f"{volumes.directory(engine)}/{found['name']}/copy-up"
    return mounted


def _image(engine, record, entry):
    """--mount type=image: the image's layers under an overlay whose writes are discarded."""
    from rootless.engine import images
    from rootless.store.drivers.overlay import stacked

    found = images.resolve(engine, entry["source"])
    name = f"image-{_kept_as(entry)}"
    lowers = stacked(engine.store.layers.paths(found["layers"]))
    if not lowers:  # an image without files: overlayfs wants one lower directory
        lowers = [f"{records.directory(engine, record['id'])}/overlays/{name}/lower"]
        os.makedirs(lowers[0], 0o755, exist_ok=True)
    rootfs = _overlay(engine, record, name, lowers)
    return {**entry, "type": "overlay", "rootfs": rootfs, "options": entry["options"]}
