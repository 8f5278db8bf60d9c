"""One build: the file read, the context opened, and for each platform an image made."""

from rootless.build.language import instructions
from rootless.build.solve import image as images_made
from rootless.build.solve import schedule, scope
from rootless.build.solve.cache import key_of
from rootless.build.solve.graph import Graph
from rootless.build.solve.stage import StageBuild
from rootless.engine import events, images_platform
from rootless.engine.build import arguments, finish, inputs, step_limits, step_network
from rootless.engine.build.bases import Bases
from rootless.engine.build.work import Work
from rootless.errors import RlError
from rootless.image.record import name_image
from rootless.model import oci, reference


class BadFormat(RlError):
    """--format {0!r}: expected oci or docker"""


class Result:
    """What a build made: ``images``, the records, one for each platform; ``builds``, a Built
    for each, in the same order."""

    def __init__(self, builds):
        self.builds = builds
        self.images = [built.record for built in builds]


class Built:
    """``platform`` (oci.Platform), ``record`` of the image (None where none was wanted),
    ``state`` (solve.state.State), ``met``: {key: record} of the cache, in order."""

    def __init__(self, platform, state, met, record=None):
        self.platform = platform
        self.state = state
        self.met = met
        self.record = record


def build(engine, options, progress):
    """Build for all platforms that ``options`` name: a Result.

    ``options``: engine.build.options.Options; ``progress``: build.solve.progress.Silent.
    Raises BuildError with a place in the file, and what pulling raises.
    """
    names = names_of(options)
    with Build(engine, options, progress) as one:
        builds = [one.solve(platform) for platform in one.platforms()]
        for built in builds:
            built.record = one.add(built, names if len(builds) == 1 else ())
    engine.store.tmp.release()
    return Result(builds)


def names_of(options):
    """The complete names (list of str) that --tag gives. Raises BadReference."""
    return list(dict.fromkeys(str(reference.for_local(text)) for text in options.tag))


def check(engine, options):
    """The texts of what looks wrong in the Containerfile, a list. Raises BuildError."""
    from rootless.build.language import lint

    with inputs.Inputs(engine, options, only_file=True) as opened:
        document = opened.document
        file = instructions.read(document)
        found = lint.check(document, file, ignore=opened.context.ignore)
        return [str(warning) for warning in found]


class Build:
    """A context: the file and what it reads are open; ``solve`` builds for one platform.

    ``fetch``: asked for records that the cache lacks (solve.cache.Cache), None for nobody;
    what was met is in each Built, to be left elsewhere.
    """

    def __init__(self, engine, options, progress):
        if options.format not in images_made.FORMATS:
            raise BadFormat(options.format)
        self.limits = step_limits.plan(engine, options)  # before anything is fetched
        step_network.check(engine, options)
        self.engine = engine
        self.store = engine.store
        self.options = options
        self.progress = progress
        self.host = images_platform.host()
        self.times = arguments.times(options)
        self.given = arguments.given(options, engine.config.environ)
        # Before anything is forked, so that all that is said to be needed is in one list.
        self.store.tmp.hold()
        self.inputs = inputs.Inputs(engine, options)
        try:
            self.file = instructions.read(self.inputs.document)
            if options.from_:
                self.file.stages[0].base.image = options.from_
        except BaseException:
            self.inputs.close()
            raise
        self._warned = False
        self.fetch = None  # solve.cache.Cache.fetch, for steps that were done elsewhere
        self.more = None  # function of a Built: fields that its image's configuration gets

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.inputs.close()

    def platforms(self):
        """The platforms asked for: a list of oci.Platform, or [None] for this machine's."""
        options = self.options
        found = [word for text in options.platform for word in text.split(",") if word]
        if found:
            return list(dict.fromkeys(oci.parse_platform(text, self.host) for text in found))
        if options.os or options.arch or options.variant:
            return [oci.wanted_platform(self.host, None, options.os, options.arch,
                                        options.variant)]  # fmt: skip
        return [None]

    # --- one platform ---

    def solve(self, platform=None):
        """Build the target for ``platform`` (oci.Platform; None: this machine's): a Built."""
        return _Solve(self, platform).run()

    def add(self, built, names=()):
        """Make the image of a Built known under complete names: its record."""
        options, state = self.options, built.state
        if finish.is_base(state, options, images_made.FORMATS[options.format]):
            record = self.store.images.get(state.base["id"])
            for name in names:
                name_image(self.store, record, name)
        else:
            record = images_made.add(
                self.store, state, options.format, finish.annotations(options, state), names,
                options.omit_history, self.more(built) if self.more else None,
            )  # fmt: skip
        events.image(self.engine, "build", record["id"], names[0] if names else record["id"])
        return record

    def warn_unused(self, solved):
        """Say which --build-arg nobody asked for, once."""
        unused = solved.unused()
        if unused and not self._warned:
            self._warned = True
            self.progress.warning(f"no ARG asks for --build-arg {', '.join(unused)}")


