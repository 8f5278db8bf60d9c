"""From nodes to instructions: each one's arguments and flags, checked as far as text goes."""

from rootless.build.language import durations, expand, flags, lexer, mounts, parse
from rootless.build.language.kinds import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from rootless.build.language.source import BuildError, Place, UnknownInstruction, error_at
from rootless.build.language.suggest import did_you_mean

NETWORKS = ("default", "none", "host")
SECURITY = ("sandbox", "insecure")
PROTOCOLS = ("tcp", "udp", "sctp")
NOT_TRIGGERS = ("FROM", "MAINTAINER", "ONBUILD")

_MILLISECOND = 1_000_000
_STAGE_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz")
_STAGE_REST = _STAGE_FIRST | frozenset("0123456789-_.")


class File:
    """A Containerfile: ``meta_args`` list of Arg before the first FROM, ``stages`` list of
    Stage, ``document`` the Document it comes from."""

    def __init__(self, document, meta_args, stages):
        self.document = document
        self.meta_args = meta_args
        self.stages = stages

    def stage(self, name):
        """The Stage of that name (without regard to case; the last one) or number, or None."""
        lower = name.lower()
        for stage in reversed(self.stages):
            if stage.name == lower:
                return stage
        number = name.isascii() and name.isdecimal() and len(name) < 6
        if number and int(name) < len(self.stages):
            return self.stages[int(name)]
        return None

    @property
    def names(self):
        """The names of stages, in the order of the file."""
        return [stage.name for stage in self.stages if stage.name]


class Stage:
    """FROM and what follows: ``index``, ``name`` or None, ``base`` (From), ``instructions``."""

    def __init__(self, index, base):
        self.index = index
        self.base = base
        self.name = base.name
        self.instructions = []


def read(document):
    """The File of a ``parse.Document``. Raises BuildError with the place of the mistake."""
    meta_args, stages = [], []
    for node in document.nodes:
        instruction = typed(node)
        if isinstance(instruction, From):
            stages.append(Stage(len(stages), instruction))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif isinstance(instruction, Arg):
            meta_args.append(instruction)
        else:
            hint = "begin with FROM; FROM scratch is the empty image"
            raise error_at(node, f"{node.keyword} before the first FROM", hint)
    if not stages:
        hint = "begin with FROM; FROM scratch is the empty image"
        raise BuildError("there is no FROM", at=Place(document.source, 1), hint=hint)
    return File(document, meta_args, stages)


def from_text(text, name="ONBUILD", escape="\\"):
    """The instruction in ``text`` (str): a trigger of an image, or what --change says.

    ``name`` is what errors call the text. FROM isn't possible. Raises BuildError.
    """
    node = parse.parse_line(text, name, escape)
    if node.keyword == "FROM":
        raise error_at(node, "FROM can't stand here")
    return typed(node)


def typed(node):
    """The instruction that ``node`` is. Raises BuildError."""
    reader = _READERS.get(node.keyword)
    if reader is None:
        hint = did_you_mean(node.typed, _READERS)
        raise UnknownInstruction(node.typed[:60], at=node.place(), hint=hint)
    return reader(node, flags.read(node))


def exposed(words, node=None):
    """The ports of an EXPOSE with variables put in: list of str like ``80/tcp``.

    ``words`` such as ``80``, ``53/udp``, ``8000-8005/tcp``, ``127.0.0.1:80:8080`` (only the
    container's port counts). Raises BuildError.
    """
    found = []
    for word in words:
        ports, _, protocol = word.rpartition(":")[2].partition("/")
        first, dash, last = ports.partition("-")
        last = last if dash else first
        protocol = protocol.lower() or "tcp"
        if protocol not in PROTOCOLS:
            hint = did_you_mean(protocol, PROTOCOLS) or f"known are {', '.join(PROTOCOLS)}"
            raise error_at(node, f"{word} has no known protocol", hint, word)
        numbers = all(part.isascii() and part.isdecimal() for part in (first, last))
        short = len(first) < 6 and len(last) < 6
        if not (numbers and short) or not int(first) <= int(last) <= 65535:
            hint = "ports look like 80, 53/udp, 8000-8005"
            raise error_at(node, f"{word} isn't a port", hint, word)
        found += [f"{port}/{protocol}" for port in range(int(first), int(last) + 1)]
    return list(dict.fromkeys(found))


# --- readers: (node, flags given) → instruction ----------------------------------------------


def _needs(node, what):
    if not node.rest:
        raise error_at(node, f"{node.keyword} needs {what}")


