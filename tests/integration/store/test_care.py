"""Images, garbage, sizes, check and repair."""

import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from rootless.engine import remove
from rootless.errors import RlError
from rootless.kernel import userns
from rootless.store import check, df, gc
from rootless.store.blobwriter import WrongSize
from rootless.store.digests import BadDigest, WrongDigest
from rootless.store.images import AmbiguousImage, ImageInUse, NoSuchImage, SeveralNames
from rootless.store.layers import NoLayer
from rootless.store.store import NotAStore, StoreNotOurs, open_store
from rootless.store.tmp import Busy
from support import layers, tools
from support import records as recorded
from support.layers import Archive, diff_id, image, packed

pytestmark = pytest.mark.integration

BASE = Archive().directory("d").file("d/a", b"a" * 5000, uid=3).file("b", b"b").data()
TOP = Archive().file("c", b"c" * 100).data()


def kinds(store, **how):
    return sorted(problem.kind for problem in check.check(store, **how))


def settle(store):
    """Let go of what this process holds, as its end would."""
    store.tmp.release()


# --- the root --------------------------------------------------------------------------------


def test_the_root_is_private(store):
    assert os.stat(store.root).st_mode & 0o7777 == 0o700
    os.chmod(store.root, 0o755)
    open_store(store.root, store.ids).close()
    assert os.stat(store.root).st_mode & 0o7777 == 0o700


def test_a_directory_with_other_things_is_refused(workdir):
    with open(f"{workdir}/precious", "w"):
        pass
    with pytest.raises(NotAStore) as caught:
        layers.fresh_store(workdir)
    assert os.listdir(workdir) == ["precious"]
    assert "--root" in caught.value.advice


def test_somebody_elses_root_is_refused():
    with pytest.raises(StoreNotOurs):
        layers.fresh_store("/" if os.geteuid() else "/proc/1/../../home/nobody-here/..")


def test_no_path_is_stored(store, workdir):
    record = image(store, [BASE, TOP])
    settle(store)
    store.close()
    os.rename(store.root, f"{workdir}/moved")
    moved = open_store(f"{workdir}/moved", store.ids)
    assert moved.images.find("localhost/test")["id"] == record["id"]
    assert check.check(moved) == []
    moved.close()
    for at, _, names in os.walk(f"{workdir}/moved"):
        for name in names:
            if "/tree" not in at:
                with open(f"{at}/{name}", "rb") as file:
                    assert workdir.encode() not in file.read()


# --- blobs -----------------------------------------------------------------------------------


def test_blobs_are_verified(store):
    data = os.urandom(100_000)
    digest = diff_id(data)
    with store.blobs.writer(digest, len(data)) as writer:
        writer.write(b"x" * len(data))
        with pytest.raises(WrongDigest):
            writer.commit()
    assert not store.blobs.has(digest)
    with pytest.raises(WrongSize):
        with store.blobs.writer(digest, 10) as writer:
            writer.write(data)
    with pytest.raises(BadDigest):
        store.blobs.path("sha256:../../../etc/passwd")
    with store.blobs.writer(digest, len(data)) as writer:
        writer.write(data)
        assert writer.commit() == digest
    assert store.blobs.read(digest) == data
    with pytest.raises(OSError):
        store.blobs.read(digest, limit=10)


def test_a_download_goes_on_where_it_stopped(store):
    data = os.urandom(50_000)
    with store.blobs.writer(diff_id(data), len(data)) as writer:
        writer.write(data[:20_000])
    store.tmp.sweep()
    with store.blobs.writer(diff_id(data), len(data)) as writer:
        assert writer.offset == 20_000
        file = writer.reopen()
        assert os.read(file, 1 << 20) == data[:20_000]
        os.close(file)
        writer.write(data[20_000:])
        writer.commit()
    with store.blobs.writer(diff_id(data)) as writer:
        assert writer.present and writer.commit() == diff_id(data)


