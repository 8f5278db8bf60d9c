"""Several rl at once, and one that dies in the middle: nothing needed is lost, no name lies."""

import os
import signal

import pytest

from rootless.errors import RlError
from rootless.store import gc
from rootless.store.images import NoSuchImage, SeveralNames
from rootless.store.store import open_store
from support import layers
from support.layers import Archive

pytestmark = pytest.mark.integration


def data(text="x"):
    return Archive().directory("d").file("d/a", text.encode() * 100).data()


def child(work, *args):
    """Call ``work`` in a process of its own: its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*args)
        except RlError:
            os._exit(1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    return pid


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def collect_and_die(root, rung, moment):
    """A collection that is killed after its second reading, or after it has condemned things."""
    store = open_store(root, layers.ids_of(rung))
    name, count = {"aside": ("mark", 2), "doomed": ("_delete", 1)}[moment]
    real, calls = getattr(gc, name), []

    def die(*args):
        calls.append(args)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    setattr(gc, name, die)
    gc.collect(store)


@pytest.mark.parametrize("finder", ["reader", "writer"])
def test_what_a_killed_collection_had_in_hand_is_there(store, workdir, rung, finder):
    record = layers.image(store, [data()])
    os.unlink(f"{store.root}/images/{record['id']}")  # nobody needs it: it is set aside
    store.tmp.release()
    assert ended(child(collect_and_die, store.root, rung, "aside")) == -signal.SIGKILL
    assert store.layers.list() == [] and store.blobs.list() == []
    if finder == "reader":  # whose container's record was written in between
        assert store.layers.paths(record["layers"])
        assert store.blobs.needed(record["config"])
    else:
        store.tmp.sweep()
    assert store.layers.list() == record["layers"] and len(store.blobs.list()) == 3
    gc.collect(store)
    assert store.layers.list() == [] and store.blobs.list() == []
    assert os.listdir(f"{store.root}/tmp") == []


def test_what_was_condemned_does_not_come_back(store, rung):
    record = layers.image(store, [data()])
    os.unlink(f"{store.root}/images/{record['id']}")
    store.tmp.release()
    assert ended(child(collect_and_die, store.root, rung, "doomed")) == -signal.SIGKILL
    assert not store.layers.needed(record["layers"][0])
    store.tmp.sweep()
    assert store.layers.list() == [] and os.listdir(f"{store.root}/tmp") == []


def tag_often(root, rung, image, name):
    store = open_store(root, layers.ids_of(rung))
    for number in range(30):
        store.images.tag(f"localhost/{name}:{number}", image)


def remove_soon(root, rung, image):
    store = open_store(root, layers.ids_of(rung))
    store.images.remove(image, force=True)


def test_a_tag_and_a_removal_at_once(store, rung):
    """The names or the image: no name without an image, no record without its facts."""
    for number in range(8):
        record = layers.image(store, [data()], [f"localhost/first:{number}"])
        store.images.add(record["manifest"], record["config"], record["layers"], os="linux")
        pids = [child(tag_often, store.root, rung, record["id"], name) for name in ("x", "y")]
        pids.append(child(remove_soon, store.root, rung, record["id"]))
        assert all(ended(pid) in (0, 1) for pid in pids)
        found = store.images.list()
        assert all(one.get("os") == "linux" for one in found)
        if not found:
            assert store.images.refs.all() == {}
        for one in found:
            store.images.remove(one["id"], force=True)


def test_two_tags_at_once_are_both_remembered(store, rung):
    record = layers.image(store, [data()], ["localhost/first:1"])
    pids = [child(tag_often, store.root, rung, record["id"], name) for name in ("x", "y")]
    assert [ended(pid) for pid in pids] == [0, 0]
    found = store.images.get(record["id"])
    assert len(found["names_history"]) == 60 and len(found["digests"]) == 3


def test_what_got_a_name_is_not_pruned(store):
    record = layers.image(store, [data()], [])
    store.images.tag("localhost/kept:1", record["id"])  # after somebody has seen it without one
    with pytest.raises(SeveralNames):
        store.images.remove(record["id"], force=True, nameless=True)
    store.images.remove(record["id"], force=True)
    with pytest.raises(NoSuchImage):
        store.images.tag("localhost/kept:2", record["id"])
