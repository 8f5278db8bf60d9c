"""The upper directory of an overlay made into a layer where it lies: nothing is copied.

``take`` runs in the user namespace when nobody writes there any more: one walk writes the
archive, hashes it, lists the entries, and leaves the tree as unpacking that archive would have
made it: whole seconds, marks of whiteouts and opaque directories that every driver knows, and
nothing that only overlayfs has a use for.  ``publish`` gives the layer its name.
"""

import errno
import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import changes, digests, layers, merged, names, unpack, unpacker
from rootless.store.tarwrite import TarWriter

UPPER = "upper"
# On a file, in place of an owner that the id map lacks: b"UID:GID", "-" for one not said.
OWNER = "user.overlay.rl-owner"
# On an ordinary file that stands for a device node: b"c|b MAJOR MINOR".
NODE = "user.overlay.rl-node"
# overlayfs puts it on what it has copied up.
ORIGIN = "user.overlay.origin"
_PRIVATE = "user.overlay."
_OPAQUE = names.OPAQUE_XATTRS[0]
_IFMT, _IFDIR, _IFREG, _IFLNK = 0o170000, 0o040000, 0o100000, 0o120000
_IFCHR, _IFIFO = 0o020000, 0o010000
_SECOND = 1_000_000_000
_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotForLayers(RlError):
    """the step left a file {0!r}, which no layer can hold: {1}"""

    hint = "remove it at the end of the same RUN"


class Upper:
    """What ``take`` works on.

    work     descriptor of the directory that has ``upper``
    layer    descriptor of the empty directory that becomes the layer
    blob     descriptor of the file that gets the archive
    hasher   made before any fork
    lowers   trees of the layers below (paths), bottom first
    single   True where one id is mapped: owners are noted, not set
    mine     (uid, gid) that files of this step have where nothing is noted
    noted    {inode: (uid, gid)} of links and the like, which can't carry an owner's mark
    root     (mode, uid, gid) that the root directory had when the step began
    newest   latest time (seconds) for files, or None; ``stamp``: the time of all, or None
    """

    def __init__(self, **fields):
        self.noted = {}
        self.mine = (0, 0)
        self.newest = self.stamp = self.root = None
        self.__dict__.update(fields)


def take(upper):
    """Write archive, list and index, and move the tree into the layer; the facts, a dict."""
    walk = _Walk(upper)
    try:
        walk.run()
        facts = {"version": 1, **walk.index()}
        facts["diff_id"] = f"sha256:{upper.hasher.hexdigest()}"
        facts["size"] = walk.size
        facts["compression"] = ""
        os.rename(UPPER, unpack.TREE, src_dir_fd=upper.work, dst_dir_fd=upper.layer)
        return unpack.describe(upper.layer, facts, upper.single)
    finally:
        walk.close()


def publish(store, work, facts):
    """Give the layer that lies in ``work`` (store.tmp.Workdir) its name, when it is on disk."""
    name = digests.hexdigits(facts["diff_id"])
    store.tmp.hold(facts["diff_id"])
    if store.layers.has(facts["diff_id"]):
        return
    home = store.directory("layers")
    files.syncfs(home)
    try:
        os.rename(unpack.BUILD, name, src_dir_fd=work.descriptor, dst_dir_fd=home)
    except OSError:
        if not store.layers.has(facts["diff_id"]):
            raise
    os.fsync(home)


