"""Instructions that change only an image's configuration (the Dockerfile reference).

``apply`` carries one out on a State; what it gives back is what the instruction means, with
its values, as plain data: the part that the cache's key is made of.
"""

import posixpath

from rootless.build.language.instructions import exposed
from rootless.build.language.source import error_at

_LAST_SIGNAL = 64


def apply(state, instruction, values, seen):
    """Carry out ``instruction``; the list of its values.

    ``values``: scope.Values; ``seen``: names of instructions that this stage had before (a
    set).  Raises BuildError for values that make no sense.
    """
    return _HANDLERS[type(instruction).__name__](state, instruction, values, seen)


def handles(instruction):
    """Whether ``apply`` knows what to do; the others make layers."""
    return type(instruction).__name__ in _HANDLERS


def command(state, instruction):
    """The words of an instruction that has a shell form and an exec form."""
    if instruction.words is not None:
        return list(instruction.words)
    return [*state.shell, instruction.text]


def _cmd(state, instruction, values, seen):
    state.config["Cmd"] = command(state, instruction)
    return state.config["Cmd"]


def _entrypoint(state, instruction, values, seen):
    state.config["Entrypoint"] = command(state, instruction)
    if "Cmd" not in seen:  # what came from the base was meant for its entrypoint
        state.config.pop("Cmd", None)
    return state.config["Entrypoint"]


def _env(state, instruction, values, seen):
    pairs = values.take_env(instruction)
    state.set_env(pairs)
    return [list(pair) for pair in pairs]


def _arg(state, instruction, values, seen):
    # Their values count where they are used: in what is expanded, and in RUN.
    return [name for name, _ in values.take_arg(instruction)]


def _label(state, instruction, values, seen):
    pairs = [(values.expand(name, instruction.node), values.expand(value, instruction.node))
             for name, value in instruction.pairs]  # fmt: skip
    for name, _ in pairs:
        if not name:
            raise error_at(instruction.node, "a label has no name")
    state.config["Labels"] = {**(state.config.get("Labels") or {}), **dict(pairs)}
    return [list(pair) for pair in pairs]


def _expose(state, instruction, values, seen):
    words = [word for text in instruction.ports for word in values.words(text, instruction.node)]
    found = exposed(words, instruction.node)
    ports = dict(state.config.get("ExposedPorts") or {})
    ports.update((port, {}) for port in found)
    state.put("ExposedPorts", ports)
    return found


def _volume(state, instruction, values, seen):
    places = dict(state.config.get("Volumes") or {})
    found = []
    for text in instruction.paths:
        path = values.expand(text, instruction.node)
        if not path:
            raise error_at(instruction.node, "VOLUME needs a directory", at=text)
        found.append(path)
    places.update((path, {}) for path in found)
    state.put("Volumes", places)
    return found


def _user(state, instruction, values, seen):
    user = values.expand(instruction.user, instruction.node)
    if not user:
        raise error_at(instruction.node, f"the user {instruction.user} is empty here")
    state.put("User", user)
    return user


def directory(state, path):
    """Where WORKDIR ``path`` leads to: absolute, without . and .."""
    return posixpath.normpath(posixpath.join("/", state.directory, path)).replace("//", "/")


def _shell(state, instruction, values, seen):
    state.shell = list(instruction.words)
    state.config["Shell"] = list(instruction.words)
    return state.shell


def _stopsignal(state, instruction, values, seen):
    signal = values.expand(instruction.signal, instruction.node)
    if not _is_signal(signal):
        raise error_at(instruction.node, f"{signal!r} is not a signal",
                       "such as SIGTERM or 15", at=instruction.signal)  # fmt: skip
    state.config["StopSignal"] = signal
    return signal


def _is_signal(text):
    import signal

    if text.isascii() and text.isdecimal():
        return 0 < int(text[:4]) <= _LAST_SIGNAL
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    if plus:
        return name == "RTMIN" and offset.isdecimal() and int(offset[:3]) <= _LAST_SIGNAL - 34
    return name in ("RTMIN", "RTMAX") or hasattr(signal, f"SIG{name}")


def _healthcheck(state, instruction, values, seen):
    if instruction.none:
        check = {"Test": ["NONE"]}
    else:
        test = (["CMD", *instruction.words] if instruction.words is not None
                else ["CMD-SHELL", instruction.text])  # fmt: skip
        check = {"Test": test}
        for field, value in (("Interval", instruction.interval), ("Timeout", instruction.timeout),
                             ("StartPeriod", instruction.start_period),
                             ("StartInterval", instruction.start_interval),
                             ("Retries", instruction.retries)):  # fmt: skip
            if value:
                check[field] = value
    state.config["Healthcheck"] = check
    return check


def _onbuild(state, instruction, values, seen):
    state.config["OnBuild"] = [*(state.config.get("OnBuild") or ()), instruction.text]
    return instruction.text


def _maintainer(state, instruction, values, seen):
    state.author = values.expand(instruction.name, instruction.node)
    return state.author


_HANDLERS = {
    "Arg": _arg,
    "Cmd": _cmd,
    "Entrypoint": _entrypoint,
    "Env": _env,
    "Expose": _expose,
    "Healthcheck": _healthcheck,
    "Label": _label,
    "Maintainer": _maintainer,
    "Onbuild": _onbuild,
    "Shell": _shell,
    "Stopsignal": _stopsignal,
    "User": _user,
    "Volume": _volume,
}