def _from(node, given):
    words = lexer.fields(node.rest)
    good = len(words) == 1 or (len(words) == 3 and words[1].lower() == "as")
    if not good:
        hint = "FROM IMAGE or FROM IMAGE AS NAME"
        why = "FROM needs an image" if not words else "FROM takes an image, AS and a name"
        raise error_at(node, why, hint, words[1] if len(words) > 1 else None)
    name = words[2].lower() if len(words) == 3 else None
    if name is not None and (name[0] not in _STAGE_FIRST or set(name) - _STAGE_REST):
        hint = "a letter comes first, then letters, digits, - _ ."
        raise error_at(node, f"{words[2]!r} can't be the name of a stage", hint, words[2])
    platform = given.get("platform")
    if platform == "":
        raise error_at(node, "--platform needs a value: --platform=…", at="--platform")
    return From(node, words[0], platform, name, words[2] if name else None)


def _one_of(node, name, value, known):
    if value in known:
        return
    hint = did_you_mean(value, known) or f"it is one of {', '.join(known)}"
    raise error_at(node, f"--{name} can't be {value!r}", hint, f"--{name}")


def _run(node, given):
    found = [mounts.read(node, text) for text in given.get("mount", ())]
    network = given.get("network", "default")
    security = given.get("security", "sandbox")
    _one_of(node, "network", network, NETWORKS)
    _one_of(node, "security", security, SECURITY)
    devices = [_device(node, text) for text in given.get("device", ())]
    words, text = _command(node)
    if words == []:
        raise error_at(node, "RUN [] names no program", at="[")
    run = Run(node, words, text, node.heredocs, found, network, security, devices)
    if run.script and run.script.text.startswith("#!"):
        _file_name(node, run.script.name)  # it is put into a file of that name
    return run


def _device(node, text):
    """(name, required) of a --device: ``name[,required[=BOOL]]`` or ``name=…``."""
    name, required = None, False
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if key.lower() == "required" and value.lower() in ("", "true", "1", "false", "0"):
            required = value.lower() not in ("false", "0")
        elif key.lower() == "name" and equals and name is None:
            name = value
        elif name is None:
            name = field  # vendor/class=name has a = of its own
        else:
            hint = did_you_mean(key, ("name", "required"))
            raise error_at(node, f"--device has no option {key!r}", hint, field)
    if not name:
        raise error_at(node, "--device needs the name of a device", at="--device")
    return name, required


def _command(node):
    """(words, None) of the exec form or (None, text) of the shell form."""
    return (node.json, None) if node.json is not None else (None, node.rest)


def _sources(node):
    """(sources, destination, heredocs that are files) of COPY and ADD."""
    words = node.json if node.json is not None else lexer.fields(node.rest)
    if node.heredocs:
        words = _heredoc_words(node)
    if len(words) < 2:
        hint = f"{node.keyword} SOURCE… DESTINATION; . is the working directory"
        why = "a destination" if words else "a source and a destination"
        raise error_at(node, f"{node.keyword} needs {why}", hint)
    *sources, dest = words
    if not dest:
        raise error_at(node, "the destination is empty")
    if node.json is None and lexer.heredoc_word(dest):
        raise error_at(node, "a heredoc can't be the destination", at=dest)
    files = []
    if node.heredocs:
        documents = iter(node.heredocs)
        files = [next(documents) for word in sources if lexer.heredoc_word(word)]
        sources = [word for word in sources if not lexer.heredoc_word(word)]
        for file in files:
            _file_name(node, file.name)
    return sources, dest, files


def _file_name(node, name):
    if "/" in name or name in (".", ".."):
        hint = "the name of the heredoc is the name of the file"
        raise error_at(node, f"{name!r} can't be a file's name", hint, name)


def _heredoc_words(node):
    """The arguments at spaces, but ``<< NAME`` stays together as the parser saw it."""
    words = []
    for word in lexer.fields(node.rest):
        if words and words[-1] in ("<<", "<<-"):
            words[-1] += word
        else:
            words.append(word)
    return words


def _copy(node, given):
    sources, dest, files = _sources(node)
    source = given.get("from")
    if source is not None and "$" in source:
        hint = "name a stage after it with FROM and use that name"
        raise error_at(node, "--from can't have variables", hint, "--from")
    if source is not None and files:
        raise error_at(node, "a heredoc can't come --from somewhere", at="--from")
    return Copy(node, sources, dest, source or None, given.get("chown") or None,
                given.get("chmod") or None, given.get("link", False),
                given.get("parents", False), given.get("exclude", []), files)  # fmt: skip


def _add(node, given):
    sources, dest, files = _sources(node)
    checksum = given.get("checksum") or None
    if checksum and len(sources) + len(files) != 1:
        raise error_at(node, "--checksum is for one source", at="--checksum")
    return Add(node, sources, dest, given.get("chown") or None, given.get("chmod") or None,
               given.get("link", False), given.get("exclude", []), files, checksum,
               given.get("keep-git-dir"), given.get("unpack"))  # fmt: skip


