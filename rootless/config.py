"""What rl is told apart from the command's own options: files, environment, directories.

defaults < /etc/rl/rl.toml < $XDG_CONFIG_HOME/rl/rl.toml < RL_* in the environment < argv

``conf/rl.toml`` shows every key with its default; it is text for people and isn't read.
Every start of rl passes here, so nothing heavy is imported: what the files say is kept as
JSON in the runtime directory, and the TOML reader is loaded only when a file has changed.
"""

import os
import time

from rootless.errors import RlError
from rootless.model import jsontext

ETC = "/etc/rl"
_LIMIT = 1 << 20
_SETTLED = 2_000_000_000

_DRIVERS = ("overlay", "fuse-overlayfs", "clone")
_PULLS = ("always", "missing", "never", "newer")
_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

# key in the file: (attribute of Config, kind, default, values allowed, environment variable)
# A kind is bool, int (not negative), str, list (of str), size (str: 64m) or path (str).
KEYS = {
    "storage.root": ("root", "path", None, None, "RL_ROOT"),
    "storage.runroot": ("runroot", "path", None, None, "RL_RUNROOT"),
    "storage.driver": ("storage_driver", "str", None, _DRIVERS, "RL_STORAGE_DRIVER"),
    "engine.detach_keys": ("detach_keys", "str", "ctrl-p,ctrl-q", None, "RL_DETACH_KEYS"),
    "engine.helper_dirs": ("helper_dirs", "list", (), None, None),
    "engine.log_driver": ("log_driver", "str", "k8s-file", None, None),
    "engine.log_level": ("log_level", "str", "warn", _LEVELS, "RL_LOG_LEVEL"),
    "engine.log_size_max": ("log_size_max", "size", None, None, None),
    "engine.pull_policy": ("pull_policy", "str", "missing", _PULLS, "RL_PULL_POLICY"),
    "engine.stop_timeout": ("stop_timeout", "int", 10, None, None),
    "network.default": ("network", "str", None, None, "RL_NETWORK"),
    "containers.annotations": ("annotation", "list", (), None, None),
    "containers.cap_add": ("cap_add", "list", (), None, None),
    "containers.cap_drop": ("cap_drop", "list", (), None, None),
    "containers.dns": ("dns", "list", (), None, None),
    "containers.env": ("env", "list", (), None, None),
    "containers.http_proxy": ("http_proxy", "bool", True, None, None),
    "containers.init": ("init", "bool", False, None, None),
    "containers.labels": ("label", "list", (), None, None),
    "containers.read_only": ("read_only", "bool", False, None, None),
    "containers.shm_size": ("shm_size", "size", "64m", None, None),
    "containers.tz": ("tz", "str", None, None, None),
    "containers.ulimits": ("ulimit", "list", (), None, None),
    "containers.umask": ("umask", "str", "0022", None, None),
    "containers.userns": ("userns", "str", None, None, None),
    "containers.volumes": ("volume", "list", (), None, None),
}
_OPTIONS = "containers."  # these only give options of run and create another default
_OWN = {row[0]: key for key, row in KEYS.items() if not key.startswith(_OPTIONS)}


class ConfigError(RlError):
    """{file}: {problem}"""

    hint = "conf/rl.toml of the documentation lists every key with its default"


class Unreadable(ConfigError):
    """{file}: {problem}"""

    hint = "if that is another user's home, set HOME, or log in with su - USER or sudo -iu USER"


class NoHome(RlError):
    """user {uid} has no home directory to keep containers in"""

    hint = "set HOME, or name a directory: rl --root DIR, or RL_ROOT=DIR"


class RuntimeDirectory(RlError):
    """a runtime directory that isn't ours: {path} {problem}"""

    hint = "remove it if you can, or name another one: rl --runroot DIR, or RL_RUNROOT=DIR"


