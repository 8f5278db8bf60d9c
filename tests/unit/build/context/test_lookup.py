"""Which Containerfile and which ignore file hold, and which must not be read."""

import os

import pytest

from rootless.build.context import lookup, opening
from rootless.build.context.errors import (
    BadContainerfile,
    BadIgnoreFile,
    NoContainerfile,
    NoContext,
    StdinTwice,
)


@pytest.fixture
def tree(workdir, monkeypatch):
    """A function that makes a file below the working directory, which has a directory ctx."""

    def make(path, content=""):
        full = f"{workdir}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content or path)
        return full

    os.mkdir(f"{workdir}/ctx")
    monkeypatch.chdir(workdir)
    make.path = workdir
    return make


class Nowhere:
    """An outside that nothing is asked of."""

    def __init__(self, stdin=-1):
        self.stdin = stdin


def opened(ignorefile=None, stdin=-1):
    return opening.open_context("ctx", Nowhere(stdin), ignorefile)


def read(name=None, **how):
    with opened(**how) as context:
        return context.containerfile(name)


def rules(name=None, ignorefile=None):
    with opened(ignorefile) as context:
        context.containerfile(name)
        return context.ignore.texts if context.ignore is not None else None


def test_default_names(tree):
    with pytest.raises(NoContainerfile, match="in ctx"):
        read()
    tree("ctx/Dockerfile", "D")
    assert read() == ("D", "Dockerfile")
    tree("ctx/Containerfile", "C")
    assert read() == ("C", "Containerfile")


def test_a_named_one(tree):
    tree("ctx/Containerfile")
    tree("ctx/sub/My.file", "in the context")
    assert read("sub/My.file") == ("in the context", "sub/My.file")
    assert read("ctx/sub/My.file")[0] == "in the context"
    tree("sub/My.file", "in the working directory")
    assert read("sub/My.file")[0] == "in the working directory"
    assert read(f"{tree.path}/sub/My.file")[0] == "in the working directory"
    with pytest.raises(BadContainerfile, match="it isn't there"):
        read("missing")
    with pytest.raises(BadContainerfile, match="it isn't there"):
        read("../../../../missing")


def test_a_named_directory(tree):
    tree("ctx/sub/Dockerfile", "S")
    tree("other/Containerfile", "O")
    assert read("sub")[0] == "S" and read("other")[0] == "O"


@pytest.mark.parametrize("target", [
    "/etc/passwd", "../secret", "../../../../../../../etc/passwd", "sub/../../secret",
])  # fmt: skip
@pytest.mark.parametrize("name", [None, "Containerfile", "ctx/Containerfile"])
def test_a_containerfile_that_leads_out_is_refused(tree, target, name):
    tree("secret", "FROM secret")
    tree("ctx/sub/x")
    os.symlink(target, "ctx/Containerfile")
    with pytest.raises(BadContainerfile, match="leads out of the context"):
        read(name)


def test_a_directory_of_the_context_that_leads_out_is_refused(tree):
    tree("outside/Containerfile", "FROM secret")
    os.symlink("../outside", "ctx/sub")
    for name in ("sub/Containerfile", "ctx/sub/Containerfile"):
        with pytest.raises(BadContainerfile, match="leads out of the context"):
            read(name)


def test_a_link_inside_is_followed(tree):
    tree("ctx/sub/real", "R")
    os.symlink("sub/real", "ctx/Containerfile")
    assert read()[0] == "R"


def test_odd_containerfiles(tree):
    os.mkfifo("ctx/Containerfile")
    with pytest.raises(BadContainerfile, match="not an ordinary file"):
        read()
    os.unlink("ctx/Containerfile")
    os.mkdir("ctx/Containerfile")
    with pytest.raises((BadContainerfile, NoContainerfile)):
        read()
    os.rmdir("ctx/Containerfile")
    with open("ctx/Containerfile", "wb") as file:
        file.truncate(lookup.LIMIT + 1)
    with pytest.raises(BadContainerfile, match="longer than"):
        read()


def test_from_the_standard_input(tree):
    reading, writing = os.pipe()
    os.write(writing, b"\xef\xbb\xbfFROM scratch\n")
    os.close(writing)
    assert read("-", stdin=reading) == ("FROM scratch\n", "-")
    os.close(reading)
    context = opened()
    context.shown = "-"
    with pytest.raises(StdinTwice):
        context.containerfile("-")
    context.close()


def test_ignore_files(tree):
    tree("ctx/Containerfile")
    assert rules() is None
    tree("ctx/.dockerignore", "docker\n")
    assert rules() == ["docker"]
    tree("ctx/.containerignore", "container\n")
    assert rules() == ["container"]
    tree("ctx/Containerfile.dockerignore", "beside\n")
    assert rules() == ["beside"]
    tree("ctx/Containerfile.containerignore", "beside-first\n")
    assert rules() == ["beside-first"]
    tree("named", "named\n")
    assert rules(ignorefile="named") == ["named"]
    tree("out/My.file"), tree("out/My.file.dockerignore", "mine\n")
    assert rules("out/My.file") == ["mine"]
    tree("ctx/sub/F"), tree("ctx/sub/F.dockerignore", "sub\n")
    assert rules("sub/F") == ["sub"]


@pytest.mark.parametrize("name", [
    ".dockerignore", ".containerignore", "Containerfile.dockerignore",
])  # fmt: skip
def test_an_ignore_file_that_leads_out_is_refused(tree, name):
    tree("ctx/Containerfile")
    tree("secret", "secret\n")
    os.symlink("../secret", f"ctx/{name}")
    with pytest.raises(BadIgnoreFile, match="leads out of the context"):
        rules()


def test_odd_ignore_files(tree):
    tree("ctx/Containerfile")
    os.mkfifo("ctx/.dockerignore")
    with pytest.raises(BadIgnoreFile, match="not an ordinary file"):
        rules()
    with pytest.raises(BadIgnoreFile, match="missing"):
        rules(ignorefile="missing")
    os.unlink("ctx/.dockerignore")
    tree("ctx/.dockerignore", "# nothing\n\n")
    assert rules() is None


def test_what_is_no_context(tree):
    tree("file", "text")
    for where in ("file", "missing", "ctx/Containerfile/x"):
        with pytest.raises(NoContext, match=where):
            opening.open_context(where, Nowhere())
    os.mkfifo("fifo")
    with pytest.raises(NoContext):
        opening.open_context("fifo", Nowhere())


def test_without_openat2(tree, monkeypatch):
    """Before Linux 5.6 no link is followed at all."""

    def none(*args, **how):
        raise OSError(38, "Function not implemented")

    tree("ctx/sub/F", "F")
    os.symlink("sub/F", "ctx/Containerfile")
    monkeypatch.setattr(lookup.files, "openat2", none)
    assert read("sub/F")[0] == "F"
    with pytest.raises(BadContainerfile):
        read()
