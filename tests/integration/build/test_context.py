"""Contexts that have to be fetched or unpacked, and what ADD fetches: also hostile ones."""

import bz2
import functools
import gzip
import hashlib
import http.server
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import threading

import pytest

from rootless.build.context import adding, opening, outside
from rootless.build.context import errors as wrong
from rootless.build.copy import apply, plan
from rootless.errors import RlError
from rootless.image.registry.http import BadRedirect
from rootless.store.tarread import BadArchive
from support import layers, tools
from support.layers import Archive

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

FILE = b"FROM scratch\nCOPY . /\n"


@pytest.fixture
def store(workdir):
    opened = layers.fresh_store(f"{workdir}/store")
    yield opened
    opened.tmp.release()
    assert os.listdir(opened.path("tmp")) == []
    opened.close()


@pytest.fixture
def world(store, workdir):
    """The Outside of a build, with a home directory of its own."""
    os.mkdir(f"{workdir}/home")
    environ = {"HOME": f"{workdir}/home", "PATH": os.environ["PATH"]}
    return outside.Outside(store, environ, tools.find, attempts=2, delay=0)


@pytest.fixture
def piped(world, workdir):
    """A function that makes bytes the standard input of the build."""
    opened = []

    def feed(data):
        with open(f"{workdir}/stdin", "wb") as file:
            file.write(data)
        world.stdin = os.open(f"{workdir}/stdin", os.O_RDONLY)
        opened.append(world.stdin)

    yield feed
    for descriptor in opened:
        os.close(descriptor)


def names_in(context):
    return sorted(os.listdir(context.path))


# --- archives ------------------------------------------------------------------------------


def an_archive():
    archive = Archive().directory(".").file("./Containerfile", FILE).directory("./src")
    return archive.file("./src/run", b"#!", mode=0o4755, uid=7).symlink("./link", "src/run").data()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress],
                         ids=["plain", "gzip", "bzip2", "xz"])  # fmt: skip
def test_an_archive_on_the_standard_input(world, piped, pack):
    piped(pack(an_archive()))
    with opening.open_context("-", world) as context:
        assert names_in(context) == ["Containerfile", "link", "src"]
        assert context.containerfile() == (FILE.decode(), "Containerfile")
        status = os.lstat(f"{context.path}/src/run")
        assert status.st_mode & 0o7777 == 0o4755 and status.st_uid == os.getuid()
        path = context.path
    assert not os.path.exists(path)


def test_an_archive_as_a_file(world, workdir):
    with open(f"{workdir}/context.tar.gz", "wb") as file:
        file.write(gzip.compress(an_archive()))
    with opening.open_context(f"{workdir}/context.tar.gz", world) as context:
        assert context.containerfile("src/../Containerfile")[0] == FILE.decode()


def test_a_containerfile_on_the_standard_input(world, piped):
    piped(FILE)
    with opening.open_context("-", world) as context:
        assert names_in(context) == []
        assert context.containerfile() == (FILE.decode(), "-")


@pytest.mark.parametrize("data", [
    b"\x7fELF\0\0\0", gzip.compress(b"text, no archive"), b"\x1f\x8b\x08 not gzip at all",
], ids=["binary", "text in gzip", "broken gzip"])  # fmt: skip
def test_neither_of_both(world, piped, data):
    piped(data)
    with pytest.raises((wrong.BadContextArchive, wrong.BadContainerfile)):
        opening.open_context("-", world)


