"""One stage: its instructions one after the other, each looked up before it is done."""

import time

from rootless.build.language.source import BuildError, error_at
from rootless.build.solve import settings
from rootless.build.solve.cache import key_of
from rootless.errors import RlError

_SHOWN = 200  # characters of an instruction in its name
_NOP = "/bin/sh -c #(nop) "


class Task:
    """What an instruction will do to files.

    ``key``: plain data that says all its result depends on, beside the state before it;
    ``made_by``: its text for the history; ``do(output)``: do it: the facts of the layer it
    made, or None if nothing was to be changed.  ``output(stream, data)`` takes what a program
    says.
    """

    def __init__(self, key, made_by, do):
        self.key = key
        self.made_by = made_by
        self.do = do


class _Step:
    def __init__(self, instruction, key, made_by, do):
        self.instruction = instruction
        self.key = key
        self.made_by = made_by
        self.do = do


class StageBuild:
    """A stage that is being built, or can be.

    vertex   graph.Vertex
    state    state.State: what the stage stands on, later what it has become
    values   scope.Values
    cache    cache.Cache
    work     ``work.task(build, number, instruction)`` gives the Task of RUN, COPY, ADD, WORKDIR
    report   progress.Silent
    anew     True: nothing is looked up
    epoch    the time (seconds) that new history gets, None for the time it is
    """

    def __init__(self, vertex, state, values, cache, work, report, prefix="", anew=False,
                 epoch=None):  # fmt: skip
        self.vertex = vertex
        self.state = state
        self.values = values
        self.cache = cache
        self.work = work
        self.report = report
        self.anew = anew
        self.epoch = epoch
        self.prefix = prefix
        self.position = 0
        self._pending = None
        self._seen = set()

    @property
    def total(self):
        """How many steps there are, FROM among them."""
        return len(self.vertex.instructions) + 1

    def key(self, number):
        """What a step is called in reports; FROM has the number 1."""
        return f"{self.prefix}{self.vertex.index}.{number}"

    def name(self, number, text):
        """What a step is called by people."""
        text = " ".join(text.split())
        if len(text) > _SHOWN:
            text = text[: _SHOWN - 1] + "…"
        return f"[{self.vertex.title} {number}/{self.total}] {text}"

    def advance(self, cached_only=False):
        """Go on to the end; True when it is reached.

        ``cached_only``: stop before the first step that has to be done.  Raises what a step
        raises, with its place.
        """
        instructions = self.vertex.instructions
        while self.position < len(instructions):
            if self._pending is None:
                self._pending = self._prepare(instructions[self.position])
            if not self._take(self._pending, cached_only):
                return False
            self._pending = None
            self.position += 1
        return True

    def _prepare(self, instruction):
        kind = type(instruction).__name__
        with _place(instruction):
            if settings.handles(instruction):
                meaning = settings.apply(self.state, instruction, self.values, self._seen)
                made_by, do = _NOP + _text(instruction), None
            else:
                task = self.work.task(self, self.position, instruction)
                meaning, made_by, do = task.key, task.made_by, task.do
        self._seen.add(kind)
        return _Step(instruction, key_of(self.state.key, kind, meaning), made_by, do)

    def _take(self, step, cached_only):
        number = self.position + 2
        shown = self.name(number, step.instruction.node.original)
        line = step.instruction.node.line
        record = self.cache.find(step.key, self.anew)
        if record is not None:
            self.report.step_cached(self.key(number), shown, line)
        elif cached_only and step.do is not None:
            return False
        else:
            record = self._do(step, self.key(number), shown, line)
        layer = record.get("layer")
        if layer is not None:
            self.state.add_layer(layer)
        self.state.key = step.key
        self.state.add_history(step.made_by, record["created"], layer is None)
        return True

    def _do(self, step, key, shown, line):
        began = time.monotonic()
        self.report.step_started(key, shown, line)
        layer = None
        try:
            if step.do is not None:
                with _place(step.instruction):
                    layer = step.do(lambda stream, data: self.report.step_output(key, stream, data))
        except (RlError, OSError) as error:
            self.report.step_failed(key, error)
            raise
        record = {
            "parent": self.state.key,
            "text": step.made_by,
            "created": stamp(self.epoch),
            "layer": layer and {name: layer[name] for name in
                                ("diff_id", "size", "blob", "blob_size", "compression")},
        }  # fmt: skip
        self.cache.note(step.key, record)
        self.report.step_done(key, time.monotonic() - began)
        return record

    def add(self, meaning, made_by):
        """Note a change of the configuration that no instruction made (--label, --env)."""
        key = key_of(self.state.key, "option", meaning)
        record = self.cache.find(key, self.anew)
        if record is None:
            record = {"parent": self.state.key, "text": made_by, "created": stamp(self.epoch),
                      "layer": None}  # fmt: skip
            self.cache.note(key, record)
        self.state.key = key
        self.state.add_history(made_by, record["created"], True)


class _place:
    """A context: errors that don't say where in the file they come from, do from here on."""

    def __init__(self, instruction):
        self.node = instruction.node

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, RlError) and not isinstance(error, BuildError):
            if getattr(error, "placed", False):
                return
            try:
                text, hint = error.message, error.advice
            except (KeyError, IndexError):
                return
            # Most name first what they are about: shown as it stands in the file.
            about = error.args[0] if error.args and isinstance(error.args[0], str) else None
            found = error_at(self.node, text, hint, at=about)
            found.exit_code = error.exit_code
            raise found from error


def _text(instruction):
    return " ".join(line.strip() for line in instruction.node.original.splitlines())


def stamp(epoch=None):
    """A time as RFC 3339 has it: ``epoch`` (seconds), or now with its microseconds."""
    if epoch is not None:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    now = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    return f"{seconds}.{now % 1_000_000_000:09d}Z"
