"""rl build: what is done again and what isn't; what is kept, shown and removed; same digests."""

import json
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.integration

BASE = "localhost/busybox:latest"


@pytest.fixture
def files(workdir):
    """A directory with a Containerfile and two files."""
    directory = f"{workdir}/context"
    os.makedirs(f"{directory}/sub")
    for name, content in (("a", "1"), ("sub/b", "2")):
        with open(f"{directory}/{name}", "w") as file:
            file.write(content)
    write(directory, f"FROM {BASE}\nCOPY a /a\nRUN cat /a > /a2\nCOPY sub /sub\nENV X=1\n")
    return directory


def write(directory, text, name="Containerfile"):
    with open(f"{directory}/{name}", "w") as file:
        file.write(text)


def build(rl, directory, *words, **how):
    """(id of the image, {step: "done" or "cached"}) of a build."""
    result = rl.ok("build", "--progress=rawjson", *words, directory, timeout=120, **how)
    return result.lines[-1].removeprefix("sha256:"), steps(result.stderr)


def steps(text):
    """What happened to each step, by the words after [stage n/m]."""
    found, names = {}, {}
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        for one in json.loads(line).get("vertexes", ()):
            names[one["digest"]] = one["name"].partition("] ")[2] or one["name"]
            if one.get("completed"):
                found[names[one["digest"]]] = "cached" if one.get("cached") else "done"
    return found


def done(found):
    return [name for name, how in found.items() if how == "done"]


@pytest.mark.one_id
def test_the_second_time_nothing_is_done_and_the_image_is_the_same(rl, busybox, files):
    first, found = build(rl, files, "-t", "x")
    assert done(found) == ["COPY a /a", "RUN cat /a > /a2", "COPY sub /sub", "ENV X=1"]
    second, found = build(rl, files, "-t", "x")
    assert done(found) == [] and second == first


def test_touched_and_cloned_files_are_the_same_files(rl, busybox, files, workdir):
    first, _ = build(rl, files)
    for name in ("a", "sub", "sub/b"):
        os.utime(f"{files}/{name}", (1, 1))
    clone = f"{workdir}/clone"
    shutil.copytree(files, clone, copy_function=shutil.copy)
    for directory in (files, clone):
        image, found = build(rl, directory)
        assert done(found) == [] and image == first


def test_a_change_is_felt_from_there_on(rl, busybox, files):
    build(rl, files)
    write(files, "3", "sub/b")
    assert done(build(rl, files)[1]) == ["COPY sub /sub", "ENV X=1"]
    write(files, "4", "a")
    assert done(build(rl, files)[1])[:2] == ["COPY a /a", "RUN cat /a > /a2"]
    os.chmod(f"{files}/a", 0o755)
    assert "COPY a /a" in done(build(rl, files)[1])


def test_a_file_that_is_not_copied_does_not_count(rl, busybox, files):
    build(rl, files)
    write(files, "new", "other")
    assert done(build(rl, files)[1]) == []


def test_arguments_count_where_they_are_used(rl, busybox, files):
    text = f"FROM {BASE}\nARG V\nRUN true\n"
    write(files, text)
    build(rl, files, "--build-arg", "V=1")
    assert done(build(rl, files, "--build-arg", "V=1")[1]) == []
    assert done(build(rl, files, "--build-arg", "V=2")[1]) == ["RUN true"]
    write(files, f"FROM {BASE}\nRUN true\nARG V\n")
    build(rl, files, "--build-arg", "V=1")
    assert done(build(rl, files, "--build-arg", "V=2")[1]) == []


def test_secrets_and_proxies_do_not_count(rl, busybox, files):
    write(files, f"FROM {BASE}\nRUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null\n")
    secret = f"{files}/secret"
    write(files, "one", "secret")
    build(rl, files, "--secret", f"id=s,src={secret}")
    write(files, "two", "secret")
    found = build(rl, files, "--secret", f"id=s,src={secret}", env={"http_proxy": "http://x"})[1]
    assert done(found) == []


