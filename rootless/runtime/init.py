"""P3: the container's pid 1, from its first instruction to the execve of the program.

Runs in the container's namespaces with every capability in its user namespace.  Host
paths are open to it until ``_pivot``; after that nothing may be imported, looked up in
NSS or searched on the host's PATH, because all files are the image's: ``preload`` has
loaded what the rest of this file uses.
"""

import os

from rootless.errors import RlError
from rootless.kernel import mount, process
from rootless.model import jsontext

_READY = b"\x06"
_SIG_SETMASK = 2
_ENOENT, _E2BIG, _ENOEXEC, _ENOTDIR = 2, 7, 8, 20
_NULL = (0o020000, 1, 3)  # a character device, and its number (null(4))


class NotFound(RlError):
    """{0}: no such command in the container"""

    exit_code = 127
    hint = "look for it with: rl run --rm --entrypoint ls IMAGE /bin, or rl exec CONTAINER ls /bin"


class NotExecutable(RlError):
    """{0}: cannot be run: {1}"""

    exit_code = 126
    hint = "name a program, or a script with #! on its first line and its x bit set"


class TooMuch(RlError):
    """{0}: cannot be run: its arguments or its environment are too large"""

    exit_code = 126
    hint = "one word or variable may have 128 KiB; give more in a file or on standard input"


class BadDirectory(RlError):
    """the working directory {0} cannot be used: {1}"""

    hint = "choose another one with -w DIR"


class Stage:
    """What the steps of one set-up share.

    ``process`` is the process object of the OCI runtime specification; ``root`` is set by
    the first step; ``user`` (runtime.users result) before the first step that needs it.
    """

    def __init__(self, job):
        self.job = job
        self.process = job.spec["process"]
        self.root = None
        self.user = None

    def resolve_user(self):
        """Look up the user in the mounted root, once."""
        if self.user is None:
            from rootless.runtime import users

            self.user = users.resolve_in(self.root, self.process["user"], self.job.ids)
        return self.user

    def owner_of(self, wanted):
        """(uid, gid) that a step gives files to; ``wanted``: "user" (who runs) or "root"."""
        if wanted == "user":
            user = self.resolve_user()
            return user.uid, user.gid
        return (0, 0) if wanted == "root" else wanted


def preload(job):
    """Load whatever runs after pivot_root, and read what then couldn't be trusted.

    Called before the first fork.
    """
    import resource  # noqa: F401
    import stat  # noqa: F401

    from rootless.kernel import caps, seccomp  # noqa: F401
    from rootless.runtime import users  # noqa: F401

    if job.terminal:
        import array  # noqa: F401

        from rootless.kernel import tty  # noqa: F401

    spec = job.spec["process"]
    job.capabilities = caps.sets_of(spec.get("capabilities") or {})
    # Only the mounted image knows whether a user's name means root.
    job.user_capabilities = caps.sets_of(spec.get("userCapabilities") or {})
    os.strerror(2)
    "".encode("utf-8", "surrogateescape")


class _NoImports:
    """What finds no module and says so."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        raise ImportError(f"{name} was not loaded before the container's files were all there is")


def forbid_imports():
    """From here on modules would be the container's: whatever isn't loaded stays out.

    Called right before the process gives up the host's files (CVE-2019-14271 and its like).
    """
    import sys

    sys.meta_path[:] = [_NoImports]


def main(job):
    """Set the container up and become its program.  Never returns."""
    try:
        stage = Stage(job)
        for step in job.plan:
            run_step(step, stage)
        user = stage.resolve_user()
        if job.terminal:
            _mount_console(stage, job)
        _set_oom_score(stage.process)
        forbid_imports()
        _pivot(stage)
        take_own_null()
        late = enter_directory(stage.process["cwd"] or "/", user)
        job.tell("ready")
        if not job.wait_for_go():
            os._exit(125)
        if job.watched:
            _be_watched(job)
        execute(stage.process, user, job, late)
    except BaseException as error:
        failed(job.status, job.step, error)


def _be_watched(job):
    """Send P1 the listener of a filter that asks it about some calls (seccomp_unotify(2)).

    Nothing from here to the program's first instruction makes one of these.
    """
    from rootless.kernel import seccomp

    listener = seccomp.listen(job.watched)
    job.sync.sendmsg([b"listener"], [(1, 1, listener.to_bytes(4, "little"))])
    os.close(listener)


def defect(error):
    """A defect of rl in a few words: the traceback module may be out of reach here."""
    where, lines = error.__traceback__, []
    while where:
        code = where.tb_frame.f_code
        lines.append(f"{code.co_filename.rpartition('/')[2]}:{where.tb_lineno} {code.co_name}")
        where = where.tb_next
    return f"{type(error).__name__}: {error} ({' > '.join(lines)})"


def run_step(step, stage, verb="execute"):
    """Execute (or gather) one op; an OSError that escapes it is told with the step's name."""
    stage.job.step = step.describe() if stage.job.debug else type(step).__name__
    getattr(step, verb)(stage)


