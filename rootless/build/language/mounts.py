"""``RUN --mount=type=…,key=value``: the options there are, and values out of fixed sets.

Whatever isn't listed here is refused, before and after variables are put in: an option that
was passed on to a mount helper would be a way out of the sandbox (CVE-2024-9407). A comma in
a variable's value makes no new option, since values are expanded one by one.
"""

from rootless.build.language import durations
from rootless.build.language.expand import expand
from rootless.build.language.source import error_at
from rootless.build.language.suggest import did_you_mean

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")

_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_ALL = ("bind", "cache", "tmpfs", "secret", "ssh")
_FILES = ("cache", "secret", "ssh")
# The types that have the option.
_OPTIONS = {
    "target": _ALL,
    "source": ("bind", "cache", "secret"),
    "from": ("bind", "cache"),
    "id": _FILES,
    "readonly": ("bind", "cache", "tmpfs"),
    "readwrite": ("bind", "cache", "tmpfs"),
    "sharing": ("cache",),
    "mode": _FILES,
    "uid": _FILES,
    "gid": _FILES,
    "required": ("secret", "ssh"),
    "size": ("tmpfs",),
    "env": ("secret",),
}
# May stand without a value.
_SWITCHES = ("readonly", "readwrite", "required")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_HIGHEST_ID = (1 << 32) - 2


class Mount:
    """One ``--mount``: ``type`` str, ``options`` dict of canonical name to text.

    ``readwrite`` becomes ``readonly``. Until ``expanded``, texts may hold variables; the
    properties below are for an expanded one.
    """

    def __init__(self, type, options, text=""):
        self.type = type
        self.options = options
        self.text = text  # as written, for errors

    def __repr__(self):
        return f"Mount({self.type!r}, {self.options!r})"

    def expanded(self, lookup, node):
        """This mount with variables put in and everything checked. Raises BuildError."""
        kind = expand(self.type, lookup, node=node).lower()
        options = {
            key: value if key == "from" else expand(value, lookup, node=node)
            for key, value in self.options.items()
        }
        if "sharing" in options:
            options["sharing"] = options["sharing"].lower()
        found = Mount(kind, options, self.text)
        _check(found, node, final=True)
        return found

    @property
    def target(self):
        """Where it appears (str; relative to the working directory), or None."""
        return self.options.get("target")

    @property
    def source(self):
        """A path inside what is mounted, or the id of a secret (str), or None."""
        return self.options.get("source")

    @property
    def from_(self):
        """The stage, image or named context that ``source`` is in, or None."""
        return self.options.get("from")

    @property
    def id(self):
        """What a cache, secret or agent is called, or None."""
        return self.options.get("id")

    @property
    def env(self):
        """The variable that a secret is put into, or None."""
        return self.options.get("env")

    @property
    def sharing(self):
        """Of a cache: shared, private or locked."""
        return self.options.get("sharing", "shared")

    @property
    def readonly(self):
        """Whether it can't be written to (bool); the default depends on the type."""
        given = self.options.get("readonly")
        return self.type not in ("cache", "tmpfs") if given is None else given in _TRUE

    @property
    def required(self):
        """Whether a missing secret or agent is an error (bool)."""
        return self.options.get("required", "false") in _TRUE

    @property
    def mode(self):
        """Permission bits (int), or None."""
        return int(self.options["mode"], 8) if "mode" in self.options else None

    @property
    def uid(self):
        """Owner (int), or None."""
        return int(self.options["uid"]) if "uid" in self.options else None

    @property
    def gid(self):
        """Group (int), or None."""
        return int(self.options["gid"]) if "gid" in self.options else None

    @property
    def size(self):
        """Most bytes of a tmpfs (int), or None."""
        return durations.size(self.options["size"]) if "size" in self.options else None


def read(node, text):
    """The Mount that the value ``text`` of a ``--mount`` flag of ``node`` describes.

    Names of options are checked, and the values without variables. Raises BuildError.
    """
    kind, options = "bind", {}
    for field in _fields(node, text):
        key, equals, value = field.partition("=")
        key = key.lower().strip()
        key = _ALIASES.get(key, key)
        if key == "type":
            kind = value if "$" in value else value.lower()
            continue
        if key not in _OPTIONS:
            hint = did_you_mean(key, [*_OPTIONS, *_ALIASES, "type"])
            known = f"known are type, {', '.join(_OPTIONS)}"
            raise error_at(node, f"--mount has no option {key!r}", hint or known, field)
        if not equals:
            if key not in _SWITCHES:
                raise error_at(node, f"{key} needs a value: {key}=…", at=field)
            value = "true"
        if key == "readwrite":
            key, value = "readonly", _inverted(node, value, field)
        options[key] = value.lower() if key == "sharing" and "$" not in value else value
    found = Mount(kind, options, text)
    _check(found, node, final=False)
    return found


