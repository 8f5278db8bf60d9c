"""Garbage collection: what no image, container or live writer needs goes, and nothing else.

No lock stops anybody.  What looks unneeded is first set aside by a rename; then everything
that may need things is read again, and what turned out to be needed is put back.  Whoever
starts to need something writes that down before looking whether it is there (an image's or
container's record, tmp.hold), so one of both always sees the other.
"""

import errno
import os
import time

from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.model import jsontext
from rootless.store import cache, digests, records, shape

_DRAFT_PATIENCE = 600
MANIFEST_LIMIT = 4 << 20
_DEEPEST = 64
# Where things lie while it is not sure that they go, and when it is.
_ASIDE, _DOOMED = "aside", "doomed"
_COLLECTED = ("layers", *(f"blobs/{algorithm}" for algorithm in digests.SIZES))


class Needed:
    """What has to stay: ``layers`` and ``blobs``, sets of digests.

    ``blind`` names what could not be read: as long as there is something, nobody knows
    what it needs, and everything stays.
    """

    def __init__(self):
        self.layers = set()
        self.blobs = set()
        self.blind = []


def mark(store):
    """Read everything that may need a layer or a blob; a Needed."""
    needed = Needed()
    held = store.tmp.held()
    kept = held | cache.kept(store)
    needed.layers |= kept
    needed.blobs |= kept
    _mark_containers(store, needed)
    found, damaged = store.images.scan()
    for record in found:
        _mark_image(store, needed, record)
    for image, error in damaged.items():
        if isinstance(error, OSError):
            needed.blind.append(f"images/{image}: {error.strerror}")
        else:
            _mark_damaged(store, needed, image)
    return needed


def _mark_image(store, needed, record):
    needed.layers.update(record["layers"])
    for digest in (record.get("manifest"), record.get("config")):
        if isinstance(digest, str):
            needed.blobs.add(digest)
    for name in record.get("digests", ()):
        digest = name.rpartition("@")[2]
        needed.blobs.add(digest)
        needed.blobs.update(manifest_blobs(store, digest, needed.blind))
    needed.blobs.update(manifest_blobs(store, record.get("manifest"), needed.blind))
    for digest in record.get("list", ()):
        # What a list names can be pushed with it, also when its own record is gone.
        needed.blobs.add(digest)
        needed.blobs.update(manifest_blobs(store, digest, needed.blind))


def _mark_damaged(store, needed, image):
    """Keep what system check could rebuild the record from."""
    config = digests.join(image)
    for manifest in manifests_of(store, config):
        needed.blobs.add(manifest)
        needed.blobs.update(manifest_blobs(store, manifest, needed.blind))
    needed.blobs.add(config)
    needed.layers.update(config_layers(store, config, needed.blind))


def load(store, digest, blind=None):
    """The JSON object that a small blob holds; {} for anything else.

    What keeps it from being read is appended to ``blind`` (list of str).
    """
    try:
        # Two collections must not wait for each other, nor one for itself.
        found = jsontext.loads(store.blobs.read(digest, MANIFEST_LIMIT, wait=False))
    except (RlError, ValueError):
        return {}
    except OSError as error:
        if blind is not None and error.errno != 27:  # EFBIG: a layer
            blind.append(f"{digest}: {error.strerror}")
        return {}
    return found if isinstance(found, dict) else {}


def manifest_blobs(store, digest, blind=None):
    """The digests of the blobs that a manifest names (set); empty if it isn't one."""
    if not isinstance(digest, str):
        return set()
    document = load(store, digest, blind)
    entries = document.get("layers")
    entries = list(entries) if isinstance(entries, list) else []
    entries.append(document.get("config"))
    found = (entry.get("digest") for entry in entries if isinstance(entry, dict))
    return {one for one in found if isinstance(one, str)}


def config_layers(store, digest, blind=None):
    """The diff ids that an image's configuration lists; [] if it isn't readable."""
    rootfs = load(store, digest, blind).get("rootfs")
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(layers, list):
        return []
    return [layer for layer in layers if isinstance(layer, str)]


def manifests_of(store, config):
    """The digests of all manifests here whose configuration is ``config``."""
    found = []
    for digest in store.blobs.list():
        if (store.blobs.size(digest) or MANIFEST_LIMIT) < MANIFEST_LIMIT:
            named = load(store, digest).get("config")
            if isinstance(named, dict) and named.get("digest") == config:
                found.append(digest)
    return found


def _mark_containers(store, needed):
    """Every digest that stands anywhere in a container's record stays."""
    home = store.directory("containers")
    for name in os.listdir(home):
        try:
            directory = os.open(name, files.DIRECTORY, dir_fd=home)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            needed.blind.append(f"containers/{name}: {error.strerror}")
            continue
        try:
            record = records.read(directory, "record.json", f"containers/{name}/record.json")
        except FileNotFoundError:
            continue  # being made, or half removed: it needs nothing
        except (RlError, OSError) as error:
            needed.blind.append(f"containers/{name}: {error}")
            continue
        finally:
            os.close(directory)
        problem = shape.problem(record, name.removeprefix(".new-").removeprefix(".gone-"))
        if problem:
            needed.blind.append(f"containers/{name}: {problem}")
            continue
        _collect_digests(record, needed.layers, 0)


def _collect_digests(value, found, depth):
    if isinstance(value, str):
        if value[:3] == "sha" and ":" in value:
            found.add(value)
    elif depth < _DEEPEST:
        inner = value.values() if isinstance(value, dict) else value
        if isinstance(inner, (list, tuple)) or isinstance(value, dict):
            for one in inner:
                _collect_digests(one, found, depth + 1)


