"""The careful reader of the command line: click, built from the option table.

It is loaded for what ``fast`` leaves: help, errors, rare spellings.  It must answer as
``fast`` does wherever both answer.
"""

import sys

from rootless.cli import options as table
from rootless.cli.options.table import FLAG, LIST, NUMBER, TRUTH, WORDS, fits
from rootless.errors import RlError
from rootless.model.request import Request


class NoClick(RlError):
    """the Python package click is missing, which reads unusual command lines"""

    hint = "install rl again (pipx reinstall rl), or install python3-click"


try:
    import click
except ModuleNotFoundError:  # started with -S: only the directory of this package is known
    import site

    site.main()
    try:
        import click
    except ModuleNotFoundError:
        raise NoClick() from None

from rootless.cli.pflag import BadUsage, Reader, closest  # noqa: E402


class UnknownCommand(RlError):
    """rl has no command {0!r}"""


class NoCommand(RlError):
    """rl {0}: which command? There are: {1}"""

    hint = "rl {0} --help says what they do"


class WrongArguments(RlError):
    """rl {0}: {1}"""

    hint = "usage: rl {0} {usage}"


def parse(argv):
    """(overrides, Request) of the words after ``rl``; (exit code, None) after a help text.

    Raises RlError for a line that is no command.
    """
    overrides = {}
    root = Root(overrides)
    try:
        with root.make_context("rl", list(argv), max_content_width=100) as context:
            return overrides, root.invoke(context)
    except click.exceptions.Exit as leave:
        return leave.exit_code, None
    except click.UsageError as error:
        raise _translated(error) from None


def _translated(error):
    """click's error as one of ours: the option, then what is wrong with it."""
    path = (error.ctx.command_path if error.ctx else "rl").removeprefix("rl").strip()
    verb = f"rl {path}".rstrip()
    text = error.message.rstrip(".")
    if isinstance(error, click.BadParameter) and error.param is not None:
        spelling = max(error.param.opts, key=len)
        return BadUsage(f"{spelling}: {text}", hint=f"{verb} --help says what it takes")
    return BadUsage(f"{verb}: {text[:1].lower()}{text[1:]}")


# --- types ---------------------------------------------------------------------------------


class Whole(click.ParamType):
    """A whole number in decimal digits, not below ``least``."""

    name = "number"

    def __init__(self, least):
        self._least = least

    def convert(self, value, param, ctx):
        """See click.ParamType."""
        if isinstance(value, int):
            return value
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
            self.fail(f"{value!r} is not a whole number", param, ctx)
        if self._least is not None and int(value) < self._least:
            self.fail(f"{value} is less than {self._least}", param, ctx)
        return int(value)


class Truth(click.ParamType):
    """true or false, as strconv.ParseBool has it."""

    name = "boolean"

    def convert(self, value, param, ctx):
        """See click.ParamType."""
        if isinstance(value, bool):
            return value
        if value not in TRUTH:
            self.fail(f"{value!r} is neither true nor false", param, ctx)
        return TRUTH[value]


class OneOf(click.ParamType):
    """One of a few texts."""

    name = "choice"

    def __init__(self, choices):
        self._choices = choices

    def convert(self, value, param, ctx):
        """See click.ParamType."""
        if value not in self._choices:
            self.fail(f"{value!r} is none of {', '.join(self._choices)}", param, ctx)
        return value


def _option(row):
    """The click.Option of a row."""
    kind = click.STRING
    if row.kind == FLAG:
        kind = Truth()
    elif row.kind == NUMBER:
        kind = Whole(row.least)
    elif row.choices:
        kind = OneOf(row.choices)
    return click.Option(
        [row.name, *row.names],
        type=kind,
        default=row.default,
        multiple=row.kind in (LIST, WORDS),
        metavar=row.metavar,
        help=row.help,
    )


# --- commands ------------------------------------------------------------------------------


def _show_help(ctx, param, value):
    if value:
        sys.stdout.write(ctx.get_help().rstrip("\n") + "\n")
        ctx.exit(0)


class _Read:
    """What commands and groups share: our reader, our help option."""

    known = {}
    stop = True
    helps = ("-h", "--help")
    own_help = None

    def make_parser(self, ctx):
        """See click.Command."""
        title = ctx.command_path.removeprefix("rl").strip()
        self.reader = Reader(title, self.known, self.get_params(ctx), self.helps, self.stop)
        return self.reader

    def get_params(self, ctx):
        """See click.Command."""
        if self.own_help is None:
            self.own_help = click.Option(
                ["help", *self.helps], is_flag=True, is_eager=True, expose_value=False,
                callback=_show_help,
            )  # fmt: skip
        mine = {param.name for param in self.params}
        others = (param for param in _globals() if param.name not in mine)
        return [*self.params, self.own_help, *others]


_global_params = []


def _globals():
    if not _global_params:
        _global_params.extend(_option(row) for row in table.GLOBALS)
        for param in _global_params:
            param.expose_value = False
            param.callback = _note_global
    return _global_params


def _note_global(context, param, value):
    source = context.get_parameter_source(param.name)
    if source is click.core.ParameterSource.COMMANDLINE:
        overrides = context.find_root().command.overrides
        if param.name != "debug":
            overrides[param.name] = value
        elif value:
            overrides["log_level"] = "debug"
    return value


