"""Changing which images there are and what they are called: rmi, tag, untag, prune."""

from rootless.engine import build_cache, events, images, images_list
from rootless.engine import filters as reader
from rootless.errors import RlError
from rootless.image.record import in_lists, is_dangling, name_image
from rootless.model import reference
from rootless.store.images import ImageInUse, NoSuchImage, SeveralNames


class NoSuchName(RlError):
    """{name}: tag not known"""

    hint = "rl images lists the names"


class UsedBy(RlError):
    """image {image} is used by container {container}"""

    hint = "remove the container first (rl rm {container}), or both: rl rmi --force {image}"

    exit_code = 2


class Missing(RlError):
    """{0}: image not known"""

    hint = "rl images lists what is here"
    exit_code = 1


# --- names ---------------------------------------------------------------------------------


def tag(engine, name, targets):
    """Give the image ``name`` more names (short ones are in localhost/)."""
    record = images.find(engine, name, lists=True)
    for target in [str(reference.for_local(text)) for text in targets]:
        if "list" in record:
            engine.store.images.set_list(record["id"], _still_there(name), [target])
        else:
            name_image(engine.store, record, target)
        events.image(engine, "tag", record["id"], target)


def _still_there(name):
    """For ``set_list``: the record as it is."""

    def change(known):
        if known is None:
            raise NoSuchImage(name)
        return known

    return change


def untag(engine, name, targets=()):
    """Take names from the image ``name``; all of them if none is given."""
    record = images.find(engine, name, lists=True)
    names = engine.store.images.names(record["id"])
    chosen = [_own_name(engine, text, names) for text in targets] or names
    for target in chosen:
        engine.store.images.untag(target)
        events.image(engine, "untag", record["id"], target)


def _own_name(engine, text, names):
    settings = images.registries(engine)
    for candidate in settings.candidates(text):
        if str(candidate) in names:
            return str(candidate)
    raise NoSuchName(name=str(reference.for_local(text)))


# --- removing ------------------------------------------------------------------------------


def remove(engine, names, everything=False, force=False, ignore=False, collect=True):
    """Remove images or names: a list of (what was done, error or None) for each step.

    What was done is text as podman prints it ("Untagged: …", "Deleted: …").  Goes on after
    an error.  ``force`` removes the containers that use an image, too; ``collect`` frees
    the room at once.
    """
    done = []
    used = images_list.users(engine)
    settings = images.registries(engine)
    if everything:
        names = [record["id"] for record in engine.store.images.list()]
        names += list(engine.store.images.scan()[1])
    for name in names:
        try:
            done += [(line, None) for line in _remove(engine, name, force or everything and
                     name not in used, used, settings)]  # fmt: skip
        except NoSuchImage:
            if not ignore:
                done.append((name, Missing(name)))
        except ImageInUse as error:
            done.append((name, UsedBy(image=error.args[0], container=error.args[1])))
        except RlError as error:
            done.append((name, error))
    if collect and any(error is None for _, error in done):
        sweep(engine)
    return done


def _remove(engine, name, force, used, settings):
    store = engine.store
    found = {"search": settings.search, "aliases": settings.aliases}
    image = store.images.find_id(name, **found)
    if force and used.get(image):
        _remove_containers(engine, image)
    gone = store.images.remove(name, force=force, used_by=used, **found)
    for text in gone["untagged"]:
        events.image(engine, "untag", image, text)
    for text in gone["deleted"]:
        events.image(engine, "remove", image, text)
    lines = [f"Untagged: {text}" for text in gone["untagged"]]
    return lines + [f"Deleted: {text}" for text in gone["deleted"]]


def _remove_containers(engine, image):
    """Remove every container made from ``image``, running or not."""
    from rootless.engine import records
    from rootless.engine.remove import remove as remove_container

    for record in records.everything(engine):
        if record.get("image") == image:
            remove_container(engine, record, force=True, timeout=0)


def sweep(engine, resumable=False):
    """Free the room of layers and blobs that nothing needs any more.

    ``resumable``: also of half-loaded blobs, with which a next pull could go on.
    """
    from rootless.store import gc

    gc.collect(engine.store, resumable)


def prune(engine, everything=False, texts=()):
    """Remove images without a name (``everything``: all) that no container uses, and what
    builds keep of steps that no image is made of (all of it).

    ``texts``: of --filter (label, label!, until).  The ids removed, and errors, as pairs.
    """
    from rootless.engine.prune import wanted

    pairs = reader.parse(texts, ("label", "label!", "until"))
    used = images_list.users(engine)
    done = []
    found = engine.store.images.list()
    listed = in_lists([] if everything else found)
    for record in found:
        if record["id"] in used:
            continue
        if not everything and not is_dangling(record, record["names"], listed):
            continue
        if not wanted(record.get("labels") or {}, images_list.created(record), pairs):
            continue
        try:
            # What has got a name since it was looked at stays.
            engine.store.images.remove(record["id"], force=True, nameless=not everything)
            events.image(engine, "remove", record["id"], record["id"])
            done.append((record["id"], None))
        except (SeveralNames, NoSuchImage):
            continue
        except RlError as error:
            done.append((record["id"], error))
    # Now that the images are gone: steps that only they had come of.
    if build_cache.prune(engine, everything, texts) or done:
        sweep(engine)
    return done


def exists(engine, name):
    """Whether there is an image ``name`` here."""
    return images.lookup(engine, name, lists=True) is not None
