"""User networks on disk: one file each, ROOT/networks/NAME.json, written by rename.

The network that ``--network bridge`` means is always there: its file is made when it is first
needed.  A lock in that directory orders whoever makes or removes networks, and whoever takes
addresses in them.
"""

import errno
import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext

VERSION = 1
_LIMIT = 1 << 20


class NoNetwork(RlError):
    """no network has the name or id {0!r}"""

    hint = "rl network ls lists the networks, rl network create {0} makes one"


class AmbiguousNetwork(RlError):
    """{0!r} is the beginning of more than one network's id"""

    hint = "type more of the id, or use the name: rl network ls"


class NetworkExists(RlError):
    """there is a network {0} already"""

    hint = "rl network rm {0} removes it, --ignore leaves it as it is"


class DamagedNetwork(RlError):
    """the definition of the network {0} is damaged: {1}"""

    hint = "remove it with: rl network rm -f {0}"


def directory(engine):
    """Where the definitions are (absolute str)."""
    return f"{engine.config.root}/networks"


class Locked:
    """Nobody else changes the networks or takes addresses in them meanwhile."""

    def __init__(self, engine):
        self._engine = engine

    def __enter__(self):
        path = directory(self._engine)
        try:
            os.makedirs(path, 0o700, exist_ok=True)
        except OSError:
            self._engine.store  # noqa: B018  (it says what is wrong with the place)
            raise
        self._lock = os.open(f"{path}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        files.lock(self._lock)
        return self

    def __exit__(self, *error):
        os.close(self._lock)


def names(engine):
    """The names of the networks with a file, sorted."""
    try:
        found = os.listdir(directory(engine))
    except FileNotFoundError:
        return []
    return sorted(name[:-5] for name in found if name.endswith(".json") and name[0] != ".")


def load(engine, name):
    """A definition by its name; NoNetwork or DamagedNetwork."""
    try:
        found = jsontext.loads(
            files.read_limited(None, f"{directory(engine)}/{name}.json", _LIMIT))
        if found["name"] != name or not found["subnets"]:
            raise KeyError("name")
        return found
    except FileNotFoundError:
        raise NoNetwork(name) from None
    except (jsontext.DecodeError, KeyError, TypeError) as error:
        raise DamagedNetwork(name, str(error)) from None
    except OSError as error:
        if error.errno in files.SHORTAGE:
            raise
        raise DamagedNetwork(name, error.strerror) from None


def everything(engine):
    """All definitions that can be read, by name; the default network among them."""
    found = []
    for name in names(engine):
        try:
            found.append(load(engine, name))
        except NoNetwork:
            continue  # removed meanwhile
        except DamagedNetwork as error:
            import sys

            sys.stderr.write(f"Warning: {error.message}\n")
    return found


def with_default(engine):
    """All definitions, with that of the default network made if it wasn't there."""
    from rootless.network.bridge import definition

    if not os.path.exists(f"{directory(engine)}/{definition.DEFAULT}.json"):
        try:
            with Locked(engine):
                _default(engine)
        except OSError as error:
            # Who looks has to write nothing: it will be made when somebody needs it.
            if error.errno not in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
                raise
    return everything(engine)


def _default(engine):
    """The default network's definition; with the lock held."""
    from rootless.engine.events import now
    from rootless.network import host
    from rootless.network.bridge import definition

    try:
        return load(engine, definition.DEFAULT)
    except NoNetwork:
        made = definition.default(everything(engine), host.look(), now())
        save(engine, made)
        return made


def find(engine, text):
    """The definition that ``text`` names: a name, an id, or its unique beginning."""
    if "/" not in text and not text.startswith("."):
        try:
            return load(engine, text)
        except NoNetwork:
            pass
    found = [one for one in with_default(engine) if one["name"] == text]
    if not found and text and all(c in "0123456789abcdef" for c in text):
        found = [one for one in everything(engine) if one["id"].startswith(text)]
    if len(found) > 1:
        raise AmbiguousNetwork(text)
    if not found:
        raise NoNetwork(text)
    return found[0]


def save(engine, definition):
    """Write a definition; it survives a power cut."""
    path = directory(engine)
    os.makedirs(path, 0o700, exist_ok=True)
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        data = jsontext.dumps({"version": VERSION, **definition}).encode()
        files.write_atomic(here, f"{definition['name']}.json", data)
    finally:
        os.close(here)


def create(engine, name, given, ignore=False):
    """``rl network create``: the name of the network.

    ``given`` is what network.bridge.definition.make takes; with ``ignore`` a network that
    exists is left as it is.  Raises NetworkExists and what that raises.
    """
    from rootless.engine import events, networks_rules
    from rootless.network import host
    from rootless.network.bridge import definition

    if name is not None:
        definition.check_name(name)
    with Locked(engine):
        if name is not None and name in names(engine):
            if ignore:
                return name
            raise NetworkExists(name)
        others = everything(engine)
        made = definition.make(name, given, others, host.look(), events.now())
        networks_rules.prepare(engine, made)
        save(engine, made)
    events.network(engine, "create", made["name"])
    return made["name"]


def delete(engine, name):
    """Remove a definition's file; with the lock held."""
    path = directory(engine)
    try:
        os.unlink(f"{path}/{name}.json")
    except FileNotFoundError:
        return
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fsync(here)
    os.close(here)
