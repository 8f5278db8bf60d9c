"""Reading, and changing, the merged tree of a container that isn't running."""

import os

from rootless.kernel import files, userns
from rootless.store import removal
from rootless.store.drivers import mounting


def view(driver, container_dir, layer_paths, function, args, write):
    """See Overlay.view.  Owners are as the container sees them, for all drivers but clone.

    (A clone has its owners shifted on disk: store.changes.disk_owners undoes that.)
    """
    rootfs = driver.prepare(container_dir, layer_paths)
    home = os.open(container_dir, files.DIRECTORY)
    name = f".view-{os.urandom(6).hex()}"
    try:
        os.mkdir(name, 0o700, dir_fd=home)
        try:
            return userns.call_in(
                driver.store.ids, _view, rootfs, f"{container_dir}/{name}", write, function,
                args, mount_ns=True,
            )
        finally:
            removal.remove(driver.store, home, name)
    finally:
        os.close(home)


def _view(rootfs, target, write, function, args):
    root, server = mounting.mount_rootfs(rootfs, target, write)
    try:
        return function(root, *args)
    finally:
        mounting.unmount(target, root, server)
