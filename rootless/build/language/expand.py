"""Variables, quotes and escapes in the arguments of instructions.

``$name``, ``${name}`` and the forms of POSIX shells that BuildKit knows::

    ${v-word} ${v:-word}    word if v is unset (or empty)
    ${v+word} ${v:+word}    word if v is set (and not empty)
    ${v?word} ${v:?word}    an error with word if v is unset (or empty)
    ${v#pat} ${v##pat}      without the shortest, longest match of pat at the start
    ${v%pat} ${v%%pat}      ... at the end
    ${v/pat/text}           the first match of pat replaced by text; // replaces all

``word``, ``pat`` and ``text`` may hold variables themselves; ``*`` and ``?`` are special in
``pat``. An unset variable is empty.
"""

from rootless.build.language import globs
from rootless.build.language.source import BuildError, error_at

LIMIT = 1 << 20  # characters of a result: ENV A=$A$A, sixty times, is more than all memory
GLOB_LIMIT = 128 << 10  # characters that a pattern is looked for in; the kernel's for a variable
DEPTH = 50  # of variables in the words of variables

# Given to all stages after ``ARG NAME`` without a value; what the platform is.
PLATFORM_ARGS = (
    "BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
    "TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT",
    "TARGETSTAGE",
)  # fmt: skip
# Given to RUN with --build-arg without any ARG, and left out of history and cache keys.
PROXY_ARGS = tuple(
    spelt
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelt in (name, name.lower())
)

_SPECIAL = frozenset("@*#?-$!")
_END = None
_ACTIVE = frozenset("$'\"<")


class BadExpansion(BuildError):
    """{where}{text}{shown}"""


def expand(text, lookup, escape=None, node=None, keep_unset=False):
    """``text`` with variables put in, without quotes and escapes (str).

    ``lookup(name)`` gives the value (str) or None if unset. ``escape`` is that of ``node``,
    else a backslash. ``keep_unset`` leaves unset variables as they stand, and doesn't mind
    ``${v:?}``. Raises BadExpansion, pointing into ``node`` if there is one.
    """
    return _run(text, lookup, escape, node, _Lexer.whole, keep_unset=keep_unset)


def words(text, lookup, escape=None, node=None, keep_unset=False):
    """As ``expand``, but split at spaces that are not quoted, variables included (list).

    ``keep_unset``: as there.
    """
    return _run(text, lookup, escape, node, _Lexer.words, keep_unset=keep_unset)


def content(text, lookup, node=None):
    """The lines of a heredoc with variables put in: quotes are ordinary characters there,
    and the escape character is always the backslash (str). Raises BadExpansion."""
    return _run(text, lookup, "\\", node, _Lexer.whole, quotes=False)


def raw_words(text):
    """The words of ``text`` as they stand, quotes and escapes kept; [] if a quote is open."""
    try:
        return _Lexer(text, lambda name: None, "\\", raw=True, keep_unset=True).words()
    except BadExpansion:
        return []


def _run(text, lookup, escape, node, method, **options):
    if escape is None:
        escape = node.escape if node else "\\"
    lexer = _Lexer(text, lookup, escape, **options)
    try:
        return method(lexer)
    except BadExpansion as error:
        if node is None:
            raise
        placed = error_at(node, error.fields["text"], error.hint, text.strip()[:200] or None)
        raise BadExpansion(error.fields["text"], at=placed.at, hint=error.hint) from None


