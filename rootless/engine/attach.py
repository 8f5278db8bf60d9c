"""Being attached: the relay between this terminal and a container's monitor.

The other side of docs/monitor.md, "Messages", for ``run``, ``start -a``, ``exec`` and
``attach``.  One poll loop over the monitor's socket and standard input; what must not wait
for it (signals, the window's size) is sent by the signal handlers themselves, because a
packet is sent whole or not at all.
"""

import _signal
import os
import select

from rootless.errors import RlError
from rootless.kernel.process import look_twice
from rootless.kernel.signals import Wakeup
from rootless.model import jsontext

# Not from the signal module: its import costs 5 ms.
_SIGHUP, _SIGINT, _SIGQUIT, _SIGTERM = 1, 2, 3, 15
_SIGTSTP, _SIGCONT, _SIGWINCH = 20, 18, 28
# Left alone: what can't be caught, faults of our own, job control, and SIGCHLD, SIGPIPE,
# SIGURG, SIGWINCH, which are about this process (podman-run(1), --sig-proxy).
_PROXIED = (_SIGHUP, _SIGINT, _SIGQUIT, 10, 12, 14, _SIGTERM, 16, 24, 25, 26, 27, 29, 30)
_ENDING = (_SIGHUP, _SIGINT, _SIGQUIT, _SIGTERM)

_LARGEST = 32768
_BULK = 2048
_IN_A_ROW = 16
_MSG_DONTWAIT = 0x40
_OOM, _STOPPED, _RESTART, _UNSTARTED, _TIMED_OUT = 1, 2, 4, 8, 16
_EPIPE, _EIO, _EAGAIN, _EINTR, _EBADF = 32, 5, 11, 4, 9

DETACH_KEYS = "ctrl-p,ctrl-q"
NOT_A_TERMINAL = (
    "The input device is not a TTY. The --tty and --interactive flags might not work properly"
)


class BadDetachKeys(RlError):
    """invalid detach keys {0!r}: {1!r} is not a key"""

    hint = "write letters or ctrl-LETTER with commas between, or nothing to do without"


class OutputFailed(RlError):
    """cannot pass on the container's output: {0}"""

    hint = "the container still runs: see it with rl ps, its output with rl logs"


class Outcome:
    """Why a relay ended.

    kind       "exit": the container ended; "detached": the keys were typed or the terminal
               hung up (``text`` says which); "failed": it was never started; "closed":
               nobody reads our output any more (podman dies of SIGPIPE then: exit 141);
               "dropped": the monitor sent us away, ``text`` says why; "lost": the monitor
               is gone
    code       exit code, for "exit" and (if the monitor told one) "failed"; else None
    signal     the signal that ended the container, or 0
    oom, stopped, restart, timed_out   bool, for "exit"
    error      for "failed": the launch error, a dict with at least "text" (and "step",
               "errno" where the launcher gave them)
    """

    def __init__(self, kind, packet=None, error=None, text=""):
        flags = packet[3] if packet else 0
        self.kind = kind
        self.code = packet[1] if packet else None
        self.signal = packet[2] if packet else 0
        self.oom = bool(flags & _OOM)
        self.stopped = bool(flags & _STOPPED)
        self.restart = bool(flags & _RESTART)
        self.timed_out = bool(flags & _TIMED_OUT)
        self.error = error
        self.text = text


def parse_detach_keys(text):
    """The byte sequence of ``--detach-keys``, e.g. ``ctrl-p,ctrl-q`` → ``b"\\x10\\x11"``.

    A key is one character or ``ctrl-`` with a letter or one of ``@ [ \\ ] ^ _``; an empty
    text is no sequence (b"").  Raises BadDetachKeys.  Source: podman-run(1).
    """
    keys = bytearray()
    if not text:
        return b""
    for word in text.split(","):
        if len(word) == 1 and word.isascii():
            keys += word.encode()
            continue
        key = word[5:].lower() if word[:5] == "ctrl-" else ""
        if len(key) != 1 or not ("a" <= key <= "z" or key in "@[\\]^_"):
            raise BadDetachKeys(text, word)
        keys.append(ord(key.upper()) & 0x1F)
    return bytes(keys)


class DetachFilter:
    """Finds the detach sequence in what is typed, also across reads.

    Keys that may begin the sequence are held back until the next key decides.
    """

    def __init__(self, keys):
        self._keys = keys
        self._held = b""

    def feed(self, data):
        """(bytes to pass on, True when the sequence is complete)."""
        if not self._keys or (not self._held and self._keys[0] not in data):
            return data, False
        data = self._held + data
        at = data.find(self._keys)
        if at >= 0:
            self._held = b""
            return data[:at], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                self._held = data[-length:]
                return data[:-length], False
        self._held = b""
        return data, False


