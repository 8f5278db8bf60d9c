"""The linters, and the limits of size that keep a module readable."""

import ast
import glob
import os
import shutil
import subprocess
import sys

import pytest

from support.command import TREE

LONGEST_MODULE = 600
LONGEST_FUNCTION = 60


def sources(*patterns):
    """Files of the tree that match, as relative paths."""
    found = []
    for pattern in patterns:
        found += glob.glob(pattern, root_dir=TREE, recursive=True)
    return sorted(path for path in found if not path.startswith(("build/", ".venv/", "dist/")))


def run(*words):
    """Run a tool in the tree: its output if it finds something, else an empty str."""
    beside = os.path.join(os.path.dirname(sys.executable), words[0])
    program = beside if os.path.exists(beside) else shutil.which(words[0])
    assert program, f"{words[0]} is missing: pip install '.[test]' brings it"
    done = subprocess.run(
        [program, *words[1:]], cwd=TREE, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr or "failed silently"


def test_ruff():
    # In a test run from a wheel rootless is a link, which is followed only if named.
    paths = ["setup.py", "man", "rootless", "tests"]
    found = run("ruff", "check", "--no-cache", "--output-format=concise", *paths)
    assert not found, found


def test_codespell():
    found = run("codespell", *sources("*.md", "**/*.md", "**/*.py", "**/*.c", "**/*.h",
                                      "**/*.sh", "**/*.toml", "man/*"))  # fmt: skip
    assert not found, found


def test_shellcheck():
    scripts = [".ci/run", *sources("tests/**/*.sh")]
    found = run("shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts)
    assert not found, found


def test_the_analyzer_finds_nothing_in_the_helpers(tmp_path):
    with open(f"{TREE}/helpers/cflags", encoding="utf-8") as file:
        flags = file.read().split()
    for source in sources("helpers/*.c"):
        found = run("gcc", *flags, "-fanalyzer", "-Werror", "-c", "-o", f"{tmp_path}/out", source)
        assert not found, found


def python_files():
    return sources("setup.py", "rootless/**/*.py", "tests/**/*.py", "man/**/*.py")


@pytest.mark.parametrize("path", python_files())
def test_modules_and_functions_are_short(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as file:
        text = file.read()
    assert text.count("\n") < LONGEST_MODULE, f"{path} is too long to hold in the head"
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            assert lines < LONGEST_FUNCTION, f"{path}:{node.lineno}: {node.name}: {lines} lines"


@pytest.mark.parametrize("path", sources("rootless/**/*.py"))
def test_public_names_are_described(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    assert ast.get_docstring(tree), f"{path} doesn't say what it is for"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}:{node.lineno}: {node.name}"
