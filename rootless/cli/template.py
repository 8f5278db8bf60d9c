"""Go templates for ``--format``: the part of text/template that people type.

``{{.Field.Sub}}``, pipes and parentheses, variables, ``range`` ``if`` ``with`` ``else``
``break`` ``continue``, comments, trim marks, and the functions of ``template_functions``.
A template is read into nodes first, then run over plain data (dict, list, str, int…).

A field that isn't there is an error that names it, so that a misspelling never looks like
an empty answer.  Where keys are free (labels, options: not all begin with a capital), a
missing one is ``<no value>``, as in Go.
"""

from rootless.cli import output
from rootless.errors import RlError


class TemplateError(RlError):
    """--format: {0}"""

    hint = "man rl, under FORMAT, says how; --format json shows every field"


class NoField(TemplateError):
    """--format: there is no field .{0} here"""


# --- words of an action --------------------------------------------------------------------

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "0": "\0"}
_BREAKS = " \t\r\n|()"


def _words(text):
    """The words of one action: (kind, value); "of" is what follows a ) without a blank."""
    found, at = [], 0
    while at < len(text):
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char in "|(),":
            found.append(("mark", char))
            at += 1
            if char == ")" and text[at : at + 1] == ".":
                end = _end_of_word(text, at)
                found.append(("of", _word(text[at:end])[1]))
                at = end
        elif text.startswith(":=", at) or char == "=":
            size = 2 if char == ":" else 1
            found.append(("mark", text[at : at + size]))
            at += size
        elif char in "\"'":
            value, at = _string(text, at)
            found.append(("value", value))
        elif char == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise TemplateError("a ` is not closed")
            found.append(("value", text[at + 1 : end]))
            at = end + 1
        else:
            end = _end_of_word(text, at)
            if end == at:
                raise TemplateError(f"unexpected {char!r}")
            found.append(_word(text[at:end]))
            at = end
    return found


def _end_of_word(text, at):
    while at < len(text) and text[at] not in _BREAKS and text[at] not in ",:=\"'`":
        at += 1
    return at


def _string(text, at):
    quote, out = text[at], []
    at += 1
    while at < len(text) and text[at] != quote:
        if text[at] == "\\":
            at += 1
            if text[at : at + 1] not in _ESCAPES:
                raise TemplateError(f"unknown escape \\{text[at : at + 1]} in a string")
            out.append(_ESCAPES[text[at]])
        else:
            out.append(text[at])
        at += 1
    if at >= len(text):
        raise TemplateError(f"a {quote} is not closed")
    return "".join(out), at + 1


def _word(text):
    if text[0] == ".":
        return ("field", tuple(part for part in text[1:].split(".") if part))
    if text[0] == "$":
        name, *fields = text.split(".")
        return ("variable", (name, tuple(fields)))
    if text in ("true", "false"):
        return ("value", text == "true")
    if text == "nil":
        return ("value", None)
    for read in (int, float):
        try:
            return ("value", read(text))
        except ValueError:
            continue
    return ("name", text)


# --- text to nodes -------------------------------------------------------------------------


def _pieces(text):
    """(literal, action or None) pairs, comments gone and trim marks applied."""
    found, trim = [], False
    while text:
        start = text.find("{{")
        literal = text if start < 0 else text[:start]
        if trim:
            literal = literal.lstrip()
        if start < 0:
            found.append((literal, None))
            break
        end = _end_of_action(text, start + 2)
        action, text = text[start + 2 : end], text[end + 2 :]
        if action[:2] in ("- ", "-\n", "-\t"):
            literal, action = literal.rstrip(), action[2:]
        trim = action[-2:] in (" -", "\n-", "\t-")
        action = (action[:-2] if trim else action).strip()
        comment = action.startswith("/*") and action.endswith("*/")
        found.append((literal, None if comment else action))
    return found


def _end_of_action(text, at):
    quote = ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\" and quote != "`":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "\"'`":
            quote = char
        elif text.startswith("}}", at):
            return at
        at += 1
    raise TemplateError("a {{ is not closed by }}")


