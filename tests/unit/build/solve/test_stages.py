"""Stages done step by step, and several side by side; what would touch files is stood in for."""

import os
import time

import pytest

from rootless.build.language import instructions, parse
from rootless.build.language.source import BuildError
from rootless.build.solve import schedule
from rootless.build.solve.cache import Cache, key_of
from rootless.build.solve.graph import Graph
from rootless.build.solve.progress import Silent
from rootless.build.solve.scope import Arguments, Values
from rootless.build.solve.stage import StageBuild, Task
from rootless.build.solve.state import State
from rootless.errors import RlError
from rootless.model.oci import Platform
from rootless.store import digests
from rootless.store.store import open_store


@pytest.fixture
def store(workdir):
    found = open_store(f"{workdir}/store", None)
    yield found
    found.close()


class Shown(Silent):
    """What was reported, as short texts."""

    def __init__(self):
        self.said = []

    def step_started(self, key, name, line):
        self.said.append(f"start {key} {line}")

    def step_cached(self, key, name, line):
        self.said.append(f"cached {key}")

    def step_done(self, key, seconds):
        self.said.append(f"done {key}")

    def step_failed(self, key, error):
        self.said.append(f"failed {key} {type(error).__name__}")

    def step_cancelled(self, key):
        self.said.append(f"cancelled {key}")

    def step_output(self, key, stream, data):
        self.said.append(f"{key} {stream} {data.decode()}")


class NoGood(RlError):
    """{0} is no good"""

    exit_code = 7


class Work:
    """RUN: "fail", "wait FILE", "say TEXT", or whatever; each makes a layer of its own."""

    def __init__(self, store):
        self.store = store
        self.done = []

    def close(self):
        pass

    def task(self, build, number, instruction):
        text = instruction.text
        return Task([text], text, lambda output: self._do(build, text, output))

    def _do(self, build, text, output):
        self.done.append(text)
        if text == "fail":
            raise NoGood(text)
        if text == "nothing":
            return None
        if text.startswith("say "):
            output(1, text[4:].encode())
        if text.startswith("meet "):
            _meet(*text.split()[1:])
        name = key_of(build.state.key, text)
        os.makedirs(self.store.path("layers", name, "tree"), exist_ok=True)
        blob = self.store.blobs.put(name.encode())
        return {"diff_id": digests.join(name), "size": 1, "blob": blob, "blob_size": 64,
                "compression": "", "more": "x"}  # fmt: skip


def _meet(own, other):
    """Say that we are here, and wait for the other one to say so."""
    open(own, "w").close()
    end = time.monotonic() + 60
    while not os.path.exists(other):
        assert time.monotonic() < end, "the other stage never came"
        time.sleep(0.01)


def build(store, text, jobs=4, work=None, shown=None, **more):
    """Build all stages of a file: ({number: State}, Shown, Cache)."""
    file = instructions.read(parse.parse(text))
    arguments = Arguments({}, {}, file.meta_args)
    graph = Graph(file, arguments)
    graph.walk()
    shown, cache = shown or Shown(), Cache(store, **more)
    work = work or Work(store)

    def begin(vertex, states):
        if vertex.base is None:
            state = State(Platform("linux", "amd64"), {}, key_of(vertex.image))
        else:
            state = states[vertex.base].copy()
        return StageBuild(vertex, state, Values(arguments, state.env), cache, work, shown)

    return schedule.run(graph.order, begin, jobs, shown, cache.met), shown, cache


def test_one_stage(store):
    states, shown, cache = build(store, "FROM a\nRUN one\nLABEL x=1\nRUN say hi\nRUN nothing\n")
    state = states[0]
    assert [entry["created_by"] for entry in state.history] == [
        "one", "/bin/sh -c #(nop) LABEL x=1", "say hi", "nothing"]  # fmt: skip
    assert [entry.get("empty_layer", False) for entry in state.history] == [
        False, True, False, True]  # fmt: skip
    assert len(state.layers) == state.fresh == 2 and "more" not in state.layers[0]
    assert state.created == state.history[-1]["created"]
    assert shown.said == ["start 0.2 2", "done 0.2", "start 0.3 3", "done 0.3", "start 0.4 4",
                          "0.4 1 hi", "done 0.4", "start 0.5 5", "done 0.5"]  # fmt: skip
    assert len(cache.met) == 4


