"""Containers on disk while others create, name and remove them."""

import json
import os
import threading
from types import SimpleNamespace

import pytest

from rootless.engine import contents, naming, records, remove, start
from rootless.kernel import files
from rootless.store import shape
from support import records as recorded


@pytest.fixture
def engine(workdir):
    config = SimpleNamespace(root=f"{workdir}/root", environ={})
    os.makedirs(f"{config.root}/containers")
    return SimpleNamespace(config=config, runroot=f"{workdir}/run")


def made(engine, name="web", **facts):
    """A container that exists: its record."""
    record = recorded.record(records.new_id(), name=name, **facts)
    draft = records.begin(engine, record["id"])
    records.reserve_name(engine, name, record["id"])
    records.create(engine, record, {}, draft)
    os.close(draft)
    return record


def together(count, function):
    """Call ``function(number)`` in as many threads at once: what they returned or raised."""
    barrier, found = threading.Barrier(count), [None] * count

    def one(number):
        barrier.wait()
        try:
            found[number] = function(number)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_a_name_belongs_to_a_container_that_is_being_made(engine):
    first, second = records.new_id(), records.new_id()
    draft = records.begin(engine, first)
    records.reserve_name(engine, "web", first)
    with pytest.raises(records.NameTaken):
        records.reserve_name(engine, "web", second)
    os.close(draft)


def test_a_name_that_was_left_over_is_given_once(engine):
    for _ in range(30):
        ids = [records.new_id() for _ in range(4)]
        drafts = [records.begin(engine, one) for one in ids]
        os.makedirs(f"{engine.config.root}/names", exist_ok=True)
        with open(f"{engine.config.root}/names/web", "w") as file:
            file.write(records.new_id())  # of a container that is gone
        found = together(4, lambda number, ids=ids: records.reserve_name(engine, "web",
                                                                         ids[number]))  # fmt: skip
        assert [one for one in found if one is None] == [None]
        assert all(isinstance(one, records.NameTaken) for one in found if one is not None)
        assert records.name_holder(engine, "web") == ids[found.index(None)]
        records.release_name(engine, "web", ids[found.index(None)])
        for one in drafts:
            os.close(one)


def test_who_is_gone_takes_no_name_from_its_successor(engine):
    old = made(engine)
    os.rename(records.directory(engine, old["id"]), f"{engine.config.root}/containers/.gone-x")
    new = made(engine)
    records.release_name(engine, "web", old["id"])
    assert records.name_holder(engine, "web") == new["id"]


def test_removing_one_container_from_many_places(engine):
    for _ in range(30):
        record = made(engine)
        found = together(8, lambda _, record=record: remove.remove(engine, record))
        known = (type(None), remove.Busy, remove.StillRunning)  # who comes second may say so
        assert all(isinstance(one, known) for one in found), found
        assert None in found
        assert os.listdir(f"{engine.config.root}/containers") == []
        assert os.listdir(f"{engine.runroot}/containers") == []
        assert records.name_holder(engine, "web") is None


def test_starting_and_removing_at_once(engine):
    for _ in range(40):
        record = made(engine)

        def one(number, record=record):
            if number % 2:
                return remove.remove(engine, record)
            return start.take_lock(engine, record)

        found = together(4, one)
        known = (type(None), int, remove.Busy, remove.StillRunning, start.AlreadyRunning,
                 records.NoContainer)  # fmt: skip
        assert all(isinstance(one, known) for one in found), found
        held = [one for one in found if isinstance(one, int)]
        there = os.path.isdir(records.directory(engine, record["id"]))
        # Whoever holds it holds what is there.
        assert len(held) <= 1 and (there or not held)
        for descriptor in held:
            os.close(descriptor)
        if there:
            remove.remove(engine, record)
        assert os.listdir(f"{engine.runroot}/containers") == []


def test_a_start_by_a_session_with_another_runtime_directory(engine, workdir):
    """Only one of them has the container, whichever directory its lock is in."""
    record = made(engine)
    other = SimpleNamespace(config=engine.config, runroot=f"{workdir}/other")
    for _ in range(40):
        found = together(4, lambda number: start.take_lock((engine, other)[number % 2], record))
        held = [one for one in found if isinstance(one, int)]
        assert len(held) <= 1, found
        assert all(isinstance(one, (int, start.AlreadyRunning)) for one in found), found
        if held:
            here = records.run_directory(engine, record["id"])
            assert os.path.samestat(os.stat(f"{here}/alive"), os.fstat(held[0]))
            assert records.is_alive(here)
            os.close(held[0])


