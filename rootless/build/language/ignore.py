"""Ignore files: which paths of a context don't belong to it.

The semantics are those of moby's patternmatcher: ``*`` and ``?`` stay inside a component,
``**`` doesn't, a pattern that matches a directory counts for all below it, ``!`` takes back,
and the last pattern that matches a path decides.
"""

import posixpath

from rootless.build.language import globs
from rootless.build.language.source import Place, Source, TooBig, error_at

LIMIT = 1 << 20  # characters of an ignore file


class Patterns:
    """A list of patterns. ``texts`` are as cleaned, with ``!`` in front of what takes back."""

    def __init__(self, patterns):
        """``patterns``: list of _Pattern."""
        self.texts = [("!" if pattern.negates else "") + pattern.text for pattern in patterns]
        self._patterns = patterns
        self._groups = list(_groups(patterns))

    def __bool__(self):
        return bool(self._patterns)

    @property
    def negates(self):
        """Whether there is a pattern with ``!``."""
        return any(pattern.negates for pattern in self._patterns)

    def ignored(self, path, is_dir=False):
        """Whether ``path`` (str, relative, with /) is left out of the context.

        A directory is as its name says: what is below it may still belong to the context;
        see ``may_contain``. The context itself, ".", is never left out.
        """
        path = clean(path).lstrip("/")
        if path == ".":
            return False
        for negates, match in reversed(self._groups):
            if match(path):
                return not negates
        return False

    def may_contain(self, path):
        """Whether something below the ignored directory ``path`` may not be ignored.

        False means that it needn't be walked; True promises nothing.
        """
        path = clean(path).lstrip("/")
        last = -1
        for index, pattern in enumerate(self._patterns):
            if not pattern.negates and pattern.match(path):
                last = index
        later = self._patterns[last + 1 :]
        return any(pattern.negates and pattern.reaches(path) for pattern in later)


def read(text, name=".dockerignore"):
    """The Patterns of the ignore file ``text`` (str). Raises BuildError.

    Empty lines and those that begin with # are skipped; paths are cleaned, and one that
    begins with / is relative to the context all the same.
    """
    source = Source(text.removeprefix("\ufeff"), name)
    if len(text) > LIMIT:
        why = f"longer than {LIMIT >> 20} MiB, so it is no ignore file"
        raise TooBig(why, at=Place(source, 1))
    patterns = []
    for number, line in enumerate(source.lines, 1):
        written = line.strip()
        if not written or line.startswith("#"):
            continue
        patterns.append(_pattern(written, _Line(source, number, line.index(written) + 1)))
    return Patterns(patterns)


def from_list(texts, node=None):
    """The Patterns of ``texts``, such as the values of --exclude in ``node``. BuildError."""
    stripped = [text.strip() for text in texts]
    return Patterns([_pattern(text, node) for text in stripped if text])


class _Line:
    """What ``error_at`` wants to know of a line of an ignore file."""

    def __init__(self, source, number, column):
        self.source, self.number, self.column = source, number, column

    def place(self, at=None):
        line = self.source.line(self.number)
        width = len(line.rstrip()) - self.column + 1
        return Place(self.source, self.number, self.column, width)


def clean(path):
    """``path`` at its shortest: no double slashes, no ``.``, ``..`` as far as possible."""
    if "/" not in path and path not in ("", "..", "."):
        return path
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def _pattern(written, place):
    negates = written.startswith("!")
    text = written[1:].strip() if negates else written
    if not text:
        raise error_at(place, "a ! without a pattern", "such as !docs/README.md", written)
    text = clean(text)
    if len(text) > 1:
        text = text.removeprefix("/")
    try:
        return _Pattern(text, negates)
    except ValueError as error:
        raise error_at(place, f"{written!r} isn't a pattern: {error}", at=written) from None


class _Pattern:
    """One pattern: ``regex`` (str) for paths it matches itself, None if matching that way
    could take too long."""

    def __init__(self, text, negates):
        self.text = text
        self.negates = negates
        self.tokens = _tokens(text)
        self.regex = _regex(self.tokens)
        self.plain = _literal(self.tokens)
        self.components = _split(self.tokens)
        self._compiled = None

    def match(self, path):
        """Whether the pattern matches ``path`` or a directory that it is in."""
        if self.plain is not None:
            return path == self.plain or path.startswith(f"{self.plain}/")
        if self.regex is None:
            return self._slow(path)
        if self._compiled is None:
            import re

            regex = _numbered(self.regex, 0)
            self._compiled = re.compile(f"(?:{regex})(?:/|$)", re.DOTALL).match
        return bool(self._compiled(path))

    def _slow(self, path):
        text = globs.Text(path)
        ends = text.ends(self.tokens)
        while ends:
            end = globs.lowest(ends)
            if end == len(path) or path[end] == "/":
                return True
            ends &= ends - 1
        return False

    def reaches(self, path):
        """Whether the pattern may match something below ``path``."""
        names = path.split("/")
        for name, component in zip(names, self.components, strict=False):
            if component is None:  # ** begins here
                return True
            text = globs.Text(name)
            if not text.ends(component) >> len(name) & 1:
                return False
        return True


def _groups(patterns):
    """(negates, a function that says whether a path matches) of neighbours of one kind."""
    run = []
    for pattern in patterns:
        if run and run[-1].negates != pattern.negates:
            yield _group(run)
            run = []
        run.append(pattern)
    if run:
        yield _group(run)


