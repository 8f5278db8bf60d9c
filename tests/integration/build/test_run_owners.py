"""Owners that steps ask for: the same in the image, however few ids there are."""

import io
import json
import tarfile

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

BASE = "localhost/busybox:latest"


@pytest.fixture
def build(rl, busybox, workdir):
    """A function: lines of a Containerfile → [{path: TarInfo}] of the layers above the base."""
    number = []

    def run(*lines, base=BASE, **how):
        number.append(None)
        path, archive = f"{workdir}/Containerfile", f"{workdir}/{len(number)}.tar"
        with open(path, "w") as file:
            file.write("\n".join([f"FROM {base}", *lines, ""]))
        how.setdefault("timeout", 120)
        image = rl.ok("build", "--no-cache", "-q", "-f", path, workdir, **how).text
        rl.ok("save", "-o", archive, image)
        return members(rl, image, archive)

    return run


def members(rl, image, archive):
    found = []
    with tarfile.open(archive) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))[0]
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(outer.extractfile(name).read())) as inner:
                found.append({one.name: one for one in inner})
    return found


def owners(layer):
    return {name: (one.uid, one.gid) for name, one in layer.items()}


def test_owners_are_those_asked_for(build):
    layer = build(
        "RUN echo a > /a && chown 33:44 /a && mv /a /b && mkdir /d && touch /d/f && chown -R 5:6 /d"
        " && ln -s /x /l && chown -h 7:8 /l && chmod 4755 /b && cd /d && touch r && chown 9:9 ./r"
        " && touch back && chown 3:3 back && chown 0:0 back && ln /b /c && touch gone"
        " && chown 1:1 gone && rm gone && touch after"
    )[-1]
    found = owners(layer)
    assert found["b"] == found["c"] == (33, 44)
    assert found["d"] == found["d/f"] == (5, 6)
    assert found["l"] == (7, 8) and found["d/r"] == (9, 9)
    assert found["d/back"] == found["d/after"] == (0, 0)
    assert layer["b"].mode == 0o4755 and "d/gone" not in found


def test_owners_of_layers_below_stay_until_somebody_changes_them(build):
    layers = build(
        "RUN mkdir /d && echo 1 > /d/a && echo 1 > /d/b && echo 1 > /d/c && chown -R 33:33 /d",
        "RUN echo 2 >> /d/a && rm /d/b && echo 2 > /d/b && chown 0:0 /d/c && touch /d/new",
        "RUN echo 3 >> /d/a && chmod 600 /d/c",
    )
    assert owners(layers[-3])["d/a"] == (33, 33)
    second = owners(layers[-2])
    assert second["d"] == second["d/a"] == (33, 33)
    assert second["d/b"] == second["d/c"] == second["d/new"] == (0, 0)
    third = owners(layers[-1])
    assert third["d/a"] == (33, 33) and third["d/c"] == (0, 0)


def test_a_file_that_only_gets_another_owner_is_in_the_layer(build):
    layer = build("RUN chown 12:34 /etc/group && chown 5 /etc")[-1]
    assert owners(layer)["etc/group"] == (12, 34)
    assert owners(layer)["etc"] == (5, 0)


def test_chown_still_fails_where_there_is_nothing(build):
    layer = build("RUN chown 5:5 /nowhere || touch /refused")[-1]
    assert "refused" in layer


def test_other_places_than_the_root_are_not_noted(build):
    layer = build(
        "RUN --mount=type=tmpfs,target=/t touch /t/x && { chown 0:0 /t/x && touch /done; }"
    )
    assert "done" in layer[-1]


def test_a_process_with_a_root_of_its_own(build):
    layer = build(
        "RUN mkdir -p /jail/bin /jail/d && cp /bin/busybox /jail/bin/ && touch /jail/d/f /jail/g &&"
        " chroot /jail /bin/busybox sh -c '/bin/busybox chown 21:22 /d/f; cd /d;"
        " /bin/busybox chown 23:24 ../g'"
    )[-1]
    found = owners(layer)
    assert found["jail/d/f"] == (21, 22) and found["jail/g"] == (23, 24)


def test_steps_of_another_user(build):
    layers = build(
        "RUN echo app:x:1234:2345::/:/bin/sh >> /etc/passwd && mkdir /own && chown app:2345 /own"
        " && touch /own/old && chown 3:3 /own/old",
        "USER app",
        'RUN [ "$(id -u) $(id -g)" = "1234 2345" ] && echo x > /own/new && ln -s x /own/link'
        " && ! chown 5:5 /own/new && chown app /own/new",
        "USER root",
        "RUN [ $(id -u) = 0 ] && echo y >> /own/new",
    )
    found = owners(layers[-2])
    assert found["own"] == found["own/new"] == found["own/link"] == (1234, 2345)
    assert owners(layers[-3])["own/old"] == (3, 3)
    assert owners(layers[-1])["own/new"] == (1234, 2345)


def package(path):
    """A Debian package with files of other owners, and a script that makes more (deb(5))."""

    def packed(*entries):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, text, mode, uid, gid in entries:
                info = tarfile.TarInfo(name)
                info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, 1_600_000_000
                if text is None:
                    info.type = tarfile.DIRTYPE
                info.size = len(text or "")
                tar.addfile(info, io.BytesIO((text or "").encode()))
        return buffer.getvalue()

    script = "#!/bin/sh -e\nchown root:shadow /usr/share/thing/tool\n" \
             "chmod 2755 /usr/share/thing/tool\nchown -R 5:60 /usr/share/thing/dir\n"  # fmt: skip
    control = packed(
        ("./control", "Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\n"
         "Description: thing\n", 0o644, 0, 0),
        ("./postinst", script, 0o755, 0, 0),
    )  # fmt: skip
    data = packed(
        ("./", None, 0o755, 0, 0),
        ("./usr/", None, 0o755, 0, 0),
        ("./usr/share/", None, 0o755, 0, 0),
        ("./usr/share/thing/", None, 0o750, 33, 33),
        ("./usr/share/thing/page", "page", 0o640, 0, 33),
        ("./usr/share/thing/tool", "tool", 0o755, 0, 0),
        ("./usr/share/thing/dir/", None, 0o755, 0, 0),
        ("./usr/share/thing/dir/file", "file", 0o4711, 0, 0),
    )
    with open(path, "wb") as file:
        file.write(b"!<arch>\n")
        for name, content in (("debian-binary", b"2.0\n"), ("control.tar", control),
                              ("data.tar", data)):  # fmt: skip
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))


def test_packages_give_files_their_owners(rl, build, workdir, debian_image):
    image = rl.ok("load", "--input", debian_image).text.split()[-1]
    rl.ok("tag", image.removeprefix("sha256:"), "localhost/debian")
    package(f"{workdir}/thing.deb")
    layer = build("RUN --mount=target=/c dpkg -i /c/thing.deb && groupadd later"
                  " && install -g later -m 2750 -d /srv/later",
                  base="localhost/debian")[-1]  # fmt: skip
    place = "usr/share/thing"
    found = {name: (one.uid, one.gid, one.mode) for name, one in layer.items()}
    assert found[place] == (33, 33, 0o750)
    assert found[f"{place}/page"] == (0, 33, 0o640)
    assert found[f"{place}/tool"] == (0, 42, 0o2755)
    assert found[f"{place}/dir"] == (5, 60, 0o755)
    assert found[f"{place}/dir/file"][:2] == (5, 60)
    assert found["srv/later"][1] >= 100 and found["srv/later"][2] == 0o2750
    assert found["etc/gshadow"][:2] == (0, 42)
