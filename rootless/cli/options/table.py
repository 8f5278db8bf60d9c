"""What the rows of the option table are made of.

One table feeds both readers of the command line, the help texts, the man pages and the
completions; see docs/cli.md for how to add a row.
"""

FLAG = "flag"  # --rm, --rm=false: bool
VALUE = "value"  # str, or None
NUMBER = "number"  # a whole number: int, or None
LIST = "list"  # may be given again; each text is one item: tuple of str
WORDS = "words"  # as LIST, and each text is comma-separated (CSV): tuple of str

TRUTH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Option:
    """One row: an option of a verb.

    ``names``        the spellings, short ones first: ("-v", "--volume")
    ``name``         its attribute of the Request: the first long name, ``-`` as ``_``
    ``metavar``      what stands for the value in the help
    ``choices``      the values allowed, empty where any text is
    ``least``        the smallest number allowed, None where any is
    ``group``        the heading it stands under in the help
    ``complete``     what completes its value: "container", "image", "volume", "file", "dir"
    ``bare``         the text it has where none is given (of long names only); None where one
                     is needed.  Such a text can be given after ``=`` alone, as with a flag
    ``unavailable``  why this version doesn't have it: typed, it is an error with that text
    """

    __slots__ = (
        "names", "name", "kind", "metavar", "help", "default", "choices", "least", "group",
        "complete", "bare", "unavailable",
    )  # fmt: skip

    def __init__(self, names, kind, metavar, help, default=None, choices=(), least=None,
                 group=None, complete=None, bare=None, unavailable=None):  # fmt: skip
        self.names = tuple(names.split())
        self.name = names.partition("--")[2].partition(" ")[0].replace("-", "_")
        self.kind = kind
        self.metavar = metavar
        self.help = help
        self.default = default
        self.choices = choices
        self.least = least
        self.group = group
        self.complete = complete
        self.bare = "true" if kind is FLAG else bare
        self.unavailable = unavailable

    def __repr__(self):
        return f"Option({' '.join(self.names)})"


def flag(names, help, default=False, **more):
    """An option that is on or off."""
    return Option(names, FLAG, None, help, default, **more)


def value(names, metavar, help, **more):
    """An option with one text; the last one given counts."""
    return Option(names, VALUE, metavar, help, **more)


def number(names, metavar, help, least=0, **more):
    """An option with one whole number."""
    return Option(names, NUMBER, metavar, help, least=least, **more)


def many(names, metavar, help, **more):
    """An option that may be given more than once."""
    return Option(names, LIST, metavar, help, (), **more)


def words(names, metavar, help, **more):
    """An option that may be given more than once, or with several texts: a,b."""
    return Option(names, WORDS, metavar, help, (), **more)


def missing(why, names, kind=VALUE):
    """Rows of options that podman has and this version hasn't: name → the same reason."""
    return tuple(
        Option(name.replace(",", " "), kind, None, "", unavailable=why) for name in names.split()
    )


class Verb:
    """One command.

    ``name``       "run", "volume create"
    ``runs``       the verb of the Request it makes: "container inspect" runs "inspect"
    ``preset``     options that it sets by itself: {"type": "container"}
    ``module``     the module of rootless.cli whose ``main(engine, request)`` does it
    ``arguments``  how they are shown: "IMAGE [COMMAND [ARG...]]"
    ``least``      how few arguments there may be; ``most``: how many (None: any number)
    ``instead``    options that make arguments unneeded; ``alone``: those that forbid them
    ``passthrough`` everything after the first argument is the container's, not rl's
    ``complete``   what completes its arguments, as in Option
    """

    __slots__ = (
        "name", "runs", "preset", "module", "summary", "arguments", "options", "least", "most",
        "instead", "alone", "passthrough", "complete", "examples", "hidden", "unavailable",
        "_lookup", "_defaults",
    )  # fmt: skip

    def __init__(self, name, summary, options=(), arguments="", least=0, most=None, *,
                 runs=None, preset=None, module=None, instead=(), alone=(), passthrough=False,
                 complete=None, examples=(), hidden=False, unavailable=None):  # fmt: skip
        self.name = name
        self.runs = runs or name
        self.preset = preset or {}
        self.module = module or "cmd_" + self.runs.split()[0].replace("-", "_")
        self.summary = summary
        self.options = options
        self.arguments = arguments
        self.least = least
        self.most = 0 if not arguments else most
        self.alone = tuple(alone)
        self.instead = (*self.alone, *instead)
        self.passthrough = passthrough
        self.complete = complete
        self.examples = examples
        self.hidden = hidden
        self.unavailable = unavailable
        self._lookup = self._defaults = None

    @property
    def lookup(self):
        """Spelling → Option, as a dict."""
        if self._lookup is None:
            self._lookup = {name: option for option in self.options for name in option.names}
        return self._lookup

    @property
    def defaults(self):
        """The options of a Request in which nothing was typed, as a dict."""
        if self._defaults is None:
            fill = {row.name: row.default for row in self.options if row.unavailable is None}
            fill.update(self.preset)
            self._defaults = fill
        return self._defaults

    def __repr__(self):
        return f"Verb({self.name})"


def fits(verb, count, given):
    """Whether ``count`` arguments go with the options ``given`` (a set of names)."""
    if verb.most is not None and count > verb.most:
        return False
    if count and verb.alone and not given.isdisjoint(verb.alone):
        return False
    return count >= verb.least or not given.isdisjoint(verb.instead)
