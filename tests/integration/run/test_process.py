"""Options about the program itself, seen from inside: environment, user, limits, rights."""

import os

import pytest

from support.ids import has_range

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

ranged = pytest.mark.skipif(not has_range(), reason="one id has nobody else to be")


def env(box, *options, **how):
    result = box.rl.ok(*box.words(list(options), ["env"]), **how)
    return dict(line.split("=", 1) for line in result.lines)


def test_env(box):
    found = env(box, "-e", "A=1", "-e", "B=two words", "-e", "EMPTY=", "-e", "FROM_HOST",
                "-e", "NOT_SET", "--env", "A=2", env={"FROM_HOST": "here"})
    assert (found["A"], found["B"], found["EMPTY"]) == ("2", "two words", "")
    assert found["FROM_HOST"] == "here" and "NOT_SET" not in found


def test_env_with_a_star(box):
    found = env(box, "-e", "RLT_*", env={"RLT_ONE": "1", "RLT_TWO": "2", "OTHER": "3"})
    assert (found["RLT_ONE"], found["RLT_TWO"]) == ("1", "2") and "OTHER" not in found


def test_env_file(box, workdir):
    path = f"{workdir}/env"
    with open(path, "w") as file:
        file.write("# comment\nA=1\n\nB=a=b c\nHOSTS\nA=3\n")
    found = env(box, "--env-file", path, "-e", "C=4", env={"HOSTS": "value"})
    assert (found["A"], found["B"], found["C"], found["HOSTS"]) == ("3", "a=b c", "4", "value")
    box.fails("--env-file", f"{workdir}/none", says="none")


def test_env_host_and_unsetenv(box):
    assert env(box, "--env-host", env={"SECRET": "x"})["SECRET"] == "x"
    assert "container" not in env(box, "--unsetenv", "container")
    found = env(box, "--unsetenv-all", "-e", "ONLY=1")
    assert "PATH" not in found and found["ONLY"] == "1"


def test_proxies(box):
    proxy = {"http_proxy": "http://p:1", "NO_PROXY": "localhost"}
    found = env(box, env=proxy)
    assert found["http_proxy"] == "http://p:1" and found["NO_PROXY"] == "localhost"
    found = env(box, "--http-proxy=false", env=proxy)
    assert "http_proxy" not in found and "NO_PROXY" not in found


@pytest.mark.parametrize("entry", ["=x", "="])
def test_bad_env(box, entry):
    box.fails("-e", entry, says=entry)


def test_workdir(box):
    assert box.text("-w", "/tmp", sh="pwd") == "/tmp"
    assert box.text("--workdir", "/made/for/me", sh="pwd; stat -c %u .").split() == [
        "/made/for/me", "0"]  # fmt: skip
    box.fails("-w", "relative", says="relative")
    box.fails("-w", "/etc/passwd", says="/etc/passwd")


@pytest.mark.parametrize("options, wanted", [
    (("-u", "1000"), "1000 1000 1000,50 /home/user"),
    (("-u", "user"), "1000 1000 1000,50 /home/user"),
    (("-u", "user:staff"), "1000 50 50 /home/user"),
    (("-u", "1234"), "1234 0 0 /"),
    (("-u", "1234:77"), "1234 77 77 /"),
    (("-u", "user", "--group-add", "daemon"), "1000 1000 1000,1,50 /home/user"),
    (("-u", ":50"), "0 50 50 /root"),
    (("--group-add", "50"), "0 0 0,50 /root"),
])  # fmt: skip
@ranged
def test_user(box, options, wanted):
    script = "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n | tr '\\n' ,) $HOME"
    found = box.text(*options, sh=script).split()
    uid, gid, groups, home = wanted.split()
    assert found[:2] + found[3:] == [uid, gid, home]
    assert set(filter(None, found[2].split(","))) == set(groups.split(","))


@pytest.mark.parametrize("user", ["nosuchuser", "root:nosuchgroup", "-1", "4294967296", "1:2:3"])
def test_bad_user(box, user):
    box.fails(f"--user={user}", says=user.split(":")[-1])


