"""--storage-opt size=: no more fits, whatever was asked for is kept, seen, and cleaned up."""

import glob
import io
import os
import shlex
import signal
import tarfile
import time

import pytest

from support import leaks
from support.ids import has_range

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

IMAGE = "localhost/busybox:latest"
SIZE = 12 << 20
several_ids = pytest.mark.skipif(not has_range(), reason="there is only one id")
FILL = "dd if=/dev/zero of=/filled bs=64k count=400; code=$?; sync; stat -c %s /filled; exit $code"
WRITE = "echo new >/new; mkdir /deep; echo x >/deep/x; rm /bin/vi; echo more >>/etc/passwd"
CHANGES = {"A /new", "A /deep", "A /deep/x", "D /bin/vi", "C /bin", "C /etc", "C /etc/passwd"}


class Sized:
    """Containers whose layer has a size, by one of the ways: "driver-way"."""

    def __init__(self, rl, name):
        self.rl = rl
        driver, _, self.way = name.partition("-")
        self.driver = {"kernel": "overlay", "fuse": "fuse-overlayfs"}[driver]

    def words(self, verb, *options, size=SIZE):
        kept = ["--rm"] if self.way == "tmpfs" else []
        return ["--storage-driver", self.driver, verb, *kept, "--network", "none",
                "--storage-opt", f"size={size}", *options]

    def run(self, *options, sh, **how):
        return self.rl(*self.words("run", *options), IMAGE, "sh", "-c", sh, **how)

    def start(self, script, *options):
        """A container called c that has done ``script`` and goes on."""
        self.rl.ok(*self.words("run", "-d", "--name", "c", *options), IMAGE, "sh", "-c",
                   f"{script}; touch /dev/shm/ready; exec sleep 600")
        until(lambda: self.rl("exec", "c", "test", "-e", "/dev/shm/ready").code == 0)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(params=["kernel-tmpfs", "fuse-tmpfs", "fuse-file"])
def sized(rl, busybox, request):
    return Sized(rl, request.param)


@pytest.fixture
def file(rl, busybox):
    """The way that keeps what is written."""
    return Sized(rl, "fuse-file")


@pytest.fixture
def memory(rl, busybox):
    """The way that is best for --rm."""
    return Sized(rl, "kernel-tmpfs")


def servers():
    """The pids of all fuse2fs below this process."""
    found = []
    for pid, _ in leaks.descendants():
        try:
            with open(f"/proc/{pid}/comm") as comm:
                found += [pid] if comm.read().strip() == "fuse2fs" else []
        except OSError:
            pass
    return found


# --- the limit -----------------------------------------------------------------------------


def test_no_more_fits(sized):
    result = sized.run(sh=f"df -k / | tail -n 1; {FILL}")
    assert result.code == 1 and "No space left on device" in result.stderr, repr(result)
    assert int(result.lines[0].split()[1]) * 1024 <= SIZE
    assert SIZE * 3 // 4 < int(result.lines[-1]) <= SIZE
    sized.rl.ok("rm", "--all")
    assert sized.rl.ok("run", "--rm", "--network", "none", IMAGE, "sh", "-c", FILL).code == 0


def test_files_count_too(sized):
    """Empty ones take memory, or inodes."""
    script = "mkdir /m; cd /m; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); : >$i || exit 9; done"
    result = sized.run(sh=script, timeout=300)
    assert result.code in (1, 2, 9) and "No space left on device" in result.stderr, repr(result)


def test_what_is_deleted_makes_room(sized):
    script = "dd if=/dev/zero of=/one bs=64k count=100 && rm /one && cp /bin/busybox /two"
    assert sized.run(sh=script).code == 0
    sized.rl.ok("rm", "--all")


def test_volumes_do_not_count(sized):
    sized.rl.ok("volume", "create", "v")
    script = "dd if=/dev/zero of=/v/x bs=64k count=400"
    assert sized.run("-v", "v:/v", sh=script).code == 0
    sized.rl.ok("rm", "--all")
    sized.rl.ok("volume", "rm", "v")


