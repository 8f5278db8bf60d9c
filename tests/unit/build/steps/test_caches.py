"""The directories of cache mounts: who has one, and when it goes."""

import os

import pytest

from rootless.build.steps import caches
from support import layers


@pytest.fixture
def store(workdir):
    opened = layers.fresh_store(f"{workdir}/store")
    yield opened
    opened.close()


def take(store, *words):
    taken = caches.take(store, *words)
    if taken.fresh:  # what the step does when it has made it ready
        os.unlink(taken.fresh)
    return taken


def test_a_new_one_is_fresh_until_it_was_made_ready(store):
    first = caches.take(store, "id")
    assert os.listdir(first.path) == [] and os.path.exists(first.fresh)
    os.close(first.lock)
    second = take(store, "id")
    assert second.path == first.path and second.fresh == first.fresh
    os.close(second.lock)
    third = caches.take(store, "id")
    assert third.fresh is None
    os.close(third.lock)


def test_shared_is_for_several_and_private_for_one(store):
    os.close(take(store, "id").lock)
    shared = [take(store, "id") for _ in range(3)]
    assert len({one.path for one in shared}) == 1
    private = [take(store, "id", "private") for _ in range(3)]
    assert len({one.path for one in (*shared, *private)}) == 4
    for one in (*shared, *private):
        os.close(one.lock)
    again = take(store, "id", "private")
    assert again.path == shared[0].path
    os.close(again.lock)


def test_ids_are_only_names(store):
    found = [take(store, name) for name in ("../../etc", "/", "", "a\nb", "\udcff")]
    for one in found:
        assert os.path.dirname(os.path.dirname(one.path)) == store.path(caches.PLACE)
        os.close(one.lock)
    assert len({one.path for one in found}) == 5


def test_pruning_leaves_what_is_in_use(store):
    used = take(store, "used")
    os.close(take(store, "unused").lock)
    assert caches.prune(store) == 1
    assert os.path.isdir(used.path)
    os.close(used.lock)
    assert caches.prune(store, keep=lambda seconds: True) == 0
    assert caches.prune(store) == 1
    assert os.listdir(store.path(caches.PLACE)) == []
    assert caches.prune(store) == 0


def test_nothing_to_prune_makes_nothing(store):
    assert caches.prune(store) == 0
    assert not os.path.exists(store.path(caches.PLACE))
