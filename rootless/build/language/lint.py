"""What is allowed and unwise: BuildKit's build checks, as far as a text can decide them.

The names of rules are those of docs.docker.com/reference/build-checks. A file chooses with
``# check=skip=RULE,RULE;error=true`` at its top, an instruction with ``# check=skip=RULE``
right above it.
"""

from rootless.build.language import kinds
from rootless.build.language.lint_rules import RULES, Chosen, Warning
from rootless.build.language.lint_variables import Variables
from rootless.build.language.source import BuildError, Place
from rootless.build.language.suggest import did_you_mean

__all__ = ["RULES", "Chosen", "Warning", "check", "options"]

_RESERVED = ("context", "scratch")
_SECRET = frozenset(
    "apikey auth credential credentials key password pword passwd secret token".split()
)
_NO_SECRET = frozenset(("public", "file", "version"))
_ONCE = (kinds.Cmd, kinds.Entrypoint, kinds.Healthcheck)


def check(document, file, *, ignore=None, base_env=None):
    """What is unwise in a file: list of Warning, in the order of the file.

    ``document`` of ``parse``, ``file`` (instructions.File) of the same; ``ignore``: the
    context's Patterns; ``base_env(stage)``: the names that the base image of a Stage sets,
    or None where that isn't known. Raises BuildError if the file's choice of rules is wrong.
    """
    checker = _Checker(options(document))
    for line, word, meant in document.misspelt:
        text = f"'# {word}=' is an ordinary comment; the directive is '# {meant}='"
        checker.warn_at("MisspeltDirective", Place(document.source, line), text)
    for node in document.nodes:
        if node.empty_continuation:
            place = Place(document.source, node.empty_continuation)
            text = "An empty line inside of an instruction"
            checker.warn_at("NoEmptyContinuation", place, text, node)
    _casing(checker, document)
    _stages(checker, file)
    for stage in file.stages:
        _stage(checker, stage, ignore)
    Variables(checker, file, base_env).check()
    return sorted(checker.found, key=lambda warning: (warning.line, warning.rule))


def options(document):
    """The Chosen rules of a file's check directive. Raises BuildError."""
    text = document.directives.get("check", "").split(" ")[0]
    try:
        return Chosen.read(text)
    except ValueError as error:
        lines = enumerate(document.source.lines, 1)
        line = next((number for number, found in lines if text in found), 1)
        column = document.source.line(line).find(text) + 1
        at = Place(document.source, line, column, len(text))
        known = ("skip", "error", "experimental")
        hint = None if str(error) in known else did_you_mean(str(error), known)
        example = "such as check=skip=JSONArgsRecommended;error=true"
        why = f"the check directive has no option {str(error)!r}"
        raise BuildError(why, at=at, hint=hint or example) from None


class _Checker:
    def __init__(self, chosen):
        self.chosen = chosen
        self.found = []

    def warn(self, rule, node, text, at=None):
        """Add a warning about ``node`` unless the rule is off for it."""
        self.warn_at(rule, node.place(at), text, node)

    def warn_at(self, rule, place, text, node=None):
        chosen = self.chosen
        for comment in node.comments if node else ():
            name, equals, value = comment.partition("=")
            if equals and name.strip().lower() == "check":
                try:
                    chosen = chosen.merged(Chosen.read(value.strip().split(" ")[0]))
                except ValueError:
                    continue
        if chosen.runs(rule):
            self.found.append(Warning(rule, place, text))


# --- the whole file --------------------------------------------------------------------------


def _casing(checker, document):
    nodes = document.nodes
    lower = sum(node.typed == node.typed.lower() for node in nodes)
    upper = sum(node.typed == node.typed.upper() for node in nodes)
    wanted = "lowercase" if lower > upper else "uppercase"
    for node in nodes:
        right = node.typed.lower() if lower > upper else node.typed.upper()
        if node.typed != right:
            text = f"Command '{node.typed}' should be {wanted} as most others are"
            checker.warn("ConsistentInstructionCasing", node, text)


def _stages(checker, file):
    seen = set()
    for stage in file.stages:
        base, node = stage.base, stage.base.node
        if base.name is None:
            continue
        typed = base.name_typed
        if typed != typed.lower():
            checker.warn(
                "StageNameCasing", node, f"Stage name '{typed}' should be lowercase", typed
            )
        if base.name in _RESERVED:
            text = f"Stage name '{base.name}' has a meaning of its own"
            checker.warn("ReservedStageName", node, text, typed)
        if base.name in seen:
            text = f"Stage name '{base.name}' is there twice; only the last one can be used"
            checker.warn("DuplicateStageName", node, text, typed)
        seen.add(base.name)
        word = node.rest.split()[1]
        consistent = node.typed in (node.typed.lower(), node.typed.upper())
        right = "as" if node.typed == node.typed.lower() else "AS"
        if consistent and word != right:
            text = f"'{word}' and '{node.typed}' should both be upper or lower case"
            checker.warn("FromAsCasing", node, text, word)
        _described(checker, "FROM", [typed, base.name], node)
    for arg in file.meta_args:
        _arg(checker, arg)


