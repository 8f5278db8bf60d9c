"""The parts that images made here are of: tar members, the loader's cache, changes, stamps."""

import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine import images, images_platform
from rootless.image import changes, layertar, ldcache, stamps
from rootless.image.changes import BadChange
from rootless.model.oci import Platform

NAMES = st.text(
    alphabet=st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)),
    min_size=1, max_size=300,
).map(lambda text: text.strip("/")).filter(bool)  # fmt: skip


# --- tar -----------------------------------------------------------------------------------


@given(NAMES, st.binary(max_size=1500), st.integers(0, 2**33 - 1))
def test_members_read_by_tarfile(name, data, mtime):
    archive = layertar.header(name, layertar.FILE, 0o755, len(data), mtime) + layertar.pad(data)
    archive += layertar.header("l", layertar.LINK, 0o777, target=name)
    archive += layertar.header("d/", layertar.DIRECTORY, 0o1777) + layertar.END
    with tarfile.open(fileobj=io.BytesIO(archive), errorlevel=2) as tar:
        file, link, directory = tar.getmembers()
        assert (file.name, file.mode, file.uid, file.mtime) == (name, 0o755, 0, mtime)
        assert tar.extractfile(file).read() == data
        assert link.issym() and link.linkname == name
        assert directory.isdir() and directory.mode == 0o1777


def test_large_members():
    block = layertar.header("big", layertar.FILE, 0o644, 9 << 30)
    with tarfile.open(fileobj=io.BytesIO(block + layertar.END)) as tar:
        assert tar.next().size == 9 << 30


# --- the loader's cache --------------------------------------------------------------------


def test_this_machines_cache():
    if not os.path.exists("/etc/ld.so.cache"):
        pytest.fail("a Linux machine with glibc has a loader cache")
    found = ldcache.load()
    assert any(os.path.exists(path) for path in found.find("libc.so.6"))
    again = ldcache.parse(found.to_bytes())
    assert again.entries == found.entries


def test_a_part_of_it():
    entries = [("z.so", "/opt/z.so", 0x303, 0, 0), ("a.so", "/opt/a.so", 0x303, 0, 0),
               ("a.so", "/opt/hwcaps/a.so", 0x303, 0, 1 << 62)]  # fmt: skip
    cache = ldcache.Cache(entries)
    assert cache.find("a.so") == ["/opt/a.so"]
    part = ldcache.parse(cache.only({("a.so", "/opt/a.so")}).to_bytes())
    assert part.entries == [entries[1]]


@given(st.binary(max_size=200), st.booleans())
def test_junk_in_the_cache(data, behind_the_old_kind):
    head = b"ld.so-1.7.0\0" if behind_the_old_kind else b"glibc-ld.so.cache1.1"
    for text in (data, head + data):
        assert isinstance(ldcache.parse(text).entries, list)


# --- changes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("cmd a b", {"Cmd": ["/bin/sh", "-c", "a b"]}),
        ('CMD=["a"]', {"Cmd": ["a"]}),
        ("CMD [not json", {"Cmd": ["/bin/sh", "-c", "[not json"]}),
        ('ENTRYPOINT ["/x"]', {"Entrypoint": ["/x"]}),
        ("ENV A=1 B='2 3' A=4", {"Env": ["A=4", "B=2 3"]}),
        ("ENV A some words", {"Env": ["A=some words"]}),
        ("ENV=A=1", {"Env": ["A=1"]}),
        ("LABEL a.b=c d=", {"Labels": {"a.b": "c", "d": ""}}),
        ("EXPOSE 80 53/udp 8000-8001", {"ExposedPorts": {
            "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
        ("USER 1000:1000", {"User": "1000:1000"}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}),
        ("WORKDIR rel", {"WorkingDir": "/rel"}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
    ],
)  # fmt: skip
def test_changes(text, found):
    assert changes.apply({}, [text]) == found


def test_changes_add_up():
    before = {"Env": ["A=1", "B=2"], "Cmd": ["old"], "WorkingDir": "/a", "Labels": {"x": "1"}}
    texts = ["ENV B=3", 'ENTRYPOINT ["e"]', "WORKDIR b", "LABEL y=2"]
    assert changes.apply(before, texts) == {
        "Env": ["A=1", "B=3"], "Entrypoint": ["e"], "WorkingDir": "/a/b",
        "Labels": {"x": "1", "y": "2"},
    }  # fmt: skip
    assert before["Labels"] == {"x": "1"} and before["Cmd"] == ["old"]


@pytest.mark.parametrize(
    "text",
    ["", "RUN x", "FROM x", "CMD", "ENV A", "ENV =1", "ENV A=1 B", 'ENV A="', "CMD [1]",
     "EXPOSE x", "EXPOSE 0", "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE 80/sctpx", "VOLUME [1]"],
)  # fmt: skip
def test_bad_changes(text):
    with pytest.raises(BadChange):
        changes.apply({}, [text])


# --- stamps --------------------------------------------------------------------------------


def test_stamps(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1")
    os.symlink("file", tmp_path / "link")
    inputs = {str(p): stamps.stamp(str(p)) for p in (path, tmp_path / "link", tmp_path / "gone",
                                                     tmp_path)}  # fmt: skip
    assert stamps.unchanged(inputs)
    (tmp_path / "other").write_bytes(b"")  # a directory may get other files
    assert stamps.unchanged(inputs)
    (tmp_path / "gone").write_bytes(b"")
    assert not stamps.unchanged(inputs)
    os.unlink(tmp_path / "gone")
    os.unlink(tmp_path / "link")
    os.symlink("other", tmp_path / "link")
    assert not stamps.unchanged(inputs)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/usr/bin/env", "localhost/elf/usr/bin/env:latest"),
        ("/opt/App/Bin", "localhost/elf/bin/"),
        ("/x/[", "localhost/elf/"),
        ("/x/" + "y" * 300, "localhost/elf/" + "y" * 64 + "/"),
    ],
)
def test_names_of_programs(path, name):
    from rootless.model import reference

    found = images.elf_name(path)
    assert found.startswith(name) and str(reference.parse(found)) == found
    assert images.elf_name(path) == found != images.elf_name(path + "2")


# --- what runs here ------------------------------------------------------------------------


def test_this_machine_runs_its_own():
    own = images_platform.host()
    assert images_platform.runs_here(own)
    assert images_platform.runs_here(Platform(own.os, ""))
    assert not images_platform.runs_here(Platform("windows", own.architecture))
    with pytest.raises(images_platform.ForeignArchitecture) as error:
        images_platform.check("x", Platform("linux", "vax"))
    assert "linux/vax" in error.value.message and str(own) in error.value.message


ARM64 = (
    "{state}\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset {offset}\n"
    "magic 7f454c460201010000000000000000000200b700\n"
    "mask ffffffffffffff00fffffffffffffffffeffffff\n"
)


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        (ARM64.format(state="enabled", offset=0), True),
        (ARM64.format(state="disabled", offset=0), False),
        (ARM64.format(state="enabled", offset=3), False),
        ("enabled\ninterpreter /x\nflags: \nextension .jar\n", False),
        ("enabled\noffset 0\nmagic xyz\n", False),
        ("", False),
    ],
)
def test_emulators(tmp_path, text, takes, monkeypatch):
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    (tmp_path / "qemu").write_text(text)
    monkeypatch.setattr(images_platform, "_BINFMT", str(tmp_path))
    assert images_platform._emulated(Platform("linux", "arm64")) is takes
    assert images_platform._emulated(Platform("linux", "s390x")) is False
