"""Names of containers that change, and those that a killed rl has left behind.

``names/NAME`` holds an id, and the record of that id its name.  They differ for a moment
while a container is renamed, which nobody else may take for something left over: so that
happens under the lock that whoever drops a name holds.
"""

import os

from rootless.engine import records
from rootless.errors import RlError
from rootless.kernel import files


class Guard:
    """A context in which nobody else drops or changes a name that is there."""

    def __init__(self, engine):
        self.path = f"{engine.config.root}/containers"

    def __enter__(self):
        self.descriptor = os.open(self.path, files.DIRECTORY)
        files.lock(self.descriptor)

    def __exit__(self, *_):
        os.close(self.descriptor)


def drop_stale(engine, name, guarded=False):
    """Take the name from a container that is gone or is called otherwise: whether it is free.

    ``guarded``: the caller holds the Guard.
    """
    if not guarded:
        with Guard(engine):
            return drop_stale(engine, name, True)
    if not os.path.lexists(f"{engine.config.root}/names/{name}"):
        return True  # and whoever takes it now, without the guard, keeps it
    if _is_called(engine, records.name_holder(engine, name), name):
        return False
    try:
        os.unlink(f"{engine.config.root}/names/{name}")
    except FileNotFoundError:
        pass
    return True


def _is_called(engine, container_id, name):
    if not container_id or not container_id.isalnum():
        return False
    if os.path.isdir(records.draft(engine, container_id)):
        return True
    try:
        return records.load(engine, container_id)["name"] == name
    except records.NoContainer:
        # A draft becomes the container by a rename, between the two looks.
        return os.path.isdir(records.directory(engine, container_id))
    except records.Damaged:
        return True  # nobody knows


def rename(engine, record, name):
    """Give a container another name: (the old one, the record as it is now).

    Raises NameTaken, NoContainer.
    """
    old = []

    def change(now):
        old.append(now["name"])
        return {"name": name}

    with Guard(engine):
        records.reserve_name(engine, name, record["id"], guarded=True)
        try:
            found = records.update(engine, record, change)
        except BaseException:
            drop_stale(engine, name, True)
            raise
    if old[0] != name:
        records.release_name(engine, old[0], record["id"])
    return old[0], found


def sweep(engine):
    """Drop the names that no container has."""
    try:
        names = os.listdir(f"{engine.config.root}/names")
    except OSError:
        return
    if len(names) == len(records.ids(engine)):
        return
    for name in names:
        if not name.startswith("."):
            try:
                drop_stale(engine, name)
            except (RlError, OSError):
                pass  # another time