class _Walk:
    def __init__(self, upper):
        self.upper = upper
        self.root = os.open(UPPER, files.DIRECTORY, dir_fd=upper.work)
        self.lowers = [os.open(path, files.DIRECTORY) for path in reversed(upper.lowers)]
        self._noted = None
        self.writer = TarWriter(self._sink)
        self.listing = unpack.Listing(upper.layer)
        self.links = {}  # inode → (first path, owner)
        self.whiteouts, self.opaques, self.owners, self.devices = [], [], {}, {}
        self.size = self.entries = self.bytes = self.watched = 0

    def _sink(self, data):
        self.upper.hasher.update(data)
        files.write_all(self.upper.blob, data)
        self.size += len(data)

    def close(self):
        for descriptor in (self.root, *self.lowers):
            os.close(descriptor)

    def run(self):
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            below = self._directory(path)
            waiting.extend(reversed(below))
        self.writer.finish()
        self.listing.close()

    def index(self):
        """As store.unpacker.Unpacker.index."""
        return {
            "entries": self.entries, "bytes": self.bytes, "unmapped": 0,
            "whiteouts": sorted(map(names.text, self.whiteouts)),
            "opaques": sorted(map(names.text, self.opaques)),
            "owners": {names.text(path): list(owner) for path, owner in self.owners.items()},
            "devices": {names.text(path): facts for path, facts in self.devices.items()},
            "xattrs": {},
        }  # fmt: skip

    # --- directories ---

    def _directory(self, path):
        """One directory: its member, and all in it that isn't a directory; those are returned."""
        descriptor = files.open_beneath(self.root, path)
        try:
            status = os.fstat(descriptor)
            found = os.listxattr(descriptor)
            seconds = self._head(path, descriptor, status, found)
            below = []
            with os.scandir(descriptor) as entries:
                listed = sorted(os.fsencode(entry.name) for entry in entries)
            for name in listed:
                inner = os.lstat(name, dir_fd=descriptor)
                here = self._checked(path, name)
                if inner.st_mode & _IFMT == _IFDIR:
                    below.append(here)
                else:
                    self._entry(here, name, descriptor, inner)
            _clean(descriptor, found)
            time = unpacker.UNKNOWN_ROOT if seconds is None else (seconds * _SECOND,) * 2
            os.utime(descriptor, ns=time)
            return below
        finally:
            os.close(descriptor)

    def _checked(self, path, name):
        here = merged.join(path, name)
        if name.startswith(names.WHITEOUT):
            raise NotForLayers(os.fsdecode(here), "names with .wh. stand for deletions there")
        if len(here) > unpacker.LONGEST_PATH or here.count(b"/") >= unpacker.DEEPEST:
            raise NotForLayers(os.fsdecode(here[:200]), "its path is too long")
        return here

    def _head(self, path, descriptor, status, found):
        """The member for the directory itself; its time, None for a root as it was."""
        if not path and (status.st_mode & 0o7777, status.st_uid, status.st_gid) == self.upper.root:
            if OWNER not in found:
                if not self.upper.single:
                    os.fchown(descriptor, 0, 0)
                os.fchmod(descriptor, 0o755)
                return None
        seconds = self._time(status)
        owner = self._owner(path, status, descriptor, found)
        mode = status.st_mode & 0o7777
        attributes = changes.xattrs(descriptor)
        self._member(path + b"/" if path else b"./", b"5", mode, owner, seconds,
                     xattrs=attributes)  # fmt: skip
        self.listing(b"d %o 0 %d %b\0" % (mode, seconds * _SECOND, path))
        if _OPAQUE in found and self._in_lowers(path):
            os.setxattr(descriptor, names.OPAQUE_XATTRS[1], b"y")
            self.opaques.append(path)
            self._member(merged.join(path, names.OPAQUE), b"0")
        elif _OPAQUE in found:
            # A new directory is marked, too, which saves overlayfs a look below.
            os.removexattr(descriptor, _OPAQUE)
        return seconds

    def _in_lowers(self, path):
        """Whether one of the layers below has such a directory."""
        for lower in self.lowers:
            try:
                os.close(files.open_beneath(lower, path, _PARENT))
                return True
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
        return False

    # --- everything else ---

    def _entry(self, path, name, holder, status):
        kind = status.st_mode & _IFMT
        if kind == _IFCHR and status.st_rdev == 0:
            parent = path.rpartition(b"/")[0]
            self.whiteouts.append(path)
            self._member(merged.join(parent, names.WHITEOUT + name), b"0")
        elif kind == _IFREG:
            self._regular(path, name, holder)
        elif kind == _IFLNK:
            self._other(path, name, holder, status, b"2", 0o777)
        elif kind == _IFIFO:
            self._other(path, name, holder, status, b"6", status.st_mode & 0o7777)
        else:
            os.unlink(name, dir_fd=holder)  # a socket: nobody listens any more

    def _regular(self, path, name, holder):
        file = os.open(name, _READ, dir_fd=holder)
        try:
            status = os.fstat(file)
            found = os.listxattr(file)
            if NODE in found:
                self._device(path, name, holder, status, file)
                return
            mode, seconds = status.st_mode & 0o7777, self._time(status)
            if status.st_nlink > 1 and self._linked(path, status, mode, seconds):
                return
            owner = self._owner(path, status, file, found)
            self.links[status.st_ino] = path, owner
            size = status.st_size
            attributes = changes.xattrs(file) if found else None
            self._member(path, b"0", mode, owner, seconds, size=size, xattrs=attributes)
            self.writer.content(file, size)
            self.listing(b"f %o %d %d %b\0" % (mode, size, seconds * _SECOND, path))
            _clean(file, found)
            os.utime(file, ns=(seconds * _SECOND,) * 2)
            self._look(size)
        finally:
            os.close(file)

    def _linked(self, path, status, mode, seconds):
        """Whether it is a further name of a file; then its member is written."""
        if status.st_ino not in self.links:
            return False
        first, owner = self.links[status.st_ino]
        if path != first and first in self.owners:
            self.owners[path] = owner
        self._member(path, b"1", mode, owner, seconds, link=first)
        self.listing(b"h 0 0 0 " + path + b"\0")
        return True

    def _other(self, path, name, holder, status, kind, mode):
        """A symbolic link or a named pipe."""
        seconds = self._time(status)
        owner = (status.st_uid, status.st_gid)
        if self.upper.single:
            noted = self.upper.noted.get(status.st_ino, (None, None))
            owner = self._whole(noted, self.upper.mine)
            if owner != (0, 0):
                self.owners[path] = owner
        if status.st_nlink > 1 and self._linked(path, status, mode, seconds):
            return
        self.links[status.st_ino] = path, owner
        link = os.readlink(name, dir_fd=holder) if kind == b"2" else b""
        self._member(path, kind, mode, owner, seconds, link=link)
        line = (b"l 777 %d %d %b\0" % (len(link), seconds * _SECOND, path) if kind == b"2"
                else b"p %o 0 %d %b\0" % (mode, seconds * _SECOND, path))  # fmt: skip
        self.listing(line)
        os.utime(name, ns=(seconds * _SECOND,) * 2, dir_fd=holder, follow_symlinks=False)

    def _device(self, path, name, holder, status, file):
        """A file that stands for a device node: it goes into the index, as when unpacked."""
        kind, major, minor = os.getxattr(file, NODE).decode("ascii").split(" ")
        mode, seconds = status.st_mode & 0o7777, self._time(status)
        owner = self._owner(path, status, file, os.listxattr(file))
        self.owners.pop(path, None)
        code = b"3" if kind == "c" else b"4"
        self._member(path, code, mode, owner, seconds, device=(int(major), int(minor)))
        self.devices[path] = [code.decode(), mode, *owner, int(major), int(minor),
                              seconds * _SECOND]  # fmt: skip
        os.unlink(name, dir_fd=holder)

    # --- parts of members ---

    def _time(self, status):
        if self.upper.stamp is not None:
            return self.upper.stamp
        seconds = status.st_mtime_ns // _SECOND
        newest = self.upper.newest
        return seconds if newest is None or seconds <= newest else newest

    def _owner(self, path, status, descriptor, found):
        """(uid, gid) of a file; what isn't on disk is noted for the index."""
        on_disk = status.st_uid, status.st_gid
        if on_disk != (0, 0) and not self.upper.single:
            return on_disk
        owner = parse_owner(os.getxattr(descriptor, OWNER)) if OWNER in found else (None, None)
        new = ORIGIN not in found
        owner = self._whole(owner, self.upper.mine if new else self._below(path)[1])
        if new and OWNER in found and owner == self.upper.mine and self.upper.single:
            owner = self._kept(path, status, owner)
        if owner != (0, 0):
            self.owners[path] = owner
        return owner

    @staticmethod
    def _whole(owner, older):
        return tuple(old if new is None else new for new, old in zip(owner, older, strict=True))

    def _below(self, path):
        """(lstat result, owner) of what the layers below have at ``path``; (None, root's)."""
        text = names.text(path)
        if self._noted is None:
            self._noted = [_owners(below) for below in reversed(self.upper.lowers)]
        parent, _, name = path.rpartition(b"/")
        for lower, owners in zip(self.lowers, self._noted, strict=True):
            try:
                holder = files.open_beneath(lower, parent, _PARENT)
                try:
                    status = os.lstat(name or b".", dir_fd=holder)
                finally:
                    os.close(holder)
            except OSError:
                continue
            return status, tuple(owners.get(text, (0, 0)))
        return None, (0, 0)

    def _kept(self, path, status, owner):
        """The owner of a new file that was given to ``owner``, the one there is.

        Programs that put a new file in an old one's place give it the old one's owner and
        mode, as stat tells them; where the owner was only noted, it is that which they mean.
        """
        before, older = self._below(path)
        if before is not None and before.st_mode == status.st_mode and older != (0, 0):
            return older
        return owner

    def _member(self, name, kind, mode=0, owner=(0, 0), seconds=0, size=0, link=b"",
                device=(0, 0), xattrs=None):  # fmt: skip
        self.writer.header(name, kind, mode, *owner, size, seconds, link, *device, xattrs)
        self.entries += 1

    def _look(self, size):
        self.bytes += size
        if self.bytes - self.watched > unpack.CHECK_EVERY:
            self.watched = self.bytes
            unpack.check_space(self.root)


def parse_owner(text):
    """(uid, gid) of an owner's mark; None for one that isn't said."""
    return tuple(None if part == b"-" else int(part) for part in text.split(b":"))


def owner_text(owner):
    """An owner's mark (bytes): the reverse."""
    return b":".join(b"-" if one is None else b"%d" % one for one in owner)


def _owners(path):
    try:
        return layers.read_index(os.path.dirname(path), path)["owners"]
    except RlError:
        return {}


def _clean(descriptor, found):
    """Take off what only a mounted overlay has a use for."""
    for name in found:
        if name.startswith(_PRIVATE) and name != _OPAQUE:
            os.removexattr(descriptor, name)