def test_one_download_for_all(store):
    data = os.urandom(1000)
    with store.blobs.writer(diff_id(data)) as first:
        with pytest.raises(Busy):
            store.blobs.writer(diff_id(data), wait=False)
        found = []
        thread = threading.Thread(
            target=lambda: found.append(store.blobs.writer(diff_id(data)).present)
        )
        thread.start()
        first.write(data)
        first.commit()
        thread.join()
    assert found == [True]


# --- images ----------------------------------------------------------------------------------


def test_finding_images(store):
    one = image(store, [BASE], ["docker.io/library/debian:latest", "quay.io/team/app:1"])
    two = image(store, [BASE, TOP], ["localhost/app:2"])
    find = store.images.find
    for text in ("debian", "docker.io/debian", "docker.io/library/debian:latest", "app:1",
                 "team/app:1", one["id"], one["id"][:12], "sha256:" + one["id"],
                 f"debian@{one['manifest']}", f"quay.io/team/app@{one['manifest']}"):
        assert find(text)["id"] == one["id"], text
    assert find("app:2")["id"] == two["id"]
    for text in ("app", "quay.io/app:1", "quay.io/other/app@" + one["manifest"], "ebian",
                 "f" * 64, "sha256:" + "0" * 64, "../../etc/passwd", "", "a b"):
        with pytest.raises(NoSuchImage):
            find(text)
        assert store.images.lookup(text) is None
    with pytest.raises(AmbiguousImage):
        image(store, [TOP], ["quay.io/b/app:2", "quay.io/c/other:1"])
        store.images.tag("quay.io/a/other:1", two["id"])
        find("other:1")


def test_a_tag_moves(store):
    one = image(store, [BASE], ["localhost/x:latest"])
    two = image(store, [TOP], ["localhost/x:latest"])
    assert store.images.find("x")["id"] == two["id"]
    assert [record["id"] for record in store.images.dangling()] == [one["id"]]


def test_long_and_odd_names(store):
    long = "registry.example.com/" + "/".join(["p" * 40] * 5) + ":" + "t" * 120
    record = image(store, [BASE], [long, "localhost:5000/a__b/c.d-e:T_1"])
    assert store.images.find(long)["id"] == record["id"]
    assert store.images.names(record["id"]) == sorted([long, "localhost:5000/a__b/c.d-e:T_1"])


def test_removing_images(store):
    record = image(store, [BASE], ["localhost/a:1", "localhost/b:1"])
    with pytest.raises(SeveralNames):
        store.images.remove(record["id"][:12])
    assert store.images.remove("localhost/a:1") == {"untagged": ["localhost/a:1"], "deleted": []}
    with pytest.raises(ImageInUse):
        store.images.remove("b:1", used_by={record["id"]: ["c0ffee"]})
    gone = store.images.remove("b:1", force=True, used_by={record["id"]: ["c0ffee"]})
    assert gone == {"untagged": ["localhost/b:1"], "deleted": [record["id"]]}
    assert store.images.list() == []


def test_an_image_needs_its_layers(store):
    config = store.blobs.put(b"{}")
    with pytest.raises(NoLayer):
        store.images.add(config, config, ["sha256:" + "1" * 64], names=["localhost/a:1"])
    assert store.images.refs.all() == {}


# --- garbage ---------------------------------------------------------------------------------


def test_what_nobody_needs_goes(store):
    image(store, [BASE, TOP], ["localhost/a:1"])
    image(store, [BASE], ["localhost/b:1"])
    layers.put(store, Archive().file("orphan", b"x" * 9000))
    stray = store.blobs.put(b"stray")
    settle(store)
    report = gc.collect(store)
    assert len(report["layers"]) == 1 and report["blobs"] == [stray] and report["bytes"] > 9000
    assert kinds(store) == []
    store.images.remove("a:1")
    report = gc.collect(store)
    assert report["layers"] == [diff_id(TOP)] and len(report["blobs"]) == 3
    store.images.remove("b:1")
    gc.collect(store)
    assert store.layers.list() == [] and store.blobs.list() == []
    assert os.listdir(store.path("tmp")) == []


