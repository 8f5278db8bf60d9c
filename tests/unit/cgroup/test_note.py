"""Which cgroup a container is found to have again, by where its pid 1 is."""

import pytest

from rootless.cgroup import files
from rootless.engine import cgroups

_ID = "1f" * 32


@pytest.mark.parametrize(("path", "wanted"), [
    (f"/a.slice/rl-{_ID}.scope/container", f"/a.slice/rl-{_ID}.scope/container"),
    (f"/job/rl-{_ID}/container", f"/job/rl-{_ID}/container"),
    (f"/a.slice/rl-{_ID}.scope/container/init.scope", f"/a.slice/rl-{_ID}.scope/container"),
    ("/a.slice/terminal.scope", None),
    (f"/a.slice/rl-{'2e' * 32}.scope/container", None),
    (None, None),
])  # fmt: skip
def test_where_it_is(tmp_path, monkeypatch, path, wanted):
    monkeypatch.setattr(files, "of_process", lambda pid: path)
    found = cgroups.note_again(str(tmp_path), _ID, 1)
    assert found == (wanted and files.TOP + wanted)
    if wanted:
        assert (tmp_path / cgroups.NAME).read_text() == found
    else:
        assert not (tmp_path / cgroups.NAME).exists()
