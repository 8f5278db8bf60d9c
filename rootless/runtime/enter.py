"""Running one more program in a container that runs already (``rl exec``, health checks).

    P0 rl ──fork──► E1 joins the namespaces ──fork──► E2 becomes the program
                    (waits, passes the end on)        (in the container's pid namespace)

E1 stays for as long as the program: it reaps it, which the container's pid 1 may never do,
and when P0 leaves early (``exec -d``, or the detach keys) it keeps the terminal open.

E1 and E2 are Python of the host inside the container's namespaces for a moment.  They are
not dumpable, so that nothing in there can trace them or open their memory or their
executable (CVE-2016-9962, CVE-2019-5736), and everything they use is loaded beforehand.
"""

import os
import select

from rootless.errors import RlError
from rootless.kernel import process, userns
from rootless.runtime import init
from rootless.runtime.launch import socketpair
from rootless.runtime.rootdir import RootDir

_FLAGS = {
    "user": userns.CLONE_NEWUSER,
    "mount": userns.CLONE_NEWNS,
    "uts": userns.CLONE_NEWUTS,
    "ipc": userns.CLONE_NEWIPC,
    "network": userns.CLONE_NEWNET,
    "cgroup": userns.CLONE_NEWCGROUP,
    "pid": userns.CLONE_NEWPID,
}


class EnterFailed(RlError):
    """cannot enter the container: {0}"""

    hint = "rl ps shows whether it still runs"


class BadTerminal(RlError):
    """the container's /dev/pts is not one that rl made"""

    hint = "run the command without -t"


class Entry:
    """One program to run in a running container.

    pid          pid 1 of the container, seen from here
    namespaces   the kinds to join: keys of OCI ``linux.namespaces`` and "user"
    process      the OCI process object
    ids          model.idmap.Ids of the container's user namespace
    filters      seccomp programs (bytes), in order
    terminal     True: a pty of the container; ``window`` its (rows, columns)
    stdio        descriptors for 0, 1 and 2 (without a terminal)
    caught       numbers of the signals that P0 has handlers for
    """

    def __init__(self, **fields):
        self.preserved = 0
        self.keep_groups = False
        self.no_setgroups = False
        self.window = None
        self.stdio = (0, 1, 2)
        self.caught = ()
        self.prepare = self.ids = None
        self.__dict__.update(fields)
        self.spec = {"process": self.process}
        self.die_with_parent = True
        self.step = "exec"


def enter(entry):
    """Start the program; returns (pid of E1, pid of E2, master of the terminal or None).

    Raises what kept it from starting: RlError with the program's exit code.
    """
    init.preload(entry)
    near, entry.sync = entry.near, _ = socketpair()
    status, entry.status = os.pipe()
    pidfd = _pidfd(entry.pid)
    pid = os.fork()
    if pid == 0:
        try:
            near.close()
            os.close(status)
            _join(entry, pidfd)
        finally:
            os._exit(125)  # whatever happened, no child goes on as its parent
    entry.sync.close()
    os.close(entry.status)
    os.close(pidfd)
    program, master = _hear(near, entry.terminal)
    said = b""
    while chunk := os.read(status, 4096):
        said += chunk
    os.close(status)
    if said != b"\x06":
        near.close()
        process.wait_exit(pid)
        raise told(said.lstrip(b"\x06"))
    return pid, program, master


def leave(entry, master):
    """Let E1 go on without us, with the terminal's ``master`` (or None)."""
    from array import array

    files = [] if master is None else [(1, 1, array("i", [master]))]
    try:
        entry.near.sendmsg([b"leave"], files)
        entry.near.recv(16)
    except OSError:
        pass  # the program has ended, and E1 with it


def start_inside(pid, function, *args, keep=()):
    """Run ``function(root, *args)`` inside a running container; a userns.Child.

    The child is root of the container's user namespace and sees its mounts; ``root`` is a
    descriptor of its root directory.  Everything that the function uses must be loaded
    already: nothing can be imported in there, and the child is not dumpable, so that the
    container can't get at it.  Of the caller's descriptors it has only ``keep``, 1 and 2.
    The result must be plain data; the child dies with this process.
    """
    me = os.getpid()
    pidfd = _pidfd(pid)
    result, writer = os.pipe()
    try:
        child = os.fork()
        if child == 0:
            os.close(result)
            userns.finish(
                writer, _call_inside, (me, pidfd, {writer, *keep}, function, args), init.defect
            )
    finally:
        os.close(writer)
        os.close(pidfd)
    return userns.Child(child, result)


