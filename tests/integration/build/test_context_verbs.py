"""rl build with contexts of all kinds, also hostile ones: what a person sees."""

import io
import os
import shutil
import socket
import subprocess
import tarfile

import pytest

from support.layers import Archive

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

FILE = "FROM scratch\nCOPY . /\n"


@pytest.fixture
def tree(workdir):
    """A function that makes a file below a directory, ``tree.path``."""

    def make(path, content="", mode=0o644):
        full = f"{workdir}/context/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content or path)
        os.chmod(full, mode)
        return full

    make.path = f"{workdir}/context"
    os.mkdir(make.path)
    return make


@pytest.fixture
def files_of(rl, workdir):
    """A function that builds and gives the files of the result: {path: content or None}."""

    def build(*words, **how):
        rl.ok("build", "-q", "-o", f"type=tar,dest={workdir}/out.tar", *words, **how)
        found = {}
        with tarfile.open(f"{workdir}/out.tar") as archive:
            for member in archive:
                data = archive.extractfile(member).read() if member.isreg() else None
                found[member.name.strip("/")] = data and data.decode("utf-8", "replace")
        return found

    return build


def test_a_directory_with_an_ignore_file(files_of, tree):
    tree("Containerfile", FILE), tree("keep"), tree("drop.o"), tree("logs/a"), tree("logs/keep")
    tree(".containerignore", "*.o\nlogs\n!logs/keep\nContainerfile\n.containerignore\n")
    assert files_of(tree.path) == {"keep": "keep", "logs": None, "logs/keep": "logs/keep"}
    tree("other", "logs/keep\n")
    found = files_of("--ignorefile", f"{tree.path}/other", tree.path)
    assert "drop.o" in found and "logs/keep" not in found


def test_the_standard_input(files_of, tree):
    tree("file")
    archive = Archive().file("My.file", FILE.encode()).file("sub/x", b"x")
    assert files_of("-f", "My.file", "-", input=archive.data())["sub/x"] == "x"
    text = "FROM scratch\nCOPY <<E /x\nhello\nE\n"
    assert files_of("-", input=text) == {"x": "hello\n"}
    assert files_of("-f", "-", tree.path, input=FILE) == {"file": "file"}


def test_git(files_of, rl, tree, workdir):
    if shutil.which("git") is None:
        pytest.skip("git isn't installed")
    tree("sub/Containerfile", FILE)
    run = ["git", "-C", tree.path, "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*run, *words], check=True, env={**os.environ, "HOME": workdir})
    assert files_of(f"file://{tree.path}#main:sub") == {"Containerfile": FILE}
    kept = files_of("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", f"file://{tree.path}#main",
                    "-f", "sub/Containerfile")  # fmt: skip
    assert ".git/HEAD" in kept and kept["sub/Containerfile"] == FILE
    rl.fails("build", f"file://{tree.path}#--upload-pack=x", says="no branch, tag or commit")
    rl.fails("build", f"file://{tree.path}#main:../..", says="leads upwards")


def test_a_named_context(files_of, tree, workdir):
    tree("Containerfile", "FROM scratch\nCOPY --from=more x /x\n")
    os.mkdir(f"{workdir}/more")
    with open(f"{workdir}/more/x", "w", encoding="utf-8") as file:
        file.write("more")
    assert files_of("--build-context", f"more={workdir}/more", tree.path) == {"x": "more"}


@pytest.mark.parametrize("source", ["out", "out/passwd", "deep/up"])
def test_no_link_leads_out(rl, files_of, tree, source):
    os.symlink("/etc", f"{tree.path}/out")
    os.mkdir(f"{tree.path}/deep")
    os.symlink("../../../../../../etc/passwd", f"{tree.path}/deep/up")
    tree("Containerfile", f"FROM scratch\nCOPY {source} /x\n")
    rl.fails("build", tree.path, says="Containerfile:2:6: no file")
    tree("Containerfile", "FROM scratch\nCOPY deep /x\n")
    with_links = files_of(tree.path)
    assert with_links == {"x": None, "x/up": None}


@pytest.mark.parametrize("name", ["Containerfile", ".containerignore", ".dockerignore"])
def test_no_file_that_steers_leads_out(rl, tree, workdir, name):
    tree("Containerfile", FILE)
    with open(f"{workdir}/secret", "w", encoding="utf-8") as file:
        file.write("secret")
    if name == "Containerfile":
        os.unlink(f"{tree.path}/{name}")
    os.symlink("../secret", f"{tree.path}/{name}")
    found = rl.fails("build", tree.path, says="leads out of the context")
    assert "secret" not in found.stderr


def test_odd_files(rl, files_of, tree):
    tree("Containerfile", "FROM scratch\nCOPY src /src\n")
    tree("src/file")
    os.mkfifo(f"{tree.path}/src/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(f"{tree.path}/src")
        server.bind("socket")
        os.chdir(here)
    assert set(files_of(tree.path)) == {"src", "src/file", "src/fifo"}
    tree("src/.wh.file")
    rl.fails("build", tree.path, says="names that begin with .wh.")
    tree("Containerfile", "FROM scratch\nCOPY src/socket /src\n")
    rl.fails("build", tree.path, says="a socket")


def test_archives(rl, files_of, tree):
    data = io.BytesIO(Archive().directory("d").file("d/x", b"x").data())
    with open(f"{tree.path}/a.tar", "wb") as file:
        file.write(data.getvalue())
    tree("Containerfile", "FROM scratch\nADD a.tar /to\nCOPY a.tar /\n")
    found = files_of(tree.path)
    assert found["to/d/x"] == "x" and "a.tar" in found
    with open(f"{tree.path}/a.tar", "wb") as file:
        file.write(Archive().file("../../up", b"x").data())
    rl.fails("build", tree.path, says="leads upwards")
    rl.fails("build", "-", input=Archive().file("../up", b"x").data(), says="leads upwards")


def test_what_is_not_there(rl, tree, workdir):
    rl.fails("build", f"{workdir}/missing", says="missing")
    rl.fails("build", tree.path, says="no Containerfile or Dockerfile")
    tree("Containerfile", "FROM scratch\nCOPY x* y /z/\n")
    rl.fails("build", tree.path, says="Containerfile:2:9: no file 'y'")
    rl.fails("build", "-f", "none", tree.path, says="it isn't there")
    rl.fails("build", "git@-x:y", says="git repository")
