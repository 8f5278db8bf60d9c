"""Arguments, directory, user, environment and limits."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.engine.spec import environment, process
from rootless.engine.spec.values import BadOption
from rootless.runtime import users
from unit.spec.making import ID, ONE, environ, make

IMAGE = {"Entrypoint": ["/entry", "a"], "Cmd": ["b"]}


# --- what runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("words, image, entrypoint, wanted", [
    ((), IMAGE, None, ["/entry", "a", "b"]),
    (("x", "y"), IMAGE, None, ["/entry", "a", "x", "y"]),
    ((), {"Cmd": ["b"]}, None, ["b"]),
    (("x",), {"Cmd": ["b"]}, None, ["x"]),
    ((), {"Entrypoint": ["e"]}, None, ["e"]),
    (("x",), IMAGE, "/mine", ["/mine", "x"]),
    ((), IMAGE, "/mine", ["/mine"]),  # the image's command belongs to its entrypoint
    (("x",), IMAGE, "", ["x"]),
    ((), IMAGE, '["/mine", "two words"]', ["/mine", "two words"]),
    (("x",), IMAGE, '["/mine"]', ["/mine", "x"]),
    (("x",), IMAGE, "[", ["[", "x"]),
    (("x",), IMAGE, "a b", ["a b", "x"]),
    ((), {"Entrypoint": [""], "Cmd": ["b"]}, None, ["b"]),
    ((), {"Entrypoint": None, "Cmd": ["b"]}, None, ["b"]),
])  # fmt: skip
def test_arguments(words, image, entrypoint, wanted):
    assert make(*words, image=image, entrypoint=entrypoint)["process"]["args"] == wanted


@pytest.mark.parametrize("words, image, entrypoint", [
    ((), {}, None), ((), {"Cmd": []}, None), ((), IMAGE, ""), (("",), {}, None), ((), IMAGE, "[]"),
])  # fmt: skip
def test_no_command(words, image, entrypoint):
    with pytest.raises(process.NoCommand) as caught:
        make(*words, image=image or {"Env": []}, entrypoint=entrypoint)
    assert caught.value.exit_code == 125 and caught.value.advice


def test_an_entrypoint_of_something_else():
    with pytest.raises(BadOption):
        make(entrypoint="[1]")


def test_init():
    spec = make("a", init=True)
    assert spec["process"]["args"] == ["/dev/init", "--", "a"] and spec["rl"]["init"]


@pytest.mark.parametrize("given_, image, wanted", [
    (None, None, "/"), (None, "", "/"), (None, "/srv", "/srv"), (None, "srv", "/srv"),
    ("/x", "/srv", "/x"), ("/", "/srv", "/"),
])  # fmt: skip
def test_directory(given_, image, wanted):
    assert make(image={"Cmd": ["a"],
                       "WorkingDir": image}, workdir=given_)["process"]["cwd"] == wanted


@pytest.mark.parametrize("path", ["x", "", "./x"])
def test_bad_directory(path):
    with pytest.raises(BadOption):
        make(workdir=path)


# --- users ---------------------------------------------------------------------------------


@pytest.mark.parametrize("typed, image, wanted", [
    (None, None, ("", 0, 0)),
    (None, "web", ("web", 0, 0)),
    ("7", "web", ("7", 7, 0)),
    ("7:8", None, ("7:8", 7, 8)),
    ("ann:adm", None, ("ann:adm", 0, 0)),
    ("0", "web", ("0", 0, 0)),
    (":5", None, (":5", 0, 5)),
])  # fmt: skip
def test_user(typed, image, wanted):
    found = make(image={"Cmd": ["a"], "User": image}, user=typed)["process"]["user"]
    assert (found["username"], found["uid"], found["gid"]) == wanted


@pytest.mark.parametrize("typed", ["-1", "2147483648", "4294967295", "99999999999999999999",
                                   "1:-1"])
def test_ids_out_of_range(typed):
    with pytest.raises(users.BadId):
        make(user=typed)


@pytest.mark.parametrize("typed", ["a:b:c", ":", "a\nb", "a\0b"])
def test_bad_users(typed):
    with pytest.raises(users.BadUser):
        make(user=typed)


def test_an_empty_user_was_a_mistake():
    with pytest.raises(BadOption):
        make(user="")


def test_a_user_that_is_not_mapped():
    with pytest.raises(users.NotMapped) as caught:
        make(user="70000")
    assert "0, 1-65536" in caught.value.message
    for more in ({"user": "1:70000"}, {"group_add": "70000"}):
        with pytest.raises(users.NotMapped) as caught:
            make(**more)
        assert caught.value.message.startswith("group 70000")
    with pytest.raises(users.NotMapped):
        make(userns="keep-id", facts={"ids": ONE}, user="0")
    with pytest.raises(users.NotMapped) as caught:
        make(user="33", facts={"ids": ONE})
    assert "keep-id:uid=33" in caught.value.advice
    assert make(user="33", userns="keep-id:uid=33", facts={"ids": ONE})


def test_groups():
    user = make(group_add=("4", "audio", "5"))["process"]["user"]
    assert user["additionalGids"] == [4, 5] and user["groupNames"] == ["audio"]
    spec = make(group_add="keep-groups")
    assert spec["rl"]["keepGroups"] and "additionalGids" not in spec["process"]["user"]


def test_keep_groups_stands_alone():
    with pytest.raises(BadOption):
        make(group_add=("keep-groups", "4"))


def test_groups_with_one_id():
    with pytest.raises(process.GroupsDenied):
        make(group_add="4", facts={"ids": ONE})
    assert make(group_add="keep-groups", facts={"ids": ONE})["rl"]["keepGroups"]


@pytest.mark.parametrize("text, mask", [(None, 0o022), ("0", 0), ("22", 0o022), ("0077", 0o077),
                                        ("777", 0o777)])  # fmt: skip
def test_umask(text, mask):
    assert make(umask=text)["process"]["user"]["umask"] == mask


@pytest.mark.parametrize("text", ["", "8", "1777", "00022", "-1", "0o22", "x", "٢"])
def test_bad_umask(text):
    with pytest.raises(BadOption):
        make(umask=text)


# --- environment ---------------------------------------------------------------------------

DEFAULTS = {"PATH": environment.PATH, "container": "rl", "HOSTNAME": ID[:12]}


def test_exactly_the_defaults():
    assert environ(make(facts={"environ": {"SECRET": "x", "TERM": "dumb",
                                           "HOME": "/h"}})) == DEFAULTS
    assert environ(make(tty=True)) == {**DEFAULTS, "TERM": "xterm"}


def test_the_order_of_sources(tmp_path):
    file = tmp_path / "env"
    file.write_text("C=file\nD=file\n")
    theirs = {"B": "host", "C": "host", "D": "host", "http_proxy": "host", "https_proxy": "host"}
    image = {"Cmd": ["a"], "Env": ["A=image", "B=image", "C=image", "D=image", "http_proxy=image"]}
    spec = make(image=image, env_host=True, env_file=str(file), env=("D=option", "https_proxy=o"),
                facts={"environ": theirs})
    assert environ(spec) == {
        **DEFAULTS, "A": "image", "B": "host", "C": "file", "D": "option", "http_proxy": "host",
        "https_proxy": "o",
    }  # fmt: skip


def test_an_image_takes_nothing_from_the_host():
    image = {"Cmd": ["a"], "Env": ["SECRET", "*", "S*", "", "=x", "A\0=b", "OK=", "PATH=/p"]}
    spec = make(image=image, facts={"environ": {"SECRET": "x"}})
    assert environ(spec) == {**DEFAULTS, "OK": "", "PATH": "/p"}


def test_proxies_in_both_cases_and_nothing_else():
    theirs = {"http_proxy": "1", "HTTPS_PROXY": "2", "no_proxy": "3", "FTP_PROXY": "4",
              "all_proxy": "5", "Http_Proxy": "6"}
    found = environ(make(facts={"environ": theirs}))
    assert found == {**DEFAULTS, "http_proxy": "1", "HTTPS_PROXY": "2", "no_proxy": "3",
                     "FTP_PROXY": "4"}
    assert environ(make(http_proxy=False, facts={"environ": theirs})) == DEFAULTS


def test_env_without_a_value():
    theirs = {"AB": "1", "AC": "2", "B": "3"}
    found = environ(make(env=("A*", "B", "NOPE"), facts={"environ": theirs}))
    assert found == {**DEFAULTS, **theirs}
    assert environ(make(env="A*=x"))["A*"] == "x"
    assert environ(make(env="A=b=c"))["A"] == "b=c"


@pytest.mark.parametrize("entry", ["", "=x", "A\0=b"])
def test_bad_env(entry):
    with pytest.raises(BadOption):
        make(env=(entry,))


def test_unsetenv():
    image = {"Cmd": ["a"], "Env": ["A=1", "B=2"]}
    found = make(image=image, unsetenv=("A", "PATH", "NOPE"), env="C=3")
    assert environ(found) == {"container": "rl", "HOSTNAME": ID[:12], "B": "2", "C": "3"}
    assert found["rl"]["setHome"]
    assert not make(unsetenv="HOME")["rl"]["setHome"]
    found = make(image=image, unsetenv_all=True, env="C=3", tty=True)
    assert environ(found) == {"C": "3"} and not found["rl"]["setHome"]


def test_env_merge():
    image = {"Cmd": ["a"], "Env": ["A=1", "B=2"]}
    found = environ(make(image=image, env_merge=("A=${A}-$B", "C=$NOPE|${NOPE}")))
    assert found["A"] == "1-2" and found["C"] == "|"
    for bad in ("A", "=x"):
        with pytest.raises(BadOption):
            make(env_merge=bad)


@given(st.text())
def test_expand_of_anything(text):
    found = environment.expand(text, {"A": "$B", "B": "x"})
    assert isinstance(found, str) and ("$" in text or found == text)


ENV_FILE = """\
# a comment
A=1
  B=2

