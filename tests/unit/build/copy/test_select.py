"""What a source selects from a context, and the key of its content."""

import os

import pytest

from rootless.build.copy import apply, plan, select, sources, view
from rootless.build.copy.errors import NoSuchKind, NotFound, TooManyLinks, Unreadable
from rootless.build.language import ignore


@pytest.fixture
def context(workdir):
    """A directory, and a function that makes a file in it."""

    def make(path, content="", mode=0o644):
        full = f"{workdir}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content or path)
        os.chmod(full, mode)
        return full

    make.path = workdir
    return make


def selected(context, pattern, ignored="", exclude=(), parents=False):
    """[(base, [names])] of the selections."""
    patterns = ignore.read(ignored) if ignored else None
    descriptor = os.open(context.path, os.O_RDONLY)
    try:
        found = select.from_tree(
            view.Directory(descriptor, patterns), pattern,
            ignore.from_list(exclude) if exclude else None, parents,
        )  # fmt: skip
        return [
            (os.fsdecode(one.base), [os.fsdecode(item.name) for item in one.items])
            for one in found
        ]
    finally:
        os.close(descriptor)


def key(context, *patterns, ignored="", **how):
    patterns_of = ignore.read(ignored) if ignored else None
    step = plan.CopyStep(
        [sources.Tree(context.path, pattern, patterns_of) for pattern in patterns or ["."]],
        "/", **how,
    )  # fmt: skip
    return apply.digest(None, step)


def test_a_file_and_a_directory(context):
    context("a/b/c"), context("a-b"), context("a/z")
    assert selected(context, "a-b") == [("a-b", [""])]
    assert selected(context, "/a/../a//b/./c") == [("c", [""])]
    assert selected(context, "a") == [("a", ["", "b", "b/c", "z"])]
    assert selected(context, ".") == [("", ["", "a", "a/b", "a/b/c", "a/z", "a-b"])]


@pytest.mark.parametrize("pattern", ["missing", "a/missing", "x/y", "dangling"])
def test_what_is_not_there(context, pattern):
    context("x")
    os.symlink("nowhere", f"{context.path}/dangling")
    with pytest.raises(NotFound, match="the build context"):
        selected(context, pattern)


def test_nothing_leads_upwards(context):
    context("inside")
    assert selected(context, "../../inside") == [("inside", [""])]
    with pytest.raises(NotFound):
        selected(context, "../../etc/passwd")


def test_wildcards(context):
    for path in ("one.txt", "two.txt", "three.md", "d1/x", "d2/x", "d2/y", ".hidden"):
        context(path)
    assert [base for base, _ in selected(context, "*.txt")] == ["one.txt", "two.txt"]
    assert [base for base, _ in selected(context, "d?/x")] == ["x", "x"]
    assert selected(context, "d[2]") == [("d2", ["", "x", "y"])]
    assert selected(context, "none*") == []
    assert len(selected(context, "*")) == 6


def test_a_link_is_followed_as_a_source_and_kept_below(context):
    context("real/file")
    os.symlink("real", f"{context.path}/link")
    os.symlink("file", f"{context.path}/real/inner")
    os.symlink("/real/file", f"{context.path}/absolute")
    assert selected(context, "link") == [("link", ["", "file", "inner"])]
    assert selected(context, "absolute") == [("absolute", [""])]
    assert selected(context, "link/inner") == [("inner", [""])]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "/{no}"])
def test_no_link_leads_out_of_the_context(context, target):
    context("sub/x")
    os.symlink(target, f"{context.path}/sub/out")
    with pytest.raises(NotFound) as caught:
        selected(context, "sub/out")
    assert target in caught.value.advice
    os.symlink("/etc", f"{context.path}/etc-link")
    with pytest.raises(NotFound):
        selected(context, "etc-link/passwd")
    with pytest.raises(NotFound):
        key(context, "etc-link/passwd")
    # Below a directory it is a link, whose text is data.
    before = key(context, "sub")
    os.unlink(f"{context.path}/sub/out")
    os.symlink("elsewhere", f"{context.path}/sub/out")
    assert key(context, "sub") != before


def test_links_in_circles(context):
    os.symlink("two", f"{context.path}/one")
    os.symlink("one", f"{context.path}/two")
    with pytest.raises(TooManyLinks):
        selected(context, "one")
    assert [base for base, _ in selected(context, "on[e]x")] == []


def test_what_is_ignored_is_not_there(context):
    for path in ("keep", "drop.o", "d/drop.o", "d/keep", "out/a", "out/keep/b"):
        context(path)
    rules = "**/*.o\nout\n!out/keep\n"
    names = selected(context, ".", rules)[0][1]
    assert names == ["", "d", "d/keep", "keep", "out", "out/keep", "out/keep/b"]
    with pytest.raises(NotFound):
        selected(context, "drop.o", rules)
    with pytest.raises(NotFound):
        selected(context, "out/a", rules)
    assert selected(context, "d/*", rules) == [("keep", [""])]
    # A directory that only what isn't there would be in, isn't there either.
    assert selected(context, ".", "out\n!out/none\n")[0][1] == [
        "", "d", "d/drop.o", "d/keep", "drop.o", "keep"]  # fmt: skip


