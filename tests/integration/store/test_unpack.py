"""Unpacking: what archives may hold, and what hostile ones can't do."""

import hashlib
import os
import tarfile

import pytest

from rootless.errors import RlError
from rootless.kernel import files, userns
from rootless.store import check, unpack, unpacker
from rootless.store.codec import BadCompression
from rootless.store.digests import WrongDigest
from rootless.store.tarread import BadArchive
from support import images, layers
from support.layers import TIME, Archive, diff_id, packed, put

pytestmark = pytest.mark.integration


def look(store, layer):
    """The tree of a layer as root of the namespace sees it."""

    def read(path):
        root = os.open(path, files.DIRECTORY)
        return layers.listing(root)

    return userns.call_in(store.ids, read, store.layers.path(layer))


def lstat(store, layer, name):
    def read(path):
        status = os.lstat(path)
        return status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink, status.st_blocks

    return userns.call_in(store.ids, read, f"{store.layers.path(layer)}/{name}")


def nothing_left(store):
    assert [n for n in os.listdir(store.path("tmp")) if not n.startswith("hold-")] == []
    assert store.layers.list() == []


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_kinds_in_all_formats(store, form):
    long = "d" * 60 + "/" + "e" * 60
    if form != tarfile.USTAR_FORMAT:
        long += "/" + "f" * 200
    archive = Archive(form).directory("dir", mode=0o1777).file("dir/file", b"x" * 5000, mode=0o4755)
    archive.symlink("link", "dir/file").link("hard", "dir/file").add("fifo", tarfile.FIFOTYPE)
    archive.file(long, b"long").file("empty")
    layer = put(store, archive)
    found = look(store, layer)
    assert found["dir"][1] == 0o1777
    assert found["dir/file"][1] == 0o4755 and found["dir/file"][4] == b"x" * 5000
    assert found["link"][4] == "dir/file" and found["hard"][4] == b"x" * 5000
    assert found["fifo"][0] == 0o010000
    assert found[long][4] == b"long" and found["empty"][4] == b""
    mode, _, mtime, links, _ = lstat(store, layer, "dir/file")
    assert mtime == TIME * 10**9 and links == 2
    assert lstat(store, layer, "dir")[2] == TIME * 10**9
    assert lstat(store, layer, "link")[2] == TIME * 10**9
    assert check.check_layer(store, layer) is None


def test_times_have_nanoseconds(store):
    archive = Archive().file("a", pax={"mtime": "1350244992.023960108"})
    archive.file("b", pax={"mtime": "-5.5"}).file("c", mtime=-7)
    layer = put(store, archive)
    assert lstat(store, layer, "a")[2] == 1350244992023960108
    assert lstat(store, layer, "b")[2] == -5500000000
    assert lstat(store, layer, "c")[2] == -7 * 10**9


def test_owners(store, rung):
    archive = Archive().file("a", uid=7, gid=8).directory("d", uid=9).symlink("l", "a")
    archive.file("far", uid=4_000_000_000, gid=1)
    layer = put(store, archive)
    found, index = look(store, layer), store.layers.index(layer)
    if rung == "range":
        assert found["a"][2:4] == (7, 8) and found["d"][2:4] == (9, 0)
        assert index["owners"] == {"far": [4_000_000_000, 1]} and index["unmapped"] == 1
    else:
        assert found["a"][2:4] == (0, 0)
        assert index["owners"] == {
            "a": [7, 8], "d": [9, 0], "far": [4_000_000_000, 1],
        }


def test_attributes(store):
    pax = {
        "SCHILY.xattr.user.note": "value",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.redirect": "/etc",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.fuseoverlayfs.override_stat": "0:0:0777",
        "SCHILY.xattr.user.containers.override_stat": "0:0:0777",
        "SCHILY.xattr.user.rootlesscontainers": "x",
        "SCHILY.xattr.security.selinux": "x",
        "LIBARCHIVE.xattr.user.from%20far": "AP8=",
    }
    layer = put(store, Archive().file("f", b"x", pax=pax).directory("d", pax=pax))

    def read(path):
        found = {}
        for name in ("f", "d"):
            at = f"{path}/{name}"
            found[name] = {key: os.getxattr(at, key) for key in os.listxattr(at)}
        return found

    found = userns.call_in(store.ids, read, store.layers.path(layer))
    wanted = {"user.note": b"value", "user.from far": b"\0\xff"}
    assert found == {"f": wanted, "d": wanted}


