"""Named volumes: directories that outlive containers.

volumes/NAME/_data         the content; the volume exists if this directory does
volumes/NAME/volume.json   labels, options, when it was made
volumes/NAME/copy-up       there until the content of an image has been copied in

A volume appears and vanishes by one rename: drafts and what is being erased have names that
begin with a dot, and are swept once their lock is free.  Whoever starts a container has its
record, with the names of its volumes, on disk before ``resolve``; that shares a lock with
``remove``, which looks for users under it: either the remover sees the user, or the user
sees that the volume is gone and makes a new one.
"""

import os
import time

from rootless.config import read_file
from rootless.engine import events
from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext
from rootless.store import shape

VERSION = 1
_LIMIT = 1 << 20
DRAFT, GONE = ".new-", ".gone-"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# What `-o o=` may hold for the kinds of mount that need no privilege on the host (mount(8)).
_FLAGS = ("ro", "rw", "nodev", "nosuid", "noexec", "dev", "suid", "exec", "noatime", "relatime")
_BIND = ("bind", "rbind", "private", "rprivate", "slave", "rslave")
_TMPFS = ("size", "mode", "nr_inodes", "nr_blocks")
_TMPFS_HINT = "each container gives a tmpfs volume content of its own, so only one can have it"


class VolumeName(RlError):
    """{0!r} is not a name for a volume: names match [a-zA-Z0-9][a-zA-Z0-9_.-]*"""

    hint = "to mount a directory of this machine, give its absolute path"


class VolumeExists(RlError):
    """volume {0} already exists"""

    hint = "rl volume inspect {0} shows it; rl volume create --ignore {0} is content with it"


class NoVolume(RlError):
    """no volume with name {0}"""

    hint = "rl volume ls lists the volumes; rl volume create {0} makes one"


class AmbiguousVolume(RlError):
    """more than one volume begins with {0}: {1}"""

    hint = "type more of the name"


class VolumeInUse(RlError):
    """volume {0} is used by container {1}"""

    hint = "rl rm {1} first, or rl volume rm --force {0}"


class VolumeOption(RlError):
    """volume option {0}: {1}"""

    hint = "man rl-volume-create shows what can be asked for"


class VolumeDevice(RlError):
    """volume {0} stands for {1}, which {2}"""

    hint = "make that directory, or remove the volume: rl volume rm {0}"


class UnreadableRecord(RlError):
    """the record of container {0} can't be read, so it is unknown which volumes it uses"""

    hint = "rl system check --repair looks after it; --force removes the volume regardless"


# -- what run needs ------------------------------------------------------------------------


def is_name(text):
    """Whether ``text`` may be the name of a volume (podman-volume-create(1))."""
    if not text or text[0] not in _LETTERS or len(text) > 255:
        return False
    return all(c in _LETTERS or c in "_.-" for c in text)


def directory(engine):
    """The directory that the volumes are in (str); it need not exist."""
    return f"{engine.config.root}/volumes"


def resolve(engine, name, container=None, create=True, anonymous=False):
    """The volume ``name`` as something to mount, made if it isn't there and ``create``.

    ``container`` is the id it is for, whose record is on disk already.  A dict: ``name``;
    ``type`` "bind" or "tmpfs"; ``source`` (absolute path; "tmpfs" for that); ``options``
    (list of mount options that the volume itself asks for); ``copy_up``: the content of
    the image is still to be copied in, after which ``copied_up`` is to be called.  Raises
    NoVolume, VolumeName, VolumeInUse (one container at a time can have a tmpfs volume),
    VolumeDevice.
    """
    if not is_name(name):
        raise VolumeName(name)
    path = f"{directory(engine)}/{name}"
    with _Shared(engine):
        if not os.path.isdir(f"{path}/_data"):
            if not create:
                raise NoVolume(name)
            try:
                make(engine, name, anonymous=anonymous)
            except VolumeExists:
                pass  # somebody else just made it: as good as ours
        kind, source, options, _ = understand(_read(path, name)["options"])
    if kind == "tmpfs":
        for user in users(engine)[0].get(name, ()):
            if user != container:
                raise VolumeInUse(name, user[:12], hint=_TMPFS_HINT)
    elif kind == "bind":
        if not os.path.isdir(source):
            there = os.path.lexists(source)
            raise VolumeDevice(name, source, "is not a directory" if there else "does not exist")
    else:
        source = f"{path}/_data"
    return {
        "name": name,
        "type": "tmpfs" if kind == "tmpfs" else "bind",
        "source": source,
        "options": options,
        "copy_up": kind != "tmpfs" and os.path.lexists(f"{path}/copy-up"),
    }


