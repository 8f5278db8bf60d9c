"""--cache-from and --cache-to: steps that are done, in registries and directories.

What is left somewhere is an OCI image: its layers are those of the steps, and its
configuration has the records of solve.cache under ``io.rl.build.cache``.  There are two
forms: in a REPOSITORY an image for each step, whose tag is the step's key; elsewhere one
image with all of them.  Nothing of a record is believed but that its layer belongs to its
key: layers are checked against their diff ids as those of any image.
"""

import os
import shutil
import time

from rootless.build.solve import image as making
from rootless.build.solve.stage import stamp
from rootless.engine import images, images_pull
from rootless.engine.build import outputs
from rootless.errors import RlError
from rootless.image import fetch, push
from rootless.image import pull as puller
from rootless.image.archive import load
from rootless.image.archive.bundle import open_bundle
from rootless.image.registry import client
from rootless.model import jsontext, oci, reference
from rootless.store import digests

FIELD = "io.rl.build.cache"
_FORM = 1
_HIGHEST = 253402300799  # the last second of the year 9999
_EACH, _ONE, _LOCAL, _INLINE = "each", "one", "local", "inline"
_OTHERS = ("gha", "s3", "azblob")


class BadCache(RlError):
    """{option} {text!r}: {why}"""

    hint = "such as {option} registry.example/team/cache or {option} type=registry,ref=NAME"


class NotOurs(RlError):
    """{name} holds no steps that rl has left there"""


class CacheInTheWay(RlError):
    """{path} is there and is no cache of rl"""

    hint = "name a new directory: --cache-to type=local,dest=DIR"


class Place:
    """Where steps are: ``kind``; ``target``, a Reference, or a path; ``least``: only the steps
    of the result are left there; ``text`` as typed."""

    def __init__(self, text, option):
        self.text = text
        self.least = False
        self.ignore = False
        if "=" not in text:
            self._set_reference(text, option)
            return
        fields = outputs.pairs(text, lambda why: self._bad(option, why))
        kind = fields.pop("type", "registry")
        if kind == _INLINE:
            self._set_inline(fields, option)
            return
        key = {"registry": "ref", "local": "dest" if option == "--cache-to" else "src"}.get(kind)
        if key is None:
            raise self._bad(option, f"rl has no caches of type {kind!r}; use type=registry"
                            if kind in _OTHERS else f"there is no type {kind!r}")  # fmt: skip
        where = fields.pop(key, "")
        if not where:
            raise self._bad(option, f"{key} is missing")
        if option == "--cache-to":
            mode = fields.pop("mode", "max")
            if mode not in ("min", "max"):
                raise self._bad(option, "mode is min or max")
            self.least = mode == "min"
            self.ignore = fields.pop("ignore-error", "false") == "true"
        if fields:
            raise self._bad(option, f"type={kind} has no option {', '.join(sorted(fields))}")
        if kind == "local":
            self.kind, self.target = _LOCAL, os.path.abspath(where)
        else:
            self.kind, self.target = _ONE, reference.normalise(where)

    def _set_reference(self, text, option):
        parsed = reference.parse(text)
        if parsed.domain is None:
            parsed = reference.qualify(parsed, reference.DEFAULT_DOMAIN)
        self.kind, self.target = _EACH, parsed
        if parsed.tag or parsed.digest:
            if option == "--cache-to":
                raise self._bad(option, "a repository has no tag; for one: type=registry,ref=…")
            self.kind = _ONE

    def _set_inline(self, fields, option):
        if option != "--cache-to":
            raise self._bad(option, "steps that are in an image are found by its name:"
                            " type=registry,ref=NAME")  # fmt: skip
        if fields:
            raise self._bad(option, f"type=inline has no option {', '.join(sorted(fields))}")
        self.kind, self.target = _INLINE, None

    def _bad(self, option, why):
        return BadCache(option=option, text=self.text, why=why)


def places(texts, option):
    """The Places of --cache-from or --cache-to (texts). Raises BadCache, BadReference."""
    return [Place(text, option) for text in texts]


def has_inline(found):
    """Whether steps are to be left in the image itself."""
    return any(place.kind == _INLINE for place in found)


def connect(engine, options):
    """The image.pull.Options for the registries of a build."""
    return images_pull.options(
        engine, images.registries(engine),
        login=images_pull.split_creds(options.creds) if options.creds else None,
        authfile=options.authfile, cert_dir=options.cert_dir, tls_verify=options.tls_verify,
        retry=options.retry, retry_delay=options.retry_delay,
    )  # fmt: skip


# --- taking --------------------------------------------------------------------------------