def _described(checker, keyword, names, node):
    if not node.comments or node.comments[-1].split(" ")[0] in names:
        return
    if node.comments[-1].lower().startswith("check="):
        return
    text = f"The comment above {keyword} should look like '# {names[0]} DESCRIPTION'"
    checker.warn("InvalidDefinitionDescription", node, text)


# --- one stage -------------------------------------------------------------------------------


def _stage(checker, stage, ignore):
    seen, workdir, shell = {}, False, False
    for instruction in stage.instructions:
        node = instruction.node
        if isinstance(instruction, _ONCE):
            earlier = seen.get(type(instruction))
            if earlier:
                text = f"Only the last {node.keyword} of a stage counts, not this one"
                checker.warn("MultipleInstructionsDisallowed", earlier.node, text)
            seen[type(instruction)] = instruction
        if isinstance(instruction, (kinds.Cmd, kinds.Entrypoint)):
            if instruction.words is None and not shell:
                text = f"{node.keyword} in JSON form gets signals itself; here a shell gets them"
                checker.warn("JSONArgsRecommended", node, text)
        elif isinstance(instruction, kinds.Shell):
            shell = True
        elif isinstance(instruction, kinds.Workdir):
            if not workdir and not instruction.path.startswith(("/", "$", '"/', "'/")):
                text = f"Relative workdir '{instruction.path}' depends on the base image"
                checker.warn("WorkdirRelativePath", node, text, instruction.path)
            workdir = True
        elif isinstance(instruction, kinds.Maintainer):
            text = "MAINTAINER is deprecated: LABEL org.opencontainers.image.authors=… instead"
            checker.warn("MaintainerDeprecated", node, text)
        elif isinstance(instruction, (kinds.Env, kinds.Label)):
            _key_values(checker, instruction)
        elif isinstance(instruction, kinds.Arg):
            _arg(checker, instruction)
        elif isinstance(instruction, kinds.Expose):
            _ports(checker, instruction)
        elif isinstance(instruction, (kinds.Copy, kinds.Add)):
            _copied(checker, instruction, ignore)


def _key_values(checker, instruction):
    node = instruction.node
    if instruction.legacy:
        text = f"'{node.keyword} name=value' is better than the old '{node.keyword} name value'"
        checker.warn("LegacyKeyValueFormat", node, text)
    if isinstance(instruction, kinds.Env):
        for name, _ in instruction.pairs:
            _secret(checker, node, name)


def _arg(checker, instruction):
    names = [name for name, _ in instruction.pairs]
    for name in names:
        _secret(checker, instruction.node, name)
    _described(checker, "ARG", names, instruction.node)


def _secret(checker, node, name):
    words = set(name.lower().split("_"))
    if words & _SECRET and not words & _NO_SECRET:
        text = f"{node.keyword} is no place for a secret ('{name}'): it stays in the image"
        checker.warn("SecretsUsedInArgOrEnv", node, text, name)


def _ports(checker, instruction):
    node = instruction.node
    for word in instruction.ports:
        if "$" in word:
            continue
        protocol = word.rpartition(":")[2].partition("/")[2]
        if protocol != protocol.lower():
            text = f"The protocol of '{word}' should be lowercase"
            checker.warn("ExposeProtoCasing", node, text, word)
        if ":" in word:
            text = f"EXPOSE can't publish or bind: only the last part of '{word}' counts"
            checker.warn("ExposeInvalidFormat", node, text, word)


def _copied(checker, instruction, ignore):
    if not ignore or ignore.negates or instruction.from_ is not None:
        return
    node = instruction.node
    for source in instruction.sources:
        if "$" in source or "://" in source or source.startswith("git@"):
            continue
        root = source.strip("./") == ""
        ignored = {"*", "**", "**/*"} & set(ignore.texts) if root else ignore.ignored(source)
        if ignored:
            verb = node.keyword.capitalize()
            text = f"{verb} of '{source}', which the ignore file leaves out of the context"
            checker.warn("CopyIgnoredFile", node, text, source)
