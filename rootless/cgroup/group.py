"""The cgroups of one container, from its launch to its end.

rl-ID.scope/           made by systemd, or by us in the delegated cgroup (without .scope)
  monitor/             the monitor and the network helper: never limited, never frozen
  container/           the container's processes, in it before any of their code runs
"""

import errno
import os

from rootless.cgroup import bus, files, place, systemd
from rootless.errors import RlError

_TRIES = 20


class NoCgroup(RlError):
    """cannot make the cgroup {0}: {1}"""

    hint = "rl doctor shows, under limits, what is missing; --cgroups disabled goes without one"


class CannotLimit(RlError):
    """{0}: the kernel does not take {2!r} in {1}: {3}"""

    hint = "give another value, or leave the option out"


class Group:
    """The cgroups of one start of a container.

    ``request`` and ``settle`` are called by the launcher: the first sends systemd its request,
    the second waits for what came of it, so that the id mapping runs meanwhile.

    where     place.Place
    name      of the container's directory, without ``.scope``
    settings  limits.Setting list, to be written before the container runs
    required  False: a container that asked for nothing runs without a cgroup if it can't get one
    monitor   False: leave the launcher where it is (--cgroups no-conmon)
    notes     called with the path of the container's cgroup once it is there
    """

    def __init__(
        self,
        where,
        name,
        settings=(),
        required=False,
        parent=None,
        monitor=True,
        notes=None,
        description="",
    ):
        self.where = where
        self.name = name
        self.settings = settings
        self.required = required
        self.parent = parent
        self.monitor = monitor
        self.notes = notes
        self.description = description
        self.directory = None  # that of the scope
        self._bus = self._serial = None

    # --- the launcher's side ---

    def request(self, stage):
        """Ask for the cgroups of this process and ``stage``; returns before they are there."""
        if self.where.kind != "systemd" or self._again():
            return
        try:
            self._ask(stage, f"{self.name}.scope")
        except bus.BusTrouble:
            self._give_up()
            if self.required:
                raise

    def _again(self):
        """True for a restart by the monitor: it is in the container's scope already."""
        own = files.of_process() or ""
        scope, _, leaf = own.rpartition("/")
        if leaf == "monitor" and scope.rpartition("/")[2].startswith(self.name):
            self.directory = files.TOP + scope
            return True
        return False

    def _ask(self, stage, scope):
        if self._bus is None:
            self._bus = bus.Bus(self.where.bus, os.geteuid())
        self._scope = scope
        pids = [stage, *([os.getpid()] if self.monitor else [])]
        self._serial = systemd.request_scope(self._bus, scope, pids, self.parent, self.description)

    def _give_up(self):
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    def settle(self, stage):
        """Wait for the cgroups, move this process and ``stage`` into them, set the limits.

        Raises NoCgroup, CannotLimit, BusTrouble, Refused if the cgroup is required.
        """
        try:
            self._settle(stage)
        except (NoCgroup, bus.BusTrouble, bus.Refused):
            if self.required:
                raise
            self.directory = None
        finally:
            self._give_up()

    def _settle(self, stage):
        if self.where.kind == "systemd":
            if self.directory is None:
                self._await(stage)
            if self.directory is None:
                return
            self._make(stage)
        elif self.where.kind == "delegated":
            self.directory = f"{self.where.directory}/{self.name}"
            self._make_here(stage)
        else:
            return
        for setting in self.settings:
            self._set(setting)
        if self.notes:
            self.notes(self.container)

    def _await(self, stage):
        if self._bus is None:
            return  # the bus was no help, and nobody insists
        for attempt in range(_TRIES):
            try:
                systemd.await_scope(self._bus, self._serial, self._scope)
                break
            except bus.Refused as error:
                # The scope of the last run may still be on its way out.
                if not systemd.is_taken(error) or attempt == _TRIES - 1:
                    raise
                self._ask(stage, f"{self.name}-{attempt + 2}.scope")
        own = files.of_process(stage)
        if own is None:
            raise NoCgroup(self._scope, "the process is in no cgroup that can be seen")
        self.directory = files.TOP + own

    def _make(self, stage):
        try:
            self._divide(stage)
        except OSError as error:
            raise NoCgroup(self.directory, error.strerror) from None

    def _make_here(self, stage):
        sweep(self.where.directory)
        for _ in range(_TRIES):
            try:
                os.makedirs(self.directory, exist_ok=True)
                if self.settings:
                    hand_on(self.where)
                self._divide(stage)
                return
            except FileNotFoundError:
                continue  # another rl has taken the empty directory for a left-over
            except OSError as error:
                raise NoCgroup(self.directory, error.strerror) from None
        raise NoCgroup(self.directory, "it is removed again and again")

    def _divide(self, stage):
        os.makedirs(self.container, exist_ok=True)
        self._place(stage, self.container)
        if self.monitor:
            os.makedirs(f"{self.directory}/monitor", exist_ok=True)
            self._place(os.getpid(), f"{self.directory}/monitor")
        enable(
            self.directory,
            set(files.read(f"{self.directory}/cgroup.controllers").split())
            & set(place.CONTROLLERS),
        )

    def _place(self, pid, directory):
        if not files.join(directory, pid):
            raise OSError(errno.EPERM, "this user may not move processes into it")

    def _set(self, setting):
        try:
            apply(self.container, setting)
        except CannotLimit:
            if not setting.implied:
                raise

    def keep_out(self, pid):
        """Move a helper of the container's to the monitor: nothing may freeze it."""
        if self.directory and self.monitor:
            try:
                files.join(f"{self.directory}/monitor", pid)
            except OSError:
                pass  # it has ended

    def short_of_memory(self):
        """Whether the kernel has ended processes of the container for lack of memory."""
        killed = files.keyed(f"{self.container}/memory.events") if self.directory else {}
        return killed.get("oom_kill", 0) > 0

    def remove(self):
        """Remove what was made in a delegated cgroup, after the launcher's end; systemd removes
        its scopes itself.  What can't be removed now is what ``sweep`` looks for."""
        if self.where.kind != "delegated":
            return
        directory = f"{self.where.directory}/{self.name}"
        await_end(directory)
        files.remove(directory)

    @property
    def container(self):
        """The directory of the container's processes; None without one."""
        return f"{self.directory}/container" if self.directory else None