@pytest.mark.parametrize("archive", [
    Archive().file("../up", b"x"),
    Archive().file("a/../../up", b"x"),
    Archive().link("hard", "../../etc/passwd"),
    Archive().link("hard", "/etc/passwd"),
    Archive().file(".wh.gone"),
    Archive().directory("d").file("d/.wh..wh..opq"),
    Archive().add("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
    Archive().file("/".join(["d" * 200] * 30), b"x"),
], ids=["up", "inside", "hard", "hard-root", "whiteout", "opaque", "device", "long"])  # fmt: skip
def test_hostile_archives(world, piped, archive):
    piped(archive.data())
    with pytest.raises((BadArchive, wrong.BadContextArchive)):
        opening.open_context("-", world)


def test_no_link_of_an_archive_leads_out(world, piped, workdir):
    os.mkdir(f"{workdir}/victim")
    archive = Archive().symlink("out", f"{workdir}/victim").file("out/x", b"x")
    archive.symlink("Containerfile", "/etc/passwd").symlink("inner", "../../../../../etc")
    piped(archive.data())
    with opening.open_context("-", world) as context:
        assert os.listdir(f"{workdir}/victim") == []
        with pytest.raises(wrong.BadContainerfile, match="leads out"):
            context.containerfile()
        step = plan.CopyStep([context.source("inner/passwd")], "/")
        with pytest.raises(RlError, match="no file 'inner/passwd'"):
            apply.digest(world.store, step)


def test_a_cut_archive(world, piped):
    piped(an_archive()[:1700])
    with pytest.raises(BadArchive):
        opening.open_context("-", world)


def test_a_bomb_stops_before_the_disk_is_full(world, piped, monkeypatch):
    from rootless.store import unpack

    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 40 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
        archive.addfile(tarfile.TarInfo("after"))
    packed = gzip.compress(data.getvalue(), 6)
    assert len(packed) < 1 << 18
    # As if the file system had nothing more to give.
    monkeypatch.setattr(unpack, "CHECK_EVERY", 1 << 20)
    monkeypatch.setattr(unpack, "_MIN_FREE", 1 << 60)
    piped(packed)
    with pytest.raises(unpack.NoSpace):
        opening.open_context("-", world)


# --- URLs ----------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers from ``pages``: path → (status, headers, body); notes what was asked."""

    def __init__(self, pages, asked, *rest):
        self.pages, self.asked = pages, asked
        super().__init__(*rest)

    def do_GET(self):
        self.asked.append((self.path, dict(self.headers)))
        found = self.pages.get(self.path) or self.pages.get(self.path.partition("?")[0])
        status, headers, body = found or (404, {}, b"")
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Site:
    def __init__(self):
        self.pages, self.asked = {}, []
        handler = functools.partial(_Handler, self.pages, self.asked)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}"

    def page(self, path, body, status=200, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, named, body)
        return self.url + path

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site(no_leaks):
    found = Site()
    yield found
    found.close()


def test_a_context_from_the_web(world, site):
    with opening.open_context(site.page("/c.tgz", gzip.compress(an_archive())), world) as context:
        assert names_in(context) == ["Containerfile", "link", "src"]
    with opening.open_context(site.page("/file", FILE), world) as context:
        assert context.containerfile()[0] == FILE.decode()
        assert names_in(context) == ["Dockerfile"]


def test_a_containerfile_from_the_web(world, site, workdir):
    os.mkdir(f"{workdir}/ctx")
    with opening.open_context(f"{workdir}/ctx", world) as context:
        url = site.page("/file", FILE)
        assert context.containerfile(url) == (FILE.decode(), url)
        with pytest.raises(wrong.DownloadFailed, match="too long"):
            context.containerfile(site.page("/long", b"", Content_Length=str(9 << 20)))


def test_what_a_server_may_do_wrong(world, site):
    with pytest.raises(wrong.DownloadFailed, match="404"):
        opening.open_context(f"{site.url}/missing", world)
    with pytest.raises(wrong.DownloadFailed, match="500"):
        opening.open_context(site.page("/broken", b"", 500), world)
    assert [path for path, _ in site.asked].count("/broken") == 2  # it is tried again
    cut = site.page("/cut", an_archive()[:3000], Content_Length="9999", Connection="close")
    with pytest.raises((wrong.DownloadFailed, BadArchive)):
        opening.open_context(cut, world)
    circle = site.page("/circle", b"", 302, Location="/circle")
    with pytest.raises(BadRedirect, match="10 times"):
        opening.open_context(circle, world)


@pytest.mark.parametrize("target", [
    "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/", "data:,FROM%20x",
])  # fmt: skip
def test_redirects_to_other_schemes(world, site, target):
    url = site.page("/away", b"", 302, Location=target)
    with pytest.raises(BadRedirect):
        opening.open_context(url, world)
    with adding.Fetched(world) as fetched, pytest.raises(BadRedirect):
        fetched.source(url)


def test_no_password_follows_a_redirect(world, site):
    other = Site()
    try:
        site.page("/a", b"", 302, Location=other.page("/b", b"content"))
        url = f"http://user:secret@{site.host}/a"
        with adding.Fetched(world) as fetched:
            assert fetched.source(url).read()[0] == 7
        assert site.asked[-1][1]["Authorization"].startswith("Basic ")
        assert "Authorization" not in other.asked[-1][1]
        assert "secret" not in str(other.asked)
        with pytest.raises(wrong.DownloadFailed) as caught:
            opening.open_context(f"http://user:secret@{site.host}/missing", world)
        assert "secret" not in caught.value.message
    finally:
        other.close()