def _unescape(text):
    """Literal text of a command line: a typed ``\\t`` or ``\\n`` means the character."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


class _Parser:
    """Pieces to a list of nodes: ("text", str), ("show", pipe), ("if", …) and so on."""

    def __init__(self, text):
        self._pieces = iter(_pieces(text))
        self._ending = None

    def parse(self):
        nodes = self._block(())
        return nodes

    def _block(self, enders):
        nodes = []
        for literal, action in self._pieces:
            if literal:
                nodes.append(("text", _unescape(literal)))
            if action is None:
                continue
            keyword, _, rest = action.partition(" ")
            if keyword in ("end", "else"):
                if keyword not in enders:
                    raise TemplateError(f"{{{{{keyword}}}}} without a beginning")
                self._ending = (keyword, rest.strip())
                return nodes
            nodes.append(self._node(keyword, rest.strip(), action))
        if enders:
            raise TemplateError("an {{end}} is missing")
        return nodes

    def _node(self, keyword, rest, action):
        if keyword in ("if", "with", "range"):
            return self._control(keyword, rest)
        if keyword in ("break", "continue") and not rest:
            return (keyword,)
        if keyword in ("define", "template", "block"):
            raise TemplateError(f"{{{{{keyword}}}}} is not supported")
        words = _words(action)
        if not words:
            raise TemplateError("an action is empty: {{}}")
        names, pipe = _assignment(words)
        return ("set", names[0], pipe) if names else ("show", pipe)

    def _control(self, keyword, rest):
        names, pipe = _assignment(_words(rest))
        body = self._block(("end", "else"))
        other = []
        ending, more = self._ending
        if ending == "else":
            if more:  # {{else if …}} is an if inside the else that shares its end
                kind, _, condition = more.partition(" ")
                if kind not in ("if", "with"):
                    raise TemplateError(f"unexpected {{{{else {more}}}}}")
                other = [self._control(kind, condition)]
            else:
                other = self._block(("end",))
        return (keyword, names, pipe, body, other)


def _assignment(words):
    """(variable names, pipe) of ``$x := PIPE``, ``$i, $e := PIPE`` or just ``PIPE``."""
    names = []
    at = 0
    while at < len(words) and words[at][0] == "variable" and not words[at][1][1]:
        following = words[at + 1] if at + 1 < len(words) else None
        if following in (("mark", ":="), ("mark", "=")):
            return [*names, words[at][1][0]], _pipe(words[at + 2 :])
        if following != ("mark", ","):
            break
        names.append(words[at][1][0])
        at += 2
    return [], _pipe(words)


def _pipe(words):
    """Words as a list of commands, each a list of operands."""
    commands, command, stack = [], [], []
    for kind, value in words:
        if (kind, value) == ("mark", "("):
            stack.append((commands, command))
            commands, command = [], []
        elif (kind, value) == ("mark", ")"):
            if not stack or not command:
                raise TemplateError("a ) too many, or nothing in ( )")
            inner = [*commands, command]
            commands, command = stack.pop()
            command.append(("pipe", inner))
        elif kind == "of":  # the fields of the parenthesis before it
            command.append((kind, (command.pop(), value)))
        elif (kind, value) == ("mark", "|"):
            if not command:
                raise TemplateError("nothing stands before |")
            commands.append(command)
            command = []
        elif kind == "mark":
            raise TemplateError(f"unexpected {value!r}")
        else:
            command.append((kind, value))
    if stack:
        raise TemplateError("a ( is not closed")
    if not command:
        raise TemplateError("a value is missing")
    return [*commands, command]


# --- running -------------------------------------------------------------------------------


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _NoValue:
    """What a free key that isn't there gives."""

    def __str__(self):
        return "<no value>"

    def __bool__(self):
        return False


NO_VALUE = _NoValue()
_FREE = ("Annotations", "Labels", "Options")


class _Run:
    def __init__(self, data, functions):
        self._functions = functions
        self._variables = {"$": data}
        self._out = []

    def all(self, nodes, dot):
        self._nodes(nodes, dot)
        return "".join(self._out)

    def _nodes(self, nodes, dot):
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self._out.append(node[1])
            elif kind == "show":
                self._out.append(show(self._pipe(node[1], dot)))
            elif kind == "set":
                self._variables[node[1]] = self._pipe(node[2], dot)
            elif kind == "range":
                self._range(node, dot)
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            else:
                self._choice(node, dot)

    def _choice(self, node, dot):
        kind, names, pipe, body, other = node
        value = self._pipe(pipe, dot)
        if names:
            self._variables[names[0]] = value
        if value:
            self._nodes(body, value if kind == "with" else dot)
        else:
            self._nodes(other, dot)

    def _range(self, node, dot):
        _, names, pipe, body, other = node
        value = self._pipe(pipe, dot)
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, (list, tuple)):
            pairs = list(enumerate(value))
        elif value is None or value is NO_VALUE:
            pairs = []
        else:
            raise TemplateError(f"range needs a list, not {show(value)}")
        try:
            for key, item in pairs:
                for name, bound in zip(reversed(names), (item, key), strict=False):
                    self._variables[name] = bound
                try:
                    self._nodes(body, item)
                except _Continue:
                    continue
        except _Break:
            pass
        if not pairs:
            self._nodes(other, dot)

    def _pipe(self, commands, dot):
        value, first = None, True
        for command in commands:
            value = self._command(command, dot, () if first else (value,))
            first = False
        return value

    def _command(self, command, dot, piped):
        kind, name = command[0]
        if kind != "name":
            if len(command) > 1 or piped:
                raise TemplateError(f"{_spell(command[0])} is no function")
            return self._operand(command[0], dot)
        if name not in self._functions:
            raise TemplateError(f"there is no function {name!r}")
        args = [self._operand(operand, dot) for operand in command[1:]]
        try:
            return self._functions[name](*args, *piped)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise TemplateError(f"{name}: {error}") from None

    def _operand(self, operand, dot):
        kind, value = operand
        if kind == "value":
            return value
        if kind == "pipe":
            return self._pipe(value, dot)
        if kind == "variable":
            name, fields = value
            if name not in self._variables:
                raise TemplateError(f"there is no variable {name}")
            return walk(self._variables[name], fields)
        if kind == "field":
            return walk(dot, value)
        if kind == "of":
            return walk(self._operand(value[0], dot), value[1])
        return self._command([operand], dot, ())


