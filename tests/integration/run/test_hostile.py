"""Images that try to reach the host through their own file names.

SECURITY: every name in an image may be a link; whatever rl mounts, creates or writes for a
container has to end up inside it, or the start is refused.
"""

import os
import tarfile

import pytest

from support import images, oci

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

NAME = "localhost/hostile:latest"


@pytest.fixture
def victim(workdir):
    """A directory of the host that anybody may write, and what is in it."""
    path = f"{workdir}/victim"
    os.makedirs(f"{path}/sub")
    os.chmod(workdir, 0o755)
    os.chmod(path, 0o777)
    for name in ("null", "hosts", "passwd"):
        with open(f"{path}/{name}", "w") as file:
            file.write(f"host {name}\n")
        os.chmod(f"{path}/{name}", 0o666)
    before = listing(path)
    yield path
    assert listing(path) == before


def listing(path):
    found = {}
    for at, directories, names in os.walk(path):
        for name in (*directories, *names):
            status = os.lstat(f"{at}/{name}")
            found[f"{at}/{name}"] = (status.st_mode, status.st_uid, status.st_mtime_ns,
                                     status.st_size)
    return found


@pytest.fixture
def hostile(rl, workdir):
    """``hostile(*MEMBERS, **CONFIG)`` loads a busybox with a layer of these on top."""

    def load(*members, **config):
        path = images.busybox(oci.layer(*members), **config).oci_archive(f"{workdir}/h.oci", NAME)
        rl.ok("load", "--input", path)
        return rl

    return load


def run(rl, *words, **how):
    return rl("run", "--rm", "--network", "none", *words, **how)


TARGETS = ("{0}", "/", "..", "../../../../../../..{0}/sub", "/proc/1/root{0}", "nowhere", "/etc")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_what_rl_mounts_goes_nowhere_else(hostile, victim, name, target):
    rl = hostile(oci.symlink(name, target.format(victim)))
    result = run(rl, NAME, "sh", "-c", f"grep -c ' /{name} ' /proc/self/mounts")
    assert result.code == 125, repr(result)
    assert f"/{name}" in result.stderr and len(result.stderr.splitlines()) == 2, repr(result)
    assert rl.ok("ps", "-aq").text == ""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["etc", "run", "tmp", "var"])
def test_links_to_directories_stay_inside(hostile, victim, name, target):
    rl = hostile(oci.symlink(name, target.format(victim)))
    for words in ([], ["--read-only", "--tmpfs", "/etc/x"]):
        result = run(rl, *words, "-v", f"{victim}/sub:/run/a:ro", NAME, "sh", "-c",
                     "cat /etc/hosts; echo started")
        # A link into the container's own proc or to itself may make it impossible: never wrong.
        assert result.code in (0, 125), repr(result)
        assert "host hosts" not in result.stdout
        assert (result.code == 0) == result.stdout.endswith("started\n")


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "hostname", "mtab", "passwd", "group"])
@pytest.mark.parametrize("target", ["{0}/hosts", "../../../../../..{0}/new", "/proc/1/root{0}/new",
                                    "../run/systemd/resolve/stub-resolv.conf", "loop/../self"])
def test_files_that_rl_writes_are_links(hostile, victim, name, target):
    rl = hostile(oci.directory("etc"), oci.symlink(f"etc/{name}", target.format(victim)))
    result = run(rl, "--hostname", "hh", NAME, "sh", "-c", "hostname; cat /etc/hostname")
    if target == "loop/../self":
        assert result.code in (0, 125), repr(result)
        return
    if "proc" in target:
        assert result.code in (0, 125), repr(result)
        return
    assert result.code == 0 and result.lines == ["hh", "hh"], repr(result)


