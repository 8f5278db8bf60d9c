"""--device, and the devices of --privileged: entries of ``linux.devices``.

A rootless container cannot have device nodes of its own: the host's are bound into it, and
what the user may do with them the file's own permissions say.
"""

import os
from stat import S_ISBLK, S_ISCHR, S_ISDIR

from rootless.engine.spec.values import container_path, fail

# Made by the runtime in the container's own /dev, or not to be shared (podman, runc).
_OWN = frozenset(
    "console core fd full log mqueue null ptmx pts random shm stderr stdin stdout tty urandom"
    " zero".split()
)
_DEEPEST = 8


def given(request, host):
    """The entries for --device, each with ``path``, ``source``, ``type``, major and minor."""
    found = {}
    for text in request.options.get("device") or ():
        source, inside, permissions = _split(text)
        if permissions != "rwm" and set(permissions) != {"r", "w"}:
            fail("--device", text, "reading and writing cannot be told apart without root",
                 "leave the permissions out; those of the device file on this machine hold")
        source = os.path.normpath(os.path.join(host.cwd, source))
        inside = container_path("--device", text, inside)
        try:
            mode = os.stat(source).st_mode
        except OSError as error:
            fail("--device", text, f"{source}: {error.strerror}")
        if S_ISDIR(mode):
            if source != "/dev" and not source.startswith("/dev/"):
                fail("--device", text, f"{source} is a directory, and not one of /dev")
            pairs = list(_below(source, inside, 0))
            if not pairs:
                fail("--device", text, f"there is no device in {source}")
        else:
            pairs = [(source, inside)]
        for path, target in pairs:
            try:
                entry = _entry(path, target)
            except OSError:
                continue  # it has just been unplugged
            if entry is None:
                fail("--device", text, f"{path} is not a device")
            found[target] = entry
    return list(found.values())


def _split(text):
    """HOST[:CONTAINER][:PERMISSIONS]."""
    parts = text.split(":")
    source, inside, permissions = parts[0], parts[0], "rwm"
    if len(parts) == 2:
        if parts[1].startswith("/"):
            inside = parts[1]
        else:
            permissions = parts[1]
    elif len(parts) == 3:
        inside, permissions = parts[1] or parts[0], parts[2]
    bad = not permissions or set(permissions) - set("rwm")
    if len(parts) > 3 or not source or bad or len(set(permissions)) != len(permissions):
        fail("--device", text, "not a device", "PATH[:PATH_INSIDE][:rwm], for example /dev/fuse")
    return source, inside, permissions


def _below(directory, inside, depth):
    """(path, path inside) of every device below a directory; links are left out."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError:
            continue  # it has just been unplugged
        if S_ISDIR(mode) and depth < _DEEPEST:
            yield from _below(entry.path, f"{inside}/{entry.name}", depth + 1)
        elif S_ISCHR(mode) or S_ISBLK(mode):
            yield entry.path, f"{inside}/{entry.name}"


def _entry(source, inside):
    status = os.stat(source)
    if not (S_ISCHR(status.st_mode) or S_ISBLK(status.st_mode)):
        return None
    return {
        "path": inside,
        "source": source,
        "type": "c" if S_ISCHR(status.st_mode) else "b",
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
    }


def all_of_host(directory="/dev"):
    """The entries for --privileged: what the user sees in /dev, but terminals of the host."""
    found = []
    for path, inside in _below(directory, "/dev", 0):
        name = inside[len("/dev/") :]
        top = name.partition("/")[0]
        if top in _OWN or (name.startswith("tty") and name[3:].isdigit()):
            continue
        try:
            found.append(_entry(path, inside))
        except OSError:
            continue  # it has just been unplugged
    return [entry for entry in found if entry]
