"""What the caller may map, and code under such a map."""

import os
import signal

import pytest

from rootless.errors import RlError
from rootless.kernel import userns
from rootless.model.idmap import Ids, Range


@pytest.mark.parametrize("content, wanted", [
    ("me:100:10\n", [(100, 10)]),
    ("7:100:10\n", [(100, 10)]),
    ("you:1:1\nme:100:10\n\n# me:9:9\nme:200:5\n7:300:1\n", [(100, 10), (200, 5), (300, 1)]),
    ("me:100:10\nme:105:10\nme:110:1\n", [(100, 10), (110, 1)]),
    ("me:x:1\nme:1:y\nme:1\nme::\nme:5:0\nme:0:5\nme:-1:5\n", []),
    ("me:4294967290:10\nme:10:4294967290\n", []),
    ("mean:100:10\nme2:1:1\n:5:5\n", []),
    ("  me:100:10  \n", [(100, 10)]),
])  # fmt: skip
def test_subordinate(content, wanted):
    assert userns.subordinate(content, "me", 7) == wanted


def test_without_helpers_there_is_one_id():
    if userns.may_set_ids():
        assert userns.find_ids({}).direct
        return
    found = userns.find_ids({"newuidmap": None, "newgidmap": None})
    assert found.single and found.uids == ((0, os.geteuid(), 1),)


def ids():
    return Ids([Range(0, os.geteuid(), 1)], [Range(0, os.getegid(), 1)], "single")


def test_one_fork_makes_all_namespaces():
    names = ("user", "pid", "mnt", "uts")
    before = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    near, far = os.pipe()
    child = userns.fork_into(
        userns.CLONE_NEWUSER | userns.CLONE_NEWPID | userns.CLONE_NEWNS | userns.CLONE_NEWUTS
    )
    if child == 0:
        try:
            after = [os.readlink(f"/proc/self/ns/{name}") for name in names]
            same = [one for one, other in zip(before, after, strict=True) if one == other]
            said = f"{os.getpid()} {len(same)} {userns.read_map('/proc/self/uid_map')}"
            os.write(far, said.encode())
        finally:
            os._exit(7)
    os.close(far)
    assert os.read(near, 256) == b"1 0 ()"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    os.close(near)


def test_a_fork_that_is_refused():
    with pytest.raises(userns.NoUserNamespace):  # a thread shares what a namespace is of
        userns.fork_into(userns.CLONE_NEWUSER | 0x200)


def facts():
    return os.getuid(), os.getgid(), userns.read_map("/proc/self/uid_map") == (
        (0, int(os.environ["RLT_UID"]), 1),)


def test_call_in(monkeypatch):
    monkeypatch.setenv("RLT_UID", str(os.geteuid()))
    assert userns.call_in(ids(), facts) == (0, 0, True)
    assert os.getuid() == os.geteuid()


def refuse():
    raise userns.MapFailed("who", "why")


def stumble():
    raise FileNotFoundError(2, "gone", "/place")


def err():
    raise ValueError("a defect")


def vanish():
    os.kill(os.getpid(), signal.SIGKILL)


def test_errors_come_back_as_they_were():
    with pytest.raises(userns.MapFailed) as found:
        userns.call_in(ids(), refuse)
    assert "who" in found.value.message and "why" in found.value.message
    with pytest.raises(FileNotFoundError) as found:
        userns.call_in(ids(), stumble)
    assert found.value.filename == "/place"
    with pytest.raises(RuntimeError, match="a defect"):
        userns.call_in(ids(), err)
    with pytest.raises(userns.ChildDied, match="signal 9"):
        userns.call_in(ids(), vanish)


def nested():
    before = userns.read_map("/proc/self/uid_map")
    userns.enter_child(Ids([Range(5, 0, 1)], [Range(6, 0, 1)], "single", direct=True))
    return os.getuid(), os.getgid(), before[0][2]


def test_a_namespace_in_a_namespace():
    assert userns.call_in(ids(), nested) == (5, 6, 1)


def refused():
    userns.enter_child(Ids([Range(0, 77, 1)], [Range(0, 77, 1)], "range", direct=True))


def test_a_refused_map_of_a_nested_namespace():
    with pytest.raises(RlError, match="map"):
        userns.call_in(ids(), refused)


def test_the_maps_of_a_namespace():
    child = userns.start_in(ids(), os.read, _pipe(), 1)
    try:
        namespace = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY)
        assert userns.maps_of(namespace) == (ids().uids, ids().gids)
        around = userns.parent_of(namespace)
        assert os.path.sameopenfile(around, os.open("/proc/self/ns/user", os.O_RDONLY))
        assert not os.get_inheritable(around)
        os.close(namespace)
        os.close(around)
    finally:
        child.kill()


def _pipe():
    return os.pipe()[0]
