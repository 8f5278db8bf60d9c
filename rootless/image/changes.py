"""--change of import and commit: instructions of a Containerfile that only set metadata."""

from rootless.errors import RlError
from rootless.model import jsontext

INSTRUCTIONS = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "ONBUILD", "STOPSIGNAL", "USER",
                "VOLUME", "WORKDIR")  # fmt: skip


class BadChange(RlError):
    """--change {text!r}: {why}"""

    hint = "such as --change 'CMD [\"bash\"]' or --change ENV=NAME=VALUE"


def apply(config, texts):
    """A copy of an image's "config" with the instructions ``texts`` carried out. BadChange."""
    config = dict(config)
    for text in texts:
        name, rest = _split(text)
        _APPLY[name](config, rest, text)
    return config


def _split(text):
    """(instruction, the rest) of "NAME rest", or of "NAME=rest" as docker takes it too."""
    stripped = text.strip()
    end = 0
    while end < len(stripped) and stripped[end].isalpha():
        end += 1
    name, rest = stripped[:end].upper(), stripped[end:]
    if name not in INSTRUCTIONS:
        known = ", ".join(INSTRUCTIONS)
        raise BadChange(text=text, why="unknown instruction", hint=f"known are {known}")
    rest = rest[1:].strip() if rest[:1] == "=" else rest.strip()
    if not rest:
        raise BadChange(text=text, why="there is nothing behind the instruction")
    return name, rest


def _list(text, rest):
    """The JSON list of strings that ``rest`` is; None if it isn't one."""
    if not rest.startswith("["):
        return None
    try:
        found = jsontext.loads(rest)
    except jsontext.DecodeError:
        return None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise BadChange(text=text, why="the list is not made of strings")
    return found


def words(text, rest):
    """``rest`` split at spaces that are not quoted or escaped. BadChange."""
    import shlex

    try:
        return shlex.split(rest)
    except ValueError as error:
        raise BadChange(text=text, why=str(error).lower()) from None


def pairs(text, rest):
    """NAME=VALUE words, or the old form NAME VALUE, as a list of (name, value)."""
    split = words(text, rest)
    if "=" not in split[0]:
        name, _, value = rest.partition(" ")
        if not value:
            raise BadChange(text=text, why="expected NAME=VALUE")
        return [(name, value.strip())]
    found = [word.partition("=")[::2] for word in split]
    if not all(name for name, _ in found) or not all("=" in word for word in split):
        raise BadChange(text=text, why="expected NAME=VALUE")
    return found


def _command(key):
    def change(config, rest, text):
        found = _list(text, rest)
        config[key] = ["/bin/sh", "-c", rest] if found is None else found
        if key == "Entrypoint":
            config.pop("Cmd", None)

    return change


def _env(config, rest, text):
    entries = dict(entry.partition("=")[::2] for entry in config.get("Env", ()))
    entries.update(pairs(text, rest))
    config["Env"] = [f"{name}={value}" for name, value in entries.items()]


def _label(config, rest, text):
    config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs(text, rest))}


def _expose(config, rest, text):
    ports = dict(config.get("ExposedPorts") or {})
    for word in words(text, rest):
        port, _, protocol = word.partition("/")
        first, _, last = port.partition("-")
        if protocol.lower() not in ("", "tcp", "udp", "sctp") or not _are_ports(first, last):
            raise BadChange(text=text, why=f"{word!r} is not a port")
        for number in range(int(first), int(last or first) + 1):
            ports[f"{number}/{protocol.lower() or 'tcp'}"] = {}
    config["ExposedPorts"] = ports


def _are_ports(first, last):
    good = all(part.isdecimal() and 0 < int(part) < 65536 for part in (first, last or first))
    return good and int(last or first) >= int(first)


def _volume(config, rest, text):
    found = _list(text, rest)
    volumes = dict(config.get("Volumes") or {})
    volumes.update((path, {}) for path in (words(text, rest) if found is None else found))
    config["Volumes"] = volumes


def _directory(config, rest, text):
    base = config.get("WorkingDir") or "/"
    config["WorkingDir"] = rest if rest.startswith("/") else f"{base.rstrip('/')}/{rest}"


def _plain(key):
    def change(config, rest, text):
        config[key] = rest

    return change


def _on_build(config, rest, text):
    config["OnBuild"] = [*(config.get("OnBuild") or ()), rest]


_APPLY = {
    "CMD": _command("Cmd"),
    "ENTRYPOINT": _command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _plain("StopSignal"),
    "USER": _plain("User"),
    "VOLUME": _volume,
    "WORKDIR": _directory,
}