def test_what_a_pull_holds_stays(store):
    layer = layers.put(store, BASE)
    blob = store.blobs.put(b"held")
    other = open_store(store.root, store.ids)
    assert gc.collect(other)["layers"] == []
    settle(store)
    assert gc.collect(other) == {
        "layers": [layer], "blobs": [blob], "bytes": gc_bytes(0), "kept": []}
    other.close()


class gc_bytes(int):
    """Equal to any number above zero."""

    def __eq__(self, other):
        return other > 0

    __hash__ = int.__hash__


def test_what_containers_use_stays(store):
    layer = layers.put(store, BASE)
    settle(store)
    os.mkdir(store.path("containers", "c"))
    record = store.path("containers", "c", "record.json")
    with open(record, "w") as file:
        json.dump(recorded.record("c", mounts=[{"image": {"layers": [layer]}}]), file)
    assert gc.collect(store) == {"layers": [], "blobs": [], "bytes": 0, "kept": []}
    for damaged in ("{ damaged", "{}", json.dumps(recorded.record("other"))):
        with open(record, "w") as file:
            file.write(damaged)
        report = gc.collect(store)
        assert report["layers"] == [] and report["kept"]
    os.unlink(record)
    assert gc.collect(store)["layers"] == [layer]


def test_needed_again_while_it_is_set_aside(store, monkeypatch):
    layer = layers.put(store, BASE)
    settle(store)
    real = gc._set_aside

    def slow(opened, work, candidates):
        moved = real(opened, work, candidates)
        opened.tmp.hold(layer)
        return moved

    monkeypatch.setattr(gc, "_set_aside", slow)
    assert gc.collect(store)["layers"] == []
    assert store.layers.has(layer)


def test_collecting_while_others_pull(store):
    """Whatever is interleaved: an image that was added has all its parts."""
    stop = threading.Event()
    other = open_store(store.root, store.ids)

    def collect():
        while not stop.is_set():
            gc.collect(other)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for _ in range(15):
            image(store, [BASE, TOP])
            assert [k for k in kinds(store) if k not in check.REMARKS] == []
            store.images.remove("localhost/test", force=True)
            settle(store)
    finally:
        stop.set()
        thread.join()
        other.close()


# --- sizes -----------------------------------------------------------------------------------


def test_df_is_what_du_says(store):
    image(store, [BASE, TOP], ["localhost/a:1"])
    image(store, [BASE], ["localhost/b:1"])
    made = layers.Container(store, store.path("containers", "c"), "overlay",
                            [diff_id(BASE)])
    made.do(lambda root: os.mkdir("x", 0o700, dir_fd=root))
    settle(store)
    found = df.usage(store)
    du = ["du", "--summarize", "--block-size=1", store.root]
    ids = [] if store.ids.single else ["--map-auto"]
    du = ["unshare", "--user", "--map-root-user", *ids, *du]
    assert found["total"] == int(tools.run(*du).split()[0])
    parts = [found["other"], found["tmp"]]
    parts += [sum(found[key].values()) for key in ("layers", "blobs", "containers", "volumes")]
    assert sum(parts) == found["total"] and found["other"] > 0
    one, two = sorted(found["images"], key=lambda row: row["unique"])
    assert one["unique"] == 0 and one["shared"] == two["shared"] == found["layers"][diff_id(BASE)]


# --- check and repair ------------------------------------------------------------------------


def spoil(store, layer, change):
    from rootless.kernel import userns

    userns.call_in(store.ids, lambda path: change(path), store.layers.path(layer))


def empty(path):
    with open(path + "/d/a", "wb"):
        pass