def test_add_from_the_web(world, site):
    body = b"x" * 3000
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    url = site.page("/dir/na%20me.txt?query", body, Last_Modified="Sun, 09 Sep 2001 01:46:40 GMT")
    with adding.Fetched(world) as fetched:
        found = fetched.source(url, digest)
        assert (found.name, found.mtime) == ("na me.txt", 1_000_000_000)
        step = plan.CopyStep([found], "/d/", add=True)
        key = apply.digest(world.store, step)
        facts = apply.apply(world.store, step)
        assert facts["bytes"] == 3000 and facts["content"] == key
    with tarfile.open(world.store.blobs.path(facts["blob"])) as tar:
        member = tar.getmember("d/na me.txt")
        assert (member.mode, member.mtime, member.uid) == (0o600, 1_000_000_000, 0)
    with adding.Fetched(world) as fetched:
        with pytest.raises(wrong.WrongChecksum):
            fetched.source(url, "sha256:" + "0" * 64)
        for bad in ("md5:1", "sha256:xyz", "nonsense"):
            with pytest.raises(wrong.BadChecksum):
                fetched.source(url, bad)
        assert fetched.source(site.page("/", b"x")).name == ""
        assert fetched.source(site.page("/a/%2e%2e", b"x")).name == ""
        assert fetched.source(site.page("/a/b%2fc", b"x")).name == "c"


# --- git -----------------------------------------------------------------------------------