class _Lexer:
    def __init__(self, text, lookup, escape, quotes=True, raw=False, keep_unset=False):
        self.text = text
        self.lookup = lookup
        self.escape = escape
        self.quotes = quotes
        self.raw = raw  # quotes and escapes stay
        self.keep_unset = keep_unset
        self.at = 0
        self.depth = 0
        self.size = 0

    def whole(self):
        """The text as one word."""
        if self.escape not in self.text and not any(char in self.text for char in _ACTIVE):
            return self.text
        return "".join(piece for piece, _ in self._pieces(_END, self.raw))

    def words(self):
        """The text as a list of words."""
        found, word = [], []
        for piece, literal in self._pieces(_END, self.raw):
            if literal:
                word.append(piece)
                continue
            for char in piece:
                if not char.isspace():
                    word.append(char)
                elif word:
                    found.append("".join(word))
                    word = []
        found.append("".join(word))
        return [word for word in found if word]

    def _pieces(self, stop, raw):
        """(piece, literal) up to the character ``stop``; a literal one isn't split."""
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if char == stop:
                self.at += 1
                return
            if char == "$":
                value = self._dollar()
                self._count(value)
                yield value, False
            elif char == "<" and stop is _END:
                yield self._less(), True
            elif self.quotes and char == "'":
                yield self._single(), True
            elif self.quotes and char == '"':
                yield self._double(raw), True
            elif char == self.escape:
                piece = text[self.at + (not raw) : self.at + 2]
                self.at += 2
                yield piece, True
            else:
                self.at += 1
                yield char, False
        if stop is not _END:
            raise BadExpansion(f"the {stop} of a ${{…}} is missing")

    def _count(self, value):
        self.size += len(value)
        if self.size > LIMIT:
            raise BadExpansion(f"it expands to more than {LIMIT >> 20} MiB")

    def _less(self):
        """``<``, or ``<<`` with the spaces behind it, which belong to a heredoc's name."""
        begin = self.at
        self.at += 1
        if self.text.startswith("<", self.at):
            self.at += 1
            while self.text[self.at : self.at + 1] in ("\t", "\r", " "):
                self.at += 1
        return self.text[begin : self.at]

    def _single(self):
        end = self.text.find("'", self.at + 1)
        if end < 0:
            hint = "a quote that is meant literally needs the escape character before it"
            raise BadExpansion("a single quote is never closed", hint=hint)
        keep = 0 if self.raw else 1
        found = self.text[self.at + keep : end + 1 - keep]
        self.at = end + 1
        return found

    def _double(self, raw):
        text, found = self.text, []
        self.at += 1
        while self.at < len(text):
            char = text[self.at]
            if char == '"':
                self.at += 1
                inside = "".join(found)
                return f'"{inside}"' if self.raw else inside
            if char == "$":
                value = self._dollar()
                self._count(value)
                found.append(value)
                continue
            if char == self.escape:
                following = text[self.at + 1 : self.at + 2]
                special = following in ('"', "$", self.escape) and following
                if raw or not special:
                    found.append(char)
                self.at += 1
                if special:
                    found.append(following)
                    self.at += 1
                continue
            found.append(char)
            self.at += 1
        hint = "a quote that is meant literally needs the escape character before it"
        raise BadExpansion("a double quote is never closed", hint=hint)

    # --- variables -------------------------------------------------------------------------

    def _name(self):
        """The name at the position: letters, digits, _; or only digits; or one special."""
        text, begin = self.text, self.at
        char = text[begin : begin + 1]
        if char.isdecimal():
            while text[self.at : self.at + 1].isdecimal():
                self.at += 1
        elif char in _SPECIAL and char:
            self.at += 1
        else:
            while (char := text[self.at : self.at + 1]) and (char.isalnum() or char == "_"):
                self.at += 1
        return text[begin : self.at]

    def _dollar(self):
        self.at += 1
        if not self.text.startswith("{", self.at):
            name = self._name()
            if not name:
                return "$"
            value = self.lookup(name)
            if value is None and self.keep_unset:
                return f"${name}"
            return value or ""
        self.at += 1
        self.depth += 1
        if self.depth > DEPTH:
            raise BadExpansion(f"variables are nested more than {DEPTH} deep")
        value = self._braces()
        self.depth -= 1
        return value

    def _next(self):
        if self.at >= len(self.text):
            raise BadExpansion("the } of a ${…} is missing")
        self.at += 1
        return self.text[self.at - 1]

    def _braces(self):
        begin = self.at
        if self.text[begin : begin + 1] in ("{", "}", ":"):
            raise BadExpansion(f"${{{self.text[begin]} isn't a variable: there is no name")
        name = self._name()
        mark = self._next()
        value = self.lookup(name)
        if mark == "}":
            keep = value is None and self.keep_unset
            return f"${{{name}}}" if keep else value or ""
        empty_is_unset = mark == ":"
        if empty_is_unset:
            mark = self._next()
        if mark in "#%" and not empty_is_unset:
            found = self._trimmed(mark, value)
        elif mark == "/" and not empty_is_unset:
            found = self._replaced(value)
        elif mark in "-+?":
            found = self._chosen(name, mark, value, empty_is_unset)
        else:
            typed = f":{mark}" if empty_is_unset else mark
            hint = "known are :- - :+ + :? ? # ## % %% / //"
            raise BadExpansion(f"${{{name}{typed}…}} isn't known", hint=hint)
        if value is None and self.keep_unset:
            return "${" + self.text[begin : self.at]
        return found

    def _word(self, stop, raw):
        return "".join(piece for piece, _ in self._pieces(stop, raw))

    def _chosen(self, name, mark, value, empty_is_unset):
        word = self._word("}", False)
        missing = value is None or (empty_is_unset and not value)
        if mark == "-":
            return word if missing else value
        if mark == "+":
            return "" if missing else word
        if missing and not self.keep_unset:
            unset = "isn't set" if value is None else "is empty"
            raise BadExpansion(f"{name}: {word or unset}")
        return value or ""

    def _trimmed(self, mark, value):
        word = self._word("}", True)
        longest = word.startswith(mark)
        tokens = _tokens(word[longest:])
        value = value or ""
        if mark == "%":
            value, tokens = value[::-1], tokens[::-1]
        ends = globs.Text(value).ends(tokens)
        if ends:
            value = value[globs.highest(ends) if longest else globs.lowest(ends) :]
        return value[::-1] if mark == "%" else value

    def _replaced(self, value):
        every = self.text.startswith("/", self.at)
        self.at += every
        tokens = _tokens(self._word("/", True))
        text = self._word("}", True)  # a backslash stays here, as BuildKit has it
        return replace(value or "", tokens, text, every)