class Config:
    """The settings of one call of rl; frozen.

    ``containers``: what [containers] sets, by the name of the option of ``run`` whose
    default it is (``userns``, ``ulimit``…); ``sources``: attribute → where its value came
    from; ``environ``: the environment rl was called with; ``uid``: the effective user.
    The other attributes are those of ``KEYS``, None where nobody said anything.
    """

    def __init__(self, values, containers, sources, environ, uid):
        fill = self.__dict__
        fill.update(values)
        fill.update(containers=containers, sources=sources, environ=environ, uid=uid)
        fill["_root"] = fill.pop("root")
        fill["_runroot"] = fill.pop("runroot")

    def __setattr__(self, name, value):
        raise AttributeError(f"Config is frozen: {name}")

    def _once(self, name, make):
        found = self.__dict__.get(name)
        if found is None:
            found = self.__dict__[name] = make()
        return found

    @property
    def home(self):
        """The home directory (str, absolute), or None."""
        return _home(self.environ, self.uid)

    @property
    def root(self):
        """The directory of the store (str, absolute; it need not exist). Raises NoHome."""
        return self._once("_root", lambda: _default_root(self.environ, self.uid))

    @property
    def runroot(self):
        """The runtime directory (str), existing and ours. Raises RuntimeDirectory."""
        return self._once("_runroot_checked", self._find_runroot)

    def _find_runroot(self):
        if self._runroot is not None:
            return claim(self._runroot, self.uid)
        return self.runtime[0]

    @property
    def runtime(self):
        """(path, rung, tries) of ``find_runtime`` for this user. Raises RuntimeDirectory."""
        return self._once("_runtime", lambda: find_runtime(self.environ, self.uid))

    def files(self, name):
        """Where settings called ``name`` may be, the strongest last: a list of paths."""
        found = [f"{ETC}/{name}"]
        own = _config_home(self.environ, self.uid)
        if own:
            found.append(f"{own}/{name}")
        return found

    def documents(self, name):
        """The TOML documents called ``name`` that exist: a list of (path, dict), the
        strongest last.  Raises ConfigError."""
        return _documents(self.files(name), self.environ, self.uid)

    def documents_at(self, paths):
        """As ``documents``, of the files ``paths``: for settings that others keep."""
        return _documents(paths, self.environ, self.uid) if paths else []


def load(overrides, environ, uid=None):
    """The Config of this call.

    ``overrides``: attribute → value given on the command line (None: not given);
    ``environ``: mapping of str; ``uid``: the effective user, if not the caller's.
    Raises ConfigError.
    """
    uid = os.geteuid() if uid is None else uid
    values = {name: KEYS[key][2] for name, key in _OWN.items()}
    sources, containers = {}, {}
    for path, document in _documents(_settings_files(environ, uid), environ, uid):
        for key, value in _flatten(path, document):
            name = KEYS[key][0]
            value = _check(path, key, value, _home(environ, uid))
            (containers if key.startswith(_OPTIONS) else values)[name] = value
            sources[name] = path
    for key, (name, kind, _, _, variable) in KEYS.items():
        text = environ.get(variable) if variable else None
        if text:
            value = os.path.abspath(text) if kind == "path" else text
            values[name] = _check(variable, key, value)
            sources[name] = variable
    for name, value in overrides.items():
        if value is not None:
            key, option = _OWN[name], "--" + name.replace("_", "-")
            if KEYS[key][1] == "path":
                value = os.path.abspath(value)
            values[name] = _check(option, key, value)
            sources[name] = option
    return Config(values, containers, sources, environ, uid)


# -- directories ---------------------------------------------------------------------------


def _home(environ, uid):
    """$HOME, or what the user database says; None if it isn't an absolute path."""
    found = environ.get("HOME", "")
    if not found.startswith("/"):
        import pwd

        try:
            found = pwd.getpwuid(uid).pw_dir
        except KeyError:
            return None
    return found if found.startswith("/") else None


def _base(environ, uid, variable, below_home):
    """An XDG base directory: relative ones are to be ignored (basedir-spec)."""
    found = environ.get(variable, "")
    if found.startswith("/"):
        return found
    home = _home(environ, uid)
    return f"{home}/{below_home}" if home else None


def _config_home(environ, uid):
    base = _base(environ, uid, "XDG_CONFIG_HOME", ".config")
    return f"{base}/rl" if base else None


def _default_root(environ, uid):
    base = _base(environ, uid, "XDG_DATA_HOME", ".local/share")
    if base is None:
        raise NoHome(uid=uid)
    return f"{base}/rl"