def test_capabilities_of_files(store):
    # VFS_CAP_REVISION_2, effective, CAP_NET_BIND_SERVICE: see capabilities(7).
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    pax = {"SCHILY.xattr.security.capability": value.decode("latin-1")}
    assert max(value) < 0x80
    layer = put(store, Archive().file("tool", b"x", mode=0o755, uid=0, pax=pax))

    def read(path):
        return os.getxattr(f"{path}/tool", "security.capability")

    assert userns.call_in(store.ids, read, store.layers.path(layer))[4:12] == value[4:12]


def test_without_user_attributes_the_index_is_enough(store, monkeypatch):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    base = put(store, Archive().directory("d").file("d/old", b"o"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "setxattr", refuse)
        patch.setattr(os, "mknod", refuse)
        archive = Archive().directory("d").file("d/.wh..wh..opq").file("d/new", b"n")
        layer = put(store, archive.file(".wh.gone").file("x", pax={"SCHILY.xattr.user.a": "b"}))
    index = store.layers.index(layer)
    assert index["opaques"] == ["d"] and index["whiteouts"] == ["gone"]
    assert index["xattrs"] == {"x": {"user.a": b"b".hex()}}
    made = layers.Container(store, store.path("containers", "c"), "clone", [base, layer])
    assert sorted(made.do(layers.contents)) == ["d", "d/new", "x"]
    assert made.changes() == []


def test_devices_are_noted_not_made(store):
    archive = Archive().directory("dev")
    archive.add("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    archive.add("dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o660, gid=6)
    archive.add("dev/fake", tarfile.CHRTYPE, devmajor=0, devminor=0)
    layer = put(store, archive)
    assert sorted(look(store, layer)) == ["dev"]
    index = store.layers.index(layer)
    assert index["devices"]["dev/sda"] == ["4", 0o660, 0, 6, 8, 0, TIME * 10**9]
    assert sorted(index["devices"]) == ["dev/fake", "dev/null", "dev/sda"]
    assert index["whiteouts"] == []


def test_later_entries_replace_earlier_ones(store):
    archive = Archive().file("a", b"one").directory("d").file("d/x", b"x").symlink("l", "d")
    archive.file("a", b"two").file("d", b"now a file").directory("l").file("l/in", b"in")
    archive.symlink("s", "nowhere").file("s", b"file now")
    layer = put(store, archive)
    found = look(store, layer)
    assert found["a"][4] == b"two" and found["d"][4] == b"now a file" and "d/x" not in found
    assert found["l/in"][4] == b"in" and found["s"][4] == b"file now"
    assert check.check_layer(store, layer) is None


def test_missing_parents_are_made(store):
    found = look(store, put(store, Archive().file("a/b/c", b"x")))
    assert found["a/b/c"][4] == b"x" and found["a"][1] == 0o755


def test_links_among_parents_are_followed_inside(store):
    archive = Archive().directory("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr")
    archive.file("lib/one", b"1").file("abs/two", b"2").symlink("up", "../../../usr")
    archive.file("up/three", b"3").file("lib/.wh.four").file("lib/new/five", b"5")
    layer = put(store, archive)
    found = look(store, layer)
    for name in ("usr/lib/one", "usr/two", "usr/three", "usr/lib/new/five"):
        assert name in found
    assert found["lib"][0] == 0o120000
    assert store.layers.index(layer)["whiteouts"] == ["usr/lib/four"]


def sparse_archive(tmp, form):
    from support import tools

    with open(f"{tmp}/hole", "wb") as file:
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(3 << 20)
    tools.run("tar", "-C", tmp, "--sparse", *form, "-cf", f"{tmp}/out.tar", "hole")
    with open(f"{tmp}/out.tar", "rb") as file:
        return file.read()


@pytest.mark.parametrize("form", [
    ("--format=gnu",),
    ("--format=pax", "--sparse-version=0.0"),
    ("--format=pax", "--sparse-version=0.1"),
    ("--format=pax", "--sparse-version=1.0"),
])
def test_sparse_files(store, workdir, form):
    layer = put(store, sparse_archive(workdir, form))
    _, size, _, _, blocks = lstat(store, layer, "hole")
    assert size == 3 << 20 and blocks * 512 < 1 << 20
    content = look(store, layer)["hole"][4]
    assert content == bytes(1 << 20) + b"middle" + bytes((3 << 20) - (1 << 20) - 6)


def compressed(data, codec):
    import bz2
    import lzma
    import zlib

    if codec == "zstd":
        from support import tools

        return tools_output(tools.find("zstd"), data)
    if codec == "gzip members":
        half = len(data) // 2
        return packed(data[:half]) + packed(data[half:]) + bytes(512)
    return {
        "plain": bytes, "gzip": packed, "bzip2": bz2.compress, "xz": lzma.compress,
        "zlib level 0": lambda d: zlib.compress(d, 0, 31),
    }[codec](data)


def tools_output(program, data):
    import subprocess

    return subprocess.run([program, "-q", "-c"], input=data, stdout=-1, check=True).stdout


@pytest.mark.parametrize(
    "codec", ["plain", "gzip", "gzip members", "zlib level 0", "bzip2", "xz", "zstd"]
)
def test_every_compression(store, codec):
    data = Archive().file("big", os.urandom(300_000) + bytes(3_000_000)).file("x", b"y").data()
    with store.layers.unpack(diff_id(data)) as unpacking:
        stream = compressed(data, codec)
        for start in range(0, len(stream), 100_000):
            unpacking.write(stream[start : start + 100_000])
        facts = unpacking.finish()
    assert facts["size"] == len(data) and facts["diff_id"] == diff_id(data)
    assert look(store, diff_id(data))["x"][4] == b"y"


# --- hostile input -------------------------------------------------------------------------


def escapes(outside):
    """Archives that try to reach the directory ``outside``."""
    up = "../" * 20 + outside.lstrip("/")
    return {
        "dots": Archive().file(f"{up}/victim", b"bad"),
        "dots inside": Archive().file(f"a/../../{up}/victim", b"bad"),
        "link then file": Archive().symlink("l", outside).file("l/victim", b"bad"),
        "relative link": Archive().symlink("l", up).file("l/victim", b"bad"),
        "link chain": Archive().symlink("a", "b").symlink("b", outside).file("a/victim", b"bad"),
        "file over link": Archive().symlink("v", f"{outside}/victim").file("v", b"bad"),
        "hard link": Archive().link("h", f"{outside}/victim").file("h", b"bad"),
        "hard link up": Archive().link("h", f"{up}/victim").file("h", b"bad"),
        "hard link by link":
            Archive().symlink("l", outside).link("h", "l/victim").file("h", b"bad"),
        "directory over link": Archive().symlink("l", outside).directory("l", mode=0o777),
        "chmod by link": Archive().symlink("l", outside).directory("l/victim", mode=0o777),
        "whiteout up": Archive().file(f"{up}/.wh.victim"),
        "whiteout by link": Archive().symlink("l", outside).file("l/.wh.victim"),
        "opaque by link": Archive().symlink("l", outside).file("l/.wh..wh..opq"),
        "absolute": Archive().file(f"{outside}/victim", b"bad"),
        "pax path": Archive().file("x", b"bad", pax={"path": f"{up}/victim"}),
        "proc": Archive().symlink("p", "/proc/self/root").file(f"p{outside}/victim", b"bad"),
    }


@pytest.mark.parametrize("name", sorted(escapes("/x")))
def test_nothing_leaves_the_layer(store, workdir, name):
    outside = f"{workdir}/outside"
    os.mkdir(outside, 0o700)
    with open(f"{outside}/victim", "wb") as file:
        file.write(b"good")
    os.utime(f"{outside}/victim", (1, 1))
    before = os.stat(outside), os.stat(f"{outside}/victim")
    data = escapes(outside)[name].data()
    try:
        put(store, data)
    except BadArchive:
        nothing_left(store)
    with open(f"{outside}/victim", "rb") as file:
        assert file.read() == b"good"
    for old, path in zip(before, (outside, f"{outside}/victim"), strict=True):
        now = os.stat(path)
        assert (old.st_mode, old.st_mtime_ns, old.st_ctime_ns, old.st_nlink) == (
            now.st_mode, now.st_mtime_ns, now.st_ctime_ns, now.st_nlink)
    assert os.listdir(outside) == ["victim"]
    assert put(store, Archive().file("fine")) in store.layers.list()


def raw(name=b"x", kind=b"0", size=b"00000000000", checksum=None, magic=b"ustar\x0000"):
    block = bytearray(512)
    block[: len(name)] = name
    block[100:124] = b"0000644\0" b"0000000\0" b"0000000\0"
    block[124 : 124 + len(size)] = size
    block[136:148] = b"00000000000\0"
    block[148:156] = b"        "
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = checksum or b"%06o\0 " % sum(block)
    return bytes(block)


END = bytes(1024)
REFUSED = {
    "root becomes a file": Archive().file("./", b"x").file(".", b"x").data(),
    "root becomes a link": Archive().symlink(".", "/etc").data(),
    "whiteout of nothing": Archive().file(".wh.").data(),
    "whiteout of dot": Archive().file("d/.wh..").data(),
    "whiteout of dots": Archive().file("d/.wh...").data(),
    "below a whiteout": Archive().file(".wh.d/f").data(),
    "file below a file": Archive().file("a", b"x").file("a/b", b"y").data(),
    "link to nothing": Archive().link("a", "b").data(),
    "link to itself": Archive().link("a", "a").data(),
    "link to a directory": Archive().directory("d").link("h", "d").data(),
    "link to a whiteout": Archive().file(".wh.w").link("h", "w").data(),
    "link to the root": Archive().link("h", "/").data(),
    "symlink loop": Archive().symlink("a", "b").symlink("b", "a").file("a/x", b"").data(),
    "too long a component": Archive().file("n" * 300, b"").data(),
    "too long a path": Archive().file("/".join(["n" * 200] * 30), b"").data(),
    "too deep": Archive().file("/".join(["n"] * 1500), b"").data(),
    "empty symlink": Archive().symlink("a", "").data(),
    "unknown type": raw(kind=b"Z") + END,
    "multi-volume": raw(kind=b"M") + END,
    "wrong checksum": raw(checksum=b"000001\0 ") + END,
    "not octal": raw(size=b"zzzzzzzzzzz") + END,
    "negative size": raw(size=b"\xff" * 12) + END,
    "huge size": raw(size=b"\x80" + b"\x7f" * 11) + END,
    "huge pax header": raw(kind=b"x", size=b"77777777777") + END,
    "pax without end": raw(kind=b"x", size=b"00000000000") + END,
    "bad pax length": raw(kind=b"x", size=b"00000000010") + b"99 a=b\n".ljust(512, b"\0") + END,
    "cut in a header": Archive().file("a", b"x").data()[:300],
    "cut in a file": Archive().file("a", b"x" * 9000).data()[:2000],
    "behind the end": bytes(512) + raw(),
    "garbage": os.urandom(5000),
    "text": b"this is no archive at all\n" * 100,
    "sparse map overlaps":
        Archive().file("s", b"x" * 1024, pax={
            "GNU.sparse.map": "0,1024,0,0", "GNU.sparse.size": "512"}).data(),
    "sparse map too large":
        Archive().file("s", b"x" * 10, pax={
            "GNU.sparse.map": "0,20", "GNU.sparse.size": "20"}).data(),
    "bad time": Archive().file("a", pax={"mtime": "soon"}).data(),
    "bad owner": Archive().file("a", pax={"uid": "-1"}).data(),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(store, name):
    with pytest.raises(BadArchive) as caught:
        put(store, REFUSED[name])
    assert "\n" not in caught.value.message
    nothing_left(store)


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_compression(store, codec, damage):
    data = Archive().file("a", os.urandom(200_000)).data()
    stream = bytearray(compressed(data, codec))
    middle = len(stream) // 2
    if damage == "cut":
        del stream[middle:]
    else:
        stream[middle : middle + 64] = bytes(64)
    with pytest.raises((BadCompression, BadArchive, WrongDigest)):
        with store.layers.unpack(diff_id(data)) as unpacking:
            unpacking.write(bytes(stream))
            unpacking.finish()
    nothing_left(store)


def test_another_digest_than_promised(store):
    data = Archive().file("a", b"x").data()
    with pytest.raises(WrongDigest) as caught:
        with store.layers.unpack("sha256:" + "0" * 64) as unpacking:
            unpacking.write(data)
            unpacking.finish()
    assert diff_id(data) in caught.value.message
    nothing_left(store)


def test_too_many_entries(store, monkeypatch):
    monkeypatch.setattr(unpacker, "MOST_ENTRIES", 10)
    archive = Archive()
    for number in range(11):
        archive.file(f"f{number}")
    with pytest.raises(BadArchive):
        put(store, archive)
    nothing_left(store)


def test_a_full_disk(store, monkeypatch):
    monkeypatch.setattr(unpack, "CHECK_EVERY", 1000)
    monkeypatch.setattr(unpack, "_MIN_FREE", 1 << 60)
    with pytest.raises(unpack.NoSpace):
        put(store, Archive().file("a", bytes(5000)).file("b", bytes(5000)))
    nothing_left(store)


def test_a_failing_write(store, monkeypatch):
    real = files.write_all

    def fail(descriptor, data):
        if bytes(data[:4]) == b"BOOM":
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(files, "write_all", fail)
    with pytest.raises(unpack.NoSpace):
        put(store, Archive().file("a", b"BOOM"))
    nothing_left(store)


def test_a_bomb_costs_no_memory(store):
    import resource
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    info = tarfile.TarInfo("zero")
    info.size = 512 << 20
    header = info.tobuf(tarfile.GNU_FORMAT)
    stream = packer.compress(header)
    hasher = hashlib.sha256(header)
    block = bytes(1 << 20)
    for _ in range(512):
        stream += packer.compress(block)
        hasher.update(block)
    stream += packer.compress(END) + packer.flush()
    hasher.update(END)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with store.layers.unpack("sha256:" + hasher.hexdigest()) as unpacking:
        unpacking.write(stream)
        unpacking.finish()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The child begins as large as this process is: what counts is what it adds.
    assert peak < max(before, own) + (60 << 10)


def test_damaged_at_random_never_breaks_the_store(store):
    import random

    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    rng = random.Random(seed)
    whole = Archive().directory("d").file("d/f", b"x" * 700).symlink("l", "d").link("h", "d/f")
    whole = whole.file("d/.wh.g").file("p" * 150, pax={"SCHILY.xattr.user.a": "b"}).data()
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            put(store, bytes(data))
        except RlError as error:
            assert "\n" not in error.message
    for layer in store.layers.list():
        assert check.check_layer(store, layer) is None


def test_two_writers_of_one_layer(store):
    import threading

    data = Archive().file("a", bytes(1 << 20)).data()
    first = store.layers.unpack(diff_id(data))
    found = []

    def second():
        with store.layers.unpack(diff_id(data)) as unpacking:
            found.append(unpacking.present)
            unpacking.write(packed(data))
            found.append(unpacking.finish()["diff_id"])

    thread = threading.Thread(target=second)
    thread.start()
    with first:
        first.write(packed(data))
        first.finish()
    thread.join()
    assert found == [True, diff_id(data)]
    assert len(store.layers.list()) == 1


def test_several_at_once_in_threads(store):
    import threading

    jobs = [Archive().file(f"f{i}", os.urandom(200_000)).data() for i in range(6)]
    contexts = [store.layers.unpack(diff_id(data)) for data in jobs]

    def feed(context, data):
        with context:
            for start in range(0, len(data), 30_000):
                context.write(data[start : start + 30_000])
            context.finish()

    threads = [threading.Thread(target=feed, args=job) for job in zip(contexts, jobs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.layers.list()) == sorted(map(diff_id, jobs))


def test_giving_up_leaves_nothing(store):
    data = Archive().file("a", os.urandom(3 << 20)).data()
    with store.layers.unpack(diff_id(data)) as unpacking:
        unpacking.write(data[: 1 << 20])
    nothing_left(store)


def test_a_real_root_file_system(store, rung):
    """What Python's tarfile reads in an archive is what stands on disk."""
    path = images.cached("debian.tar")
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    layer = "sha256:" + hasher.hexdigest()
    with store.layers.unpack(layer) as unpacking, open(path, "rb") as file:
        while piece := file.read(1 << 20):
            unpacking.write(piece)
        unpacking.finish()
    assert check.check_layer(store, layer) is None

    def facts(tree):
        found = {}
        for at, directories, names in os.walk(tree):
            for name in directories + names:
                status = os.lstat(f"{at}/{name}")
                found[os.path.relpath(f"{at}/{name}", tree)] = (
                    status.st_mode & 0o7777, status.st_uid, status.st_gid, int(status.st_mtime))
        return found

    found = userns.call_in(store.ids, facts, store.layers.path(layer))
    with tarfile.open(path) as tar:
        wanted = {os.path.normpath(member.name): member for member in tar if not member.isdev()}
    assert set(found) == set(wanted) - {"."}
    for name in found:
        member = wanted[name]
        if member.islnk():
            member = wanted[os.path.normpath(member.linkname)]
        mode, uid, gid, mtime = found[name]
        assert mtime == int(member.mtime), name
        assert mode == (0o777 if member.issym() else member.mode), name
        assert (uid, gid) == ((member.uid, member.gid) if rung == "range" else (0, 0)), name
