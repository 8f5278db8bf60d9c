"""What the store takes on disk: the blocks of every file once, as du(1) counts them."""

import os

from rootless.kernel import files, userns

_IFMT, _IFDIR = 0o170000, 0o040000
_BLOCK = 512


def disk_usage(directory, name, seen=None):
    """Bytes on disk of ``name`` of the directory descriptor, with all below it.

    ``seen``: set of (device, inode) of files with several names counted already.
    """
    seen = set() if seen is None else seen
    try:
        status = os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return 0
    total = _once(status, seen)
    if status.st_mode & _IFMT != _IFDIR:
        return total
    top = os.open(name, files.DIRECTORY, dir_fd=directory)
    try:
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            try:
                descriptor = files.open_beneath(top, path)
            except (FileNotFoundError, PermissionError):
                continue  # the latter: of ids that the user had once
            try:
                total += _listed(descriptor, path, waiting, seen)
            finally:
                os.close(descriptor)
    finally:
        os.close(top)
    return total


def _listed(descriptor, path, waiting, seen):
    total = 0
    with os.scandir(descriptor) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            total += _once(status, seen)
            if status.st_mode & _IFMT == _IFDIR:
                name = os.fsencode(entry.name)
                waiting.append(path + b"/" + name if path else name)
    return total


def _once(status, seen):
    if status.st_nlink > 1 and status.st_mode & _IFMT != _IFDIR:
        key = (status.st_dev, status.st_ino)
        if key in seen:
            return 0
        seen.add(key)
    return status.st_blocks * _BLOCK


def usage(store):
    """What takes how much, in bytes on disk.

    {"total", "layers": {diff id: n}, "blobs": {digest: n}, "containers": {id: n},
    "volumes": {name: n}, "build-cache": n, "tmp": n, "other": n, "images": [{"id", "names", "size",
    "shared", "unique"}]}.  "total" is what ``du -s`` says of the root; the parts add up to
    it.  An image's "shared" is in layers that other images have too.
    """
    raw = userns.call_in(store.ids, _measure, store.descriptor)
    from rootless.store import digests

    found = {
        "total": raw["total"],
        "layers": {digests.join(name): size for name, size in raw["layers"].items()
                   if digests.is_hex(name)},
        "blobs": {f"{algorithm}:{name}": size for algorithm, name, size in raw["blobs"]},
        "containers": raw["containers"],
        "volumes": raw["volumes"],
        "tmp": sum(raw["tmp"].values()),
        "build-cache": raw["build-cache"],
    }
    counted = found["tmp"] + found["build-cache"] + sum(
        sum(found[key].values()) for key in ("layers", "blobs", "containers", "volumes")
    )
    found["other"] = found["total"] - counted
    found["images"] = _images(store, found)
    return found


def _measure(root):
    """In the namespace, which may read every directory."""
    seen = set()
    status = os.fstat(root)
    raw = {"total": status.st_blocks * _BLOCK, "blobs": [], "build-cache": 0}
    for name in os.listdir(root):
        if name in ("layers", "containers", "volumes", "tmp"):
            raw[name], own = _each(root, name, seen)
            raw["total"] += own + sum(raw[name].values())
        elif name == "blobs":
            raw["total"] += _blobs(root, raw["blobs"], seen)
        else:
            size = disk_usage(root, name, seen)
            raw["total"] += size
            if name in raw:
                raw[name] = size
    for name in ("layers", "containers", "volumes", "tmp"):
        raw.setdefault(name, {})
    return raw


def _each(root, name, seen):
    """({entry: bytes}, bytes of the directory itself)."""
    descriptor = os.open(name, files.DIRECTORY, dir_fd=root)
    try:
        sizes = {entry: disk_usage(descriptor, entry, seen) for entry in os.listdir(descriptor)}
        return sizes, os.fstat(descriptor).st_blocks * _BLOCK
    finally:
        os.close(descriptor)


def _blobs(root, found, seen):
    total = disk = 0
    above = os.open("blobs", files.DIRECTORY, dir_fd=root)
    try:
        disk = os.fstat(above).st_blocks * _BLOCK
        for algorithm in os.listdir(above):
            sizes, own = _each(above, algorithm, seen)
            disk += own
            total += sum(sizes.values())
            found.extend((algorithm, name, size) for name, size in sizes.items())
    finally:
        os.close(above)
    return total + disk


def _images(store, found):
    users = {}
    records = store.images.list()
    for record in records:
        for layer in set(record["layers"]):
            users[layer] = users.get(layer, 0) + 1
    rows = []
    for record in records:
        layers = set(record["layers"])
        shared = sum(found["layers"].get(one, 0) for one in layers if users[one] > 1)
        unique = sum(found["layers"].get(one, 0) for one in layers if users[one] == 1)
        rows.append({
            "id": record["id"], "names": record["names"], "created": record.get("created"),
            "size": shared + unique, "shared": shared, "unique": unique,
        })
    return rows
