"""``rl start``, ``rl restart``, and what a monitor asks for when its container has ended."""

import os
from time import sleep

from rootless.engine import events, filters, lifecycle, records, run
from rootless.engine.attach import relay
from rootless.engine.control import Control, NotRunning
from rootless.engine.remove import end, remove, tell
from rootless.engine.start import SETTLED, AlreadyRunning, Start
from rootless.errors import RlError
from rootless.kernel import files
from rootless.kernel.process import boot_id

_PAUSE, _TRIES = 0.02, 3000  # a launch takes a minute at most


class OneAtATime(RlError):
    """only one container can be attached to"""

    hint = "start them without --attach, then: rl attach NAME"


def start(engine, request):
    """Start containers in the background: a list of (name, error or None)."""
    items = lifecycle.select(
        engine, request, ("created", "initialized", "stopping", "exited", "lost")
    )
    return lifecycle.each(items, lambda record: start_one(engine, record))


def start_one(engine, record):
    """Start a container unless it runs already; what to print of it."""
    for tries in range(_TRIES, -1, -1):
        try:
            _start(engine, record)
            break
        except (NotRunning, AlreadyRunning):
            # Another rl is about to start it, or its last run to end.
            if not (tries and records.is_alive(records.run_directory(engine, record["id"]))):
                raise
            sleep(_PAUSE)
    return lifecycle.shown(record)


def _start(engine, record):
    status = records.state(engine, record)["status"]
    if status in ("running", "restarting"):
        return
    if status == "paused":
        from rootless.engine.exec import Paused

        raise Paused(record["name"])
    if status == "initialized":
        with Control(engine, record) as control:
            control.begin()
            control.receive((b"s", b"l"), 30)
        return
    fresh = record
    if record.get("restarts"):
        # Only the monitor's own starts count.
        fresh = records.update(engine, record, {"restarts": 0, "quick": 0}, sync=False)
    run.detached(engine, began(engine, fresh), Start())


def start_required(engine, record):
    """Start the containers that this one requires, unless they run."""
    for container_id in record["requires"]:
        start_one(engine, records.load(engine, container_id))


def began(engine, record):
    """The record with the mark that it was started in this boot of the machine."""
    boot = boot_id()
    if record.get("boot") != boot:
        record = records.update(engine, record, {"boot": boot}, sync=False)
    return record


def start_attached(engine, request):
    """``rl start -a``: the exit code of the one container that is started or joined."""
    items = lifecycle.select(engine, request)
    if len(items) != 1:
        raise OneAtATime()
    record = items[0]
    streams = {"stdout", "stderr"}
    if request.interactive and record["stdin_open"]:
        streams.add("stdin")
    if records.is_alive(records.run_directory(engine, record["id"])):
        return attached(engine, record, streams, request)
    return run.foreground(engine, began(engine, record), streams, request)


def attached(engine, record, streams, request):
    """Attach to a running container until it ends or the keys are typed: the exit code."""
    bits = (1 if "stdout" in streams else 0) | (2 if "stderr" in streams else 0)
    bits |= 4 if "stdin" in streams else 0
    with Control(engine, record) as control:
        control.send(bytes([0x41, bits]))
        events.container(engine, record, "attach")
        if records.state(engine, record)["status"] == "initialized":
            control.begin()
        outcome = relay(
            control.socket,
            stdin="stdin" in streams,
            tty=record["tty"],
            detach_keys=run.detach_keys(engine, request),
            sig_proxy=request.sig_proxy,
        )
    return run.exit_code(record, outcome)


def restart(engine, request):
    """Stop containers that run, start them all again: a list of (name, error or None)."""
    statuses = ("running", "paused", "stopping", "restarting") if request.running else None
    options = {**request.options}
    if request.running:
        options["all"] = not request.args
    items = lifecycle.select(engine, request.replace(**options), statuses)
    seconds = request.options.get("time")
    # One of --rm that ends is gone, unless a mark says that it is to come back.
    told = tell(engine, [record for record in items if not record["remove"]], seconds)

    def one(record):
        if records.is_alive(records.run_directory(engine, record["id"])):
            typed = _again(engine, record, seconds, record["id"] in told)
        else:
            typed = start_one(engine, record)
        events.container(engine, record, "restart")
        return typed

    return lifecycle.each(items, one)


def _again(engine, record, seconds, told):
    """End a container and start it; one of --rm isn't removed in between, unless that fails."""
    if not record["remove"]:
        end(engine, record, seconds, told)
        return start_one(engine, record)
    if record.get("capped"):
        from rootless.engine import capped

        capped.check_kept(record, "it cannot be restarted with them")
    mark = f"{records.run_directory(engine, record['id'])}/restart"
    try:
        kept = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise records.NoContainer(record["name"]) from None  # removed meanwhile
    try:
        files.lock(kept)
        try:
            end(engine, record, seconds)
            return start_one(engine, record)
        finally:
            _unlink(mark)
            os.close(kept)
    except BaseException:
        run.withdraw(engine, record)
        raise


def ended(engine, container_id, alive=None):
    """What the monitor becomes when its container has ended (docs/monitor.md, on-exit).

    Removes a container of ``--rm``; starts one again if the monitor decided so, whose life
    lock is held as ``alive`` since then.
    """
    record = records.load(engine, container_id)
    final = records.read_json(f"{records.directory(engine, container_id)}/exit") or {}
    if final.get("restart"):
        if alive is not None:
            os.set_inheritable(alive, False)
        quick = record.get("quick", 0) + 1 if _was_quick(final) else 0
        counted = {"restarts": record.get("restarts", 0) + 1, "quick": quick}
        record = records.update(engine, record, counted, sync=False)
        _unlink(f"{records.run_directory(engine, container_id)}/paused")
        try:
            run.detached(engine, began(engine, record), Start(alive=alive))
        except BaseException as error:
            _note_failure(engine, record, final, error)
            raise
    elif record["remove"] and not records.is_restarting(
            records.run_directory(engine, container_id)):
        remove(engine, record, volumes=True)


def _note_failure(engine, record, final, error):
    """Nobody sees what a restart says: put into the record of the last end why there was
    none, unless the new monitor has written one of its own."""
    path = records.directory(engine, record["id"])
    if records.read_json(f"{path}/exit") in (None, final):
        here = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        text = error.message if isinstance(error, RlError) else f"{type(error).__name__}: {error}"
        records.write(here, "exit", {**final, "restart": False,
                                     "error": f"it could not be restarted: {text}"})
        os.close(here)


def _was_quick(final):
    """Whether a run was so short that the next restart waits longer (docs/monitor.md)."""
    lived = filters.moment(final["finished"]) - filters.moment(final["started"])
    return lived < SETTLED


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def initialize(engine, request):
    """Launch created containers up to their program, which ``rl start`` lets go."""
    items = lifecycle.select(engine, request, ("created",))

    def one(record):
        run.held(engine, began(engine, record))
        events.container(engine, record, "init")
        return lifecycle.shown(record)

    return lifecycle.each(items, one)