class Remote:
    """``Cache.fetch``: the record of a key, with its layer in the store, from the first place
    that has it.  A place with which something is wrong is passed over from then on."""

    def __init__(self, engine, options, found, progress):
        self._store = engine.store
        self._progress = progress
        chosen = connect(engine, options) if found else None
        self._sources = [_source(engine.store, place, chosen) for place in found]

    def __call__(self, key):
        for source in list(self._sources):
            try:
                record = source.find(key)
            except (RlError, OSError) as error:
                self._sources.remove(source)
                said = error.message if isinstance(error, RlError) else error.strerror
                self._progress.warning(f"--cache-from {source.place.text} is passed over: {said}")
                continue
            if record is not None:
                return record
        return None


def _source(store, place, chosen):
    if place.kind == _LOCAL:
        return _Directory(store, place)
    return _Registry(store, place, chosen)


class _Source:
    """The steps in one place."""

    def __init__(self, store, place):
        self.store = store
        self.place = place
        self._known = None

    def find(self, key):
        """The record of ``key``, its layer fetched; None if it isn't there."""
        if self.place.kind == _EACH:
            records = self._load(key)
        else:
            if self._known is None:
                self._known = self._load(None) or ({}, {})
            records = self._known
        if not records or key not in records[0]:
            return None
        record = records[0][key]
        layer = record["layer"]
        if layer is None:
            return record
        return {**record, "layer": self._fetch(layer, records[1][layer])}

    def _read(self, manifest, config):
        """({key: record}, {diff id: descriptor}) of an image's documents."""
        pairs = oci.match_layers(manifest, config)
        layers = {diff_id: descriptor for descriptor, diff_id in pairs}
        found = config.get(FIELD)
        if not isinstance(found, dict) or found.get("form") != _FORM:
            raise NotOurs(name=self.place.text)
        entries = found.get("records")
        if not isinstance(entries, dict):
            raise oci.BadDocument(kind="config", why=f"{FIELD} has no records")
        return {key: good for key, one in entries.items()
                if (good := _checked(one, layers)) is not None}, layers  # fmt: skip

    def _fetch(self, diff_id, descriptor):
        """Have a layer in the store: its facts as a record has them."""
        store = self.store
        store.tmp.hold(diff_id, descriptor["digest"])
        if not (store.layers.has(diff_id) and store.blobs.has(descriptor["digest"])):
            with self._layers() as source:
                fetch.fetch(store, [(descriptor, diff_id)], source)
        return {
            "diff_id": diff_id,
            "size": store.layers.index(diff_id).get("size", 0),
            "blob": descriptor["digest"],
            "blob_size": descriptor["size"],
            "compression": oci.compression(descriptor) or "",
        }


def _checked(one, layers):
    """A record as it was sent, without what it has no business to have; None if it is bad."""
    if not isinstance(one, dict):
        return None
    texts = [one.get(name) for name in ("parent", "text", "created")]
    made, layer = one.get("made"), one.get("layer")
    if not all(isinstance(text, str) for text in texts) or not _is_time(texts[2]):
        return None
    if not isinstance(made, (int, float)) or not 0 <= made <= _HIGHEST:
        return None
    if layer is not None and not (isinstance(layer, str) and layer in layers):
        return None
    return {"parent": texts[0], "text": texts[1], "created": texts[2], "made": made,
            "layer": layer}  # fmt: skip


def _is_time(text):
    """Whether a date is as rl writes it: it comes into the image, where others read it."""
    seconds = oci.unix_time(f"{text[:19]}Z")
    if seconds is None or not 0 <= seconds <= _HIGHEST or stamp(int(seconds))[:-1] != text[:19]:
        return False
    dot, digits, zone = text[19:20], text[20:-1], text[-1]
    if text[19:] == "Z":
        return True
    whole = digits.isascii() and digits.isdecimal() and len(digits) < 10
    return dot == "." and zone == "Z" and whole


class _Registry(_Source):
    def __init__(self, store, place, chosen):
        super().__init__(store, place)
        self._chosen = chosen
        self._found = None

    def _load(self, key):
        target = self.place.target.with_tag(key) if key else self.place.target
        connection = puller.Connection(self._chosen)
        try:
            try:
                found = puller.locate(connection, target)
            except client.Unknown:
                return None
            manifest = oci.Manifest(oci.load(found.data, "manifest"), found.claimed)
            data = found.registry.blob_bytes(
                connection.session, found.repository, manifest.config["digest"],
                oci.DOCUMENT_LIMIT,
            )  # fmt: skip
            puller.verify(data, manifest.config["digest"], "configuration",
                          found.registry.domain)  # fmt: skip
        finally:
            connection.close()
        self._found = found
        return self._read(manifest, oci.parse_config(data))

    def _layers(self):
        return _Opened(puller.Layers(puller.Connection(self._chosen), self._found))


class _Opened:
    """A context around a source of layers; ``close`` is a function to call at its end."""

    def __init__(self, source, close=None):
        self._source = source
        self._close = close

    def __enter__(self):
        return self._source

    def __exit__(self, *_):
        if self._close:
            self._close()


