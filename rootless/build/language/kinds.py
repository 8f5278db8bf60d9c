"""One class for each instruction. Values are as written: variables are not put in.

Each has ``node``, the place in the file. ``words`` is the exec form (list of str), ``text``
the shell form (str); the other one is None.
"""


class Instruction:
    """What all instructions have: ``node`` and their values as attributes."""

    fields = ()

    def __init__(self, node, *values):
        self.node = node
        for name, value in zip(self.fields, values, strict=True):
            setattr(self, name, value)

    @property
    def keyword(self):
        """The instruction's name in capitals."""
        return self.node.keyword

    def values(self):
        """The values as a dict, without the place: equal if the instructions mean the same."""
        return {name: _plain(getattr(self, name)) for name in self.fields}

    def __repr__(self):
        inside = ", ".join(f"{name}={value!r}" for name, value in self.values().items())
        return f"{type(self).__name__}({inside})"


def _plain(value):
    if isinstance(value, Instruction):
        return (type(value).__name__, value.values())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "content"):
        return (value.name, value.content, value.expand, value.chomp)
    if hasattr(value, "options"):
        return (value.type, value.options)
    return value


class From(Instruction):
    """FROM: ``image`` str, ``platform`` str or None, ``name`` of the stage, lower-case, or None;
    ``name_typed`` as written."""

    fields = ("image", "platform", "name", "name_typed")


class Run(Instruction):
    """RUN: ``words`` or ``text``, ``heredocs``, ``mounts`` list of Mount, ``network`` default,
    none or host, ``security`` sandbox or insecure, ``devices`` list of (name, required)."""

    fields = ("words", "text", "heredocs", "mounts", "network", "security", "devices")

    @property
    def script(self):
        """The Heredoc that is the whole command (``RUN <<EOF``), or None.

        It is run as a program of its own if it begins with ``#!``, else it is the text for
        the shell; variables in it are the shell's, quoted name or not.
        """
        from rootless.build.language import lexer

        if self.text is None or not self.heredocs or len(lexer.raw_heredocs(self.text)) != 1:
            return None
        return self.heredocs[0] if lexer.heredoc_word(self.text) else None

    @property
    def shell_text(self):
        """What the shell is given (str): the text, a script, or the text with its heredocs."""
        if self.script:
            return self.script.text
        if not self.heredocs:
            return self.text
        return "\n".join([self.text, *(f"{doc.content}{doc.name}" for doc in self.heredocs)])


class _Files(Instruction):
    """What COPY and ADD share."""

    from_ = None
    parents = False
    checksum = None
    keep_git_dir = None
    unpack = None


class Copy(_Files):
    """COPY: ``sources`` list of str, ``dest``, ``from_``, ``chown``, ``chmod`` str or None,
    ``link`` and ``parents`` bool, ``exclude`` list of patterns, ``heredocs`` that are files."""

    fields = ("sources", "dest", "from_", "chown", "chmod", "link", "parents", "exclude",
              "heredocs")  # fmt: skip


class Add(_Files):
    """ADD: as COPY without ``from_`` and ``parents``; ``checksum`` str or None;
    ``keep_git_dir`` and ``unpack`` bool, None if not said."""

    fields = ("sources", "dest", "chown", "chmod", "link", "exclude", "heredocs", "checksum",
              "keep_git_dir", "unpack")  # fmt: skip


class Env(Instruction):
    """ENV: ``pairs`` list of (name, value); ``legacy``: written as ``ENV name value``."""

    fields = ("pairs", "legacy")


class Arg(Instruction):
    """ARG: ``pairs`` list of (name, default or None)."""

    fields = ("pairs",)


class Label(Instruction):
    """LABEL: ``pairs`` list of (name, value); ``legacy``: written as ``LABEL name value``."""

    fields = ("pairs", "legacy")


class Workdir(Instruction):
    """WORKDIR: ``path`` str."""

    fields = ("path",)


class User(Instruction):
    """USER: ``user`` str, ``name[:group]`` or numbers."""

    fields = ("user",)


class Expose(Instruction):
    """EXPOSE: ``ports`` list of str; ``instructions.exposed`` reads them once expanded."""

    fields = ("ports",)


class Volume(Instruction):
    """VOLUME: ``paths`` list of str."""

    fields = ("paths",)


class Entrypoint(Instruction):
    """ENTRYPOINT: ``words`` (may be empty: none at all) or ``text``."""

    fields = ("words", "text")


class Cmd(Instruction):
    """CMD: ``words`` (may be empty: none at all) or ``text``."""

    fields = ("words", "text")


class Shell(Instruction):
    """SHELL: ``words`` list of str that the text of a shell form is added to."""

    fields = ("words",)


class Stopsignal(Instruction):
    """STOPSIGNAL: ``signal`` str, a name or a number."""

    fields = ("signal",)


class Healthcheck(Instruction):
    """HEALTHCHECK: ``none`` bool, else ``words`` or ``text``; ``interval``, ``timeout``,
    ``start_period`` and ``start_interval`` int nanoseconds and ``retries`` int, 0 if not said."""

    fields = ("none", "words", "text", "interval", "timeout", "start_period", "start_interval",
              "retries")  # fmt: skip


class Onbuild(Instruction):
    """ONBUILD: ``text`` of the trigger as an image records it, heredocs included, and the
    ``instruction`` that it is."""

    fields = ("text", "instruction")


class Maintainer(Instruction):
    """MAINTAINER: ``name`` str."""

    fields = ("name",)
