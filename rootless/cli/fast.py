"""The fast reader of the command line: argv to a Request, by the option table alone.

It takes only what is certain.  Anything else (an unknown option, a bad value, ``--help``,
a wrong number of arguments) makes it answer None, and ``app`` reads the same line again
with click, which writes the help or the message.  A test holds the two to one answer.

The rules are those of pflag, which podman and docker use: ``-itd``, ``-eA=1``, ``-e=A=1``,
``--env A=1``, ``--env=A=1``, ``--rm=false``, ``--`` ends the options; options may follow
arguments, except where what follows is a command for the container.
"""

from rootless.cli import options as table
from rootless.cli.options.table import FLAG, LIST, NUMBER, TRUTH, WORDS, fits
from rootless.model.request import Request

_DIGITS = 18  # more of them may not fit into 64 bits


def parse(argv):
    """(overrides, Request) of the words after ``rl``; None where click has to read them.

    ``overrides``: dict of the global options that were typed, for ``config.load``.
    """
    overrides = {}
    position = _globals(argv, overrides)
    if position is None:
        return None
    name, position = _verb_name(argv, position)
    verb = table.find(name)
    if verb is None or verb.unavailable:
        return None
    values = {}
    args = _scan(verb, argv, position, values, overrides)
    if args is None or not fits(verb, len(args), values.keys()):
        return None
    filled = dict(verb.defaults)
    for key, value in values.items():
        filled[key] = tuple(value) if type(value) is list else value
    return overrides, Request(verb.runs, filled, args, values)


def _verb_name(argv, position):
    """The verb's one or two words from ``position`` on, and the position after them."""
    if position == len(argv):
        return "", position
    name = argv[position]
    if name in table.GROUPS and position + 1 < len(argv):
        return f"{name} {argv[position + 1]}", position + 2
    return name, position + 1


def _globals(argv, overrides):
    """Read the options before the verb; the position of the verb."""
    position = 0
    while position < len(argv) and argv[position][:1] == "-":
        name, equals, text = argv[position].partition("=")
        option = table.GLOBAL_NAMES.get(name)
        if option is None:
            return None
        position += 1
        if not equals:
            if option.kind is FLAG:
                text = "true"
            elif position == len(argv):
                return None
            else:
                text = argv[position]
                position += 1
        if not _set_global(option, text, overrides):
            return None
    return position


def _set_global(option, text, overrides):
    values = {}
    if not _store(option, text, values):
        return False
    if option.name == "debug":
        if values["debug"]:
            overrides["log_level"] = "debug"
    else:
        overrides.update(values)
    return True


def _store(option, text, values):
    """Take one value; False where it isn't plainly right."""
    kind = option.kind
    if kind is FLAG:
        text = TRUTH.get(text)
        if text is None:
            return False
    elif kind is LIST:
        values.setdefault(option.name, []).append(text)
        return True
    elif kind is WORDS:
        if '"' in text or "\n" in text or "\r" in text:
            return False
        values.setdefault(option.name, []).extend(text.split(",") if text else ())
        return True
    elif kind is NUMBER:
        digits = text[1:] if text[:1] == "-" else text
        if not digits.isdecimal() or not digits.isascii() or len(digits) > _DIGITS:
            return False
        text = int(text)
        if option.least is not None and text < option.least:
            return False
    elif option.choices and text not in option.choices:
        return False
    values[option.name] = text
    return True


def _scan(verb, argv, position, values, overrides):
    """Read options into ``values`` from ``position`` on; the arguments, or None."""
    args = []
    known = verb.lookup
    end = len(argv)
    while position < end:
        word = argv[position]
        position += 1
        if word[:1] != "-" or word == "-":
            args.append(word)
            if verb.passthrough:
                args.extend(argv[position:])
                break
            continue
        if word == "--":
            args.extend(argv[position:])
            break
        if word[1] != "-":
            position = _short(known, word, argv, position, values)
            if position is None:
                return None
            continue
        name, equals, text = word.partition("=")
        option = known.get(name)
        into = values
        if option is None:
            option = table.GLOBAL_NAMES.get(name)
            into = None
        if option is None or option.unavailable:
            return None
        if not equals:
            if option.bare is not None:
                text = option.bare
            elif position == end:
                return None
            else:
                text = argv[position]
                position += 1
        if not (_set_global(option, text, overrides) if into is None
                else _store(option, text, values)):  # fmt: skip
            return None
    return args


def _short(known, word, argv, position, values):
    """Read ``-abc``, ``-eVALUE`` or ``-e VALUE``; the position after it, or None."""
    at = 1
    while at < len(word):
        option = known.get("-" + word[at])
        if option is None or option.unavailable:
            return None
        rest = word[at + 1 :]
        if option.kind is FLAG and not (rest[:1] == "=" and len(rest) > 1):
            values[option.name] = True
            at += 1
            continue
        if rest:
            text = rest[1:] if rest[0] == "=" else rest
        elif position == len(argv):
            return None
        else:
            text = argv[position]
            position += 1
        return position if _store(option, text, values) else None
    return position
