"""User namespaces: which ids the caller may map, and running code under such a map.

See user_namespaces(7), newuidmap(1), subuid(5).
"""

import marshal
import os
from _thread import allocate_lock

from rootless.errors import RlError
from rootless.kernel import libc, process
from rootless.model.idmap import Ids, Range, stack, text, to_outside, total

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_SIGCHLD = 17
_EVERY_ID = 0xFFFFFFFF
_NS_GET_PARENT = 0xB702
_CAP_SETGID, _CAP_SETUID = 6, 7
_forking = allocate_lock()


class NoUserNamespace(RlError):
    """cannot make a user namespace: {0}"""

    hint = "rl doctor says what is in the way and which command removes it"


class MapFailed(RlError):
    """{0} could not map the ids of the user namespace: {1}"""

    hint = "rl doctor says what is in the way and which command removes it"


class ChildDied(RlError):
    """a helper process of rl ended early ({0})"""


def unshare(flags):
    """unshare(2)."""
    libc.syscall("unshare", flags)


def setns(descriptor, flags=0):
    """setns(2): ``descriptor`` is of a namespace, or a pidfd with the CLONE_NEW* wanted."""
    libc.syscall("setns", descriptor, flags)


def fork_into(flags):
    """fork(2) into new namespaces (clone(2)): 0 in the child, its pid in the parent.

    One call for what takes two forks otherwise, because a process can't enter a new pid
    namespace itself.  Python isn't told, as it is by os.fork: only for a process without
    threads whose child becomes another program.  NoUserNamespace if that is refused.
    """
    try:
        return libc.syscall("clone", flags | _SIGCHLD, 0, 0, 0, 0)
    except OSError as error:
        raise _refused(error) from None


# --- which ids may be mapped ---------------------------------------------------------------


def read_map(path):
    """The ranges in a uid_map or gid_map file, as a tuple of Range."""
    with open(path, "rb", 0) as file:
        lines = file.read(65536).decode().splitlines()
    return tuple(Range(*map(int, line.split())) for line in lines)


def may_set_ids():
    """True if this process may write any map: it has CAP_SETUID and CAP_SETGID."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status", "rb", 0) as file:
        status = file.read(8192)
    start = status.index(b"CapEff:") + 7
    caps = int(status[start : status.index(b"\n", start)], 16)
    return bool(caps >> _CAP_SETUID & 1 and caps >> _CAP_SETGID & 1)


def subordinate(content, name, uid):
    """The (start, count) pairs that the text of /etc/subuid or /etc/subgid gives a user.

    Lines count by login name or by number, as newuidmap(1) reads them; several are joined,
    ones that overlap earlier ones or make no sense are left out.
    """
    pools = []
    for line in content.splitlines():
        owner, _, rest = line.strip().partition(":")
        if owner not in (name, str(uid)):
            continue
        start, _, count = rest.partition(":")
        if not (start.isdecimal() and count.isdecimal()):
            continue
        start, count = int(start), int(count)
        if count == 0 or start == 0 or start + count > _EVERY_ID:
            continue
        if any(start < s + c and s < start + count for s, c in pools):
            continue
        pools.append((start, count))
    return pools


def _read_text(path):
    try:
        with open(path, "rb", 0) as file:
            return file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""


def own_pools(uid):
    """The subordinate (uids, gids) of user ``uid``: two lists of (start, count)."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return (
        subordinate(_read_text("/etc/subuid"), name, uid),
        subordinate(_read_text("/etc/subgid"), name, uid),
    )


def single_ids():
    """The lowest rung: root inside is the caller outside, and nobody else exists."""
    uid, gid = os.geteuid(), os.getegid()
    return Ids([Range(0, uid, 1)], [Range(0, gid, 1)], "single")