def flip(path):
    status = os.stat(path + "/d/a")
    with open(path + "/d/a", "r+b") as file:
        file.write(b"Z")
    os.utime(path + "/d/a", ns=(status.st_mtime_ns, status.st_mtime_ns))


def lose(path):
    os.unlink(path + "/d/a")


def widen(path):
    os.chmod(path + "/b", 0o777)


def drop_index(path):
    os.unlink(path + "/../index")


def drop_list(path):
    os.unlink(path + "/../entries")


def drop_tree(path):
    import shutil

    shutil.rmtree(path)


@pytest.mark.parametrize(
    "change", [empty, flip, lose, widen, drop_index, drop_list, drop_tree],
    ids=lambda change: change.__name__,
)
def test_a_damaged_layer_is_found_and_made_again(store, change):
    image(store, [BASE, TOP])
    spoil(store, diff_id(BASE), change)
    found = check.check(store)
    assert {"layer", "layer-missing"} & {problem.kind for problem in found}
    done = check.repair(store, found)
    assert all(text for _, text in done), done
    assert kinds(store) == []
    settle(store)
    gc.collect(store)
    assert kinds(store) == []


def remove_blob(key):
    def change(store, record):
        os.unlink(store.blobs.path(record[key]))

    return change


def damage_blob(key):
    def change(store, record):
        with open(store.blobs.path(record[key]), "wb") as file:
            file.write(b"{ not json")

    return change


def damage_record(store, record):
    with open(store.path("images", record["id"]), "w") as file:
        file.write("{")


def empty_record(store, record):
    with open(store.path("images", record["id"]), "w"):
        pass


def record_is_a_fifo(store, record):
    path = store.path("images", record["id"])
    os.unlink(path)
    os.mkfifo(path)


def damage_tag(store, record):
    for name in os.listdir(store.path("refs")):
        with open(store.path("refs", name), "w") as file:
            file.write("[]")


def lose_record(store, record):
    os.unlink(store.path("images", record["id"]))


def lose_layer(store, record):
    from rootless.store import removal

    removal.remove(store, store.directory("layers"), record["layers"][0].partition(":")[2])