def _call_inside(parent, pidfd, keep, function, args):
    process.prctl(process.PR_SET_DUMPABLE, 0)
    process.keep_only({pidfd, *keep})
    os.umask(0)
    init.forbid_imports()
    try:
        userns.setns(pidfd, userns.CLONE_NEWUSER | userns.CLONE_NEWNS)
    except OSError as error:
        hint = "it was started outside of this rl unshare" if error.errno == 1 else None
        raise EnterFailed(error.strerror, hint=hint) from None
    os.close(pidfd)
    userns.become_root()
    userns.drop_groups()
    # Each change of ids has undone these two.
    process.prctl(process.PR_SET_DUMPABLE, 0)
    process.prctl(process.PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(1)
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return function(root, *args)


def _pidfd(pid):
    try:
        return process.pidfd(pid)
    except ProcessLookupError:
        raise EnterFailed("it has ended") from None


def told(said):
    """The RlError for what P3 or E2 said on the status pipe (init.fail)."""
    from rootless.model import jsontext

    try:
        message = jsontext.loads(said)
        error = RlError(message["text"], hint=_literal(message.get("hint")))
        error.exit_code = message.get("code", 125)
    except (jsontext.DecodeError, KeyError, TypeError):
        words = said.decode("utf-8", "replace")
        error = EnterFailed(words or "a process of the set-up was killed")
    return error


def _literal(hint):
    return hint and hint.replace("{", "{{").replace("}", "}}")


def _hear(sync, terminal):
    """What E1 and E2 send: the program's pid and the terminal's master."""
    program = master = None
    while program is None or (terminal and master is None):
        word, ancillary, _, _ = sync.recvmsg(64, 64)
        if not word:
            return program, master
        if word == b"terminal":
            master = int.from_bytes(ancillary[0][2][:4], "little")
            os.set_inheritable(master, False)
        else:
            program = int(word)
    return program, master


def _join(entry, pidfd):
    """E1: never returns."""
    import _signal  # loaded by P0, which has set them

    try:
        for number in entry.caught:
            _signal.signal(number, _signal.SIG_DFL)
        process.prctl(process.PR_SET_DUMPABLE, 0)
        os.setsid()  # ^C at P0's terminal is P0's to pass on
        entry.near.close()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        if entry.prepare:
            entry.prepare(os.getpid())
        flags = 0
        for kind in entry.namespaces:
            flags |= _FLAGS[kind]
        init.forbid_imports()
        try:
            userns.setns(pidfd, flags)
        except OSError as error:
            raise EnterFailed(error.strerror) from None
        os.close(pidfd)
        userns.become_root()
        if not entry.keep_groups:
            userns.drop_groups()
        process.prctl(process.PR_SET_DUMPABLE, 0)
        pid = os.fork()
        if pid == 0:
            try:
                _become(entry)
            finally:
                os._exit(125)
        os.close(entry.status)
        _stay(entry, pid, null)
    except BaseException as error:
        init.failed(entry.status, "exec", error)


def _stay(entry, pid, null):
    """E1, until the program has ended: never returns.

    It never leaves without having reaped the program: that would be adopted by the init of
    the host's pid namespace, and while that hasn't reaped it the container can't end.
    """
    ended = process.pidfd(pid)
    try:
        entry.sync.send(str(pid).encode())
    except OSError:
        _end(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(entry.sync.fileno(), select.POLLIN)
    master = None
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == ended:
                _reap(pid)
            if descriptor == master:
                if not _discard(master):
                    poll.unregister(master)
                continue
            poll.unregister(entry.sync.fileno())
            word, ancillary, _, _ = entry.sync.recvmsg(16, 64)
            if word != b"leave":
                _end(pid)  # P0 is gone: the program goes, too
            if ancillary:
                master = int.from_bytes(ancillary[0][2][:4], "little")
                poll.register(master, select.POLLIN)
            _let_go(entry, null, {ended, master or ended})


def _reap(pid):
    code = process.wait_exit(pid)
    os._exit(code if code >= 0 else 128 - code)


def _end(pid):
    os.kill(pid, 9)
    _reap(pid)


def _discard(master):
    """Take what the program writes to a terminal that nobody looks at; False at its end."""
    try:
        return bool(os.read(master, 65536))
    except OSError:
        return False


def _let_go(entry, null, kept):
    """Keep nothing of P0's."""
    for number in (0, 1, 2):
        os.dup2(null, number)
    process.keep_only({*kept, entry.sync.fileno()})
    entry.sync.send(b"left")
    entry.sync.close()


def _become(entry):
    """E2: never returns."""
    try:
        os.setsid()
        init.reset_signals()
        root = RootDir(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        stage = init.Stage(entry)
        stage.root = root
        user = stage.resolve_user()
        if entry.terminal:
            _open_terminal(stage, entry)
        else:
            _set_stdio(entry.stdio)
            init.take_own_null()
        late = init.enter_directory(entry.process["cwd"] or "/", user, make=False)
        init.execute(entry.process, user, entry, late)
    except BaseException as error:
        init.failed(entry.status, entry.step, error)


def _set_stdio(stdio):
    copies = [os.dup(number) for number in stdio]
    for number, copy in enumerate(copies):
        os.dup2(copy, number)
        os.close(copy)


def _open_terminal(stage, entry):
    try:
        init.open_terminal(stage, entry)
    except OSError:
        raise BadTerminal() from None