def test_a_removal_does_not_take_what_was_started_elsewhere(engine, workdir):
    record = made(engine)
    held = remove._Held(engine, record)  # it has looked for the lock, and does not have it yet
    other = SimpleNamespace(config=engine.config, runroot=f"{workdir}/other")
    alive = start.take_lock(other, record)
    with pytest.raises(remove.Busy):
        held.__enter__()
    os.close(alive)


def test_a_record_that_vanishes(engine):
    record = made(engine)
    here = os.open(records.directory(engine, record["id"]), files.DIRECTORY)
    remove.remove(engine, record)
    with pytest.raises(FileNotFoundError):
        records.write(here, "record.json", record)
    os.close(here)
    with pytest.raises(records.NoContainer):
        records.update(engine, record, {"boot": "x"})


def test_changes_at_once_all_last(engine):
    record = made(engine)

    def change(number):
        for _ in range(20):
            records.update(engine, record, {f"f{number}": True}, sync=False)

    assert together(4, change) == [None] * 4
    assert {f"f{number}" for number in range(4)} <= set(records.load(engine, record["id"]))


def test_renames_at_once_leave_one_name(engine):
    for _ in range(20):
        record, names = made(engine, "web"), ["one", "two", "web3", "web4"]
        together(4, lambda number, record=record, names=names: naming.rename(
            engine, record, names[number]))  # fmt: skip
        found = records.load(engine, record["id"])["name"]
        assert os.listdir(f"{engine.config.root}/names") == [found]
        remove.remove(engine, records.load(engine, record["id"]))


def test_the_name_of_a_killed_rename_can_be_had(engine):
    record = made(engine, "old")
    os.link(f"{engine.config.root}/names/old", f"{engine.config.root}/names/new")  # killed here
    other = made(engine, "new")
    assert records.name_holder(engine, "new") == other["id"]
    with pytest.raises(records.NameTaken):
        naming.rename(engine, record, "new")
    os.link(f"{engine.config.root}/names/old", f"{engine.config.root}/names/third")
    remove.sweep(engine)
    assert sorted(os.listdir(f"{engine.config.root}/names")) == ["new", "old"]


@pytest.mark.parametrize("key", [*shape._RECORD, "options", "network"])
def test_a_record_without_something_is_damaged(engine, key):
    record = made(engine)
    path = f"{records.directory(engine, record['id'])}/record.json"
    for value in (None, 5.5, {}, ["x"]):
        if type(value) in shape._RECORD[key] and key not in shape._INNER:
            continue
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**record, key: value}, file)
        with pytest.raises(records.Damaged):
            records.load(engine, record["id"])
        assert records.everything(engine)[0]["damaged"]
        assert shape.problem({**record, key: value}, record["id"])


def test_a_record_of_the_future_is_said_to_be_one(engine):
    record = made(engine, version=records.VERSION + 1)
    with pytest.raises(records.Newer):
        records.load(engine, record["id"])
    assert records.everything(engine)[0]["newer"]


def test_an_end_that_cannot_be_read_is_an_end(engine):
    record = made(engine)
    path = f"{records.directory(engine, record['id'])}/exit"
    for junk in ("", "[]", "{}", '"x"', "["):
        with open(path, "w", encoding="utf-8") as file:
            file.write(junk)
        found = records.state(engine, record)
        assert (found["status"], found["exit"]["reason"]) == ("exited", "damaged")


def test_who_reads_keeps_others_from_starting_and_removing(engine):
    record = made(engine)
    with contents.Kept(engine, record):
        assert records.state(engine, record)["status"] == "created"
        with contents.Kept(engine, record):  # two may read
            pass
        waiting = threading.Thread(target=remove.remove, args=(engine, record))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and os.path.isdir(records.directory(engine, record["id"]))
    waiting.join()
    assert not os.path.exists(records.directory(engine, record["id"]))
    with pytest.raises(records.NoContainer), contents.Kept(engine, record):
        pass
    assert os.listdir(f"{engine.runroot}/containers") == []


def test_what_was_running_and_is_gone_half_way(engine):
    record = made(engine)
    alive = start.take_lock(engine, record)
    with pytest.raises(records.NoContainer), contents.Kept(engine, record):
        os.close(alive)
        remove.remove(engine, record)
        os.stat(f"{records.directory(engine, record['id'])}/upper")
    other = made(engine, "other")
    with pytest.raises(FileNotFoundError), contents.Kept(engine, other):
        os.stat("/nowhere")  # no business of the container's
