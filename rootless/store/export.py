"""Trees into archives: a container's changes as a layer, or its whole root directory.

Runs in the user namespace and streams into a pipe; the caller gets the bytes.
"""

import errno
import os

from rootless.kernel import files, mount, userns
from rootless.store import changes, merged, names
from rootless.store.tarwrite import TarWriter

_IFMT, _IFDIR, _IFREG, _IFLNK, _IFIFO = 0o170000, 0o040000, 0o100000, 0o120000, 0o010000
_PIPE = 1 << 20
# What the calls say whose file was removed, or replaced by a directory, a link, a socket.
_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR)


def export_layer(store, driver, container_dir, layer_paths, write, newest=None, stamp=None):
    """Write what a container changed as the archive of an OCI layer; {"entries", "bytes"}.

    ``write`` takes the plain tar in pieces (bytes).  Deletions are ``.wh.`` files; owners
    are those the container sees, or the image's where only one id is mapped.  ``newest``
    (seconds) limits the times, for reproducible builds; ``stamp`` replaces them all.
    """
    arguments = (driver.name, container_dir, list(layer_paths), newest, stamp)
    return stream(store, write, _write_layer, arguments)


def export_merged(driver, container_dir, layer_paths, write):
    """Write the whole root directory of a container as a plain tar; counts.

    Sorted, with the owners that the container sees or, with one id, those its image has.  A
    container may run meanwhile: a file that vanishes is left out, one that gets shorter is
    filled up with zeros.
    """
    rootfs = driver.prepare(container_dir, layer_paths)
    return export_rootfs(driver.store, rootfs, container_dir, layer_paths, write)


def export_rootfs(store, rootfs, container_dir, layer_paths, write):
    """``export_merged`` of a root that is described by a rootfs dict."""
    for key in ("uidmapping", "gidmapping"):
        rootfs = {**rootfs, key: []}  # they are for a container's map; this is the store's
    return stream(store, write, _write_merged, (rootfs, container_dir, list(layer_paths)))


# --- the pipe ------------------------------------------------------------------------------


def stream(store, write, function, arguments):
    """Run ``function(TarWriter, *arguments)`` as root of the namespace, in a mount namespace of
    its own: what it returns; ``write`` gets what it writes, in pieces (bytes)."""
    return pass_on(*start(store, function, arguments), write)


def pass_on(child, reading, write):
    """Give ``write`` what a child writes into a pipe, to its end; what the child returned."""
    try:
        while piece := os.read(reading, _PIPE):
            write(piece)
    except BaseException:
        child.kill()
        raise
    finally:
        os.close(reading)
    return child.wait()