def _spell(operand):
    kind, value = operand
    return "." + ".".join(value) if kind == "field" else str(value)


def walk(value, fields):
    """The field ``fields[0].fields[1]…`` of ``value``. Raises NoField."""
    for index, field in enumerate(fields):
        if isinstance(value, Headings):
            return value.of(fields[-1])
        if value is NO_VALUE or value is None:
            return NO_VALUE
        if not isinstance(value, dict):
            raise NoField(".".join(fields[: index + 1]))
        value = _key(value, field, fields[: index + 1])
    return value


def _plain(name):
    return name.replace("_", "").lower()


def _key(value, field, path):
    if field in value:
        return value[field]
    # {{.DNSEnabled}} is dns_enabled: what is JSON to podman has Go's names in templates.
    wanted = _plain(field)
    same = [key for key in value if isinstance(key, str) and _plain(key) == wanted]
    if len(same) == 1:
        return value[same[0]]
    # Every key capitalised: fields of ours. Else keys that people chose.
    ours = value and all(isinstance(key, str) and key[:1].isupper() for key in value)
    if path[-2:-1] and (not ours or path[-2] in _FREE):
        return NO_VALUE
    known = ", ".join(f".{key}" for key in value).replace("{", "{{").replace("}", "}}")
    raise NoField(".".join(path), hint=f"the fields here are: {known}")


def show(value):
    """A value as text, as Go's %v has it."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{show(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(show, value)) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


class Headings:
    """Stands for an item while the headings of ``table …`` are made: field → heading."""

    def __init__(self, known):
        self._known = known

    def of(self, field):
        """The heading of ``field`` (str); a camel-case name's words if it has none."""
        if field in self._known:
            return self._known[field]
        text = ""
        for before, char in zip(" " + field, field, strict=False):
            text += " " + char if char.isupper() and before.islower() else char
        return text.upper()


# --- the ways in ---------------------------------------------------------------------------


def render(text, value):
    """The template ``text`` over one value, as str. Raises TemplateError."""
    from rootless.cli.template_functions import FUNCTIONS

    return _render(_Parser(text).parse(), value, FUNCTIONS)


def _render(nodes, value, functions):
    try:
        return _Run(value, functions).all(nodes, value)
    except (_Break, _Continue):
        raise TemplateError("break and continue belong into a range") from None
    except RecursionError:
        raise TemplateError("nested too deeply") from None


def render_list(text, items, headings, noheading=False):
    """The template over each item of a list, as lines; see ``output.listing``."""
    from rootless.cli.template_functions import FUNCTIONS, HEADING_FUNCTIONS

    body = text.strip()
    tabular = body.startswith("table ") or body.startswith("table{")
    if tabular:
        body = body[5:].strip()
    if body.startswith(("{{range", "{{- range", "{{ range")):
        shown = render(body, items)
        rows = shown.split("\n")
        if not shown.endswith("\n"):
            return output.columns(row.split("\t") for row in rows) if tabular else shown
        return output.columns(row.split("\t") for row in rows[:-1]) if tabular else shown
    nodes = _Parser(body if tabular else text).parse()
    rows = [_render(nodes, item, FUNCTIONS) for item in items]
    if not tabular:
        return "".join(f"{row}\n" for row in rows)
    if not noheading:
        rows.insert(0, _render(nodes, Headings(headings), HEADING_FUNCTIONS))
    return output.columns(row.split("\t") for row in rows)
