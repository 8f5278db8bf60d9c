"""The architecture, held over the syntax trees: who imports, forks and reads what."""

import ast
import os
import sys

import pytest

import rootless

PACKAGE = os.path.dirname(rootless.__file__)

# cli → engine → {runtime, network, image, build, store, cgroup} → {model, kernel}
LEVELS = {
    "cli": 4,
    "engine": 3,
    "build": 2,
    "cgroup": 2,
    "image": 2,
    "network": 2,
    "runtime": 2,
    "store": 2,
    "kernel": 1,
    "model": 1,
}
# Siblings that may know each other; the engine passes data between all others.
SIBLINGS = {
    ("build", "image"),
    ("build", "runtime"),
    ("build", "store"),
    ("image", "store"),
    ("kernel", "model"),
}
# Beside the layers: rootless itself (version, directories) and errors are for everybody.
SETTINGS_READERS = ("cli", "engine")
# Where other projects' modules may be used.
OTHERS = {
    "click": ("cli/",),
    "elftools": ("image/",),
    "isal": ("image/", "store/"),
    "pyroute2": ("network/",),
    "pyseccomp": ("runtime/profile.py",),
    "tomli": ("config.py",),
    "zstandard": ("image/", "store/"),
}
# Standard since Python 3.12 and 3.14; what imports them has another way for 3.10.
NEWER_STANDARD = ("_sha2", "compression")
ENVIRONMENT_READERS = ("cli/", "config.py", "__main__.py")
FORKERS = ("runtime/launch.py", "runtime/enter.py", "kernel/userns.py")
# unshare and autostart run programs of the host that somebody named or that are asked once.
SPAWNERS = ("kernel/process.py", "engine/unshare.py", "engine/autostart.py")


def modules():
    """Every module of the package: (path below it, syntax tree)."""
    for at, directories, names in os.walk(PACKAGE):
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(at, name)
                with open(path, encoding="utf-8") as file:
                    yield os.path.relpath(path, PACKAGE), ast.parse(file.read(), path)


MODULES = dict(modules())


def imports(tree):
    """(line, dotted name) of everything imported; a name imported from a package counts
    as below it, whether module or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def package_of(path):
    """The layer that a module belongs to, None beside the layers."""
    return path.split("/")[0] if "/" in path else None


def forbidden(own, imported):
    """Why the layer ``own`` may not import the dotted name, or None."""
    parts = imported.split(".")
    if parts[0] != "rootless" or len(parts) < 2 or own is None:
        return None
    other = parts[1]
    if other == "config" and own not in SETTINGS_READERS:
        return "only cli and engine know the settings"
    if other == own or other not in LEVELS or (own, other) in SIBLINGS:
        return None
    if LEVELS[other] >= LEVELS[own]:
        return f"{own} doesn't import {other}"
    return None


def dotted(node):
    """``os.environ`` for such an expression, else an empty str."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def uses(tree, names):
    """(line, name) of each use of one of the dotted names, imported in whichever way."""
    for node in ast.walk(tree):
        if dotted(node) in names:
            yield node.lineno, dotted(node)
    for line, name in imports(tree):
        if name in names:
            yield line, name


@pytest.mark.parametrize("path", sorted(MODULES))
def test_imports_go_one_way(path):
    own = package_of(path)
    assert own is None or own in LEVELS, f"{own} is no layer that DESIGN knows"
    wrong = [f"{path}:{line}: {name}: {why}" for line, name in imports(MODULES[path])
             if (why := forbidden(own, name))]  # fmt: skip
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", sorted(MODULES))
def test_other_projects_stay_where_they_belong(path):
    wrong = []
    for line, name in imports(MODULES[path]):
        top = name.split(".")[0]
        if top == "rootless" or top in sys.stdlib_module_names or top in NEWER_STANDARD:
            continue
        if not path.startswith(OTHERS.get(top, ())):
            wrong.append(f"{path}:{line}: {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", sorted(MODULES))
def test_only_cli_and_config_read_the_environment(path):
    if path.startswith(ENVIRONMENT_READERS):
        return
    found = list(uses(MODULES[path], {"os.environ", "os.environb", "os.getenv", "os.getenvb"}))
    assert not found, f"{path}: {found}"


@pytest.mark.parametrize("path", sorted(MODULES))
def test_only_few_modules_start_processes(path):
    tree = MODULES[path]
    if path not in FORKERS:
        forks = {"os.fork", "os.forkpty", "pty.fork", "multiprocessing.Process"}
        assert not list(uses(tree, forks)), path
    if path not in SPAWNERS:
        starts = {"os.posix_spawn", "os.posix_spawnp", "os.system", "os.popen",
                  "subprocess.run", "subprocess.Popen", "subprocess.check_output"}  # fmt: skip
        assert not list(uses(tree, starts)), path


def test_the_rules_catch_what_they_are_for():
    tree = ast.parse(
        "import rootless.cli.app\n"
        "from rootless.engine import images\n"
        "from os import environ\n"
        "import os\n"
        "def f():\n"
        "    from rootless.store import store\n"
        "    os.fork()\n"
    )
    names = [name for _, name in imports(tree)]
    assert [forbidden("network", name) is not None for name in names] == [
        True, True, False, False, True]  # fmt: skip
    assert forbidden("image", "rootless.store.store") is None
    assert forbidden("store", "rootless.image.pull")
    assert forbidden("model", "rootless.kernel.files")
    assert forbidden("runtime", "rootless.config")
    assert list(uses(tree, {"os.environ"})) == [(3, "os.environ")]
    assert list(uses(tree, {"os.fork"})) == [(7, "os.fork")]
