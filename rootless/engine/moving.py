"""A container that is started by another login session: its runtime directory moves along."""

import os

from rootless.engine import records
from rootless.kernel import files


def move(engine, container_id, wanted):
    """Let the container's link ``run`` lead to the directory ``wanted``: see
    records.move_here."""
    try:
        here = os.open(records.directory(engine, container_id), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise records.NoContainer(container_id) from None
    try:
        files.lock(here)  # one that moves it at a time
        before = os.readlink("run", dir_fd=here)
        return before == wanted or _move(engine, container_id, here, before, wanted)
    except FileNotFoundError:
        raise records.NoContainer(container_id) from None  # removed meanwhile
    finally:
        os.close(here)


def link(here, run_dir):
    """Let the link ``run`` of a container's directory (a descriptor) lead to ``run_dir``."""
    draft = f"run.{os.urandom(4).hex()}"
    os.symlink(run_dir, draft, dir_fd=here)
    os.rename(draft, "run", src_dir_fd=here, dst_dir_fd=here)


def _move(engine, container_id, here, before, wanted):
    try:
        alive = records.open_life(before)
    except OSError:
        alive = None  # of a session whose directory is gone: nobody can hold it
    try:
        if alive is not None and not (
            records.hold(alive) and records.is_current(engine, container_id, before, alive)
        ):
            return False
        link(here, wanted)
        if alive is not None:
            records.drop_run_directory(before)
        return True
    finally:
        if alive is not None:
            os.close(alive)
