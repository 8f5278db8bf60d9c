"""The system call filters of a container, compiled once and kept.

Compiling a profile takes 50 ms (runtime/profile.py), so programs are kept: on the usual path
``cached`` reads 12 kB and loads no library.
"""

import os

from rootless import __version__, conf_path
from rootless.kernel import caps as kernel_caps
from rootless.kernel import seccomp as kernel
from rootless.model import jsontext

_MAGIC = b"rl-bpf-1"
_MOST_KEPT = 64


def cached(directory, capabilities, profile=None):
    """The program (bytes) for a profile, compiled now only if it isn't in ``directory``.

    ``directory`` (str) is made if need be, mode 0700.  ``capabilities`` is the container's
    bounding set (int).  ``profile`` is an OCI ``linux.seccomp`` object; None for the default
    one.  Raises profile.BadProfile, profile.NoLibrary, OSError.
    """
    name = _default_name(capabilities) if profile is None else _name(profile)
    program = _read(directory, name)
    if program is None:
        from rootless.runtime import profile as profiles

        if profile is None:
            profile = profiles.default_profile(capabilities)
        program = profiles.compile(profile)
        _keep(directory, name, program)
    return program


def programs(spec, ids, directory, ask=False):
    """What ``kernel.caps.become`` takes as filters: a list of (program, flags), in order.

    ``spec`` is the container's configuration: ``linux.seccomp`` if it is there, else the
    default profile, or none where ``rl.seccomp`` is "unconfined".  ``ids`` is the map of its
    user namespace (model.idmap.Ids).  The filter that fakes owners goes in first, so that
    where both answer with an error number the profile's own counts (seccomp(2): the one
    installed last).  ``ask``: it is left out, because Job.watched is of that kind.
    """
    found = []
    if ids.single and not ask:
        from rootless.runtime import fakeowner

        found.append((fakeowner.program(ids.uids[0].inside, ids.gids[0].inside), 0))
    profile = spec["linux"].get("seccomp")
    if profile is not None:
        from rootless.runtime.profile import flags

        found.append((cached(directory, 0, profile), flags(profile)))
    elif spec.get("rl", {}).get("seccomp") != "unconfined":
        bounding = spec["process"].get("capabilities", {}).get("bounding", ())
        found.append((cached(directory, kernel_caps.union(bounding)), 0))
    return found


def _default_name(capabilities):
    """Cheap to make, and new whenever the packaged profile or rl itself is another one."""
    status = os.stat(conf_path("seccomp.json"))
    identity = (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
    words = [f"{number:x}" for number in (capabilities, *identity)]
    return "-".join(["default", __version__, os.uname().machine, *words]) + ".bpf"


def _name(profile):
    text = jsontext.dumps(profile, sort_keys=True).encode()
    try:
        from _sha256 import sha256
    except ImportError:
        try:
            from _sha2 import sha256
        except ImportError:
            from hashlib import sha256
    digest = sha256(text).hexdigest()
    return f"profile-{__version__}-{os.uname().machine}-{digest}.bpf"


def _checksum(program):
    from binascii import crc32

    return crc32(program).to_bytes(4, "little")


def _read(directory, name):
    """The kept program; None if it isn't there or isn't what was written."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(f"{directory}/{name}", flags)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o170022 != 0o100000:
            return None
        content = os.read(descriptor, kernel.MAX_INSTRUCTIONS * kernel.INSTRUCTION + 64)
    finally:
        os.close(descriptor)
    program = content[len(_MAGIC) + 4 :]
    if content[: len(_MAGIC)] != _MAGIC or not kernel.well_formed(program):
        return None
    return program if content[len(_MAGIC) : len(_MAGIC) + 4] == _checksum(program) else None


def _keep(directory, name, program):
    """Write a program for the next start.  A full disk costs speed, not the container."""
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        _sweep(directory)
        draft = f"{directory}/.{os.getpid()}-{os.urandom(4).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, 0o600)
        try:
            content = _MAGIC + _checksum(program) + program
            whole = os.write(descriptor, content) == len(content)
        except OSError:
            whole = False
        finally:
            os.close(descriptor)
        if whole:
            os.rename(draft, f"{directory}/{name}")
        else:
            os.unlink(draft)
    except OSError:
        pass


def _sweep(directory):
    """Keep the directory small: a profile made afresh for every run would fill it."""
    entries = [entry for entry in os.scandir(directory) if entry.is_file(follow_symlinks=False)]
    if len(entries) >= _MOST_KEPT:
        entries.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
        for entry in entries[: _MOST_KEPT // 2]:
            os.unlink(entry.path)
