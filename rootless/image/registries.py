"""What registries.toml says: short names, mirrors, registries without TLS, blocked ones.

The keys are those of containers-registries.conf(5) version 2, so that a file written for
podman can be linked in.  On the path of ``rl run``: no TOML here, documents come parsed.
"""

from rootless.errors import RlError
from rootless.model.reference import DEFAULT_DOMAIN, BadReference, candidates, is_domain, parse

_TOP = ("unqualified-search-registries", "registry", "aliases", "credential-helpers",
        "short-name-mode")  # fmt: skip
_REGISTRY = ("prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only")
_MIRROR = ("location", "insecure", "pull-from-mirror")
_WHEN = ("all", "digest-only", "tag-only")
_HUB_HOST = "registry-1.docker.io"


class BadRegistries(RlError):
    """{path}: {why}"""

    hint = "man containers-registries.conf explains the keys; rl knows those of version 2"


class Ambiguous(RlError):
    """the short name {name!r} may be in several registries: {registries}"""

    hint = "write it with its registry (short-name-mode is enforcing in registries.toml)"


class Blocked(RlError):
    """registry {name} is blocked by {path}"""


class Endpoint:
    """A place to fetch an image from: ``domain`` (whose login counts), ``host`` (to connect
    to), ``repository`` there, ``insecure``."""

    __slots__ = ("domain", "host", "repository", "insecure")

    def __init__(self, location, rest, insecure):
        self.domain, _, path = location.partition("/")
        if self.domain == DEFAULT_DOMAIN and "/" not in f"{path}{rest}".strip("/"):
            rest = f"/library{rest}"
        self.repository = f"{path}{rest}".strip("/")
        self.host = _HUB_HOST if self.domain == DEFAULT_DOMAIN else self.domain
        self.insecure = insecure