def find_ids(programs):
    """The ids that the caller may map, as Ids: the best rung that looks possible.

    ``programs`` maps "newuidmap" and "newgidmap" to absolute paths or None.  Nothing is
    tried out here; ``call_in`` is the proof.
    """
    if may_set_ids():
        uids, gids = read_map("/proc/self/uid_map"), read_map("/proc/self/gid_map")
        uids = tuple(Range(inside, inside, count) for inside, _, count in uids)
        gids = tuple(Range(inside, inside, count) for inside, _, count in gids)
        if total(uids) == 1 or total(gids) == 1:
            return single_ids()  # inside a namespace that has the lowest rung
        if to_outside(uids, 0) == 0 and to_outside(gids, 0) == 0:
            return Ids(uids, gids, "range", direct=True)
    if programs.get("newuidmap") and programs.get("newgidmap"):
        uid_pools, gid_pools = own_pools(os.geteuid())
        if uid_pools and gid_pools:
            uids, gids = stack(os.geteuid(), uid_pools), stack(os.getegid(), gid_pools)
            return Ids(uids, gids, "range", programs=programs)
    return single_ids()


# --- making one ----------------------------------------------------------------------------


def enter_new():
    """Put this process into a new user namespace, unmapped; NoUserNamespace if refused."""
    try:
        unshare(CLONE_NEWUSER)
    except OSError as error:
        raise _refused(error) from None


def _refused(error):
    reason = {
        1: "the kernel or a security module forbids it (EPERM)",
        22: "this process has threads, or the kernel was built without them (EINVAL)",
        28: "the limit user.max_user_namespaces is reached (ENOSPC)",
        38: "the kernel was built without them, or a sandbox hides them (ENOSYS)",
    }.get(error.errno, error.strerror)
    return NoUserNamespace(reason)


def become_root():
    """Take on id 0 of the namespace this process has just been mapped in.

    Where 0 isn't mapped (keep-id with one id), it stays who it is: what it may do there are
    its capabilities, whatever its id.
    """
    for change in (os.setresgid, os.setresuid):
        try:
            change(0, 0, 0)
        except OSError as error:
            if error.errno != 22:  # EINVAL: no such id
                raise


def drop_groups():
    """Leave the caller's supplementary groups, where the namespace lets us."""
    try:
        os.setgroups([])
    except PermissionError:
        pass  # setgroups is denied with a single id: the groups stay, shown as nobody


def _write(path, content):
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)


def write_maps(pid, ids):
    """Map the user namespace that process ``pid`` has just entered.

    Called from outside it.  newuidmap and newgidmap run side by side.  Raises MapFailed.
    """
    if ids.single or ids.direct:
        try:
            if ids.single:
                _write(f"/proc/{pid}/setgroups", "deny")
            _write(f"/proc/{pid}/gid_map", text(ids.gids))
            _write(f"/proc/{pid}/uid_map", text(ids.uids))
        except OSError as error:
            raise MapFailed("the kernel", error.strerror) from None
        return
    helpers = []
    for name, ranges in (("newuidmap", ids.uids), ("newgidmap", ids.gids)):
        argv = [ids.programs[name], str(pid)]
        for entry in ranges:
            argv += map(str, entry)
        words = os.memfd_create("said", os.MFD_CLOEXEC)
        try:
            helper = process.spawn(argv, {2: words}, {"PATH": "/usr/bin:/bin"})
        except OSError as error:
            helper = error.strerror
        helpers.append((name, helper, words))
    failure = None
    for name, helper, words in helpers:
        code = helper if isinstance(helper, str) else process.wait_exit(helper)
        if code != 0:
            said = os.pread(words, 4096, 0).decode("utf-8", "replace").strip()
            failure = failure or (name, said or f"it ended with {code}")
        os.close(words)
    if failure:
        raise MapFailed(*failure)
    if _needs_check(pid, ids):
        raise MapFailed("newuidmap", "it ended with 0 but mapped nothing")


def _needs_check(pid, ids):
    """True if the helpers claimed success and the kernel knows no such map."""
    try:
        found = read_map(f"/proc/{pid}/uid_map"), read_map(f"/proc/{pid}/gid_map")
    except OSError:
        return False
    return (len(found[0]), len(found[1])) != (len(ids.uids), len(ids.gids))


