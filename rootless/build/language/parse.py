"""From the text of a Containerfile to nodes: directives, logical lines, flags, heredocs.

What a line may look like follows BuildKit's parser: an escape character at the end continues
it, comments and blank lines within are skipped, ``--name=value`` words before the arguments
are flags, ``<<NAME`` words of RUN, COPY and ADD take the lines up to NAME.
"""

from rootless.build.language import lexer
from rootless.build.language.source import (
    BuildError,
    EmptyFile,
    Place,
    Source,
    TooBig,
    error_at,
)
from rootless.build.language.suggest import closest
from rootless.model import jsontext

LIMIT = 8 << 20  # characters of a file; beyond it is no Containerfile
LINE_LIMIT = 1 << 20  # of a logical line; execve(2) takes no longer one anyway
DIRECTIVES = ("syntax", "escape", "check")
DEFAULT_ESCAPE = "\\"
FRONTENDS = ("docker/dockerfile", "docker/dockerfile-upstream", "docker/dockerfile-labs")
SPACE = " \t\v\f\r"

# Whose arguments may be a JSON list, and whose a heredoc.
_MAYBE_JSON = frozenset(("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"))
_WITH_HEREDOCS = frozenset(("ADD", "COPY", "RUN"))


class Heredoc:
    """The lines that follow an instruction with ``<<NAME``.

    ``content`` str as it stands, line ends included; ``expand``: NAME wasn't quoted;
    ``chomp``: it was ``<<-``, tabs at the start of lines don't count.
    """

    __slots__ = ("name", "content", "expand", "chomp", "line")

    def __init__(self, name, content, expand=True, chomp=False, line=0):
        self.name = name
        self.content = content
        self.expand = expand
        self.chomp = chomp
        self.line = line

    @property
    def text(self):
        """``content`` without the leading tabs that ``<<-`` takes away."""
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


class Node:
    """One instruction as it stands in the file.

    ``keyword`` upper-case, ``typed`` as written; ``original`` the logical line (str,
    continuation lines joined), ``rest`` its arguments after the flags, at ``rest_at`` in it;
    ``flags`` list of (name, value or None); ``json`` list of str, or None if ``rest`` isn't
    such a list; ``heredocs`` list of Heredoc; ``comments`` the comment lines right above.
    ``line`` and ``column`` are where it begins (1-based), ``end_line`` is its last line.
    """

    def __init__(self, source, original, spans, end_line, escape=DEFAULT_ESCAPE):
        self.source = source
        self.original = original
        self.spans = spans  # (offset in original, line, column), ascending
        self.end_line = end_line
        self.escape = escape
        self.typed = ""
        self.flags = []
        self.rest = ""
        self.rest_at = 0
        self.json = None
        self.heredocs = []
        self.comments = ()
        self.empty_continuation = None
        _, self.line, self.column = spans[0]

    @property
    def keyword(self):
        """The instruction's name in capitals."""
        return self.typed.upper()

    def place(self, at=None):
        """The Place of a part of the instruction: see ``source.error_at``."""
        width = len(self.typed)
        if isinstance(at, str) and at:
            offset = self.original.find(at, min(len(self.typed) + 1, len(self.original)))
            width = len(at)
        else:
            offset = at if isinstance(at, int) else -1
            width = 1 if isinstance(at, int) else width
        if offset < 0:
            return Place(self.source, self.line, self.column, max(1, len(self.typed)))
        start, line, column = next(span for span in reversed(self.spans) if span[0] <= offset)
        return Place(self.source, line, column + offset - start, width)


class Document:
    """A file in pieces: ``directives`` dict of str, ``nodes`` list of Node, ``source``.

    ``misspelt``: (line, word typed, directive meant) of comments that look like directives.
    """

    def __init__(self, source):
        self.source = source
        self.directives = {}
        self.nodes = []
        self.misspelt = []

    @property
    def escape(self):
        """The escape character in force: a backslash or a backquote."""
        return self.directives.get("escape", DEFAULT_ESCAPE)


def parse(text, name="Containerfile"):
    """The Document of ``text`` (str). Raises BuildError with the place of the mistake.

    ``name`` is what errors call it. Instructions aren't looked at beyond their name.
    """
    source = Source(text.removeprefix("\ufeff"), name)
    if len(text) > LIMIT:
        why = f"longer than {LIMIT >> 20} MiB, so it is no Containerfile"
        raise TooBig(why, at=Place(source, 1))
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise BuildError("a NUL byte: this isn't a text", at=Place(source, line))
    document = Document(source)
    _Parser(document).run()
    if not document.nodes:
        raise EmptyFile(at=Place(source, 1))
    return document


