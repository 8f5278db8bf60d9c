"""The choreography of a start: who forks whom, and what they say to each other.

    P0 rl ──fork──► P1 launcher ──fork──► P2 stage ──fork──► P3 pid 1 of the container
                    (becomes the          (leaves when       (init.py)
                     monitor by execve)    P3 exists)

    P2 → P1  entered            P2 has a user namespace, unmapped
    P1 → P2  mapped             newuidmap and newgidmap have run, the cgroup is joined
    P2 → P1  helper PID         fuse-overlayfs, where the root needs it
    P2 → P1  writer PID         fuse2fs, where the writable layer has a size
    P2, P3 → P1  layer + fd     the directory that the writable layer lies in, if it is a mount
    P2 → P1  init PID           P3 exists in its namespaces; P2 leaves
    P3 → P1  terminal + fd      the pty's master
    P3 → P1  ready              everything is mounted and pivoted
    P1 → P3  go (a pipe)        the network is up; or later, by the monitor

Where all namespaces are new, as with most containers, P2 is P3 ("init 0"): one clone(2) makes it
in them.  Words travel over one SOCK_SEQPACKET pair; errors over the status pipe, which execve
closes (docs/monitor.md).  No thread runs and nothing is imported after the first fork.
"""

import os
import select

from rootless.errors import RlError
from rootless.kernel import netns, overlay, process, userns
from rootless.model import jsontext
from rootless.runtime import init, staging

_NAMESPACES = {
    "mount": userns.CLONE_NEWNS,
    "uts": userns.CLONE_NEWUTS,
    "ipc": userns.CLONE_NEWIPC,
    "network": userns.CLONE_NEWNET,
    "cgroup": userns.CLONE_NEWCGROUP,
    "pid": userns.CLONE_NEWPID,
}
_SIGCHLD = 17
_SIG_BLOCK = 0


class LaunchFailed(RlError):
    """the container could not be set up: {0}"""


class Foreign(RlError):
    """cannot join that {0} namespace: it belongs to another user namespace"""

    hint = "join that one too: --userns container:NAME, or --userns ns:/proc/PID/ns/user"


class Job:
    """Everything the processes of one launch need; made by the engine, executed here.

    spec         OCI runtime configuration (dict)
    plan         steps of ``plan.make_plan``
    rootfs       what the store's driver prepared (dict)
    target       empty directory on which the root is mounted
    ids          model.idmap.Ids of the container's user namespace
    store_ids    those of the store: the default map (runtime/staging.py)
    join         namespace type → descriptor of an existing namespace, "user" included;
                 "shm": the mount namespace of the container whose /dev/shm is shared
    terminal     True: give the program a pty, (rows, columns) in ``window``
    stdin        True: the program's standard input is a pipe from the monitor
    filters      seccomp programs (bytes), installed in order
    monitor      the monitor's command line: a function of the descriptors it inherits
    cgroup       the container's cgroup: an object with request(stage_pid), called in P1 at
                 once, settle(stage_pid) after the id mapping, keep_out(pid) for helpers;
                 None for nothing
    network      called in P1 as network(init_pid, route): words for the monitor; ``route`` is
                 the descriptor of an rtnetlink socket in the new network namespace
                 (kernel.netlink.Route); None for nothing
    private      descriptors that P1 alone has a use for: P2 and P3 close them
    hold         True: P3 waits for the monitor's go (``rl init``)
    watched      a seccomp program whose listener P3 sends to P1 once it may go; None for none
    stdio        descriptors for the program's 0, 1 and 2, None for pipes to the monitor
    founder      pid of P0 if the container is to end with it, else None.  ``monitor`` then
                 never returns: P1 goes on as it is (engine/build)
    """

    def __init__(self, **fields):
        self.preserved = 0
        self.keep_groups = False
        self.passthrough = False
        self.stdio = self.founder = self.watched = None
        self.join = {}
        self.private = ()
        self.window = None
        self.cgroup = self.network = None
        self.hold = self.debug = False
        self.die_with_parent = True
        self.__dict__.update(fields)
        self.no_setgroups = self.ids.single
        self.staged = staging.needed(self.ids, os.geteuid(), os.getegid())
        self.step = "launch"

    def tell(self, *words):
        """P2, P3 → P1."""
        self.sync.send(" ".join(map(str, words)).encode())

    def hand_over(self, word, descriptor):
        """P2, P3 → P1, with a descriptor."""
        self.sync.sendmsg([word.encode()], [(1, 1, descriptor.to_bytes(4, "little"))])

    def wait_for_go(self):
        """P3: True once told to go on, False if the launcher or monitor is gone."""
        return bool(os.read(self.go_read, 1))