class _Solve:
    """The build for one platform."""

    def __init__(self, build, platform):
        options = build.options
        self.build = build
        self.engine = build.engine
        self.exact = platform is not None
        self.platform = platform or build.host
        self.prefix = f"{self.platform} " if len(build.platforms()) > 1 else ""
        automatic = scope.platform_args(build.host, self.platform, options.target or "")
        self.arguments = scope.Arguments(build.given, automatic, build.file.meta_args)
        named = build.inputs.named
        self.bases = Bases(build.engine, options, build.inputs.images, build.inputs.trees)
        self.states = {}
        self.graph = Graph(
            build.file, self.arguments, options.target, [*named, *build.inputs.images],
            self._triggers, instructions.from_text, not options.skip_unused_stages,
        )  # fmt: skip
        self.graph.walk()
        self.cache = arguments.cache(build.store, options)
        self.cache.fetch = build.fetch
        self.work = Work(
            build.engine, options, build.inputs, self._image, build.times, self.cache,
            self.arguments,
        )  # fmt: skip
        self.work.limits = build.limits

    def run(self):
        try:
            return self._run()
        finally:
            self.work.close()

    def _run(self):
        build, graph, options = self.build, self.graph, self.build.options
        build.progress.begin([(vertex.title, len(vertex.instructions) + 1)
                              for vertex in graph.order])  # fmt: skip
        for name in arguments.no_stages(options, graph.vertices):
            build.progress.warning(f"--no-cache-filter {name}: there is no such stage")
        jobs = arguments.jobs(options)
        met = self.cache.met
        states = schedule.run(graph.order, self._begin, jobs, build.progress, met)
        state = states[graph.target.index]
        self.work.states.update(states)
        stage = self._stage(graph.target, state)
        finish.change(stage, options, self.engine.config.environ)
        finish.squash(build.store, self.cache, state, options, build.times)
        build.warn_unused(self.arguments)
        return Built(state.platform, state, met)

    def _begin(self, vertex, states):
        options = self.build.options
        self.work.states.update(states)
        if vertex.base is None:
            state = self._base(vertex)
            times = self.build.times
            if times.epoch is not None:  # layers with other times are other layers
                state.key = key_of(state.key, "times", times.newest, times.stamp)
                state.origin[0] = state.key
        else:
            state = states[vertex.base].copy()
            self.build.progress.step_cached(*self._from(vertex))
        state.config.pop("OnBuild", None)
        if not options.inherit_labels:
            state.put("Labels", None)
        return self._stage(vertex, state)

    def _stage(self, vertex, state):
        values = scope.Values(self.arguments, state.env)
        values.args = state.args  # a stage made of a stage inherits its ARGs
        anew = arguments.is_anew(self.build.options, vertex)
        return StageBuild(vertex, state, values, self.cache, self.work, self.build.progress,
                          self.prefix, anew, self.build.times.epoch)  # fmt: skip

    # --- images ---

    def _from(self, vertex):
        node = vertex.stage.base.node
        shown = f"[{vertex.title} 1/{len(vertex.instructions) + 1}] {node.original}"
        return f"{self.prefix}{vertex.index}.1", self.prefix + shown, node.line

    def _base(self, vertex):
        """The State of the image that a stage stands on; a copy of its own."""
        node = vertex.stage.base.node
        platform, exact = self.platform, self.exact
        if vertex.platform:
            platform, exact = oci.parse_platform(vertex.platform, self.build.host), True
        shown = _Pull(self.build.progress, *self._from(vertex))
        with shown:
            return self.bases.state(
                vertex.image, platform, exact, shown.start, node, vertex.stage.base.image,
                self.graph.later(vertex.image),
            )  # fmt: skip

    def _triggers(self, vertex):
        """The ONBUILD texts of the image that a stage stands on."""
        state = self._base(vertex)
        return state.config.get("OnBuild") or ()

    def _image(self, name, node, text):
        """The State of an image that COPY --from or a mount reads."""
        key = f"{self.prefix}from {name}"
        shown = _Pull(self.build.progress, key, f"{self.prefix}[{name}] FROM {name}", node.line)
        with shown:
            return self.bases.state(name, self.platform, self.exact, shown.start, node, text)


class _Pull:
    """A step of a build that may have to fetch an image: reported if it has."""

    def __init__(self, progress, key, name, line):
        self.progress = progress
        self.step = (key, name, line)
        self.began = None

    def start(self):
        """Bytes will come: who is told of them."""
        import time

        self.began = time.monotonic()
        self.progress.step_started(*self.step)
        return self.progress.transfer(self.step[0])

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        import time

        if self.began is None:
            return
        if error is None:
            self.progress.step_done(self.step[0], time.monotonic() - self.began)
        else:
            self.progress.step_failed(self.step[0], error)

