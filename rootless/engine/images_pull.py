"""The verbs that bring images in and out: pull, load, save, import; login and logout."""

from rootless.engine import events, images, images_platform
from rootless.errors import RlError
from rootless.image import pull as puller
from rootless.image.progress import Silent
from rootless.image.registry import client, http
from rootless.model import oci, reference
from rootless.store.images import NoSuchImage


class NotPulled(RlError):
    """cannot pull {name}: {why}"""


class NoTransport(RlError):
    """rl can't pull from {name}:"""

    hint = "it can from a registry, docker-archive:FILE, oci-archive:FILE, oci:DIR and elf:PROGRAM"


class NotAName(RlError):
    """{name} is an image of its own, not another name for {first}"""

    hint = "rl save --multi-image-archive writes them all"


class BadDelay(RlError):
    """--retry-delay {0!r}: expected a duration such as 500ms or 2s"""


class NowhereFound(RlError):
    """no registry has the image {name}: {tried}"""

    hint = "check the name, or write it with its registry"


def options(engine, settings, platform=None, exact=False, **more):
    """The image.pull.Options of this call."""
    config = engine.config
    return puller.Options(
        platform or images_platform.host(),
        exact=exact,
        registries=settings,
        environ=config.environ,
        home=config.home,
        find_program=engine.program,
        **{key: value for key, value in more.items() if value is not None},
    )


def split_creds(text):
    """USER[:PASSWORD] of --creds as a Login; the password is asked for by the caller."""
    from rootless.image.registry.auth import Login

    user, _, password = text.partition(":")
    return Login(user, password)


# --- pull ----------------------------------------------------------------------------------


def pull_for_run(
    engine, name, record, policy, settings, make_progress, must_run=True, **more
):
    """Pull ``name`` for run or build; ``record`` is the local image that would do, or None.

    With ``newer`` and a local image the registry is only asked; if it can't be reached,
    the local one serves.
    """
    chosen = options(engine, settings, **more)
    if policy == "newer" and record is not None:
        try:
            if not is_newer(engine, name, record, settings, chosen):
                return record
        except (RlError, OSError):
            return record
    if _is_local(name):
        if record is not None:
            return record
        raise NoSuchImage(name, hint="rl images lists what is here")
    if must_run:
        chosen.check = lambda found: images_platform.check(name, found)
    with_progress = make_progress() if make_progress else Silent()
    try:
        return pull_name(engine, name, settings, chosen, with_progress)
    finally:
        close = getattr(with_progress, "close", None)
        if close:
            close()


def _is_local(name):
    """Whether ``name`` can only mean an image that is here: an id, or one of localhost."""
    try:
        parsed = reference.parse(name)
    except reference.BadReference:
        if reference.is_id(name.removeprefix("sha256:")):
            return True
        raise
    return name.startswith("sha256:") or parsed.domain == reference.LOCALHOST


def pull_name(engine, name, settings, chosen, progress):
    """Pull what ``name`` stands for from the first registry that has it: its record."""
    candidates = settings.to_pull(name)
    failed = []
    for candidate in candidates:
        progress.message(f"Trying to pull {candidate}...")
        try:
            return _pulled(engine, candidate, chosen, progress)
        except http.Unreachable as error:
            if len(candidates) == 1:
                raise NotPulled(name=candidate, why=error.message, hint=error.hint) from None
            failed.append(f"{candidate.domain} ({error.message})")
        except (client.Unknown, client.Denied) as error:
            if len(candidates) == 1:
                raise
            failed.append(f"{candidate.domain} ({error.message})")
    raise NowhereFound(name=name, tried="; ".join(failed))


def _pulled(engine, candidate, chosen, progress):
    record = puller.pull(engine.store, candidate, chosen, progress)
    events.image(engine, "pull", record["id"], str(candidate))
    return record


def is_newer(engine, name, record, settings, chosen):
    """Whether the registry has another image under ``name`` than the local ``record``."""
    for candidate in settings.to_pull(name):
        if candidate.digest:
            return False
        digest = puller.current_digest(candidate, chosen)
        if digest is not None:
            return str(candidate.with_digest(digest)) not in record.get("digests", ())
    return True


def pull(engine, request, progress, login=None):
    """The verb: the records of all images pulled, in order.

    ``login`` is what --creds says. Raises at the first image that fails.
    """
    settings = images.registries(engine)
    host = images_platform.host()
    platform = oci.wanted_platform(
        host, request.platform, request.os, request.arch, request.variant
    )
    exact = not request.given.isdisjoint(("platform", "os", "arch", "variant"))
    chosen = options(
        engine,
        settings,
        platform,
        exact,
        login=login,
        authfile=request.authfile,
        cert_dir=request.cert_dir,
        tls_verify=request.tls_verify if "tls_verify" in request.given else None,
        retry=request.options.get("retry"),
        retry_delay=seconds(request.options.get("retry_delay")),
    )
    found = []
    try:
        for name in request.args:
            found += _pull_argument(engine, name, settings, chosen, progress, request)
    finally:
        engine.store.tmp.release()
    return found


def _pull_argument(engine, name, settings, chosen, progress, request):
    """The records of what one argument of pull means."""
    transport, rest = reference.split_transport(name)
    if transport != "docker":
        return load_any(engine, transport, rest, progress)
    head, colon, _ = name.partition(":")
    if colon and head in reference.FOREIGN:
        raise NoTransport(name=head)
    if name == "hello" and images.lookup(engine, name, settings) is None:
        return [images.resolve(engine, name)]
    if request.all_tags:
        return _pull_all(engine, name, settings, chosen, progress)
    return [_pull_one(engine, name, settings, chosen, progress, request)]


