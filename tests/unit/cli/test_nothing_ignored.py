"""No option is accepted and ignored: whoever offers one reads it somewhere."""

import ast
import os

import pytest

import rootless
from rootless.cli import help, options

PACKAGE = os.path.dirname(rootless.__file__)


def sources():
    for folder in ("engine", "cli"):
        for at, _, names in os.walk(f"{PACKAGE}/{folder}"):
            for name in names:
                if name.endswith(".py") and (folder == "engine" or name.startswith("cmd_")):
                    yield os.path.join(at, name)


def words():
    """Every attribute and every text in the modules of the verbs."""
    found = set()
    for path in sources():
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    # engine/health.py makes the names of its options of the names of its settings.
    found |= {"health_" + word.replace("-", "_") for word in found if "health_" in found}
    return found


USED = words()


@pytest.mark.parametrize("name", [name for name in help.offered()])
def test_options_are_read(name):
    rows = [row for row in options.find(name).options if row.unavailable is None]
    assert [row.names[-1] for row in rows if row.name not in USED] == []


def test_the_search_can_fail():
    assert "nope" not in USED and "volumes_from" in USED
