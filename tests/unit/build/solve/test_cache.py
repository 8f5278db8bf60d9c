"""The records of earlier steps: found by their key, or a step is done again."""

import os
import time

import pytest

from rootless.build.solve.cache import Cache, key_of
from rootless.store import cache as kept
from rootless.store import digests, gc
from rootless.store.store import open_store

LAYER = "sha256:" + "1" * 64
KEY = key_of("one")


@pytest.fixture
def store(workdir):
    found = open_store(f"{workdir}/store", None)
    yield found
    found.close()


def layer_in(store, name=LAYER, content=b"blob"):
    """Put a layer, as far as the cache looks at it, into the store: its facts."""
    os.makedirs(store.path("layers", digests.hexdigits(name), "tree"), exist_ok=True)
    blob = store.blobs.put(content)
    return {"diff_id": name, "size": 10, "blob": blob, "blob_size": len(content),
            "compression": ""}  # fmt: skip


def record(layer=None, **more):
    facts = {"parent": "", "text": "RUN x", "created": "2020-01-01T00:00:00Z", "layer": layer}
    return {**facts, **more}


def test_a_key_is_of_everything_in_order():
    assert len(KEY) == 64 and digests.is_hex(KEY)
    every = [key_of(*parts) for parts in (
        ("a", "b"), ("b", "a"), ("ab",), ("a", ["b"]), ("a", "b", None), ("a", {"b": 1}),
        ("a", "b", ""), ("\udcff",), ("\udcfe",),
    )]  # fmt: skip
    assert len(set(every)) == len(every)
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


def test_what_was_noted_is_found_by_the_next_build(store):
    facts = layer_in(store)
    Cache(store).note(KEY, record(facts))
    other = Cache(store)
    assert other.find(KEY)["layer"] == facts
    assert list(other.met) == [KEY]
    assert other.find(key_of("two")) is None


def test_a_step_without_a_layer(store):
    Cache(store).note(KEY, record())
    assert Cache(store).find(KEY)["created"] == "2020-01-01T00:00:00Z"


def test_not_looked_up_but_written_down(store):
    Cache(store).note(KEY, record())
    assert Cache(store, usable=False).find(KEY) is None
    assert Cache(store).find(KEY, anew=True) is None
    again = Cache(store, usable=False)
    again.note(KEY, record(created="2021-01-01T00:00:00Z"))
    assert Cache(store).find(KEY)["created"] == "2021-01-01T00:00:00Z"


def test_nothing_is_kept_if_nothing_is_to_be(store):
    Cache(store, keep=False).note(KEY, record())
    assert Cache(store).find(KEY) is None
    assert not kept.is_there(store)


def test_too_old(store):
    Cache(store).note(KEY, record())
    assert Cache(store, oldest=time.time() - 1000).find(KEY)
    assert Cache(store, oldest=time.time() + 1000).find(KEY) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}', '{"version": 99}', "\0" * 100])
def test_a_damaged_record_is_a_step_to_be_done(store, damage):
    Cache(store).note(KEY, record())
    with open(store.path(kept.HOME, KEY), "w") as file:
        file.write(damage)
    assert Cache(store).find(KEY) is None
    assert list(kept.remove(store, lambda record: False)) == []
    assert not os.path.exists(store.path(kept.HOME, KEY))


def test_a_record_that_stands_under_another_key(store):
    Cache(store).note(KEY, record())
    other = key_of("two")
    os.rename(store.path(kept.HOME, KEY), store.path(kept.HOME, other))
    assert Cache(store).find(other) is None


def test_layer_or_blob_gone(store):
    facts = layer_in(store)
    Cache(store).note(KEY, record(facts))
    os.rename(store.path("layers", "1" * 64), store.path("tmp", "away"))
    assert Cache(store).find(KEY) is None
    os.rename(store.path("tmp", "away"), store.path("layers", "1" * 64))
    assert Cache(store).find(KEY)
    store.blobs.remove(facts["blob"])
    assert Cache(store).find(KEY) is None


@pytest.mark.parametrize("layer", [
    {}, {"diff_id": 1, "blob": 2}, {"diff_id": "x", "blob": "y"}, [], "text",
    {"diff_id": LAYER, "blob": LAYER},
])  # fmt: skip
def test_facts_that_make_no_sense(store, layer):
    Cache(store).note(KEY, record(layer))
    assert Cache(store).find(KEY) is None


def test_somebody_else_may_have_it(store):
    asked = []

    def fetch(key):
        asked.append(key)
        return record(layer_in(store)) if key == KEY else None

    cache = Cache(store, fetch=fetch)
    assert cache.find(KEY)["layer"]["diff_id"] == LAYER
    assert cache.find(key_of("two")) is None
    assert asked == [KEY, key_of("two")]
    assert Cache(store).find(KEY), "it is kept here from now on"


def test_a_collection_keeps_what_records_name(store):
    facts = layer_in(store)
    other = layer_in(store, "sha256:" + "2" * 64, b"other")
    store.tmp.release()
    Cache(store).note(KEY, record(facts))
    needed = gc.mark(store)
    assert facts["diff_id"] in needed.layers and facts["blob"] in needed.blobs
    assert other["diff_id"] not in needed.layers
    assert len(kept.remove(store)) == 1
    assert facts["diff_id"] not in gc.mark(store).layers


def test_removing_some(store):
    cache = Cache(store)
    cache.note(KEY, record(text="one"))
    cache.note(key_of("two"), record(text="two"))
    done = kept.remove(store, lambda one: one["text"] == "one")
    assert [one["text"] for one in done] == ["one"]
    assert Cache(store).find(KEY) is None and Cache(store).find(key_of("two"))


def test_a_file_that_is_being_written_stays(store):
    cache = Cache(store)
    cache.note(KEY, record())
    young, old = store.path(kept.HOME, ".new.1"), store.path(kept.HOME, ".new.2")
    for path in (young, old):
        open(path, "w").close()
    os.utime(old, (1, 1))
    kept.remove(store)
    assert os.listdir(store.path(kept.HOME)) == [".new.1"]


def test_what_is_worked_out_from_digests(store):
    cache = Cache(store)
    key, found = cache.remembered("content", "a", 1)
    assert found is None
    cache.remember(key, "content", "abc")
    assert Cache(store).remembered("content", "a", 1) == (key, "abc")
    assert Cache(store).remembered("content", "a", 2)[1] is None
