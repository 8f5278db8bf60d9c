"""fuse-overlayfs: overlay directories served by a program, one process per container.

For kernels without overlayfs in user namespaces, and for containers whose ids are turned
against the store's (``--userns=keep-id``): it shows every file with the owner the image
meant, so the image needn't be copied.
"""

from rootless.store.drivers.overlay import Overlay


class FuseOverlay(Overlay):
    """Driver "fuse-overlayfs"; ``program`` is its absolute path, needed to prepare and view."""

    name = "fuse-overlayfs"

    def __init__(self, store, program=None):
        super().__init__(store)
        self.program = program

    def prepare(self, container_dir, layer_paths, shift_uids=(), shift_gids=(), volatile=False):
        """As Overlay.prepare.

        The pieces of ``shift_uids`` (container's id, store's id, count; model.idmap.shift)
        become the option ``uidmapping``: it takes (id on disk, id shown, count) as seen by
        the program, which runs under the container's map.  The image's user s lies on disk
        under the id that the container calls c, and is to be shown as s.
        """
        rootfs = super().prepare(container_dir, layer_paths)
        rootfs.update(
            program=self.program,
            options=["volatile"] if volatile else [],
            uidmapping=[list(piece) for piece in shift_uids],
            gidmapping=[list(piece) for piece in shift_gids],
        )
        return rootfs