def test_one_id_names_the_way_out(box):
    if has_range():
        box.fails("-u", "70000", says="70000")
    else:
        assert "keep-id" in box.fails("-u", "1000", says="1000").stderr


def test_keep_groups(box):
    result = box.rl.ok(*box.words(["--group-add", "keep-groups"], ["cat", "/proc/self/status"]))
    (line,) = (line for line in result.lines if line.startswith("Groups:"))
    extra = [group for group in os.getgroups() if group != os.getegid()]
    assert line.split()[1:].count("65534") >= bool(extra)
    box.fails("--group-add", "keep-groups", "--group-add", "50", says="keep-groups")


@pytest.mark.parametrize("text, mask", [("0077", "0077"), ("27", "0027"), ("0", "0000")])
def test_umask(box, text, mask):
    assert box.text("--umask", text, sh="umask") == mask


def test_bad_umask(box):
    box.fails("--umask", "9", says="9")
    box.fails("--umask", "77777", says="77777")


def test_ulimit(box):
    script = "ulimit -Sn; ulimit -Hn; ulimit -Sc"
    assert box.text("--ulimit", "nofile=100:200", "--ulimit", "core=0", sh=script).split() == [
        "100", "200", "0"]  # fmt: skip
    box.fails("--ulimit", "nosuch=1", says="nosuch")
    box.fails("--ulimit", "nofile=200:100", says="nofile")


@pytest.mark.parametrize("options, bits", [
    (("--cap-drop", "all"), "0000000000000000"),
    (("--cap-drop", "ALL", "--cap-add", "chown"), "0000000000000001"),
    (("--cap-drop", "CAP_CHOWN"), "00000000800405fa"),
    (("--cap-add", "NET_RAW"), "00000000800425fb"),
    (("--cap-add", "all", "--cap-drop", "sys_admin"), None),
])  # fmt: skip
def test_capabilities(box, options, bits):
    found = box.text(*options, sh="grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status").split()[1::2]
    if bits is None:
        bits = found[0]
        assert not int(bits, 16) >> 21 & 1 and int(bits, 16) >> 12 & 1
    assert found == [bits] * 3


def test_an_unknown_capability(box):
    box.fails("--cap-add", "NOSUCH", says="NOSUCH")


def test_privileged(box):
    script = ("grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /sys/x 2>&1;"
              " grep -c ' /proc/sys ' /proc/self/mounts; ls /dev | wc -l; cat /run/.containerenv")
    lines = box("--privileged", sh=script).lines
    with open("/proc/sys/kernel/cap_last_cap") as file:
        everything = (1 << int(file.read()) + 1) - 1
    assert int(lines[0].split()[1], 16) == everything and lines[1].split()[1] == "0"
    assert lines[3] == "0" and int(lines[4]) > 15
    assert 'engine="rl"' in lines[5]
    assert any(line == "rootless=1" for line in lines)


