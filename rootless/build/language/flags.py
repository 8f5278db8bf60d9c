"""The flags of instructions: which there are, and the form of their values."""

from rootless.build.language.source import BuildError, error_at
from rootless.build.language.suggest import closest

BOOL = "bool"
TEXT = "text"
LIST = "list"  # may be given several times

KNOWN = {
    "ADD": {
        "chown": TEXT,
        "chmod": TEXT,
        "link": BOOL,
        "keep-git-dir": BOOL,
        "checksum": TEXT,
        "unpack": BOOL,
        "exclude": LIST,
    },
    "COPY": {
        "from": TEXT,
        "chown": TEXT,
        "chmod": TEXT,
        "link": BOOL,
        "parents": BOOL,
        "exclude": LIST,
    },
    "FROM": {"platform": TEXT},
    "HEALTHCHECK": {
        "interval": TEXT,
        "timeout": TEXT,
        "start-period": TEXT,
        "start-interval": TEXT,
        "retries": TEXT,
    },
    "RUN": {"mount": LIST, "network": TEXT, "security": TEXT, "device": LIST},
}


class UnknownFlag(BuildError):
    """{where}{keyword} has no flag --{text}{shown}"""


def read(node):
    """The flags of ``node``: dict of name to bool, str or list of str; only those given.

    Raises BuildError for one that is unknown, there twice, or without its value.
    """
    known = KNOWN.get(node.keyword, {})
    found = {}
    for name, value in node.flags:
        kind = known.get(name)
        if kind is None:
            raise _unknown(node, name, known)
        if name in found and kind is not LIST:
            raise error_at(node, f"--{name} is there twice", at=f"--{name}")
        if kind is BOOL:
            found[name] = _bool(node, name, value)
        elif not value and (value is None or kind is LIST):
            raise error_at(node, f"--{name} needs a value: --{name}=…", at=f"--{name}")
        elif kind is LIST:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _unknown(node, name, known):
    guess = closest(name, known)
    others = ", ".join(f"--{flag}" for flag in sorted(known))
    if guess:
        hint = f"did you mean --{guess}?"
    elif known:
        hint = f"its flags are {others}"
    else:
        hint = f"{node.keyword} has no flags; -- before its arguments makes --{name} one of them"
    return UnknownFlag(name, keyword=node.keyword, at=node.place(f"--{name}"), hint=hint)


def _bool(node, name, value):
    word = "true" if value is None else value.lower()
    if word not in ("true", "false"):
        hint = f"write --{name}, --{name}=true or --{name}=false"
        raise error_at(node, f"--{name} is a switch, not {value!r}", hint, f"--{name}")
    return word == "true"