def _group(patterns):
    """Many patterns as one: literal ones by look-up, the others in one expression."""
    literal = {pattern.plain for pattern in patterns if pattern.plain is not None}
    slow = [pattern for pattern in patterns if pattern.plain is None and pattern.regex is None]
    quick = [
        _numbered(pattern.regex, index)
        for index, pattern in enumerate(patterns)
        if pattern.plain is None and pattern.regex is not None
    ]
    search = None
    if quick:
        import re

        search = re.compile(f"(?:{'|'.join(quick)})(?:/|$)", re.DOTALL).match

    def match(path):
        if literal:
            if path in literal:
                return True
            slash = path.find("/")
            while slash >= 0:
                if path[:slash] in literal:
                    return True
                slash = path.find("/", slash + 1)
        if search and search(path):
            return True
        return any(pattern.match(path) for pattern in slow)

    return patterns[0].negates, match


def _numbered(regex, index):
    """``regex`` with names of groups that no other pattern has."""
    return regex.replace("\0", f"{index}_")


# --- patterns → tokens → expressions ---------------------------------------------------------


def _tokens(text):
    """The tokens of ``globs`` that a pattern stands for. ValueError says what is wrong."""
    if "\0" in text:
        raise ValueError("it has a NUL character")
    if text.startswith("**") and text[2:3] != "/" and not set(text[2:]) & set("*?[]\\"):
        return [globs.ANY, *text[2:]]  # **end: whatever ends so, also within a name
    tokens, at = [], 0
    while at < len(text):
        char = text[at]
        if text.startswith("**", at):
            at += 2
            if text.startswith("/", at):
                at += 1
            tokens.append(globs.ANY if at == len(text) else globs.GAP)
            continue
        at += 1
        if char == "*":
            tokens.append(globs.SOME)
        elif char == "?":
            tokens.append(globs.INSIDE)
        elif char == "[":
            token, at = _class(text, at)
            tokens.append(token)
        elif char == "\\":
            if at == len(text):
                raise ValueError("nothing follows the backslash")
            tokens.append(text[at])
            at += 1
        else:
            tokens.append(char)
    return tokens


class _Class:
    """``[a-z]``: called with a character, says whether it is one of them."""

    def __init__(self, ranges, inverted):
        self.ranges = ranges
        self.inverted = inverted

    def __call__(self, char):
        inside = any(low <= char <= high for low, high in self.ranges)
        return inside != self.inverted and char != "/"

    @property
    def regex(self):
        inside = "".join(f"{_escape(low)}-{_escape(high)}" for low, high in self.ranges)
        return f"(?!/)[{'^' if self.inverted else ''}{inside}]"


def _class(text, at):
    inverted = text.startswith("^", at)
    at += inverted
    ranges = []
    while True:
        if text.startswith("]", at) and ranges:
            return _Class(ranges, inverted), at + 1
        low, at = _class_char(text, at)
        high = low
        if text.startswith("-", at):
            high, at = _class_char(text, at + 1)
        if high < low:
            raise ValueError(f"the range {low}-{high} is backwards")
        ranges.append((low, high))


def _class_char(text, at):
    if text.startswith("\\", at):
        at += 1
    elif text[at : at + 1] in ("]", "-"):
        raise ValueError("a [ isn't followed by characters and a ]")
    if at >= len(text):
        raise ValueError("a [ is never closed")
    return text[at], at + 1


def _literal(tokens):
    """The one path that the tokens match, or None."""
    return "".join(tokens) if all(isinstance(token, str) for token in tokens) else None


def _split(tokens):
    """The tokens of each component; None where ``**`` stands, which ends the list."""
    components = [[]]
    for token in tokens:
        if token is globs.GAP or token is globs.ANY:
            components[-1] = None
            break
        if token == "/":
            components.append([])
        else:
            components[-1].append(token)
    return components


def _regex(tokens):
    """An expression (str) that matches what the tokens do, without much backtracking.

    Each ``*`` but the last of a component, and each ``**/`` but the last, takes the first
    place where what follows matches and keeps it: no later place can do better. None where
    that isn't so, as in ``a**b**c``.
    """
    pieces, kept = [], 0
    star = gap = None  # where the last * of this component, the last **/ is in pieces
    for index, token in enumerate(tokens):
        if token is globs.SOME:
            if star is not None:
                pieces[star:] = _kept(kept, "[^/]*?", pieces[star + 1 :])
                kept += 1
            star = len(pieces)
        elif token is globs.GAP:
            if gap is not None:
                if tokens[index - 1] != "/":
                    return None
                pieces[gap:] = _kept(kept, "(?:.*?/)??", pieces[gap + 1 :])
                kept += 1
            star, gap = None, len(pieces)
        elif token == "/" or token is globs.ANY:
            star = None
        pieces.append(_piece(token))
    return "".join(pieces)


def _kept(number, first, following):
    """``first`` (lazy) and what follows it, never tried again once it matched.

    A look-ahead with a reference: Python 3.10 has no atomic groups. The group's name gets
    the number of its pattern in place of the NUL.
    """
    if not following:
        return []
    name = f"g\0{number}"
    return [f"(?=(?P<{name}>{first}{''.join(following)}))(?P={name})"]


def _escape(text):
    import re  # 10 ms: for patterns only, and most contexts have none

    return re.escape(text)


def _piece(token):
    if isinstance(token, str):
        return _escape(token)
    if token is globs.SOME:
        return "[^/]*"
    if token is globs.GAP:
        return "(?:.*/)?"
    if token is globs.ANY:
        return ".*"
    return "[^/]" if token is globs.INSIDE else token.regex
