"""Names of images: what people type, and what it stands for.

The grammar is that of the distribution project (docs.docker.com "image names", OCI
distribution-spec "pulling manifests"): ``[domain[:port]/]path[:tag][@digest]``.  Written
without ``re``: every ``rl run`` passes here.
"""

from rootless.errors import RlError

DEFAULT_DOMAIN = "docker.io"
LOCALHOST = "localhost"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_DIGITS = frozenset("0123456789")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_HEX = frozenset("0123456789abcdef")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_HOST = _WORD - {"_"} | {"-"}
_IPV6 = _HEX | frozenset("ABCDEF:.")

# Only these three: a weaker hash would let somebody else's bytes pass for the image.
DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

# What comes before the colon of a name that isn't looked up in a registry.
TRANSPORTS = ("docker-archive", "oci-archive", "oci", "elf")
# Those of others that rl does not speak (containers-transports(5)).
FOREIGN = ("dir", "docker-daemon", "containers-storage", "sif", "tarball")


class BadReference(RlError):
    """{text!r} is not the name of an image: {why}"""

    hint = "names look like debian, debian:12, quay.io/team/app:tag or NAME@sha256:…"


class BadDigest(RlError):
    """{text!r} is not a digest: {why}"""

    hint = "digests look like sha256: and 64 hexadecimal digits"


class Reference:
    """The name of an image, taken apart.

    ``domain`` is None in a short name (``debian``), ``tag`` and ``digest`` are None where
    not given; all are str otherwise.
    """

    __slots__ = ("domain", "path", "tag", "digest")

    def __init__(self, domain, path, tag=None, digest=None):
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self):
        """Domain and path, without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path


    def with_tag(self, tag=DEFAULT_TAG):
        """The same repository with ``tag`` and no digest."""
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest):
        """The same repository with ``digest`` and no tag."""
        return Reference(self.domain, self.path, None, digest)

    def complete(self):
        """Itself if it names one image (a tag or a digest), else with the tag latest."""
        return self if self.tag or self.digest else self.with_tag()

    def __str__(self):
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        if self.digest:
            text += f"@{self.digest}"
        return text

    def __repr__(self):
        return f"Reference({str(self)!r})"

    def __eq__(self, other):
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))


# --- pieces --------------------------------------------------------------------------------


def check_digest(text):
    """``text`` if it is a digest that rl accepts (sha256, sha384, sha512); else BadDigest."""
    if not isinstance(text, str):
        raise BadDigest(text=text, why="not a string")
    algorithm, colon, value = text.partition(":")
    length = DIGEST_LENGTHS.get(algorithm)
    if not colon or length is None:
        raise BadDigest(text=text[:160], why="it must start with sha256:, sha384: or sha512:")
    if len(value) != length or not _HEX.issuperset(value):
        why = f"{algorithm} has {length} lower-case hexadecimal digits"
        raise BadDigest(text=text[:160], why=why)
    return text


def is_digest(text):
    """Whether ``text`` is a digest that rl accepts."""
    try:
        check_digest(text)
    except BadDigest:
        return False
    return True


def is_tag(text):
    """Whether ``text`` is a tag: a word character, then up to 127 of those, dot and dash."""
    return (
        0 < len(text) <= 128 and text[0] in _WORD and (_WORD | {".", "-"}).issuperset(text)
    )


def is_domain(text):
    """Whether ``text`` is HOST[:PORT], HOST a name, an IPv4 or a bracketed IPv6 address."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or not host or not _IPV6.issuperset(host):
            return False
        return not rest or (rest[0] == ":" and _is_port(rest[1:]))
    host, colon, port = text.partition(":")
    if colon and not _is_port(port):
        return False
    return all(
        part and _HOST.issuperset(part) and part[0] != "-" and part[-1] != "-"
        for part in host.split(".")
    )


def _is_port(text):
    return 0 < len(text) <= 5 and _DIGITS.issuperset(text) and int(text) <= 65535


def is_component(text):
    """Whether ``text`` may stand between slashes: lower-case letters and digits, with
    single dots, one or two underscores or any number of dashes between them."""
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    gap = ""
    for letter in text:
        if letter in _LOWER:
            gap = ""
            continue
        gap += letter
        if gap not in (".", "_", "__") and gap.strip("-"):
            return False
    return True


