"""The rules of ``lint``: their names, what each is about, and which of them run."""

from rootless.build.language.suggest import closest

# What is wrong, in general. The first 21 are BuildKit's; the last is rl's own.
RULES = {
    "ConsistentInstructionCasing": "instructions should all be upper or all lower case",
    "CopyIgnoredFile": "what the ignore file leaves out can't be copied",
    "DuplicateStageName": "names of stages should differ",
    "ExposeInvalidFormat": "EXPOSE takes a port and a protocol, no address or second port",
    "ExposeProtoCasing": "protocols of EXPOSE should be lower case",
    "FromAsCasing": "AS should be written as FROM is",
    "FromPlatformFlagConstDisallowed": "FROM --platform should follow the build's platform",
    "InvalidDefaultArgInFrom": "without --build-arg the name of the image isn't valid",
    "InvalidDefinitionDescription": "comments above FROM and ARG should describe them",
    "JSONArgsRecommended": "a shell between init and the program swallows signals",
    "LegacyKeyValueFormat": "NAME=VALUE should have its =",
    "MaintainerDeprecated": "MAINTAINER has been replaced by a label",
    "MultipleInstructionsDisallowed": "only the last CMD, ENTRYPOINT, HEALTHCHECK counts",
    "NoEmptyContinuation": "blank lines inside of an instruction mislead",
    "RedundantTargetPlatform": "FROM is for $TARGETPLATFORM anyway",
    "ReservedStageName": "context and scratch mean something else",
    "SecretsUsedInArgOrEnv": "ARG and ENV can be read in the image",
    "StageNameCasing": "names of stages should be lower case",
    "UndefinedArgInFrom": "FROM only sees ARGs before the first FROM",
    "UndefinedVar": "a variable that nothing sets is empty",
    "WorkdirRelativePath": "where it leads depends on the base image",
    "MisspeltDirective": "a comment that looks like a directive does nothing",
}
EXPERIMENTAL = ("InvalidDefinitionDescription",)


class Warning:
    """One finding: ``rule`` and ``text`` str, ``place`` in the file, its ``line`` (int)."""

    __slots__ = ("rule", "place", "text")

    def __init__(self, rule, place, text):
        self.rule = rule
        self.place = place
        self.text = text

    @property
    def line(self):
        """The line it is about, 1-based."""
        return self.place.line

    def __str__(self):
        return f"{self.place.where}: {self.rule}: {self.text}{self.place.shown}"

    def __repr__(self):
        return f"Warning({self.rule!r}, {self.line}, {self.text!r})"


class Chosen:
    """Which rules run: ``skip`` and ``experimental`` sets of names (or {"all"}), ``error``:
    whether a finding makes the build fail."""

    __slots__ = ("skip", "experimental", "error")

    def __init__(self, skip=(), experimental=(), error=False):
        self.skip = frozenset(skip)
        self.experimental = frozenset(experimental)
        self.error = error

    @classmethod
    def read(cls, text):
        """Of ``skip=A,B;error=true;experimental=all`` (str). ValueError holds what is wrong."""
        found = {}
        for part in text.split(";") if text.strip() else ():
            key, equals, value = part.partition("=")
            key, value = key.strip(), value.strip()
            if not equals or key in found:
                raise ValueError(part.strip())
            if key in ("skip", "experimental"):
                found[key] = _rules(value)
            elif key == "error" and value.lower() in ("true", "t", "1", "false", "f", "0"):
                found[key] = value.lower() in ("true", "t", "1")
            else:
                raise ValueError(f"{key}={value}" if key == "error" else key)
        return cls(**found)

    def merged(self, other):
        """These and what the comment of one instruction adds."""
        skip, experimental = self.skip | other.skip, self.experimental | other.experimental
        return Chosen(skip, experimental, self.error)

    def runs(self, rule):
        """Whether the rule is looked at."""
        if rule in EXPERIMENTAL:
            return bool({"all", rule} & self.experimental)
        return not {"all", rule} & self.skip


def _rules(text):
    names = [name.strip() for name in text.split(",")]
    for name in names:
        # A rule that isn't known may be a newer one; one that is nearly known is a mistake.
        if name not in RULES and name != "all" and (not name or closest(name, RULES)):
            raise ValueError(name)
    return names
