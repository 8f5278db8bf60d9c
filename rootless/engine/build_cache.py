"""What builds keep to be faster: how much it takes, and removing it."""

from rootless.engine import filters as reader
from rootless.store import cache


def usage(engine, measured, everything):
    """What the cache takes, of what ``store.df.usage`` measured: a dict.

    ``records``; ``active``: those whose layer an image has, too; ``bytes`` of the layers and
    blobs that only the cache keeps.  ``everything``: the records of all containers.
    """
    store = engine.store
    records = list(cache.scan(store))
    wanted = _wanted(store, everything) if records else set()
    kept = {digest for record in records for digest in cache.needs(record)} - wanted
    return {
        "records": records,
        "active": [record for record in records if not set(cache.needs(record)) - wanted],
        "bytes": sum(size for kind in ("layers", "blobs")
                     for digest, size in measured[kind].items() if digest in kept),
    }  # fmt: skip


def _wanted(store, containers=()):
    """The digests of layers and blobs that images and containers need."""
    found = set()
    for record in store.images.list():
        found.update(record["layers"])
        found.update(record.get("blobs", ()))
    for record in containers:
        found.update(record.get("layers") or ())
    return found


def _kept(store):
    """The keys of records that tell how an image came about: of steps whose layer it has, and
    of those before and after them that made no layer."""
    wanted = _wanted(store)
    every = {record["key"]: record for record in cache.scan(store)}
    kept = {key for key, record in every.items()
            if cache.needs(record) and wanted.issuperset(cache.needs(record))}  # fmt: skip
    for key in list(kept):
        above = every[key].get("parent")
        while above in every and above not in kept:
            kept.add(above)
            above = every[above].get("parent")
    for key, record in every.items():
        path = []
        while record is not None and key not in kept and not cache.needs(record):
            path.append(key)
            key = record.get("parent")
            record = every.get(key)
        if key in kept:
            kept.update(path)
    return kept


def prune(engine, everything=False, texts=(), sweep=False):
    """Remove what the cache has for steps that no image has come of, ``everything``: all, and
    the directories of RUN --mount=type=cache.

    ``texts``: of --filter: until (last used before then); with a label nothing goes: steps
    have none.  How many went.  ``sweep``: free the room of their layers at once.
    """
    pairs = reader.parse(texts, ("label", "label!", "until"))
    if any(key == "label" for key, _ in pairs):
        return 0
    limits = [reader.moment(value) for key, value in pairs if key == "until"]
    store = engine.store
    if not cache.is_there(store):
        return 0
    kept = set() if everything else _kept(store)

    def goes(record):
        return record["key"] not in kept and all(record["used"] < limit for limit in limits)

    whole = everything and not limits
    done = len(cache.remove(store, None if whole else goes))
    if everything:
        from rootless.build.steps import caches

        done += caches.prune(store, lambda used: not all(used < limit for limit in limits))
    if sweep:
        from rootless.engine.images_change import sweep as collect

        collect(engine)
    return done
