"""What `rl volume ls` and `prune` do with many volumes at once."""

import os

from rootless.engine import events, volumes
from rootless.engine import filters as reader
from rootless.errors import RlError
from rootless.kernel import files

FILTERS = ("dangling", "driver", "label", "label!", "name", "opt", "scope", "since", "until")


def listing(engine, filters=()):
    """The ``facts`` of the volumes that pass the --filter texts, sorted by name."""
    pairs = reader.parse(filters, FILTERS)
    used = volumes.users(engine)[0]
    rows = []
    for name in volumes.names(engine):
        try:
            row = volumes.facts(engine, name, used)
        except volumes.NoVolume:
            continue  # removed while we looked
        if _passes(row, pairs, used):
            rows.append(row)
    return rows


def _passes(row, pairs, used):
    """Labels must all be there; of other filters with the same key one must fit."""
    by_key = {}
    for key, value in pairs:
        by_key.setdefault(key, []).append(value)
    for key, values in by_key.items():
        fits = [_fits(row, key, value, used) for value in values]
        if not (all(fits) if key in ("label", "label!") else any(fits)):
            return False
    return True


def _fits(row, key, value, used):
    if key == "label":
        return reader.has_label(row["Labels"], value)
    if key == "label!":
        return not reader.has_label(row["Labels"], value)
    if key == "opt":
        return reader.has_label(row["Options"], value)
    if key == "name":
        import re

        try:
            return re.search(value, row["Name"]) is not None
        except re.error as error:
            raise reader.BadFilter(f"name={value}", str(error)) from None
    if key == "dangling":
        return (row["Name"] not in used) == reader.truth(key, value)
    if key in ("since", "until"):
        made = reader.moment(row["CreatedAt"])
        return made < reader.moment(value) if key == "until" else made > reader.moment(value)
    return row["Driver" if key == "driver" else "Scope"] == value


def prune(engine, filters=()):
    """Remove the volumes that no container uses: a list of (name, error or None).

    What interrupted removals left behind goes too.
    """
    reader.parse(filters, ("label", "label!", "until", "since", "name"))
    done = []
    for row in listing(engine, (*filters, "dangling=true")):
        try:
            volumes.remove(engine, row["Name"])
            events.volume(engine, "prune", row["Name"])
            done.append((row["Name"], None))
        except (RlError, OSError) as error:
            done.append((row["Name"], error))
    sweep(engine)
    return done


def sweep(engine):
    """Erase what crashes have left in volumes/: the number of things erased (int)."""
    base = volumes.directory(engine)
    try:
        found = os.listdir(base)
    except FileNotFoundError:
        return 0
    erased = 0
    for name in found:
        if name.startswith((volumes.DRAFT, volumes.GONE)) and _free(f"{base}/{name}"):
            try:
                volumes.erase(engine, name)
                erased += 1
            except FileNotFoundError:
                pass  # somebody else sweeps too
    return erased


def _free(path):
    try:
        handle = os.open(path, files.DIRECTORY)
    except OSError:
        return False
    try:
        return files.lock(handle, wait=False)
    finally:
        os.close(handle)


def free(engine, name, timeout=None):
    """Remove the containers that use a volume, running or not, so that it can go.

    ``timeout``: seconds to give each before SIGKILL (None: its own stop timeout).
    """
    from rootless.engine import records
    from rootless.engine.remove import remove as remove_container

    for container in volumes.users(engine)[0].get(name, ()):
        try:
            remove_container(engine, records.load(engine, container), True, timeout=timeout)
        except records.NoContainer:
            pass  # removed meanwhile
