"""Wildcards of COPY and ADD: those of Go's filepath.Match, one part of a path at a time.

``*`` and ``?`` never match a slash, classes are negated with ``^``, a backslash takes the
meaning of the next letter.  With ``--parents`` a part ``**`` stands for any number of parts.
"""

from rootless.build.copy.errors import BadPattern
from rootless.build.language import globs


def has_wildcards(text):
    """True if the pattern (str) is more than a plain path."""
    at = 0
    while at < len(text):
        if text[at] in "*?[":
            return True
        at += 2 if text[at] == "\\" else 1
    return False


def plain(text):
    """The path that a pattern without wildcards names: the backslashes are taken away."""
    if "\\" not in text:
        return text
    import re

    return re.sub(r"\\(.)", r"\1", text)


def compile_part(pattern):
    """The function str → bool for one part of a pattern; BadPattern."""
    tokens, at = [], 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            if not tokens or tokens[-1] is not globs.SOME:
                tokens.append(globs.SOME)
        elif letter == "?":
            tokens.append(globs.INSIDE)
        elif letter == "[":
            token, at = _class(pattern, at)
            tokens.append(token)
        else:
            if letter == "\\":
                letter, at = _escaped(pattern, at)
            tokens.append(letter)
    return lambda name: bool(globs.Text(name).ends(tokens) >> len(name) & 1)


def _escaped(pattern, at):
    if at >= len(pattern):
        raise BadPattern(pattern)
    return pattern[at], at + 1


def _class(pattern, at):
    """A character class, from behind its bracket: (predicate, position behind)."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges = []
    while not (ranges and pattern[at : at + 1] == "]"):
        low, at = _bound(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _bound(pattern, at + 1)
        ranges.append((low, high))

    def matches(letter):
        return any(low <= letter <= high for low, high in ranges) != negated

    return matches, at + 1


def _bound(pattern, at):
    if at >= len(pattern) or pattern[at] in "-]":
        raise BadPattern(pattern)
    letter = pattern[at]
    if letter == "\\":
        return _escaped(pattern, at + 1)
    return letter, at + 1
