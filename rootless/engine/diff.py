"""``rl diff``: which files of a container or an image differ (podman-diff(1))."""

from contextlib import ExitStack

from rootless.engine import contents, images, lifecycle, records
from rootless.errors import RlError
from rootless.store import compare


class Unknown(RlError):
    """there is neither a container nor an image {0!r}"""

    hint = "rl ps -a and rl images list them"


def diff(engine, request):
    """The changes that a request asks for: a sorted list of (path, "A", "C" or "D").

    One name: a container against its image, an image against what is below its topmost
    layer; two: the first against the second.  ``rl image diff`` knows images only.
    """
    names = list(request.args)
    if request.latest:
        first, container = None, lifecycle.select(engine, request.replace(args=()))[0]
    else:
        first = names.pop(0)
        container = _container(engine, first, request)
    second = names[0] if names else None
    other = _container(engine, second, request) if names else None
    with ExitStack() as kept:
        for record in (container, other):
            if record is not None:
                kept.enter_context(contents.Kept(engine, record))
        return _compare(engine, (first, container), (second, other))


def _compare(engine, new, old):
    """The changes between two (name, record of a container or None)."""
    name, container = new
    if container is not None and old == (None, None):
        return of_container(engine, container)
    new = _side(engine, container) if container else _image(engine, name)
    if old == (None, None):
        old = {"layers": new["layers"][:-1]}
    else:
        old = _side(engine, old[1]) if old[1] else _image(engine, old[0])
    found = compare.differences(engine.store, new, old)
    if container is not None:
        found = contents.own_changes(found, records.load_spec(engine, container["id"]))
    return found


def of_container(engine, record):
    """What a container has changed: (path, kind) pairs."""
    if not record["rootfs"] and not contents.has_root(engine, record):
        return []  # it never ran
    driver, home, layers = contents.place(engine, record)
    return contents.own_changes(
        driver.changes(home, layers), records.load_spec(engine, record["id"])
    )


def _container(engine, name, request):
    if request.options.get("type") == "image":
        return None
    try:
        return records.find(engine, name)
    except records.NoContainer:
        return None


def _side(engine, record):
    driver, home, layers = contents.place(engine, record)
    return {"layers": layers, "driver": driver.name, "home": home}


def _image(engine, name):
    found = images.lookup(engine, name)
    if found is None:
        raise Unknown(name)
    return {"layers": engine.store.layers.paths(found["layers"])}
