"""The complete reader of options, with an error for everything that is wrong.

click asks a command for a parser object (``Command.make_parser``); this is it.  click's own
parser knows neither ``--rm=false`` nor ``-e=A=1``, which podman's and docker's users type.
The values it returns are click's to convert and to check.
"""

from rootless.cli import options as table
from rootless.cli.options.table import FLAG, WORDS
from rootless.errors import RlError


class BadUsage(RlError):
    """{0}"""


class UnknownOption(RlError):
    """{0} has no option {1}"""


class Unavailable(RlError):
    """{1}: {2}"""

    hint = "{0} --help lists the options there are"


def closest(word, known):
    """The one of ``known`` (str) that ``word`` may have been meant for; None if none is."""
    import difflib

    found = difflib.get_close_matches(word, list(known), 1, 0.6)
    return found[0] if found else None


class Reader:
    """Reads the words after a verb; made for one reading.

    ``known``      spelling → row of the option table
    ``helps``      spellings of the help option
    ``stop``       True where the first argument ends the options
    """

    # click reads this to tell an option from an argument in its own messages.
    _opt_prefixes = frozenset(("-", "--"))

    def __init__(self, title, known, params, helps, stop):
        self._title = f"rl {title}" if title else "rl"
        self._known = known
        self._params = {param.name: param for param in params}
        self._helps = helps
        self._stop = stop
        self._argument = next(
            (param.name for param in params if param.param_type_name == "argument"), None
        )
        self.found = {}
        self._order = []

    def parse_args(self, args):
        """click's parser protocol: (values by name, words left over, parameters in order)."""
        words, plain = list(reversed(args)), []
        while words:
            word = words.pop()
            if word == "--":
                plain += reversed(words)
                break
            if word[:1] != "-" or word == "-":
                plain.append(word)
                if self._stop:
                    plain += reversed(words)
                    break
            elif word.startswith("--"):
                self._long(word, words)
            else:
                self._short(word, words)
        if self._argument is not None:
            self.found[self._argument] = tuple(plain)
            self._order.append(self._params[self._argument])
            plain = []
        return self.found, plain, self._order

    def _long(self, word, words):
        name, equals, text = word.partition("=")
        option = self._find(name, name)
        if option is None:
            self._take_help()
        elif option.bare is not None:
            self._take(option, text if equals else option.bare)
        elif equals:
            self._take(option, text)
        else:
            self._take(option, self._next(option, name, words))

    def _short(self, word, words):
        rest = word[1:]
        while rest:
            name, rest = "-" + rest[0], rest[1:]
            option = self._find(name, word)
            if option is None:
                self._take_help()
            elif option.kind == FLAG:
                if rest.startswith("=") and len(rest) > 1:
                    self._take(option, rest[1:])
                    return
                self._take(option, "true")
            elif rest:
                self._take(option, rest.removeprefix("="))
                return
            else:
                self._take(option, self._next(option, name, words))

    def _find(self, name, word):
        """The row of an option; None for the help."""
        if name in self._known:
            option = self._known[name]
            if option.unavailable:
                raise Unavailable(self._title, name, option.unavailable)
            return option
        if name in self._helps:
            return None
        if name in table.GLOBAL_NAMES:
            return table.GLOBAL_NAMES[name]
        raise self._unknown(name, word)

    def _unknown(self, name, word):
        shown = name if name == word else f"{name} (in {word})"
        offered = [n for n, option in self._known.items() if not option.unavailable]
        hint = f"{self._title} --help lists the options"
        guess = closest(name, (*offered, *table.GLOBAL_NAMES)) if len(name) > 2 else None
        if guess:
            hint = f"did you mean {guess}? {hint}"
        return UnknownOption(self._title, shown, hint=hint)

    def _next(self, option, name, words):
        if not words:
            text = f"{self._title}: {name} needs a value: {name} {option.metavar}"
            raise BadUsage(text)
        return words.pop()

    def _take_help(self):
        self.found["help"] = True
        self._order.append(self._params["help"])

    def _take(self, option, text):
        if option.kind == WORDS:
            self.found.setdefault(option.name, []).extend(self._split(option, text))
        elif option.kind == "list":
            self.found.setdefault(option.name, []).append(text)
        else:
            self.found[option.name] = text
        self._order.append(self._params[option.name])

    def _split(self, option, text):
        """The texts of a comma-separated one; those in double quotes may have commas."""
        import csv

        try:
            return next(csv.reader([text], strict=True), [])
        except csv.Error as error:
            raise BadUsage(f"{option.names[-1]}: {text!r} is not a list: {error}") from None