def copied_up(engine, name):
    """Note that the content of an image is in the volume and must never be copied again."""
    path = f"{directory(engine)}/{name}/copy-up"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def anonymous_name():
    """A fresh name for a volume nobody named: 64 hexadecimal digits."""
    return os.urandom(32).hex()


def make(engine, name, labels=None, options=None, anonymous=False):
    """Make a volume; its name.  Raises VolumeName, VolumeExists, VolumeOption."""
    if not is_name(name):
        raise VolumeName(name)
    options = dict(options or {})
    owner = understand(options)[3]
    base = f"{engine.store.root}/volumes"  # the store makes its root and sees that it is ours
    os.makedirs(base, 0o700, exist_ok=True)
    if os.path.isdir(f"{base}/{name}/_data"):
        raise VolumeExists(name)
    record = {
        "version": VERSION,
        "name": name,
        "driver": "local",
        "labels": dict(labels or {}),
        "options": options,
        "created": events.now(),
        "anonymous": anonymous,
    }
    draft = f"{base}/{DRAFT}{os.urandom(8).hex()}"
    os.mkdir(draft, 0o700)
    here = os.open(draft, files.DIRECTORY)
    try:
        files.lock(here)  # tells a sweep that somebody is at work
        files.write_atomic(here, "volume.json", jsontext.dumps(record).encode(), sync=False)
        if "nocopy" not in options:
            files.write_atomic(here, "copy-up", b"", sync=False)
        os.mkdir("_data", dir_fd=here)
        os.chmod("_data", 0o755, dir_fd=here)  # whatever the umask: others in there look in
        if owner != (0, 0):
            _chown(engine, f"{draft}/_data", owner)
        _publish(here, draft, f"{base}/{name}")
    except FileExistsError:
        erase(engine, os.path.basename(draft))
        raise VolumeExists(name) from None
    except BaseException:
        erase(engine, os.path.basename(draft))
        raise
    finally:
        os.close(here)
    _sync(base)
    events.volume(engine, "create", name)
    return name


def _publish(here, draft, path):
    """Make the draft durable and give it its name, unless that is taken (FileExistsError)."""
    record = os.open("volume.json", os.O_RDONLY | os.O_CLOEXEC, dir_fd=here)
    try:
        os.fsync(record)
    finally:
        os.close(record)
    os.fsync(here)
    try:
        os.rename(draft, path)
    except OSError as error:
        if error.errno == 39:  # ENOTEMPTY: the other way of saying that it exists
            raise FileExistsError(error.errno, error.strerror, path) from None
        raise


