"""One COPY or ADD, expanded, and how its layer is to be made."""


class CopyStep:
    """What a COPY or ADD says, with all variables put in.

    ``sources``: a list of sources.Tree, Layers, Inline and Download, one for each word;
    ``dest``: str as written, from ``cwd`` if it is relative; ``base_layers``: the paths of
    the trees of the image's layers, bottom first; ``owner``: USER[:GROUP] or None; ``mode``:
    what --chmod says or None; ``link``: the layer doesn't look at the image; ``parents``;
    ``exclude``: a list of patterns (str); ``add``: it is an ADD: local archives are extracted;
    ``unpack``: True or False where --unpack says so.
    """

    def __init__(self, sources, dest, base_layers=(), cwd="/", owner=None, mode=None,
                 link=False, parents=False, exclude=(), add=False, unpack=None):  # fmt: skip
        self.sources = list(sources)
        self.dest = dest
        self.base_layers = list(base_layers)
        self.cwd = cwd
        self.owner = owner
        self.mode = mode
        self.link = link
        self.parents = parents
        self.exclude = list(exclude)
        self.add = add
        self.unpack = unpack
        self.content = None  # its content key, once apply.digest has worked it out

    @property
    def into(self):
        """Whether the destination is written as a directory."""
        return self.dest.endswith("/") or self.dest.rpartition("/")[2] in (".", "..")

    @property
    def path(self):
        """The destination from the root (str)."""
        return self.dest if self.dest.startswith("/") else f"{self.cwd}/{self.dest}"


class Times:
    """The times in a layer, in seconds: ``newest`` limits them, ``stamp`` replaces them all;
    ``created`` is that of files and directories that no source has."""

    def __init__(self, newest=None, stamp=None, created=None):
        self.newest = newest
        self.stamp = stamp
        self.created = created
