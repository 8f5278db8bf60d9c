"""The images that stages stand on or read, by name: looked for, pulled if need be, opened."""

import time

from rootless.build.language.source import BuildError, error_at
from rootless.build.solve.cache import key_of
from rootless.build.solve.graph import SCRATCH
from rootless.build.solve.state import State
from rootless.engine import images, images_platform
from rootless.errors import RlError
from rootless.image import manifests
from rootless.model import oci

_IMAGES = ("docker-image://", "container-image://")
_LAYOUT = "oci-layout://"


class NotAnImage(RlError):
    """--build-context {name}={place} is a directory of files, and FROM needs an image"""

    hint = "docker-image://IMAGE or oci-layout://DIRECTORY stand for images"


class Bases:
    """Images by name and platform; each is resolved once.

    ``named``: {name: text} of those --build-context that stand for images;
    ``trees``: names of those that are files; ``replace``: the image in the place of the first
    FROM (--from), or None.
    """

    def __init__(self, engine, options, named, trees):
        self.engine = engine
        self.named = named
        self.trees = trees
        self._pull = options.pull
        self._more = {
            "tls_verify": options.tls_verify,
            "authfile": options.authfile,
            "cert_dir": options.cert_dir,
            "retry": options.retry,
            "retry_delay": options.retry_delay,
        }
        if options.creds:
            from rootless.engine.images_pull import split_creds

            self._more["creds"] = split_creds(options.creds)
        self._found = {}

    def state(self, name, platform, exact, report, node, text, later=None):
        """The State of the image ``name``: an independent copy.

        ``exact``: no other platform will do; ``report(factory)`` is told that bytes come.
        ``later``: the line of a stage below that is called so, or None.  Errors point at
        ``text`` in ``node``.
        """
        if name.lower() == SCRATCH and SCRATCH not in self.named:
            return State(platform, key=key_of("scratch", list(platform)))
        key = (name.lower() if name.lower() in self.named else name, platform, exact)
        if key not in self._found:
            self._found[key] = self._resolve(name, platform, exact, report, node, text, later)
        return self._found[key].copy()

    def _resolve(self, name, platform, exact, report, node, text, later):
        place = self._place(name)
        try:
            record = images.resolve(
                self.engine, place, pull=self._pull, platform=str(platform) if exact else None,
                must_run=False, progress=report,
                **{key: value for key, value in self._more.items() if value is not None},
            )  # fmt: skip
        except BuildError:
            raise
        except RlError as error:
            hint = error.advice
            if later is not None:
                hint = f"the stage {name} begins in line {later}: FROM can only use stages above it"
            raise error_at(node, error.message, hint, at=text) from error
        return self._open(record, name)

    def _place(self, name):
        lower = name.lower()
        if lower in self.trees:
            raise NotAnImage(name=lower, place=self.trees[lower])
        place = self.named.get(lower, name)
        for prefix in _IMAGES:
            place = place.removeprefix(prefix)
        if place.startswith(_LAYOUT):
            return f"oci:{place.removeprefix(_LAYOUT)}"
        return place

    def _open(self, record, name):
        store = self.engine.store
        manifest, _, data = manifests.documents(store, record)
        document = oci.parse_config(data)
        platform = oci.config_platform(document)
        if not platform.architecture:
            platform = images_platform.host()
        key = key_of("image", record["config"], list(platform))
        state = State(platform, document["config"], key)
        pairs = oci.match_layers(manifest, document)
        store.tmp.hold(*(diff_id for _, diff_id in pairs), *(part["digest"] for part, _ in pairs))
        store.layers.paths([diff_id for _, diff_id in pairs])
        state.layers = [{"diff_id": diff_id, "descriptor": part} for part, diff_id in pairs]
        state.history = _history(document, len(pairs))
        state.origin = [key, len(state.history)]
        state.created = document.get("created") or time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime(0)
        )
        state.author = document.get("author", "")
        state.extra = {name: document[name] for name in ("os.version", "os.features")
                       if document.get(name)}  # fmt: skip
        state.base = {"id": record["id"], "name": _full(self.engine, record, name),
                      "digest": record["manifest"], "annotations": dict(manifest.annotations),
                      "media_type": manifest.media_type}  # fmt: skip
        return state


def _history(document, layers):
    """An image's history; one that doesn't fit its layers would shift all that come after."""
    found = [dict(entry) for entry in document.get("history") or ()]
    have = sum(1 for entry in found if not entry.get("empty_layer"))
    if have < layers:
        made = document.get("created") or "1970-01-01T00:00:00Z"
        found += [{"created": made, "created_by": "", "comment": "not said"}] * (layers - have)
    return found


def _full(engine, record, name):
    """The complete name that a base image is recorded by."""
    for candidate in images.registries(engine).candidates(name):
        if str(candidate) in engine.store.images.names(record["id"]):
            return str(candidate)
    return name
