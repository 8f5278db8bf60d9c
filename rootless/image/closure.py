"""What a program needs to start: its interpreter and its shared libraries, all the way down.

Libraries are looked for as ld.so(8) does it (no LD_LIBRARY_PATH: a container starts with a
clean environment): RPATH of the object and of those that load it where there is no
RUNPATH, RUNPATH, /etc/ld.so.cache, the loader's default directories.  What a program opens
later by name (dlopen: plug-ins, Python's modules, character sets) can't be seen.
"""

import os
import re
import stat

from rootless.errors import RlError
from rootless.image import ldcache
from rootless.image.stamps import stamp

_MAX_LINKS = 40
_MAX_SCRIPTS = 4  # as the kernel has it (BINPRM_MAX_RECURSION)
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_NO_DEFAULT = 0x800  # DF_1_NODEFLIB
_MACHINES = {
    "EM_X86_64": "amd64",
    "EM_386": "386",
    "EM_AARCH64": "arm64",
    "EM_ARM": "arm",
    "EM_RISCV": "riscv64",
    "EM_S390": "s390x",
    "EM_PPC64": "ppc64le",
    "EM_LOONGARCH": "loong64",
    "EM_MIPS": "mips64le",
}
_SYSTEM_DIRS = re.compile(rb"(?:/[A-Za-z0-9_+./-]{1,80}/\0){2,12}")
_GLIBC = re.compile(rb"GNU C Library[^\n]{0,120}? release version (\d+)\.(\d+)")


class NoProgram(RlError):
    """{path}: {why}"""

    hint = "elf: takes the path of a program on this machine, such as elf:/usr/bin/env"


class NoLibrary(RlError):
    """{path} needs the library {name}, which is not on this machine"""

    hint = "install the package that has {name}"


class _Object:
    """One ELF file: what it asks for, and who asked for it."""

    def __init__(self, path, elf, loader=None):
        self.path = path
        self.loader = loader
        # For the program the kernel's view counts, which has no links left in it.
        self.origin = os.path.dirname(path if loader else os.path.realpath(path))
        header = elf.header
        ident = header["e_ident"]
        self.kind = (ident["EI_CLASS"], ident["EI_DATA"], header["e_machine"])
        self.interpreter = None
        self.needed, self.rpath, self.runpath, self.no_default = [], [], [], False
        for segment in elf.iter_segments():
            if segment["p_type"] == "PT_INTERP":
                self.interpreter = segment.get_interp_name()
            elif segment["p_type"] == "PT_DYNAMIC":
                self._read(segment)

    def _read(self, dynamic):
        for tag in dynamic.iter_tags():
            if tag.entry.d_tag == "DT_NEEDED":
                self.needed.append(tag.needed)
            elif tag.entry.d_tag == "DT_RPATH":
                self.rpath = tag.rpath.split(":")
            elif tag.entry.d_tag == "DT_RUNPATH":
                self.runpath = tag.runpath.split(":")
            elif tag.entry.d_tag == "DT_FLAGS_1":
                self.no_default = bool(tag.entry.d_val & _NO_DEFAULT)


