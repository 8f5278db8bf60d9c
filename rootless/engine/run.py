"""``rl run``, and ``rl start`` with the same end: launch, be attached, tell the outcome.

What is needed only once the launcher is at work is imported then: it has some 10 ms to do
beside this process.
"""

import os
import select
import sys

from rootless.engine import assemble, records, start
from rootless.errors import RlError
from rootless.kernel.process import look_twice

_CLOSED_PIPE = 141  # 128 + SIGPIPE, what podman ends with when nobody reads its output


class ContainerLost(RlError):
    """the monitor of container {0} was killed: its exit code is unknown"""

    hint = "rl rm {0} removes what is left"


class Dropped(RlError):
    """no longer attached to container {0}: {1}"""

    hint = "rl attach {0} attaches again, rl logs {0} shows the output"


def run(engine, request, progress=None):
    """Create a container and start it; the exit code for this process.

    Detached, the id is printed by the command; here it is the return value
    (``("detached", id)``).
    """
    from rootless.engine.create import create

    begin = start.Start(preserve_fds=assemble.preserved(request), debug=_debug(engine))

    def hold(record):
        begin.alive = start.take_lock(engine, record, new=True)

    try:
        record = create(engine, request, progress, before=hold)
    except BaseException:
        _release(begin)
        raise
    try:
        if request.detach:
            return detached(engine, record, begin, new=True)
        return foreground(engine, record, attached_streams(request), request, begin)
    except BaseException:
        _release(begin)
        withdraw(engine, record)
        raise


def _logins_end(engine):
    """Whether this user's containers may end with a login session, unknown to the user."""
    if not os.path.exists("/run/systemd/seats"):
        return False
    from rootless.engine import session

    return session.concerns(engine)


def _warn_of_session(engine, record):
    """Say once to each user if the end of the session will end the container."""
    from rootless.engine import session

    try:
        # As engine/cgroups.py has noted, which isn't worth loading for this.
        with open(f"{records.run_directory(engine, record['id'])}/cgroup", "rb", 0) as file:
            place = os.fsdecode(file.read())
    except OSError:
        place = None
    text = session.told(engine, place)
    if text:
        sys.stderr.write(f"Warning: {text}\n")


def _release(begin):
    """Give up the life lock, unless the launch has it by now."""
    if begin.alive is not None:
        os.close(begin.alive)
        begin.alive = None


def _debug(engine):
    return engine.config.log_level == "debug"


def withdraw(engine, record):
    """Take back a container that could not be started, or was given up half-way."""
    from rootless.engine.remove import remove

    try:
        if not records.is_alive(records.run_directory(engine, record["id"])):
            state = records.state(engine, record)
            if record["remove"] or state["started"] is None:
                remove(engine, record, volumes=True)
    except RlError:
        pass  # the first error is the one to tell


def remove_ended(engine, record):
    """Remove a container of --rm that its monitor has let go of, unless it is restarted."""
    from rootless.engine.remove import remove

    if records.is_restarting(records.run_directory(engine, record["id"])):
        return

    try:
        remove(engine, record, volumes=True)
    except records.NoContainer:
        pass


def attached_streams(request):
    """Which streams ``run`` attaches: all without -a, stdin only with -i (podman-run(1))."""
    if request.attach:
        named = {name.lower() for name in request.attach}
        unknown = named - {"stdin", "stdout", "stderr", "none"}
        if unknown:
            raise RlError(f"--attach {unknown.pop()!r} is none of stdin, stdout and stderr",
                          hint="give each stream its own: -a stdout -a stderr")
        return named - {"none"}
    return {"stdout", "stderr"} | ({"stdin"} if request.interactive else set())


def launch(engine, record, begin):
    """Start the container as ``begin`` (start.Start) says, after those that it requires;
    the founder's socket."""
    if record.get("requires"):
        from rootless.engine.restart import start_required

        start_required(engine, record)
    if begin.alive is None:  # before anything is written into the container's directory
        begin.alive = start.take_lock(engine, record)
    ready = None
    try:
        ready = assemble.assemble(engine, record)
        if ready.warning:
            sys.stderr.write(f"Warning: {ready.warning}\n")
        pid, socket = start.begin(
            engine, record, ready.spec, ready.rootfs, begin, filters=ready.filters,
            ids=ready.ids, join=ready.join, network=ready.network, cgroup=ready.cgroup,
            private=ready.ports.descriptors() if ready.ports else (),
        )
    except BaseException:
        _release(begin)
        raise
    finally:
        if ready:
            ready.close()
    return pid, socket