@pytest.mark.parametrize("options, script, wanted", [
    (("no-new-privileges",), "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    (("no-new-privileges:true",), "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    (("unmask=ALL",), "grep -cE ' /proc/(sys|bus|fs|keys) ' /proc/self/mounts", "0"),
    (("unmask=/proc/keys",), "grep -c ' /proc/keys ' /proc/self/mounts", "0"),
    (("mask=/etc/passwd:/tmp",), "cat /etc/passwd; touch /tmp/x 2>/dev/null || echo no", "no"),
    (("label=disable",), "echo yes", "yes"),
    (("proc-opts=hidepid=2",), "grep -o hidepid=[a-z0-9]* /proc/mounts | head -1",
     "hidepid=invisible"),
])  # fmt: skip
def test_security_options(box, options, script, wanted):
    words = [word for option in options for word in ("--security-opt", option)]
    result = box.rl(*box.words(words, ["sh", "-c", script]))
    assert result.text == wanted and result.stderr == "", repr(result)


@pytest.mark.parametrize("option", ["nosuch", "nosuch=1", "seccomp=/no/such/file",
                                    "apparmor=no-such-profile", "no-new-privileges=perhaps"])
def test_bad_security_options(box, option):
    box.fails("--security-opt", option, says=option.split("=")[-1])


def test_a_seccomp_profile(box, workdir):
    path = f"{workdir}/profile.json"
    with open(path, "w") as file:
        file.write('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", '
                   '"mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}')
    result = box("--security-opt", f"seccomp={path}", sh="mkdir /x", code=1)
    assert "No space left" in result.stderr
    with open(path, "w") as file:
        file.write("{")
    box.fails("--security-opt", f"seccomp={path}", says=path)


def test_devices(box):
    script = "stat -c %t:%T /dev/mine; echo x > /dev/mine && echo written"
    assert box.text("--device", "/dev/null:/dev/mine", sh=script).split() == ["1:3", "written"]
    assert box.text("--device", "/dev/fuse", sh="stat -c %t:%T /dev/fuse") == "a:e5"
    box.fails("--device", "/dev/nosuch", says="/dev/nosuch")
    box.fails("--device", "/etc/passwd", says="/etc/passwd")
    box.fails("--device", "/dev/null:/dev/x:q", says="q")


def test_time_zone(box):
    if os.path.exists("/usr/share/zoneinfo/Asia/Tokyo"):
        assert box.text("--tz", "Asia/Tokyo", sh="cat /etc/localtime | tail -1") == "JST-9"
    box.fails("--tz", "No/Such", says="No/Such")
    box.fails("--tz", "../../../etc/passwd", says="passwd")


def test_entrypoint(box):
    words = ["run", "--rm", "--network", "none", "--entrypoint"]
    assert box.rl.ok(*words, "echo", box.image, "a", "b").text == "a b"
    assert box.rl.ok(*words, '["echo", "x y"]', box.image, "z").text == "x y z"


def test_labels_and_annotations(own_box, workdir):
    rl = own_box.rl
    with open(f"{workdir}/labels", "w") as file:
        file.write("a=file\nb=file\n")
    rl.ok("run", "--network", "none", "--name", "l", "--label", "a=1", "--label", "empty",
          "--label-file", f"{workdir}/labels", "--annotation", "k=v=w", own_box.image, "true")
    (found,) = rl.ok("inspect", "l").json()
    labels = found["Config"]["Labels"]
    assert (labels["a"], labels["b"], labels["empty"]) == ("1", "file", "")
    assert found["Config"]["Annotations"]["k"] == "v=w"
    rl.ok("rm", "l")


@ranged
def test_passwd_entries(box):
    script = "grep ':4321:' /etc/passwd /etc/group; grep -c . /etc/passwd"
    result = box("-u", "4321", sh=script)
    assert result.lines[0].startswith("/etc/passwd:") and ":4321:0:" in result.lines[0]
    assert result.lines[-1] == "5"
    result = box("-u", "4321", "--passwd=false", sh=script)
    assert result.lines == ["4"]
    found = box.text("-u", "4321", "--passwd-entry", "me:*:$UID:$GID::/h:/bin/sh",
                     sh="tail -1 /etc/passwd; whoami")
    assert found.splitlines() == ["me:*:4321:0::/h:/bin/sh", "me"]
    assert "host" in box.text("--passwd-entry", "host:x:9:9::/:/bin/sh", "-u", "9",
                              sh="tail -1 /etc/passwd")


def test_hostuser(box):
    import pwd

    mine = pwd.getpwuid(os.geteuid())
    found = box.text("--hostuser", mine.pw_name, sh=f"grep ^{mine.pw_name}: /etc/passwd")
    assert found.split(":")[2] == str(mine.pw_uid)
    box.fails("--hostuser", "no-such-user", says="no-such-user")


def test_quiet_and_pull(box):
    result = box.rl.fails("run", "--rm", "--pull", "never", "localhost/absent", "true",
                          says="localhost/absent")
    assert "Trying" not in result.stderr
    assert box.text("--pull", "missing", sh="echo yes") == "yes"
    box.fails("--pull", "sometimes", says="sometimes")


def test_a_foreign_platform(box):
    other = "arm64" if os.uname().machine == "x86_64" else "amd64"
    result = box.fails("--platform", f"linux/{other}", says=other)
    assert len(result.stderr.splitlines()) == 2
