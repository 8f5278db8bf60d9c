"""RUN, COPY, ADD and WORKDIR, from instruction to Task: what each reads, and how it is done."""

from rootless.build.context import adding
from rootless.build.copy import apply as copying
from rootless.build.copy import plan, sources
from rootless.build.copy import view as views
from rootless.build.language.source import error_at
from rootless.build.solve import settings
from rootless.build.solve.graph import SCRATCH
from rootless.build.solve.stage import Task
from rootless.engine.build import runs
from rootless.engine.build.secrets import Secrets
from rootless.kernel import userns

_NOP = "/bin/sh -c #(nop) "


class Work:
    """What makes the Tasks of the stages of one build for one platform.

    engine   engine.context.Engine
    options  engine.build.options.Options
    inputs   engine.build.inputs.Inputs
    images   function (name, node, text) → State of an image that is read from
    times    engine.build.arguments.BuildTimes for new layers
    cache    solve.cache.Cache
    states   {number: State} of the stages that are ready
    limits   of RUN steps, as engine.build.step_limits.plan has them
    """

    def __init__(self, engine, options, inputs, images, times, cache, arguments):
        self.engine = engine
        self.store = engine.store
        self.options = options
        self.context = inputs.context
        self.named = inputs.named
        self.outside = inputs.outside
        self.images = images
        self.times = times
        self.cache = cache
        self.arguments = arguments
        self.states = {}
        self.limits = None
        self.secrets = Secrets(options, engine.config.environ, engine.program)
        self._fetched = None

    def task(self, build, number, instruction):
        """The Task of an instruction that may change files."""
        kind = type(instruction).__name__
        if kind == "Workdir":
            return self._workdir(build, instruction)
        if kind in ("Copy", "Add"):
            return self._copy(build, number, instruction, kind == "Add")
        return runs.task(self, build, number, instruction)

    def layers(self, state):
        """The paths of the trees of a state's layers, bottom first."""
        return self.store.layers.paths(state.diff_ids)

    # --- WORKDIR ---

    def _workdir(self, build, instruction):
        state = build.state
        text = build.values.expand(instruction.path, instruction.node)
        if not text:
            raise error_at(instruction.node, f"the directory {instruction.path} is empty here")
        path = settings.directory(state, text)
        state.config["WorkingDir"] = path

        owner = state.config.get("User") or None

        def make(output):
            if self._is_directory(state, path):
                return None
            step = plan.CopyStep([], f"{path}/", self.layers(state), owner=owner)
            return copying.apply(self.store, step, self.times)

        return Task(["WORKDIR", path, owner], f"{_NOP}WORKDIR {path}", make)

    def _is_directory(self, state, path):
        paths = self.layers(state)
        try:
            return _is_directory(paths, path)
        except PermissionError:
            return userns.call_in(self.store.ids, _is_directory, paths, path)

    # --- COPY, ADD ---

    def _copy(self, build, number, instruction, add):
        values, node, state = build.values, instruction.node, build.state

        def expand(text):
            return None if text is None else values.expand(text, node)

        step = plan.CopyStep(
            self._sources(build, number, instruction, add),
            values.expand(instruction.dest, node),
            # A linked layer doesn't look at the image but for the names of --chown.
            self.layers(state) if instruction.chown or not instruction.link else (),
            cwd=state.directory,
            owner=expand(instruction.chown),
            mode=expand(instruction.chmod),
            link=instruction.link,
            parents=instruction.parents,
            exclude=[values.expand(text, node) for text in instruction.exclude],
            add=add,
            unpack=instruction.unpack,
        )
        content = self.content(step)
        key = [step.path, step.into, step.owner, step.mode, step.link, step.parents,
               step.exclude, add, step.unpack, content]  # fmt: skip
        made_by = f"{_NOP}{node.keyword} {_kind(step)}:{content} in {step.dest} "
        return Task(key, made_by, lambda output: copying.apply(self.store, step, self.times))

    def content(self, step):
        """The content key of a step; of layers, which never change, it is worked out once."""
        if not all(isinstance(source, sources.Layers) for source in step.sources):
            return copying.digest(self.store, step)
        cache = self.cache
        parts = [[source.diff_ids, source.pattern] for source in step.sources]
        key, found = cache.remembered("content", parts, step.exclude, step.parents,
                                      step.owner is None)  # fmt: skip
        if not isinstance(found, str):
            found = copying.digest(self.store, step)
            cache.remember(key, "content", found)
        return found

    def _sources(self, build, number, instruction, add):
        values, node = build.values, instruction.node
        patterns = [values.expand(text, node) for text in instruction.sources]
        found = []
        origin = None
        if instruction.from_ is not None:
            origin = self.origin(build, number, instruction.from_, node)
        for pattern in patterns:
            if origin is not None:
                found.append(origin(pattern))
            elif add and adding.is_remote(pattern):
                found.append(self._remote(instruction, pattern, values))
            else:
                found.append(self.context.source(pattern))
        for heredoc in instruction.heredocs:
            text = heredoc.text
            if heredoc.expand:
                from rootless.build.language import expand

                text = expand.content(text, values.look_up, node)
            found.append(sources.Inline(heredoc.name, text.encode("utf-8", "surrogateescape")))
        return found

    def _remote(self, instruction, word, values):
        """The source for a URL or a repository, fetched now: its content is in the key."""
        if self._fetched is None:
            self._fetched = adding.Fetched(self.outside)
        checksum = instruction.checksum
        if checksum is not None:
            checksum = values.expand(checksum, instruction.node)
        return self._fetched.source(word, checksum, instruction.keep_git_dir)

    def close(self):
        """Remove what was fetched, end what was started."""
        self.secrets.close()
        if self._fetched is not None:
            self._fetched.close()
            self._fetched = None

    def origin(self, build, number, text, node):
        """A function from a path to the source for what ``from=text`` names."""
        kind, name = build.vertex.sources[number, text]
        if kind == "named" and name in self.named:
            return self.named[name].source
        if kind == "stage":
            state, what = self.states[name], f"the stage {text}"
        elif name.lower() == SCRATCH:
            return lambda pattern: _layers(self, None, pattern, "scratch")
        else:
            state, what = self.images(name, node, text), f"the image {name}"
        return lambda pattern: _layers(self, state, pattern, what)


def _layers(work, state, pattern, what):
    found = sources.Layers(work.layers(state) if state else [], pattern, what)
    found.diff_ids = state.diff_ids if state else []
    return found


def _is_directory(paths, path):
    stack = views.Stack(paths)
    try:
        place = views.resolve(stack, path.encode("utf-8", "surrogateescape"))
        return place is not None and place.is_directory
    finally:
        stack.close()


def _kind(step):
    """What buildah's history calls the things copied."""
    if len(step.sources) != 1:
        return "multi"
    return "dir" if getattr(step.sources[0], "pattern", "x") in (".", "./", "/") else "file"