class Command(_Read, click.Command):
    """A verb."""

    def __init__(self, verb):
        self.verb = verb
        self.known = verb.lookup
        self.stop = verb.passthrough
        params = [_option(row) for row in verb.options if row.unavailable is None]
        params.append(click.Argument(["args"], nargs=-1, required=False))
        if "-h" in self.known:
            self.helps = ("--help",)
        super().__init__(
            verb.name.split()[-1],
            params=params,
            callback=self._make_request,
            add_help_option=False,
        )

    def _make_request(self, args=(), **values):
        verb, given = self.verb, set(self.reader.found)
        given = {row.name for row in verb.options} & given
        if not fits(verb, len(args), given):
            raise self._misfit(args, given)
        return Request(verb.runs, {**values, **verb.preset}, args, given)

    def _misfit(self, args, given):
        verb = self.verb
        both = sorted(given & set(verb.alone))
        if args and both:
            text = f"--{both[0]} says which ones already: {args[0]!r} is too much"
        elif verb.most is not None and len(args) > verb.most:
            text = f"{args[verb.most]!r} is one argument too many"
            if not verb.most:
                text = f"it takes no arguments: {args[0]!r}"
        else:
            wanted = verb.arguments.replace("[", "").replace("]", "").split()
            text = f"{wanted[len(args)]} is missing"
            if verb.instead:
                text += " (or " + ", ".join(f"--{name}" for name in verb.instead) + ")"
        return WrongArguments(verb.name, text, usage=f"[OPTIONS] {verb.arguments}".strip())

    def format_help(self, ctx, formatter):
        """See click.Command."""
        from rootless.cli import help

        help.verb_page(self.verb, formatter, self.helps)


class Group(_Read, click.Group):
    """Commands of two words."""

    def __init__(self, name):
        super().__init__(
            name,
            callback=self._without_command,
            invoke_without_command=True,
            add_help_option=False,
        )

    def _without_command(self):
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            raise NoCommand(self.name, ", ".join(self.list_commands(ctx)))

    def get_command(self, ctx, name):
        """See click.Group."""
        return _command(f"{self.name} {name}")

    def list_commands(self, ctx):
        """See click.Group."""
        from rootless.cli import help

        return [name.split()[1] for name in help.members(self.name)]

    def resolve_command(self, ctx, args):
        """See click.Group."""
        command = self.get_command(ctx, args[0])
        if command is None:
            raise _unknown(f"{self.name} {args[0]}", self.list_commands(ctx), f"{self.name} ")
        return args[0], command, args[1:]

    def format_help(self, ctx, formatter):
        """See click.Command."""
        from rootless.cli import help

        help.group_page(self.name, formatter)


class Root(_Read, click.Group):
    """rl itself."""

    def __init__(self, overrides):
        self.overrides = overrides
        version = click.Option(
            ["-v", "--version"], is_flag=True, is_eager=True, expose_value=False,
            callback=self._version,
        )  # fmt: skip
        super().__init__(
            "rl",
            params=[version],
            callback=self._without_command,
            invoke_without_command=True,
            add_help_option=False,
        )
        versions = dict.fromkeys(table.VERSION.names, table.VERSION)
        self.known = {**table.GLOBAL_NAMES, **versions}

    def _without_command(self):
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            _show_help(ctx, None, True)

    def _version(self, ctx, param, value):
        if value:
            from rootless import __version__

            sys.stdout.write(f"rl version {__version__}\n")
            ctx.exit(0)

    def get_command(self, ctx, name):
        """See click.Group."""
        return Group(name) if name in table.GROUPS else _command(name)

    def resolve_command(self, ctx, args):
        """See click.Group."""
        if args[0] == "help":
            args = [*args[1:], "--help"]
            if len(args) == 1:
                _show_help(ctx, None, True)
        command = self.get_command(ctx, args[0])
        if command is None:
            from rootless.cli import help

            known = [*help.offered(), *table.GROUPS, "help"]
            raise _unknown(args[0], [name for name in known if " " not in name], "")
        return args[0], command, args[1:]

    def format_help(self, ctx, formatter):
        """See click.Command."""
        from rootless.cli import help

        help.root_page(formatter)


def _command(name):
    """The command of that verb; None if there is none. Raises NotBuilt."""
    verb = table.find(name)
    if verb is None:
        return None
    from rootless.cli import help

    if not help.is_built(verb):
        from rootless.cli.main import NotBuilt

        raise NotBuilt(name)
    return Command(verb)


def _unknown(name, known, prefix):
    if name in _OTHERS:
        return UnknownCommand(name, hint=_OTHERS[name])
    guess = _SAME.get(name) or closest(name.removeprefix(prefix), known)
    where = f"rl {prefix}--help lists the commands"
    hint = f"did you mean rl {prefix}{guess}? {where}" if guess else where
    return UnknownCommand(name, hint=hint)


# What people type who come from elsewhere; closeness in letters says nothing about these.
_SAME = {"delete": "rm", "list": "ps", "ls": "ps", "remove": "rm", "shell": "exec"}

# Verbs of podman and docker that rl hasn't, and what comes nearest.
_START = "rl autostart starts containers at boot; there are no unit files to generate"
_OTHERS = {
    "auto-update": "rl pull IMAGE, then rl run --replace --name NAME … with the same words",
    "compose": "rl network create joins containers that rl run --network starts one by one",
    "context": "rl works on this machine only: ssh MACHINE rl …",
    "generate": _START,
    "kube": "containers are started one by one: rl run",
    "machine": "rl runs on Linux itself and needs no virtual machine",
    "play": "containers are started one by one: rl run",
    "pod": "rl run --network container:NAME, with --ipc and --pid alike, shares namespaces",
    "quadlet": _START,
    "secret": "mount a file that only you can read: rl run -v FILE:/run/secrets/NAME:ro",
    "system connection": "rl works on this machine only: ssh MACHINE rl …",
    "system service": "rl has no daemon and no socket: every command does its work itself",
}
