"""The processes of a running container, seen from outside: top, pause, unpause."""

import os

from rootless.engine import events, records
from rootless.engine.control import NotRunning
from rootless.errors import RlError

_STOP, _CONT = 19, 18
FROZEN = b"cgroup"  # in the mark of a paused container: how, if not by SIGSTOP
_ROUNDS = 64


class AlreadyPaused(RlError):
    """container {0} is paused already"""

    hint = "let it go on with: rl unpause {0}"


class NotPaused(RlError):
    """container {0} is not paused"""

    hint = "rl ps -a shows what it does"


class BadColumn(RlError):
    """rl top has no column {0!r}"""

    hint = "the columns are: {1}"


def running_pid(engine, record):
    """The pid of the container's pid 1; NotRunning."""
    state = records.state(engine, record)
    if not state["pid"]:
        raise NotRunning(record["name"])
    return state["pid"]


def pids(engine, record):
    """The pids here of every process in the container's pid namespace, pid 1 first."""
    first = running_pid(engine, record)
    try:
        wanted = os.readlink(f"/proc/{first}/ns/pid")
    except OSError:
        raise NotRunning(record["name"]) from None
    if wanted == os.readlink("/proc/self/ns/pid"):
        return tree(first)  # --pid host: what it has started
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                    found.append(int(name))
            except OSError:
                pass  # ended meanwhile, or somebody else's
    return sorted(found, key=lambda pid: (pid != first, pid))


def tree(first):
    """The pids of a process and of all below it, as far as they can be seen."""
    found, position = [first], 0
    while position < len(found):
        pid = found[position]
        position += 1
        try:
            with open(f"/proc/{pid}/task/{pid}/children", "rb", 0) as file:
                found += [int(word) for word in file.read(65536).split()]
        except OSError:
            pass
    return found


# --- pause ---------------------------------------------------------------------------------


def _mark(engine, record):
    return f"{records.run_directory(engine, record['id'])}/paused"


def pause(engine, record):
    """Stop every process of the container until ``unpause``.

    Its cgroup is frozen where it has one.  Else by SIGSTOP, pid 1 included, which only a sender
    outside the pid namespace can do; again until no new process has appeared, because one that
    is still running may fork.
    """
    mark = _mark(engine, record)
    if os.path.exists(mark):
        raise AlreadyPaused(record["name"])
    running_pid(engine, record)
    stopped = set()
    try:
        noted = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise NotRunning(record["name"]) from None  # removed meanwhile
    with open(noted, "wb", 0) as file:
        if _freeze(engine, record, True):
            file.write(FROZEN)
            rounds = 0
        else:
            rounds = _ROUNDS
    for _ in range(rounds):
        fresh = [pid for pid in pids(engine, record) if pid not in stopped]
        if not fresh:
            break
        _signal(fresh, _STOP)
        stopped.update(fresh)
    events.container(engine, record, "pause")


def wake(engine, record):
    """Let a container that is to be stopped hear of it, if it is paused."""
    try:
        unpause(engine, record)
    except (NotPaused, NotRunning):
        pass


def unpause(engine, record):
    """Let a paused container go on."""
    mark = _mark(engine, record)
    try:
        with open(mark, "rb", 0) as file:
            frozen = file.read(16) == FROZEN
    except FileNotFoundError:
        raise NotPaused(record["name"]) from None
    _freeze(engine, record, False)
    if not frozen:
        _signal(pids(engine, record), _CONT)
    try:
        os.unlink(mark)
    except FileNotFoundError:
        pass  # removed meanwhile, or two of these at once
    events.container(engine, record, "unpause")


def _freeze(engine, record, frozen):
    """Freeze or thaw the container's cgroup; False if it has none."""
    if not os.path.exists(f"{records.run_directory(engine, record['id'])}/cgroup"):
        return False
    from rootless.engine import cgroups

    return cgroups.freeze(engine, record, frozen)


def _signal(targets, number):
    for pid in targets:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


# --- top -----------------------------------------------------------------------------------

_DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")
_HEADINGS = {
    "user": "USER", "huser": "HUSER", "pid": "PID", "hpid": "HPID", "ppid": "PPID",
    "pcpu": "%CPU", "etime": "ELAPSED", "tty": "TTY", "time": "TIME", "args": "COMMAND",
    "comm": "COMMAND", "nice": "NI", "state": "STATE", "rss": "RSS", "vsz": "VSZ",
    "group": "GROUP", "capeff": "EFFECTIVE CAPS", "seccomp": "SECCOMP",
}  # fmt: skip
_SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}


def top(engine, record, columns):
    """The processes as rows of text, the first one the headings (podman-top(1))."""
    names = [word.lower() for text in columns for word in text.split(",") if word] or _DEFAULT
    for name in names:
        if name not in _HEADINGS:
            hint = None
            if name[0] == "-" or name in ("aux", "ax", "ef"):
                hint = f"for the options of ps: rl exec {record['name']} ps {name}"
            raise BadColumn(name, ", ".join(sorted(_HEADINGS)), hint=hint)
    from rootless.engine import assemble

    ids = assemble.ids_of(engine, records.load_spec(engine, record["id"]))
    rows = [[_HEADINGS[name] for name in names]]
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    for pid in pids(engine, record):
        facts = _facts(pid, ids, uptime)
        if facts:
            rows.append([facts[name] for name in names])
    return rows


def _facts(pid, ids, uptime):
    from rootless.model.idmap import to_inside

    try:
        with open(f"/proc/{pid}/stat", "rb", 0) as file:
            text = file.read(4096)
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").partition(":\t")[::2] for line in file)
        with open(f"/proc/{pid}/cmdline", "rb", 0) as file:
            args = file.read(4096).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    tick = os.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) / tick
    lived = max(uptime - int(fields[19]) / tick, 0.001)
    uid, gid = int(status["Uid"].split()[1]), int(status["Gid"].split()[1])
    inside, group = to_inside(ids.uids, uid), to_inside(ids.gids, gid)
    device = int(fields[4])
    return {
        "user": "root" if inside == 0 else str(65534 if inside is None else inside),
        "huser": str(uid),
        "group": "root" if group == 0 else str(65534 if group is None else group),
        "pid": status.get("NSpid", str(pid)).split()[-1],
        "hpid": str(pid),
        "ppid": _parent_inside(fields[1]),
        "pcpu": f"{100 * used / lived:.3f}",
        "etime": _span(lived),
        "tty": f"pts/{device & 0xFF}" if device else "?",
        "time": _span(used),
        "args": args or f"[{status['Name']}]",
        "comm": status["Name"],
        "nice": fields[16].decode(),
        "state": fields[0].decode(),
        "rss": str(int(fields[21]) * os.sysconf("SC_PAGE_SIZE") // 1024),
        "vsz": str(int(fields[20]) // 1024),
        "capeff": status.get("CapEff", ""),
        "seccomp": _SECCOMP.get(status.get("Seccomp", ""), ""),
    }


def _parent_inside(field):
    try:
        with open(f"/proc/{int(field)}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    numbers = line.split()[1:]
                    return numbers[-1] if len(numbers) > 1 else "0"
    except OSError:
        pass
    return "0"


def _span(seconds):
    hours, rest = divmod(int(seconds), 3600)
    if hours:
        return f"{hours}h{rest // 60}m{rest % 60}s"
    return f"{rest // 60}m{rest % 60}s" if rest >= 60 else f"{seconds:.3f}s"
