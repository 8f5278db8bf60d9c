"""Layers from a source into a store: rounds, threads, and who may fork when."""

import io
import os
import threading

import pytest

from rootless.image import fetch
from rootless.image.trouble import Interrupted
from rootless.model import oci


class Unpack:
    def __init__(self, store, diff_id):
        self.store, self.diff_id, self.data = store, diff_id, b""
        # The real one forks here.
        store.threads_at_fork.add(threading.active_count())
        store.open_readers_at_fork.add(store.readers)
        store.order.append(diff_id)

    def write(self, data):
        self.data += bytes(data)

    def finish(self):
        self.store.trees[self.diff_id] = self.data

    def kill(self):
        pass

    close = kill


class Writer:
    present = False

    def __init__(self, store, digest):
        self.store, self.digest = store, digest
        self.data = store.partial.get(digest, b"")

    @property
    def offset(self):
        return len(self.data)

    def reopen(self):
        descriptor = os.memfd_create("partial")
        os.pwrite(descriptor, self.data, 0)
        return descriptor

    def restart(self):
        self.data = b""

    def write(self, data):
        self.data += bytes(data)

    def commit(self):
        self.store.done[self.digest] = self.data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.partial[self.digest] = self.data


class Store:
    """A store in memory, for fetch alone."""

    def __init__(self):
        self.tmp = self.layers = self.blobs = self
        self.trees, self.done, self.partial = {}, {}, {}
        self.threads_at_fork, self.open_readers_at_fork, self.order = set(), set(), []
        self.readers = 0

    def hold(self, *_):
        pass

    def has(self, digest):
        return digest in self.trees or digest in self.done

    def unpack(self, diff_id):
        return Unpack(self, diff_id)

    def writer(self, digest, _):
        return Writer(self, digest)


class Body(io.BytesIO):
    pass


class Source:
    """Layers by digest; ``broken``: digest → how many bytes come before it breaks."""

    parallel = 4

    def __init__(self, store, layers):
        self.store, self.layers = store, layers
        self.broken, self.error = {}, None
        self.pauses = []
        self.place = "here"

    def open(self):
        self.store.readers += 1
        return self

    def start(self, layer, offset):
        data = self.layers[layer["digest"]][offset:]
        if self.error and layer["digest"] == self.error[0]:
            raise self.error[1]
        cuts = self.broken.get(layer["digest"])
        return Body(data[: cuts.pop() if cuts else None]), offset

    def pause(self, attempt, error):
        self.pauses.append(attempt)
        if attempt > 3:
            raise RuntimeError("enough") from error

    def abort(self):
        pass

    def close(self):
        self.store.readers -= 1


def pairs(count):
    """Layers and their content: ([(descriptor, diff id)], {digest: bytes})."""
    found, content = [], {}
    for number in range(count):
        digest = f"sha256:{count - number:064x}"
        content[digest] = bytes([number]) * (1000 + number)
        layer = {"mediaType": oci.OCI_LAYER, "digest": digest, "size": len(content[digest])}
        found.append((layer, f"sha256:{number * 7919 % 1000:064d}"))
    return found, content


@pytest.fixture
def store():
    return Store()


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 40])
def test_nothing_forks_beside_a_thread(store, count):
    wanted, content = pairs(count)
    before = threading.active_count()
    fetch.fetch(store, wanted, Source(store, content))
    assert store.threads_at_fork <= {before} and store.open_readers_at_fork <= {0}
    assert threading.active_count() == before and store.readers == 0
    assert store.trees == {diff_id: content[layer["digest"]] for layer, diff_id in wanted}
    assert store.order == sorted(store.order), "locks are taken in one order by everybody"


def test_a_layer_that_is_there_twice_comes_once(store):
    wanted, content = pairs(1)
    fetch.fetch(store, wanted * 3, Source(store, content))
    assert len(store.order) == 1


def test_what_breaks_off_goes_on(store):
    wanted, content = pairs(1)
    source = Source(store, content)
    source.broken = {wanted[0][0]["digest"]: [None, 300]}
    fetch.fetch(store, wanted, source)
    assert list(store.trees.values()) == list(content.values()) and source.pauses == [1]


def test_what_an_earlier_process_got_is_unpacked_too(store):
    wanted, content = pairs(1)
    ((digest, data),) = content.items()
    store.partial[digest] = data[:400]
    fetch.fetch(store, wanted, Source(store, content))
    assert list(store.trees.values()) == [data]


def test_a_source_that_starts_over(store):
    wanted, content = pairs(1)
    source = Source(store, content)
    ((digest, data),) = content.items()
    store.partial[digest] = data[:400]
    source.start = lambda layer, offset: (Body(data), 0)
    fetch.fetch(store, wanted, source)
    assert list(store.trees.values()) == [data] and store.done == {digest: data}


def test_it_ends_when_nothing_comes(store):
    wanted, content = pairs(1)
    source = Source(store, content)
    source.start = lambda layer, offset: (Body(b""), offset)
    with pytest.raises(RuntimeError, match="enough"):
        fetch.fetch(store, wanted, source)
    assert source.pauses == [1, 2, 3, 4]


@pytest.mark.parametrize("error", [ValueError("bad"), Interrupted(5, "broken")])
def test_the_first_failure_is_what_is_told(store, error):
    wanted, content = pairs(8)
    source = Source(store, content)
    source.error = (wanted[3][0]["digest"], error)
    with pytest.raises((ValueError, RuntimeError)) as raised:
        fetch.fetch(store, wanted, source)
    assert not isinstance(raised.value, fetch.Cancelled)
    assert store.readers == 0 and len(store.trees) < 8
