"""Images: one record each, found by name, by digest, or by the start of the id.

The id is the hex digits of the digest of the image's configuration, as everywhere.
"""

import errno
import os

from rootless.errors import RlError
from rootless.model import reference
from rootless.store import digests, records
from rootless.store.refs import Refs

_SHORTEST = 1


class NoSuchImage(RlError):
    """{0}: image not known"""

    hint = "rl images lists what is here; rl pull {0} fetches it"


class AmbiguousImage(RlError):
    """{0} may be any of several images: {1}"""

    hint = "write more of it"


class ImageInUse(RlError):
    """image {0} is used by container {1}"""

    hint = "remove the container first (rl rm {1}), or both: rl rmi --force {0}"


class SeveralNames(RlError):
    """image {0} has several names: {1}"""

    hint = "remove one name (rl rmi NAME), or all of them: rl rmi --force {0}"


class Images:
    """The images/ and refs/ directories of a store.

    A record is a dict: "id"; "manifest" and "config", digests; "layers", diff ids, bottom
    first; "digests", the NAME@DIGEST it was pulled by or has been given; "created",
    "architecture", "os", "size" and what else ``add`` was told.  A list of images has
    "list", no layers, and its index as "manifest" and "config"; its id means nothing.
    """

    def __init__(self, store):
        self.store = store
        self.refs = Refs(store)

    # --- making ---

    def add(self, manifest_digest, config_digest, layers, names=(), **facts):
        """Record an image whose blobs and layers are in the store; its record.

        Every one of ``names`` (complete references, str) stands for it from now on.
        ``facts["digests"]``: NAME@DIGEST it is known by; a name given makes another one of
        the manifest's digest.  The id has one record, however often it comes.  NoLayer or
        NoBlob if something was removed meanwhile.
        """
        image = digests.hexdigits(config_digest)
        wanted = list(facts.pop("digests", ()))
        for name in names:
            parsed = reference.parse(name)
            wanted.append(str(parsed.with_digest(manifest_digest)))
        self.store.tmp.hold(manifest_digest, config_digest, *layers)
        with self.store.tmp.named(f"image-{image}"):
            known = self._known(image)
            merged = dict(known or {})
            merged.update(facts)
            merged.update(
                id=image,
                manifest=manifest_digest,
                config=config_digest,
                layers=list(layers),
                digests=sorted({*merged.get("digests", ()), *wanted}),
            )
            if merged != known:
                records.write(self.store.directory("images"), image, merged)
            self._verify(merged)
            # Still locked: whoever removes the image either sees these names or has been here.
            for name in names:
                self.refs.set(name, image)
        return merged

    def set_list(self, image, change, names=()):
        """Record a list of images (an index) under the id ``image``: its record.

        ``change`` gets the record, or None if there is none yet, and returns what it is to
        have: "manifest" (digest of the index, a blob that is here), "list" ({digest of an
        image: where it is from}) and other facts.  Nobody else changes it meanwhile.
        Every one of ``names`` (complete references, str) stands for it from now on.
        """
        with self.store.tmp.named(f"image-{image}"):
            known = self._known(image)
            merged = {**(known or {}), **change(known)}
            merged.update(id=image, config=merged["manifest"], layers=[])
            merged["names_history"] = sorted({*merged.get("names_history", ()), *names})
            every = {*names, *(self.names(image) if known else ())}
            merged["digests"] = sorted(
                str(reference.parse(name).with_digest(merged["manifest"])) for name in every
            )
            self.store.tmp.hold(merged["manifest"], *merged["list"])
            records.write(self.store.directory("images"), image, merged)
            for name in names:
                self.refs.set(name, image)
        return merged

    def _known(self, image):
        try:
            return self._read(image)
        except (FileNotFoundError, records.DamagedRecord):
            return None

    def _verify(self, record):
        """Look, now that the record keeps them, whether all parts are still there."""
        self.store.layers.paths(record["layers"])
        for digest in (record["manifest"], record["config"]):
            if not self.store.blobs.needed(digest):
                from rootless.store.blobs import NoBlob

                raise NoBlob(digest=digest)

    def _read(self, image):
        found = records.read(self.store.directory("images"), image, f"images/{image}")
        if found.get("id") != image or not isinstance(found.get("layers"), list):
            raise records.DamagedRecord(path=f"images/{image}", problem="it makes no sense")
        return found

    # --- finding ---

    def get(self, image):
        """The record with exactly this id; NoSuchImage, or DamagedRecord."""
        try:
            return self._read(image)
        except FileNotFoundError:
            raise NoSuchImage(image) from None

    def find(self, text, search=(reference.DEFAULT_DOMAIN,), aliases=None):
        """The record of the image that ``text`` means; NoSuchImage or AmbiguousImage.

        ``text`` is a name (short ones: localhost first, then ``aliases``, then the
        registries ``search``, then any repository that ends so), NAME@DIGEST, or the start
        of an id.  A digest only fits the repository it came from.
        """
        return self.get(self.find_id(text, search, aliases))

    def lookup(self, text, search=(reference.DEFAULT_DOMAIN,), aliases=None):
        """As ``find``, but None instead of NoSuchImage."""
        try:
            return self.find(text, search, aliases)
        except NoSuchImage:
            return None

    def find_id(self, text, search=(reference.DEFAULT_DOMAIN,), aliases=None):
        """As ``find``, but the image's id; works for images whose record is damaged."""
        plain = text.removeprefix("sha256:")
        if len(plain) in digests.SIZES.values() and digests.is_hex(plain):
            if self._exists(plain):
                return plain
            raise NoSuchImage(text)
        found = self._by_name(text, search, aliases)
        if found is None and len(plain) >= _SHORTEST and digests.is_hex(plain):
            found = self._by_prefix(plain)
        if found is None:
            raise NoSuchImage(text)
        return found

    def _exists(self, image):
        return os.path.exists(self.store.path("images", image))

    def _by_prefix(self, start):
        fitting = [name for name in self.store.names("images") if name.startswith(start)]
        if len(fitting) > 1:
            raise AmbiguousImage(start, ", ".join(sorted(name[:12] for name in fitting)[:5]))
        return fitting[0] if fitting else None

    def _by_name(self, text, search, aliases):
        try:
            candidates = reference.candidates(text, aliases, search)
        except RlError:
            return None
        for candidate in candidates:
            if candidate.digest:
                found = self._by_digest(str(candidate.with_digest(candidate.digest)))
            else:
                found = self.refs.get(str(candidate))
            if found is not None and self._exists(found):
                return found
        return self._by_ending(reference.parse(text))

    def _by_digest(self, wanted):
        for record in self.list():
            if wanted in record.get("digests", ()):
                return record["id"]
        return None

    def _by_ending(self, short):
        """A short name may also be the end of one repository that is here."""
        if short.domain is not None or short.digest:
            return None
        ending = f"/{short.complete()}"
        fitting = {
            image: name for name, image in self.refs.all().items()
            if name.endswith(ending) and self._exists(image)
        }  # fmt: skip
        if len(fitting) > 1:
            raise AmbiguousImage(str(short), ", ".join(sorted(fitting.values())[:5]))
        return next(iter(fitting), None)

    # --- listing ---

    def list(self):
        """The records of all images that can be read, each with its sorted "names" added."""
        return self.scan()[0]

    def scan(self):
        """(records as of ``list``, {id: the DamagedRecord or OSError}) of all images."""
        named = {}
        for name, image in self.refs.all().items():
            named.setdefault(image, []).append(name)
        found, damaged = [], {}
        for image in self.store.names("images"):
            try:
                record = self._read(image)
            except FileNotFoundError:
                continue
            except (RlError, OSError) as error:
                damaged[image] = error
                continue
            record["names"] = sorted(named.get(image, ()))
            found.append(record)
        return found, damaged

    def names(self, image, strict=False):
        """The names that stand for the image id, sorted.

        ``strict``: OSError if a tag couldn't be read just now, since it may be one.
        """
        found, unreadable = self.refs.scan()
        for error in unreadable.values():
            if strict and isinstance(error, OSError):
                raise error
        return sorted(name for name, one in found.items() if one == image)

    def dangling(self):
        """The records of images without a name."""
        return [record for record in self.list() if not record["names"]]

    # --- naming and removing ---

    def tag(self, name, image):
        """Make the complete reference ``name`` stand for the image id. NoSuchImage."""
        with self.store.tmp.named(f"image-{image}"):
            record = self.get(image)
            digest = str(reference.parse(name).with_digest(record["manifest"]))
            wanted = {**record, "digests": sorted({*record.get("digests", ()), digest}),
                      "names_history": sorted({*record.get("names_history", ()), name})}
            if wanted != record:
                records.write(self.store.directory("images"), image, wanted)
            self.refs.set(name, image)

    def add_digest(self, image, text):
        """Note that the image id is also known as ``text``, a NAME@DIGEST. NoSuchImage."""
        with self.store.tmp.named(f"image-{image}"):
            record = self.get(image)
            if text not in record.get("digests", ()):
                record["digests"] = sorted({*record.get("digests", ()), text})
                records.write(self.store.directory("images"), image, record)

    def untag(self, name):
        """Take the complete reference ``name`` away; True if it was there."""
        return self.refs.remove(name)

    def remove(self, text, force=False, used_by=None, search=(reference.DEFAULT_DOMAIN,),
               aliases=None, nameless=False):
        """Remove an image or one of its names: {"untagged": names, "deleted": ids}.

        A name that isn't the image's only one is taken away, nothing else.  Else the record
        goes; layers and blobs that nothing needs any more go with store.gc.  ``used_by``:
        {image id: [container, …]}.  Raises ImageInUse and SeveralNames (an id with several
        names) unless ``force``, which takes all names; ``nameless``: SeveralNames also if it
        has one (by now).  Damage doesn't matter here.
        """
        image = self.find_id(text, search, aliases)
        with _Alone(self.store, image):
            return self._remove(image, text, force, used_by, (search, aliases), nameless)

    def _remove(self, image, text, force, used_by, found_by, nameless):
        names = self.names(image, strict=not force)
        if nameless and names:
            raise SeveralNames(text, ", ".join(names))
        by_name = self._name_used(text, names, *found_by)
        if by_name is not None and len(names) > 1:
            self.refs.remove(by_name)
            return {"untagged": [by_name], "deleted": []}
        if not force:
            if len(names) > 1:
                raise SeveralNames(text, ", ".join(names))
            users = (used_by or {}).get(image)
            if users:
                raise ImageInUse(text, users[0])
        for name in names:
            self.refs.remove(name)
        self._delete(image)
        return {"untagged": names, "deleted": [image]}

    def _name_used(self, text, names, search, aliases):
        """Which of ``names`` the user wrote; None if the image was named in another way."""
        try:
            candidates = [str(one) for one in reference.candidates(text, aliases, search)]
            ending = f"/{reference.parse(text).complete()}"
        except RlError:
            return None
        for name in names:
            if name in candidates:
                return name
        return next((name for name in names if name.endswith(ending)), None)

    def _delete(self, image):
        home = self.store.directory("images")
        try:
            os.unlink(image, dir_fd=home)
        except FileNotFoundError:
            pass
        os.fsync(home)


class _Alone:
    """A context in which nobody else names, changes or removes an image, as far as that is
    possible: on a full disk, where no lock can be made, something has to be removed."""

    def __init__(self, store, image):
        self.store = store
        self.image = image
        self.work = None

    def __enter__(self):
        try:
            self.work = self.store.tmp.named(f"image-{self.image}")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def __exit__(self, *_):
        if self.work is not None:
            self.work.remove()