def parse_line(line, name, escape=DEFAULT_ESCAPE):
    """The Node of one instruction outside a file, such as an ONBUILD trigger of an image.

    No directives are read; heredocs may follow on further lines. Raises BuildError.
    """
    document = Document(Source(line, name))
    document.directives["escape"] = escape
    parser = _Parser(document)
    parser.directives_over = True
    parser.run()
    if not document.nodes:
        raise EmptyFile(at=Place(document.source, 1))
    if len(document.nodes) > 1:
        raise error_at(document.nodes[1], "more than one instruction")
    return document.nodes[0]


def join(documents):
    """One Document of several files, read one after the other (podman's several ``-f``).

    The directives are those of the first; an escape character holds in its own file.
    """
    found = Document(documents[0].source)
    found.directives = documents[0].directives
    for document in documents:
        found.nodes += document.nodes
        found.misspelt += document.misspelt
    return found


class _Parser:
    def __init__(self, document):
        self.document = document
        self.source = document.source
        self.lines = document.source.lines
        self.next = 0  # index of the line to be read
        self.comments = []
        self.directives_over = False

    def run(self):
        while self.next < len(self.lines):
            line = self.lines[self.next].rstrip("\r\n")
            body = line.lstrip()
            self.next += 1
            if not self.directives_over and self._directive(body):
                continue
            if body.startswith("#"):
                comment = body[1:].strip()
                self.comments = [*self.comments, comment] if comment else []
            elif not body:
                self.comments = []
            else:
                self._instruction(line, len(line) - len(body))

    def _error(self, text, line, hint=None, column=1, width=1):
        return BuildError(text, at=Place(self.source, line, column, width), hint=hint)

    # --- directives ------------------------------------------------------------------------

    def _directive(self, body):
        """Take ``# name=value`` at the top of the file; False from the first other line on."""
        if self.next == 1 and body.startswith("#!"):
            return True
        name, equals, value = body[1:].partition("=")
        name, value = name.strip(), value.strip()
        known = name.lower()
        if not (body.startswith("#") and equals and value and known.isalnum()):
            self.directives_over = True
            return False
        if known not in DIRECTIVES:
            self.directives_over = True
            meant = closest(known, DIRECTIVES)
            if meant:
                self.document.misspelt.append((self.next, name, meant))
            return False
        if known in self.document.directives:
            raise self._error(f"the directive {known} is there twice", self.next)
        self._check_directive(known, value)
        self.document.directives[known] = value
        return True

    def _check_directive(self, name, value):
        line = self.source.line(self.next)
        column = line.find(value) + 1
        if name == "escape" and value not in ("\\", "`"):
            hint = "it is one character, \\ or `"
            why = f"{value!r} can't be the escape character"
            raise self._error(why, self.next, hint, column, len(value))
        if name == "syntax":
            image = value.split(" ")[0]
            path, _, name = image.partition("@")[0].rpartition("/")
            repository = "/".join([path.rpartition("/")[2], name.partition(":")[0]])
            if repository not in FRONTENDS:  # a mirror of it will do
                hint = "it reads the language of docker/dockerfile itself and runs no other"
                why = f"rl doesn't run the frontend {image}"
                raise self._error(why, self.next, hint, column, len(image))

    # --- instructions ----------------------------------------------------------------------

    def _instruction(self, line, indent):
        """Read the logical line that begins with ``line``, and its heredocs."""
        first = self.next
        pieces, spans, size, empty = [], [], 0, None
        text, column = line[indent:], indent + 1
        while True:
            piece, more = _without_continuation(text, self.document.escape)
            spans.append((size, self.next, column))
            pieces.append(piece)
            size += len(piece)
            if size > LINE_LIMIT:
                raise self._error(f"an instruction longer than {LINE_LIMIT >> 20} MiB", first)
            if not more:
                break
            text, skipped = self._next_of_logical()
            empty = skipped or empty
            if text is None:
                break
            column = 1
        if not "".join(pieces).strip():
            return
        node = Node(self.source, "".join(pieces), spans, self.next, self.document.escape)
        node.comments, self.comments = tuple(self.comments), []
        node.empty_continuation = empty
        self.directives_over = True
        read_words(node)
        self._heredocs(node)
        self.document.nodes.append(node)

    def _next_of_logical(self):
        """(the next line that continues, the number of the last blank one skipped)."""
        empty = None
        while self.next < len(self.lines):
            text = self.lines[self.next].rstrip("\r\n")
            self.next += 1
            body = text.lstrip()
            if body.startswith("#"):
                continue
            if body:
                return text, empty
            # What follows the file's last newline is no line.
            if self.next < len(self.lines):
                empty = self.next
        return None, empty

    def _heredocs(self, node):
        inner = node.keyword
        if inner == "ONBUILD":
            inner = node.rest.split(None, 1)[0].upper() if node.rest else ""
        if inner not in _WITH_HEREDOCS or "<<" not in node.original or node.json is not None:
            return
        for name, expand, chomp in lexer.heredocs(node.original):
            begin = self.next + 1
            content = self._until(name, chomp)
            if content is None:
                hint = f"a line that is only {name} ends it"
                raise error_at(node, f"the heredoc {name} has no end", hint, "<<")
            node.heredocs.append(Heredoc(name, content, expand, chomp, begin))
        node.end_line = self.next

    def _until(self, name, chomp):
        """The lines up to ``name``, or None if it doesn't come."""
        start = self.next
        while self.next < len(self.lines):
            line = self.lines[self.next].rstrip("\r")
            self.next += 1
            if (line.lstrip("\t") if chomp else line) == name:
                return "".join(f"{line}\n" for line in self.lines[start : self.next - 1])
        return None


