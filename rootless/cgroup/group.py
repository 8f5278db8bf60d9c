"""The cgroups of one container, from its launch to its end.

rl-ID.scope/           made by systemd, or by us in the delegated cgroup (without .scope)
  monitor/             the monitor and the network helper: never limited, never frozen
  container/           the container's processes, in it before any of their code runs
"""

import errno
import os
import select
from time import sleep

from rootless.cgroup import bus, files, limits, place, systemd
from rootless.errors import RlError

_TRIES = 20
_PAUSE = 0.2  # seconds; systemd starts itself anew in less than two


class NoCgroup(RlError):
    """cannot make the cgroup {0}: {1}"""

    hint = "rl doctor shows, under limits, what is missing; --cgroups disabled goes without one"


class CannotEnter(RlError):
    """a program cannot be moved into the container's cgroup {0}: {1}"""

    hint = "type it where the container was started: in that session, job or unit"


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
    parent    slice of systemd, or path below a delegated cgroup; it is made if it isn't there
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
        """True for a restart by the monitor: it is in the container's own cgroup already."""
        own = files.of_process() or ""
        scope, _, leaf = own.rpartition("/")
        if leaf == "monitor" and os.path.basename(scope).startswith(self.name):
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
            if self._again():
                self._make(stage)
            else:
                self.directory = f"{self._above()}/{self.name}"
                self._make_here(stage)
        else:
            return
        for setting in self.settings:
            self._set(setting)
        if self.notes:
            self.notes(self.container)

    def _above(self):
        """Where the container's own directory is, in a delegated cgroup."""
        parent = (self.parent or "").strip("/")
        return f"{self.where.directory}/{parent}" if parent else self.where.directory

    def _await(self, stage):
        if self._bus is None:
            return  # the bus was no help, and nobody insists
        left = False
        for attempt in range(_TRIES):
            try:
                systemd.await_scope(self._bus, self._serial, self._scope)
                break
            except (bus.Refused, bus.BusTrouble) as error:
                if self._arrived(stage):
                    break  # its word of that was lost when it read its units anew
                if isinstance(error, bus.BusTrouble):
                    raise
                left = left or systemd.has_left(error)
                gone = systemd.is_absent(error)
                if gone and not left:
                    raise bus.BusTrouble(self._bus.path, "there is no systemd on it") from None
                # The scope of the last run may still be on its way out.
                again = systemd.is_taken(error) or left and (gone or systemd.has_left(error))
                if not again or attempt == _TRIES - 1:
                    raise
                if left:
                    sleep(_PAUSE)
                self._ask(stage, f"{self.name}-{attempt + 2}.scope")
        if not self._arrived(stage):
            # It was told a number that means another process where systemd is.
            raise NoCgroup(self._scope, "systemd has not moved the process into it; rl must run in"
                           " the process namespace of the user's systemd")  # fmt: skip
        self.directory = files.TOP + files.of_process(stage)

    def _arrived(self, stage):
        return (files.of_process(stage) or "").rpartition("/")[2] == self._scope

    def _make(self, stage):
        try:
            self._divide(stage)
        except OSError as error:
            raise NoCgroup(self.directory, _why(error)) from None

    def _make_here(self, stage):
        sweep(self.where.directory)
        for _ in range(_TRIES):
            try:
                if self._above() != self.where.directory:
                    share(self.where, self._above(), self._needed())
                _mkdir(self.directory)
                if any(not setting.implied for setting in self.settings):
                    hand_on(self.where, self._needed())
                self._divide(stage)
                return
            except FileNotFoundError:
                continue  # another rl has taken the empty directory for a left-over
            except OSError as error:
                raise NoCgroup(self.directory, _why(error)) from None
        raise NoCgroup(self.directory, "it is removed again and again")

    def _needed(self):
        """The controllers that are enabled: those of containers, and what else was asked for."""
        return set(place.CONTROLLERS) | {setting.controller for setting in self.settings}

    def _divide(self, stage):
        os.makedirs(self.container, exist_ok=True)
        self._place(stage, self.container)
        if self.monitor:
            os.makedirs(f"{self.directory}/monitor", exist_ok=True)
            self._place(os.getpid(), f"{self.directory}/monitor")
        enable(
            self.directory,
            set(files.read(f"{self.directory}/cgroup.controllers").split())
            & self._needed(),
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
        if self.where.kind == "delegated":
            remove(f"{self._above()}/{self.name}")

    @property
    def container(self):
        """The directory of the container's processes; None without one."""
        return f"{self.directory}/container" if self.directory else None


def apply(directory, setting):
    """Write one limits.Setting for the container's cgroup at ``directory``.  Raises CannotLimit."""
    levels = [directory]
    if setting.file == "memory.low" and not os.path.dirname(directory).endswith(".scope"):
        levels.append(os.path.dirname(directory))  # a protection holds as far as it does above
    for level in levels:
        for text in setting.texts:
            if text == limits.ALL:  # a group with processes in it takes no empty set
                text = files.read(f"{os.path.dirname(level)}/{setting.file}.effective").strip()
            try:
                files.write(f"{level}/{setting.file}", text)
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


def remove(directory):
    """Remove the directory of a container that ends in a delegated cgroup, and the parents that
    were made for it if it was the last one there."""
    await_end(directory)
    files.remove(directory)
    parent = os.path.dirname(directory)
    while files.is_marked(parent):
        sweep(parent)
        try:
            os.rmdir(parent)
        except OSError:
            return  # others are in it
        parent = os.path.dirname(parent)


def sweep(parent):
    """Remove what containers that have ended left in a delegated cgroup: empty directories."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for name in names:
        path = f"{parent}/{name}"
        if name.startswith(place.PREFIX):
            if name != place.CALLERS and _is_empty(path):
                files.remove(path)
        elif files.is_marked(path):
            sweep(path)
            if _is_empty(path):
                files.remove_empty(path)


def _is_empty(path):
    return files.keyed(f"{path}/cgroup.events").get("populated") == 0


def await_end(directory):
    """Wait, for two seconds at most, until no process is left in a cgroup: killed ones take
    a moment, and nobody is there to reap those that are not one's own."""
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


def hand_on(where, needed):
    """Enable the controllers ``needed`` (set), as far as a delegated cgroup has them, for those
    below it.  Raises OSError.

    A cgroup with processes of its own can't (cgroup-v2.rst, "No Internal Process Constraint"):
    whoever is in it, the shell that called rl for one, goes into a leaf.
    """
    parent = where.directory
    missing = where.controllers & needed - _enabled(parent)
    if not missing:
        return
    leaf = f"{parent}/{place.CALLERS}"
    os.makedirs(leaf, exist_ok=True)
    stuck = ""
    for _ in range(_TRIES):
        for pid in files.read(f"{parent}/cgroup.procs").split():
            try:
                if not files.join(leaf, pid):
                    stuck = pid
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise
        try:
            enable(parent, missing)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise OSError(errno.EBUSY, f"process {stuck} in it is another user's" if stuck
                  else "processes come into it faster than they can be moved")  # fmt: skip


def _enabled(directory):
    return set(files.read(f"{directory}/cgroup.subtree_control").split())


def share(where, directory, needed):
    """Make ``directory`` below a delegated cgroup, with the controllers ``needed`` for those in
    it.  What is made here is marked, and goes with its last container; what somebody else has
    made stays, with its limits.  Raises OSError.
    """
    hand_on(where, needed)
    path = where.directory
    for part in directory[len(path) + 1 :].split("/"):
        path = f"{path}/{part}"
        if _mkdir(path):
            files.mark(path)
        missing = where.controllers & needed - _enabled(path)
        enable(path, missing)


def _mkdir(path):
    """Make a directory in one that is there; True unless it was there already."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    return True


def extend(where, directory, needed):
    """Give the container's cgroup at ``directory`` controllers that its parent had not been
    asked to hand on when it started.  Raises NoCgroup."""
    scope = os.path.dirname(directory)
    try:
        hand_on(where, needed)
        path = where.directory
        for part in scope[len(path) + 1 :].split("/"):
            path = f"{path}/{part}"
            enable(path, where.controllers & needed - _enabled(path))
    except OSError as error:
        raise NoCgroup(directory, _why(error)) from None


def _why(error):
    """What an OSError means here (cgroup-v2.rst: cgroup.max.*, cgroup.type)."""
    if error.errno == errno.EAGAIN:
        return "no more of them may be made below this one (cgroup.max.descendants, .depth)"
    if error.errno == errno.EOPNOTSUPP:
        return "it is a group for threads (cgroup.type)"
    return error.strerror


# --- a container that runs -----------------------------------------------------------------


def enter(directory, pid, where, uid, first):
    """Move a process of ``rl exec`` into a container's cgroup.

    Directly, or by systemd from a session that isn't ours.  A container that has divided its
    cgroup, as systemd does, takes it beside its own process ``first``.  Raises CannotEnter,
    BusTrouble, Refused.
    """
    target = directory
    if _enabled(directory):  # no process may be in it ("No Internal Process Constraint")
        own = files.TOP + (files.of_process(first) or "")
        target = own if own.startswith(f"{directory}/") else directory
    try:
        if files.join(target, pid):
            return
    except OSError as error:
        raise CannotEnter(target, _why(error)) from None
    scope = os.path.dirname(directory)
    name = os.path.basename(scope)
    if where.kind != "systemd" or not name.endswith(".scope"):
        raise CannotEnter(target, "this user may not move processes into it")
    with bus.Bus(where.bus, uid) as connection:
        systemd.attach(connection, name, target[len(scope) :], pid)


def freeze(directory, frozen):
    """Stop or continue everything in a cgroup; True once the kernel says that it is so.

    What can't be frozen, because a process hangs in the kernel, goes on.
    """
    files.write(f"{directory}/cgroup.freeze", "1" if frozen else "0")
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
    if frozen:
        files.write(f"{directory}/cgroup.freeze", "0")
    return False


def kill(directory):
    """SIGKILL to everything in a cgroup at once (cgroup.kill, Linux 5.14); False without it."""
    try:
        files.write(f"{directory}/cgroup.kill", "1")
    except OSError:
        return False
    return True
