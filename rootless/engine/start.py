"""Starting a container that has a record: the engine's half of runtime/launch.py."""

import os

from rootless import helpers_dir
from rootless.engine import events, records
from rootless.errors import RlError
from rootless.model import jsontext
from rootless.runtime import launch, plan

_ATTACH_OUT, _ATTACH_ERR, _ATTACH_IN = 1, 2, 4
# Who has run this long (seconds) is restarted after the first delay (ms) again, as docker does.
SETTLED = 10
_FIRST_DELAY, _LONGEST_DELAY = 100, 60_000


class AlreadyRunning(RlError):
    """container {0} is running already"""

    hint = "see it with rl ps, end it with rl stop {0}"


class InUse(RlError):
    """the files of container {0} are being read or removed by another rl"""

    hint = "try again when that has ended"


class BadPidFile(RlError):
    """--pidfile {0}: {1}"""

    hint = "name a file in a directory that you may write"


class Start:
    """One start: what the launch needs beyond the record.

    attach     any of "stdin", "stdout", "stderr" that this rl will be attached to
    window     (rows, columns) of the terminal, or None
    remove     True if this rl removes the container when it has ended
    hold       True: set up and wait for a later start (``rl init``)
    debug      print the steps and name them whole in errors
    alive      descriptor of the life lock if this rl holds it already (``take_lock``)
    """

    def __init__(self, attach=(), window=None, hold=False, debug=False, preserve_fds=0,
                 alive=None):
        self.attach = frozenset(attach)
        self.window = window
        self.hold = hold
        self.debug = debug
        self.preserve_fds = preserve_fds
        self.alive = alive


def take_lock(engine, record, new=False):
    """Make the runtime directory and hold the container's life lock; its descriptor.

    The launch inherits it and passes it to the monitor; the container's program doesn't get
    it, because execve closes it.  ``new``: nobody can see the container yet.
    """
    if not records.is_free(engine, record["id"]):
        raise AlreadyRunning(record["name"])
    if not records.move_here(engine, record["id"]):
        raise AlreadyRunning(record["name"])
    run_dir = records.own_run_directory(engine, record["id"])
    alive = records.open_life(run_dir)
    if not records.hold(alive):
        os.close(alive)
        if records.is_alive(run_dir):
            raise AlreadyRunning(record["name"])
        raise InUse(record["name"])
    if not (new or records.is_current(engine, record["id"], run_dir, alive)):
        # Removed meanwhile, or begun by a session with another runtime directory.
        if records.in_place(run_dir, alive):
            records.drop_run_directory(run_dir)
        os.close(alive)
        if os.path.isdir(records.directory(engine, record["id"])):
            raise AlreadyRunning(record["name"])
        raise records.NoContainer(record["name"])
    for name in ("started", "paused", "cgroup", "layer"):
        try:
            os.unlink(f"{run_dir}/{name}")
        except FileNotFoundError:
            pass
    container = records.directory(engine, record["id"])
    try:
        # Kept aside: it is how the container ended if this start fails.
        os.rename(f"{container}/exit", f"{container}/{records.BEFORE}")
    except FileNotFoundError:
        pass
    return alive


def begin(engine, record, spec, rootfs, start, filters=(), ids=None, join=None, network=None,
          cgroup=None, private=()):
    """Launch the container; returns (pid of its monitor to be, the founder's socket).

    ``spec`` is the runnable configuration (engine/assemble.py), ``rootfs`` the prepared root.
    """
    alive = take_lock(engine, record) if start.alive is None else start.alive
    start.alive = None
    try:
        container = records.directory(engine, record["id"])
        init_path = f"{helpers_dir()}/init" if record.get("init") else None
        steps = plan.make_plan(spec, rootfs, f"{container}/root", init_path)
        if start.debug:
            _show(steps)
        terminal = bool(spec["process"].get("terminal"))
        job = launch.Job(
            spec=spec,
            plan=steps,
            rootfs=rootfs,
            target=f"{container}/root",
            ids=ids or engine.ids,
            store_ids=engine.ids,
            join=join or {},
            terminal=terminal,
            window=start.window,
            stdin=bool(record["stdin_open"]),
            filters=list(filters),
            keep_groups=bool(record.get("keep_groups")),
            passthrough=record["log"]["driver"] == "passthrough",
            preserved=start.preserve_fds,
            cgroup=cgroup,
            network=network,
            private=private,
            hold=start.hold,
            debug=start.debug,
            monitor=_Words(engine, record, start, alive, container),
            monitor_path=f"{helpers_dir()}/monitor",
            monitor_environ=_monitor_environ(engine),
        )
        return launch.start(job)
    finally:
        os.close(alive)


def _monitor_environ(engine):
    kept = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
            "DBUS_SESSION_BUS_ADDRESS")
    environ = engine.config.environ
    return {name: environ[name] for name in kept if name in environ}


def _show(steps):
    import sys

    for number, step in enumerate(steps, 1):
        sys.stderr.write(f"step {number}: {step.describe()}\n")