def test_content_of_bind_mounts_counts(rl, busybox, files):
    write(files, f"FROM {BASE}\nRUN --mount=source=sub,target=/m cat /m/b > /b\n")
    build(rl, files)
    assert done(build(rl, files)[1]) == []
    write(files, "9", "sub/b")
    image, found = build(rl, files)
    assert len(done(found)) == 1
    assert rl.ok("run", "--rm", "--network", "none", image, "cat", "/b").stdout == "9"


def test_a_stage_done_again_with_the_same_result(rl, busybox, files):
    text = f"FROM {BASE} AS one\nRUN cat /proc/sys/kernel/random/uuid > /other; echo x > /x\n" \
        f"FROM {BASE}\nCOPY --from=one /x /y\n"  # fmt: skip
    write(files, text)
    first, _ = build(rl, files)
    second, found = build(rl, files, "--no-cache-filter", "one")
    assert [name.split()[0] for name in done(found)] == ["RUN"] and second == first
    said = rl.ok("build", "--no-cache-filter", "one,tow", files).stderr
    assert "--no-cache-filter tow: there is no such stage" in said


def test_without_cache(rl, busybox, files):
    build(rl, files)
    assert len(done(build(rl, files, "--no-cache")[1])) == 4
    assert done(build(rl, files)[1]) == []
    assert len(done(build(rl, files, "--cache-ttl", "0")[1])) == 4
    assert done(build(rl, files, "--cache-ttl", "1h")[1]) == []
    rl.ok("build", "-q", "--layers=false", files)
    assert len(done(build(rl, files, "--layers=false")[1])) >= 3


def test_a_base_that_changed(rl, busybox, files):
    write(files, f"FROM {BASE}\nENV V=1\n", "base")
    write(files, "FROM base\nRUN true\n")
    rl.ok("build", "-q", "-t", "base", "-f", f"{files}/base", files)
    build(rl, files)
    write(files, f"FROM {BASE}\nENV V=2\n", "base")
    rl.ok("build", "-q", "-t", "base", "-f", f"{files}/base", files)
    assert done(build(rl, files)[1]) == ["RUN true"]


# --- what is kept --------------------------------------------------------------------------


def cache_row(rl):
    rows = rl.ok("system", "df", "--format", "json").json()
    return next(row for row in rows if row["Type"] == "Build Cache")


def du(path):
    said = subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, text=True)
    return int(said.stdout.split()[0])


@pytest.mark.one_id
def test_df_and_prune_see_what_is_kept(rl, busybox, files):
    assert cache_row(rl)["Total"] == 0
    build(rl, files, "-t", "x")
    row = cache_row(rl)
    assert row["Total"] == row["Active"] == 4
    kept = row["RawSize"]
    rl.ok("rmi", "x")
    row = cache_row(rl)
    assert row["Active"] < 4 and row["RawSize"] > kept
    rows = rl.ok("system", "df", "--format", "json").json()
    total = rl.ok("system", "df", "-v", "--format", "json").json()["total"]
    assert sum(row["RawSize"] for row in rows) == total == du(rl.root)
    rl.ok("image", "prune", "--force")
    row = cache_row(rl)
    assert row["Total"] == 0
    assert len(os.listdir(f"{rl.root}/layers")) == 1, "only the base image's is left"
    rl.ok("system", "check")


def test_prune_keeps_what_images_have_come_of(rl, busybox, files):
    build(rl, files, "-t", "x")
    write(files, f"FROM {BASE}\nRUN echo gone > /gone\n")
    build(rl, files)
    rl.ok("image", "prune", "--force")
    assert cache_row(rl)["Total"] == 4
    write(files, f"FROM {BASE}\nCOPY a /a\nRUN cat /a > /a2\nCOPY sub /sub\nENV X=1\n")
    assert done(build(rl, files)[1]) == []
    rl.ok("system", "prune", "--force", "--all")
    assert cache_row(rl)["Total"] == 0


def test_lost_layers_are_made_again(rl, busybox, files):
    image, _ = build(rl, files)
    rl.ok("rmi", image)
    layers = set(os.listdir(f"{rl.root}/layers"))
    base = set(rl.ok("inspect", "--type", "image", BASE).json()[0]["RootFS"]["Layers"])
    for name in layers - {one.removeprefix("sha256:") for one in base}:
        rl.ok("unshare", "rm", "-rf", f"{rl.root}/layers/{name}")
    again, found = build(rl, files)
    assert len(done(found)) >= 3
    assert rl.ok("run", "--rm", "--network", "none", again, "cat", "/a2").stdout == "1"