def parent_of(descriptor):
    """A descriptor of the user namespace around the one at ``descriptor`` (ioctl_ns(2))."""
    from fcntl import ioctl

    return ioctl(descriptor, _NS_GET_PARENT)


def maps_of(descriptor):
    """The (uids, gids) of the user namespace at ``descriptor``, as seen from here.

    They are shown for processes only (user_namespaces(7)): a child goes in for it.
    """
    entered, tell = os.pipe()
    wait, done = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(done)
            setns(descriptor, CLONE_NEWUSER)
            os.write(tell, b"e")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(wait)
    try:
        if not os.read(entered, 1):
            raise PermissionError(1, os.strerror(1))
        return read_map(f"/proc/{child}/uid_map"), read_map(f"/proc/{child}/gid_map")
    finally:
        os.close(entered)
        os.close(done)
        process.wait_exit(child)


def open_inside(user, namespace, make):
    """A descriptor that ``make()`` opens in the user namespace and the network namespace with
    these descriptors: a socket belongs to the namespace in which it was made.

    A child goes in for it; nothing in there may trace it.  OSError if it may not go in.
    """
    from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

    near, far = socketpair(AF_UNIX, SOCK_SEQPACKET, 0)
    child = os.fork()
    if child == 0:
        try:
            process.prctl(process.PR_SET_DUMPABLE, 0)
            setns(user, CLONE_NEWUSER)
            setns(namespace, CLONE_NEWNET)
            made = make()
            far.sendmsg([b"0"], [(1, 1, made.to_bytes(4, "little"))])
        except OSError as error:
            far.send(str(error.errno or 5).encode())
        finally:
            os._exit(0)
    far.close()
    try:
        word, ancillary, _, _ = near.recvmsg(16, 64)
    finally:
        near.close()
        process.wait_exit(child)
    if not ancillary:
        number = int(word or b"5")
        raise OSError(number, os.strerror(number))
    found = int.from_bytes(ancillary[0][2][:4], "little")
    os.set_inheritable(found, False)
    return found


def enter_child(ids):
    """Put this process into a new user namespace below its own, mapped by ``ids``.

    Their outside numbers are those of the namespace it is in now, where it needs CAP_SETUID
    and CAP_SETGID: a child that stays behind writes the maps.
    """
    me = os.getpid()
    entered, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        code = 1
        try:
            if os.read(entered, 1):
                write_maps(me, ids)
                code = 0
        finally:
            os._exit(code)
    os.close(entered)
    process.prctl(process.PR_SET_DUMPABLE, 1)
    try:
        enter_new()
        os.write(tell, b"e")
    finally:
        os.close(tell)
        code = process.wait_exit(child)
    if code:
        raise MapFailed("the kernel", "it refused the map of a namespace in a namespace")


# --- running a function under a map --------------------------------------------------------


def _pack(error):
    """An exception as plain data, so that the parent can raise its like."""
    kind = type(error)
    if isinstance(error, RlError):
        return ("rl", kind.__module__, kind.__qualname__, _plain(error.args),
                _plain(error.fields), error.hint, error.exit_code)
    if isinstance(error, OSError):
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
        return ("os", error.errno, error.strerror, name)
    import traceback

    return ("bug", "".join(traceback.format_exception(kind, error, error.__traceback__)))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (str, bytes, int, float, type(None))) else str(value)


def _unpack(packed):
    if packed[0] == "rl" and packed[1].startswith("rootless."):
        import sys

        __import__(packed[1])
        found = sys.modules[packed[1]]
        for part in packed[2].split("."):
            found = getattr(found, part)
        error = found.__new__(found)
        RlError.__init__(error, *packed[3], hint=packed[5], **packed[4])
        if error.exit_code != packed[6]:
            error.exit_code = packed[6]
        return error
    if packed[0] == "os":
        return OSError(*packed[1:]) if packed[3] else OSError(*packed[1:3])
    return RuntimeError(packed[1])


