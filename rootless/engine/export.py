"""``rl export``: all files of a container as one tar archive (podman-export(1))."""

import os

from rootless.engine import contents, events, records
from rootless.errors import RlError
from rootless.kernel.files import write_all
from rootless.store import export as exporting


class CannotWrite(RlError):
    """cannot write the archive to {0}: {1}"""

    hint = "rl export -o FILE, on a file system with room for it"


def export(engine, record, path=None):
    """Write the container's root, without its mounts, to the file ``path`` or to stdout."""
    write_to(path, lambda write: merged(engine, record, write))
    events.container(engine, record, "export")


def merged(engine, record, write):
    """Give the whole root of a container as a plain tar, in pieces (bytes), to ``write``."""
    home = records.directory(engine, record["id"])
    with contents.Kept(engine, record):
        if record["rootfs"]:
            rootfs = contents.prepare(engine, record)
            exporting.export_rootfs(engine.store, rootfs, home, (), write)
            return
        if record.get("capped"):
            _merged_capped(engine, record, write)
            return
        driver, home, layers = contents.place(engine, record)
        exporting.export_merged(driver, home, layers, write)


def _merged_capped(engine, record, write):
    """The same where the layer has a size."""
    layers = engine.store.layers.paths(record["layers"])
    if records.state(engine, record)["pid"]:
        _live(engine, record, layers, write)
        return
    rootfs = contents.prepare(engine, record)
    home = records.directory(engine, record["id"])
    exporting.export_rootfs(engine.store, rootfs, home, layers, write)


def _live(engine, record, layers, write):
    """A running container: its upper layer is mounted nowhere, its root is where it runs."""
    from rootless.runtime import enter

    facts = exporting.facts_of(engine.store, layers)
    reading, writing = os.pipe()
    try:
        pid = records.state(engine, record)["pid"]
        child = enter.start_inside(pid, exporting.write_live, writing, *facts, keep=(writing,))
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    exporting.pass_on(child, reading, write)


def write_to(path, work):
    """Call ``work(write)``; what it writes goes to stdout, or to ``path`` once it is whole."""
    if path is None:
        try:
            work(lambda data: write_all(1, data))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CannotWrite("standard output", error.strerror) from None
        return
    try:
        special = os.path.exists(path) and not os.path.isfile(path)
        if special:
            _write_file(path, os.O_WRONLY, work)  # a pipe, /dev/null: nothing to be renamed
            return
        temporary = f"{path}.{os.getpid()}.part"
        try:
            _write_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, work)
            os.rename(temporary, path)
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise CannotWrite(path, error.strerror) from None


def _write_file(path, flags, work):
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        work(lambda data: write_all(descriptor, data))
    finally:
        os.close(descriptor)