# --- same digests --------------------------------------------------------------------------


def digest(rl, directory, *words):
    rl.ok("build", "-q", "-t", "same", *words, directory, timeout=120)
    return rl.ok("inspect", "--type", "image", "same").json()[0]["Digest"]


@pytest.mark.one_id
def test_the_same_digest_twice(rl, busybox, files, workdir):
    rl.ok("build", "-q", files)  # what is kept of this has other times
    first = digest(rl, files, "--source-date-epoch", "1000000000")
    rl.ok("builder", "prune", "--force", "--all")
    clone = f"{workdir}/clone"
    shutil.copytree(files, clone, copy_function=shutil.copy)
    assert digest(rl, clone, "--source-date-epoch", "1000000000") == first
    assert digest(rl, files, "--source-date-epoch", "1000000001") != first
    found = rl.ok("inspect", "--type", "image", "same").json()[0]
    assert found["Created"].startswith("2001-09-09T01:46:41")
    stat = ("run", "--rm", "--network", "none", "same", "stat", "-c", "%Y")
    assert rl.ok(*stat, "/a").text == rl.ok(*stat, "/a2").text == "1000000001"


def test_times_of_files_are_left(rl, busybox, files):
    os.utime(f"{files}/a", (1600000000, 1600000000))
    words = ("--source-date-epoch", "1000000000")
    limited = digest(rl, files, *words)
    assert digest(rl, files, *words, "--rewrite-timestamp") == limited
    left = digest(rl, files, *words, "--rewrite-timestamp=false")
    assert left != limited
    found = rl.ok("inspect", "--type", "image", "same").json()[0]
    assert found["Created"].startswith("2001-09-09T01:46:40")
    stat = ("run", "--rm", "--network", "none", "same", "stat", "-c", "%Y", "/a")
    assert rl.ok(*stat).text == "1600000000"


def test_the_time_of_everything(rl, busybox, files):
    os.utime(f"{files}/a", (5, 5))
    rl.ok("build", "-q", files)
    first = digest(rl, files, "--timestamp", "1000")
    rl.ok("builder", "prune", "--force", "--all")
    os.utime(f"{files}/a", (6, 6))
    assert digest(rl, files, "--timestamp", "1000") == first
    stat = ("run", "--rm", "--network", "none", "same", "stat", "-c", "%Y")
    assert rl.ok(*stat, "/a").text == rl.ok(*stat, "/sub/b").text == "1000"


@pytest.mark.as_root
def test_the_same_digest_for_other_users_with_other_ids(user_rl, busybox_image, workdir):
    found = set()
    for name in ("rl-test", "rl-test-2", "rl-test-one"):
        rl = user_rl(name)
        with open(busybox_image, "rb") as file:
            rl.ok("load", input=file.read())
        directory = f"{rl.home}/context"
        os.makedirs(f"{directory}/sub")
        write(directory, "1", "a")
        write(directory, "2", "sub/b")
        write(directory, f"FROM {BASE}\nCOPY --chown=1000:50 a /a\nRUN mkdir /d; cp /a /d/a2\n"
                         "COPY sub /sub\nWORKDIR /w\n")  # fmt: skip
        subprocess.run(["chown", "-R", f"{name}:", directory], check=True)
        found.add(digest(rl, directory, "--source-date-epoch", "1000000000"))
    assert len(found) == 1


def test_builder_prune(rl, busybox, files):
    build(rl, files, "-t", "x")
    assert rl("builder", "prune", input="n\n").code == 0
    assert rl.ok("builder", "prune", "--force").lines[0] == "Removed steps: 0"
    said = rl.ok("builder", "prune", "--all", "--force", "--filter", "until=1h").lines
    assert said[0] == "Removed steps: 0"
    assert rl.ok("builder", "prune", "--all", "--force").lines[0] != "Removed steps: 0"
    assert cache_row(rl)["Total"] == 0
    assert rl.ok("run", "--rm", "--network", "none", "x", "cat", "/a2").stdout == "1"