class Child:
    """A function at work in a child process; ``wait`` gives what it returned."""

    def __init__(self, pid, result):
        self.pid = pid
        self._result = result

    def wait(self):
        """What the function returned; raises what it raised, or ChildDied."""
        chunks = []
        while chunk := os.read(self._result, 1 << 16):
            chunks.append(chunk)
        os.close(self._result)
        code = process.wait_exit(self.pid)
        self.pid = None
        if not chunks:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise ChildDied(how)
        done, value = marshal.loads(b"".join(chunks))
        if done:
            return value
        raise _unpack(value)

    def kill(self):
        """End the child at once and forget its result."""
        if self.pid is not None:
            os.kill(self.pid, 9)
            os.close(self._result)
            process.wait_exit(self.pid)
            self.pid = None


def finish(result, function, args, describe=None):
    """Call the function and write what came of it to ``result``; ends this process.

    ``describe`` words a defect (an exception that is no error of rl's or the system's).
    """
    try:
        packed = marshal.dumps((True, function(*args)))
        code = 0
    except BaseException as error:
        if describe and not isinstance(error, (RlError, OSError)):
            packed = marshal.dumps((False, ("bug", describe(error))))
        else:
            packed = marshal.dumps((False, _pack(error)))
        code = 1
    view = memoryview(packed)
    while view:
        view = view[os.write(result, view) :]
    os._exit(code)


def start_in(ids, function, *args, mount_ns=False):
    """Fork, and run ``function(*args)`` as root of a new user namespace; returns a Child.

    The function's result must be plain data (marshal).  With ``mount_ns`` the child has a
    mount namespace of its own too, from which nothing propagates back.  The child dies with
    this process.
    """
    me = os.getpid()
    # One at a time: a child of another thread, forked in between, would keep our writing
    # ends open as long as it lives, and we would wait for it as well.
    with _forking:
        ready, entered = os.pipe()
        mapped, go = os.pipe()
        result, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _forking.release()
            os.close(result)
            os.close(go)
            process.prctl(process.PR_SET_PDEATHSIG, 9)
            if os.getppid() != me:
                os._exit(1)
            finish(writer, _enter_and_call, (entered, mapped, mount_ns, function, args))
        os.close(entered)
        os.close(mapped)
        os.close(writer)
    try:
        if os.read(ready, 1):
            write_maps(pid, ids)
            os.write(go, b"m")
    except BaseException:
        os.kill(pid, 9)
        os.close(result)
        process.wait_exit(pid)
        raise
    finally:
        os.close(ready)
        os.close(go)
    return Child(pid, result)


def start_beside(function, *args):
    """Fork, and run ``function(*args)`` as who we are, in no new namespace; returns a Child.

    For work that starts processes itself, several at once: a thread must not.  As for
    ``start_in`` the result is plain data, and the child dies with this process.
    """
    me = os.getpid()
    result, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(result)
        process.prctl(process.PR_SET_PDEATHSIG, 9)
        if os.getppid() != me:
            os._exit(1)
        finish(writer, function, args)
    os.close(writer)
    return Child(pid, result)


def _enter_and_call(entered, mapped, mount_ns, function, args):
    # Written as root before ids were changed: /proc/PID/uid_map must stay the caller's.
    process.prctl(process.PR_SET_DUMPABLE, 1)
    enter_new()
    os.write(entered, b"e")
    if not os.read(mapped, 1):
        os._exit(1)
    os.close(entered)
    os.close(mapped)
    become_root()
    drop_groups()
    if mount_ns:
        from rootless.kernel import mount

        unshare(CLONE_NEWNS)
        mount.set_propagation("/", mount.MS_REC | mount.MS_PRIVATE)
    return function(*args)


def call_in(ids, function, *args, mount_ns=False):
    """``start_in`` and ``wait`` in one: what ``function(*args)`` returned in there."""
    return start_in(ids, function, *args, mount_ns=mount_ns).wait()
