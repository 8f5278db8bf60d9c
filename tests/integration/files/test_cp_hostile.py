"""rl cp with containers that want to read or write this machine's files."""

import os
import threading

import pytest

from rootless.engine.copying import take
from rootless.engine.copying.places import Place
from rootless.kernel import process
from rootless.runtime import enter
from support.tars import members, tar_of

pytestmark = [pytest.mark.integration, pytest.mark.one_id]
_GET_DUMPABLE = 3


@pytest.fixture
def canary(here):
    """A directory of this machine whose path a container knows."""
    here.write("canary/secret", "secret\n")
    os.chmod(here("canary"), 0o755)
    return here("canary")


def untouched(here):
    return here.list("canary") == ["secret"] and here.read("canary/secret") == "secret\n"


def test_links_lead_to_the_containers_files(rl, box, here, canary):
    made = box(script=f"ln -s {canary} /way; ln -s {canary}/secret /file; ln -s ../../../.. /up;"
               "ln -s /up/up/up/etc /etc2; mkdir /d; ln -s /proc/1/root /d/magic")  # fmt: skip
    here.write("x", "x\n")
    for path in ("/way", "/way/secret", "/file", f"/up/..{canary}/secret", "/d/magic/etc/passwd"):
        result = rl("cp", f"c:{path}", here("out"))
        assert result.code == 125, repr(result)
        assert not os.path.lexists(here("out"))
    for path in ("/way/x", f"/up{canary}/x", "/d/magic/etc/x"):
        assert rl("cp", here("x"), f"c:{path}").code == 125
    rl.ok("cp", here("x"), "c:/etc2/y")
    assert made.sh("cat /etc/y") == "x\n"
    # A link to nothing is written through, where the container would have its target.
    rl.fails("cp", here("x"), "c:/file", says="/file")
    assert untouched(here)


def test_links_come_out_as_links(rl, box, here, canary):
    box(script=f"mkdir -p /d/e; ln -s {canary} /d/way; ln -s {canary}/secret /d/e/f")
    rl.ok("cp", "c:/d", here("out"))
    assert os.readlink(here("out/way")) == canary
    found = members(rl.ok("cp", "c:/d", "-").raw)
    assert found["d/way"].issym() and found["d/e/f"].issym()
    # Once more: the link that lies there now is not what the next one is written through.
    rl.ok("cp", "c:/d/.", here("out"))
    assert untouched(here)


_RACE = """mkdir -p /d/real/sub /t; echo mine > /d/real/sub/secret; ln -s CANARY /d/link
(while :; do mv /d/real /d/sub2; mv /d/link /d/real; mv /d/real /d/link; mv /d/sub2 /d/real; done
) 2>/dev/null &
(while :; do rm -rf /t/in; ln -s CANARY /t/in; rm -f /t/in; mkdir /t/in /t/in/sub
ln -s CANARY /t/in/sub/sub; done) 2>/dev/null &"""


def test_a_container_that_swaps_directories_for_links(rl, busybox, here, canary):
    """Both ways, while it does so as quickly as it can: nothing of ours is read or written."""
    here.write("src/sub/secret", "overwritten\n")
    here.write("src/sub/sub/planted", "planted\n")
    script = _RACE.replace("CANARY", canary) + "\ntouch /ready; wait"
    rl.ok("run", "-d", "--name", "c", "--network", "none", busybox, "sh", "-c", script)
    outcomes = set()

    def pull(number):
        for turn in range(12):
            out = here(f"out{number}-{turn}")
            rl("cp", "c:/d/real/sub", out)
            for path in ("secret", "sub/secret"):
                if os.path.isfile(f"{out}/{path}") and not os.path.islink(f"{out}/{path}"):
                    with open(f"{out}/{path}") as file:
                        outcomes.add(file.read())

    def push():
        for _ in range(12):
            rl("cp", here("src/."), "c:/t/in")

    workers = [threading.Thread(target=pull, args=(number,)) for number in range(2)]
    workers.append(threading.Thread(target=push))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert untouched(here)
    assert outcomes <= {"mine\n", ""}


def test_what_runs_in_the_container_cannot_be_opened_there(rl, busybox):
    rl.ok("run", "-d", "--name", "c", "--network", "none", busybox, "sleep", "600")
    pid = int(rl.ok("inspect", "--format", "{{.State.Pid}}", "c").text)
    reading, writing = os.pipe()

    def look(root):
        try:
            import colorsys  # noqa: F401
            imported = True
        except ImportError:
            imported = False
        return {
            "dumpable": process.prctl(_GET_DUMPABLE), "imported": imported, "root": root,
            "open": [number for number in range(64) if _is_open(number)],
            "hostname": os.path.exists("/bin/busybox"), "uid": os.getuid(),
        }  # fmt: skip

    found = enter.start_inside(pid, look, keep=(writing,)).wait()
    os.close(reading)
    os.close(writing)
    assert found["dumpable"] == 0 and not found["imported"] and found["uid"] == 0
    assert found["hostname"]
    # 0, 1, 2, what was asked for, the root and where the result goes.
    assert len(found["open"]) == 6 and writing in found["open"]


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


