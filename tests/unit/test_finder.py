"""How rl finds its own modules (rootless/finder.py): what is found is what importlib finds."""

import os
import subprocess
import sys
from importlib.machinery import PathFinder, SourceFileLoader

import pytest

import rootless
from rootless import finder

PACKAGE = os.path.dirname(os.path.abspath(rootless.__file__))
SOURCE = "value = {0}\n"


@pytest.fixture
def package(tmp_path):
    """A directory that has a package ``rootless`` with one module and one package below."""
    below = tmp_path / "rootless"
    (below / "part").mkdir(parents=True)
    for name in ("__init__.py", "plain.py", "part/__init__.py", "part/deep.py"):
        (below / name).write_text(SOURCE.format(repr(name)))
    return below


def run(package, body):
    """What a Python prints that finds rl's modules in ``package``, as the launcher starts it."""
    code = (
        f"import sys; sys.path.append({os.path.dirname(PACKAGE)!r})\n"
        "from rootless import finder\n"
        "for name in [name for name in sys.modules if name.startswith('rootless')]:\n"
        "    del sys.modules[name]\n"
        f"sys.path[-1] = {os.path.dirname(str(package))!r}\n"
        f"finder.install({str(package)!r})\n{body}"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["rootless.errors", "rootless.kernel", "rootless.kernel.files"])
def test_what_is_found_is_what_importlib_finds(name):
    own = finder.Finder(os.path.dirname(PACKAGE)).find_spec(name)
    theirs = PathFinder.find_spec(name, [os.path.join(PACKAGE, *name.split(".")[1:-1])])
    for attribute in ("name", "origin", "cached", "submodule_search_locations", "has_location"):
        assert getattr(own, attribute) == getattr(theirs, attribute), attribute
    assert isinstance(own.loader, SourceFileLoader)
    assert own.loader.get_source(name) == theirs.loader.get_source(name)


@pytest.mark.parametrize("name", ["os", "rootless", "rootlesser.x", "rootless.there_is_none"])
def test_the_rest_is_left_to_others(name):
    assert finder.Finder(os.path.dirname(PACKAGE)).find_spec(name) is None


def test_modules_and_packages(package):
    found = run(package, "import rootless.part.deep as deep, rootless.plain as plain\n"
                "import rootless.part\n"
                "print(deep.value, plain.value, rootless.part.value, plain.__file__, "
                "plain.__cached__, type(plain.__loader__).__module__)")  # fmt: skip
    tag = sys.implementation.cache_tag
    assert found.split() == [
        "part/deep.py", "plain.py", "part/__init__.py", f"{package}/plain.py",
        f"{package}/__pycache__/plain.{tag}.pyc", "rootless.finder",
    ]  # fmt: skip


def test_the_compiled_form_is_what_runs(package):
    """The source is replaced by another of the same time and size: nobody reads it."""
    value = "from rootless.plain import value\nprint(value)"
    assert run(package, value) == "plain.py"
    source = package / "plain.py"
    before = source.stat()
    source.write_text(SOURCE.format("'other.py'"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(package, value) == "plain.py"


@pytest.mark.parametrize("change", ["newer", "older", "longer", "damaged", "by hash"])
def test_a_compiled_form_of_something_else_counts_for_nothing(package, change):
    value = "from rootless.plain import value\nprint(value)"
    assert run(package, value) == "plain.py"
    source = package / "plain.py"
    status = source.stat()
    cached = package / "__pycache__" / f"plain.{sys.implementation.cache_tag}.pyc"
    text = "'other.py' " if change == "longer" else "'other.py'"
    source.write_text(SOURCE.format(text))
    seconds = {"newer": 5, "older": -5}.get(change, 0)
    moved = status.st_mtime_ns + seconds * 1_000_000_000
    os.utime(source, ns=(moved, moved))
    content = bytearray(cached.read_bytes())
    if change == "damaged":
        content[0] ^= 1
    elif change == "by hash":
        content[4] = 3
        content[8:16] = bytes(8)
    cached.write_bytes(content[:4] if change == "damaged" else content)
    expected = "other.py"
    assert run(package, value) == expected


def test_without_compiled_forms(package):
    assert run(package, "sys.dont_write_bytecode = True\n"
               "from rootless.plain import value\nprint(value)") == "plain.py"  # fmt: skip
    assert not (package / "__pycache__").exists()


def test_the_launched_rl_uses_it():
    body = (
        f"import sys; sys.path.append({os.path.dirname(PACKAGE)!r})\n"
        "sys.argv[:] = ['rl', '--version']\n"
        "import os; os._exit = lambda code: print(*map(type, sys.meta_path))\n"
        "from rootless.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", body], capture_output=True, text=True, check=True
    )
    assert "rootless.finder.Finder" in done.stdout
