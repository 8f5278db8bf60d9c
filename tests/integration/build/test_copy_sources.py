"""COPY and ADD from elsewhere: heredocs, downloads, stages, archives; and what changes."""

import bz2
import gzip
import lzma
import os
import tarfile

import pytest

from rootless.build.copy import apply, errors, plan, sources
from rootless.store.tarread import BadArchive
from support.layers import Archive
from support.made import OLD, base_layer

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


# --- other sources -------------------------------------------------------------------------


def test_heredocs(store, copy):
    made = copy(sources.Inline("one", b"1\n"), sources.Inline("two", b""), dest="/etc/conf.d/",
                times=plan.Times(created=OLD))  # fmt: skip
    assert made.files["etc/conf.d/one"] == (8, 0o644, (0, 0), 2, OLD, b"1\n")
    assert made.content("etc/conf.d/two") == b""
    for name in ("..", ".", "", "a/b"):
        with pytest.raises(errors.NoName):
            copy(sources.Inline(name, b"x"), dest="/d/")
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
