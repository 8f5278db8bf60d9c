"""RUN --mount: what each kind shows, to whom, and for how long."""

import os
import shutil
import socket
import subprocess
import threading

import pytest

pytestmark = pytest.mark.integration

BASE = "localhost/busybox:latest"
TOKEN = "not-for-others-271828"


@pytest.fixture
def build(rl, busybox, workdir):
    """A function: lines of a Containerfile → (id of the image, what was printed)."""
    directory = f"{workdir}/context"
    os.mkdir(directory)

    def run(*lines, code=0, options=(), **how):
        with open(f"{directory}/Containerfile", "w") as file:
            file.write("\n".join([f"FROM {BASE}", *lines, ""]))
        how.setdefault("timeout", 120)
        result = rl("build", "--no-cache", "--progress=plain", *options, directory, **how)
        assert result.code == code, repr(result)
        return (result.lines or [""])[-1].removeprefix("sha256:"), result.stdout + result.stderr

    run.directory = directory
    return run


def put(build, name, text):
    path = f"{build.directory}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


@pytest.mark.one_id
def test_bind_shows_the_context_without_what_is_ignored(build):
    put(build, "shown/file", "from the context")
    put(build, "hidden/file", "x")
    put(build, "shown/hidden", "x")
    put(build, ".containerignore", "hidden\n**/hidden\n")
    _, said = build("RUN --mount=target=/c echo 1=$(cat /c/shown/file) 2=$(ls /c /c/shown |"
                    " tr '\\n' ,); touch /c/new || echo read-only")  # fmt: skip
    assert "1=from the context" in said
    assert "2=/c:,Containerfile,shown,,/c/shown:,file," in said
    assert "read-only" in said


@pytest.mark.one_id
def test_what_is_written_to_a_bind_is_thrown_away(build):
    put(build, "file", "old")
    _, said = build("RUN --mount=target=/c,rw echo new > /c/file && echo $(cat /c/file)",
                    "RUN --mount=target=/c echo now=$(cat /c/file)")  # fmt: skip
    assert "now=old" in said
    with open(f"{build.directory}/file") as file:
        assert file.read() == "old"


@pytest.mark.one_id
def test_sources_stay_inside(build, workdir):
    with open(f"{workdir}/outside", "w") as file:
        file.write(TOKEN)
    os.symlink("../outside", f"{build.directory}/link")
    os.symlink(f"{workdir}/outside", f"{build.directory}/absolute")
    for source in ("link", "absolute", "../outside", "/../outside"):
        _, said = build(f"RUN --mount=source={source},target=/f cat /f", code=125)
        assert TOKEN not in said


@pytest.mark.one_id
def test_bind_from_a_stage(build):
    _, said = build(
        "RUN mkdir /d && echo one > /d/f && ln -s /d /l",
        "RUN echo two > /d/f && rm /etc/group",
        f"FROM {BASE}",
        "RUN --mount=from=0,source=/l,target=/m,rw echo $(cat /m/f) && echo x > /m/f",
        "RUN --mount=from=0,source=/d/f,target=/file echo again=$(cat /file)",
        "RUN --mount=from=0,target=/all ls /all/etc/group 2>/dev/null || echo no-group",
    )
    assert "again=two" in said and "no-group" in said


@pytest.mark.one_id
def test_a_cache_stays_and_is_in_no_layer(rl, build):
    step = "RUN --mount=type=cache,id=mine,target=/cache,mode=0711"
    _, said = build(f"{step} echo mode=$(stat -c %a /cache) && echo x >> /cache/f")
    assert "mode=711" in said
    image, said = build(f"{step} echo x >> /cache/f && echo lines=$(wc -l < /cache/f)",
                        f"{step},ro echo y >> /cache/f || echo read-only",
                        "RUN ls -d /cache || echo gone")  # fmt: skip
    assert "lines=2" in said and "read-only" in said and "gone" in said


def test_a_private_cache_is_another_while_one_is_in_use(build):
    line = "RUN --mount=type=cache,id=one,target=/a,sharing={0}" \
           " --mount=type=cache,id=one,target=/b,sharing={0} echo x > /a/f; ls /b"  # fmt: skip
    _, said = build(line.format("private") + " | sed s/^/b=/; echo done")
    assert "b=f" not in said
    _, said = build(line.format("shared").replace("id=one", "id=two") + " | sed s/^/b=/")
    assert "b=f" in said