def fail(status, step, text, code, number=0, hint=None):
    """Tell on the status pipe what went wrong and leave with ``code``."""
    said = {"step": step, "errno": number, "text": text[-3000:], "code": code}
    if hint:
        said["hint"] = hint[:500]
    os.write(status, jsontext.dumps(said).encode())
    os._exit(code)


def failed(status, step, error):
    """Tell on the status pipe what was raised in ``step``, and leave."""
    if isinstance(error, RlError):
        fail(status, step, error.message, error.exit_code, hint=error.advice)
    if isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        fail(status, step, f"{step}: {error.strerror}{where}", 125, error.errno)
    fail(status, step, defect(error), 125)


def _mount_console(stage, job):
    """A terminal, which is /dev/console too."""
    open_terminal(stage, job)
    console = mount.clone_tree("", 0, recursive=False)
    target = stage.root.file("/dev/console", 0o620)
    mount.attach(console, target)
    os.close(console)
    os.close(target)


def open_terminal(stage, job):
    """A pty of the container's own devpts for descriptors 0 to 2; its master goes over
    ``job.sync`` to whoever relays.  Shared with exec (enter.py)."""
    from array import array

    from rootless.kernel import tty

    master = tty.open_master("/dev/pts/ptmx", stage.root.open)
    peer = tty.open_peer(master)
    os.fchown(peer, stage.resolve_user().uid, -1)
    if job.window:
        tty.set_window_size(master, *job.window)
    job.sync.sendmsg([b"terminal"], [(1, 1, array("i", [master]))])
    os.close(master)
    for number in (0, 1, 2):
        os.dup2(peer, number)
    os.close(peer)


def _set_oom_score(spec):
    score = spec.get("oomScoreAdj")
    if score is None:
        return
    try:
        with open("/proc/self/oom_score_adj", "wb", 0) as file:
            file.write(b"%d" % score)
    except PermissionError:
        pass  # lowering it is the administrator's: the plan warned already


def _pivot(stage):
    """Make the new root the root, and let go of the old one (pivot_root(2), NOTES)."""
    os.fchdir(stage.root.descriptor)
    mount.pivot_root(".", ".")
    mount.unmount(".", mount.MNT_DETACH)
    os.chdir("/")


