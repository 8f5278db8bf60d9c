"""stop, kill, wait, rm, rename: verbs on containers that exist.

Each takes the containers' records, does them one after the other and gives what happened
to each, so that one failure doesn't hide the others: a list of (text, error or None).
"""

import os

from rootless.engine import events, records
from rootless.engine.control import Control, NotRunning
from rootless.engine.defaults import LIMITS
from rootless.engine.remove import check_needed, end, in_order, is_needed, remove, sweep, tell
from rootless.engine.spec.values import signal
from rootless.errors import RlError


class NothingNamed(RlError):
    """name at least one container"""

    hint = "or use --all, --latest or --filter"


class NoIdFile(RlError):
    """cannot read the container id in {0}: {1}"""

    hint = "name a file that rl run --cidfile has written"


class NoContainersYet(RlError):
    """there are no containers"""

    hint = "make one with: rl run IMAGE"


class Missing(records.NoContainer):
    """no container has the name or id {0!r}"""

    exit_code = 1


class Chosen(dict):
    """A record, and in ``typed`` what somebody typed for it."""

    __slots__ = ("typed",)


def shown(record):
    """What a verb prints of a container it was done to: what was typed, else its id."""
    return getattr(record, "typed", record["id"])


def select(engine, request, statuses=None, damaged=False):
    """The records of the containers that a request names, each once, in order.

    By name or id (``request.args``), from files (--cidfile), --all, --latest or --filter.
    With ``statuses`` those of --all and --filter in another state are left out; the one of
    --latest is what the user meant, whatever it does.  ``damaged``: those whose record
    can't be read too, as {"id", "name", "damaged"}; else they are left out of --all and
    --filter.  Raises NoContainer (not with --ignore), NothingNamed, records.Damaged.
    """
    options = request.options
    names = list(request.args)
    for path in options.get("cidfile") or ():
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                name = file.read(128).strip()
            if not name.isalnum():
                raise NoIdFile(path, "there is none")
            names.append(name)
        except OSError as error:
            if not options.get("ignore"):
                raise NoIdFile(path, error.strerror) from None
    found = {}
    if options.get("all") or options.get("filter") or options.get("latest"):
        for record in _wide(engine, options):
            if "damaged" in record and not damaged:
                if options.get("latest"):
                    _load(engine, record["id"], False)
                continue
            if (statuses is None or options.get("latest")
                    or records.state(engine, record)["status"] in statuses):
                found[record["id"]] = record
    elif not names and not options.get("cidfile"):
        raise NothingNamed()
    for name in names:
        try:
            container_id = records.find_id(engine, name)
            chosen = found[container_id] = Chosen(_load(engine, container_id, damaged))
            chosen.typed = name
        except records.NoContainer:
            if not options.get("ignore"):
                raise
    return list(found.values())


def _load(engine, container_id, damaged):
    try:
        return records.load(engine, container_id)
    except records.Damaged as error:
        if not damaged:
            raise
        return records.unreadable(container_id, error)


def _wide(engine, options):
    everything = records.everything(engine)
    if options.get("latest"):
        if not everything:
            raise NoContainersYet()
        return everything[-1:]
    if options.get("filter"):
        from rootless.engine import listing

        rows = listing.rows(engine, everything, options["filter"])
        return [row["record"] for row in rows]
    return everything


def each(items, action):
    """Call ``action`` on each record: a list of (what it returned, error or None)."""
    done = []
    for record in items:
        try:
            done.append((action(record), None))
        except RlError as error:
            done.append((record["name"], error))
    return done


def stop(engine, request):
    """Stop containers: the stop signal, SIGKILL after the time-out."""
    seconds = request.options.get("time")

    def one(record):
        if records.is_alive(records.run_directory(engine, record["id"])):
            end(engine, record, seconds, record["id"] in told)
            events.container(engine, record, "stop")
        return shown(record)

    items = select(engine, request, ("running", "initialized", "paused", "stopping",
                                     "restarting"), damaged=True)
    told = tell(engine, items, seconds)
    return each(items, one)


def kill(engine, request):
    """Send a signal (--signal, default KILL) to pid 1 of containers."""
    number = signal("--signal", request.options.get("signal") or "KILL")

    def one(record):
        with Control(engine, record) as control:
            control.kill(number, ends=number in (9, 15))
            events.container(engine, record, "kill")
            if number == 9:
                _end_cgroup(engine, record)
                control.wait_end(30)
        return shown(record)

    return each(select(engine, request, ("running", "paused"), damaged=True), one)


def _end_cgroup(engine, record):
    """SIGKILL to those whom the end of pid 1 doesn't end: it has no pid namespace of its own."""
    if os.path.exists(f"{records.run_directory(engine, record['id'])}/cgroup"):
        from rootless.engine import cgroups

        cgroups.kill(engine, record)


def delete(engine, request):
    """Remove containers: --force ends them first, --volumes takes their anonymous volumes.

    One that runs is an error, also one of --all: whoever asked for it hears that it stays.
    """
    options = request.options

    def one(record):
        check_needed(engine, record)
        remove(
            engine,
            record,
            force=bool(options.get("force")),
            volumes=bool(options.get("volumes")),
            timeout=options.get("time"),
            told=record["id"] in told,
        )
        return shown(record)

    try:
        items = select(engine, request, damaged=True)
    except records.NoContainer as error:
        raise Missing(*error.args) from None
    # Where containers need each other they end one after the other, or not at all.
    apart = options.get("force") and not any(
        record.get("requires") or is_needed(engine, record) for record in items
    )
    told = tell(engine, items, options.get("time")) if apart else ()
    done = each(in_order(items), one)
    sweep(engine)
    return done


