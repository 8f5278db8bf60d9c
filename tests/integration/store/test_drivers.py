"""What every driver promises, over real mounts: one suite for all of them, in both rungs."""

import os
import shutil

import pytest

from rootless.kernel import userns
from rootless.store import check, export, merged
from rootless.store.drivers import mounting
from support import layers
from support.layers import Archive, contents, put

pytestmark = pytest.mark.integration


def base():
    return (
        Archive()
        .directory("./", mode=0o755)
        .directory("etc")
        .file("etc/passwd", b"root\n")
        .file("etc/hosts", b"lower\n")
        .directory("usr")
        .directory("usr/bin")
        .file("usr/bin/tool", b"tool", mode=0o4755)
        .symlink("bin", "usr/bin")
        .directory("deep")
        .directory("deep/er")
        .file("deep/er/one", b"1")
        .file("deep/two", b"2")
    )


def write(root, path, content):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=root), "wb") as f:
        f.write(content)


def content(root, path):
    with open(os.open(path, os.O_RDONLY, dir_fd=root), "rb") as file:
        return file.read()


def in_root(root, function, *args):
    os.fchdir(root)
    return function(*args)


def untouched(store, made):
    """The image's layers are what they were when they were unpacked."""
    for path in made.paths:
        layer = "sha256:" + path.split("/")[-2]
        assert check.check_layer(store, layer) is None


def test_a_new_file_goes_into_the_containers_layer(store, container):
    made = container(base())
    made.do(write, "etc/new", b"new")
    assert made.do(contents)["etc/new"] == b"new"
    assert made.changes() == [("/etc", "C"), ("/etc/new", "A")]
    assert "etc/new" not in container(store.layers.list()[0]).do(contents)
    untouched(store, made)


def test_reading_goes_from_the_top_down(container):
    made = container(
        base(),
        Archive().directory("etc").file("etc/hosts", b"middle\n").file("etc/only", b"middle"),
        Archive().directory("etc").file("etc/hosts", b"upper\n"),
    )
    found = made.do(contents, write=False)
    assert found["etc/hosts"] == b"upper\n"
    assert found["etc/only"] == b"middle"
    assert found["etc/passwd"] == b"root\n"
    assert made.changes() == []


def test_changing_copies_up(store, container):
    made = container(base())
    made.do(write, "etc/hosts", b"mine")
    assert made.do(contents)["etc/hosts"] == b"mine"
    assert ("/etc/hosts", "C") in made.changes()
    assert container(*store.layers.list()).do(contents)["etc/hosts"] == b"lower\n"
    untouched(store, made)


def test_a_changed_mode_is_a_change(store, container):
    made = container(base())
    made.do(in_root, os.chmod, "etc/hosts", 0o600)
    assert made.changes() == [("/etc", "C"), ("/etc/hosts", "C")]
    untouched(store, made)


def test_deleting_is_recorded_and_leaves_the_image(store, container):
    made = container(base())
    made.do(in_root, os.unlink, "etc/hosts")
    made.do(in_root, shutil.rmtree, "deep")
    found = made.do(contents)
    assert "etc/hosts" not in found and "deep" not in found and "deep/two" not in found
    assert made.changes() == [("/deep", "D"), ("/etc", "C"), ("/etc/hosts", "D")]
    assert container(*store.layers.list()).do(contents)["deep/er/one"] == b"1"
    untouched(store, made)


def test_a_directory_made_again_hides_what_was_in_it(store, container):
    made = container(base())
    made.do(in_root, shutil.rmtree, "deep")
    made.do(in_root, os.mkdir, "deep")
    made.do(write, "deep/fresh", b"f")
    found = made.do(contents)
    assert [path for path in found if path.startswith("deep/")] == ["deep/fresh"]
    assert made.changes() == [
        ("/deep", "C"), ("/deep/er", "D"), ("/deep/fresh", "A"), ("/deep/two", "D"),
    ]
    untouched(store, made)


def test_renames(store, container):
    made = container(base())
    made.do(in_root, os.rename, "etc/hosts", "etc/moved")
    # A kernel without redirect_dir answers EXDEV for directories: mv copies then.
    made.do(in_root, shutil.move, "deep", "elsewhere")
    found = made.do(contents)
    assert found["etc/moved"] == b"lower\n" and "etc/hosts" not in found
    assert found["elsewhere/er/one"] == b"1" and "deep" not in found
    assert [kind for path, kind in made.changes() if path == "/deep"] == ["D"]
    untouched(store, made)