class Repository:
    """A git repository at ``path``."""

    def __init__(self, path):
        self.path = path
        self.url = f"file://{path}"
        os.makedirs(path)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words):
        environ = {"PATH": os.environ["PATH"], "HOME": self.path, "GIT_CONFIG_GLOBAL": "/dev/null"}
        who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c",
               "protocol.file.allow=always")  # fmt: skip
        done = subprocess.run(["git", "-C", self.path, *who, *words], env=environ, check=True,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout.strip()

    def commit(self, **files):
        for name, content in files.items():
            with open(f"{self.path}/{name}", "w", encoding="utf-8") as file:
                file.write(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(workdir):
    if shutil.which("git") is None:
        pytest.skip("git isn't installed")
    found = Repository(f"{workdir}/repository")
    found.first = found.commit(Containerfile="FROM scratch\n", one="1")
    found.git("tag", "v1")
    os.mkdir(f"{found.path}/sub")
    with open(f"{found.path}/sub/run", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{found.path}/sub/run", 0o700)
    found.second = found.commit(two="2")
    found.git("branch", "dev/x", "v1")
    return found


@pytest.mark.parametrize("fragment, wanted", [
    ("", ["Containerfile", "one", "sub", "two"]), ("#main", ["Containerfile", "one", "sub", "two"]),
    ("#v1", ["Containerfile", "one"]), ("#dev/x", ["Containerfile", "one"]),
    ("#refs/tags/v1", ["Containerfile", "one"]), ("?tag=v1", ["Containerfile", "one"]),
    ("?branch=dev/x", ["Containerfile", "one"]), ("#FIRST", ["Containerfile", "one"]),
    ("#SHORT", ["Containerfile", "one"]), ("#:sub", ["run"]), ("#main:/sub/.", ["run"]),
    ("?keep-git-dir=1#v1", [".git", "Containerfile", "one"]),
])  # fmt: skip
def test_git(world, repository, fragment, wanted):
    fragment = fragment.replace("FIRST", repository.first).replace("SHORT", repository.first[:10])
    before = os.umask(0o077)
    try:
        with opening.open_context(repository.url + fragment, world) as context:
            assert names_in(context) == wanted
            if wanted == ["run"]:
                assert os.stat(f"{context.path}/run").st_mode & 0o777 == 0o755
            elif ".git" not in wanted:
                # The modes that git knows, whatever the umask of who builds.
                assert os.stat(f"{context.path}/one").st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


@pytest.mark.parametrize("fragment, error", [
    ("#missing", wrong.GitFailed), ("#" + "0" * 40, wrong.GitFailed),
    ("#--upload-pack=touch pwned", wrong.BadGitUrl), ("#-h", wrong.BadGitUrl),
    ("#main:..", wrong.NoSubdirectory), ("#main:sub/../..", wrong.NoSubdirectory),
    ("#main:missing", wrong.NoSubdirectory), ("#main:one", wrong.NoSubdirectory),
    ("#main:out", wrong.NoSubdirectory), ("#main:inside", wrong.NoSubdirectory),
    ("#main:out/ssl", wrong.NoSubdirectory), ("#main:.git", wrong.NoSubdirectory),
    ("?commit=" + "0" * 40, wrong.WrongCommit),
])  # fmt: skip
def test_what_git_is_not_asked(world, repository, fragment, error):
    os.symlink("/etc", f"{repository.path}/out")
    os.symlink("sub", f"{repository.path}/inside")
    repository.commit()
    with pytest.raises(error):
        opening.open_context(repository.url + fragment, world)


def test_options_hidden_in_an_address(world, workdir):
    for where in (f"ssh://-oProxyCommand=touch%20{workdir}%2Fpwned/x", "git@-oProxyCommand=x:y",
                  f"file://{workdir}/--upload-pack=touch"):  # fmt: skip
        with pytest.raises((wrong.BadGitUrl, wrong.GitFailed)):
            opening.open_context(where, world)
    with pytest.raises(wrong.NoContext):
        opening.open_context(f"ext::sh -c 'touch {workdir}/pwned'", world)
    assert not os.path.exists(f"{workdir}/pwned")


def test_hooks_and_settings_of_a_repository_do_nothing(world, repository, workdir):
    for name in ("post-checkout", "post-merge", "reference-transaction"):
        path = f"{repository.path}/.git/hooks/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\ntouch {workdir}/pwned\n")
        os.chmod(path, 0o755)
    with opening.open_context(repository.url, world):
        pass
    assert not os.path.exists(f"{workdir}/pwned")


def test_a_submodule_cannot_be_a_directory_of_this_machine(world, repository, workdir):
    secret = Repository(f"{workdir}/secret")
    secret.commit(key="secret")
    repository.git("submodule", "add", secret.url, "module")
    repository.commit()
    with pytest.raises(wrong.GitFailed, match="submodules"):
        opening.open_context(repository.url, world)
    with opening.open_context(f"{repository.url}?submodules=0", world) as context:
        assert os.listdir(f"{context.path}/module") == []


def test_git_over_http_with_a_password(world, repository, site):
    """A server that only has files: no shallow fetch is possible, and it wants a password."""
    repository.git("repack", "-adq")
    repository.git("update-server-info")
    top = f"{repository.path}/.git"
    for at, _, names in os.walk(top):
        for name in names:
            with open(f"{at}/{name}", "rb") as file:
                site.page(f"/x.git{at.removeprefix(top)}/{name}", file.read())
    where = f"http://user:secret@{site.host}/x.git?keep-git-dir=1#v1"
    with opening.open_context(where, world) as context:
        assert names_in(context) == [".git", "Containerfile", "one"]
        for at, _, names in os.walk(f"{context.path}/.git"):
            for name in names:
                with open(f"{at}/{name}", "rb") as file:
                    assert b"secret" not in file.read()
    assert "/x.git/info/refs?service=git-upload-pack" in [path for path, _ in site.asked]
    with pytest.raises(wrong.GitFailed) as caught:
        opening.open_context(f"http://user:secret@{site.host}/y.git", world)
    assert "secret" not in caught.value.message + caught.value.advice


def test_without_git(world, repository):
    world.program = lambda name: None
    with pytest.raises(wrong.NoGit):
        opening.open_context(repository.url, world)


def test_add_from_git(world, repository):
    with adding.Fetched(world) as fetched:
        tree = fetched.source(f"{repository.url}#v1")
        facts = apply.apply(world.store, plan.CopyStep([tree], "/src", add=True))
        kept = fetched.source(f"{repository.url}#v1", keep_git_dir=True)
        assert os.listdir(f"/proc/self/fd/{kept.root}").count(".git") == 1
        with pytest.raises(wrong.WrongCommit):
            fetched.source(f"{repository.url}#v1", checksum=repository.second)
        fetched.source(f"{repository.url}#v1", checksum=repository.first)
    with tarfile.open(world.store.blobs.path(facts["blob"])) as tar:
        assert sorted(tar.getnames()) == ["src", "src/Containerfile", "src/one"]