_CONDITIONS = ("created", "initialized", "running", "paused", "stopping", "stopped", "exited",
               "removing", "healthy", "unhealthy")  # fmt: skip
_ENDS = frozenset(("stopped", "exited"))
_OVER = _ENDS | {"removing"}


def check_conditions(conditions, interval=None):
    """The conditions of a wait as a set, and the seconds between two looks; BadOption."""
    from rootless.engine import filters
    from rootless.engine.spec.values import fail

    for one in conditions:
        if one not in _CONDITIONS:
            fail("--condition", one, "there is no such condition", ", ".join(_CONDITIONS))
    seconds = 0.25
    if interval is not None:
        seconds = int(interval) / 1000 if interval.isdecimal() else filters.seconds(interval)
        if seconds is None or not 0 <= seconds < 1 << 20:
            fail("--interval", interval, "not a duration", "for example 500ms or 2s")
    return frozenset(conditions) or _ENDS, max(seconds, 0.001)


def wait(engine, record, conditions=_ENDS, interval=0.25):
    """Wait until one of ``conditions`` (a set) holds for the container.

    Returns its exit code if it has ended; -1 where there is none, or none that is known.
    """
    code = -1
    if conditions <= _OVER:
        try:
            with Control(engine, record) as control:
                ended = control.wait_end()
            if ended is not None:
                code = ended.code
                if conditions & _ENDS:
                    return code
        except NotRunning:
            pass
    from time import sleep

    while os.path.isdir(records.directory(engine, record["id"])):
        found = records.state(engine, record)
        ended = found["exit"]
        if ended is not None and ended["code"] is not None:
            code = ended["code"]
        if not conditions.isdisjoint(_holding(engine, record, found)):
            break
        sleep(interval)
    return code


def _holding(engine, record, found):
    """The conditions that hold for a container in the state ``found``."""
    status = found["status"]
    if status in ("exited", "lost") and not record["remove"]:
        return _OVER
    if status in ("exited", "lost", "stopping", "restarting"):
        return _ENDS | {status}  # the monitor of the last two has more to do, but it is over
    if status == "running":
        health = records.read_json(f"{records.run_directory(engine, record['id'])}/health")
        return {status, (health or {}).get("Status")}
    return {status}


def rename(engine, record, name):
    """Give a container another name; raises BadName, NameTaken."""
    records.check_name(name)
    if name == record["name"]:
        return
    from rootless.engine import naming

    _, record = naming.rename(engine, record, name)
    if record["network"]["parsed"]["mode"] == "networks":
        from rootless.engine import networks_leases

        networks_leases.rename(engine, record, name)
    events.container(engine, record, "rename")


class IdFileExists(RlError):
    """the container id file {0} exists already"""

    hint = "is the container still running? remove the file if not"


class BadIdFile(RlError):
    """cannot write the container id to {0}: {1}"""

    hint = "name a file in a directory that you may write"


def check_free(path):
    """Raise IdFileExists before anything is done, if --cidfile names a file that is there."""
    if os.path.lexists(path):
        raise IdFileExists(path)


def write_id(path, container_id):
    """Write a --cidfile; it must not exist yet (podman-run(1))."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise IdFileExists(path) from None
    except OSError as error:
        raise BadIdFile(path, error.strerror) from None
    os.write(descriptor, container_id.encode())
    os.close(descriptor)


def change(engine, record, request):
    """``rl update``: a restart policy counts from the container's next end on."""
    policy = request.options.get("restart")
    values = {name: request.options.get(name) for name in LIMITS}
    limits = {name: value for name, value in values.items()
              if not (value is None or value is False or value == ())}  # 0 is a value
    speed = request.options.get("network_rate")
    if policy is None and speed is None and not limits:
        raise RlError("nothing to change was given", hint="for example: rl update --restart always "
                      + record["name"])
    if policy is not None:
        check_policy(policy)
    if limits:
        _limit(engine, record, limits)
    if speed is not None:
        from rootless.engine import rate

        limit = rate.change(engine, record, speed)
        records.update(engine, record, lambda now: {"network": {**now["network"], "rate": limit}})
    if policy is not None:
        records.update(engine, record, {"restart": None if policy == "no" else policy})
    events.container(engine, record, "update")


def _limit(engine, record, limits):
    """New limits, at once if the container runs; only what the kernel took is recorded."""
    from rootless.engine import cgroups

    spec = records.load_spec(engine, record["id"])
    spec["linux"]["resources"] = cgroups.change(engine, record, spec, limits)
    records.update_spec(engine, record, spec)


def check_policy(text):
    """Raise BadOption unless ``text`` is a restart policy (podman-run(1), --restart)."""
    from rootless.engine.spec.values import fail

    name, colon, count = text.partition(":")
    good = name in ("no", "always", "unless-stopped", "on-failure") and (
        not colon or name == "on-failure" and count.isdecimal())
    if not good:
        fail("--restart", text, "there is no such policy",
             "no, on-failure[:TIMES], always or unless-stopped")
