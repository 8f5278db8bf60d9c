"""A writable layer that can hold only so much: the drivers' directories inside a file system
with a size (kernel.capped) instead of in the container's own directory.

In that: ``layer``, where it is mounted for a moment, and ``layer.img`` if it is a file.
"""

import os

from rootless.store.drivers.overlay import described_root, stacked

PLACE, IMAGE = "layer", "layer.img"


def rootfs(driver, container_dir, layer_paths, space, shift_uids=(), shift_gids=()):
    """As prepare of the driver ("overlay" or "fuse-overlayfs"); ``space``: for kernel.capped,
    but for the places, which are set here."""
    lowers = stacked(layer_paths)
    if not lowers:
        lowers = [f"{container_dir}/lower"]
        os.makedirs(lowers[0], 0o700, exist_ok=True)
    place = f"{container_dir}/{PLACE}"
    found = {
        "driver": driver.name,
        "lowers": lowers,
        "upper": f"{place}/upper",
        "work": f"{place}/work",
        "options": ["userxattr"] if driver.name == "overlay" else [],
        "capped": {**space, "at": place, "image": f"{container_dir}/{IMAGE}"},
        "like": described_root(layer_paths)[0] or "",
    }
    if driver.name == "fuse-overlayfs":
        found.update(
            program=driver.program,
            # So that a write that finds no room fails, and not the close behind it.  fuse2fs
            # knows no access lists, and says so in a way that closes directories.
            options=["writeback=0", *(["noacl"] if space["way"] == "file" else ())],
            uidmapping=[list(piece) for piece in shift_uids],
            gidmapping=[list(piece) for piece in shift_gids],
        )
    return found