def is_id(text):
    """Whether ``text`` may be (the start of) an image's id: hexadecimal, 64 at most."""
    return 0 < len(text) <= 64 and _HEX.issuperset(text)


# --- whole names ---------------------------------------------------------------------------


def parse(text):
    """The Reference that ``text`` spells, nothing added: a short name has no domain.

    ``docker://`` in front is taken off, ``index.docker.io`` becomes ``docker.io`` and one
    path component there gets ``library/``.  Raises BadReference.
    """
    given, text = text, text.removeprefix("docker://")
    rest, at, digest = text.partition("@")
    if at:
        try:
            check_digest(digest)
        except BadDigest as error:
            raise BadReference(text=given, why=error.fields["why"]) from None
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not is_tag(tag):
        raise BadReference(text=given, why=f"{tag!r} is not a tag")
    domain, path = _split_domain(f"{head}{slash}{last}")
    _check_name(given, domain, path)
    if domain in ("index.docker.io", DEFAULT_DOMAIN):
        domain = DEFAULT_DOMAIN
        if "/" not in path:
            path = f"library/{path}"
    return Reference(domain, path, tag or None, digest or None)


def _split_domain(name):
    """(domain or None, path): the first component is a domain only if it can't be a path."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == LOCALHOST or first.lower() != first):
        return first, rest
    return None, name


def _check_name(given, domain, path):
    if not path:
        raise BadReference(text=given, why="the name is missing")
    if domain is not None and not is_domain(domain):
        raise BadReference(text=given, why=f"{domain!r} is not a registry's host name")
    if len(path) + len(domain or "") + 1 > NAME_LIMIT:
        raise BadReference(text=given, why=f"it has more than {NAME_LIMIT} characters")
    for component in path.split("/"):
        if is_component(component):
            continue
        if component.lower() != component and is_component(component.lower()):
            why = f"{component!r} has capital letters"
        elif component:
            why = f"{component!r} may not stand in a name"
        else:
            why = "there is an empty part between slashes"
        raise BadReference(text=given, why=why)
    if domain is None and len(path) == 64 and is_id(path):
        raise BadReference(text=given, why="64 hexadecimal digits are an image's id")


def qualify(reference, domain):
    """A short name as a name in the registry ``domain`` (which may have a path behind it)."""
    host, slash, prefix = domain.partition("/")
    path = f"{prefix}{slash}{reference.path}"
    if host == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return Reference(host, path, reference.tag, reference.digest)


def normalise(text, domain=DEFAULT_DOMAIN):
    """The one image that ``text`` names: registry ``domain`` if it is short, tag latest if
    it has neither tag nor digest.  Raises BadReference."""
    reference = parse(text)
    if reference.domain is None:
        reference = qualify(reference, domain)
    return reference.complete()


def for_local(text):
    """What a new name given by a person (tag, build -t, commit, load) stands for: short
    names belong to localhost, as in podman.  Raises BadReference."""
    reference = parse(text)
    if reference.digest:
        raise BadReference(text=text, why="a digest can't be given to an image, only a tag")
    return normalise(text, LOCALHOST)


def candidates(text, aliases=None, search=(DEFAULT_DOMAIN,), local=True):
    """The complete References that ``text`` may stand for, the likeliest first.

    ``aliases`` maps short names to full ones and decides alone where it has the name;
    ``search`` are the registries to try; ``local`` puts localhost/ before them.
    """
    reference = parse(text)
    if reference.domain is not None:
        return [reference.complete()]
    found = []
    if local:
        found.append(qualify(reference, LOCALHOST).complete())
    alias = (aliases or {}).get(reference.path)
    if alias:
        full = parse(alias)
        found.append(
            Reference(full.domain, full.path, reference.tag, reference.digest).complete()
        )
        return found
    found.extend(qualify(reference, domain).complete() for domain in search)
    return found


def split_transport(text):
    """(transport, rest) of an image's name: one of ``TRANSPORTS``, or ``docker`` for the
    names of the grammar above.  (A repository called elf is reached as localhost/elf.)"""
    head, colon, rest = text.partition(":")
    if colon and rest and head in TRANSPORTS:
        return head, rest
    return "docker", text


def short_digest(digest):
    """The first twelve digits of a digest or id, for tables."""
    return digest.rpartition(":")[2][:12]
