"""COPY and ADD: the layer that a step makes, in both rungs, compared with unpacking it."""

import bz2
import gzip
import io
import lzma
import os
import socket
import tarfile

import pytest

from rootless.build.copy import apply, errors, plan, sources
from rootless.build.language import ignore
from rootless.kernel import userns
from rootless.runtime import users
from rootless.store import check, names
from rootless.store.tarread import BadArchive
from support import layers
from support.layers import Archive

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

OLD = 1_500_000_000


@pytest.fixture(params=layers.rungs())
def rung(request):
    return request.param


@pytest.fixture
def store(workdir, rung):
    opened = layers.fresh_store(f"{workdir}/store", rung)
    yield opened
    opened.tmp.release()
    assert os.listdir(opened.path("tmp")) == []
    opened.close()


@pytest.fixture
def context(workdir):
    """A function that makes a file of the context; ``context.path`` is its directory."""

    def make(path, content=b"", mode=0o644):
        full = f"{workdir}/context/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(content or path.encode())
        os.chmod(full, mode)
        os.utime(full, (OLD, OLD))
        return full

    make.path = f"{workdir}/context"
    os.mkdir(make.path)
    return make


@pytest.fixture
def copy(store, context):
    """A function that copies patterns of the context and gives the Made layer."""

    def run(*patterns, dest="/", base=(), ignored=None, times=None, **how):
        found = [
            one if not isinstance(one, str)
            else sources.Tree(context.path, one, ignored and ignore.read(ignored))
            for one in patterns
        ]  # fmt: skip
        step = plan.CopyStep(found, dest, store.layers.paths(base), **how)
        return Made(store, apply.apply(store, step, times))

    return run


class Made:
    """A layer: ``facts``, ``files`` {path: (kind, mode, owner, size, mtime, content)}."""

    def __init__(self, store, facts):
        self.store = store
        self.facts = facts
        self.id = facts["diff_id"]
        self.index = store.layers.index(self.id)
        with open(store.blobs.path(facts["blob"]), "rb") as file:
            self.tar = file.read()
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as archive:
            self.members = {member.name: member for member in archive}
        found = userns.call_in(store.ids, self._list, store.layers.path(self.id))
        self.files = {
            path: (*rest[:2], tuple(self.index["owners"].get(path, rest[2])), *rest[3:])
            for path, rest in found.items()
        }

    @staticmethod
    def _list(path):
        found = {}
        for at, inner, outer in os.walk(path):
            for name in inner + outer:
                full = os.path.join(at, name)
                status = os.lstat(full)
                content = None
                if os.path.islink(full):
                    content = os.readlink(full)
                elif status.st_mode & 0o170000 == 0o100000:
                    with open(full, "rb") as file:
                        content = file.read()
                found[os.path.relpath(full, path)] = (
                    status.st_mode >> 12, status.st_mode & 0o7777,
                    (status.st_uid, status.st_gid), status.st_size, int(status.st_mtime), content,
                )  # fmt: skip
        return found

    def mode(self, path):
        return self.files[path][1]

    def owner(self, path):
        return self.files[path][2]

    def content(self, path):
        return self.files[path][5]

    def is_sound(self):
        """What the store has is what unpacking the blob gives."""
        assert check.check_layer(self.store, self.id) is None
        other = layers.fresh_store(f"{self.store.root}-2", self.index["rung"])
        try:
            with other.layers.unpack(self.id) as unpack:
                unpack.write(self.tar)
                unpack.finish()
            again = other.layers.index(self.id)
            assert again == self.index
            with open(self.store.path("layers", self.id[7:], "entries"), "rb") as one:
                with open(other.path("layers", self.id[7:], "entries"), "rb") as two:
                    assert one.read() == two.read()
            assert userns.call_in(other.ids, self._list, other.layers.path(self.id)) == {
                path: (*rest[:2], userns_owner(self, path), *rest[3:])
                for path, rest in self.files.items()
            }
        finally:
            other.close()