def take_own_null():
    """Where descriptors 0 to 2 are the host's /dev/null, take the container's instead.

    A program would reach a file outside of its root through the host's.  Shared with exec.
    """
    numbers = [number for number in (0, 1, 2) if _is_null(os.fstat(number))]
    if not numbers:
        return
    try:
        if not _is_null(os.stat("/dev/null")):
            return  # what else stands there may not like to be opened
        own = os.open("/dev/null", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    if _is_null(os.fstat(own)):  # in exec the container runs, and may have changed it
        os.set_blocking(own, True)
        for number in numbers:
            os.dup2(own, number)
    os.close(own)


def _is_null(found):
    device = found.st_rdev
    return (found.st_mode & 0o170000, os.major(device), os.minor(device)) == _NULL


def reset_signals():
    """Default actions and an empty mask for the program, whatever Python has set."""
    import _signal

    for number in range(1, 32):
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL and SIGSTOP have no other
    _signal.pthread_sigmask(_SIG_SETMASK, [])


def enter_directory(path, user, make=True):
    """Make ``path`` the working directory; it must be inside the root (CVE-2024-21626).

    With ``make`` it is created where it is missing.  Returns ``path`` if only the user may
    enter it: to be tried again as that.
    """
    try:
        os.chdir(path)
    except FileNotFoundError:
        if not make:
            raise BadDirectory(path, "it does not exist") from None
        try:
            os.makedirs(path, 0o755, exist_ok=True)
            os.chown(path, user.uid, user.gid)
            os.chdir(path)
        except OSError as error:
            raise BadDirectory(path, error.strerror) from None
    except PermissionError:
        return path
    except OSError as error:
        raise BadDirectory(path, error.strerror) from None
    if not os.getcwd().startswith("/"):
        raise BadDirectory(path, "it is outside the container")
    return None


def execute(spec, user, job, late=None):
    """Give up what the program must not have, and become it.  Only returns by raising.

    ``spec`` is an OCI process object; ``late`` a directory that only the user may enter.
    Shared with exec (enter.py).
    """
    from resource import RLIM_INFINITY, setrlimit

    from rootless.kernel import caps

    job.step = "process"
    environ = environment(spec, user)
    for limit in spec.get("rlimits", ()):
        number = _RLIMITS[limit["type"]]
        values = [RLIM_INFINITY if v < 0 else v for v in (limit["soft"], limit["hard"])]
        try:
            setrlimit(number, tuple(values))
        except (OSError, ValueError):
            raise RlError(
                f"ulimit {limit['type'][7:].lower()}={limit['soft']}:{limit['hard']} is above "
                "what this user may have", hint="ulimit -Ha shows the highest values allowed"
            ) from None
    os.umask(spec["user"].get("umask", 0o022))
    process.join_new_session_keyring()
    if job.terminal:
        from rootless.kernel import tty

        tty.make_controlling(0)
    process.keep_only([*range(3, 3 + job.preserved), job.status], above=2)
    caps.become(
        user.uid,
        user.gid,
        None if job.keep_groups or job.no_setgroups else user.groups,
        job.capabilities if user.uid == 0 else job.user_capabilities,
        no_new_privs=bool(spec.get("noNewPrivileges")),
        filters=job.filters,
        death_signal=9 if job.die_with_parent else 0,
    )
    if late:
        os.chdir(late)
    _exec(spec["args"], environ, job)


def environment(spec, user):
    """The program's environment as a dict: HOME is the user's unless it was given."""
    environ = dict(entry.split("=", 1) for entry in spec["env"])
    if spec.get("setHome", True):
        environ.setdefault("HOME", user.home or "/")
    return environ


def _exec(args, environ, job):
    name = args[0]
    if "/" in name:
        candidates = [name]
    else:
        path = environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        candidates = [f"{directory or '.'}/{name}" for directory in path.split(":")]
    refused = None
    os.write(job.status, _READY)
    for candidate in candidates:
        try:
            os.execve(candidate, args, environ)
        except OSError as error:
            if error.errno in (_ENOENT, _ENOTDIR) and not os.path.lexists(candidate):
                continue
            refused = refused or (candidate, error.errno)
    if refused is None:
        raise NotFound(name)
    candidate, number = refused
    if os.path.isdir(candidate):
        raise NotExecutable(candidate, "it is a directory")
    if number == _ENOENT:
        raise NotFound(f"{candidate}, or the interpreter it names,")
    if number == _E2BIG:
        raise TooMuch(candidate)
    if number == _ENOEXEC:
        raise NotExecutable(candidate, "its format is unknown to this machine")
    raise NotExecutable(candidate, os.strerror(number))


# The numbers that all architectures of Linux but MIPS, Alpha and SPARC share (getrlimit(2)).
_RLIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}