def launch_error(text):
    """A launch error (docs/monitor.md) as dict with at least "text"."""
    if not text:
        return {"text": "it was killed before its program was started"}
    try:
        error = jsontext.loads(text)
    except jsontext.DecodeError:
        error = None
    if not isinstance(error, dict) or not isinstance(error.get("text"), str):
        return {"text": bytes(text).decode("utf-8", "replace")}
    return error


def receive(sock, buffer, flags=0):
    """The length of the next packet, 0 at the end of the connection."""
    return look_twice(sock.recv_into, buffer, 0, flags) or 0


def write_all(fd, data):
    """Write all of ``data`` (memoryview), also to a descriptor that somebody else has set
    to non-blocking."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            ready = select.poll()
            ready.register(fd, select.POLLOUT)
            ready.poll()


class Screen:
    """Our terminal while a program's own is shown on it: raw mode, size, job control.

    ``window``  the descriptor whose size counts, or None
    ``raw``     kernel.tty.Raw of what is typed on, or None
    ``resize``  passes a size on: resize(rows, columns)
    """

    def __init__(self, descriptors, stdin, resize):
        self.window = next((fd for fd in descriptors if os.isatty(fd)), None)
        self.raw = self._size = None
        if self.window is not None:  # else there is nothing to load it for
            from rootless.kernel import tty

            self._size = tty.window_size
            if stdin and os.isatty(descriptors[0]):
                self.raw = tty.Raw(descriptors[0])
        self.resize = resize

    def handlers(self):
        """Signal number → handler, to ``catch`` before ``enter``."""
        found = {}
        if self.raw is not None:
            found.update({_SIGTSTP: self.on_stop, _SIGCONT: self.on_continue})
        if self.window is not None:
            found[_SIGWINCH] = self.on_window
        return found

    def enter(self):
        """Raw mode from here on, and the size as it is."""
        if self.raw is not None:
            self.raw.enter()
        if self.window is not None:
            self.on_window(_SIGWINCH, None)

    def restore(self):
        """Give the terminal back for good: a late SIGCONT mustn't take it again."""
        raw, self.raw = self.raw, None
        if raw is not None:
            raw.leave()

    def on_stop(self, number, _frame):
        # Sent from elsewhere: in raw mode ^Z goes to the container.
        self.raw.leave()
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
        _signal.signal(number, self.on_stop)
        self.on_continue(number, _frame)

    def on_continue(self, _number, _frame):
        # The shell has used the terminal in between, in another mode and perhaps size.
        try:
            if self.raw is not None:
                self.raw.enter()
        except OSError:
            return  # it hung up: SIGCONT comes with SIGHUP then, and reading will show it
        self.on_window(_number, _frame)

    def on_window(self, _number, _frame):
        size = self._size(self.window)
        if size is not None:
            self.resize(*size)


def catch(handlers):
    """Install signal handlers; what ``let_go`` puts back.  What our caller ignores (nohup)
    stays ignored."""
    before = {}
    for number, handler in handlers.items():
        if _signal.getsignal(number) != _signal.SIG_IGN:
            before[number] = _signal.signal(number, handler)
    return before


def let_go(before, hung_up=False):
    """Put back the handlers that ``catch`` replaced; after a hang-up SIGHUP stays ignored,
    so that the caller can finish."""
    for number, handler in before.items():
        if hung_up and number == _SIGHUP:
            handler = _signal.SIG_IGN
        _signal.signal(number, _signal.SIG_DFL if handler is None else handler)


