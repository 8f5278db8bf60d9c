"""``--chmod``: an octal mode, or changes as chmod(1) writes them."""

import re

from rootless.build.copy.errors import BadMode

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "s": 0o6000, "t": 0}
_SHIFT = {"u": 6, "g": 3, "o": 0}


def parse(text):
    """The function (mode, is_directory) → mode that ``text`` means; BadMode.

    No umask counts: a clause that names nobody is for all.
    """
    if text and all(letter in "01234567" for letter in text):
        value = int(text, 8)
        if value > 0o7777:
            raise BadMode(text)
        return lambda mode, is_directory: value
    clauses = []
    for part in text.split(","):
        found = _CLAUSE.fullmatch(part)
        if not found:
            raise BadMode(text)
        clauses.append((found[1] or "a", _ACTION.findall(found[2])))
    return lambda mode, is_directory: _change(clauses, mode, is_directory)


def _change(clauses, mode, is_directory):
    for who, actions in clauses:
        mask = 0
        for letter in who:
            mask |= _WHO[letter]
        sticky = 0o1000 if "o" in who or "a" in who else 0
        for operator, letters in actions:
            bits = _bits(letters, mode, is_directory) & mask
            if "t" in letters:
                bits |= sticky
            if operator == "+":
                mode |= bits
            elif operator == "-":
                mode &= ~bits
            else:
                # chmod(1) keeps set-id bits of directories unless they are named.
                kept = 0o6000 if is_directory and "s" not in letters else 0
                mode = mode & ~((mask | sticky) & ~kept) | bits
    return mode


def _bits(letters, mode, is_directory):
    if letters in ("u", "g", "o") and letters:
        three = mode >> _SHIFT[letters] & 7
        return three * 0o111
    bits = 0
    for letter in letters:
        if letter == "X":
            bits |= 0o111 if is_directory or mode & 0o111 else 0
        else:
            bits |= _BITS[letter]
    return bits