def test_a_file_becomes_a_directory_and_back(store, container):
    made = container(base())
    made.do(in_root, os.unlink, "etc/hosts")
    made.do(in_root, os.mkdir, "etc/hosts")
    made.do(write, "etc/hosts/inside", b"x")
    made.do(in_root, shutil.rmtree, "deep")
    made.do(write, "deep", b"now a file")
    found = made.do(contents)
    assert found["etc/hosts/inside"] == b"x" and found["deep"] == b"now a file"
    assert made.changes() == [
        ("/deep", "C"), ("/etc", "C"), ("/etc/hosts", "C"), ("/etc/hosts/inside", "A"),
    ]
    untouched(store, made)


def same_file(root, first, second):
    return os.path.samestat(os.stat(first, dir_fd=root), os.stat(second, dir_fd=root))


def test_hard_links_of_an_image(store, container):
    made = container(Archive().directory("a").file("a/one", b"x").link("two", "a/one"))
    assert made.do(same_file, "a/one", "two", write=False)
    made.do(write, "a/one", b"changed")
    assert made.do(content, "a/one") == b"changed"
    untouched(store, made)


def test_hard_links_of_a_container(container):
    made = container(base())
    made.do(write, "one", b"x")
    made.do(in_root, os.link, "one", "etc/two")
    assert made.do(same_file, "one", "etc/two")


def test_whiteouts_between_layers(container):
    made = container(
        base(),
        Archive().directory("etc").file("etc/.wh.hosts").file(".wh.deep"),
        Archive().directory("deep").file("deep/new", b"n"),
    )
    found = made.do(contents, write=False)
    assert "etc/hosts" not in found and "etc/.wh.hosts" not in found
    assert [path for path in found if path.startswith("deep/")] == ["deep/new"]
    assert made.changes() == []


def test_an_opaque_directory_between_layers(container):
    made = container(
        base(),
        Archive().directory("deep").file("deep/.wh..wh..opq").file("deep/own", b"o"),
    )
    found = made.do(contents, write=False)
    assert [path for path in found if path.startswith("deep/")] == ["deep/own"]


def test_a_directory_over_a_whiteout_of_its_own_layer(container):
    made = container(base(), Archive().file(".wh.deep").directory("deep").file("deep/n", b"n"))
    found = made.do(contents, write=False)
    assert [path for path in found if path.startswith("deep/")] == ["deep/n"]


def test_what_comes_back_above_a_whiteout(container):
    made = container(
        base(), Archive().file(".wh.etc"), Archive().directory("etc").file("etc/back", b"b")
    )
    found = made.do(contents, write=False)
    assert [path for path in found if path.startswith("etc/")] == ["etc/back"]


def test_other_kinds_between_layers(container):
    made = container(
        base(),
        Archive().file("deep", b"file").directory("bin").file("bin/own", b"own"),
    )
    found = made.do(contents, write=False)
    assert found["deep"] == b"file" and "deep/two" not in found
    assert found["bin/own"] == b"own" and "bin/tool" not in found


def test_127_layers(container):
    stack = [base()]
    for number in range(126):
        stack.append(Archive().file("last", b"%d" % number).file(f"file{number}", b"%d" % number))
    made = container(*stack)
    found = made.do(contents, write=False)
    assert found["last"] == b"125" and found["file0"] == b"0" and found["etc/hosts"] == b"lower\n"
    made.do(write, "last", b"mine")
    assert made.changes() == [("/last", "C")]


def test_no_layers_at_all(container):
    made = container()
    assert made.do(contents) == {}
    made.do(write, "file", b"x")
    assert made.changes() == [("/file", "A")]


def root_mode(root):
    return os.fstat(root).st_mode & 0o7777


def test_the_root_directory_looks_as_the_topmost_layer_says(container):
    described = Archive().directory("./", mode=0o1750).file("f")
    silent = Archive().file("g")
    made = container(base(), described, silent)
    assert made.do(root_mode, write=False) == 0o1750
    assert container(Archive().file("h")).do(root_mode, write=False) == 0o755


def test_set_uid_bits_and_owners(store, container, rung):
    made = container(base(), Archive().file("owned", b"x", uid=7, gid=8, mode=0o6755))
    found = made.read()
    assert found["usr/bin/tool"][1] == 0o4755
    assert found["owned"][1:4] == ((0o6755, 7, 8) if rung == "range" else (0o6755, 0, 0))


def test_a_second_start_finds_what_the_first_left(container, driver):
    made = container(base(), volatile=driver != "clone")
    made.do(write, "etc/new", b"kept")
    again = made.driver.prepare(made.path, made.paths, volatile=True)
    assert again["driver"] == driver
    assert made.do(contents)["etc/new"] == b"kept"