def understand(options):
    """What the options of a volume mean: (kind, source, mount options, (uid, gid)).

    ``kind`` is "directory" (the volume's own), "bind" (``source`` of the host) or
    "tmpfs".  Raises VolumeOption for whatever an unprivileged user can't have.
    """
    for key in options:
        if key not in ("type", "device", "o", "copy", "nocopy"):
            raise VolumeOption(key, "the local driver knows type, device, o, copy and nocopy")
    kind, device = options.get("type", ""), options.get("device", "")
    words = [word for word in options.get("o", "").split(",") if word]
    mount, owner = [], {"uid": 0, "gid": 0}
    bind = "bind" in words or "rbind" in words
    for word in words:
        key, equals, value = word.partition("=")
        if key in owner and equals:
            if not value.isdecimal() or int(value) >= 1 << 31:
                raise VolumeOption(f"o={word}", "expected a number")
            owner[key] = int(value)
            continue
        _check_word(word, key, value, kind, bind)
        mount.append(word)
    both = (owner["uid"], owner["gid"])
    if kind == "tmpfs":
        if both != (0, 0):
            mount += [f"uid={both[0]}", f"gid={both[1]}"]
        return "tmpfs", "tmpfs", mount, (0, 0)
    if kind in ("", "none", "bind") and bind:
        if not device.startswith("/"):
            raise VolumeOption("device", "a bind needs the absolute path of a directory")
        if both != (0, 0):
            raise VolumeOption("o", "uid and gid would change the owner of a host's directory")
        return "bind", os.path.normpath(device), mount, (0, 0)
    if kind in ("", "none") and not device and not mount:
        return "directory", None, [], both
    if kind in ("", "none", "bind"):
        raise VolumeOption("device", "say what is to be done with it: --opt type=none --opt o=bind "
                           f"--opt device={device or 'DIR'}")
    raise VolumeOption(
        f"type={kind}",
        "only root can mount that",
        hint="mount it on the host and use --opt type=none --opt o=bind --opt device=DIR",
    )


def _check_word(word, key, value, kind, bind):
    if word in _FLAGS and (kind == "tmpfs" or bind):
        return
    if word in _BIND and bind and kind != "tmpfs":
        return
    if key in _TMPFS and value and kind == "tmpfs":
        return
    if key in ("size", "inodes"):
        raise VolumeOption(f"o={word}", "a quota of a directory is root's to set",
                           hint="--opt type=tmpfs --opt o=size=… limits one in memory")
    raise VolumeOption(f"o={word}", "not an option that this kind of volume can have")


# -- records -------------------------------------------------------------------------------


class _Shared:
    """While the block runs, no volume is removed."""

    exclusive = False

    def __init__(self, engine):
        self.engine = engine
        self.handle = None

    def __enter__(self):
        try:
            self.handle = os.open(directory(self.engine), files.DIRECTORY)
        except FileNotFoundError:
            os.makedirs(f"{self.engine.store.root}/volumes", 0o700, exist_ok=True)
            self.handle = os.open(directory(self.engine), files.DIRECTORY)
        files.lock(self.handle, exclusive=self.exclusive)
        return self

    def __exit__(self, *error):
        os.close(self.handle)


class _Alone(_Shared):
    """While the block runs, nobody resolves or removes a volume."""

    exclusive = True


