"""Processes: starting helper programs, pidfds, prctl(2), and what a pid stands for."""

import os

from rootless.kernel import ctype, libc

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
SIGTERM = 15

CLOSE_RANGE_CLOEXEC = 4
KEYCTL_JOIN_SESSION_KEYRING = 1
_EDQUOT = 122

_prctl = libc.function("prctl", ctype.c_int, *[ctype.c_ulong] * 4)


def prctl(option, value=0):
    """prctl(2) for the options that take one number; OSError on failure."""
    return libc.call(_prctl, option, value, 0, 0, 0)


def close_range(first, last=0xFFFFFFFF, flags=0):
    """Close (or, with CLOSE_RANGE_CLOEXEC, mark) the descriptors from first to last."""
    libc.syscall("close_range", first, last, flags)


def keep_only(descriptors, above=2):
    """Close every descriptor above ``above`` but the given ones."""
    first = above + 1
    for descriptor in sorted(set(descriptors)):
        if descriptor < first:
            continue
        if descriptor > first:
            close_range(first, descriptor - 1)
        first = descriptor + 1
    close_range(first)


def join_new_session_keyring():
    """Leave the caller's session keyring for an empty one (keyctl(2)).

    A user has a quota of keys (200 by default): past it, containers share one keyring by
    its name.  Some sandboxes filter the call; keys are then out of reach as well.
    """
    for name in (0, b"rl"):
        try:
            libc.syscall("keyctl", KEYCTL_JOIN_SESSION_KEYRING, name)
            return
        except OSError as error:
            if error.errno != _EDQUOT:
                return


def spawn(argv, descriptors=None, environ=None, sigmask=(), keep=(), group=None):
    """Start the program argv[0] (an absolute path) and return its pid.

    ``descriptors`` maps numbers in the child to descriptors here; 0, 1 and 2 are
    /dev/null where not named, and nothing else is passed on (all of rl's descriptors are
    close-on-exec).  ``environ`` is empty by default.  The signal mask becomes ``sigmask``.
    ``keep`` are descriptors that the child has under their own numbers: cheap for many.
    ``group`` 0: it leads a process group of its own.
    """
    table = {0: None, 1: None, 2: None}
    table.update(descriptors or {})
    # A source may be a number that an earlier line of the table overwrites, and dup2 of a
    # number to itself would leave close-on-exec set: go through copies above all of them.
    copies, actions = [], []
    floor = max(table) + 1
    try:
        for target, source in table.items():
            if source is None:
                actions.append((os.POSIX_SPAWN_OPEN, target, "/dev/null", os.O_RDWR, 0))
                continue
            copies.append(_duplicate(source, floor))
            actions.append((os.POSIX_SPAWN_DUP2, copies[-1], target))
        for descriptor in keep:
            os.set_inheritable(descriptor, True)
        more = {} if group is None else {"setpgroup": group}
        return os.posix_spawn(
            argv[0], argv, environ or {}, file_actions=actions, setsigmask=sigmask, setsigdef=[13],
            **more,
        )  # fmt: skip
    finally:
        for copy in copies:
            os.close(copy)
        for descriptor in keep:
            os.set_inheritable(descriptor, False)


def _duplicate(descriptor, floor):
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor)


def wait_exit(pid):
    """Wait for our child ``pid``: its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_time(pid):
    """When ``pid`` started, in clock ticks since boot (proc(5), stat field 22), as int.

    None if there is no such process or it is a zombie: a pid is only a name for a process
    together with this number and the boot id.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            text = file.read(4096)
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def pidfd(pid):
    """A pidfd for ``pid`` (pidfd_open(2)); ProcessLookupError if there is none."""
    return os.pidfd_open(pid)


def send_signal(pidfd_number, number):
    """Send a signal through a pidfd (pidfd_send_signal(2))."""
    libc.syscall("pidfd_send_signal", pidfd_number, number, 0, 0)


def boot_id():
    """The id of this boot of the machine, as str (random(4))."""
    with open("/proc/sys/kernel/random/boot_id", "rb", 0) as file:
        return file.read(64).decode().strip()


def look_twice(receive, *args):
    """What ``receive(*args)`` of a socket gives; None once the connection is reset.

    Whoever left with something unread resets the connection, and the kernel says so before
    it hands out what was sent (unix(7)): the second look finds it.
    """
    try:
        return receive(*args)
    except ConnectionResetError:
        pass
    try:
        return receive(*args)
    except ConnectionResetError:
        return None
