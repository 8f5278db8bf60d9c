"""``rl cp``: files between containers, this machine and tar archives (podman-cp(1))."""

import os

from rootless.engine import events, records
from rootless.engine.copying import send, take
from rootless.engine.inside import Container
from rootless.errors import RlError
from rootless.kernel.files import write_all
from rootless.model.idmap import to_inside
from rootless.store import codec
from rootless.store.tarread import BadArchive
from rootless.store.unpack import grow_pipe

_PIECE = 1 << 20
_NOBODY = 65534


class NoContainerNamed(RlError):
    """neither {0} nor {1} is in a container"""

    hint = "one of them is written CONTAINER:PATH; cp copies files on this machine"


class NoPath(RlError):
    """{0!r} names a container, but no path in it"""

    hint = "write CONTAINER:PATH, for example {0}/"


class CannotMake(RlError):
    """cannot copy to {0}: {1}"""

    hint = "what was copied so far stays; look for room and rights there"


def parse(text):
    """(container or None, path) of one side as it is typed; "-" is (None, "-").

    As in podman, what begins with "." or "/" is a path of this machine.
    """
    name, colon, path = text.partition(":")
    if text == "-" or text[:1] in (".", "/") or not colon or not name:
        return None, text
    if not path:
        raise NoPath(text)
    return name, path


def copy(engine, source, destination, owners=True, overwrite=False):
    """Copy; returns how many device nodes and sockets were left out.

    ``source``, ``destination``: as typed; ``owners``: the files belong to the container's
    user, else to whom they belonged before (podman's --archive).
    """
    from_name, from_path = parse(source)
    to_name, to_path = parse(destination)
    if from_name is None and to_name is None:
        raise NoContainerNamed(source, destination)
    origin = records.find(engine, from_name) if from_name else None
    target = records.find(engine, to_name) if to_name else None
    if target is None:
        left_out = _out(engine, origin, from_path, to_path, overwrite)
    else:
        rules = _rules(engine, target, owners, overwrite)
        if origin is not None:
            left_out = _across(engine, origin, from_path, target, to_path, rules)
        elif from_path == "-":
            left_out = _unpack(engine, target, to_path, rules)
        else:
            left_out = _in(engine, from_path, target, to_path, rules)
        events.container(engine, target, "copy")
    return left_out


def _here(path):
    """A path of this machine as one from "/"; its end says whether a directory is meant."""
    return path if path.startswith("/") else f"{os.getcwd()}/{path}"


def _there(path):
    return path if path.startswith("/") else f"/{path}"


def _rules(engine, record, owners, overwrite):
    user = records.load_spec(engine, record["id"])["process"]["user"] if owners else None
    return {"overwrite": overwrite, "user": user, "owners": not owners}


def _make_rules(container, rules, archive=False):
    return take.Rules(archive=archive, ids=container.ids, stored=container.stored, **rules)


def _pipe():
    reading, writing = os.pipe()
    grow_pipe(writing)
    return reading, writing


def _root():
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


# --- the four ways -------------------------------------------------------------------------


def _out(engine, origin, path, to_path, overwrite):
    """From a container to this machine, or to standard output."""
    container = Container(engine, origin)
    reading, writing = _pipe()
    try:
        child = _start_sending(container, writing, reading, path)
    finally:
        os.close(writing)
    try:
        if to_path == "-":
            while piece := os.read(reading, _PIECE):
                write_all(1, piece)
            skipped = 0
        else:
            root = _root()
            try:
                skipped = take.take(root, reading, _here(to_path), False,
                                    take.Rules(overwrite=overwrite))
            finally:
                os.close(root)
    except BaseException as error:
        _failed(child, error, reading, to_path)
    os.close(reading)
    return child.wait() + skipped


def _failed(child, error, reading, shown):
    """Raise what went wrong first: this end, or the other one, which fell silent."""
    if isinstance(error, BadArchive):
        os.close(reading)
        child.wait()
        raise error
    child.kill()
    os.close(reading)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        raise _said(error, shown) from None
    raise error


def _said(error, shown):
    where = os.fsdecode(error.filename) if error.filename else shown
    return CannotMake(where, error.strerror)


def _start_sending(container, writing, reading, path):
    return container.start(_send, writing, _there(path), container.seen, keep=(writing,),
                           drop=(reading,))


def _send(root, writing, path, owner):
    """In the container's process."""
    try:
        return send.send(root, writing, path, True, owner)
    except BrokenPipeError:
        return 0  # the other end has given up, and says why


def _start_taking(container, reading, path, rules, drop=()):
    return container.start(take.take, reading, _there(path), True, rules, keep=(reading,),
                           drop=drop)


def _into(container, path, rules, feed):
    """Start the end in a container and let ``feed(descriptor)`` write the stream."""
    reading, writing = _pipe()
    try:
        child = _start_taking(container, reading, path, rules, (writing,))
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        skipped = feed(writing)
    except BrokenPipeError:
        os.close(writing)
        return _end(child, path)
    except BaseException:
        child.kill()
        os.close(writing)
        raise
    os.close(writing)
    return _end(child, path) + skipped


def _end(child, path):
    try:
        return child.wait()
    except OSError as error:
        raise _said(error, path) from None


def _in(engine, path, target, to_path, rules):
    """From this machine into a container."""
    container = Container(engine, target)
    ids = container.ids

    def owner(uid, gid):
        found = to_inside(ids.uids, uid), to_inside(ids.gids, gid)
        return tuple(_NOBODY if one is None else one for one in found)

    def feed(writing):
        root = _root()
        try:
            return send.send(root, writing, _here(path), False, owner)
        finally:
            os.close(root)

    return _into(container, to_path, _make_rules(container, rules), feed)


def _unpack(engine, target, to_path, rules):
    """A tar archive on standard input into a directory of a container."""
    container = Container(engine, target)

    def feed(writing):
        # It is decompressed here: no library of the container's gets a hand on it.
        head = b""
        while len(head) < codec.LONGEST_MAGIC and (piece := os.read(0, _PIECE)):
            head += piece
        waiting = [head]

        def read(size):
            if not waiting:
                return os.read(0, size)
            piece, rest = waiting[0][:size], waiting[0][size:]
            waiting[:] = [rest] if rest else []
            return piece if piece else os.read(0, size)

        for piece in codec.plain(codec.detect(head), read):
            write_all(writing, piece)
        return 0

    return _into(container, to_path, _make_rules(container, rules, archive=True), feed)


def _across(engine, origin, path, target, to_path, rules):
    """From one container into another, or into itself."""
    sender = Container(engine, origin)
    taker = Container(engine, target)
    reading, writing = _pipe()
    try:
        sending = _start_sending(sender, writing, reading, path)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        taking = _start_taking(taker, reading, to_path, _make_rules(taker, rules))
    except BaseException:
        sending.kill()
        raise
    finally:
        os.close(reading)
    try:
        skipped = _end(taking, to_path)
    except BadArchive:
        sending.wait()
        raise
    except BaseException:
        sending.kill()
        raise
    return sending.wait() + skipped