def _open(path, loader=None):
    """The _Object in ``path``; None if that is no ELF file (of ``loader``'s machine)."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or file.read(4) != b"\x7fELF":
                return None
            found = _Object(path, ELFFile(file), loader)
    except (OSError, ELFError, UnicodeDecodeError, ValueError):
        return None
    return found if loader is None or found.kind == loader.kind else None


class Closure:
    """All that the program ``path`` (absolute) needs.

    ``files``: path in the container → host path, or bytes made for it; ``links``: path →
    target; ``directories``: a set of paths; ``inputs``: every host path that was looked at
    and whose change changes the image; ``architecture``: Go's name for its machine.
    """

    def __init__(self, path):
        self.files, self.links, self.directories = {}, {}, set()
        self.inputs = {}
        self.architecture = None
        self._objects = {}
        self._cache = None
        self._cached = set()
        self._defaults = []
        self._lib = ["lib"]
        self._musl = False
        self._program(path, 0)
        self._add_cache()

    # -- programs --

    def _program(self, path, depth):
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise NoProgram(path=path, why="is not a file")
            with open(path, "rb") as file:
                head = file.read(256)
        except OSError as error:
            raise NoProgram(path=path, why=error.strerror.lower()) from None
        if not status.st_mode & 0o111:
            raise NoProgram(path=path, why="is not executable")
        self.add(path)
        if head.startswith(b"#!"):
            self._script(path, head, depth)
            return
        found = _open(path)
        if found is None:
            raise NoProgram(path=path, why="is neither an ELF program nor a script")
        self._elf(found)

    def _script(self, path, head, depth):
        if depth >= _MAX_SCRIPTS:
            raise NoProgram(path=path, why="is a script within a script, too deep")
        line = head[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape").strip(" \t")
        interpreter, _, argument = line.replace("\t", " ").partition(" ")
        if not interpreter.startswith("/"):
            raise NoProgram(path=path, why="is a script without the path of an interpreter")
        self._program(interpreter, depth + 1)
        if os.path.basename(interpreter) != "env":
            return
        # env(1) looks the real interpreter up in PATH.
        words = [w for w in argument.split() if not w.startswith("-") and "=" not in w]
        for directory in _PATH if words else ():
            if os.access(f"{directory}/{words[0]}", os.X_OK):
                self._program(f"{directory}/{words[0]}", depth + 1)
                return
        raise NoProgram(path=path, why=f"is a script for {argument!r}, which is not in PATH")

    def _elf(self, program):
        architecture = _MACHINES.get(program.kind[2])
        if architecture is None or self.architecture not in (None, architecture):
            raise NoProgram(path=program.path, why=f"is for {program.kind[2]}, unknown here")
        self.architecture = architecture
        if program.interpreter is None:
            return  # static, also if position-independent
        self._use_loader(program.interpreter)
        self.add(program.interpreter)
        self._objects[program.path] = program
        todo = [program]
        while todo:
            current = todo.pop(0)
            for name in current.needed:
                todo += self._need(current, name)
        self._old_name_service()

    def _need(self, current, name):
        """The library ``name`` that ``current`` asks for: [its object] if it is a new one."""
        path = self._search(current, name)
        if path is None:
            if os.path.basename(self._loader) == name:
                return []
            raise NoLibrary(path=current.path, name=name)
        self.add(path)
        if path in self._objects:
            return []
        found = self._objects[path] = _open(path, current)
        return [found]

    # -- the loader --

    def _use_loader(self, interpreter):
        self._loader = interpreter
        self._musl = os.path.basename(interpreter).startswith("ld-musl-")
        self._cache = ldcache.Cache()
        if self._musl:
            name = os.path.basename(interpreter).removesuffix(".so.1")
            self._defaults = self._musl_path(f"/etc/{name}.path")
            return
        self._cache = ldcache.load()
        self._note("/etc/ld.so.cache")
        try:
            with open(interpreter, "rb") as file:
                data = file.read()
        except OSError as error:
            raise NoProgram(path=interpreter, why=error.strerror.lower()) from None
        found = []
        for run in _SYSTEM_DIRS.findall(data):
            # The table of directories compiled into ld.so: "/lib/", "/usr/lib/" or more.
            names = run.rstrip(b"\0").decode().split("\0")
            if "/lib/" in names or "/lib64/" in names:
                found = [name.rstrip("/") for name in names]
        self._defaults = found or ["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
        self._lib = [d[1:] for d in self._defaults if not d.startswith("/usr")] or ["lib"]

    def _musl_path(self, path):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                found = file.read().replace("\n", ":").split(":")
        except OSError:
            return ["/lib", "/usr/local/lib", "/usr/lib"]
        self.add(path)
        return [name for name in found if name]

    def _search(self, current, name):
        """The path of the library ``name`` for ``current``, or None."""
        if "/" in name:
            return next(self._usable(current, self._expand(name, current)), None)
        for directory in self._own_directories(current):
            for path in self._usable(current, [f"{directory}/{name}"]):
                return path
        if not current.no_default:
            for path in self._usable(current, self._cache.find(name)):
                if os.path.dirname(path) not in self._defaults:
                    self._cached.add((name, path))
                return path
            for path in self._usable(current, [f"{d}/{name}" for d in self._defaults]):
                return path
        return None

    def _own_directories(self, current):
        if self._musl:
            ancestor = current
            while ancestor is not None:
                for entry in ancestor.runpath or ancestor.rpath:
                    yield from self._expand(entry, ancestor)
                ancestor = ancestor.loader
            return
        if not current.runpath:
            ancestor = current
            while ancestor is not None:
                for entry in () if ancestor.runpath else ancestor.rpath:
                    yield from self._expand(entry, ancestor)
                ancestor = ancestor.loader
        for entry in current.runpath:
            yield from self._expand(entry, current)

    def _expand(self, entry, owner):
        """``entry`` with $ORIGIN, $LIB and $PLATFORM filled in: the paths it may mean.

        Empty and relative entries mean the current directory: no image can rely on it.
        """
        entry = entry.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", owner.origin)
        found = [entry]
        for name, values in (("LIB", self._lib), ("PLATFORM", [os.uname().machine])):
            found = [
                one.replace(f"${{{name}}}", value).replace(f"${name}", value)
                for one in found
                for value in (values if f"${name}" in one or f"${{{name}}}" in one else values[:1])
            ]
        return [one for one in found if one.startswith("/")]

    def _usable(self, current, paths):
        """Those of ``paths`` that are libraries for the machine of ``current``."""
        for path in paths:
            # Not realpath: the loader opens, and later reports, the path as it found it.
            path = os.path.normpath(path) if "/../" not in path else os.path.abspath(path)
            if path in self._objects or _open(path, current) is not None:
                yield path

    def _old_name_service(self):
        """Before glibc 2.34 libc opens the library that reads /etc/passwd by name."""
        path = next((p for p in self._objects if p.endswith("/libc.so.6")), None)
        if path is None:
            return
        with open(path, "rb") as file:
            version = _GLIBC.search(file.read())
        if version and (int(version[1]), int(version[2])) < (2, 34):
            libc = self._objects[path]
            for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
                if self._search(libc, name) is not None:
                    self._need(libc, name)

    def _add_cache(self):
        """A cache of its own for libraries that only the cache of this machine knows."""
        if self._cached:
            self.directories.add("/etc")
            self.files["/etc/ld.so.cache"] = self._cache.only(self._cached).to_bytes()

    # -- files --

    def add(self, path):
        """Take in the file ``path``, with every link and directory on the way to it."""
        parts, real, links = path.split("/")[::-1], "", 0
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                real = real.rpartition("/")[0]
                continue
            here = f"{real}/{part}"
            self._note(here)
            try:
                status = os.lstat(here)
            except OSError as error:
                raise NoProgram(path=path, why=error.strerror.lower()) from None
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise NoProgram(path=path, why="too many levels of symbolic links")
                self.links[here] = target = os.readlink(here)
                real = "" if target.startswith("/") else real
                parts += target.split("/")[::-1]
                continue
            if stat.S_ISDIR(status.st_mode):
                self.directories.add(here)
            else:
                self.files[here] = here
            real = here

    def _note(self, path):
        if path not in self.inputs:
            self.inputs[path] = stamp(path)