class Registries:
    """The settings of all files together; later documents win key by key.

    ``documents``: a list of (path, dict), the strongest last; ``borrowed``: they are another
    engine's, which may know more keys than rl. Raises BadRegistries.
    """

    def __init__(self, documents=(), borrowed=False):
        self._borrowed = borrowed
        self.search = (DEFAULT_DOMAIN,)
        self.aliases = {}
        self.entries = {}
        self.helpers = ()
        self.mode = "permissive"
        for path, document in documents:
            self._read(path, document)

    def _read(self, path, document):
        for key in document:
            if key not in _TOP and not self._borrowed:
                raise BadRegistries(path=path, why=f"unknown key {key!r}")
        if "unqualified-search-registries" in document:
            found = document["unqualified-search-registries"]
            if not _texts(found) or not all(is_domain(name.partition("/")[0]) for name in found):
                why = "unqualified-search-registries is not a list of host names"
                raise BadRegistries(path=path, why=why)
            self.search = tuple(found)
        if "credential-helpers" in document:
            found = document["credential-helpers"]
            if not _texts(found):
                raise BadRegistries(path=path, why="credential-helpers is not a list of names")
            # This one stands for the auth.json files that are read anyway.
            self.helpers = tuple(n for n in found if n != "containers-auth.json")
        self.mode = document.get("short-name-mode", self.mode)
        if self.mode not in ("enforcing", "permissive", "disabled"):
            raise BadRegistries(path=path, why="short-name-mode: enforcing, permissive, disabled")
        self._read_aliases(path, document.get("aliases", {}))
        rows = document.get("registry", [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadRegistries(path=path, why="registry is not written as [[registry]]")
        for row in rows:
            entry = _entry(path, row, self._borrowed)
            self.entries[entry["prefix"]] = entry

    def _read_aliases(self, path, table):
        if not isinstance(table, dict):
            raise BadRegistries(path=path, why="aliases is not a table")
        for short, full in table.items():
            if full == "":
                self.aliases.pop(short, None)
                continue
            try:
                good = isinstance(full, str) and parse(full).domain is not None
            except BadReference:
                good = False
            if not good:
                why = f"the alias {short!r} doesn't stand for a full name"
                raise BadRegistries(path=path, why=why)
            self.aliases[short] = full

    def candidates(self, text, local=True):
        """The complete References that ``text`` may stand for, the likeliest first."""
        return candidates(text, self.aliases, self.search, local)

    def to_pull(self, text):
        """The complete References to try to pull for ``text``, in order. Raises Ambiguous."""
        found = self.candidates(text, False)
        if len(found) > 1 and self.mode == "enforcing":
            raise Ambiguous(name=text, registries=", ".join(r.domain for r in found))
        return found

    def _match(self, reference):
        """The entry with the longest prefix of a full name, or None."""
        name = str(reference)
        best = None
        for prefix, entry in self.entries.items():
            if prefix.startswith("*."):
                hit = reference.domain.endswith(prefix[1:])
            else:
                hit = name.startswith(prefix) and name[len(prefix) :][:1] in ("", "/", ":", "@")
                # "host" must not match "host:5000".
                if hit and "/" not in prefix and reference.domain != prefix:
                    hit = False
            if hit and (best is None or len(prefix) > len(best["prefix"])):
                best = entry
        return best

    def endpoints(self, reference):
        """Where to fetch a full Reference from, mirrors first. Raises Blocked."""
        entry = self._match(reference)
        if entry is None:
            return [Endpoint(reference.name, "", False)]
        if entry["blocked"]:
            raise Blocked(name=entry["prefix"], path=entry["path"])
        if entry["prefix"].startswith("*."):
            matched, rest = reference.domain, f"/{reference.path}"
        else:
            matched = entry["prefix"].rpartition("@")[0] or entry["prefix"]
            if len(matched) > len(reference.name):
                matched = reference.name
            rest = reference.name[len(matched) :]
        found = []
        for mirror in entry["mirrors"]:
            wanted = mirror["when"]
            if wanted == "all" or (wanted == "digest-only") == bool(reference.digest):
                found.append(Endpoint(mirror["location"], rest, mirror["insecure"]))
        found.append(Endpoint(entry["location"] or matched, rest, entry["insecure"]))
        return found

    def is_insecure(self, domain):
        """Whether the registry ``domain`` as a whole is set to be insecure."""
        entry = self.entries.get(domain)
        return bool(entry and entry["insecure"])


def _texts(value):
    return isinstance(value, list | tuple) and all(isinstance(v, str) and v for v in value)


def _entry(path, row, borrowed):
    _known(path, row, _REGISTRY, "registry", borrowed)
    location, prefix = row.get("location", ""), row.get("prefix", "")
    for text in (location, prefix.removeprefix("*.")):
        if text and not is_domain(text.partition("/")[0]):
            raise BadRegistries(path=path, why=f"{text!r} doesn't start with a host name")
    if not (location or prefix):
        raise BadRegistries(path=path, why="a [[registry]] has neither prefix nor location")
    default = "digest-only" if row.get("mirror-by-digest-only", False) else "all"
    mirrors = []
    for mirror in row.get("mirror", []):
        _known(path, mirror, _MIRROR, "registry.mirror", borrowed)
        place, when = mirror.get("location", ""), mirror.get("pull-from-mirror", default)
        if not is_domain(place.partition("/")[0]) or when not in _WHEN:
            raise BadRegistries(path=path, why="a [[registry.mirror]] makes no sense")
        mirrors.append(
            {"location": place.strip("/"), "insecure": mirror.get("insecure", False), "when": when}
        )
    return {
        "path": path,
        "prefix": (prefix or location).strip("/"),
        "location": location.strip("/"),
        "insecure": row.get("insecure", False),
        "blocked": row.get("blocked", False),
        "mirrors": mirrors,
    }


def _known(path, row, names, table, borrowed):
    if not isinstance(row, dict):
        raise BadRegistries(path=path, why=f"{table} is not a table")
    for key, value in row.items():
        if key not in names:
            if borrowed:
                continue
            raise BadRegistries(path=path, why=f"unknown key {key!r} in [[{table}]]")
        wanted = str
        if key in ("insecure", "blocked", "mirror-by-digest-only"):
            wanted = bool
        elif key == "mirror":
            wanted = list
        if not isinstance(value, wanted):
            raise BadRegistries(path=path, why=f"{key} in [[{table}]] has a wrong type")