def _fault(status, uid):
    """Why a directory with this stat result isn't private to ``uid``; None if it is."""
    if status.st_mode & 0o170000 != 0o040000:
        return "is not a directory"
    if status.st_uid != uid:
        return f"belongs to uid {status.st_uid}, not to uid {uid}"
    if status.st_mode & 0o722 != 0o700:
        return f"has mode {status.st_mode & 0o7777:04o}, where only its owner may write (0700)"
    return None


def claim(path, uid):
    """Make ``path`` (0700) if need be and see that it is ours; ``path``.

    The last component must not be a symbolic link.  Raises RuntimeDirectory.
    """
    try:
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        problem = "is not a directory" if error.errno in (20, 40) else f"({error.strerror})"
        raise RuntimeDirectory(path=path, problem=problem) from None
    try:
        status = os.fstat(handle)
        problem = _fault(status, uid)
        if problem:
            raise RuntimeDirectory(path=path, problem=problem)
        if status.st_mode & 0o077:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)
    return path


def find_runtime(environ, uid, run="/run/user", tmp="/tmp"):
    """The runtime directory ladder: (path, rung, tries).

    $XDG_RUNTIME_DIR (symbolic links in it are followed, as logind's may be behind one),
    /run/user/UID, /tmp/rl-UID; each must be a directory of ``uid`` that nobody else can
    write to.  ``rung`` is "XDG_RUNTIME_DIR", "/run/user" or "/tmp"; ``tries`` is a list
    of (rung, path, why not or None).  Raises RuntimeDirectory: what others have put at
    the last rung is not passed over, nor is a directory of theirs inside ours.
    """
    tries = []
    given = environ.get("XDG_RUNTIME_DIR", "")
    for rung, base, look in (
        ("XDG_RUNTIME_DIR", given, os.stat),
        ("/run/user", f"{run}/{uid}", os.lstat),
    ):
        problem = _try_base(base, uid, look)
        tries.append((rung, base, problem))
        if problem is None:
            return claim(f"{base}/rl", uid), rung, tries
    path = f"{tmp}/rl-{uid}"
    status = os.stat(tmp)
    if status.st_mode & 0o022 and not status.st_mode & 0o1000:
        raise RuntimeDirectory(path=path, problem=f"is in {tmp}, which has no sticky bit")
    claim(path, uid)
    tries.append(("/tmp", path, None))
    return path, "/tmp", tries


def _try_base(base, uid, look):
    if not base:
        return "is not set"
    if not base.startswith("/"):
        return "is not an absolute path"
    try:
        problem = _fault(look(base), uid)
    except OSError as error:
        return "does not exist" if error.errno == 2 else f"({error.strerror})"
    if problem is None and not os.path.isdir(f"{base}/rl") and not os.access(base, os.W_OK):
        return "can't be written to"
    return problem


# -- files ---------------------------------------------------------------------------------


def _settings_files(environ, uid):
    given = environ.get("RL_CONFIG")
    if given == os.devnull:  # the usual way to say: no file at all
        return [f"{ETC}/rl.toml"]
    if given:
        if not os.path.exists(given):
            raise ConfigError(file="RL_CONFIG", problem=f"{given}: no such file")
        return [f"{ETC}/rl.toml", os.path.abspath(given)]
    own = _config_home(environ, uid)
    return [f"{ETC}/rl.toml", *([f"{own}/rl.toml"] if own else ())]


def _documents(paths, environ, uid):
    """[(path, document)] of the files that exist, out of the cache if nothing changed."""
    stamps = []
    for path in paths:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _unreadable(path, error) from None
        stamps.append(
            [path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino]
        )
    if not stamps:
        return []
    cache = _cache_path(os.path.basename(paths[0]), environ, uid)
    found = _cached(cache, stamps)
    if found is None:
        found = [(stamp[0], _parse(stamp[0])) for stamp in stamps]
        # A file may change again within the clock tick of its time stamps: only what has
        # been still for a while is known by them.
        if cache and time.time_ns() - max(max(s[1], s[2]) for s in stamps) > _SETTLED:
            _keep(cache, stamps, found)
    return found