class _Relay:
    def __init__(self, sock, descriptors, stdin, tty, detach_keys, kill, on_start):
        self.sock = sock
        self.stdin, self.stdout, self.stderr = descriptors
        if not stdin:
            self.stdin = None
        self.kill = kill
        self.on_start = on_start
        self.detach = DetachFilter(detach_keys)
        self.screen = Screen(descriptors if tty else (), tty and stdin, self.send_size)
        self.credit = True
        self.proxy = False
        self.hung_up = False
        self.failure = None
        self.buffer = bytearray(_LARGEST + 1)

    # Called from signal handlers: any bytecode of the loop may be interrupted by them.

    def on_proxied(self, number, _frame):
        if number == _SIGHUP:
            if self.hung_up and self.screen.raw is not None:
                return
            self.hung_up = True
        if self.kill is not None:
            self.kill(number)
        else:
            self.send(b"K" + bytes((number, number in _ENDING)))

    def on_deadly(self, number, _frame):
        self.screen.restore()
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def send_size(self, rows, columns):
        self.send(b"R" + rows.to_bytes(2, "little") + columns.to_bytes(2, "little"))

    def send(self, packet):
        """Send a packet; a monitor that is gone shows when receiving."""
        try:
            self.sock.send(packet)
            return True
        except OSError:
            return False

    # The two directions.

    def read_stdin(self):
        """Pass on a piece of standard input; an Outcome if the user has typed the detach
        keys or the terminal is gone."""
        try:
            data = os.read(self.stdin, _LARGEST)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in (_EIO, _EBADF):
                raise OutputFailed(f"standard input: {error.strerror}") from None
            data = b""
        if not data:
            if self.screen.raw is not None:
                return self.hang_up()
            self.stdin = None
            self.send(b"E")
            return None
        detached = False
        if self.screen.raw is not None:
            data, detached = self.detach.feed(data)
        if data:
            self.credit = not self.send(b"I" + data)
        if not detached:
            return None
        self.send(b"D")
        return Outcome("detached", text="the detach keys were typed")

    def hang_up(self):
        """Our terminal is gone, and perhaps the SIGHUP that says so isn't here yet: the
        container gets its SIGHUP once, and when ours comes it finds nothing left to end."""
        if self.proxy:
            self.on_proxied(_SIGHUP, None)
        self.send(b"D")
        return Outcome("detached", text="the terminal hung up")

    def hear_all(self):
        """What the monitor has sent; an Outcome if the last packet is among it.  Where large
        packets come one after the other, poll is asked only now and then."""
        length = receive(self.sock, self.buffer)
        for _ in range(_IN_A_ROW):
            outcome = self.hear(length)
            if outcome is not None or length < _BULK:
                return outcome
            try:
                length = receive(self.sock, self.buffer, _MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return self.hear(length)

    def hear(self, length):
        """One packet of that length in the buffer; an Outcome if it is the last one."""
        if not length:
            if self.failure is not None:
                return Outcome("failed", error=self.failure)
            return Outcome("lost")
        view = memoryview(self.buffer)[1:length]
        kind = self.buffer[0]
        if kind == 0x6F:
            return self.put(self.stdout, view)
        if kind == 0x65:
            return self.put(self.stderr, view)
        if kind == 0x69:
            self.credit = True
        elif kind == 0x73 and self.on_start is not None:
            self.on_start(int.from_bytes(view[:4], "little"))
        elif kind == 0x6C:
            self.failure = launch_error(bytes(view))
        elif kind == 0x78:
            packet = bytes(self.buffer[:4])
            if self.failure is not None or packet[3] & _UNSTARTED:
                return Outcome("failed", packet, error=self.failure or launch_error(b""))
            return Outcome("exit", packet)
        elif kind == 0x62:
            return Outcome("dropped", text=bytes(view).decode("utf-8", "replace"))
        return None

    def put(self, fd, view):
        try:
            write_all(fd, view)
        except OSError as error:
            if error.errno == _EIO and self.screen.raw is not None:
                return self.hang_up()
            if error.errno in (_EPIPE, _EIO, _EBADF):
                return Outcome("closed")
            raise OutputFailed(error.strerror) from None
        return None

    def run(self, wakeup):
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        watched = None
        while True:
            wanted = self.stdin if self.credit else None
            if watched != wanted:
                if watched is not None:
                    poll.unregister(watched)
                if wanted is not None:
                    poll.register(wanted, select.POLLIN)
                watched = wanted
            for fd, _ in poll.poll():
                if fd == wakeup.fileno():
                    wakeup.drain()
                    continue
                outcome = self.read_stdin() if fd == watched else self.hear_all()
                if outcome is not None:
                    return outcome


def _handlers(relay, sig_proxy):
    """Signal number → handler, for the duration of the relay."""
    handlers = {}
    if sig_proxy:
        handlers.update(dict.fromkeys(_PROXIED, relay.on_proxied))
    elif relay.screen.raw is not None:
        handlers.update(dict.fromkeys(_ENDING, relay.on_deadly))
    return {**handlers, **relay.screen.handlers()}


def relay(sock, *, stdin=True, tty=False, detach_keys=DETACH_KEYS, sig_proxy=True, kill=None,
          on_start=None, descriptors=(0, 1, 2)):
    """Pass everything on between this process and the container until one of them leaves.

    ``sock`` is connected to the monitor and attached already (``attach=`` or ``A``).
    ``stdin``: pass standard input on.  ``tty``: the container has a terminal; if ours is
    one too it is in raw mode for as long as this runs and its size is kept equal.
    ``detach_keys`` as typed by the user; they count in raw mode only, so that no data can
    contain them by accident.  ``sig_proxy``: signals that reach this process go to the
    container, by ``kill(number)`` if given, else through the monitor.
    ``on_start(pid)`` is called when the program runs.

    Returns an Outcome.  Raises BadDetachKeys, OutputFailed.  The terminal and all signal
    handlers are as before on every way out, death by a signal included; only SIGHUP stays
    ignored after a hang-up, so that the caller can finish.
    """
    keys = parse_detach_keys(detach_keys)
    this = _Relay(sock, descriptors, stdin, tty, keys, kill, on_start)
    this.proxy = sig_proxy
    sock.settimeout(None)  # with one, Python waits where MSG_DONTWAIT says not to
    before = {}
    try:
        before = catch(_handlers(this, sig_proxy))
        this.screen.enter()
        with Wakeup() as wakeup:
            return this.run(wakeup)
    finally:
        this.screen.restore()
        let_go(before, this.hung_up)