def socketpair():
    """A pair of connected SOCK_SEQPACKET sockets, close-on-exec."""
    from _socket import AF_UNIX, SOCK_SEQPACKET
    from _socket import socketpair as pair

    return pair(AF_UNIX, SOCK_SEQPACKET, 0)


def start(job):
    """Fork P1 and return (its pid, the founder's end of the client socket pair).

    What happens from here on is told over that socket (docs/monitor.md): ``s`` when the
    program runs, ``l`` if it couldn't be started.
    """
    init.preload(job)
    if "capped" in job.rootfs:
        from rootless.kernel import capped  # noqa: F401
    if job.network:
        from rootless.kernel import netlink  # noqa: F401
    if any(getattr(step, "copy_up", None) for step in job.plan):
        from rootless.kernel import tree  # noqa: F401
        from rootless.runtime import fill  # noqa: F401
    ours, theirs = socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            job.client = theirs
            _launcher(job)
        finally:
            os._exit(125)  # whatever happened, no child goes on as its parent
    theirs.close()
    return pid, ours


# --- P1 ------------------------------------------------------------------------------------


def _launcher(job):
    """P1: never returns."""
    import _signal

    try:
        os.setsid()
        if job.founder is not None:
            end_with(job.founder)
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        _signal.pthread_sigmask(_SIG_BLOCK, [_SIGCHLD])
        _pipes(job)
        descriptors = _launch(job)
        if not job.hold:
            let_go(job)
        words = job.monitor(job, descriptors)
        for word in words:
            key, _, value = word.partition("=")
            if key in _INHERITED and value.isdecimal():
                os.set_inheritable(int(value), True)
        os.execve(job.monitor_path, words, {"PATH": "/usr/bin:/bin", **job.monitor_environ})
    except _Told:
        pass
    except RlError as error:
        _report(job, error.message, error.exit_code, error.advice)
    except BaseException as error:
        _report(job, init.defect(error), 125)
    end_children()
    os._exit(125)


