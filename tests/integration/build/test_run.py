"""RUN: what its program gets, what comes of it, and what is left when it fails or is killed."""

import json
import os
import signal
import stat
import time

import pytest

pytestmark = pytest.mark.integration

BASE = "localhost/busybox:latest"


@pytest.fixture
def build(rl, busybox, workdir):
    """A function: lines of a Containerfile (after FROM) → (id of the image, what was printed)."""
    directory = f"{workdir}/context"
    os.mkdir(directory)

    def run(*lines, code=0, options=(), base=BASE, **how):
        with open(f"{directory}/Containerfile", "w") as file:
            file.write("\n".join([f"FROM {base}", *lines, ""]))
        how.setdefault("timeout", 120)
        result = rl("build", "--no-cache", "--progress=plain", *options, directory, **how)
        assert result.code == code, repr(result)
        return (result.lines or [""])[-1].removeprefix("sha256:"), result.stdout + result.stderr

    run.directory = directory
    return run


def layers(rl, image):
    """The diff ids of an image."""
    return rl.ok("image", "inspect", image).json()[0]["RootFS"]["Layers"]


def index(rl, layer):
    with open(f"{rl.root}/layers/{layer.removeprefix('sha256:')}/index") as file:
        return json.load(file)


def tree(rl, layer):
    """{path: what lstat and the attributes say} of an unpacked layer."""
    top = f"{rl.root}/layers/{layer.removeprefix('sha256:')}/tree"
    found = {}
    for at, directories, names in os.walk(top):
        for name in [".", *directories, *names] if at == top else [*directories, *names]:
            path = os.path.join(at, name)
            status = os.lstat(path)
            facts = [oct(status.st_mode), status.st_uid, status.st_gid]
            if not stat.S_ISCHR(status.st_mode):  # a whiteout is as old as its making
                facts.append(status.st_mtime_ns)
            facts.append(status.st_nlink if stat.S_ISREG(status.st_mode) else 0)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    facts.append(file.read())
            if not stat.S_ISLNK(status.st_mode):
                facts.append(sorted((key, os.getxattr(path, key)) for key in os.listxattr(path)))
            found[os.path.relpath(path, top)] = facts
    return found


@pytest.mark.one_id
def test_the_layer_is_what_unpacking_its_archive_gives(rl, build, workdir):
    image, _ = build(
        "RUN mkdir -p /keep/old /both && echo a > /keep/old/a && echo b > /both/b && ln -s b /l",
        "RUN rm -r /keep/old && mkdir /keep/old && echo n > /keep/old/n && rm /both/b"
        " && mkdir -p /new/deep && echo 1 > /new/f && ln /new/f /new/g && mkfifo /new/p"
        " && chmod 2755 /new/deep && ln -s /nowhere /new/l && touch -d '2001-02-03 04:05:06' /new/f"
        " && nc -l -s 127.0.0.1 -p 1 2>/dev/null; chmod 700 /",
    )
    archive = f"{workdir}/image.tar"
    rl.ok("save", "--format", "oci-archive", "-o", archive, image)
    made = layers(rl, image)
    before = [(index(rl, layer), tree(rl, layer)) for layer in made[1:]]
    rl.ok("rmi", "--force", image)
    rl.ok("builder", "prune", "--all", "--force")
    rl.ok("system", "prune", "--all", "--force")
    assert not os.path.exists(f"{rl.root}/layers/{made[-1].removeprefix('sha256:')}")
    rl.ok("load", "--input", archive)
    for layer, (old_index, old_tree) in zip(made[1:], before, strict=True):
        new_index, new_tree = index(rl, layer), tree(rl, layer)
        for facts in (old_index, new_index):
            facts.pop("compression")  # of the blob it came from
        assert old_index == new_index
        assert old_tree == new_tree
    assert before[-1][0]["opaques"] == ["keep/old"]
    assert before[-1][0]["whiteouts"] == ["both/b"]
    assert rl.ok("system", "check").text == ""


@pytest.mark.one_id
def test_a_step_that_changes_nothing_makes_an_empty_layer(rl, build):
    image, _ = build("RUN true", "RUN mkdir /gone && rmdir /gone", "RUN cat /etc/resolv.conf")
    made = layers(rl, image)
    assert len(set(made[1:])) == 1
    assert index(rl, made[1])["entries"] == 0


def test_only_what_the_step_did_is_in_the_layer(rl, build):
    image, _ = build("RUN --mount=type=tmpfs,target=/a/b/c --mount=type=cache,target=/etc/c"
                     " echo x > /a/mine && ls /a/b/c /etc/c")  # fmt: skip
    assert sorted(tree(rl, layers(rl, image)[-1])) == [".", "a", "a/mine"]


def test_a_stub_that_became_a_link_is_left_alone(rl, build):
    """Whoever cleans up after a step must not follow what the step put there."""
    image, _ = build(
        "RUN --mount=type=tmpfs,target=/mnt/place/here true && mkdir /victim && touch /victim/here",
        "RUN --mount=type=tmpfs,target=/x/victim mv /x /y 2>/dev/null;"
        " ln -s /victim /z && echo kept",
    )
    rl.ok("run", "--rm", image, "ls", "/victim/here")


