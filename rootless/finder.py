"""How rl's own modules are found: by their names, with few questions to the file system.

A module may be a package, an extension, a source or its compiled form, so importlib lists
directories and makes some fifteen system calls for each; a start of a container imports a
hundred of them.  Those of this package are plain sources in the place that their name says,
which takes five.  The compiled form counts as it does for importlib (PEP 552): it has this
Python's magic number, and the time and size of the source.  Where it doesn't, and for
everything else, importlib does as always.
"""

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

_PREFIX = "rootless."
_HEADER = 16
_BY_TIME = b"\0\0\0\0"  # the flags of a compiled file that is checked by its source's time


def install(package):
    """Look for the modules of rl in the directory ``package`` (str) from now on.

    Not where compiled files are kept elsewhere (PYTHONPYCACHEPREFIX).
    """
    if sys.pycache_prefix is None and sys.implementation.cache_tag:
        sys.meta_path.insert(0, Finder(os.path.dirname(package)))


class Finder:
    """Finds ``rootless.*`` below the directory ``above``; for sys.meta_path."""

    def __init__(self, above):
        self._above = above
        self._ending = f".{sys.implementation.cache_tag}.pyc"

    def find_spec(self, name, path=None, target=None):
        """The ModuleSpec of a module of rl; None for any other."""
        if not name.startswith(_PREFIX):
            return None
        directory, _, last = f"{self._above}/{name.replace('.', '/')}".rpartition("/")
        package = False
        try:
            status = os.stat(f"{directory}/{last}.py")
        except OSError:
            package, directory, last = True, f"{directory}/{last}", "__init__"
            try:
                status = os.stat(f"{directory}/__init__.py")
            except OSError:
                return None
        source = f"{directory}/{last}.py"
        loader = Loader(name, source, status)
        spec = ModuleSpec(name, loader, origin=source, is_package=package)
        spec.has_location = True
        spec.cached = f"{directory}/__pycache__/{last}{self._ending}"
        if package:
            spec.submodule_search_locations.append(directory)
        return spec


class Loader(SourceFileLoader):
    """Executes the compiled form of a source, if it is that of ``status`` (os.stat)."""

    def __init__(self, name, path, status):
        super().__init__(name, path)
        self._status = status

    def exec_module(self, module):
        """Fill the module; as importlib does where there is nothing compiled that counts."""
        compiled = _read(module.__spec__.cached)
        if compiled[:_HEADER] != header(self._status):
            return super().exec_module(module)
        exec(marshal.loads(memoryview(compiled)[_HEADER:]), module.__dict__)


def header(status):
    """What a compiled file begins with, for a source with the ``status`` (os.stat): bytes."""
    numbers = (int(status.st_mtime), status.st_size)
    return b"".join((MAGIC_NUMBER, _BY_TIME, *((number & 0xFFFFFFFF).to_bytes(4, "little")
                                               for number in numbers)))  # fmt: skip


def _read(path):
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, os.fstat(file).st_size)
    except OSError:
        return b""
    finally:
        os.close(file)
