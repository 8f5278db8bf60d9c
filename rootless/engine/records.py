"""Containers on disk, and the truth about their state.

    containers/ID/record.json   what the container is; written once, changed by rename
    containers/ID/spec.json     its OCI runtime configuration
    containers/ID/exit          how it ended, by the monitor
    names/NAME                  the id, made by link(2): a name is taken or it isn't
    RUNROOT/containers/ID/      alive (the lock), started, health, control: gone at reboot

No process has to be asked: the lock ``alive`` is held for as long as the monitor lives, and
the kernel frees it however that ends (docs/monitor.md, "Reading the state").
"""

import os

from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext
from rootless.store import shape

VERSION = 1
# What the engine makes for each container, under files/ of its directory; in a recorded spec
# the place is this word, so that no record holds a path of the store.
FILES = "rl-files:"
BEFORE = "exit.before"  # how the last run ended, while a start has not come to anything
_LIMIT = 16 << 20
_AGAIN = 1000  # times that a directory may vanish under our hands
_READING = 500  # looks, 20 ms apart, at somebody who reads the files
_LEAVING = 250  # looks, 20 ms apart, at a monitor that only has to leave
_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_REST = _NAME_START | frozenset("_.-")


class NoContainer(RlError):
    """no container has the name or id {0!r}"""

    hint = "rl ps -a lists the containers"


class Ambiguous(RlError):
    """{0!r} is the beginning of more than one container's id"""

    hint = "type more of the id, or use the name: rl ps -a"


class BadName(RlError):
    """{0!r} cannot be a container's name"""

    hint = ("up to 255 letters, digits, '_', '.' and '-' are allowed, the first one a letter or"
            " a digit")


class NameTaken(RlError):
    """the name {0!r} is in use by the container {1}"""

    hint = "remove it with: rl rm {0}, or use --replace"


class Damaged(RlError):
    """the record of container {0} is damaged: {1}"""

    hint = "remove it with: rl rm -f {0}"


class Newer(Damaged):
    """container {0} was made by a newer rl (version {1})"""

    hint = "use that rl; or another store: rl --root DIR"


def new_id():
    """A new container id: 64 hexadecimal digits."""
    return os.urandom(32).hex()


def check_name(name):
    """Raise BadName unless ``name`` may name a container."""
    if not 0 < len(name) < 256 or name[0] not in _NAME_START or not set(name) <= _NAME_REST:
        raise BadName(name)


def directory(engine, container_id):
    """The durable directory of a container (absolute str)."""
    return f"{engine.config.root}/containers/{container_id}"


def run_directory(engine, container_id):
    """The directory of a container that a reboot empties (absolute str).

    The link ``run`` in its durable directory leads there: a login by another way (cron, su)
    may have another runtime directory and must see the same life lock.
    """
    container = directory(engine, container_id)
    try:
        found = os.readlink(f"{container}/run")
    except OSError:
        return own_run_directory(engine, container_id)
    if os.path.exists(f"{found}/alive") or os.path.exists(f"{container}/exit"):
        return found
    from rootless.engine import regain

    return regain.regained(engine, container_id, found)


def own_run_directory(engine, container_id):
    """Where this session would put it."""
    return f"{engine.runroot}/containers/{container_id}"


