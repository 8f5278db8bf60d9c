"""The half of store.check that changes things."""

import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import check, digests, gc, removal

_PIECE = 1 << 20


class Repair:
    """Works through a list of Problem, causes before consequences."""

    def __init__(self, store, force, used_by):
        self.store = store
        self.force = force
        self.used_by = used_by
        self.sources = check.blob_of_layers(store)

    def run(self, problems):
        """See check.repair."""
        actions = {
            "blob": self._blob,
            "layer": self._layer,
            "layer-missing": self._layer,
            "image": self._image,
            "image-blob": self._incomplete,
            "ref": self._ref,
            "ref-dangling": self._dangling,
            "container-layer": self._container_layer,
            "stray": self._stray,
        }
        order = list(actions)
        done = []
        for problem in sorted(
            problems, key=lambda one: order.index(one.kind) if one.kind in order else 99
        ):
            action = actions.get(problem.kind)
            try:
                done.append((problem, action(problem) if action else None))
            except (RlError, OSError) as error:
                text = error.message if isinstance(error, RlError) else error.strerror
                done.append((problem, None))
                problem.detail += f" (repair failed: {text})"
        return done

    def _blob(self, problem):
        self.store.blobs.remove(problem.what)
        self.sources = {k: v for k, v in self.sources.items() if v != problem.what}
        return "removed; the next pull fetches it again"

    def _layer(self, problem):
        layer = problem.what
        if problem.kind == "layer-missing" and self.store.layers.has(layer):
            return "made again from its blob"
        source = self.sources.get(layer)
        if source is None:
            return self._give_up(layer)
        rebuild(self.store, layer, source)
        return "made again from its blob"

    def _give_up(self, layer):
        """No blob to make it from: without the layer, a pull fetches it again."""
        if layer in gc.mark(self.store).layers and not self.force:
            return None
        name = digests.hexdigits(layer)
        with self.store.tmp.make("repair") as work:
            try:
                os.rename(name, "old", src_dir_fd=self.store.directory("layers"),
                          dst_dir_fd=work.descriptor)
            except FileNotFoundError:
                pass
        for record in self.store.images.list():
            if layer in record["layers"]:
                self._drop(record["id"])
        return "removed with the images that need it; pull them again"

    def _drop(self, image):
        if self.used_by.get(image):
            return False
        self.store.images.remove(image, force=True)
        return True

    def _image(self, problem):
        """Make a record again from the configuration and manifest that belong to the id."""
        image = problem.what
        store = self.store
        try:
            config = digests.join(image)
        except digests.BadDigest:
            os.unlink(image, dir_fd=store.directory("images"))
            return "removed: it was no image"
        layers = gc.config_layers(store, config)
        manifests = gc.manifests_of(store, config)
        if manifests and all(map(store.layers.has, layers)):
            document = gc.load(store, config)
            facts = {key: document[key] for key in ("created", "architecture", "os", "variant")
                     if isinstance(document.get(key), str)}
            facts["size"] = sum(map(store.layers.size, layers))
            store.images.add(manifests[0], config, layers, **facts)
            return "made again from its configuration"
        if self._drop(image):
            return "removed; pull it again"
        return None

    def _incomplete(self, problem):
        if self.force and self._drop(problem.what):
            return "removed; pull it again"
        return None

    def _ref(self, problem):
        self.store.images.refs.remove_file(problem.what)
        return "removed"

    def _dangling(self, problem):
        if self.store.images.refs.get(problem.what) in self.store.names("images"):
            return "its image is back"
        self.store.images.refs.remove(problem.what)
        return "removed"

    def _container_layer(self, problem):
        layer = problem.detail.partition(" ")[0]
        return "its layer is back" if self.store.layers.has(layer) else None

    def _stray(self, problem):
        directory, _, name = problem.what.rpartition("/")
        removal.remove(self.store, self.store.directory(directory), name)
        return "removed"


def rebuild(store, layer, source):
    """Unpack ``layer`` again from the blob ``source``; it takes the old one's place at once.

    Containers that run keep the files they have mounted.
    """
    name = digests.hexdigits(layer)
    home = store.directory("layers")
    with store.tmp.make("repair") as work:
        store.tmp.hold(layer)
        try:
            os.rename(name, "old", src_dir_fd=home, dst_dir_fd=work.descriptor)
        except FileNotFoundError:
            pass
        try:
            with open(store.blobs.path(source), "rb", 0) as file:
                with store.layers.unpack(layer) as unpack:
                    while piece := file.read(_PIECE):
                        unpack.write(piece)
                    unpack.finish()
        except BaseException:
            # The damaged one is still better than none.
            try:
                files.renameat2(work.descriptor, "old", home, name, files.RENAME_NOREPLACE)
            except OSError:
                pass
            raise