DAMAGE = {
    "manifest missing": remove_blob("manifest"),
    "config missing": remove_blob("config"),
    "manifest damaged": damage_blob("manifest"),
    "config damaged": damage_blob("config"),
    "record damaged": damage_record,
    "record empty": empty_record,
    "record a fifo": record_is_a_fifo,
    "tag damaged": damage_tag,
    "record lost": lose_record,
    "layer lost": lose_layer,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_everything_can_still_be_removed(store, name):
    record = image(store, [BASE, TOP], ["localhost/a:1"])
    image(store, [TOP], ["localhost/whole:1"])
    DAMAGE[name](store, record)
    assert check.check(store)
    store.images.list()
    try:
        store.images.remove(record["id"], force=True)
    except NoSuchImage:
        assert name == "record lost"
        assert store.images.untag("localhost/a:1")
    if name == "tag damaged":
        check.repair(store, check.check(store))
    settle(store)
    gc.collect(store)
    assert [k for k in kinds(store) if not k.startswith("ref")] == []
    assert len(store.images.list()) == 1 and store.layers.list() == [diff_id(TOP)]


@pytest.mark.parametrize("name", DAMAGE)
def test_repair(store, name):
    record = image(store, [BASE, TOP], ["localhost/a:1"])
    DAMAGE[name](store, record)
    check.repair(store, check.check(store), force=True)
    left = [problem.kind for problem in check.check(store) if problem.kind not in check.REMARKS]
    assert left == []
    found = store.images.lookup("localhost/a:1")
    if name in ("record damaged", "record empty", "record a fifo", "layer lost"):
        assert found["layers"] == record["layers"]
        assert found["manifest"] == record["manifest"]
    else:
        assert found is None


def test_repair_leaves_what_it_may_not_take(store):
    record = image(store, [BASE], ["localhost/a:1"])
    os.unlink(store.blobs.path(record["config"]))
    done = check.repair(store, check.check(store))
    assert [text for _, text in done if text is None] == [None]
    check.repair(store, check.check(store), force=True, used_by={record["id"]: ["c"]})
    assert store.images.find("a:1")["id"] == record["id"]


def test_strays(store):
    for name in ("layers/odd", "blobs/sha256/odd"):
        with open(store.path(name), "w"):
            pass
    assert kinds(store) == ["stray", "stray"]
    check.repair(store, check.check(store))
    assert kinds(store) == []


def test_adopting_keeps_the_digest_of_what_came(store):
    for given in (BASE, packed(BASE), b""):
        with store.layers.adopt() as adopt:
            for start in range(0, len(given), 3):
                adopt.write(given[start : start + 3])
            facts = adopt.finish()
        assert facts["diff_id"] == diff_id(BASE if given else b"")
        assert store.blobs.size(facts["blob"]) == facts["blob_size"]
        assert facts["compression"] == "gzip"
    assert store.blobs.has(diff_id(packed(BASE)))


def test_what_a_killed_record_writer_left_is_swept(store):
    layers.image(store, [Archive().file("a").data()])
    places = [store.root, *(f"{store.root}/{one}" for one in ("images", "refs", "blobs/sha256"))]
    for place in places:
        for age in (5, 100_000, -100_000):
            path = f"{place}/.abc.{os.getpid()}-{os.urandom(4).hex()}"
            with open(path, "w") as file:
                file.write("half")
            os.utime(path, (time.time() - age,) * 2)
    gc.collect(store)
    left = [name for place in places for name in os.listdir(place) if name[0] == "."]
    assert len(left) == 4 and store.images.list()


def test_what_belongs_to_ids_of_old_stops_nobody(workdir):
    """/etc/subuid was changed, or the user has no ids there any more."""
    if layers.best_ids().single:
        pytest.skip("there are no such ids")
    root = f"{workdir}/store"
    before = layers.fresh_store(root, "range")

    def leave(name):
        os.makedirs(f"{root}/{name}/sub")
        os.chown(f"{root}/{name}/sub", 5, 5)
        os.chmod(f"{root}/{name}/sub", 0o700)
        os.mkdir(f"{root}/{name}/sub/x")

    for name in ("tmp/layer-dead", f"containers/.gone-{'f' * 64}"):
        userns.call_in(before.ids, leave, name)
    before.close()
    after = open_store(root, userns.single_ids())
    record = image(after, [BASE])
    settle(after)
    assert df.usage(after)["total"] and gc.collect(after)["kept"] == []
    assert check.check(after) == [] and after.images.get(record["id"])
    config = SimpleNamespace(root=root, environ={})
    engine = SimpleNamespace(config=config, runroot=f"{workdir}/run", ids=after.ids)
    assert remove.sweep(engine) == 0
    with pytest.raises(remove.NotYours):
        remove.erase(engine, f".gone-{'f' * 64}")
    after.close()
    again = open_store(root, layers.best_ids())
    engine.ids = again.ids
    assert remove.sweep(engine) == 1 and again.tmp.sweep() == 1
    again.close()


def test_what_a_dead_writer_left_is_swept(store):
    left = store.tmp.make("new-layer")
    os.mkdir(f"{left.path}/layer")
    assert store.tmp.sweep() == 0
    left.leave()
    with open(store.path("tmp", "file"), "w"):
        pass
    assert store.tmp.sweep() == 2
    assert os.listdir(store.path("tmp")) == []


def test_errors_have_one_line_and_a_hint(store):
    for make in (
        lambda: store.images.find("nothing"),
        lambda: store.blobs.read("sha256:" + "0" * 64),
        lambda: store.layers.paths(["sha256:" + "0" * 64]),
        lambda: store.layers.path("nonsense"),
    ):
        with pytest.raises(RlError) as caught:
            make()
        assert "\n" not in caught.value.message and caught.value.advice