class _Directory(_Source):
    def _load(self, key):
        path = self.place.target
        if not os.path.isdir(path):
            return None
        with open_bundle(self.store, path) as bundle:
            manifest, config = load.one_image(bundle)
        return self._read(manifest, config)

    def _layers(self):
        bundle = open_bundle(self.store, self.place.target)
        return _Opened(load.Blobs(bundle), bundle.close)


# --- leaving -------------------------------------------------------------------------------


def leave(engine, options, found, builds, progress):
    """Leave the steps of ``builds`` (engine.build.build.Built) in the Places ``found``."""
    for place in found:
        if place.kind == _INLINE:
            continue  # it is in the image since that was made
        records = _chosen(builds, place.least)
        key = f"cache {place.text}"
        progress.step_started(key, f"exporting cache to {place.text}", None)
        began = time.monotonic()
        try:
            if place.kind == _LOCAL:
                _write(engine, place.target, records)
            else:
                _push(engine, options, place, records, progress.transfer(key))
        except (RlError, OSError) as error:
            progress.step_failed(key, error)
            if not place.ignore:
                raise
            progress.warning(f"--cache-to {place.text}: {error}")
        else:
            progress.step_done(key, time.monotonic() - began)


def _chosen(builds, least):
    """{key: record} of what is to be left: all that was met, or what the results stand on."""
    met = {}
    for built in builds:
        met.update(built.met)
    if not least:
        return met
    found = {}
    for built in builds:
        key = built.state.key
        while key in met and key not in found:
            found[key] = met[key]
            key = met[key]["parent"]
    return found


def _plain(record):
    layer = record["layer"]
    return {
        "parent": record["parent"], "text": record["text"], "created": record["created"],
        "made": record["made"], "layer": layer and layer["diff_id"],
    }  # fmt: skip


def inline(built, epoch):
    """What the configuration of a Built's image has for --cache-to type=inline: the steps of
    its own stage whose layers it has.  ``epoch``: the time of the build, None for now; the
    same build gives the same image."""
    have = set(built.state.diff_ids)
    found = {key: _plain(record) for key, record in _chosen([built], True).items()
             if record["layer"] is None or record["layer"]["diff_id"] in have}  # fmt: skip
    if epoch is not None:
        for record in found.values():
            record["made"] = epoch
    return {FIELD: {"form": _FORM, "records": found}} if found else {}


def _image(store, records):
    """The image that holds ``records``, as image.push wants a record of one; its blobs are in
    the store."""
    layers, shown = {}, {}
    for key, record in records.items():
        layer = record["layer"]
        if layer is not None:
            layers.setdefault(layer["diff_id"], making.descriptor(layer))
            store.tmp.hold(layer["diff_id"], layer["blob"])
        shown[key] = _plain(record)
    config = {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
        FIELD: {"form": _FORM, "records": shown},
    }
    data = jsontext.dumps(config, sort_keys=True).encode()
    digest = store.blobs.put(data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": {"mediaType": oci.OCI_CONFIG, "digest": digest, "size": len(data)},
        "layers": list(layers.values()),
    }
    found = store.blobs.put(jsontext.dumps(manifest, sort_keys=True).encode())
    return {"manifest": found, "config": digest, "media_type": oci.OCI_MANIFEST, "built": True}


def _push(engine, options, place, records, shown):
    chosen = connect(engine, options)
    packing = push.Packing()
    if place.kind == _ONE:
        push.push_part(engine.store, _image(engine.store, records), place.target, chosen,
                       packing, shown)  # fmt: skip
        return
    for key, record in records.items():
        target = place.target.with_tag(key)
        if not _is_there(target, chosen):
            part = _image(engine.store, {key: record})
            push.push_part(engine.store, part, target, chosen, packing, shown)


def _is_there(target, chosen):
    try:
        return puller.current_digest(target, chosen) is not None
    except client.Unknown:
        return False


def _write(engine, path, records):
    """Make the directory ``path`` anew, if it is a cache of before or isn't there."""
    from rootless.image.progress import Silent

    if os.path.lexists(path) and not _is_ours(engine.store, path):
        raise CacheInTheWay(path=path)
    fresh, old = (f"{path}.{os.urandom(4).hex()}" for _ in range(2))
    try:
        outputs.save(engine.store, _image(engine.store, records), (), "oci", fresh, True, Silent())
        if os.path.lexists(path):
            os.rename(path, old)
        try:
            os.rename(fresh, path)
        except OSError:
            if os.path.lexists(old):
                os.rename(old, path)  # better the old cache than none
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _is_ours(store, path):
    """Whether a directory is empty, or a cache that was left there."""
    if not os.path.isdir(path):
        return False
    if not os.listdir(path):
        return True
    try:
        with open_bundle(store, path) as bundle:
            return FIELD in load.one_image(bundle)[1]
    except (RlError, OSError, digests.BadDigest):
        return False