def detached(engine, record, begin, new=False):
    """Start in the background; returns ("detached", id) once the program runs.

    ``new``: of ``rl run``, which may have something to say about logging out.
    """
    pid, socket = launch(engine, record, begin)
    if not record["remove"]:
        records.make_durable(engine, record["id"])
    warns = new and _logins_end(engine)
    packet = look_twice(socket.recv, 1 << 16) or b""
    socket.close()
    if packet[:1] != b"s":
        raise _refused(pid, packet)
    if warns:
        _warn_of_session(engine, record)
    return "detached", record["id"]


def held(engine, record):
    """Launch up to the program itself, which waits for ``rl start``."""
    pid, socket = launch(engine, record, start.Start(hold=True))
    watch = select.poll()
    watch.register(socket.fileno(), select.POLLIN)
    # The monitor says nothing until the start; a launch error comes at once or not at all.
    while not watch.poll(20):
        if os.path.exists(f"{records.run_directory(engine, record['id'])}/control"):
            break
    if watch.poll(0):
        packet = look_twice(socket.recv, 1 << 16) or b""
        raise _refused(pid, packet)
    socket.close()


def _refused(pid, packet):
    """The error for a launch that failed, from what the founder's socket said."""
    from rootless.runtime.enter import told
    from rootless.runtime.launch import LaunchFailed

    _reap(pid)
    if packet[:1] != b"l" or not packet[1:]:
        return LaunchFailed("a process of the set-up was killed")
    return told(packet[1:])


def foreground(engine, record, streams, options, begin=None):
    """Start attached; the container's exit code.  ``begin``: a start.Start to complete.

    Removes a container of --rm that has ended; one that goes on without us is its monitor's.
    """
    terminal = record["tty"]
    window = None
    if terminal:
        from rootless.kernel import tty as terminals

        sizes = (terminals.window_size(number) for number in (0, 1, 2))
        window = next((size for size in sizes if size), None)
        if "stdin" in streams and not os.isatty(0):
            from rootless.engine.attach import NOT_A_TERMINAL

            sys.stderr.write(f"Warning: {NOT_A_TERMINAL}\n")
    begin = begin or start.Start(debug=_debug(engine))
    begin.attach, begin.window = frozenset(streams), window
    pid, socket = launch(engine, record, begin)
    from rootless.engine import attach
    from rootless.engine.control import wait_released

    if record["remove"]:
        from rootless.engine import remove  # noqa: F401  (while the container is at work)
        from rootless.kernel import tree  # noqa: F401
    outcome = attach.relay(
        socket,
        stdin="stdin" in streams,
        tty=terminal,
        detach_keys=detach_keys(engine, options),
        sig_proxy=options.sig_proxy,
    )
    socket.close()
    if outcome.kind == "exit" and not record.get("restart"):
        # Not for the monitor's own end, which comes after that of the network helper.
        wait_released(engine, record)
    elif outcome.kind in ("exit", "failed"):
        _reap(pid)
    if outcome.kind == "exit" and record["remove"]:
        remove_ended(engine, record)
    return exit_code(record, outcome)


def detach_keys(engine, options):
    """The keys that leave a container running: the option's, else the configuration's."""
    given = options.options.get("detach_keys")
    return engine.config.detach_keys if given is None else given


def exit_code(record, outcome):
    """What a relay's outcome means for this process: an exit code, or an error."""
    if outcome.kind == "exit":
        return outcome.code
    if outcome.kind == "failed":
        error = RlError(outcome.error["text"], hint=_literal(outcome.error.get("hint")))
        error.exit_code = outcome.error.get("code", 125)
        raise error
    if outcome.kind == "lost":
        raise ContainerLost(record["name"])
    if outcome.kind == "dropped":
        raise Dropped(record["name"], outcome.text)
    return _CLOSED_PIPE if outcome.kind == "closed" else 0


def _literal(hint):
    return hint and hint.replace("{", "{{").replace("}", "}}")


def _reap(pid):
    """The monitor is our child: it must not stay as a zombie while we go on."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