def userns_owner(made, path):
    return (0, 0) if path in made.index["owners"] else made.owner(path)


def base_layer(store, *archives):
    return [layers.put(store, one) for one in archives]


# --- where it goes -------------------------------------------------------------------------


def test_a_tree(store, context, copy):
    context("src/one", b"1", 0o755), context("src/sub/two", b"2", 0o600)
    os.symlink("one", f"{context.path}/src/link")
    os.mkfifo(f"{context.path}/src/fifo")
    os.link(f"{context.path}/src/one", f"{context.path}/src/sub/same")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{context.path}/src/socket")
    os.mkdir(f"{context.path}/src/empty", 0o700)
    made = copy("src", dest="/opt/app")
    assert sorted(made.files) == [
        "opt", "opt/app", "opt/app/empty", "opt/app/fifo", "opt/app/link", "opt/app/one",
        "opt/app/sub", "opt/app/sub/same", "opt/app/sub/two",
    ]  # fmt: skip
    assert made.files["opt/app/one"][:5] == (8, 0o755, (0, 0), 1, OLD)
    assert made.mode("opt/app/sub/two") == 0o600 and made.mode("opt/app/empty") == 0o700
    assert made.mode("opt/app") == 0o755 and made.content("opt/app/link") == "one"
    assert made.members["opt/app/sub/same"].islnk()
    assert made.members["opt/app/sub/same"].linkname == "opt/app/one"
    assert made.content("opt/app/sub/same") == b"1"
    assert list(made.members) == sorted(made.members, key=lambda path: path.split("/"))
    made.is_sound()


@pytest.mark.parametrize("dest, wanted", [
    ("/there", "there/file"), ("/there/", "there/file"), ("/new", "new"),
    ("/new/", "new/file"), ("/new/deep/name", "new/deep/name"), ("/tolink", "there/file"),
    ("/dangling", "there/later"), ("rel", "work/rel"), (".", "work/file"), ("./", "work/file"),
    ("../up", "up"), ("/there/old", "there/old"), ("/there/../x/", "x/file"),
    ("/up/../y", "y"), ("/", "file"),
])  # fmt: skip
def test_where_a_file_goes(store, context, copy, dest, wanted):
    context("file", b"new")
    base = base_layer(
        store,
        Archive().directory("there", mode=0o1777, uid=0, gid=3).file("there/old", b"old")
        .directory("work").symlink("tolink", "/there").symlink("dangling", "there/later"),
    )  # fmt: skip
    made = copy("file", dest=dest, base=base, cwd="/work")
    assert made.content(wanted) == b"new"
    files_in = [path for path, facts in made.files.items() if facts[0] == 8]
    assert files_in == [wanted]
    if "there" in made.files:
        # A directory of the image that is told again stays what it is there.
        assert made.mode("there") == 0o1777 and made.owner("there") == (0, 3)
    made.is_sound()


def test_what_is_in_the_way(store, context, copy):
    context("dir/sub/x"), context("file"), context("tree/there")
    base = base_layer(
        store, Archive().directory("there").file("sub", b"a file").file("plain", b"x")
    )
    for pattern, dest in (("dir", "/"), ("tree", "/"), ("file", "/plain/x"), ("dir", "/plain"),
                          ("file", "/plain/")):  # fmt: skip
        with pytest.raises(errors.InTheWay):
            copy(pattern, dest=dest, base=base)
    assert copy("file", dest="/plain", base=base).content("plain") == b"file"


def test_a_directory_over_a_link_of_the_image_is_refused(store, context, copy):
    context("root/bin/tool")
    base = base_layer(
        store, Archive().directory("usr").directory("usr/bin").symlink("bin", "usr/bin")
    )
    with pytest.raises(errors.InTheWay, match="'/bin'"):
        copy("root", base=base)
    assert "usr/bin/tool" in copy("root/bin/tool", dest="/bin/", base=base).files