# --- what a process that a container has taken over could send -----------------------------


def receive(data, target, **rules):
    reading, writing = os.pipe()
    worker = threading.Thread(target=lambda: (os.write(writing, data), os.close(writing)))
    worker.start()
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return take.take(root, reading, target, False, take.Rules(**rules))
    finally:
        while os.read(reading, 1 << 16):
            pass
        worker.join()
        os.close(reading)
        os.close(root)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("attack", [
    [("d", None), ("d/way", {"type": b"2", "linkname": "CANARY"}), ("d/way/planted", b"x")],
    [("d", None), ("d/../../canary/planted", b"x")],
    [("../canary/planted", b"x")],
    [("d", None), ("/d/../../../../CANARY/planted", b"x")],
    [("d", None), ("d/f", {"type": b"1", "linkname": "../canary/secret"})],
    [("d", None), ("d/way", {"type": b"2", "linkname": "CANARY"}),
     ("d/f", {"type": b"1", "linkname": "d/way/secret"}), ("d/f", b"x")],
    [("d", None), ("d/way", {"type": b"2", "linkname": "CANARY"}), ("d/way", None),
     ("d/way/planted", b"x")],
    [("d", None), ("d/f", {"type": b"2", "linkname": "CANARY/secret"}), ("d/f", b"x")],
    [("f", {"type": b"2", "linkname": "CANARY"}), ("f/planted", b"x")],
])  # fmt: skip
def test_a_stream_that_wants_out(here, canary, attack, overwrite):
    os.mkdir(here("to"))
    attack = [
        (name.replace("CANARY", canary),
         {key: value.replace("CANARY", canary) if isinstance(value, str) else value
          for key, value in what.items()} if isinstance(what, dict) else what)
        for name, what in attack
    ]  # fmt: skip
    try:
        receive(tar_of(*attack), here("to"), overwrite=overwrite)
    except (take.BadArchive, take.InTheWay, OSError):
        pass
    assert untouched(here)
    assert os.stat(f"{canary}/secret").st_nlink == 1
    assert [name for name in here.list() if name.endswith("planted")] in (
        [], ["to/d/way/planted"], ["to/f/planted"]
    )


def test_links_that_were_there_are_not_followed(here, canary):
    os.makedirs(here("to/d"))
    os.symlink(canary, here("to/d/way"))
    os.symlink(f"{canary}/secret", here("to/d/file"))
    with pytest.raises(take.InTheWay):
        receive(tar_of(("d", None), ("d/way", None), ("d/way/planted", b"x")), here("to"))
    receive(tar_of(("d", None), ("d/file", b"x")), here("to"))
    assert here.read("to/d/file") == "x" and not os.path.islink(here("to/d/file"))
    receive(tar_of(("d", None), ("d/way", None), ("d/way/planted", b"x")), here("to"),
            overwrite=True)  # fmt: skip
    assert here.read("to/d/way/planted") == "x" and not os.path.islink(here("to/d/way"))
    assert untouched(here)


def test_devices_and_set_ids_do_not_come(here):
    os.mkdir(here("to"))
    left_out = receive(tar_of(
        ("d", {"type": b"5", "mode": 0o6777}), ("d/null", {"type": b"3", "devmajor": 1}),
        ("d/f", {"mode": 0o6755}), ("d/sub", {"type": b"5", "mode": 0o2755}),
    ), here("to"))  # fmt: skip
    assert left_out == 1 and here.list("to") == ["d", "d/f", "d/sub"]
    assert [os.stat(here(f"to/{name}")).st_mode & 0o7777 for name in ("d", "d/f", "d/sub")] == [
        0o777, 0o755, 0o755
    ]  # fmt: skip


def test_a_place_of_a_container_has_no_way_out(here, canary):
    os.makedirs(here("root/etc"))
    os.symlink("/../../../" + canary, here("root/up"))
    os.symlink("/proc/self/root", here("root/magic"))
    root = os.open(here("root"), os.O_RDONLY | os.O_DIRECTORY)
    place = Place(root, True)
    for path in ("/up", "/up/secret", "/magic/etc", f"/../../..{canary}", "../secret"):
        with pytest.raises(OSError):
            place.open(path)
    holder, name = place.final("/../../etc/x")
    assert os.path.samestat(os.fstat(holder), os.stat(here("root/etc"))) and name == "x"
    os.close(holder)
    os.close(root)