def start(store, function, arguments):
    """As ``stream``, but the caller reads: (userns.Child, descriptor to read from and close)."""
    from rootless.store.unpack import grow_pipe

    reading, writing = os.pipe()
    grow_pipe(writing)
    try:
        child = userns.start_in(
            store.ids, _run, reading, writing, function, arguments, mount_ns=True
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return child, reading


def _run(reading, writing, function, arguments):
    os.close(reading)
    try:
        return function(TarWriter(lambda data: files.write_all(writing, data)), *arguments)
    finally:
        os.close(writing)


# --- what is written -----------------------------------------------------------------------


class Members:
    """Members for the files of one directory tree.

    ``writer``: a TarWriter; ``root``: descriptor of the tree; ``owner``: (uid, gid) on disk →
    those to write; ``recorded``: {path: (uid, gid)} of files whose owner isn't on disk;
    ``live``: the tree changes meanwhile; ``prefix`` stands before every path (bytes).
    """

    def __init__(self, writer, root, owner=None, recorded=None):
        self.writer = writer
        self.root = root
        self.owner = owner
        self.recorded = recorded or {}
        self.links = {}
        self.entries = self.bytes = 0
        self.live = False
        self.prefix = b""

    def add(self, path):
        """The member for ``path`` (bytes); sockets and whiteouts have none.

        False if it has vanished, in a tree that is ``live``.
        """
        parent, _, name = path.rpartition(b"/")
        try:
            holder = files.open_beneath(self.root, parent, files.O_PATH | os.O_DIRECTORY)
            try:
                status = os.lstat(name, dir_fd=holder)
                self._write(path, name, holder, status)
            finally:
                os.close(holder)
        except OSError as error:
            if not self.live or error.errno not in _REPLACED:
                raise
            # No later hard link may point to a member that was never written.
            self.links = {key: first for key, first in self.links.items() if first != path}
            return False
        return True

    def add_device(self, path, facts):
        """The member for a device node that only an index has, if nothing took its place."""
        parent, _, name = path.rpartition(b"/")
        try:
            holder = files.open_beneath(self.root, parent, files.O_PATH | os.O_DIRECTORY)
        except OSError:
            return
        try:
            os.lstat(name, dir_fd=holder)
        except FileNotFoundError:
            self.device(path, facts)
        finally:
            os.close(holder)

    def shown(self, path):
        """The name of the member for ``path`` (bytes)."""
        return self.prefix + path

    def _owner_of(self, path, status):
        if path in self.recorded:
            return self.recorded[path]
        if self.owner is not None:
            return self.owner(status.st_uid, status.st_gid)
        return status.st_uid, status.st_gid

    def _write(self, path, name, holder, status):
        kind = status.st_mode & _IFMT
        shown = self.shown(path)
        uid, gid = self._owner_of(path, status)
        common = {
            "mode": status.st_mode & 0o7777, "uid": uid, "gid": gid,
            "mtime": status.st_mtime_ns // 1_000_000_000,
        }
        if kind != _IFDIR and status.st_nlink > 1:
            key = (status.st_dev, status.st_ino)
            if key in self.links:
                self.writer.header(shown, b"1", link=self.shown(self.links[key]), **common)
                self.entries += 1
                return
            self.links[key] = path
        if kind == _IFREG:
            self.regular(shown, name, holder, common)
        elif kind == _IFDIR:
            flags = files.DIRECTORY
            file = os.open(name, flags, dir_fd=holder)
            try:
                self.writer.header(shown + b"/", b"5", xattrs=changes.xattrs(file), **common)
            finally:
                os.close(file)
        elif kind == _IFLNK:
            common["mode"] = 0o777
            self.writer.header(shown, b"2", link=os.readlink(name, dir_fd=holder), **common)
        elif kind == _IFIFO:
            self.writer.header(shown, b"6", **common)
        else:
            return
        self.entries += 1

    def regular(self, shown, name, holder, common):
        """The member called ``shown`` for the ordinary file ``name`` of ``holder``."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=holder)
        try:
            status = os.fstat(file)
            if status.st_mode & _IFMT != _IFREG:
                raise FileNotFoundError(2, "it was replaced while it was read", name)
            size = status.st_size
            attributes = changes.xattrs(file)
            self.writer.header(shown, b"0", size=size, xattrs=attributes, **common)
            self.writer.content(file, size, pad=self.live)
            self.bytes += size
        finally:
            os.close(file)

    def device(self, path, facts):
        """The member for a device node that only an index has."""
        kind, mode, uid, gid, major, minor, mtime = facts
        self.writer.header(
            path, kind.encode(), mode=mode, uid=uid, gid=gid, major=major, minor=minor,
            mtime=mtime // 1_000_000_000,
        )
        self.entries += 1

    def whiteout(self, path):
        """The member that hides ``path`` of lower layers."""
        parent, _, name = path.rpartition(b"/")
        self.writer.header(merged.join(parent, names.WHITEOUT + name), b"0")
        self.entries += 1

    def finish(self):
        self.writer.finish()
        return {"entries": self.entries, "bytes": self.bytes}


def _write_layer(writer, name, container_dir, layer_paths, newest, stamp):
    writer.newest, writer.stamp = newest, stamp
    found = changes.find(name, container_dir, layer_paths)
    home = os.open(container_dir, files.DIRECTORY)
    owner = None
    if name == "clone":
        owner = changes.seen_owner(changes.clone_facts(home)[0])
    try:
        root = os.open("rootfs" if name == "clone" else "upper", files.DIRECTORY, dir_fd=home)
    except FileNotFoundError:
        return Members(writer, -1).finish()
    finally:
        os.close(home)
    stacked = merged.stack(layer_paths)
    members = Members(writer, root, owner, _recorded(stacked, found))
    members.live = True
    stacked.close()
    for path, kind in found:
        if kind == "D":
            members.whiteout(path)
        else:
            members.add(path)  # a parent may only be in the image: it needs no member
    return members.finish()


def _recorded(stacked, found):
    """{path: [uid, gid]} of changed files whose owner only the layers' indexes know."""
    owners = {}
    changed = {names.text(path): path for path, kind in found if kind == "C"}
    for level in reversed(stacked.levels):
        for text in level.owners.keys() & changed.keys():
            owners[changed[text]] = level.owners[text]
    return owners


def _walk(members, devices=()):
    """All members below the root, in the order of their names, then ``devices``."""
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        if path and not members.add(path):
            continue
        try:
            descriptor = files.open_beneath(members.root, path)
        except OSError:
            if members.live and path:
                continue
            raise
        try:
            directories = []
            with os.scandir(descriptor) as entries:
                for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
                    below = merged.join(path, os.fsencode(entry.name))
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(below)
                    else:
                        members.add(below)
            waiting.extend(reversed(directories))
        finally:
            os.close(descriptor)
    for path, facts in devices:
        members.add_device(path, facts)
    return members.finish()


def _write_merged(writer, rootfs, container_dir, layer_paths):
    """We are root of the namespace already, with a mount namespace of our own."""
    from rootless.store.drivers import mounting

    target = f"{container_dir}/.view-{os.urandom(6).hex()}"
    os.mkdir(target, 0o700)
    try:
        root, server = mounting.mount_rootfs(rootfs, target, False)
        try:
            stacked = merged.stack(layer_paths)
            owner = _clone_owner(rootfs, container_dir)
            members = Members(writer, root, owner, _all_recorded(stacked))
            members.live = True
            devices = sorted(devices_of(stacked).items())
            stacked.close()
            return _walk(members, devices)
        finally:
            mounting.unmount(target, root, server)
    finally:
        os.rmdir(target)


def facts_of(store, layer_paths):
    """({path: owner}, [(path, facts)]) of the owners and the device nodes that only the indexes
    of the layers have: for ``write_live``."""
    owners, devices = userns.call_in(store.ids, _facts, list(layer_paths))
    return owners, devices


def _facts(layer_paths):
    stacked = merged.stack(layer_paths)
    try:
        return _all_recorded(stacked), sorted(devices_of(stacked).items())
    finally:
        stacked.close()


def write_live(root, writing, recorded, devices):
    """In a running container: write its root as a tar, without what is mounted in it."""
    tree = mount.clone_tree("", root, recursive=False)
    try:
        members = Members(TarWriter(lambda data: files.write_all(writing, data)),
                          os.open(".", files.DIRECTORY, dir_fd=tree), None, recorded)
    finally:
        os.close(tree)
    members.live = True
    return _walk(members, devices)


def _clone_owner(rootfs, container_dir):
    if rootfs["driver"] != "clone":
        return None
    home = os.open(container_dir, files.DIRECTORY)
    try:
        return changes.seen_owner(changes.clone_facts(home)[0])
    finally:
        os.close(home)


def devices_of(stacked):
    """{path: facts} of the device nodes that only the indexes have."""
    found = {}
    for number, level in enumerate(stacked.levels):
        for text, facts in level.devices.items():
            path = names.raw(text)
            if path not in found and not _hidden(path, stacked.levels[:number]):
                found[path] = facts
    return found


def _hidden(path, levels):
    """Whether one of the upper ``levels`` hides what lower ones have at ``path``."""
    parts = path.split(b"/")
    for length in range(len(parts)):
        above, name = b"/".join(parts[:length]), parts[length]
        for level in levels:
            if above in level.opaques or name in level.hidden.get(above, ()):
                return True
    return False


def _all_recorded(stacked):
    owners = {}
    for level in reversed(stacked.levels):
        owners.update((names.raw(text), owner) for text, owner in level.owners.items())
    return owners