def _fields(node, text):
    """``text`` split at commas; a field in double quotes may have commas (RFC 4180)."""
    found, at = [], 0
    while at <= len(text):
        if text.startswith('"', at):
            field, at = _quoted(node, text, at + 1)
        else:
            end = text.find(",", at)
            end = len(text) if end < 0 else end
            field, at = text[at:end], end
            if '"' in field:
                raise error_at(node, "a quote inside an option of --mount", at=field)
        if not field:
            raise error_at(node, "an option of --mount is empty", at="--mount")
        found.append(field)
        at += 1
    return found


def _quoted(node, text, at):
    field = []
    while True:
        end = text.find('"', at)
        if end < 0:
            raise error_at(node, "a quote in --mount is never closed", at="--mount")
        field.append(text[at:end])
        at = end + 1
        if text.startswith('"', at):
            field.append('"')
            at += 1
            continue
        if at < len(text) and text[at] != ",":
            raise error_at(node, "something follows a quoted option of --mount", at="--mount")
        return "".join(field), at


def _inverted(node, value, field):
    if value in _TRUE:
        return "false"
    if value in _FALSE:
        return "true"
    raise error_at(node, f"rw is true or false, not {value!r}", at=field)


def _check(mount, node, final):
    """Refuse what the mount's type can't have. Values with $ are checked when ``final``."""

    def refuse(text, hint=None, at=None):
        where = at or mount.text
        raise error_at(node, text, hint, where if where in node.original else "--mount")

    if "$" in mount.type and not final:
        kinds = TYPES
    elif mount.type in TYPES:
        kinds = (mount.type,)
    else:
        hint = did_you_mean(mount.type, TYPES)
        refuse(f"--mount has no type {mount.type!r}", hint or f"known are {', '.join(TYPES)}")
    for key, value in mount.options.items():
        if not any(kind in _OPTIONS[key] for kind in kinds):
            refuse(f"a mount of type {mount.type} has no {key}", at=key)
        if key == "from":
            if "$" in value:
                hint = "name a stage after it with FROM and use that name"
                refuse("from= can't have variables", hint, f"{key}={value}")
        elif "$" in value and not final:
            continue
        why = _wrong(key, value)
        if why:
            refuse(f"{key}={value}: {why}", at=f"{key}={value}")
    if mount.type == "secret" and not {"source", "target", "id", "env"} & set(mount.options):
        refuse("a secret needs an id", "such as --mount=type=secret,id=token")
    if mount.type == "secret" and {"source", "id"} <= set(mount.options):
        refuse("a secret has an id or a source, not both; they mean the same")
    if mount.type in ("bind", "cache", "tmpfs") and not mount.target:
        refuse(f"a mount of type {mount.type} needs a target", "such as target=/mnt")


def _wrong(key, value):
    """Why ``value`` can't be the value of the option ``key``, or None."""
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        return "control characters aren't allowed"
    if key in ("readonly", "required") and value not in _TRUE + _FALSE:
        return "it is true or false"
    if key == "sharing" and value not in SHARING:
        return did_you_mean(value, SHARING) or f"it is one of {', '.join(SHARING)}"
    if key == "mode":
        octal = 0 < len(value) <= 5 and not set(value) - set("01234567")
        return None if octal and int(value, 8) <= 0o7777 else "it is an octal number up to 7777"
    if key in ("uid", "gid"):
        number = value.isascii() and value.isdecimal() and len(value) <= 10
        return None if number and int(value) <= _HIGHEST_ID else "it is a number"
    if key == "env":
        name = value.isascii() and value.isidentifier()
        return None if name or not value else "it is the name of a variable"
    if key == "size":
        try:
            durations.size(value)
        except ValueError:
            return "sizes look like 512, 64k, 100m, 1.5g"
    return None