def collect(store, resumable=False):
    """Remove what is unneeded: {"layers": diff ids, "blobs": digests, "bytes", "kept"}.

    "bytes" is what the disk got back; "kept" tells why all had to stay, if it had to
    (records that nobody can read).  ``resumable``: half-loaded blobs go too.
    """
    store.tmp.sweep(resumable)
    _sweep_drafts(store)
    _sweep_temporary(store)
    needed = mark(store)
    layers = [layer for layer in store.layers.list() if layer not in needed.layers]
    blobs = [blob for blob in store.blobs.list() if blob not in needed.blobs]
    report = {"layers": [], "blobs": [], "bytes": 0, "kept": needed.blind}
    if needed.blind or not (layers or blobs):
        return report
    with _workdir(store, blobs, report) as work:
        aside = [(layer, "layers", digests.hexdigits(layer)) for layer in layers]
        aside += [(blob, f"blobs/{blob.partition(':')[0]}", digests.hexdigits(blob))
                  for blob in blobs]
        os.mkdir(_ASIDE, 0o700, dir_fd=work.descriptor)
        place = os.open(_ASIDE, files.DIRECTORY, dir_fd=work.descriptor)
        try:
            moved = _set_aside(store, place, aside)
            again = mark(store)
            for digest, kind, name in moved:
                wanted = again.layers if kind == "layers" else again.blobs
                if digest in wanted or again.blind:
                    _put_back(store, place, kind, name)
                else:
                    report["layers" if kind == "layers" else "blobs"].append(digest)
        finally:
            os.close(place)
        # From here on nothing comes back: a tree may be half deleted (see restore).
        os.rename(_ASIDE, _DOOMED, src_dir_fd=work.descriptor, dst_dir_fd=work.descriptor)
        report["bytes"] += _delete(store, work, moved)
    return report


def _workdir(store, blobs, report):
    """The directory to work in.  Where there is no room for it, an unneeded blob makes some:
    a disk that is full to the last block is just when somebody collects garbage."""
    for blob in [*sorted(blobs, key=lambda blob: -(store.blobs.size(blob) or 0)), None]:
        try:
            return store.tmp.make("gc")
        except OSError as error:
            if blob is None or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        size = store.blobs.size(blob)
        if blob not in mark(store).blobs and store.blobs.remove(blob):
            report["blobs"].append(blob)
            report["bytes"] += size or 0
    raise AssertionError("unreachable")


def _label(kind, name):
    return f"{kind.replace('/', '-')}-{name}"


def _set_aside(store, place, candidates):
    moved = []
    for digest, kind, name in candidates:
        try:
            os.rename(name, _label(kind, name), src_dir_fd=store.directory(kind),
                      dst_dir_fd=place)
        except FileNotFoundError:
            continue  # another collector was faster
        moved.append((digest, kind, name))
    return moved


def restore(store, directory):
    """Put back what a collection that was killed had set aside and not condemned yet.

    ``directory``: a descriptor of the place it worked in, whose lock the caller holds.
    """
    try:
        place = os.open(_ASIDE, files.DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        return
    try:
        for entry in os.listdir(place):
            label, _, name = entry.rpartition("-")
            kind = label.replace("-", "/")
            if digests.is_hex(name) and kind in _COLLECTED:
                _put_back(store, place, kind, name)
    finally:
        os.close(place)


def _put_back(store, place, kind, name):
    try:
        files.renameat2(place, _label(kind, name), store.directory(kind), name,
                        files.RENAME_NOREPLACE)
    except FileExistsError:
        pass  # somebody made it anew meanwhile: ours goes
    except OSError as error:
        if error.errno not in (22, 38):  # no such flag on this file system
            raise
        try:
            os.rename(_label(kind, name), name, src_dir_fd=place,
                      dst_dir_fd=store.directory(kind))
        except OSError:
            pass


def _delete(store, work, moved):
    """Remove what stayed aside; the bytes of disk that were in it."""
    if not any(kind == "layers" for _, kind, _ in moved):
        return _measure_and_remove(work.descriptor)
    return userns.call_in(store.ids, _measure_and_remove, work.descriptor)


def _measure_and_remove(directory):
    from rootless.kernel import tree
    from rootless.store import df

    freed = 0
    doomed = os.open(_DOOMED, files.DIRECTORY, dir_fd=directory)
    try:
        for name in os.listdir(doomed):
            freed += df.disk_usage(doomed, name)
            tree.remove_tree(doomed, name)
    finally:
        os.close(doomed)
    return freed


def _sweep_temporary(store):
    """What files.write_atomic left beside a file when it was killed."""
    homes = ["images", "refs", *(f"blobs/{one}" for one in store.names("blobs"))]
    for home in [store.descriptor, *map(store.directory, homes)]:
        for name in os.listdir(home):
            if not files.is_temporary(name):
                continue
            try:
                if abs(time.time() - os.lstat(name, dir_fd=home).st_mtime) > _DRAFT_PATIENCE:
                    os.unlink(name, dir_fd=home)
            except OSError:
                pass  # somebody else was faster


def _sweep_drafts(store):
    """Containers whose maker died before they had a name."""
    from rootless.store import removal

    home = store.directory("containers")
    for name in os.listdir(home):
        if not name.startswith(".new-"):
            continue
        try:
            directory = os.open(name, files.DIRECTORY, dir_fd=home)
        except OSError:
            continue
        try:
            old = time.time() - os.fstat(directory).st_mtime > _DRAFT_PATIENCE
            if old and files.lock(directory, wait=False):
                removal.remove(store, home, name)
        finally:
            os.close(directory)