def test_links_of_the_image_lead_nowhere_outside(store, context, copy, workdir):
    context("file", b"new")
    victim = f"{workdir}/victim"
    os.mkdir(victim)
    base = base_layer(
        store,
        Archive().symlink("out", victim).symlink("up", "../../../../../../.." + victim)
        .symlink("passwd", "/etc/passwd").symlink("self", "/proc/self/root"),
    )  # fmt: skip
    for dest in ("/out/x", "/up/x", "/passwd", "/self/x"):
        made = copy("file", dest=dest, base=base)
        assert b"new" in [facts[5] for facts in made.files.values()]
    assert os.listdir(victim) == []


def test_links_in_circles(store, context, copy):
    context("file")
    base = base_layer(store, Archive().symlink("one", "two").symlink("two", "one"))
    with pytest.raises(errors.TooManyLinks):
        copy("file", dest="/one/x", base=base)


def test_several_sources(store, context, copy):
    context("a/x", b"first"), context("b/x", b"second"), context("b/y"), context("c")
    made = copy("a", "b", "c", dest="/d/")
    assert made.content("d/x") == b"second" and set(made.files) == {"d", "d/x", "d/y", "d/c"}
    with pytest.raises(errors.NoDirectory, match="/name"):
        copy("c", "b/y", dest="/name")
    with pytest.raises(errors.NoDirectory):
        copy("b/*", dest="/name")
    base = base_layer(store, Archive().directory("name"))
    assert set(copy("b/*", dest="/name", base=base).files) == {"name", "name/x", "name/y"}


def test_nothing_matches(store, context, copy):
    made = copy("none*", dest="/x/")
    assert set(made.files) == {"x"}
    with pytest.raises(errors.NotFound, match="'none'"):
        copy("none", dest="/x/")


def test_directories_of_the_image_that_come_again(store, context, copy):
    context("src/sub/file"), context("src/other/file")
    os.chmod(f"{context.path}/src/sub", 0o711)
    base = base_layer(
        store, Archive().directory("d", mode=0o700, uid=0, gid=5).directory("d/sub", mode=0o1777)
    )
    made = copy("src", dest="/d", base=base)
    # The contents of a directory are copied, not the directory; what is in it counts.
    assert made.mode("d") == 0o700 and made.owner("d") == (0, 5)
    assert made.mode("d/sub") == 0o711 and made.mode("d/other") == 0o755
    made.is_sound()


def test_link_does_not_look_at_the_image(store, context, copy):
    context("file", b"new")
    base = base_layer(store, Archive().directory("there", mode=0o700).symlink("l", "there"))
    times = plan.Times(created=OLD)
    made = copy("file", dest="/l/x", base=base, link=True, times=times)
    assert set(made.files) == {"l", "l/x"} and made.mode("l") == 0o755
    assert copy("file", dest="/l/x", link=True, times=times).id == made.id


def test_parents(store, context, copy):
    context("x/a/one.txt"), context("x/b/two.txt"), context("x/b/three.md")
    os.chmod(f"{context.path}/x/a", 0o750)
    made = copy("x/**/*.txt", dest="/to", parents=True)
    assert set(made.files) == {"to", "to/x", "to/x/a", "to/x/a/one.txt", "to/x/b", "to/x/b/two.txt"}
    assert made.mode("to/x/a") == 0o750
    assert set(copy("x/./b", dest="/", parents=True).files) == {"b", "b/two.txt", "b/three.md"}
    made.is_sound()


def test_exclude_and_ignore(store, context, copy):
    context("src/a.o"), context("src/b.c"), context("src/keep/c.o"), context("src/.git/config")
    made = copy("src", dest="/s", ignored=".git\n**/.git\n", exclude=["*.o"])
    assert set(made.files) == {"s", "s/b.c", "s/keep", "s/keep/c.o"}


