"""Which stages there are, what each of them needs, and in which order they can be built."""

from rootless.build.language.source import BuildError, error_at
from rootless.build.language.suggest import did_you_mean
from rootless.build.solve.scope import Values

SCRATCH = "scratch"


class NoStage(BuildError):
    """{where}{text}{shown}"""


class Circle(BuildError):
    """{where}{text}{shown}"""


class Vertex:
    """One stage: ``stage`` (language.instructions.Stage), ``index``, ``title``.

    ``base``: the stage number it stands on, or None; ``image``: the name of the image
    instead (SCRATCH for none), ``platform``: text of FROM --platform or None;
    ``instructions``: its own, the triggers of its base before them; ``triggers``: how many
    those are; ``needs``: the stages it reads, {number: (node, text)} with where it says so;
    ``sources``: see ``_find_reads``.
    """

    def __init__(self, stage):
        self.stage = stage
        self.index = stage.index
        self.title = stage.name or f"stage-{stage.index}"
        self.base = None
        self.image = None
        self.platform = None
        self.instructions = list(stage.instructions)
        self.triggers = 0
        self.needs = {}
        self.sources = {}


class Graph:
    """The stages of a file that a target needs.

    ``file``: language.instructions.File; ``arguments``: scope.Arguments; ``named``: the
    names of --build-context, which are stronger than stages and images.  ``order`` is a
    list of the vertices needed, each after those it needs, once ``walk`` was called; ``target``
    is what it is all for.

    ``triggers(vertex)`` is called once for each vertex that stands on an image: it gives
    the image's ONBUILD texts, which may name further stages.
    """

    def __init__(self, file, arguments, target=None, named=(), triggers=None, read=None,
                 everything=False):  # fmt: skip
        self.file = file
        self.arguments = arguments
        self.named = {name.lower() for name in named}
        self.vertices = [Vertex(stage) for stage in file.stages]
        self._triggers = triggers or (lambda vertex: ())
        self._read = read
        self.order = []
        self._prepared = []
        self.target = self.vertices[self._find_target(target)]
        self._everything = everything

    def walk(self):
        """Find out what is needed, and fill ``order``.  NoStage, Circle and other BuildErrors."""
        self._visit(self.target.index, ())
        for vertex in self.vertices if self._everything else ():
            self._visit(vertex.index, ())

    def _find_target(self, name):
        if name is None:
            return len(self.vertices) - 1
        found = self._number(name)
        if found is None:
            raise NoStage(text=f"--target {name}: there is no such stage", hint=self._hint(name))
        return found

    def _named(self, name, below=None):
        """The last stage called ``name``, of those before number ``below``; None if none."""
        for vertex in reversed(self.vertices[:below]):
            if (vertex.stage.name or "").lower() == name.lower():
                return vertex.index
        return None

    def _number(self, name):
        """The stage that has the name or the number ``name``, or None."""
        found = self._named(name)
        if found is None and name.isdecimal() and int(name) < len(self.vertices):
            found = int(name)
        return found

    def _hint(self, name):
        known = [vertex.stage.name for vertex in self.vertices if vertex.stage.name]
        near = did_you_mean(name, known)
        if near:
            return near
        if known:
            return f"the stages are {', '.join(known)}"
        return f"the stages have the numbers 0 to {len(self.vertices) - 1}"

    # --- the walk ---

    def _visit(self, index, path):
        vertex = self.vertices[index]
        if vertex in self.order:
            return
        if vertex not in self._prepared:
            self._prepared.append(vertex)
            self._find_base(vertex)
            self._add_triggers(vertex)
            self._find_reads(vertex)
        for needed in sorted(vertex.needs):
            node, text = vertex.needs[needed]
            if needed == index:
                raise Circle(f"stage {vertex.title} can't read itself", at=node.place(text))
            if needed in path:
                names = [self.vertices[one].title for one in path[path.index(needed) :]]
                circle = " → ".join([*names, vertex.title, names[0]])
                raise Circle(f"the stages need each other in a circle: {circle}",
                             at=node.place(text))  # fmt: skip
            self._visit(needed, (*path, index))
        self.order.append(vertex)

    def _find_base(self, vertex):
        base = vertex.stage.base
        look_up = Values(self.arguments)
        look_up.args = _Early(self.arguments)
        name = look_up.expand(base.image, base.node)
        if base.platform:
            vertex.platform = look_up.expand(base.platform, base.node)
            if not vertex.platform:
                raise error_at(base.node, f"--platform={base.platform} is empty here",
                               "an ARG that FROM uses has to stand before the first FROM",
                               at=base.platform)  # fmt: skip
        if not name:
            raise error_at(base.node, f"the name {base.image} is empty here",
                           "an ARG that FROM uses has to stand before the first FROM",
                           at=base.image)  # fmt: skip
        if name.lower() not in self.named:
            vertex.base = self._named(name, vertex.index)
        if vertex.base is None:
            vertex.image = name
        else:
            vertex.needs.setdefault(vertex.base, (base.node, base.image))

    def _add_triggers(self, vertex):
        if vertex.base is None:
            texts = self._triggers(vertex)
            found = [self._read(text) for text in texts] if texts else []
        else:
            found = [one.instruction for one in self.vertices[vertex.base].stage.instructions
                     if type(one).__name__ == "Onbuild"]  # fmt: skip
        vertex.triggers = len(found)
        vertex.instructions[:0] = found

    def _find_reads(self, vertex):
        """What COPY --from and RUN --mount=from= read, and where it is: ``sources``, {(the
        instruction's number, the text): ("stage", n) | ("image", name) | ("named", name)}."""
        values = Values(self.arguments)
        for number, instruction in enumerate(vertex.instructions):
            kind = type(instruction).__name__
            if kind in ("Copy", "Add") and getattr(instruction, "from_", None):
                self._note(vertex, number, instruction, instruction.from_, values)
            elif kind == "Run":
                for mount in instruction.mounts:
                    if mount.options.get("from"):
                        self._note(vertex, number, instruction, mount.options["from"], values)

    def _note(self, vertex, number, instruction, text, values):
        node = instruction.node
        name = values.expand(text, node)
        if not name:
            raise error_at(node, f"from={text} is empty here", at=text)
        vertex.sources[number, text] = self._source(vertex, node, name, text)

    def _source(self, vertex, node, name, text):
        if name.lower() in self.named:
            return ("named", name.lower())
        found = self._number(name)
        if found is not None:
            vertex.needs.setdefault(found, (node, text))
            return ("stage", found)
        if name.isdecimal() and len(name) < 4:
            raise NoStage(f"there is no stage {name}", at=node.place(text), hint=self._hint(name))
        return ("image", name)

    def later(self, name):
        """The line where a stage of that name begins, or None: for who didn't find an image."""
        found = self._named(name)
        return None if found is None else self.vertices[found].stage.base.node.line


class _Early(dict):
    """ARGs of before the first FROM, as the args of a Values."""

    def __init__(self, arguments):
        super().__init__()
        self._arguments = arguments

    def get(self, name, default=None):
        return self._arguments.early_value(name)