def test_the_same_again_comes_from_the_cache_and_is_the_same(store):
    text = "FROM a AS one\nRUN x\nENV A=1\nFROM one\nRUN y\nRUN nothing\n"
    first = build(store, text)[0]
    work = Work(store)
    states, shown, _ = build(store, text, work=work)
    assert work.done == []
    assert shown.said == ["cached 0.2", "cached 0.3", "cached 1.2", "cached 1.3"]
    assert states[1].pack() == first[1].pack()


def test_a_change_is_felt_by_all_that_comes_after_it(store):
    build(store, "FROM a\nRUN x\nENV A=1\nRUN y\n")
    work = Work(store)
    build(store, "FROM a\nRUN x\nENV A=2\nRUN y\n", work=work)
    assert work.done == ["y"]
    work = Work(store)
    build(store, "FROM b\nRUN x\nENV A=1\nRUN y\n", work=work)
    assert work.done == ["x", "y"]


def test_independent_stages_are_at_work_at_the_same_time(store, workdir):
    one, two = f"{workdir}/one", f"{workdir}/two"
    text = f"FROM a\nRUN meet {one} {two}\nFROM b\nRUN meet {two} {one}\nRUN say x\n" \
        "FROM c\nRUN --mount=from=0,target=/0 --mount=from=1,target=/1 last\n"  # fmt: skip
    states, shown, cache = build(store, text)
    assert sorted(states) == [0, 1, 2] and [len(states[n].layers) for n in (0, 1, 2)] == [1, 2, 1]
    assert "1.3 1 x" in shown.said and shown.said[-1] == "done 2.2"
    assert len(cache.met) == 4, "what other processes met is known here as well"
    assert build(store, text)[1].said == [f"cached {key}" for key in ("0.2", "1.2", "1.3", "2.2")]


def test_one_at_a_time_if_wanted(store, workdir):
    text = "FROM a\nRUN one\nFROM b\nRUN two\nFROM c\n" \
        "RUN --mount=from=0,target=/0 --mount=from=1,target=/1 last\n"  # fmt: skip
    _, shown, _ = build(store, text, jobs=1)
    starts = [said for said in shown.said if said.startswith("start")]
    ends = [said for said in shown.said if said.startswith("done")]
    assert [said.split()[1] for said in starts] == ["0.2", "1.2", "2.2"]
    assert [said.split()[1] for said in ends] == ["0.2", "1.2", "2.2"]
    assert shown.said.index(ends[0]) < shown.said.index(starts[1])


def test_a_failure_says_where_it_is_and_keeps_what_was_done(store):
    shown = Shown()
    with pytest.raises(BuildError) as caught:
        build(store, "FROM a\nRUN one\nRUN fail\nRUN two\n", shown=shown)
    assert caught.value.message.startswith("Containerfile:3:5: fail is no good")
    assert caught.value.exit_code == 7
    assert shown.said[-1] == "failed 0.3 BuildError"
    work = Work(store)
    build(store, "FROM a\nRUN one\nRUN three\n", work=work)
    assert work.done == ["three"]


def test_a_failure_ends_the_stages_beside_it(store, workdir):
    text = f"FROM a\nRUN meet {workdir}/one {workdir}/never\nFROM b\nRUN meet {workdir}/two " \
        f"{workdir}/one\nRUN fail\nFROM c\n" \
        "RUN --mount=from=0,target=/0 --mount=from=1,target=/1 last\n"  # fmt: skip
    shown = Shown()
    with pytest.raises(BuildError) as caught:
        build(store, text, shown=shown)
    assert "Containerfile:5:5: fail is no good" in caught.value.message
    assert caught.value.exit_code == 7
    assert "failed 1.3 BuildError" in shown.said and shown.said[-1] == "cancelled 0.2"


def test_layers_that_vanish_are_made_again(store):
    text = "FROM a\nRUN one\nRUN two\n"
    states = build(store, text)[0]
    os.rename(store.path("layers", digests.hexdigits(states[0].layers[0]["diff_id"])),
              store.path("tmp", "gone"))  # fmt: skip
    work = Work(store)
    build(store, text, work=work)
    assert work.done == ["one"]