def end_with(parent):
    """Let this process end when its parent does, which has to be the process ``parent``."""
    process.prctl(process.PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(125)


def let_go(job):
    """P1: let P3 become the program."""
    try:
        os.write(job.go, b"g")
    except BrokenPipeError:
        _failed(job)  # P3 has left since it was ready


_INHERITED = frozenset(
    ("dir", "run", "alive", "in", "out", "err", "pty", "listen", "client", "status", "go", "cgroup",
     "layer", "ports")
)


class _Told(Exception):
    """The client has been told already."""


def _report(job, text, code, hint=None):
    said = {"step": "launch", "errno": 0, "text": text[-3000:], "code": code}
    if hint:
        said["hint"] = hint
    _forward(job, jsontext.dumps(said).encode())


def _forward(job, said):
    """Tell the founder a launch error in the monitor's words: ``l`` and then ``x``."""
    try:
        job.client.send(b"l" + said)
        job.client.send(b"x" + bytes([125, 0, 8]))
    except OSError:
        pass


def _pipes(job):
    """Make the descriptors that P3 and the monitor will talk over."""
    job.sync, job.far_sync = socketpair()
    job.status_read, job.status = os.pipe()
    job.go_read, job.go = os.pipe()
    job.ends = {}
    if job.passthrough or job.terminal or job.stdio:
        return
    for name in ("in", "out", "err"):
        if name == "in" and not job.stdin:
            continue
        read, write = os.pipe()
        job.ends[name] = (read, write) if name == "in" else (write, read)


def _launch(job):
    """Make P2 and P3 and go along until P3 is ready; the monitor's descriptors by name."""
    job.direct = _all_new(job)
    stage = userns.fork_into(job.direct | userns.CLONE_NEWUSER) if job.direct else os.fork()
    if stage == 0:
        try:
            _stage(job)
        finally:
            os._exit(125)
    os.close(job.status)
    os.close(job.go_read)
    job.far_sync.close()
    job.helpers = []
    if job.cgroup:
        job.cgroup.request(stage)
    descriptors = {"status": job.status_read, "go": job.go}
    for name, (far, near) in job.ends.items():
        os.close(far)
        descriptors[name] = near
    if job.direct:  # it is in its user namespace: nobody has to say so first
        _map(job, stage)
    job.init_pid = _converse(job, stage, descriptors)
    return descriptors


def _converse(job, stage, descriptors):
    """Answer P2 and P3 until P3 is ready; returns P3's pid."""
    init_pid, ready = None, False
    while not (ready and init_pid):
        if ready:
            _outrun(job, stage)
        word, ancillary, _, _ = job.sync.recvmsg(256, 64)
        verb, _, value = word.decode().partition(" ")
        if verb == "entered":
            _map(job, stage)
        elif verb == "joined":
            _mapped(job, stage)
        elif verb == "helper":
            job.helpers.append(f"helper={int(value)}")
            if job.cgroup:
                job.cgroup.keep_out(int(value))
        elif verb == "init":
            init_pid = int(value) or stage
            if init_pid != stage:
                process.wait_exit(stage)
            if job.network:
                job.helpers += _connect(job, init_pid, ancillary)
        elif verb == "writer":
            job.helpers.append(f"writer={int(value)}")
            if job.cgroup:
                job.cgroup.keep_out(int(value))
        elif verb in ("terminal", "layer"):
            name = "pty" if verb == "terminal" else verb
            descriptors[name] = int.from_bytes(ancillary[0][2][:4], "little")
            os.set_inheritable(descriptors[name], False)
        elif verb == "ready":
            ready = True
        else:
            _failed(job)
    return init_pid


def _map(job, stage):
    userns.write_maps(stage, job.store_ids if job.staged else job.ids)
    _mapped(job, stage)


def _mapped(job, stage):
    """P2 may go on: it has its ids, and its cgroup before it makes a namespace of them."""
    if job.cgroup:
        job.cgroup.settle(stage)
    job.sync.send(b"mapped")


def _outrun(job, stage):
    """P2 and P3 write into one socket, and P3 was ready before P2 told its pid: P2 does
    that before it leaves, or has been killed."""
    os.waitid(os.P_PID, stage, os.WEXITED | os.WNOWAIT)
    watch = select.poll()
    watch.register(job.sync.fileno(), select.POLLIN)
    if not watch.poll(0):
        raise LaunchFailed("a process of the set-up was killed")


def _connect(job, init_pid, ancillary):
    """Start the network helper.  If that fails because P3 did, P3's own words are told."""
    route = int.from_bytes(ancillary[0][2][:4], "little") if ancillary else None
    try:
        if route is not None:
            os.set_inheritable(route, False)
        return job.network(init_pid, route)
    except (RlError, OSError):
        watch = select.poll()
        watch.register(job.sync.fileno(), 0)
        if watch.poll(0):
            _failed(job)
        raise
    finally:
        if route is not None:
            os.close(route)


def _failed(job):
    """P2 or P3 has left: pass on what it said."""
    said = b""
    while chunk := os.read(job.status_read, 4096):
        said += chunk
    if not said:
        raise LaunchFailed("a process of the set-up was killed")
    _forward(job, said)
    raise _Told


def end_children():
    """Kill and reap whatever this launch has made.

    Again and again: what a killed process leaves behind becomes a child of ours.
    """
    children = f"/proc/self/task/{os.getpid()}/children"
    try:
        while True:
            with open(children, "rb", 0) as file:
                for pid in file.read(65536).split():
                    os.kill(int(pid), 9)
            os.waitpid(-1, 0)
    except (ChildProcessError, OSError):
        pass


# --- P2 ------------------------------------------------------------------------------------


def _stage(job):
    """P2: make or join the namespaces, then fork P3.  Never returns."""
    try:
        job.sync.close()
        job.sync = job.far_sync
        os.close(job.status_read)
        os.close(job.go)
        job.client.close()
        for descriptor in job.private:
            os.close(descriptor)
        job.step = "user namespace"
        _enter_user_namespace(job)
        if job.direct:
            _become_only_child(job)
        if "shm" in job.join:
            _borrow(job)
        if job.rootfs["driver"] == "fuse-overlayfs" and not job.staged:
            job.step = "root"
            userns.unshare(userns.CLONE_NEWNS)
            _serve_root(job)
        job.step = "namespaces"
        wanted = {entry["type"] for entry in job.spec["linux"]["namespaces"]}
        flags = 0
        for kind, flag in _NAMESPACES.items():
            if kind in job.join:
                if kind != "pid":
                    _join(kind, job.join[kind], flag)
            elif kind in wanted and kind != "pid":
                flags |= flag
        userns.unshare(flags)
        if flags & userns.CLONE_NEWNET:
            netns.no_duplicate_checks()  # before the network helper adds its interface
        job.step = "root"
        if "pid" in job.join:
            _join("pid", job.join["pid"], userns.CLONE_NEWPID)
        elif "pid" in wanted:
            userns.unshare(userns.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                _become_init(job)
            finally:
                os._exit(125)
        _tell_init(job, pid, flags)
        os._exit(0)
    except BaseException as error:
        init.failed(job.status, job.step, error)


def _all_new(job):
    """The flags of clone(2) for a container that joins nothing and needs no process beside
    P3: P2 is P3 then, made by one fork instead of two.  0 where it needs its two."""
    kinds = {entry["type"] for entry in job.spec["linux"]["namespaces"]}
    served = job.rootfs["driver"] == "fuse-overlayfs" or "capped" in job.rootfs
    if job.join or job.staged or served or "pid" not in kinds:
        return 0
    # That of cgroups is of the cgroup that its maker is in: later, when P1 has put it there.
    flags = (flag for kind, flag in _NAMESPACES.items() if kind in kinds and kind != "cgroup")
    return sum(flags)


def _become_only_child(job):
    """P2 that is P3: it has its namespaces.  Never returns."""
    job.step = "namespaces"
    if any(entry["type"] == "cgroup" for entry in job.spec["linux"]["namespaces"]):
        userns.unshare(userns.CLONE_NEWCGROUP)
    if job.direct & userns.CLONE_NEWNET:
        netns.no_duplicate_checks()
    job.step = "root"
    _tell_init(job, 0, job.direct)
    _become_init(job)


def _tell_init(job, pid, flags):
    """The pid of P3 (0: who tells it), and with it a socket that configures the network
    namespace: P1 is no member of it and can't make one."""
    said = f"init {pid}".encode()
    if not (job.network and flags & userns.CLONE_NEWNET):
        job.sync.send(said)
        return
    from rootless.kernel import netlink

    with netlink.Route() as route:
        job.sync.sendmsg([said], [(1, 1, route.fileno().to_bytes(4, "little"))])


def _join(kind, descriptor, flag):
    try:
        userns.setns(descriptor, flag)
    except PermissionError:
        raise Foreign(kind) from None


def _enter_user_namespace(job):
    joined = job.join.get("user")
    if joined is not None:
        userns.setns(userns.parent_of(joined) if job.staged else joined, userns.CLONE_NEWUSER)
        job.tell("joined")
    elif not job.direct:
        process.prctl(process.PR_SET_DUMPABLE, 1)
        userns.enter_new()
        job.tell("entered")
    if job.sync.recv(16) != b"mapped":
        os._exit(125)
    userns.become_root()
    if job.staged:
        _stage_outside(job, joined)
    if not job.keep_groups:
        userns.drop_groups()
    if "pid" not in job.join:
        # /proc/PID/ns must stay the caller's to open: the launcher hands them to the
        # network helper.  Nobody but us can see this process yet.
        process.prctl(process.PR_SET_DUMPABLE, 1)


def _stage_outside(job, joined):
    """In the outer of two user namespaces (staging.py): gather, then enter the inner one."""
    job.step = "root"
    userns.unshare(userns.CLONE_NEWNS)
    if job.rootfs["driver"] == "fuse-overlayfs":
        _serve_root(job)
    staging.gather(job)
    job.step = "user namespace"
    if joined is not None:
        userns.setns(joined, userns.CLONE_NEWUSER)
    else:
        userns.enter_child(staging.below(job.ids, job.store_ids))
    userns.become_root()


def _borrow(job):
    """Fetch the /dev/shm of another container: a child goes into its mount namespace.

    As for exec (enter.py), nothing in there may trace it.
    """
    from array import array

    (step,) = [step for step in job.plan if hasattr(step, "borrow")]
    near, far = socketpair()
    child = os.fork()
    if child == 0:
        try:
            process.prctl(process.PR_SET_DUMPABLE, 0)
            init.forbid_imports()
            userns.setns(job.join["shm"], userns.CLONE_NEWNS)
            far.sendmsg([b"tree"], [(1, 1, array("i", [step.borrow()]))])
        except (OSError, RlError) as error:
            far.send(b"!" + str(error).encode())
        finally:
            os._exit(0)
    far.close()
    word, ancillary, _, _ = near.recvmsg(1024, 64)
    near.close()
    process.wait_exit(child)
    if not ancillary:
        raise LaunchFailed(word[1:].decode() or "the process that fetches /dev/shm was killed")
    tree = int.from_bytes(ancillary[0][2][:4], "little")
    os.set_inheritable(tree, False)
    step.keep(tree)


def _serve_root(job):
    """Start fuse-overlayfs, whose mount becomes the container's root.

    It stays in a mount namespace of its own: pivot_root moves the root of every process of a
    namespace, and the program would hold its own mount.  Done before the pid namespace
    exists, so that the container never sees it; when P2 leaves, it is the monitor's child.
    """
    if "capped" in job.rootfs:
        tree, pid = _serve_capped(job)
    else:
        tree, pid = overlay.start_fuse(job.rootfs)
    job.tell("helper", pid)
    (step,) = [step for step in job.plan if hasattr(step, "serve")]
    step.serve(tree)


def _serve_capped(job):
    """The same above a file system with a size, which lasts as long as somebody uses it."""
    from rootless.kernel import capped

    space, writer = capped.open_space(job.rootfs["capped"], job.rootfs["like"])
    if writer:
        job.tell("writer", writer)
    try:
        served = overlay.start_fuse(job.rootfs)
    finally:
        capped.let_go(job.rootfs["capped"])
    job.hand_over("layer", space)
    os.close(space)
    return served


# --- P3 ------------------------------------------------------------------------------------


def _become_init(job):
    os.setsid()
    init.reset_signals()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number, name in ((0, "in"), (1, "out"), (2, "err")):
        if job.stdio:
            os.dup2(null if job.stdio[number] is None else job.stdio[number], number)
        elif name in job.ends:
            os.dup2(job.ends[name][0], number)
        elif not job.passthrough or (number == 0 and not job.stdin):
            os.dup2(null, number)
    os.close(null)
    init.main(job)