def _tokens(pattern):
    """``pattern`` as globs know it; a backslash takes away the meaning of what follows."""
    tokens, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            following = pattern[at + 1 : at + 2]
            if following not in ("*", "?", "\\", "/", "}", "$", '"', "'"):
                hint = "a backslash may only stand before * ? / } and another backslash"
                raise BadExpansion(f"\\{following} in the pattern {pattern!r}", hint=hint)
            tokens.append(following)
            at += 1
        else:
            tokens.append({"*": globs.ANY, "?": globs.ONE}.get(char, char))
        at += 1
    return tokens


def replace(value, tokens, text, every):
    """``value`` with the first match of ``tokens`` (or every one) replaced by ``text``.

    The leftmost match counts, and the longest there; an empty match next to the last one
    doesn't. Raises BadExpansion if the result is too long.
    """
    if len(value) > GLOB_LIMIT:
        raise BadExpansion(f"a value of more than {GLOB_LIMIT >> 10} KiB can't be searched")
    matcher = globs.Text(value)
    backwards = globs.Text(value[::-1]).ends(tokens[::-1], matcher.all)
    starts = [len(value) - bit for bit in _bits(backwards)]
    found, done, size = [], 0, 0
    last_end = None
    for start in reversed(starts):
        if start < done:
            continue
        end = globs.highest(matcher.ends(tokens, 1 << start))
        if end == start == last_end:
            continue
        found += (value[done:start], text)
        size += start - done + len(text)
        if size > LIMIT:
            raise BadExpansion(f"it expands to more than {LIMIT >> 20} MiB")
        done = last_end = end
        if not every:
            break
    found.append(value[done:])
    return "".join(found)


def _bits(positions):
    """The positions of a set, lowest first."""
    return [at for at, bit in enumerate(bin(positions)[:1:-1]) if bit == "1"]
