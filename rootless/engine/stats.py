"""What containers use: processor, memory, disks, network (podman-stats(1)).

From the container's own cgroup where it has one.  Else /proc is added up over its
processes: processor time and disk traffic of those that ended are in what their parents
carry (proc(5): cutime, cstime; ``io`` adds up waited-for children as well).
"""

import os
import time

from rootless.cgroup import files
from rootless.engine import filters, processes, records


class Use:
    """What one container uses at one moment; None for what cannot be known.

    ``source`` "cgroup", "proc", or "" for one that isn't running; ``cpu`` seconds of
    processor time so far; ``moment`` when (monotonic seconds); ``age`` seconds since its
    start; ``memory`` and ``limit`` bytes; ``read``, ``written`` bytes on disks;
    ``received``, ``sent`` bytes on networks; ``tasks`` its processes and threads;
    ``pressure`` {"cpu", "io", "memory"}: in what percentage of the last ten seconds some of
    it waited for that (the kernel's accounting/psi.rst).
    """

    def __init__(self, record, source=""):
        self.record = record
        self.source = source
        self.cpu = self.age = 0.0
        self.moment = time.monotonic()
        self.memory = self.tasks = 0
        self.limit = machine_memory()
        self.read = self.written = self.received = self.sent = None
        self.pressure = None


def machine_memory():
    """The memory of this machine in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def sample(engine, items):
    """The Use of each of these records, in order."""
    states = [(record, records.state(engine, record)) for record in items]
    by_namespace = _everybody() if any(state["pid"] for _, state in states) else {}
    return [_use(engine, record, state, by_namespace) for record, state in states]


def _everybody():
    """The pids that we may look at, by their pid namespace: one walk for all containers."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                found.setdefault(os.readlink(f"/proc/{name}/ns/pid"), []).append(int(name))
            except OSError:
                pass  # ended meanwhile, or somebody else's
    return found


def _use(engine, record, state, by_namespace):
    first = state["pid"]
    pids = _pids(first, by_namespace) if first else []
    if not pids:
        return Use(record)
    own = _noted(engine, record) or cgroup_of(first, set(pids))
    use = Use(record, "cgroup" if own else "proc")
    if state["started"]:
        use.age = max(0.001, time.time() - filters.moment(state["started"]))
    if own:
        read_cgroup(use, own)
        use.tasks = use.tasks or len(pids)  # nobody counts them without the controller pids
    else:
        _add_up(use, pids)
    _network(use, first)
    return use


def _noted(engine, record):
    """The directory of the cgroup that rl made for the container, if it counts memory."""
    path = files.read(f"{records.run_directory(engine, record['id'])}/cgroup")
    return path if path and os.path.exists(f"{path}/memory.current") else None


def _pids(first, by_namespace):
    try:
        wanted = os.readlink(f"/proc/{first}/ns/pid")
    except OSError:
        return []
    if wanted == os.readlink("/proc/self/ns/pid"):
        return processes.tree(first)
    return by_namespace.get(wanted, [])


# --- /proc ---------------------------------------------------------------------------------


def _add_up(use, pids):
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    known = [0, 0]
    for pid in pids:
        text = _read(f"/proc/{pid}/stat")
        if not text:
            continue  # ended meanwhile
        fields = text[text.rindex(b")") + 2 :].split()
        use.cpu += sum(map(int, fields[11:15])) / tick
        use.tasks += int(fields[17])
        use.memory += int(fields[21]) * page
        traffic = _read(f"/proc/{pid}/io")
        if not traffic:
            known = None  # of another id than ours: not ours to look at (proc(5))
        elif known is not None:
            known[0] += _value(traffic, b"read_bytes: ")
            known[1] += _value(traffic, b"\nwrite_bytes: ")
    if known:
        use.read, use.written = known


def _read(path):
    try:
        with open(path, "rb", 0) as file:
            return file.read(1 << 16)
    except OSError:
        return b""


def _value(text, key):
    return int(text.partition(key)[2].split(None, 1)[0])


def _network(use, first):
    """Bytes over the interfaces of the container's own network namespace, lo apart."""
    try:
        if os.readlink(f"/proc/{first}/ns/net") == os.readlink("/proc/self/ns/net"):
            return  # the host's: nobody can say whose bytes they were
    except OSError:
        return
    use.received = use.sent = 0
    for line in _read(f"/proc/{first}/net/dev").decode().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            columns = numbers.split()
            use.received += int(columns[0])
            use.sent += int(columns[8])


# --- cgroup --------------------------------------------------------------------------------


def cgroup_of(pid, pids, top=files.TOP):
    """The directory of the cgroup v2 that has the container's processes and no others."""
    path = files.of_process(pid)
    if path in (None, "/"):
        return None
    own = top + path
    inside = {int(word) for word in files.read(f"{own}/cgroup.procs").split()}
    if inside and inside <= pids and os.path.exists(f"{own}/memory.current"):
        return own
    return None


def read_cgroup(use, own):
    """Fill in what the files of a cgroup v2 say (cgroups(7), kernel's cgroup-v2).

    Memory without the part of the page cache that is given back first, as docker and podman
    count it: else whoever reads a large file would seem to be at the limit.
    """
    use.cpu = files.keyed(f"{own}/cpu.stat").get("usage_usec", 0) / 1e6
    cache = files.keyed(f"{own}/memory.stat").get("inactive_file", 0)
    use.memory = max((files.number(f"{own}/memory.current") or 0) - cache, 0)
    use.limit = min(files.number(f"{own}/memory.max") or use.limit, use.limit)
    use.tasks = files.number(f"{own}/pids.current") or 0
    if os.path.exists(f"{own}/io.stat"):
        use.read = use.written = 0
        for line in files.read(f"{own}/io.stat").splitlines():
            facts = dict(word.partition("=")[::2] for word in line.split()[1:])
            use.read += int(facts.get("rbytes", 0))
            use.written += int(facts.get("wbytes", 0))
    use.pressure = {}
    for name in ("cpu", "io", "memory"):
        _, found, rest = files.read(f"{own}/{name}.pressure").partition("some avg10=")
        if found:
            use.pressure[name] = float(rest.split(None, 1)[0])