# --- what it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("text, wanted", [
    ("7", (7, 7)), ("7:8", (7, 8)), ("app", (33, 44)), ("app:staff", (33, 50)),
    ("app:9", (33, 9)), ("7:staff", (7, 50)), ("0:0", (0, 0)),
])  # fmt: skip
def test_chown(store, context, copy, text, wanted):
    context("src/file"), context("src/sub/file")
    os.symlink("file", f"{context.path}/src/link")
    base = base_layer(
        store,
        Archive().directory("etc").directory("old").symlink("etc/passwd", "/old/passwd")
        .file("old/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:33:44::/:/bin/sh\n")
        .file("etc/group", b"staff:x:50:\n"),
    )  # fmt: skip
    made = copy("src", dest="/old/new", base=base, owner=text)
    for path in ("old/new", "old/new/file", "old/new/sub", "old/new/sub/file", "old/new/link"):
        assert made.owner(path) == wanted
    assert made.owner("old") == (0, 0)
    assert (made.members["old/new/file"].uid, made.members["old/new/file"].gid) == wanted
    made.is_sound()


def test_owners_that_are_not_there(store, context, copy):
    context("file")
    base = base_layer(store, Archive().directory("etc").file("etc/passwd", b"a:x:1:1::/:\n"))
    with pytest.raises(users.NoUser):
        copy("file", base=base, owner="nobody-here")
    with pytest.raises(users.NoGroup):
        copy("file", base=base, owner="a:none-here")
    with pytest.raises(users.BadId):
        copy("file", base=base, owner="4294967296")
    hostile = base_layer(store, Archive().directory("etc").add("etc/passwd", tarfile.FIFOTYPE))
    with pytest.raises(users.NoUser):
        copy("file", base=hostile, owner="a")


def test_an_owner_that_no_id_is_for(store, context, copy):
    context("file")
    made = copy("file", owner="2000000000:2000000001")
    assert made.owner("file") == (2000000000, 2000000001)
    assert made.members["file"].uid == 2000000000


def test_chmod(store, context, copy):
    context("src/run", mode=0o644), context("src/sub/x", mode=0o600)
    os.symlink("run", f"{context.path}/src/link")
    made = copy("src", dest="/p/q", mode="4711")
    assert made.mode("p/q/run") == 0o4711 and made.mode("p/q/sub") == 0o4711
    assert made.mode("p") == 0o755 and made.mode("p/q") == 0o755
    made = copy("src", dest="/p", mode="u=rwX,go=")
    assert made.mode("p/run") == 0o600 and made.mode("p/sub") == 0o700
    with pytest.raises(errors.BadMode):
        copy("src", dest="/p", mode="rw")
    made.is_sound()


def test_attributes_and_set_id_bits(store, context, copy):
    path = context("tool", mode=0o755)
    os.setxattr(path, "user.note", b"kept")
    os.setxattr(path, "user.overlay.opaque", b"y")
    os.chmod(path, 0o6755)
    made = copy("tool")
    assert made.mode("tool") == 0o6755
    records = made.members["tool"].pax_headers
    assert records == {"SCHILY.xattr.user.note": "kept"}
    made.is_sound()


def test_a_large_and_a_sparse_file(store, context, copy):
    data = os.urandom(70_000) * 50
    context("large", data)
    with open(f"{context.path}/sparse", "wb") as file:
        file.write(b"begin")
        file.seek(5 << 20)
        file.write(b"middle")
        file.truncate(9 << 20)
    with open(f"{context.path}/hole", "wb") as file:
        file.truncate(3 << 20)
    made = copy("large", "sparse", "hole", dest="/d/")
    assert made.content("d/large") == data
    with open(f"{context.path}/sparse", "rb") as file:
        assert made.content("d/sparse") == file.read()
    assert made.content("d/hole") == bytes(3 << 20)

    def blocks(path):
        return os.stat(f"{path}/d/sparse").st_blocks

    assert userns.call_in(store.ids, blocks, store.layers.path(made.id)) * 512 < 2 << 20
    assert made.facts["size"] > len(data) + (12 << 20)
    made.is_sound()