def _without_continuation(line, escape):
    """(the line without its continuation character, whether it has one).

    One that is escaped itself (two in a row) doesn't continue the line.
    """
    stripped = line.rstrip(" \t")
    if not stripped.endswith(escape) or stripped.endswith(escape * 2):
        return line, False
    return stripped[:-1], True


def nested(node):
    """The Node that the arguments of ``node`` (ONBUILD) are, with places of its own."""
    at = node.rest_at
    begin = node.place(at)
    spans = [(0, begin.line, begin.column)]
    spans += [(offset - at, line, column) for offset, line, column in node.spans if offset > at]
    inner = Node(node.source, node.rest, spans, node.end_line, node.escape)
    inner.heredocs, inner.comments = node.heredocs, node.comments
    read_words(inner)
    return inner


def read_words(node):
    """Fill in what an instruction's text says: keyword, flags, rest and json of ``node``."""
    text = node.original
    begin = len(text) - len(text.lstrip())
    end = begin
    while end < len(text) and text[end] not in SPACE:
        end += 1
    node.typed = text[begin:end].strip()
    words, after = lexer.flags(text, end, node.escape)
    node.flags = [_flag(node, word, at) for word, at in words]
    rest = text[after:]
    node.rest_at = after + len(rest) - len(rest.lstrip())
    node.rest = rest.strip()
    if node.keyword in _MAYBE_JSON:
        node.json = json_list(node, node.rest, node.rest_at)


def _flag(node, word, at):
    name, equals, value = word.partition("=")
    if len(name) == 2:
        raise error_at(node, f"{word} is no flag", at=at)
    return name[2:], value if equals else None


def json_list(node, text, at):
    """``text`` as a list of str if it is one in JSON; None if it isn't JSON.

    Raises BuildError at offset ``at`` of ``node`` for a list of other things.
    """
    if not text.startswith("["):
        return None
    try:
        found = jsontext.loads(text)
    except jsontext.DecodeError:
        return None
    for word in found:
        if not isinstance(word, str):
            hint = 'put it in double quotes, such as ["sleep", "60"]'
            why = f"{jsontext.dumps(word)[:40]} isn't a string; the list may only have strings"
            raise error_at(node, why, hint, at)
        if "\0" in word:
            raise error_at(node, "a NUL character in a string", at=at)
    # A lone surrogate, written as \ud800, can't be encoded; Go's decoder replaces it as well.
    return [word if word.isascii() else _without_surrogates(word, text) for word in found]


def _without_surrogates(word, text):
    return "".join(
        "\ufffd" if 0xD800 <= ord(char) < 0xE000 and char not in text else char for char in word
    )
