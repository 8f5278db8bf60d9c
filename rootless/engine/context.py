"""What every verb is given: the settings, and the parts of rl opened when first needed."""

import os

_SYSTEM_DIRS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


class Engine:
    """One call of rl over one store.

    ``config`` is a ``rootless.config.Config``.  The store, the ids and the runtime
    directory are looked at when first asked for: many verbs need only one of them.
    """

    def __init__(self, config):
        self.config = config
        self._ids = None
        self._store = None
        self._found = {}
        self.layers = {}  # id → engine.contents.Kept of a container whose layer has a size

    @property
    def runroot(self):
        """The runtime directory (str), made and checked."""
        return self.config.runroot

    def program(self, name):
        """The absolute path of the program ``name`` of this machine; None if it isn't here.

        Directories of the configuration come first, then the caller's PATH, then the
        system's; relative directories in PATH are passed over.
        """
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name):
        path = self.config.environ.get("PATH", "").split(":")
        for directory in (*self.config.helper_dirs, *path, *_SYSTEM_DIRS):
            candidate = f"{directory}/{name}"
            if directory.startswith("/") and os.access(candidate, os.X_OK):
                return candidate
        return None

    @property
    def ids(self):
        """The ids that containers map by default (model.idmap.Ids): the store's own map."""
        if self._ids is None:
            from rootless.engine import ladder

            self._ids = ladder.find_ids(self)
        return self._ids

    @property
    def store(self):
        """The open store (store.store.Store), made if it isn't there."""
        if self._store is None:
            from rootless.store.store import open_store

            self._store = open_store(self.config.root, self.ids)
        return self._store
