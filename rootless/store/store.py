"""The store: one directory that holds images, layers and containers of one user.

    blobs/sha256/HEX   manifests, configs and compressed layers, verified on write
    layers/HEX/        tree/ + index + entries, one per diff id
    images/ID          what is known of an image (ID: hex digits of its config's digest)
    refs/NAME          one small file per tag
    containers/ID/     volumes/     and what else the engine keeps, one directory per kind
    tmp/               one locked directory per writer

Everything is found by listing the directories; no file holds a path.  The root is 0700, so
set-uid programs of images are out of everybody else's reach.
"""

import errno
import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import records

MARKER = "rl-store"
_KINDS = ("blobs", "layers", "images", "refs", "containers", "volumes", "tmp")
_HARMLESS = ("lost+found",)


class StoreNotOurs(RlError):
    """the store {root} belongs to somebody else (uid {owner})"""

    hint = "name a directory of your own: rl --root DIR, or RL_ROOT=DIR"


class NotAStore(RlError):
    """{root} is not empty and is not a store of rl"""

    hint = "name an empty or a new directory: rl --root DIR, or RL_ROOT=DIR"


class StoreUnusable(RlError):
    """cannot use the store {root}: {problem}"""

    hint = "name another directory: rl --root DIR, or RL_ROOT=DIR"


class Store:
    """An open store; ``open_store`` makes it.

    ``root``: its absolute path; ``ids``: the map (model.idmap.Ids) its layers are written
    under; ``blobs``, ``layers``, ``images``, ``tmp``: its parts, loaded when first used.
    """

    def __init__(self, root, ids, descriptor):
        self.root = root
        self.ids = ids
        self.descriptor = descriptor
        self._opened = {}
        self._parts = {}

    def path(self, *names):
        """The absolute path of something in the store, from its names."""
        return "/".join((self.root, *names))

    def directory(self, name):
        """A descriptor of the store's directory ``name`` ("blobs/sha256"), made if missing.

        It stays open as long as the store.
        """
        found = self._opened.get(name)
        if found is None:
            try:
                found = os.open(name, files.DIRECTORY, dir_fd=self.descriptor)
            except FileNotFoundError:
                _make(self.descriptor, name)
                found = os.open(name, files.DIRECTORY, dir_fd=self.descriptor)
            self._opened[name] = found
        return found

    def names(self, name):
        """What is listed in the directory ``name``, without temporary files; a list of str."""
        try:
            found = os.listdir(self.directory(name))
        except FileNotFoundError:
            return []
        return [entry for entry in found if not entry.startswith(".")]

    @property
    def blobs(self):
        if "blobs" not in self._parts:
            from rootless.store.blobs import Blobs

            self._parts["blobs"] = Blobs(self)
        return self._parts["blobs"]

    @property
    def layers(self):
        if "layers" not in self._parts:
            from rootless.store.layers import Layers

            self._parts["layers"] = Layers(self)
        return self._parts["layers"]

    @property
    def images(self):
        if "images" not in self._parts:
            from rootless.store.images import Images

            self._parts["images"] = Images(self)
        return self._parts["images"]

    @property
    def tmp(self):
        if "tmp" not in self._parts:
            from rootless.store.tmp import Tmp

            self._parts["tmp"] = Tmp(self)
        return self._parts["tmp"]

    def close(self):
        """Close the descriptors, and let go of what this process held in tmp."""
        if self.descriptor == -1:
            return
        if "tmp" in self._parts:
            self._parts["tmp"].close()
        for descriptor in (*self._opened.values(), self.descriptor):
            os.close(descriptor)
        self._opened = {}
        self.descriptor = -1


def _make(directory, name):
    for end in [i for i, letter in enumerate(name) if letter == "/"] + [len(name)]:
        try:
            os.mkdir(name[:end], 0o700, dir_fd=directory)
        except FileExistsError:
            pass


def open_store(root, ids):
    """Open the store at ``root`` (absolute path), and make it if there is nothing yet.

    Raises StoreNotOurs, NotAStore, NewerRecord or StoreUnusable; nothing is changed then.
    """
    root = os.path.abspath(root)
    try:
        descriptor = _open(root)
        try:
            return _checked(root, ids, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StoreUnusable(root=root, problem=error.strerror or str(error)) from None


def _open(root):
    # The path itself may lead through links: it is the user's own choice.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return os.open(root, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(root), exist_ok=True)
        try:
            os.mkdir(root, 0o700)
        except FileExistsError:
            pass
        return os.open(root, flags)
    except NotADirectoryError:
        raise NotAStore(root=root) from None


def _checked(root, ids, descriptor):
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise StoreNotOurs(root=root, owner=status.st_uid)
    try:
        records.read(descriptor, MARKER, f"{root}/{MARKER}", 4096)
    except FileNotFoundError:
        _start(root, descriptor)
    except records.DamagedRecord:
        # Only a power cut on a file system without ordered renames leaves this; whether
        # it is a store can still be seen.
        if not {"blobs", "layers", "tmp"} <= set(os.listdir(descriptor)):
            raise
        records.write(descriptor, MARKER, {})
    if status.st_mode & 0o7077:
        os.fchmod(descriptor, 0o700)
    return Store(root, ids, descriptor)


def _start(root, descriptor):
    """Make an empty directory a store."""
    unfinished = f".{MARKER}."
    for name in os.listdir(descriptor):
        if name not in _HARMLESS and name != MARKER and not name.startswith(unfinished):
            raise NotAStore(root=root)
    _shed_inheritance(descriptor)
    records.write(descriptor, MARKER, {})
    for name in _KINDS:
        _make(descriptor, name)
    _make(descriptor, "blobs/sha256")
    os.fsync(descriptor)


def _shed_inheritance(descriptor):
    """Undo what the parent directory passed on: its group, set-gid bit and default ACL.

    Every file of every image would inherit them as well.
    """
    try:
        os.fchown(descriptor, -1, os.getegid())
        os.fchmod(descriptor, 0o700)
        for name in ("system.posix_acl_default", "system.posix_acl_access"):
            os.removexattr(descriptor, name)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EINVAL):
            raise
