"""``rl exec``: one more program in a running container, attached or not."""

import os
import select

from rootless.engine import assemble, events, records
from rootless.engine.attach import (
    DetachFilter,
    OutputFailed,
    Screen,
    catch,
    let_go,
    parse_detach_keys,
    write_all,
)
from rootless.engine.control import NotRunning
from rootless.errors import RlError
from rootless.kernel import process, signals
from rootless.runtime import enter

_CHUNK = 32768
_FORWARDED = (1, 2, 3, 15)  # HUP, INT, QUIT, TERM: the program is in a session of its own
_SIGHUP = 1
_EIO = 5


class NoInit(RlError):
    """container {0} is not running: {1}"""

    hint = "start it with: rl start {0}"


class Paused(RlError):
    """container {0} is paused"""

    hint = "let it go on with: rl unpause {0}"


def run(engine, record, request):
    """Run ``request``'s command in the container: its exit code, or 0 once detached.

    With --detach the id of the session, a str.
    """
    state = records.state(engine, record)
    if state["status"] == "paused":
        raise Paused(record["name"])
    if state["status"] != "running":
        raise NoInit(record["name"], f"it is {state['status']}")
    entry = make_entry(engine, record, state["pid"], request)
    session = os.urandom(32).hex()
    events.container(engine, record, "exec", execID=session)
    if request.detach:
        _detached(entry)
        return session
    return _attached(engine, entry, request)


def make_entry(engine, record, pid, request):
    """The runtime.enter.Entry for a request to run something in a container."""
    from rootless.engine.spec.execution import exec_process
    from rootless.kernel import caps

    spec = records.load_spec(engine, record["id"])
    kinds = [one["type"] for one in spec["linux"]["namespaces"]]
    ids = assemble.ids_of(engine, spec)
    entry = enter.Entry(
        pid=pid,
        ids=ids,
        namespaces=sorted({*kinds, "user", "mount"}),
        process=exec_process(spec, request, engine.config.environ, caps.kernel_all()),
        filters=assemble.filters(engine, spec, ids, bool(request.privileged)),
        terminal=bool(request.tty),
        keep_groups=bool(record.get("keep_groups")),
        no_setgroups=ids.single,
        preserved=assemble.preserved(request),
    )
    if os.path.exists(f"{records.run_directory(engine, record['id'])}/cgroup"):
        from rootless.engine import cgroups

        entry.prepare = lambda joining: cgroups.enter(engine, record, joining, pid)
    if not os.path.exists(f"/proc/{pid}"):
        raise NotRunning(record["name"])
    return entry


def _detached(entry):
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    entry.stdio = (null, null, null)
    _, _, master = enter.enter(entry)
    enter.leave(entry, master)


def _attached(engine, entry, request):
    if entry.terminal:
        from rootless.kernel import tty as terminals

        sizes = (terminals.window_size(number) for number in (0, 1, 2))
        entry.window = next((size for size in sizes if size), None)
        return _with_terminal(engine, entry, request)
    null = None
    if not request.interactive:
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        entry.stdio = (null, 1, 2)
    passing = _Signals()
    before = catch(passing.handlers())
    entry.caught = tuple(before)
    try:
        pid, program, _ = enter.enter(entry)
        if null is not None:
            os.close(null)
        passing.meet(program)
        return _code(signals.wait_exit(pid))
    finally:
        let_go(before)


def _code(status):
    return status if status >= 0 else 128 - status


class _Signals:
    """Passes signals on to the program; a terminal that hangs up does it once.

    The program may run, and ask for a signal, before we know it: what comes until ``meet``
    is kept for it.  Who signals again means us.
    """

    def __init__(self):
        self.pidfd = None
        self.early = []
        self.hung_up = False
        self.once = False

    def meet(self, program):
        """The program's pid is known."""
        try:
            self.pidfd = process.pidfd(program)
        except ProcessLookupError:
            pass  # it has ended already
        early, self.early = self.early, None
        for number in early:
            self.pass_on(number)

    def handlers(self):
        return dict.fromkeys(_FORWARDED, self.pass_on)

    def pass_on(self, number, _frame=None):
        if self.early is not None:
            if number in self.early:
                raise KeyboardInterrupt
            self.early.append(number)
            return
        if number == _SIGHUP:
            if self.hung_up and self.once:
                return
            self.hung_up = True
        try:
            if self.pidfd is not None:
                process.send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass


def _with_terminal(engine, entry, request):
    given = request.detach_keys
    keys = parse_detach_keys(engine.config.detach_keys if given is None else given)
    passing = _Signals()
    before = catch(passing.handlers())
    entry.caught = tuple(before)
    try:
        pid, program, master = enter.enter(entry)
    except BaseException:
        let_go(before)
        raise
    session = _Session(pid, passing, master, bool(request.interactive), DetachFilter(keys))
    try:
        passing.meet(program)
        before = {**catch(session.screen.handlers()), **before}
        session.screen.enter()
        left = session.relay()
        if left:
            enter.leave(entry, master)
    finally:
        session.screen.restore()
        let_go(before, session.signals.hung_up)
        os.close(master)
    return 0 if left else _code(signals.wait_exit(pid))


class _Session:
    """Between our terminal and the program's, ``master``.

    ``pid``: the process (E1) that ends with the program, which may leave others behind that
    hold the terminal open.
    """

    def __init__(self, pid, passing, master, stdin, keys):
        self.pid = pid
        self.master = master
        self.stdin = stdin
        self.keys = keys
        self.signals = passing
        self.screen = Screen((0, 1, 2), stdin, self.resize)
        self.signals.once = self.screen.raw is not None

    def resize(self, rows, columns):
        from rootless.kernel import tty as terminals

        terminals.set_window_size(self.master, rows, columns)

    def relay(self):
        """Until one of the two leaves; True if the program goes on without us."""
        master, ended = self.master, process.pidfd(self.pid)
        try:
            with signals.Wakeup() as wakeup:
                poll = select.poll()
                for one in (wakeup, master, ended, *((0,) if self.stdin else ())):
                    poll.register(one, select.POLLIN)
                while True:
                    ready = [descriptor for descriptor, _ in poll.poll()]
                    wakeup.drain()
                    if master in ready:
                        left = self.show()
                        if left is not None:
                            return left
                    if 0 in ready and self.typed(poll):
                        return True
                    if ended in ready and master not in ready:
                        return False
        finally:
            os.close(ended)

    def show(self):
        """Show what the program wrote.  False once its terminal is closed, True if ours is
        gone, else None."""
        try:
            data = os.read(self.master, _CHUNK)
        except OSError:
            return False  # EIO: the other end is closed
        try:
            write_all(1, memoryview(data))
        except BrokenPipeError:
            raise
        except OSError as error:
            if error.errno == _EIO and self.screen.raw is not None:
                return self.hang_up()
            raise OutputFailed(error.strerror) from None
        return None if data else False

    def typed(self, poll):
        """Pass on what was typed; True for the detach keys, or if our terminal is gone."""
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            if self.screen.raw is not None:
                return self.hang_up()
            poll.unregister(0)
            return False
        detach = False
        if self.screen.raw is not None:
            data, detach = self.keys.feed(data)
        if data:
            write_all(self.master, memoryview(data))
        return detach

    def hang_up(self):
        """Our terminal is gone: the program hears of it once, as if it had been its own."""
        self.signals.pass_on(_SIGHUP)
        return True