def apply(directory, setting):
    """Write one limits.Setting.  Raises CannotLimit."""
    for text in setting.texts:
        try:
            files.write(f"{directory}/{setting.file}", text)
        except FileNotFoundError:
            why = "the kernel has no such file here"
            raise CannotLimit(setting.option, setting.file, text, why) from None
        except OSError as error:
            raise CannotLimit(setting.option, setting.file, text, error.strerror) from None


def enable(directory, controllers):
    """Hand controllers on to what is below.  Raises OSError."""
    if controllers:
        files.write(
            f"{directory}/cgroup.subtree_control",
            " ".join(f"+{name}" for name in sorted(controllers)),
        )


def sweep(parent):
    """Remove what containers that have ended left in a delegated cgroup: empty directories."""
    try:
        names = [
            name
            for name in os.listdir(parent)
            if name.startswith(place.PREFIX) and name != place.CALLERS
        ]
    except OSError:
        return
    for name in names:
        if files.keyed(f"{parent}/{name}/cgroup.events").get("populated") == 0:
            files.remove(f"{parent}/{name}")


def await_end(directory):
    """Wait, for two seconds at most, until no process is left in a cgroup: killed ones take
    a moment, and nobody is there to reap those that are not one's own."""
    import select

    try:
        descriptor = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    watch = select.poll()
    watch.register(descriptor, select.POLLPRI)
    try:
        for _ in range(40):
            if b"populated 1" not in os.pread(descriptor, 4096, 0):
                return
            watch.poll(50)
    finally:
        os.close(descriptor)


def hand_on(where):
    """Enable all controllers of a delegated cgroup for those below it.  Raises OSError.

    A cgroup with processes of its own can't (cgroup-v2.rst, "No Internal Process Constraint"):
    whoever is in it, the shell that called rl for one, goes into a leaf.
    """
    parent = where.directory
    missing = where.controllers - set(files.read(f"{parent}/cgroup.subtree_control").split())
    if not missing:
        return
    leaf = f"{parent}/{place.CALLERS}"
    os.makedirs(leaf, exist_ok=True)
    for _ in range(_TRIES):
        for pid in files.read(f"{parent}/cgroup.procs").split():
            try:
                files.join(leaf, pid)
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise
        try:
            enable(parent, missing)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EBUSY, "processes come into it faster than they can be moved")


def share(where, directory):
    """Make ``directory`` below a delegated cgroup, with its controllers.  Raises NoCgroup."""
    try:
        hand_on(where)
        path = where.directory
        for part in directory[len(path) + 1 :].split("/"):
            if path != where.directory:
                enable(path, where.controllers)
            path = f"{path}/{part}"
            os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise NoCgroup(directory, error.strerror) from None


# --- a container that runs -----------------------------------------------------------------


def enter(directory, pid, where, uid):
    """Move a process of ``rl exec`` into a container's cgroup.

    Directly, or by systemd from a session that isn't ours.  Raises NoCgroup, BusTrouble,
    Refused.
    """
    try:
        if files.join(directory, pid):
            return
    except OSError as error:
        raise NoCgroup(directory, error.strerror) from None
    scope, _, leaf = directory.rpartition("/")
    name = scope.rpartition("/")[2]
    if where.kind != "systemd" or not name.endswith(".scope"):
        raise NoCgroup(directory, "this user may not move processes into it")
    with bus.Bus(where.bus, uid) as connection:
        systemd.attach(connection, name, f"/{leaf}", pid)


def freeze(directory, frozen):
    """Stop or continue everything in a cgroup; True once the kernel says that it is so."""
    files.write(f"{directory}/cgroup.freeze", "1" if frozen else "0")
    import select

    descriptor = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    watch = select.poll()
    watch.register(descriptor, select.POLLPRI)
    try:
        for _ in range(200):
            text = os.pread(descriptor, 4096, 0).decode()
            if f"frozen {int(frozen)}" in text:
                return True
            watch.poll(50)
    finally:
        os.close(descriptor)
    return False


def kill(directory):
    """SIGKILL to everything in a cgroup at once (cgroup.kill, Linux 5.14); False without it."""
    try:
        files.write(f"{directory}/cgroup.kill", "1")
    except OSError:
        return False
    return True