def seconds(text):
    """What --retry-delay says, in seconds (float), None if nothing. Raises BadDelay."""
    from rootless.engine import filters

    found = None if text is None else filters.seconds(text)
    if text is not None and (found is None or found < 0):
        raise BadDelay(text)
    return found


def _pull_one(engine, name, settings, chosen, progress, request):
    policy = request.options.get("policy") or "always"
    record = images.lookup(engine, name, settings) if policy != "always" else None
    if record is not None and chosen.exact:
        if oci.fits(images.platform_of(record), chosen.platform) is None:
            record = None
    if policy == "never" and record is None:
        raise images.NotHere(name=name)
    if record is not None and (
        policy in ("missing", "never")
        or not is_newer(engine, name, record, settings, chosen)
    ):
        return record
    return pull_name(engine, name, settings, chosen, progress)


def _pull_all(engine, name, settings, chosen, progress):
    parsed = reference.parse(name)
    if parsed.tag or parsed.digest:
        raise reference.BadReference(text=name, why="--all-tags wants a name without a tag")
    candidate = settings.to_pull(name)[0]
    found = []
    for one in puller.all_tags(candidate, chosen):
        progress.message(f"Trying to pull {one}...")
        found.append(_pulled(engine, one, chosen, progress))
    return found


# --- archives ------------------------------------------------------------------------------


def load_any(engine, transport, path, progress):
    """The records of the images in ``path``, read as ``transport`` says."""
    if transport == "elf":
        return [images.resolve(engine, f"elf:{path}")]
    from rootless.image.archive import load

    path, wanted = load.split_path(path)
    host = images_platform.host()
    found = load.load(engine.store, path, None, progress, transport, wanted, host)
    return _loaded(engine, found, path)


def _loaded(engine, found, path):
    for record in found:
        events.image(engine, "loadfromarchive", record["id"], path)
    return found


def load_one(engine, transport, path, make_progress):
    """The record of the one image in ``path``, for run. Raises SeveralImages."""
    from rootless.image.archive import load

    found = load_any(engine, transport, path, make_progress() if make_progress else Silent())
    if len(found) != 1:
        raise load.SeveralImages(name=path, count=len(found))
    return found[0]


def load(engine, path, descriptor, progress):
    """The verb: the records of the images in an archive, each with "names"."""
    from rootless.image.archive import load as reader

    host = images_platform.host()
    try:
        found = reader.load(engine.store, path, descriptor, progress, platform=host)
        return _loaded(engine, found, path)
    finally:
        engine.store.tmp.release()


def save(engine, names, form, output, several, progress):
    """The verb: write images in the format ``form``.

    ``output``: a path, or None for standard output; ``several``: every name is an image of
    its own, else those after the first are more names for it.
    """
    items = items_to_save(engine, names if several else names[:1])
    if not several:
        own = (items[0].record["id"], images.find(engine, names[0], lists=True)["id"])
        for name in names[1:]:
            other = images.lookup(engine, name, lists=True)
            if other is not None and other["id"] not in own:
                raise NotAName(name=name, first=names[0])
        items[0].names += [str(reference.for_local(name)) for name in names[1:]]
    save_items(engine, items, form, output, progress)
    for item in items:
        events.image(engine, "save", item.record["id"], output or "")


def save_items(engine, items, form, output, progress):
    """Write image.archive.save.Items in the format ``form`` to a path; None for stdout."""
    from rootless.image.archive import save as writer

    if form.endswith("-dir"):
        writer.save(engine.store, items, form, None, output, progress)
    elif output is None:
        writer.save(engine.store, items, form, 1, None, progress)
    else:
        with writer.Output(output) as descriptor:
            writer.save(engine.store, items, form, descriptor, output, progress)


def items_to_save(engine, names):
    """What to save, image.archive.save.Items: images named by an id come without names."""
    from rootless.image.archive import save as writer

    settings = images.registries(engine)
    items = {}
    for name in names:
        record = images.find(engine, name, settings)
        item = items.setdefault(record["id"], writer.Item(record, []))
        # Of a manifest list, this machine's image is saved under the list's name.
        named = images.find(engine, name, settings, lists=True)
        known = engine.store.images.names(named["id"])
        chosen = name_used(name, known, settings)
        if chosen and chosen not in item.names:
            item.names.append(chosen)
    return list(items.values())


def name_used(text, known, settings):
    """Which of an image's names the user typed; None for an id or a digest."""
    try:
        candidates = [str(one) for one in settings.candidates(text)]
        ending = f"/{reference.parse(text).complete()}"
    except RlError:
        return None
    for name in candidates:
        if name in known:
            return name
    return next((name for name in known if name.endswith(ending)), None)


def import_tarball(engine, source, name, platform, changes, message, progress):
    """The verb: the record of an image made of the archive ``source`` (path, URL or -).

    ``platform``: (os, architecture, variant) as typed or None.
    """
    import os

    from rootless.image import importing

    names = [str(reference.for_local(name))] if name else []
    chosen = oci.wanted_platform(images_platform.host(), None, *platform)
    if source == "-":
        read, size, close = importing.from_descriptor(os.dup(0))
    else:
        read, size, close = importing.open_source(source, http.Trust(engine.config.environ))
    try:
        record = importing.take(
            engine.store, read, size, chosen, names, changes, message or "",
            f"rl import {source}", progress,
        )  # fmt: skip
        events.image(engine, "import", record["id"], source)
        return record
    finally:
        close()
        engine.store.tmp.release()
