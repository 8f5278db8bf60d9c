"""The rules of ``lint`` about variables: who set them, and what FROM sees of them."""

from rootless.build.language import expand, kinds
from rootless.build.language.source import BuildError
from rootless.build.language.suggest import closest
from rootless.model import reference

# What the text of an image without any environment gets.
_ALWAYS = ("PATH",)
# Told to frontends, never to stages.
_NOT_ENV = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")


class Variables:
    """The walk through a File that knows which names are set where."""

    def __init__(self, checker, file, base_env):
        self.checker = checker
        self.file = file
        self.base_env = base_env
        self.meta = {}
        self.ends = {}  # index of a stage: (the names at its end, whether these are all)

    def check(self):
        """Add what is found to the checker."""
        for arg in self.file.meta_args:
            for name, default in arg.pairs:
                value = self._value(default, arg.node) if default is not None else None
                self.meta[name] = self.meta.get(name) if value is None else value
        for stage in self.file.stages:
            self._from(stage)
            self._stage(stage)

    def _value(self, text, node):
        try:
            return expand.expand(text, self._early, node=node)
        except BuildError:  # ${NAME:?…} without --build-arg: the build itself will say so
            return None

    def _early(self, name):
        value = self.meta.get(name)
        return "linux" if value is None and name in expand.PLATFORM_ARGS else value

    # --- FROM ------------------------------------------------------------------------------

    def _from(self, stage):
        base, node = stage.base, stage.base.node
        known = {*self.meta, *expand.PLATFORM_ARGS}
        for text in filter(None, (base.image, base.platform)):
            for name in _used(text, node):
                if name not in known:
                    guess = closest(name, known)
                    text = f"FROM uses '{name}', which no ARG before the first FROM declares"
                    text += f" (did you mean {guess}?)" if guess else ""
                    self.checker.warn("UndefinedArgInFrom", node, text, name)
        if "$" in base.image:
            image = self._value(base.image, node)
            if image is not None and not _valid_image(image):
                text = f"Without --build-arg, '{base.image}' is '{image}', no name of an image"
                self.checker.warn("InvalidDefaultArgInFrom", node, text, base.image)
        if base.platform:
            self._platform(base, node)

    def _platform(self, base, node):
        typed = base.platform.strip("\"'")
        if typed in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
            text = f"FROM is for {typed} without --platform={typed}"
            self.checker.warn("RedundantTargetPlatform", node, text, typed)
        if "$" in typed:
            return
        parts = typed.split("/")
        if not any(part and part in (base.name or "") for part in parts[:2]):
            text = f"FROM --platform={typed} is for that platform whatever the build is for"
            self.checker.warn("FromPlatformFlagConstDisallowed", node, text, typed)

    # --- stages ----------------------------------------------------------------------------

    def _stage(self, stage):
        known, complete = self._begin(stage)
        for instruction in stage.instructions:
            self._uses(instruction, known, complete)
            if isinstance(instruction, (kinds.Arg, kinds.Env)):
                known.update(name for name, _ in instruction.pairs)
        self.ends[stage.index] = known, complete

    def _begin(self, stage):
        """(names set when the stage begins, whether there are no others)."""
        base = stage.base.image
        for earlier in reversed(self.file.stages[: stage.index]):
            if earlier.name and earlier.name == base.lower():
                known, complete = self.ends[earlier.index]
                return set(known), complete
        if base == "scratch":
            return set(_ALWAYS), True
        names = self.base_env(stage) if self.base_env else None
        return {*_ALWAYS, *(names or ())}, names is not None

    def _uses(self, instruction, known, complete):
        node = instruction.node
        for text, quotes in _texts(instruction):
            for name in _used(text, node, quotes):
                if name in known or name in _NOT_ENV:
                    continue
                guess = closest(name, known) if len(name) > 2 else None
                if not complete and not guess:
                    continue  # the base image may set it
                text = f"Nothing sets the variable '${name}'"
                text += f" (did you mean ${guess}?)" if guess else ""
                self.checker.warn("UndefinedVar", node, text, name)


def _texts(instruction):
    """(text, whether quotes count) of what an instruction puts variables into."""
    kind = type(instruction)
    if kind in (kinds.Env, kinds.Label):
        return [(text, True) for pair in instruction.pairs for text in pair]
    if kind is kinds.Arg:
        return [(default, True) for _, default in instruction.pairs if default is not None]
    found = []
    if kind in (kinds.Copy, kinds.Add):
        found = [instruction.dest, *instruction.sources, instruction.chown, instruction.chmod,
                 instruction.checksum]  # fmt: skip
        inside = [(file.text, False) for file in instruction.heredocs if file.expand]
        return [(text, True) for text in found if text] + inside
    if kind is kinds.Run:
        return [(value, True) for mount in instruction.mounts for value in mount.options.values()]
    for name in ("path", "user", "signal"):
        found += [getattr(instruction, name)] if name in instruction.fields else []
    for name in ("ports", "paths"):
        found += getattr(instruction, name) if name in instruction.fields else []
    return [(text, True) for text in found]


def _used(text, node, quotes=True):
    """The names of variables in ``text``, in the order of use; [] if it can't be expanded."""
    if "$" not in text:
        return []
    names = {}

    def look_up(name):
        names[name] = True
        return None

    try:
        if quotes:
            expand.expand(text, look_up, node=node, keep_unset=True)
        else:
            expand.content(text, look_up, node=node)
    except BuildError:
        return []
    return [name for name in names if name.isidentifier()]


def _valid_image(text):
    try:
        reference.parse(text)
    except (reference.BadReference, reference.BadDigest):
        return False
    return True