@pytest.mark.one_id
def test_output_comes_whole_and_in_order(build):
    _, said = build("RUN for i in $(seq 1 3000); do echo line-$i; done; echo last >&2")
    found = [line.split()[-1] for line in said.splitlines() if "line-" in line]
    assert [line for line in found if line[5:].isdigit()] == [f"line-{n}" for n in range(1, 3001)]
    assert "last" in said


def test_the_programs_exit_code_is_that_of_the_build(rl, build):
    _, said = build("RUN echo before; exit 7", code=7)
    assert "exit code 7" in said and "before" in said
    build("RUN sh -c 'kill -9 $$'; exit $?", code=137)
    build('RUN ["/nonexistent"]', code=127)
    assert os.listdir(f"{rl.root}/tmp") == []


def test_confinement_is_that_of_run(rl, build):
    words = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/kcore | wc -c"
    _, said = build(f"RUN {words}; mount | grep -E ' /(proc|sys|dev)( |/)' | sed 's/^/m: /'")
    inside = rl.ok("run", "--rm", BASE, "sh", "-c", f"{words}").lines
    for line in inside:
        assert " ".join(line.split()) in " ".join(said.split()), line
    assert "m: " in said


def test_user_directory_and_environment(build):
    _, said = build(
        "ENV A=b",
        "ARG C=d",
        "USER 1000",
        "WORKDIR /w/x",
        'RUN echo "$(id -u) $A $C $HOME $(pwd)" PROXY=$HTTP_PROXY',
        env={"HTTP_PROXY": "http://proxy.example:1"},
    )
    assert "1000 b d /home/user /w/x PROXY=http://proxy.example:1" in said


def test_nothing_of_the_caller_comes_in(build):
    _, said = build("RUN env | sort; ls -l /proc/self/fd | wc -l",
                    env={"SECRET_OF_THE_CALLER": "x"})  # fmt: skip
    assert "SECRET_OF_THE_CALLER" not in said


def test_networks(build):
    _, said = build("RUN --network=none echo none=$(ls /sys/class/net | tr '\\n' ,)",
                    "RUN --network=host echo host=$(wc -l < /proc/net/dev)",
                    options=("--allow", "network.host"))  # fmt: skip
    assert "none=lo," in said
    with open("/proc/net/dev") as file:
        assert f"host={len(file.readlines())}" in said


def test_a_killed_build_leaves_nothing_that_runs(rl, build, workdir):
    with open(f"{build.directory}/Containerfile", "w") as file:
        file.write(f"FROM {BASE}\nRUN --mount=type=cache,target=/c"
                   " touch /c/started; sleep 12345 & sleep 12345\n")  # fmt: skip
    process = rl.start("build", build.directory)
    home = f"{rl.root}/build-cache/mounts"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(os.path.exists(f"{home}/{name}/data/started")
               for name in (os.listdir(home) if os.path.isdir(home) else ())):  # fmt: skip
            break
        time.sleep(0.05)
    rl.ok("builder", "prune", "--all", "--force")
    assert os.listdir(home), "a cache in use was pruned"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    while _running("12345") and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    assert not _running("12345")
    rl.ok("system", "prune", "--force")
    assert os.listdir(f"{rl.root}/tmp") == []
    rl.ok("builder", "prune", "--all", "--force")
    assert os.listdir(home) == []


def _running(word):
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if b"sleep" in words[0] and word.encode() in words:
            found.append(pid)
    return found


@pytest.mark.one_id
def test_a_layer_that_comes_twice_can_be_stood_on(rl, build):
    image, _ = build("RUN true", "RUN true", "RUN echo x > /x")
    assert rl.ok("run", "--rm", image, "cat", "/x").text == "x"


def test_names_that_no_layer_can_hold_are_an_error(rl, build):
    _, said = build("RUN touch /.wh.x", code=125)
    assert ".wh.x" in said
    assert os.listdir(f"{rl.root}/tmp") == []


@pytest.mark.one_id
def test_every_storage_driver_gives_the_same_files(rl_on, busybox_image, workdir):
    os.mkdir(f"{workdir}/context")
    with open(f"{workdir}/context/Containerfile", "w") as file:
        file.write(f"FROM {BASE}\nRUN rm /etc/group && mkdir -p /d/e && echo x > /d/f\n"
                   "RUN --mount=type=cache,target=/cache rm -r /d && mkdir /d && echo y > /d/g\n"
                   "RUN true\n")  # fmt: skip
    rl_on.ok("load", "--input", busybox_image)
    rl_on.ok("build", "--no-cache", "-t", "made", f"{workdir}/context", timeout=120)
    words = "ls /d; cat /d/g; ls -d /etc/group /cache 2>/dev/null; true"
    assert rl_on.ok("run", "--rm", "--passwd=false", "made", "sh", "-c", words).lines == ["g", "y"]
    assert "etc/hosts" not in str(tree(rl_on, layers(rl_on, "made")[-1]))
    assert rl_on.ok("system", "check").text == ""