def test_removing_leaves_nothing(container):
    made = container(base())
    made.do(in_root, os.makedirs, "x/y/z")
    made.do(in_root, os.chmod, "x/y", 0)
    made.driver.remove(made.path)
    assert os.listdir(made.path) == []
    made.driver.remove(made.path)


def odd(root):
    os.fchdir(root)
    with open(b"etc/\xff\xfe", "w"):
        pass
    os.symlink("t" * 300, "etc/long-link")
    os.makedirs("n" * 120 + "/" + "m" * 120)
    os.mkfifo("etc/fifo")
    os.setxattr("etc/hosts", "user.note", b"\0\xff")
    os.link("etc/hosts", "linked")
    os.chmod("etc/passwd", 0o2640)
    os.unlink("deep/two")
    shutil.rmtree("usr")
    os.mkdir("usr")
    os.mkdir("usr/local")


def test_commit_gives_a_layer_that_makes_the_same_tree(store, container, driver):
    made = container(base())
    made.do(odd)
    first, second = [], []
    for sink in (first, second):
        export.export_layer(store, made.driver, made.path, made.paths, sink.append)
    assert b"".join(first) == b"".join(second)
    with store.layers.adopt() as adopt:
        for piece in first:
            adopt.write(piece)
        facts = adopt.finish()
    assert store.blobs.has(facts["blob"])
    assert facts["diff_id"] == layers.diff_id(b"".join(first))
    again = container(layers.diff_id(base().data()), facts["diff_id"])
    assert again.read() == made.read()
    assert again.do(note) == b"\0\xff"
    if driver == "clone":
        assert again.do(same_file, "etc/hosts", "linked")


def note(root):
    os.fchdir(root)
    return os.getxattr("etc/hosts", "user.note")


def test_exporting_the_whole_tree(store, container):
    made = container(base(), Archive().file("etc/.wh.hosts"))
    made.do(write, "etc/new", b"new")
    pieces = []
    export.export_merged(made.driver, made.path, made.paths, pieces.append)
    again = container(put(store, b"".join(pieces)))
    assert again.read() == made.read()


def test_owners_that_could_not_be_set_come_back(store, container, rung):
    made = container(
        base(), Archive().file("srv", b"x", uid=5, gid=6).file("dat", b"y", uid=9, gid=9)
    )
    made.do(write, "srv", b"changed")
    pieces = []
    export.export_layer(store, made.driver, made.path, made.paths, pieces.append)
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        member = tar.getmember("srv")
    assert (member.uid, member.gid) == (5, 6)


def test_the_merged_reader_agrees_with_the_mount(store, container):
    made = container(
        base(),
        Archive().file(".wh.bin").directory("deep").file("deep/.wh..wh..opq"),
        Archive().directory("bin").file("bin/x", b"x").file("etc/.wh.passwd"),
    )

    def read():
        stacked = merged.stack(made.paths)
        found = [
            os.fsdecode(merged.join(path, name))
            for path, entries in stacked.walk() for name in entries
        ]
        stacked.close()
        return sorted(found)

    assert userns.call_in(store.ids, read) == sorted(made.do(contents, write=False))


# --- ids turned against the store's (keep-id) ------------------------------------------------


def owners(rootfs, target):
    root, server = mounting.mount_rootfs(rootfs, target)
    try:
        with open(os.open("made", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=root), "wb"):
            pass
        os.chown("made", 3, 4, dir_fd=root)
        return {path: facts[2:4] for path, facts in layers.listing(root).items()}
    finally:
        mounting.unmount(target, root, server)


@pytest.mark.parametrize("driver", ["fuse-overlayfs", "clone"])
@pytest.mark.parametrize("rung", [r for r in layers.rungs() if r == "range"])
def test_keep_id_shows_the_images_owners(store, container, workdir):
    from rootless.model.idmap import shift

    turned = layers.turned(store.ids, 1000)
    shifts = shift(turned.uids, store.ids.uids), shift(turned.gids, store.ids.gids)
    assert all(shifts)
    archive = Archive().file("root", b"").file("user", b"", uid=1000, gid=1000)
    archive.file("other", b"", uid=33, gid=33).file("high", b"", uid=60000, gid=50000)
    made = container(archive, shift_uids=shifts[0], shift_gids=shifts[1])
    target = f"{workdir}/target"
    os.mkdir(target)
    found = userns.call_in(turned, owners, made.rootfs, target, mount_ns=True)
    assert found == {
        "root": (0, 0), "user": (1000, 1000), "other": (33, 33), "high": (60000, 50000),
        "made": (3, 4),
    }
    pieces = []
    export.export_layer(store, made.driver, made.path, made.paths, pieces.append)
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        member = tar.getmember("made")
        assert tar.getnames() == ["made"]
    assert (member.uid, member.gid) == (3, 4)
