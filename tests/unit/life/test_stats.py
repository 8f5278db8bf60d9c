"""What rl stats reads of a cgroup."""

import pytest

from rootless.cgroup import files
from rootless.engine import stats

FILES = {
    "memory.current": "4096\n",
    "memory.max": "8192\n",
    "pids.current": "3\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=6 dios=0\n",
    "cgroup.procs": "11\n12\n",
}


@pytest.fixture
def group(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_the_files_say(group):
    use = stats.Use({})
    stats.read_cgroup(use, str(group))
    assert (use.cpu, use.memory, use.limit, use.tasks) == (2.5, 4096, 8192, 3)
    assert (use.read, use.written) == (15, 26)


def test_cache_that_can_be_dropped_is_not_use(group):
    (group / "memory.stat").write_text("anon 1\ninactive_file 1096\n")
    use = stats.Use({})
    stats.read_cgroup(use, str(group))
    assert use.memory == 3000
    (group / "io.stat").unlink()
    (group / "memory.max").write_text(f"{1 << 60}\n")
    use = stats.Use({})
    stats.read_cgroup(use, str(group))
    assert use.read is None, "without the controller nobody knows"
    assert use.limit == stats.machine_memory(), "a limit above it is none"


def test_no_limit_is_the_machines_memory(group):
    (group / "memory.max").write_text("max\n")
    use = stats.Use({})
    stats.read_cgroup(use, str(group))
    assert use.limit == stats.machine_memory()


def test_only_a_cgroup_of_its_own_counts(group, monkeypatch):
    real = files.read
    texts = {"/proc/11/cgroup": "1:name=systemd:/x\n0::/own\n"}
    monkeypatch.setattr(files, "read", lambda path: texts.get(path) or real(path))
    (group / "own").mkdir()
    for name, text in FILES.items():
        (group / "own" / name).write_text(text)
    top = str(group)
    assert stats.cgroup_of(11, {11, 12, 13}, top) == f"{top}/own"
    assert stats.cgroup_of(11, {11}, top) is None, "somebody else is in it"
    (group / "own/memory.current").unlink()
    assert stats.cgroup_of(11, {11, 12}, top) is None, "nobody measures memory"