def _pairs(node):
    """(list of (name, value), whether in the old form) of ENV and LABEL."""
    words = lexer.split(node.rest, node.escape)
    if not words:
        raise error_at(node, f"{node.keyword} needs NAME=VALUE")
    if "=" not in words[0]:
        name, *value = node.rest.split(None, 1)
        if not value:
            hint = f"such as {node.keyword} {name}=value"
            raise error_at(node, f"{node.keyword} needs a value for {name}", hint, name)
        return [(name, value[0])], True
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            hint = "a value with spaces needs quotes"
            raise error_at(node, f"{word} isn't NAME=VALUE", hint, word)
        if not name:
            raise error_at(node, f"there is no name before the = of {word}", at=word)
        pairs.append((name, value))
    return pairs, False


def _env(node, given):
    return Env(node, *_pairs(node))


def _label(node, given):
    return Label(node, *_pairs(node))


def _arg(node, given):
    words = lexer.split(node.rest, node.escape)
    if not words:
        raise error_at(node, "ARG needs a name")
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise error_at(node, f"there is no name before the = of {word}", at=word)
        pairs.append((name, value if equals else None))
    return Arg(node, pairs)


def _whole(kind, what):
    """A reader for an instruction whose arguments are one text."""

    def read_whole(node, given):
        _needs(node, what)
        return kind(node, node.rest)

    return read_whole


def _expose(node, given):
    _needs(node, "a port")
    words = lexer.fields(node.rest)
    for word in words:
        if "$" not in word and not set(word) & set("\"'" + node.escape):
            exposed([word], node)
    return Expose(node, words)


def _volume(node, given):
    paths = node.json if node.json is not None else lexer.fields(node.rest)
    paths = [path.strip() for path in paths]
    if not paths or not all(paths):
        raise error_at(node, "VOLUME needs a path" if not paths else "a path is empty")
    return Volume(node, paths)


def _entrypoint(node, given):
    return Entrypoint(node, *_command(node))


def _cmd(node, given):
    return Cmd(node, *_command(node))


def _shell(node, given):
    if not node.json:
        hint = 'such as SHELL ["/bin/bash", "-c"]'
        raise error_at(node, "SHELL needs a JSON list of words", hint, node.rest or None)
    return Shell(node, node.json)


def _healthcheck(node, given):
    kind, _, rest = node.rest.partition(" ")
    kind, *rest = node.rest.split(None, 1) or [""]
    rest = rest[0] if rest else ""
    if kind.upper() == "NONE":
        if rest or given:
            raise error_at(node, "HEALTHCHECK NONE takes nothing else", at=rest or None)
        return Healthcheck(node, True, None, None, 0, 0, 0, 0, 0)
    if kind.upper() != "CMD":
        hint = did_you_mean(kind, ("CMD", "NONE")) or "HEALTHCHECK CMD COMMAND, or NONE"
        why = f"HEALTHCHECK has no {kind}" if kind else "HEALTHCHECK needs CMD or NONE"
        raise error_at(node, why, hint, kind or None)
    words = parse.json_list(node, rest, node.rest_at + node.rest.find(rest, len(kind)))
    if not rest or words == []:
        raise error_at(node, "HEALTHCHECK CMD needs a command")
    times = [_interval(node, name, given.get(name)) for name in
             ("interval", "timeout", "start-period", "start-interval")]  # fmt: skip
    retries = given.get("retries") or "0"
    if not (retries.isascii() and retries.isdecimal() and len(retries) < 10):
        hint = "it is how often in a row the command may fail"
        raise error_at(node, f"--retries can't be {retries!r}", hint, "--retries")
    text = None if words is not None else rest
    return Healthcheck(node, False, words, text, *times, int(retries))


def _interval(node, name, text):
    """Nanoseconds of a flag of HEALTHCHECK; 0 if it isn't given."""
    hint = "durations look like 30s, 1m30s, 500ms"
    if not text:
        return 0
    try:
        found = durations.nanoseconds(text)
    except ValueError as error:
        raise error_at(node, f"--{name}: {error}", hint, f"--{name}") from None
    if found and found < _MILLISECOND:
        raise error_at(node, f"--{name} is shorter than a millisecond", hint, f"--{name}")
    return found


def _onbuild(node, given):
    _needs(node, "an instruction")
    inner = parse.nested(node)
    if inner.keyword in NOT_TRIGGERS:
        why = f"{inner.keyword} can't be a trigger of ONBUILD"
        raise error_at(node, why, at=node.rest_at)
    instruction = typed(inner)
    text = "\n".join([node.rest, *(f"{doc.content}{doc.name}" for doc in node.heredocs)])
    return Onbuild(node, text, instruction)


_READERS = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _whole(Maintainer, "a name"),
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _whole(Stopsignal, "a signal"),
    "USER": _whole(User, "a user"),
    "VOLUME": _volume,
    "WORKDIR": _whole(Workdir, "a directory"),
}

PLATFORM_ARGS = expand.PLATFORM_ARGS
PROXY_ARGS = expand.PROXY_ARGS