class _Words:
    """Makes the monitor's command line in P1, when every descriptor is known."""

    def __init__(self, engine, record, start, alive, container):
        import _socket  # noqa: F401  (loaded before the fork)

        self.record = record
        self.start = start
        self.alive = alive
        self.container = container
        self.run_dir = records.run_directory(engine, record["id"])
        self.command = rl_command(engine)

    def __call__(self, job, descriptors):
        record = self.record
        if record.get("pidfile"):
            _write_pid(record["pidfile"], job.init_pid)
        directory = os.open(self.container, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        run = os.open(self.run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        listen = _listen(run)
        # The client first: it is told what is wrong with any word behind.
        words = ["rl-monitor", f"client={job.client.fileno()}", f"id={record['id']}",
                 f"name={record['name']}", f"pid={job.init_pid}", f"dir={directory}",
                 f"run={run}", f"alive={self.alive}", f"listen={listen.detach()}",
                 f"attach={_bits(self.start.attach)}", f"status={descriptors['status']}"]
        words += [f"{name}={descriptors[name]}" for name in ("in", "out", "err", "pty")
                  if name in descriptors]
        if self.start.hold:
            words.append(f"go={descriptors['go']}")
        if job.cgroup and job.cgroup.container:
            opened = os.open(job.cgroup.container, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            words.append(f"cgroup={opened}")
        if "layer" in descriptors:
            # Who reads the files of a running container finds them through the monitor.
            note_layer(run, os.getpid(), descriptors["layer"])
            words.append(f"layer={descriptors['layer']}")
        if record.get("ports"):
            note = os.open("ports", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=run)
            words.append(f"ports={note}")
        words += job.helpers
        words += _policy(record)
        return words + self._afterwards()

    def _afterwards(self):
        record, words = self.record, []
        health = record.get("health")
        if health and health.get("test"):
            command = [*self.command, "__health", record["id"]]
            words += [f"health-{name}={health[name]}" for name in
                      ("interval", "timeout", "start-period", "retries", "on-failure")]
            words += [f"health={len(command)}", *command]
        on_failure = (health or {}).get("on-failure")
        if record["remove"]:
            command = [*self.command, "__ended", record["id"]]
            # An attached rl that hears of the end removes the container itself, at once.
            words += ["on-exit-if=untold", f"on-exit={len(command)}", *command]
        elif record.get("restart") or on_failure == "restart":
            # The lock is handed on: whoever stops the container between two runs is heard.
            command = [*self.command, "__ended", record["id"], str(self.alive)]
            words += [f"restart-delay={_restart_delay(record)}", f"restart-settled={SETTLED}",
                      f"restart-delay-settled={_FIRST_DELAY}", "alive-kept=1",
                      "on-exit-if=restart", f"on-exit={len(command)}", *command]
        return words


def note_layer(run, monitor, descriptor):
    """Write where a container's monitor (a pid) has the writable layer open; ``run`` is a
    descriptor of its runtime directory."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    note = os.open("layer", flags, 0o600, dir_fd=run)
    os.write(note, f"{monitor} {descriptor}".encode())
    os.close(note)


def _write_pid(path, pid):
    """--pidfile: as runtimes do, in place and without an end of line."""
    try:
        with open(path, "wb", 0) as file:
            file.write(str(pid).encode())
    except OSError as error:
        raise BadPidFile(path, error.strerror) from None


def _bits(attach):
    return ((_ATTACH_OUT if "stdout" in attach else 0)
            | (_ATTACH_ERR if "stderr" in attach else 0)
            | (_ATTACH_IN if "stdin" in attach else 0))


def _policy(record):
    log = record["log"]
    words = [f"log={log['driver']}", f"log-path={log.get('path') or 'ctr.log'}"]
    if log.get("max_size"):
        words.append(f"log-max={log['max_size']}")
    if log.get("tag"):
        words.append(f"log-tag={log['tag']}")
    words += [f"stop-signal={record['stop_signal']}", f"stop-timeout={record['stop_timeout']}"]
    if record.get("timeout"):
        words.append(f"timeout={record['timeout']}")
    if record.get("restart"):
        words.append(f"restart={record['restart']}")
        words.append(f"restarts={record.get('restarts', 0)}")
    words.append("sync=0" if record["remove"] else "sync=late")
    words.append(f"events=../../{events.NAME}")
    words.append(f"event={jsontext.dumps(events.facts(record))[1:-1]}")
    return words


def _restart_delay(record):
    """Milliseconds before another start: twice as many for each quick end, a minute at most."""
    return min(_LONGEST_DELAY, _FIRST_DELAY << min(record.get("quick", 0), 16))


def _listen(run):
    """The container's control socket, bound through a descriptor: paths may be too long."""
    from _socket import AF_UNIX, SOCK_SEQPACKET, socket

    try:
        os.unlink("control", dir_fd=run)
    except FileNotFoundError:
        pass
    listening = socket(AF_UNIX, SOCK_SEQPACKET, 0)
    listening.bind(f"/proc/self/fd/{run}/control")
    os.chmod("control", 0o600, dir_fd=run)
    listening.listen(16)
    return listening


def rl_command(engine):
    """The words that start this same rl, on this same store, from another process."""
    import sys

    import rootless

    package = os.path.dirname(os.path.dirname(os.path.abspath(rootless.__file__)))
    config = engine.config
    return [sys.executable, "-I", "-S", "-c", _MAIN, package,
            f"--root={config.root}", f"--runroot={config.runroot}"]


# As helpers/rl.c starts it: isolated, with the package's directory behind the standard library.
_MAIN = (
    "import sys; sys.path.append(sys.argv.pop(1)); sys.argv[0] = 'rl'; "
    "from rootless.__main__ import main; sys.exit(main())"
)
