"""COPY: where files go and what they are there, in both rungs, compared with unpacking."""

import os
import socket
import tarfile

import pytest

from rootless.build.copy import apply, errors, plan, sources
from rootless.kernel import userns
from rootless.runtime import users
from rootless.store import names
from support import layers
from support.layers import Archive
from support.made import OLD, base_layer

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


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


def test_both_rungs_and_two_directories_make_the_same_layer(context, workdir):
    """Who builds, with which ids, in which clone and order of files: the digest is the same."""
    found = set()
    for number, rung in enumerate(layers.rungs() * 2):
        opened = layers.fresh_store(f"{workdir}/store{number}", rung)
        for name in ("b", "a", "c") if number % 2 else ("c", "a", "b"):
            context(f"clone{number}/src/{name}", name.encode())
        os.symlink("a", f"{context.path}/clone{number}/src/link")
        os.link(f"{context.path}/clone{number}/src/a", f"{context.path}/clone{number}/src/hard")
        for path, _, _ in os.walk(f"{context.path}/clone{number}"):
            os.utime(path, (OLD + number, OLD + number))
        tree = sources.Tree(f"{context.path}/clone{number}", "src")
        step = plan.CopyStep([tree], "/d/e", owner="7:8")
        times = plan.Times(newest=OLD, created=OLD)
        found.add((apply.digest(opened, step), apply.apply(opened, step, times)["diff_id"]))
        opened.close()
    assert len(found) == 1


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