def test_exclude(context):
    for path in ("home.txt", "home.md", "src/a.txt", "src/b.md", "src/deep/c.txt"):
        context(path)
    assert [base for base, _ in selected(context, "hom*", exclude=["*.txt"])] == ["home.md"]
    assert selected(context, "src", exclude=["*.txt"]) == [
        ("src", ["", "b.md", "deep", "deep/c.txt"])]  # fmt: skip
    assert selected(context, "src", exclude=["**/*.txt"]) == [("src", ["", "b.md", "deep"])]
    assert selected(context, "src", exclude=["deep", "!deep/c.txt"]) == [
        ("src", ["", "a.txt", "b.md", "deep", "deep/c.txt"])]  # fmt: skip


def test_parents(context):
    for path in ("x/a/1.txt", "x/b/2.txt", "x/b/3.md", "y/4.txt"):
        context(path)
    assert selected(context, "x/a/1.txt", parents=True) == [("x/a/1.txt", [""])]
    assert selected(context, "x/./b/2.txt", parents=True) == [("b/2.txt", [""])]
    assert selected(context, "./x/**/*.txt", parents=True) == [
        ("x/a/1.txt", [""]), ("x/b/2.txt", [""])]  # fmt: skip
    assert selected(context, "*/./b", parents=True)[0] == ("b", ["", "2.txt", "3.md"])
    with pytest.raises(NotFound):
        selected(context, "x/./missing", parents=True)
    assert selected(context, "x/./b", parents=True, exclude=["b/*.md"]) == [("b", ["", "2.txt"])]
    assert selected(context, "x/./*/*", parents=True, exclude=["b", "a/1.txt"]) == []


def test_many_stars_are_quick(context):
    context("/".join("abcdefghijklmnopqrst") + "/file")
    found = selected(context, "/".join(["**", "*"] * 9) + "/file", parents=True)
    assert len(found) == 1
    assert selected(context, "/".join(["**"] * 30) + "/none", parents=True) == []


def test_sockets_are_left_out_devices_refused_fifos_kept(context):
    import socket

    context("file")
    os.mkfifo(f"{context.path}/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{context.path}/socket")
    try:
        assert selected(context, ".") == [("", ["", "fifo", "file"])]
        with pytest.raises(NoSuchKind, match="a socket"):
            selected(context, "socket")
        assert key(context)  # never waits for the FIFO's writer
    finally:
        os.unlink(f"{context.path}/socket")


def test_an_unreadable_file_is_named(context, monkeypatch):
    if os.geteuid() == 0:
        # Root reads everything: the error of the system is put in its place.
        real = os.open

        def refuse(path, *args, **how):
            if path in ("secret", b"secret"):
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **how)

        monkeypatch.setattr(os, "open", refuse)
    context("d/secret", mode=0)
    step = plan.CopyStep([sources.Tree(context.path, "d")], "/")
    with pytest.raises(Unreadable, match="'d/secret'"):
        apply._digest(step)


def test_the_key_is_of_names_and_contents_not_of_times(context):
    path = context("src/file", "one")
    context("src/other", "two")
    first = key(context, "src")
    os.utime(path, (1, 1))
    os.utime(f"{context.path}/src", (2, 2))
    assert key(context, "src") == first
    context("unrelated")
    assert key(context, "src") == first
    os.chmod(path, 0o600)
    assert key(context, "src") != first
    os.chmod(path, 0o644)
    assert key(context, "src") == first
    context("src/file", "ONE")
    assert key(context, "src") != first
    context("src/file", "one")
    os.rename(f"{context.path}/src/other", f"{context.path}/src/renamed")
    assert key(context, "src") != first


def test_the_key_of_a_clone_is_the_same(context):
    for top in ("one", "two"):
        context(f"{top}/src/file", "same")
        os.symlink("file", f"{context.path}/{top}/src/link")
    for pattern in ("src", "src/file", "src/*"):
        keys = set()
        for top in ("one", "two"):
            step = plan.CopyStep([sources.Tree(f"{context.path}/{top}", pattern)], "/")
            keys.add(apply.digest(None, step))
        assert len(keys) == 1


def test_ignored_files_are_not_in_the_key(context):
    context("src/file")
    first = key(context, "src", ignored="**/*.o")
    context("src/new.o")
    assert key(context, "src", ignored="**/*.o") == first
    assert key(context, "src") != first


def test_order_and_shape_count(context):
    context("a", "x"), context("b", "x"), context("d/a", "x")
    assert key(context, "a", "b") != key(context, "b", "a")
    assert key(context, "a") != key(context, "d")
    assert key(context, "a") != key(context, "b")


def test_odd_names(context):
    name = b"caf\xe9 \n\x01" + b"n" * 240
    with open(os.path.join(os.fsencode(context.path), name), "wb") as file:
        file.write(b"x")
    found = selected(context, ".")
    assert os.fsencode(found[0][1][1]) == name
    assert key(context)


def test_heredocs_count(context):
    def inline(data, name="f"):
        return apply.digest(None, plan.CopyStep([sources.Inline(name, data)], "/"))

    assert inline(b"a") == inline(b"a") != inline(b"b")
    assert inline(b"a") != inline(b"a", "g")
