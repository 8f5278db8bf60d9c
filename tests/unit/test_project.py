"""The project's own papers: what they name exists, and promises are kept."""

import glob
import os
import re
import sys

import pytest

import rootless
from support.command import TREE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def text(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as file:
        return file.read()


def project():
    return tomllib.loads(text("pyproject.toml"))["project"]


@pytest.mark.parametrize(
    "path", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", ".ci/run"]
)
def test_is_there(path):
    assert text(path).strip()


def test_the_licence_is_the_apache_licence():
    assert project()["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in text("LICENSE")


def test_the_changelog_names_this_version():
    assert re.search(rf"^## {re.escape(rootless.__version__)}\b", text("CHANGELOG.md"), re.M)


def test_targets_of_the_papers_exist():
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    for path in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^    |`)make ([a-z][a-z-]*)", text(path), re.M))
        assert named <= targets, f"{path} names {named - targets}"
    assert {"hello", "test", "test-unit", "lint", "bench", "wheel", "helpers", "clean",
            "dev"} <= targets  # fmt: skip


def test_phony_targets_are_all_targets():
    makefile = text("Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    phony = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split())
    assert phony == targets


def test_links_of_the_papers_lead_somewhere():
    for path in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)", text(path)):
            if "://" not in target:
                assert os.path.exists(os.path.join(TREE, target)), f"{path}: {target}"


def test_no_promise_is_left_open():
    words = ("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "NotImplemented" + "Error")
    wanted = re.compile(r"\b(" + "|".join(words) + r")\b")
    for pattern in ("rootless/**/*.py", "helpers/*.[ch]", "tests/**/*.py", "man/*", "*.md"):
        for path in glob.glob(pattern, root_dir=TREE, recursive=True):
            if os.path.isfile(os.path.join(TREE, path)):
                found = wanted.search(text(path))
                assert not found, f"{path}: {found[0]}"


def test_every_helper_has_its_flags_in_one_place():
    assert "cat cflags" in text("helpers/Makefile")
    assert "helpers/cflags" in text("setup.py")
    assert "-static" in text("helpers/cflags").split()


def test_conf_and_helpers_are_found():
    assert os.path.isfile(rootless.conf_path("rl.toml"))
    assert os.path.isabs(rootless.helpers_dir())
