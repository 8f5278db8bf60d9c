"""Help texts, from the option table."""

import os

from rootless.cli import options as table
from rootless.cli.options.table import FLAG

_HERE = os.path.dirname(os.path.abspath(__file__))
_WIDEST = 32  # of the spellings' column
_TWICE = ("list", "remove", "umount")  # longer spellings of what a list shows already

SECTIONS = (
    ("Containers", "run create start stop restart kill pause unpause wait rm init rename update"),
    ("Inside containers", "exec attach cp logs top port diff export commit mount unmount"),
    ("Looking", "ps inspect stats events"),
    ("Images", "build pull push images rmi tag untag history load save import search login"
     " logout"),
    ("rl and this machine", "info doctor version unshare autostart completion"),
)


def is_built(verb):
    """Whether the module that does ``verb`` is part of this version, as bool."""
    return verb.unavailable is None and os.path.exists(f"{_HERE}/{verb.module}.py")


def offered():
    """The names of the verbs that people are offered: a list of str."""
    return [
        name for name in table.names()
        if not table.find(name).hidden and is_built(table.find(name))
    ]  # fmt: skip


def members(group):
    """The names of the verbs of a group, aliases among them: "image ls"; a sorted list."""
    every = {*offered(), *table.ALIASES}
    return sorted(
        name for name in every
        if name.startswith(f"{group} ")
        and not (name in table.ALIASES and name.split()[1] in _TWICE)
        and is_built(table.find(name))
    )  # fmt: skip


def spelling(row):
    """How an option is written in the help: ``-e, --env NAME[=VALUE]``."""
    text = ", ".join(row.names)
    if row.metavar and row.bare is not None:
        return f"    {text}[={row.metavar}]"
    if not row.names[0].startswith("--"):
        return f"{text} {row.metavar}" if row.metavar else text
    return f"    {text} {row.metavar}" if row.metavar else f"    {text}"


def text(row):
    """What the help says of an option."""
    return f"{row.help} (default: true)" if row.kind == FLAG and row.default else row.help


def usage(verb):
    """The usage line of a verb, without "Usage: "."""
    words = ("rl", verb.name, "[OPTIONS]" if verb.options else "", verb.arguments)
    return " ".join(word for word in words if word)


def groups(verb):
    """The options that are shown, under their headings: a list of (heading, rows)."""
    found = {}
    for row in verb.options:
        if row.unavailable is None:
            found.setdefault(row.group or "Options", []).append(row)
    return list(found.items())


def aliases(verb):
    """The other spellings of a verb: a sorted list of str."""
    return sorted(name for name, target in table.ALIASES.items() if target == verb.name)


def _rows(formatter, heading, rows):
    with formatter.section(heading):
        formatter.write_dl([(spelling(row), text(row)) for row in rows], col_max=_WIDEST)


def verb_page(verb, formatter, help_names):
    """Write the help of a verb to click's ``formatter``."""
    formatter.write(f"Usage: {usage(verb)}\n\n{verb.summary}.\n")
    others = aliases(verb)
    if others:
        formatter.write("\nAlso: " + ", ".join(f"rl {name}" for name in others) + "\n")
    if verb.examples:
        formatter.write("\nExamples:\n")
        for what, command in verb.examples:
            formatter.write(f"  {command}\n" if not what else f"  # {what}\n  {command}\n")
    for heading, rows in groups(verb):
        _rows(formatter, heading, rows)
    names = ", ".join(help_names)
    page = verb.name.replace(" ", "-")
    formatter.write(f"\n{names} shows this. More: man rl-{page}; global options: rl --help\n")


def group_page(group, formatter):
    """Write the help of a group of verbs."""
    formatter.write(f"Usage: rl {group} COMMAND\n\n{table.GROUPS[group]}.\n")
    with formatter.section("Commands"):
        formatter.write_dl(
            [(name.split()[1], table.find(name).summary) for name in members(group)]
        )
    formatter.write(f"\nrl {group} COMMAND --help shows the options of one.\n")


def root_page(formatter):
    """Write the help of rl."""
    built = offered()
    formatter.write(
        "Usage: rl [OPTIONS] COMMAND [ARG...]\n\n"
        "Containers without root and without a daemon.\n"
    )
    for heading, names in SECTIONS:
        rows = [(name, table.find(name).summary) for name in names.split() if name in built]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)
    rows = [(group, f"{what}: " + ", ".join(name.split()[1] for name in members(group)))
            for group, what in table.GROUPS.items() if members(group)]  # fmt: skip
    with formatter.section("Groups of commands"):
        formatter.write_dl(rows)
    _rows(formatter, "Options", (*table.GLOBALS, table.VERSION))
    formatter.write("\nrl COMMAND --help shows the options of one; man rl has more.\n")
