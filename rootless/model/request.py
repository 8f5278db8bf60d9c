"""What a person asked for: one verb with its options and arguments, frozen."""


class Request:
    """One command line, understood.

    ``verb``     canonical name: "run", "ps", "volume create"
    ``options``  dict of every option of the verb: flags are bool, lists tuple of str,
                 numbers int or None, other values str or None
    ``args``     tuple of str: what is neither an option nor the value of one
    ``given``    frozenset of the options that were typed, not defaulted

    Options are attributes too: ``--shm-size`` is ``request.shm_size``.
    """

    __slots__ = ("verb", "options", "args", "given")

    def __init__(self, verb, options, args=(), given=frozenset()):
        fill = object.__setattr__
        fill(self, "verb", verb)
        fill(self, "options", options)
        fill(self, "args", tuple(args))
        fill(self, "given", frozenset(given))

    def __getattr__(self, name):
        try:
            return self.options[name]
        except KeyError:
            raise AttributeError(f"{self.verb} has no option {name!r}") from None

    def __setattr__(self, name, value):
        raise AttributeError(f"Request is frozen: {name}")

    def __delattr__(self, name):
        raise AttributeError(f"Request is frozen: {name}")

    def __eq__(self, other):
        if not isinstance(other, Request):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in self.__slots__)

    __hash__ = None

    def __repr__(self):
        typed = {name: self.options[name] for name in sorted(self.given)}
        return f"Request({self.verb!r}, {typed!r}, {self.args!r})"

    def replace(self, args=None, **options):
        """A copy with other arguments or options; ``given`` stays what was typed."""
        return Request(
            self.verb,
            {**self.options, **options},
            self.args if args is None else args,
            self.given,
        )
