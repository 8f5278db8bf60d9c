"""What the ignore file hides from a bind mount: whiteouts, in directories like those below."""

import os
import stat
import sys

import pytest

from rootless.build.steps.run import Tree
from rootless.engine.build.step_mounts import _mask


@pytest.fixture
def masked(workdir):
    """A function: paths of files, what is ignored → {path: whether it is a whiteout}."""
    source, mask = f"{workdir}/source", f"{workdir}/mask"
    os.mkdir(source)
    os.mkdir(mask)

    def run(paths, ignored):
        for path in paths:
            os.makedirs(os.path.dirname(f"{source}/{path}"), exist_ok=True)
            open(f"{source}/{path}", "w", encoding="ascii").close()
        for number, (at, _, _) in enumerate(os.walk(source, topdown=False)):
            os.chmod(at, 0o750)
            os.utime(at, (number, number))
        tree = Tree(source, lambda path, directory: path.decode() in ignored)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(500)  # what makes the files above, and looks below, recurses
        try:
            run.found = _mask(tree, os.fsencode(source), os.fsencode(mask))
        finally:
            sys.setrecursionlimit(limit)
        seen = {}
        for at, directories, names in os.walk(mask):
            for name in [*directories, *names]:
                path = os.path.relpath(os.path.join(at, name), mask)
                mode = os.lstat(f"{mask}/{path}").st_mode
                seen[path] = stat.S_ISCHR(mode)
                if not seen[path]:
                    original = os.lstat(f"{source}/{path}")
                    assert stat.S_IMODE(mode) == 0o750
                    assert os.lstat(f"{mask}/{path}").st_mtime == original.st_mtime
        return seen

    run.source, run.mask = source, mask
    return run


def test_whiteouts_stand_where_something_is_hidden(masked):
    found = masked(["a", "keep", "d/one", "d/two/x", "e/f/g/h", "shown/x"],
                   {"a", "d/one", "e/f/g", "d/two/y"})  # fmt: skip
    assert found == {"a": True, "d": False, "d/one": True, "e": False, "e/f": False,
                     "e/f/g": True}  # fmt: skip
    assert masked.found


def test_nothing_hidden_is_no_mask(masked):
    assert masked(["a", "d/x"], set()) == {} and masked.found is False


def test_a_hidden_directory_is_not_looked_into(masked):
    assert masked(["d/x/y"], {"d", "d/x"}) == {"d": True}


def test_deep_directories(masked):
    path = "/".join("d" * 600)
    found = masked([f"{path}/hidden", f"{path}/shown"], {f"{path}/hidden"})
    assert found[f"{path}/hidden"] is True and len(found) == 601