@pytest.mark.one_id
def test_a_new_cache_is_filled_from_a_stage(build):
    _, said = build("RUN mkdir /d && echo filled > /d/f", f"FROM {BASE}",
                    "RUN --mount=type=cache,from=0,source=/d,target=/c cat /c/f")  # fmt: skip
    assert "filled" in said


@pytest.mark.one_id
def test_a_tmpfs_has_its_size(build):
    _, said = build("RUN --mount=type=tmpfs,target=/t,size=1m"
                    " dd if=/dev/zero of=/t/f bs=1k count=2000 2>/dev/null || echo full;"
                    " ls /t && df -k /t | tail -1 | awk '{print \"size=\" $2}'")  # fmt: skip
    assert "full" in said and "size=1024" in said


@pytest.mark.one_id
def test_a_secret_is_seen_by_its_step_only(rl, build, workdir):
    with open(f"{workdir}/token", "w") as file:
        file.write(TOKEN)
    image, said = build(
        'RUN --mount=type=secret,id=t [ "$(cat /run/secrets/t)" = ' + TOKEN[:5] + "* ] ||"
        " wc -c < /run/secrets/t && stat -c mode=%a /run/secrets/t",
        "RUN --mount=type=secret,id=e,env=T,target=/deep/er/f,mode=0440"
        " echo ${#T} = $(wc -c < /deep/er/f)",
        "RUN ls /run/secrets /deep || echo nothing",
        options=("--secret", f"id=t,src={workdir}/token", "--secret", "id=e,env=MINE"),
        env={"MINE": TOKEN},
    )
    assert "mode=400" in said and f"{len(TOKEN)} = {len(TOKEN)}" in said and "nothing" in said
    assert TOKEN not in said
    for at, _, names in os.walk(rl.root):
        for name in names:
            path = os.path.join(at, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                assert TOKEN.encode() not in file.read(), path
    assert TOKEN not in rl.ok("history", "--no-trunc", image).stdout


def test_a_secret_that_has_to_be_there(build):
    _, said = build("RUN --mount=type=secret,id=t,required true", code=125)
    assert "--secret id=t" in said
    build("RUN --mount=type=secret,id=t true")


def test_ssh_hands_connections_to_the_agent(build, workdir):
    path = f"{workdir}/agent"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    heard = []

    def serve():
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            heard.append(one.recv(64))
            one.sendall(b"from the agent\n")
            one.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        _, said = build(
            "RUN --mount=type=ssh,mode=0666 stat -c %a $SSH_AUTH_SOCK &&"
            " echo hello | nc local:$SSH_AUTH_SOCK || true",
            options=("--ssh", f"default={path}"),
        )
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
    assert "666" in said
    if heard:  # a busybox whose nc knows local: sockets
        assert heard == [b"hello\n"] and "from the agent" in said


def test_targets_that_are_no_place(build):
    _, said = build("RUN --mount=type=tmpfs,target=/ true", code=125)
    assert "root of the image" in said


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH is not installed")
def test_ssh_with_a_key_in_a_file(build, workdir):
    key, other = f"{workdir}/key", f"{workdir}/other"
    for path in (key, other):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"mark of {path}",
                        "-f", path], check=True)  # fmt: skip
    # Bash is not there, and not every busybox speaks to sockets: this machine's python does.
    talk = ("import os, socket; s = socket.socket(socket.AF_UNIX);"
            " s.connect(os.environ['SSH_AUTH_SOCK']); s.sendall(bytes([0, 0, 0, 1, 11]));"
            " print(s.recv(65536))")  # fmt: skip
    libraries = [f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64")
                 if os.path.exists(path)]  # fmt: skip
    _, said = build(f'RUN --mount=type=ssh ["/usr/bin/python3", "-IS", "-c", "{talk}"]',
                    options=("--ssh", f"default={key}", *libraries))  # fmt: skip
    assert f"mark of {key}" in said and "other" not in said.replace(talk, "")
    _, said = build("RUN --mount=type=ssh true", options=("--ssh", f"default={key}.pub"), code=125)
    assert "--ssh default=" in said and "hint: " in said