def _sync(path):
    handle = os.open(path, files.DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _chown(engine, path, owner):
    from rootless.kernel import userns

    try:
        userns.call_in(engine.ids, os.chown, path, *owner)
    except OSError as error:
        raise VolumeOption(
            f"o=uid={owner[0]},gid={owner[1]}",
            error.strerror,
            hint="rl info shows how many ids containers have here",
        ) from None


def _read(path, name):
    """The record of a volume; one that is damaged costs its labels, not the content."""
    try:
        record = jsontext.loads(read_file(f"{path}/volume.json", _LIMIT))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        record = {}
    made = record.get("created")
    if not isinstance(made, str):
        try:
            when = os.stat(path).st_mtime
        except FileNotFoundError:
            raise NoVolume(name) from None
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    found = {"name": name, "created": made, "anonymous": record.get("anonymous") is True}
    for key in ("labels", "options"):
        value = record.get(key)
        value = value if isinstance(value, dict) else {}
        found[key] = {k: v for k, v in value.items() if isinstance(v, str)}
    return found


def names(engine):
    """The names of all volumes, sorted."""
    base = directory(engine)
    try:
        found = os.listdir(base)
    except FileNotFoundError:
        return []
    return sorted(name for name in found if is_name(name) and os.path.isdir(f"{base}/{name}/_data"))


def find(engine, text):
    """The name of the volume called ``text``, or of the only one that begins with it.

    Raises NoVolume, AmbiguousVolume.
    """
    if is_name(text) and os.path.isdir(f"{directory(engine)}/{text}/_data"):
        return text
    near = [name for name in names(engine) if text and name.startswith(text)]
    if len(near) == 1:
        return near[0]
    if near:
        raise AmbiguousVolume(text, ", ".join(near[:5]))
    raise NoVolume(text)


def users(engine):
    """Which containers use which volumes: ({volume: [container id]}, [unreadable ids])."""
    base = f"{engine.config.root}/containers"
    try:
        found = sorted(os.listdir(base))
    except FileNotFoundError:
        return {}, []
    used, unreadable = {}, []
    for container in found:
        if container.startswith("."):
            continue
        try:
            record = jsontext.loads(read_file(f"{base}/{container}/record.json", 16 << 20))
        except (FileNotFoundError, NotADirectoryError):
            continue  # being made or being removed
        except (OSError, ValueError):
            unreadable.append(container)
            continue
        if shape.problem(record, container):
            unreadable.append(container)
            continue
        for name in record["volumes"]:
            used.setdefault(name, []).append(container)
    return used, unreadable


def content(engine, text):
    """The directory (str) that holds the content of the volume that ``text`` names.

    Raises NoVolume, AmbiguousVolume, VolumeDevice.
    """
    name = find(engine, text)
    path = f"{directory(engine)}/{name}"
    kind, source, _, _ = understand(_read(path, name)["options"])
    if kind == "tmpfs":
        raise VolumeDevice(name, "memory", "exists only while a container runs",
                           hint="copy files out of the container: rl cp")
    if kind == "directory":
        return f"{path}/_data"
    if not os.path.isdir(source):
        raise VolumeDevice(name, source, "is not a directory")
    return source


# -- the verbs -----------------------------------------------------------------------------


def facts(engine, name, used=None):
    """What `volume inspect` and `volume ls` show of a volume: a dict with podman's keys."""
    path = f"{directory(engine)}/{name}"
    record = _read(path, name)
    used = users(engine)[0] if used is None else used
    return {
        "Name": name,
        "Driver": "local",
        "Mountpoint": f"{path}/_data",
        "CreatedAt": record["created"],
        "Labels": record["labels"],
        "Scope": "local",
        "Options": record["options"],
        "Anonymous": record["anonymous"],
        "MountCount": len(used.get(name, ())),
        "NeedsCopyUp": os.path.lexists(f"{path}/copy-up"),
    }


def remove(engine, name, force=False):
    """Remove one volume.  Raises NoVolume, VolumeInUse, UnreadableRecord.

    ``force`` passes over containers whose record can't be read; not over ones that use it:
    those are the caller's to remove first.
    """
    base = directory(engine)
    if not (is_name(name) and os.path.isdir(f"{base}/{name}/_data")):
        raise NoVolume(name)
    gone = f"{GONE}{os.urandom(8).hex()}"
    with _Alone(engine):
        used, unreadable = users(engine)
        if name in used:
            raise VolumeInUse(name, used[name][0][:12])
        if unreadable and not force:
            raise UnreadableRecord(unreadable[0][:12])
        try:
            os.rename(f"{base}/{name}", f"{base}/{gone}")
        except FileNotFoundError:
            raise NoVolume(name) from None
        _sync(base)
    events.volume(engine, "remove", name)
    erase(engine, gone)


def erase(engine, name):
    """Remove volumes/``name`` with all that is in it, whoever in a container owns that."""
    base = directory(engine)
    handle = os.open(f"{base}/{name}", files.DIRECTORY)
    try:
        files.lock(handle, wait=False)  # so that no sweep erases it at the same time
        erase_tree(base, name)
    except PermissionError:
        # Only the root of a namespace that maps the owners may delete other users' files.
        from rootless.kernel import userns

        userns.call_in(engine.ids, erase_tree, base, name)
    finally:
        os.close(handle)


def erase_tree(base, name):
    """Remove ``base``/``name`` and all below it."""
    from rootless.kernel import tree

    handle = os.open(base, files.DIRECTORY)
    try:
        tree.remove_tree(handle, name)
    finally:
        os.close(handle)