def test_names_that_would_delete(store, context, copy):
    for name in (".wh.file", ".wh..wh..opq"):
        context(f"src/{name}")
        with pytest.raises(errors.BadName):
            copy("src", dest="/x")
        with pytest.raises(errors.BadName):
            copy(f"src/{name}", dest="/x/")
        os.unlink(f"{context.path}/src/{name}")
    context("src/fine")
    with pytest.raises(errors.BadName):
        copy("src/fine", dest="/.wh.x/y")


def test_long_and_odd_names(store, context, copy):
    long = "n" * 250
    context(f"{long}/{long}/{long}", b"deep")
    odd = os.fsencode(context.path) + b"/caf\xe9 \n"
    with open(odd, "wb") as file:
        file.write(b"odd")
    made = copy(".", dest="/d")
    assert made.content(f"d/{long}/{long}/{long}") == b"deep"
    assert made.content(os.fsdecode(b"d/caf\xe9 \n")) == b"odd"
    assert names.text(b"caf\xe9") == "caf\udce9"
    made.is_sound()


# --- times ---------------------------------------------------------------------------------


def test_times(store, context, copy):
    path = context("src/file")
    first = copy("src", dest="/d/e", times=plan.Times(newest=OLD - 5))
    assert {member.mtime for member in first.members.values()} == {OLD - 5}
    os.utime(path, (OLD + 99, OLD + 99))
    assert copy("src", dest="/d/e", times=plan.Times(newest=OLD - 5)).id == first.id
    assert copy("src", dest="/d/e", times=plan.Times(newest=OLD - 4)).id != first.id
    made = copy("src", dest="/d/e", times=plan.Times(stamp=7))
    assert {member.mtime for member in made.members.values()} == {7}
    made = copy("src", dest="/d/e", times=plan.Times(created=77))
    assert made.members["d"].mtime == 77 and made.members["d/e/file"].mtime == OLD + 99
    made.is_sound()


def test_the_key_is_that_of_what_was_copied(store, context):
    context("src/file"), context("src/sub/x"), context("other")
    step = plan.CopyStep(
        [sources.Tree(context.path, "src"), sources.Tree(context.path, "*"),
         sources.Inline("inline", b"data")], "/d/",
    )  # fmt: skip
    key = apply.digest(store, step)
    assert apply.apply(store, step)["content"] == key
    context("src/sub/x", b"changed meanwhile")
    with pytest.raises(errors.ContentChanged):
        apply.apply(store, step)


# --- other sources -------------------------------------------------------------------------


def test_heredocs(store, copy):
    made = copy(sources.Inline("one", b"1\n"), sources.Inline("two", b""), dest="/etc/conf.d/",
                times=plan.Times(created=OLD))  # fmt: skip
    assert made.files["etc/conf.d/one"] == (8, 0o644, (0, 0), 2, OLD, b"1\n")
    assert made.content("etc/conf.d/two") == b""
    made = copy(sources.Inline("name", b"x"), dest="/run.sh", mode="755", owner="3:4")
    assert made.mode("run.sh") == 0o755 and made.owner("run.sh") == (3, 4)


def test_downloads(store, copy, workdir):
    with open(f"{workdir}/data", "w+b") as file:
        file.write(b"content")
        file.flush()
        made = copy(sources.Download("name", file.fileno(), OLD), dest="/d/")
        assert made.files["d/name"] == (8, 0o600, (0, 0), 7, OLD, b"content")
        made = copy(sources.Download("name", file.fileno(), OLD), dest="/other", mode="644")
        assert made.mode("other") == 0o644
        with pytest.raises(errors.NoName):
            copy(sources.Download("", file.fileno(), 0), dest="/d/")
        assert copy(sources.Download("", file.fileno(), 0), dest="/d").content("d") == b"content"