def test_a_dangling_resolv_conf_works(hostile):
    """As systemd-resolved's images have it."""
    rl = hostile(oci.directory("etc"),
                 oci.symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"))
    result = rl.ok("run", "--rm", "--dns", "10.1.1.1", NAME, "cat", "/etc/resolv.conf",
                   "/run/systemd/resolve/stub-resolv.conf")
    assert result.lines.count("nameserver 10.1.1.1") == 2


@pytest.mark.parametrize("member", [
    oci.entry("etc/passwd", type=tarfile.FIFOTYPE),
    oci.directory("etc/passwd"),
    oci.entry("etc/passwd", "x" * (64 << 20)),
    oci.entry("etc/passwd", "root:x:0\n:::::::\nroot:x:99999999999999999999:0::/:/bin/sh\n"),
    oci.entry("etc/passwd", b"\xff\xfe\0root:x:0:0::/root:/bin/sh\n"),
])  # fmt: skip
def test_accounts_of_any_kind(hostile, member):
    rl = hostile(oci.directory("etc"), member)
    assert run(rl, NAME, "id", "-u").text == "0"
    result = run(rl, "-u", "somebody", NAME, "id", "-u")
    assert result.code == 125 and "somebody" in result.stderr


@pytest.mark.parametrize("directory", ["/link", "/link/new/deeper", "/up/../../x", "/link/../x"])
def test_a_working_directory_behind_a_link(hostile, victim, directory):
    rl = hostile(oci.symlink("link", victim), oci.symlink("up", "../../../.."),
                 WorkingDir=directory)
    result = run(rl, NAME, "sh", "-c", "pwd -P; touch made")
    assert result.code in (0, 125), repr(result)
    if result.code == 0:
        assert result.text.startswith("/")


def test_a_working_directory_is_never_outside(hostile):
    """CVE-2024-21626: a descriptor of the host as the working directory."""
    rl = hostile(WorkingDir="/proc/self/fd/7/../../../..")
    for number in range(2, 24):
        words = ["-w", f"/proc/self/fd/{number}"] if number > 2 else []
        result = run(rl, *words, NAME, "sh", "-c", "pwd; ls /proc/self/cwd")
        assert result.code == 125 or result.text.startswith("/"), repr(result)
        assert "(unreachable)" not in result.stdout


@pytest.mark.parametrize("inside", ["/link", "/link/sub", "/link/new", "/up/up/x", "/loop"])
@pytest.mark.parametrize("kind", ["bind", "file", "volume", "tmpfs"])
def test_mount_targets_behind_links(hostile, victim, workdir, inside, kind):
    rl = hostile(oci.symlink("link", victim), oci.symlink("up", "../../.."),
                 oci.symlink("loop", "loop"))
    os.mkdir(f"{workdir}/mine")
    with open(f"{workdir}/mine/file", "w") as file:
        file.write("mine\n")
    words = {"bind": ["-v", f"{workdir}/mine:{inside}"],
             "file": ["-v", f"{workdir}/mine/file:{inside}"],
             "volume": ["-v", f"vol:{inside}"],
             "tmpfs": ["--tmpfs", inside]}[kind]
    result = run(rl, *words, NAME, "sh", "-c", f"ls -d {inside}; grep -c . /proc/self/mounts")
    assert result.code == (125 if inside == "/loop" else 0), repr(result)
    with open(f"{workdir}/mine/file") as file:
        assert file.read() == "mine\n"
    rl("volume", "rm", "vol")


def test_a_mount_over_the_root_is_refused(hostile, workdir):
    rl = hostile(oci.symlink("link", "/"))
    os.mkdir(f"{workdir}/mine")
    rl.fails("run", "--rm", "--network", "none", "-v", f"{workdir}/mine:/link", NAME, "true",
             says="/link")


def test_masks_and_devices_behind_links(hostile, victim):
    rl = hostile(oci.symlink("link", victim))
    result = run(rl, "--security-opt", f"mask=/link/null:/link:{victim}/null", NAME, "true")
    assert result.code == 0, repr(result)
    result = run(rl, "--device", "/dev/null:/link/dev", NAME, "true")
    assert result.code in (0, 125), repr(result)


def test_the_image_steers_nothing_of_the_engine(hostile, victim):
    """Labels, annotations and variables of an image are data (CVE-2026-57231, -53488)."""
    rl = hostile(Env=["PATH=/bin", "SECRET", "*", "LD_PRELOAD=/x.so", "=x", "A=1"],
                 Labels={"io.containers.capabilities": "SYS_ADMIN",
                         "run.oci.keep_original_groups": "1"})
    result = run(rl, NAME, "sh", "-c", "env; grep CapEff /proc/self/status",
                 env={"SECRET": "of the host"})
    assert result.code == 0, repr(result)
    assert "of the host" not in result.stdout and "A=1" in result.lines
    (effective,) = (line for line in result.lines if line.startswith("CapEff"))
    assert effective.split()[1] in ("00000000800405fb", "0000000000000000")


def test_nothing_is_taken_from_the_image(hostile):
    """Modules and programs in it, named as those that rl itself uses, run nowhere
    (CVE-2019-14271)."""
    shout = "#!/bin/sh\necho PWNED >&2; exit 1\n"
    code = "raise SystemExit('PWNED')\n"
    members = [oci.entry(f"usr/bin/{name}", shout, mode=0o755)
               for name in ("newuidmap", "fuse-overlayfs", "pasta", "slirp4netns")]
    members += [oci.entry(f"{directory}/{name}.py", code) for name in
                ("array", "traceback", "encodings/idna", "pwd", "fcntl", "rootless/kernel/tty")
                for directory in ("usr/lib/python3.11", "usr/lib/python3.11/site-packages", "root")]
    rl = hostile(*members)
    for words in (["-t"], ["-u", "nosuch"], ["-w", "/etc/passwd"], ["--init"], []):
        result = run(rl, *words, NAME, "nosuch" if not words else "true")
        assert "PWNED" not in result.stdout + result.stderr
    rl.ok("run", "-d", "--name", "c", "--network", "none", NAME, "sleep", "60")
    for words in (["-t"], ["-u", "nosuch"], ["-w", "/nosuch"], []):
        result = rl("exec", *words, "c", "nosuch" if not words else "true")
        assert "PWNED" not in result.stdout + result.stderr
        assert "not loaded" not in result.stderr, repr(result)
    rl.ok("rm", "-f", "-t", "0", "c")