def _cache_path(name, environ, uid):
    try:
        return f"{find_runtime(environ, uid)[0]}/{name}.json"
    except (RuntimeDirectory, OSError):
        return None  # a cache is all that is lost here; who needs the directory will say so


def read_file(path, limit):
    """The bytes of a regular file of at most ``limit`` bytes. Raises OSError, ValueError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if os.fstat(handle).st_mode & 0o170000 != 0o100000:
            raise ValueError("not a regular file")
        pieces, size = [], 0
        while piece := os.read(handle, 65536):
            size += len(piece)
            if size > limit:
                raise ValueError(f"larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(handle)


def _cached(cache, stamps):
    try:
        kept = jsontext.loads(read_file(cache, _LIMIT)) if cache else None
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("files") != stamps:
        return None
    documents = kept.get("documents")
    if not isinstance(documents, list) or len(documents) != len(stamps):
        return None
    if not all(isinstance(document, dict) for document in documents):
        return None
    return [(stamp[0], document) for stamp, document in zip(stamps, documents, strict=True)]


def _keep(cache, stamps, found):
    try:
        text = jsontext.dumps({"files": stamps, "documents": [doc for _, doc in found]})
    except (TypeError, ValueError):
        return  # a date: TOML has it, JSON doesn't
    keep_text(cache, text)


def keep_text(path, text):
    """Put ``text`` in the place of a cache file; a failure means only that there is none."""
    temporary = f"{path}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(temporary, flags, 0o600)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
        os.rename(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass


def _unreadable(path, error):
    kind = Unreadable if isinstance(error, PermissionError) else ConfigError
    return kind(file=path, problem=error.strerror)


def _parse(path):
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(read_file(path, _LIMIT).decode())
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError:
        raise ConfigError(file=path, problem="not UTF-8 text") from None
    except RecursionError:
        raise ConfigError(file=path, problem="nested too deeply") from None
    except ValueError as error:
        problem = str(error)
        raise ConfigError(file=path, problem=problem[:1].lower() + problem[1:]) from None


# -- keys ----------------------------------------------------------------------------------


def _flatten(path, document):
    """(section.key, value) of a document, each of them known. Raises ConfigError."""
    for section, table in document.items():
        if not isinstance(table, dict):
            raise _unknown(path, section)
        for name, value in table.items():
            key = f"{section}.{name}"
            if key not in KEYS:
                raise _unknown(path, key)
            yield key, value


def _unknown(path, key):
    import difflib

    near = difflib.get_close_matches(key, KEYS, 1) or [
        known for known in KEYS if known.rpartition(".")[2] == key.rpartition(".")[2]
    ]
    if not near:
        return ConfigError(file=path, problem=f"unknown key {key!r}")
    section, _, name = near[0].partition(".")
    hint = f"did you mean {name} in [{section}]?"
    return ConfigError(file=path, problem=f"unknown key {key!r}", hint=hint)


def _check(where, key, value, home=None):
    """``value`` as the kind that ``key`` has. Raises ConfigError."""
    _, kind, _, allowed, _ = KEYS[key]
    wanted = None
    if kind == "bool":
        wanted = None if isinstance(value, bool) else "true or false"
    elif kind == "int":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            wanted = "a number, 0 or more"
    elif kind == "list":
        if isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            value = tuple(value)
        else:
            wanted = "a list of strings"
    elif not isinstance(value, str) or not value or "\0" in value:
        wanted = "a string that isn't empty"
    elif kind == "size":
        wanted = None if is_size(value) else "a size such as 64m (b, k, m, g or none: bytes)"
    elif kind == "path":
        if value.startswith("~/") and home:
            value = home + value[1:]
        wanted = None if value.startswith("/") else "an absolute path"
    if allowed and value not in allowed:
        wanted = "one of " + ", ".join(allowed)
    if wanted is None:
        return value
    shown = jsontext.dumps(value) if isinstance(value, str | int | list) else repr(value)
    raise ConfigError(file=where, problem=f"{key}: {shown}: expected {wanted}")


def is_size(text):
    """Whether ``text`` is a size as the options of run take it: digits and b, k, m or g."""
    digits = text[:-1] if text[-1:].lower() in ("b", "k", "m", "g") else text
    return digits.isascii() and digits.isdigit()