def test_layers_with_whiteouts_owners_and_links(store, copy, rung):
    ids = base_layer(
        store,
        Archive().directory("app", uid=7, gid=8).file("app/bin", b"v1", mode=0o4755, uid=7, gid=9)
        .file("app/gone", b"x").directory("app/old").file("app/old/x", b"x")
        .file("app/fifty", b"y", pax={"SCHILY.xattr.user.note": "value"})
        .add("app/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        Archive().file("app/.wh.gone").file("app/old/.wh..wh..opq").file("app/old/y", b"y")
        .symlink("app/link", "/app/bin"),
    )  # fmt: skip
    paths = store.layers.paths(ids)
    made = copy(sources.Layers(paths, "/app"), dest="/srv")
    assert set(made.files) == {"srv", "srv/bin", "srv/fifty", "srv/link", "srv/old", "srv/old/y"}
    assert made.owner("srv/bin") == (7, 9) and made.mode("srv/bin") == 0o4755
    assert made.owner("srv") == (0, 0)
    assert made.members["srv/fifty"].pax_headers["SCHILY.xattr.user.note"] == "value"
    assert made.members["srv/null"].ischr() and made.members["srv/null"].devminor == 3
    assert copy(sources.Layers(paths, "/app/bin"), dest="/b", owner="1:2").owner("b") == (1, 2)
    # A link as a source is followed inside the stage.
    assert copy(sources.Layers(paths, "app/link"), dest="/b").content("b") == b"v1"
    with pytest.raises(errors.NotFound):
        copy(sources.Layers(paths, "/app/gone"), dest="/x")
    with pytest.raises(errors.NotFound):
        copy(sources.Layers(paths, "/app/old/x"), dest="/x")
    made.is_sound()


def test_the_key_of_layers(store):
    def key(*archives, pattern="/app", **how):
        paths = store.layers.paths(base_layer(store, *archives))
        return apply.digest(store, plan.CopyStep([sources.Layers(paths, pattern)], "/", **how))

    one = Archive().directory("app").file("app/x", b"x").file("else", b"1")
    same = Archive().directory("app").file("app/x", b"x", mtime=5).file("else", b"2")
    owned = Archive().directory("app").file("app/x", b"x", uid=5)
    assert key(one) == key(same) != key(owned)
    assert key(one, owner="1") == key(owned, owner="1")
    layered = Archive().file("app/y", b"y"), Archive().file("app/.wh.y")
    assert key(one) == key(one, *layered)


def test_links_of_a_stage_stay_inside(store, copy):
    paths = store.layers.paths(base_layer(
        store, Archive().symlink("passwd", "/etc/passwd").symlink("up", "../../../etc/passwd")
    ))  # fmt: skip
    for name in ("passwd", "up"):
        with pytest.raises(errors.NotFound):
            copy(sources.Layers(paths, name), dest="/x")


# --- ADD's archives ------------------------------------------------------------------------


def archive_of(context, name="a.tar", archive=None, form=""):
    archive = archive or (
        Archive().directory("etc", mode=0o700).file("etc/conf", b"new", uid=7, gid=8, mode=0o640)
        .file("tmp/x", b"x").symlink("link", "etc/conf").link("hard", "etc/conf")
    )  # fmt: skip
    pack = {"": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[form]
    return context(name, pack(archive.data()))


@pytest.mark.parametrize("form", ["", "gzip", "bzip2", "xz"])
def test_add_extracts(store, context, copy, form):
    archive_of(context, form=form)
    base = base_layer(store, Archive().directory("tmp", mode=0o1777).directory("d"))
    made = copy("a.tar", dest="/", base=base, add=True)
    assert set(made.files) == {"etc", "etc/conf", "tmp", "tmp/x", "link", "hard"}
    assert made.owner("etc/conf") == (7, 8) and made.mode("etc/conf") == 0o640
    assert made.mode("etc") == 0o700
    # The archive says nothing about tmp: it stays what it is in the image.
    assert made.mode("tmp") == 0o1777
    assert made.members["hard"].islnk() or made.members["etc/conf"].islnk()
    made.is_sound()
    made = copy("a.tar", dest="/d/sub", base=base, add=True, owner="1:2")
    assert made.owner("d/sub/etc/conf") == (1, 2)


def test_what_is_not_extracted(store, context, copy):
    archive_of(context)
    assert set(copy("a.tar", dest="/").files) == {"a.tar"}
    assert set(copy("a.tar", dest="/", add=True, unpack=False).files) == {"a.tar"}
    context("empty.tar", bytes(1024)), context("text.tar.gz", b"no archive at all" * 99)
    context("text.gz", gzip.compress(b"text " * 999))
    for name in ("empty.tar", "text.tar.gz", "text.gz"):
        assert set(copy(name, dest="/", add=True).files) == {name}


def test_downloads_are_extracted_if_asked(store, context, copy):
    path = archive_of(context)
    with open(path, "rb") as file:
        got = sources.Download("a.tar", file.fileno(), 0)
        assert set(copy(got, dest="/d/", add=True).files) == {"d", "d/a.tar"}
        assert "d/etc/conf" in copy(got, dest="/d/", add=True, unpack=True).files


def test_an_archive_follows_directory_links_of_the_image_only(store, context, copy, workdir):
    archive_of(context, archive=Archive().directory("bin").file("bin/tool", b"t"))
    base = base_layer(
        store, Archive().directory("usr").directory("usr/bin").symlink("bin", "usr/bin")
    )
    assert "usr/bin/tool" in copy("a.tar", dest="/", base=base, add=True).files
    os.mkdir(f"{workdir}/victim")
    archive_of(context, "b.tar", Archive().symlink("out", f"{workdir}/victim").file("out/x", b"x"))
    made = copy("b.tar", dest="/", add=True)
    assert os.listdir(f"{workdir}/victim") == [] and made.facts["entries"] > 0


@pytest.mark.parametrize("archive", [
    Archive().file("../up", b"x"),
    Archive().file("a/../../up", b"x"),
    Archive().link("l", "/etc/passwd"),
    Archive().file(".wh.gone"),
    Archive().directory("d").file("d/.wh..wh..opq"),
], ids=["up", "up-inside", "hard-link", "whiteout", "opaque"])  # fmt: skip
def test_hostile_archives(store, context, copy, archive):
    archive_of(context, archive=archive)
    with pytest.raises((BadArchive, errors.BadName)):
        copy("a.tar", dest="/d/", add=True)
    assert store.layers.list() == []


def test_a_cut_archive(store, context, copy):
    context("a.tar", Archive().file("x", b"y" * 5000).data()[:3000])
    with pytest.raises(BadArchive):
        copy("a.tar", dest="/", add=True)


# --- what goes wrong on the way ------------------------------------------------------------


def test_unreadable(store, context, copy):
    context("src/secret", mode=0)
    # Root of the namespace reads what belongs to its user.
    assert copy("src", dest="/s").mode("s/secret") == 0


def test_a_file_that_grows_or_goes(store, context, monkeypatch):
    """What changes under our hands is an error that names the file, never a wrong layer."""
    from rootless.build.copy import writing

    context("src/file", b"x" * 100)
    # By descriptor: whoever copies has another root directory.
    home = os.open(f"{context.path}/src", os.O_RDONLY)
    real = writing.Opener.regular

    def grown(self, opened, place):
        file = os.open("file", os.O_WRONLY | os.O_APPEND, dir_fd=home)
        os.write(file, b"more")
        os.close(file)
        return real(self, opened, place)

    def replaced(self, opened, place):
        os.unlink("file", dir_fd=home)
        os.mkfifo("file", dir_fd=home)
        return real(self, opened, place)

    def late(self, opened, place):
        descriptor, status = real(self, opened, place)
        file = os.open("file", os.O_WRONLY, dir_fd=home)
        os.ftruncate(file, 3)
        os.close(file)
        return descriptor, status

    step = plan.CopyStep([sources.Tree(context.path, "src")], "/")
    monkeypatch.setattr(writing.Opener, "regular", grown)
    assert apply.apply(store, step)["bytes"] == 104  # it is what it was when it was read
    for change in (late, replaced):
        monkeypatch.setattr(writing.Opener, "regular", change)
        with pytest.raises(errors.SourceChanged, match="'src/file'"):
            apply.apply(store, step)
    os.close(home)
