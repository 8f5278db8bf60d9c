"""Building the stages of a graph: each after those it needs, independent ones side by side.

A stage whose steps are all in the cache is done here, at once.  The others are each built by
a process of their own, forked from this one, which has no threads: a step starts processes
too, and those may only be forked by a program without threads.  Where there is only one
stage to build, no process is made for it.
"""

import marshal
import os
import select
import time

from rootless.build.solve.progress import Silent
from rootless.build.solve.state import State
from rootless.kernel import files, process, userns
from rootless.model import jsontext

_HEAD = 4  # bytes of a report's length
_PIECE = 1 << 16
_PATIENCE = 5  # seconds
_SIGINT = 2
_BREATH = 200  # ms without a report after which the view may show how time goes by


def run(order, begin, jobs, report, met):
    """Build all of ``order`` (graph.Vertex, those needed first): {number: State}.

    ``begin(vertex, states)`` gives the stage.StageBuild of a vertex whose needs are in
    ``states``; ``jobs``: how many at once, 0 for no limit; ``report``: progress.Silent;
    ``met``: a dict that gets the cache's records which other processes met.
    """
    return _Run(order, begin, jobs, report, met).run()


class _Run:
    def __init__(self, order, begin, jobs, report, met):
        self.waiting = list(order)
        self.begin = begin
        self.jobs = jobs or len(self.waiting)
        self.report = report
        self.met = met
        self.states = {}
        self.ready = []
        self.workers = {}  # descriptor of its reports → _Worker

    def run(self):
        try:
            while self.waiting or self.ready or self.workers:
                self._look()
                alone = self.jobs == 1 or len(self.ready) == 1
                if self.ready and alone and not self.workers:
                    build = self.ready.pop(0)
                    build.advance()
                    self.states[build.vertex.index] = build.state
                    continue
                while self.ready and len(self.workers) < self.jobs:
                    self._start(self.ready.pop(0))
                if self.workers:
                    self._listen()
        finally:
            self._stop()
        return self.states

    def _look(self):
        """Find what can be built now; what the cache has of it is done by that."""
        found = True
        while found:
            found = False
            for vertex in list(self.waiting):
                if not vertex.needs.keys() <= self.states.keys():
                    continue
                self.waiting.remove(vertex)
                build = self.begin(vertex, self.states)
                if build.advance(cached_only=True):
                    self.states[vertex.index] = build.state
                    found = True
                else:
                    self.ready.append(build)

    def _start(self, build):
        reading, writing = os.pipe()
        try:
            child = userns.start_beside(_work, build, reading, writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.workers[reading] = _Worker(build, child)

    def _listen(self):
        poll = select.poll()
        for descriptor in self.workers:
            poll.register(descriptor, select.POLLIN)
        found = poll.poll(_BREATH)
        if not found:
            self.report.tick()
        for descriptor, _ in found:
            worker = self.workers[descriptor]
            data = os.read(descriptor, _PIECE)
            if data:
                worker.take(data, self.report)
            else:
                self._finish(descriptor, worker)

    def _finish(self, descriptor, worker):
        del self.workers[descriptor]
        os.close(descriptor)
        try:
            state, met = worker.child.wait()
        except BaseException as error:
            if worker.failed is not None:
                self.report.step_failed(worker.failed, error)
            raise
        self.states[worker.build.vertex.index] = State.unpack(state)
        self.met.update(jsontext.loads(met))

    def _stop(self):
        """End those that are still at work: one has failed, or somebody has had enough.

        They are asked first, so that they can remove what they have in hand.
        """
        ends = [worker.child.pid for worker in self.workers.values()]
        for pid in ends:
            os.kill(pid, _SIGINT)
        deadline = time.monotonic() + _PATIENCE
        for pid in ends:
            _wait_until(pid, deadline)
        for descriptor, worker in self.workers.items():
            worker.child.kill()
            os.close(descriptor)
            for key in worker.open:
                self.report.step_cancelled(key)
        self.workers = {}


def _wait_until(pid, deadline):
    """Wait for the end of a child, which stays to be waited for."""
    try:
        ended = process.pidfd(pid)
    except OSError:
        return
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(max(0, deadline - time.monotonic()) * 1000)
    finally:
        os.close(ended)


class _Worker:
    """What is known here of a process that builds a stage."""

    def __init__(self, build, child):
        self.build = build
        self.child = child
        self.open = {}
        self.failed = None
        self._data = b""

    def take(self, data, report):
        """Hand on its reports, as far as they are whole."""
        self._data += data
        while len(self._data) >= _HEAD:
            end = _HEAD + int.from_bytes(self._data[:_HEAD], "little")
            if len(self._data) < end:
                return
            name, args = marshal.loads(self._data[_HEAD:end])
            self._data = self._data[end:]
            if name == "step_failed":
                self.failed = args[0]
            else:
                getattr(report, name)(*args)
            if name == "step_started":
                self.open[args[0]] = True
            elif name in ("step_done", "step_failed"):
                self.open.pop(args[0], None)


class _Sender(Silent):
    """Reports to the process that the pipe leads to."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def _send(self, name, *args):
        data = marshal.dumps((name, args))
        files.write_all(self._descriptor, len(data).to_bytes(_HEAD, "little") + data)

    def step_started(self, key, name, line):
        self._send("step_started", key, name, line)

    def step_output(self, key, stream, data):
        if data:
            self._send("step_output", key, stream, bytes(data))

    def step_cached(self, key, name, line):
        self._send("step_cached", key, name, line)

    def step_done(self, key, seconds):
        self._send("step_done", key, seconds)

    def step_failed(self, key, error):
        self._send("step_failed", key)  # the error itself is this process's result

    def warning(self, text, line=None):
        self._send("warning", text, line)


def _work(build, reading, writing):
    """In a process of its own: the State of the stage, and the records that it met."""
    os.close(reading)
    build.report = _Sender(writing)
    build.cache.met = {}
    try:
        build.advance()
    finally:
        build.work.close()
    os.close(writing)
    return build.state.pack(), jsontext.dumps(build.cache.met)