C = 3
D='quoted' # kept
E=
  # indented comment
F
G*
"""


def test_env_file(tmp_path):
    file = tmp_path / "env"
    file.write_text(ENV_FILE.replace("C = 3\n", "C= 3 \n"))
    theirs = {"F": "f", "G1": "g", "H": "h"}
    found = environ(make(env_file=str(file), facts={"environ": theirs}))
    assert found == {**DEFAULTS, "A": "1", "B": "2", "C": " 3 ", "D": "'quoted' # kept", "E": "",
                     "F": "f", "G1": "g"}


@pytest.mark.parametrize("content, word", [
    (b"C = 3\n", "space"), (b"export A=1\n", "space"), (b"A=1\n=x\n", "line 2"), (b"\xff=1",
                                                                                  "UTF-8"),
    (b"A=\0", "NUL"), (b"x" * (1 << 20) + b"x", "1 MiB"),
])  # fmt: skip
def test_bad_env_file(tmp_path, content, word):
    file = tmp_path / "env"
    file.write_bytes(content)
    with pytest.raises(BadOption) as caught:
        make(env_file=str(file))
    assert word in caught.value.message


def test_env_file_of_other_systems(tmp_path):
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbfA=1\r\nB=2\r\n")
    assert environ(make(env_file=str(file))) == {**DEFAULTS, "A": "1", "B": "2"}


def test_an_env_file_that_is_not_there(tmp_path):
    with pytest.raises(BadOption):
        make(env_file=str(tmp_path / "absent"))


# --- limits --------------------------------------------------------------------------------


def limits(spec):
    found = spec["process"]["rlimits"]
    return {entry["type"]: (entry["soft"], entry["hard"]) for entry in found}


@pytest.mark.parametrize("mine, wanted", [
    ((1024, 1048576), None), ((20000, 32768), None), ((1 << 30, 1 << 30), (1048576, 1048576)),
    ((-1, -1), (1048576, 1048576)), ((1024, -1), (1024, 1048576)),
])  # fmt: skip
def test_open_files_and_processes_are_bounded(mine, wanted):
    facts = {"limits": {"nofile": mine, "nproc": (5, 5)}}
    assert limits(spec=make(facts=facts)).get("RLIMIT_NOFILE") == wanted


def test_ulimits():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    spec = make(ulimit=(f"nofile=10:{hard}", "RLIMIT_CORE=0", "fsize=5"))
    assert limits(spec=spec) == {
        "RLIMIT_NOFILE": (10, hard), "RLIMIT_CORE": (0, 0), "RLIMIT_FSIZE": (5, 5),
        "RLIMIT_NPROC": (1048576, 1048576),
    }  # fmt: skip
    assert limits(spec=make(ulimit="host", facts={"limits": {"nofile": (-1, -1),
                                                             "nproc": (-1, -1)}})) == {}


@pytest.mark.parametrize("text", ["", "nofile", "nofile=", "nofile=x", "nofile=2:1", "nofile=-2",
                                  "files=3", "nofile=1:2:3", "nofile=-1:5", "nofile=1.5",
                                  "=5", "nofile=99999999999999999999"])  # fmt: skip
def test_bad_ulimits(text):
    with pytest.raises(BadOption):
        make(ulimit=(text,))


def test_a_limit_above_the_hard_one(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda number: (10, 100))
    assert make(ulimit="nofile=100")
    for text in ("nofile=50:101", "nofile=-1", "nofile=unlimited"):
        with pytest.raises(process.LimitTooHigh) as caught:
            make(ulimit=text)
        assert "100" in caught.value.message


def test_oom_score():
    assert "oomScoreAdj" not in make()["process"]
    assert make(oom_score_adj=500)["process"]["oomScoreAdj"] == 500
    spec = make(oom_score_adj=-500, facts={"oom_score_adj": 100})
    assert spec["process"]["oomScoreAdj"] == 100 and len(spec["rl"]["warnings"]) == 1
    for bad in (-1001, 1001):
        with pytest.raises(BadOption):
            make(oom_score_adj=bad)
