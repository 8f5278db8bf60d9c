"""Matching with ``*`` and ``?`` in time that no pattern can blow up.

A set of positions in a text is an int, bit i for position i.  A token of a pattern maps such
a set to the set of positions after it, all at once; there is nothing to backtrack.  Regular
expressions take exponential time for ``*a*a*a*a*b``, and patterns come from strangers.
"""

ANY = object()  # *: any characters, also none
SOME = object()  # * that stays inside a component of a path
ONE = object()  # ?: one character
INSIDE = object()  # ? that isn't a slash
GAP = object()  # **/: nothing, or whole components with their slash


class Text:
    """A text to match against. ``all`` has a bit for each position, the end included."""

    __slots__ = ("text", "all", "_masks")

    def __init__(self, text):
        self.text = text
        self.all = (1 << (len(text) + 1)) - 1
        self._masks = {}

    def _mask(self, token):
        """The positions whose character the token (str, or a predicate) matches."""
        mask = self._masks.get(token)
        if mask is None:
            if isinstance(token, str):
                bits = ["1" if char == token else "0" for char in reversed(self.text)]
            else:
                bits = ["1" if token(char) else "0" for char in reversed(self.text)]
            mask = self._masks[token] = int("".join(bits) or "0", 2)
        return mask

    def ends(self, tokens, starts=1):
        """The set of positions where ``tokens`` can end that begin at one of ``starts``."""
        at = starts
        for token in tokens:
            if not at:
                return 0
            if token is ANY:
                at = self.all & -(at & -at)  # from the lowest on
            elif token is SOME:
                at = self._within(at)
            elif token is ONE:
                at = at << 1 & self.all
            elif token is INSIDE:
                at = (at & ~self._mask("/")) << 1 & self.all
            elif token is GAP:
                later = self.all & -(at & -at)
                at |= (self._mask("/") & later) << 1
            else:
                at = (at & self._mask(token)) << 1
        return at

    def _within(self, at):
        """``at`` and what is reached from there without passing a slash.

        The carry of an addition runs through a row of ones (Myers, 1999).
        """
        free = (self.all >> 1) & ~self._mask("/")
        return (((at & free) + free) ^ free) & self.all | at


def lowest(positions):
    """The first position of a set that isn't empty."""
    return (positions & -positions).bit_length() - 1


def highest(positions):
    """The last position of a set that isn't empty."""
    return positions.bit_length() - 1