def drop_run_directory(run_dir):
    """Delete a container's runtime directory."""
    for name in ("control", "started", "paused", "health", "ports", "cgroup", "layer", "alive"):
        try:
            os.unlink(f"{run_dir}/{name}")
        except FileNotFoundError:
            pass
    try:
        os.rmdir(run_dir)
    except FileNotFoundError:
        pass
    except OSError:
        from rootless.kernel.tree import remove_tree

        above = os.open(os.path.dirname(run_dir), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_tree(above, os.path.basename(run_dir))
        finally:
            os.close(above)


def open_life(run_dir):
    """A descriptor of the life lock of a container, not held yet; made if it isn't there.

    Whoever removes the container meanwhile deletes the directory: then it is made once more.
    Who holds the lock has to look whether it still is one (``in_place``, ``is_current``).
    """
    for _ in range(_AGAIN):
        try:
            os.makedirs(run_dir, 0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            return os.open(f"{run_dir}/alive", flags, 0o600)
        except (FileNotFoundError, FileExistsError) as error:
            trouble = error
    raise trouble


def in_place(run_dir, alive):
    """Whether the lock file ``alive`` (a descriptor) is the one in ``run_dir`` still.

    To be asked by who holds it, and so nobody else may delete it.
    """
    try:
        return os.path.samestat(os.stat(f"{run_dir}/alive"), os.fstat(alive))
    except OSError:
        return False


def is_current(engine, container_id, run_dir, alive):
    """Whether ``alive``, which is held, is the life lock of a container that exists."""
    try:
        linked = os.readlink(f"{directory(engine, container_id)}/run")
    except OSError:
        return False
    return linked == run_dir and in_place(run_dir, alive)


def move_here(engine, container_id):
    """Let a container that isn't running be started with this session's runtime directory.

    False if another rl is at work with it.  Raises NoContainer.
    """
    wanted = own_run_directory(engine, container_id)
    if run_directory(engine, container_id) == wanted:
        return True
    from rootless.engine import moving

    return moving.move(engine, container_id, wanted)


# --- names ---------------------------------------------------------------------------------


def reserve_name(engine, name, container_id, guarded=False):
    """Give ``name`` to the container, which has a directory or a draft; or raise NameTaken.

    ``guarded``: the caller holds the naming.Guard.
    """
    names = f"{engine.config.root}/names"
    os.makedirs(names, 0o700, exist_ok=True)
    for _ in range(8):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            made = os.open(f"{names}/.{container_id}", flags, 0o600)
            os.write(made, container_id.encode())
            os.close(made)
            os.link(f"{names}/.{container_id}", f"{names}/{name}")
            return
        except FileExistsError:
            from rootless.engine import naming

            holder = name_holder(engine, name) or "another rl"
            if not naming.drop_stale(engine, name, guarded):
                raise NameTaken(name, holder[:12]) from None
        finally:
            _unlink(f"{names}/.{container_id}")
    raise NameTaken(name, "another rl")


def release_name(engine, name, container_id):
    """Take the name back, if it is still this container's."""
    try:
        # So that nobody takes it between the look and the removal.
        guard = os.open(f"{engine.config.root}/containers", files.DIRECTORY)
    except FileNotFoundError:
        return
    try:
        files.lock(guard)
        if name_holder(engine, name) == container_id:
            _unlink(f"{engine.config.root}/names/{name}")
    finally:
        os.close(guard)


def name_holder(engine, name):
    """The id of the container that has ``name``; None if nobody has."""
    if "/" in name or name.startswith("."):
        return None
    try:
        with open(f"{engine.config.root}/names/{name}", "rb", 0) as file:
            return file.read(128).decode("ascii", "replace") or None
    except OSError:
        return None


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


# --- records -------------------------------------------------------------------------------


def draft(engine, container_id):
    """Where the container is while it is being made (absolute str)."""
    return f"{engine.config.root}/containers/.new-{container_id}"


def begin(engine, container_id):
    """The directory of a container to be, for ``create``: a descriptor that keeps it locked.

    From here on the container can have a name, though nobody sees it yet.
    """
    os.makedirs(f"{engine.config.root}/containers", 0o700, exist_ok=True)
    return _locked_draft(draft(engine, container_id))


def create(engine, record, spec, here):
    """Write a new container into ``here``, which ``begin`` made; it becomes visible whole, by
    one rename."""
    write(here, "record.json", record)
    write(here, "spec.json", spec)
    for name in ("root", "files"):
        os.mkdir(name, 0o700, dir_fd=here)
    os.symlink(own_run_directory(engine, record["id"]), "run", dir_fd=here)
    os.rename(draft(engine, record["id"]), directory(engine, record["id"]))


def _locked_draft(path):
    """Make a directory whose lock tells those who sweep that somebody is at work in it."""
    while True:
        os.mkdir(path, 0o700)
        try:
            here = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # swept before it could be locked
        files.lock(here)
        if os.fstat(here).st_nlink:
            return here
        os.close(here)


def write(directory_fd, name, value, sync=False):
    """Replace the JSON file ``name``."""
    files.write_atomic(directory_fd, name, jsontext.dumps(value).encode(), sync=sync)


def update(engine, record, changes, sync=True):
    """Change fields of a container's record: the record as it is now.

    ``changes``: a dict, or a function that makes one of the record as it is on disk, which
    another rl may have changed since ``record`` was read.  NoContainer.
    """
    here = _open(engine, record["id"])
    try:
        files.lock(here)  # one that changes it at a time
        found = load(engine, record["id"])
        found.update(changes(found) if callable(changes) else changes)
        write(here, "record.json", found, sync)
    except FileNotFoundError:
        raise NoContainer(record["name"]) from None  # removed meanwhile
    finally:
        os.close(here)
    return found


def update_spec(engine, record, spec):
    """Write a changed OCI configuration; NoContainer."""
    here = _open(engine, record["id"])
    try:
        write(here, "spec.json", spec, True)
    except FileNotFoundError:
        raise NoContainer(record["name"]) from None  # removed meanwhile
    finally:
        os.close(here)


def make_durable(engine, container_id):
    """Let the container survive a power cut: sync its files and their directories."""
    here = _open(engine, container_id)
    try:
        for name in ("record.json", "spec.json"):
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=here)
            os.fsync(descriptor)
            os.close(descriptor)
        os.fsync(here)
    except FileNotFoundError:
        raise NoContainer(container_id) from None  # removed meanwhile
    finally:
        os.close(here)
    for name in ("containers", "names"):
        above = os.open(f"{engine.config.root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(above)
        os.close(above)


def _open(engine, container_id):
    try:
        return os.open(directory(engine, container_id), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoContainer(container_id) from None


def load(engine, container_id):
    """The record of a container; NoContainer, Newer or Damaged."""
    found = _load(engine, container_id, "record.json")
    if problem := shape.problem(found, container_id):
        raise Damaged(container_id[:12], problem)
    if found["version"] > VERSION:
        raise Newer(container_id[:12], found["version"])
    return found


def load_spec(engine, container_id):
    """The OCI runtime configuration of a container; NoContainer or Damaged."""
    found = _load(engine, container_id, "spec.json")
    if problem := shape.spec_problem(found):
        raise Damaged(container_id[:12], f"spec.json: {problem}")
    return found


def _load(engine, container_id, name):
    try:
        return jsontext.loads(
            files.read_limited(None, f"{directory(engine, container_id)}/{name}", _LIMIT))
    except FileNotFoundError:
        if os.path.isdir(directory(engine, container_id)):
            raise Damaged(container_id[:12], f"{name} is missing") from None
        raise NoContainer(container_id) from None
    except jsontext.DecodeError as error:
        raise Damaged(container_id[:12], str(error)) from None
    except OSError as error:
        if error.errno in files.SHORTAGE:
            raise
        raise Damaged(container_id[:12], f"{name}: {error.strerror}") from None


def ids(engine):
    """The ids of all containers, unsorted."""
    try:
        names = os.listdir(f"{engine.config.root}/containers")
    except OSError as error:
        # Either nothing was ever kept here, or this isn't a store of ours: that is an error.
        from rootless.store.store import MARKER

        ours = os.path.lexists(f"{engine.config.root}/{MARKER}")
        if isinstance(error, PermissionError) or os.path.lexists(engine.config.root) and not ours:
            engine.store  # noqa: B018
        return []
    return [name for name in names if not name.startswith(".")]


def find_id(engine, text):
    """The id of the container that ``text`` names: a name, an id, or its unique beginning."""
    holder = name_holder(engine, text)
    if holder and os.path.isdir(directory(engine, holder)):
        return holder
    if len(text) == 64 and text.isalnum() and os.path.isdir(directory(engine, text)):
        return text
    found = [one for one in ids(engine) if one.startswith(text)] if text else []
    if len(found) > 1:
        raise Ambiguous(text)
    if not found:
        raise NoContainer(text)
    return found[0]


def note_need(engine, container_id, by):
    """Note at a container that another one requires it (podman-run(1), --requires)."""
    needed = f"{directory(engine, container_id)}/needed"
    try:
        os.makedirs(needed, 0o700, exist_ok=True)
        os.close(os.open(f"{needed}/{by}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        raise NoContainer(container_id) from None


def find(engine, text):
    """The record of the container that ``text`` names."""
    return load(engine, find_id(engine, text))


def unreadable(container_id, error):
    """What stands for a record that raised Damaged: enough to list and to remove it."""
    return {"id": container_id, "name": container_id[:12], "created": "", "remove": False,
            "damaged": error.message, "newer": isinstance(error, Newer)}


def everything(engine):
    """All readable records, oldest first; damaged ones appear as {"id", "damaged"}.

    Without those that only wait to be swept (``is_left``).
    """
    found = []
    for container_id in ids(engine):
        try:
            record = load(engine, container_id)
            if not is_left(engine, record):
                found.append(record)
        except NoContainer:
            continue  # removed meanwhile
        except Damaged as error:
            found.append(unreadable(container_id, error))
    found.sort(key=lambda record: record["created"])
    return found


def is_left(engine, record):
    """True for what is left of a --rm container: it has ended, or nobody will ever start it.

    Whoever would have removed it was killed.  ``rl run`` holds the life lock before its
    container can be seen, so one that is visible and unlocked has lost its rl.
    """
    run_dir = run_directory(engine, record["id"])
    if not record.get("remove") or is_alive(run_dir) or is_restarting(run_dir):
        return False
    found = state(engine, record)
    waits = found["status"] == "created" and not record.get("boot")  # by create: for a start
    return not waits and not found["alive"]


# --- state ---------------------------------------------------------------------------------


def is_alive(run_dir):
    """True while the monitor (or a launch) holds the lock in this runtime directory."""
    return _is_locked(f"{run_dir}/alive")


def _is_locked(path):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not files.lock(descriptor, wait=False, exclusive=False)
    finally:
        os.close(descriptor)


def is_restarting(run_dir):
    """True while a ``rl restart`` is between the end and the next start of a container, so
    that one of --rm isn't removed."""
    return _is_locked(f"{run_dir}/restart")


def is_free(engine, container_id):
    """True if no monitor (or launch) holds the container.

    One that has told of the end, and only has to sync and leave, is waited for a moment:
    whoever heard of the end may remove the container, or start it again.
    """
    from time import sleep

    run_dir = run_directory(engine, container_id)
    for _ in range(_LEAVING):
        if not is_alive(run_dir):
            return True
        ended = _ended(engine, container_id)
        if ended is None or ended.get("restart"):
            return False
        sleep(0.02)
    return False


def read_json(path):
    """The object in a small JSON file; None if it isn't there or can't be read."""
    try:
        found = jsontext.loads(files.read_limited(None, path, 1 << 20))
    except (OSError, jsontext.DecodeError):
        return None
    return found if isinstance(found, dict) else None


def hold(descriptor):
    """Take a life lock for good: True, or False if somebody has it.

    Whoever looks whether it is held holds it for a moment, so it is tried more than once.
    Those who only read the container's files share it, and are waited for a while.
    """
    from time import sleep

    for _ in range(20):
        if files.lock(descriptor, wait=False):
            return True
        sleep(0.002)
    for _ in range(_READING):
        if not files.lock(descriptor, wait=False, exclusive=False):
            return False
        files.unlock(descriptor)
        sleep(0.02)
        if files.lock(descriptor, wait=False):
            return True
    return False


def state(engine, record):
    """What the container is doing, as a dict.

    ``status`` is created, initialized, running, paused, stopping, restarting (it waits for
    its next run), exited or lost; ``pid`` of its pid 1 while it runs; ``exit`` is the
    monitor's exit record or None; ``started`` (RFC 3339); ``alive``: whether the monitor lives.
    """
    container_id = record["id"]
    run_dir = run_directory(engine, container_id)
    alive = is_alive(run_dir)
    ended = _ended(engine, container_id)
    started = read_json(f"{run_dir}/started")
    if started and not (type(started.get("pid")) is int and "started" in started):
        started = None
    found = {"status": "created", "pid": 0, "exit": ended, "started": None, "alive": alive}
    if started:
        found["started"] = started["started"]
    if alive and ended is None:
        found["status"] = "running" if started else "initialized"
        if started and os.path.exists(f"{run_dir}/paused"):
            found["status"] = "paused"
        found["pid"] = started["pid"] if started else 0
    elif alive:
        found["status"] = "restarting" if ended.get("restart") else "stopping"
    elif ended is not None:
        found["status"] = "exited"
        found["started"] = ended.get("started")
    elif record.get("boot") and record["boot"] != boot():
        # It was to run in another boot of the machine, whose end nobody recorded.
        found.update(status="exited", exit={"code": None, "reason": "boot"})
    elif started or record.get("boot") and not os.path.exists(f"{run_dir}/alive"):
        # It ran and nobody recorded an end: killed with its monitor, and perhaps the session.
        found.update(status="lost", exit={"code": None, "reason": "lost"})
    elif before := _ended(engine, container_id, BEFORE):
        found.update(status="exited", exit=before, started=before.get("started"))
    return found


def _ended(engine, container_id, name="exit"):
    """How the last run ended, by its monitor; None without an end."""
    path = f"{directory(engine, container_id)}/{name}"
    found = read_json(path)
    if found is None and not os.path.lexists(path) or found and "code" in found:
        return found
    # There was an end; how it came is lost.
    return {"code": None, "reason": "damaged"}


_boot_id = None


def boot():
    """The id of this boot of the machine."""
    global _boot_id
    if _boot_id is None:
        from rootless.kernel.process import boot_id

        _boot_id = boot_id()
    return _boot_id