def test_a_read_only_root(sized):
    assert "Read-only" in sized.run("--read-only", sh="touch /x").stderr
    sized.rl.ok("rm", "--all")


# --- what lasts ----------------------------------------------------------------------------


def test_a_file_is_kept(file):
    rl = file.rl
    rl.ok(*file.words("create", "--name", "c"), IMAGE, "sh", "-c", "echo x >>/runs; wc -l </runs")
    assert rl.ok("start", "--attach", "c").text == "1"
    assert rl.ok("start", "--attach", "c").text == "2"
    rl.ok("restart", "c")
    rl.ok("wait", "c")
    assert rl.ok("start", "--attach", "c").text == "4"
    (directory,) = glob.glob(f"{rl.root}/containers/*")
    assert os.stat(f"{directory}/layer.img").st_size == SIZE
    assert os.stat(f"{directory}/layer.img").st_blocks * 512 < SIZE // 2
    rl.ok("rm", "c")
    assert not os.path.exists(directory)


def test_a_policy_restarts_on_the_same_file(file):
    file.rl.ok(*file.words("run", "-d", "--name", "c", "--restart", "on-failure:5"), IMAGE, "sh",
               "-c", "echo x >>/runs; [ $(wc -l </runs) -ge 3 ]")
    until(lambda: file.rl.ok("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "c").text
          == "exited 2")
    assert "A /runs" in file.rl.ok("diff", "c").lines


def test_memory_is_not_said_to_be_kept(memory):
    rl = memory.rl
    rl.ok(*memory.words("create", "--name", "c"), IMAGE, "sleep", "600")
    assert rl.ok("diff", "c").stdout == ""
    rl.fails("cp", "c:/bin/busybox", ".", says="only while it runs")
    rl.ok("start", "c")
    rl.fails("restart", "-t", "0", "c", says="only while it runs")
    assert rl.ok("exec", "c", "echo", "lives").text == "lives"
    rl.ok("rm", "-f", "-t", "0", "c")


def test_too_large_for_memory_goes_into_a_file(file):
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    file.rl.ok("run", "-d", "--rm", "--network", "none", "--storage-opt", f"size={half + 4096}",
               "--name", "c", IMAGE, "sleep", "600")
    (row,) = file.rl.ok("inspect", "-f", "{{json .Rl.Limits}}", "c").json()
    assert (row["File"], row["Enforced"]) == ("file", True)
    file.rl.ok("rm", "-f", "-t", "0", "c")


# --- seen from outside ---------------------------------------------------------------------


def members(rl, name):
    with tarfile.open(fileobj=io.BytesIO(rl("export", name).raw)) as archive:
        return {member.name: member for member in archive}


@pytest.fixture(params=["running", "stopped"])
def written(request, sized):
    """A Sized with a container c that has WRITE done."""
    if request.param == "stopped" and sized.way == "tmpfs":
        pytest.skip("it has gone with its end")
    sized.start(WRITE)
    if request.param == "stopped":
        sized.rl.ok("stop", "-t", "0", "c")
    return sized


def sizes(rl, way):
    """ps counts what was written, not the file system; system df what is on the disk; inspect
    what the file system has."""
    (row,) = rl.ok("ps", "-a", "--size", "--format", "json").json()
    assert 0 < row["Size"] < 1 << 20
    (row,) = [row for row in rl.ok("system", "df", "--format", "json").json()
              if row["Type"] == "Containers"]
    assert 0 < row["RawSize"] < SIZE // 2
    found = rl.ok("inspect", "c").json()[0]
    assert found["HostConfig"]["StorageOpt"] == {"size": str(SIZE)}
    (row,) = found["Rl"]["Limits"]
    assert (row["Option"], row["File"]) == ("--storage-opt size", way)
    running = found["State"]["Running"]
    assert row["Asked"] == str(SIZE) and row["Enforced"] == running
    assert not running or SIZE * 9 // 10 < int(row["Kernel"]) <= SIZE


def test_what_it_wrote_is_seen(written, workdir):
    rl = written.rl
    sizes(rl, written.way)
    assert set(rl.ok("diff", "c").lines) == CHANGES
    found = members(rl, "c")
    assert found["new"].size == 4 and "bin/vi" not in found and found["bin/sh"]
    assert "dev/shm/ready" not in found
    rl.ok("commit", "--quiet", "c", "made")
    rl.ok("commit", "--quiet", "--squash", "c", "flat")
    for image in ("made", "flat"):
        script = "cat /new /deep/x; ls /bin/vi; tail -n 1 /etc/passwd"
        assert rl("run", "--rm", "--network", "none", image, "sh", "-c", script
                  ).lines == ["new", "x", "more"]
    rl.ok("cp", "c:/deep", f"{workdir}/deep")
    assert os.listdir(f"{workdir}/deep") == ["x"]
    rl.ok("cp", f"{workdir}/deep", "c:/copied")
    assert "A /copied/x" in rl.ok("diff", "c").lines
    rl.ok("rm", "-f", "-t", "0", "c")


def test_without_a_size_nothing_changes(rl, busybox):
    rl.ok("create", "--name", "c", "--network", "none", IMAGE, "true")
    found = rl.ok("inspect", "c").json()[0]
    assert found["HostConfig"]["StorageOpt"] is None and found["Rl"]["Limits"] == []
    assert not glob.glob(f"{rl.root}/containers/*/layer*")


def test_mounted_in_unshare(file):
    rl = file.rl
    words = " ".join(map(shlex.quote, rl.words()))

    def inside(script):
        return rl.ok("unshare", "sh", "-c", f"set -e; rl() {{ {words} \"$@\"; }}; {script}")

    rl.ok(*file.words("create", "--name", "c"), IMAGE, "cat", "/hello")
    inside("m=$(rl mount c); test -x $m/bin/busybox; echo hello >$m/hello")
    until(lambda: not servers())
    assert rl.ok("start", "--attach", "c").text == "hello"
    assert inside("m=$(rl mount c); cat $m/hello; rl unmount c >&2; rl mount").text == "hello"
    file.start(":", "--replace")
    result = rl("unshare", *rl.words("mount", "c"))
    assert result.code and "while it runs" in result.stderr, repr(result)


def test_readers_take_turns(file):
    """One file system is never mounted twice."""
    file.start(WRITE)
    file.rl.ok("stop", "-t", "0", "c")
    several = [file.rl.start("diff", "c") for _ in range(4)]
    for process in several:
        output, _ = process.communicate(timeout=120)
        assert set(output.decode().splitlines()) == CHANGES
    assert not servers()


# --- users ---------------------------------------------------------------------------------


@several_ids
@pytest.mark.parametrize("way", ["kernel-tmpfs", "fuse-file"])
def test_owners_are_the_containers(rl, busybox, way):
    """Also where its ids are nobody's to the caller."""
    sized = Sized(rl, way)
    for userns in ("host", "auto"):
        sized.start("echo a >/a; chown 7:8 /a", *(() if userns == "host" else ("--userns", "auto")))
        assert rl.ok("exec", "c", "stat", "-c", "%u:%g", "/a").text == "7:8"
        found = members(rl, "c")["a"]
        assert (found.uid, found.gid) == (7, 8)
        rl.ok("commit", "--quiet", "c", "made")
        assert rl.ok("run", "--rm", "--network", "none", "made", "stat", "-c", "%u:%g", "/a"
                     ).text == "7:8"
        if sized.way == "file":
            rl.ok("stop", "-t", "0", "c")
            found = members(rl, "c")["a"]
            assert (found.uid, found.gid) == (7, 8)
        rl.ok("rm", "-f", "-t", "0", "c")


@several_ids
def test_ids_that_a_file_cannot_have(rl, busybox):
    rl.fails("run", "--network", "none", "--userns", "keep-id", "--storage-opt", "size=10m", IMAGE,
             "true", says="map of ids")
    assert rl.ok("run", "--rm", "--network", "none", "--userns", "keep-id", "--storage-opt",
                 "size=10m", IMAGE, "sh", "-c", "df -k / | tail -n 1").text.split()[1] == "10240"


# --- what can't be had ---------------------------------------------------------------------


@pytest.mark.parametrize(("words", "says"), [
    (["--storage-opt", "size"], "it needs a size"),
    (["--storage-opt", "size=much"], "not a size"),
    (["--storage-opt", "size=0"], "from 1m to 16t"),
    (["--storage-opt", "size=17t"], "from 1m to 16t"),
    (["--storage-opt", "overlay.size=1g"], "no such option"),
    (["--storage-opt", "size=1g", "--storage-opt", "inodes=5"], "no such option"),
    (["--storage-opt", "size=1g", "--rootfs"], "--rootfs"),
])  # fmt: skip
def test_refused_before_anything_is_done(rl, words, says):
    place = "/" if "--rootfs" in words else "localhost/nowhere"
    rl.fails("run", "--rm", *words, place, "true", says=says)
    assert not glob.glob(f"{rl.root}/containers/*")


def test_no_way_is_an_error_with_all_reasons(rl):
    result = rl.fails("--storage-driver", "clone", "run", "--rm", "--storage-opt", "size=1g",
                      "localhost/nowhere", "true", says="a tmpfs: ")
    assert "a file: the storage driver clone" in result.stderr


def test_info_has_the_ladder(rl):
    rows = {row["rung"]: row for row in rl.ok("info", "-f", "json").json()["ladders"]["layer size"]}
    assert list(rows) == ["tmpfs", "file", "none"]
    assert rows["tmpfs"]["ok"] and rows["file"]["ok"], rows


# --- killed --------------------------------------------------------------------------------


def test_the_server_is_killed(file):
    """What was synced is there; the file system is repaired by whoever mounts it next."""
    rl = file.rl
    file.start("echo safe >/safe; sync /safe")
    (server,) = servers()
    os.kill(server, signal.SIGKILL)
    assert rl("exec", "c", "cat", "/safe").code
    rl("stop", "-t", "0", "c")
    assert "A /safe" in rl.ok("diff", "c").lines
    rl.ok("start", "c")
    assert rl.ok("exec", "c", "cat", "/safe").text == "safe"
    rl.ok("rm", "-f", "-t", "0", "c")


def test_the_monitor_is_killed(sized):
    """Nothing goes on without it, and a file is whole."""
    rl = sized.rl
    before = leaks.descendants()
    sized.start(WRITE)
    pid = int(rl.ok("inspect", "-f", "{{.State.Pid}}", "c").text)
    with open(f"/proc/{pid}/status") as status:
        monitor = int(next(line for line in status if line.startswith("PPid:")).split()[1])
    os.kill(monitor, signal.SIGKILL)
    until(lambda: not leaks.descendants() - before)
    if sized.way == "file":
        assert set(rl.ok("diff", "c").lines) == CHANGES
        rl.ok("start", "c")
    rl("rm", "-f", "-t", "0", "c")
    until(lambda: not glob.glob(f"{rl.root}/containers/[0-9a-f]*") or rl("ps", "-a").code)


@pytest.mark.parametrize("way", ["kernel-tmpfs", "fuse-file"])
def test_rl_is_killed_at_any_moment(rl, busybox, way):
    sized = Sized(rl, way)
    before = leaks.descendants()
    sized.run(sh="true")  # what was probed is remembered
    rl.ok("rm", "--all")
    for delay in (5, 30, 60, 100, 160, 300):
        process = rl.start(*sized.words("run"), IMAGE, "sh", "-c", "echo x >/x; sleep 0.1")
        time.sleep(delay / 1000)
        process.kill()
        process.communicate()
        rl.ok("rm", "--all", "--force", "--time", "0")
    until(lambda: not leaks.descendants() - before)
    rl.ok("system", "prune", "--force")
    assert sized.run(sh="echo usable").text == "usable"
    rl.ok("rm", "--all")
    assert not os.listdir(f"{rl.root}/containers")
