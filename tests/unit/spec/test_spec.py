"""The rest of the specification, and what holds for all of it."""

import os
import subprocess
import sys

import pytest

from rootless.engine.spec.host import gather
from rootless.engine.spec.spec import make_spec
from rootless.engine.spec.values import BadOption
from rootless.model import jsontext
from rootless.model.idmap import Ids, stack
from rootless.runtime import users
from unit.spec.making import ID, ONE, environ, host, make, mount, options, request


def test_it_is_plain_data_and_pure():
    image = {"Cmd": ["a"], "Env": ["A=1"], "Volumes": {"/d": {}}, "Labels": {"a": "b"}}
    asked, facts = request(volume="v:/x", tty=True), host()
    before = jsontext.dumps([image, asked.options])
    first = make_spec(asked, image, facts)
    assert jsontext.loads(jsontext.dumps(first)) == first
    assert make_spec(asked, image, facts) == first
    assert jsontext.dumps([image, asked.options]) == before


def test_terminal():
    assert make(tty=True)["process"]["terminal"] is True
    assert make()["process"]["terminal"] is False


def test_life():
    life = make()["rl"]
    assert (life["stopSignal"], life["timeout"], life["init"]) == (15, 0, False)
    assert make(timeout=5)["rl"]["timeout"] == 5
    assert make(stop_signal="INT")["rl"]["stopSignal"] == 2
    image = {"Cmd": ["a"], "StopSignal": "SIGQUIT"}
    assert make(image=image)["rl"]["stopSignal"] == 3
    assert make(image=image, stop_signal="9")["rl"]["stopSignal"] == 9
    assert make(image={"Cmd": ["a"], "StopSignal": "nonsense"})["rl"]["stopSignal"] == 15
    for bad in ({"timeout": -1}, {"stop_signal": "SIGFLY"}, {"timeout": 1 << 31}):
        with pytest.raises(BadOption):
            make(**bad)


def test_labels_and_annotations(tmp_path):
    file = tmp_path / "labels"
    file.write_text("# comment\n\na=file\n b=file \n")
    image = {"Cmd": ["x"], "Labels": {"a": "image", "i": "image"}}
    spec = make(image=image, label_file=str(file), label=("b=option", "c"), annotation=("x=y", "z"))
    assert spec["rl"]["labels"] == {"a": "file", "b": "option", "c": "", "i": "image"}
    assert spec["annotations"] == {"x": "y", "z": ""}
    for bad in ({"label": "=x"}, {"annotation": ""}, {"label_file": str(tmp_path / "absent")}):
        with pytest.raises(BadOption):
            make(**{key: (value,) for key, value in bad.items()})


# --- time zones ------------------------------------------------------------------------------


@pytest.fixture
def zones(tmp_path):
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_text("")
    (tmp_path / "UTC").write_text("")
    (tmp_path / "link").symlink_to("UTC")
    return {"zoneinfo": str(tmp_path), "localtime": str(tmp_path / "link")}


def test_time_zones(zones):
    assert mount(make(facts=zones), "/etc/localtime") is None
    spec = make(tz="Europe/Berlin", facts=zones)
    assert mount(spec, "/etc/localtime")["source"].endswith("/Europe/Berlin")
    assert "ro" in options(spec, "/etc/localtime")
    assert mount(make(tz="link", facts=zones), "/etc/localtime")["source"].endswith("/UTC")
    assert mount(make(tz="local", facts=zones), "/etc/localtime")["source"].endswith("/UTC")


@pytest.mark.parametrize("name", ["", "Europe", "Europe/", "/UTC", "../UTC", "Europe/../UTC",
                                  "./UTC",
                                  "Nowhere", "UTC\0", "Local"])  # fmt: skip
def test_bad_time_zones(zones, name):
    with pytest.raises(BadOption):
        make(tz=name, facts=zones)


def test_no_local_time(zones):
    with pytest.raises(BadOption):
        make(tz="local", facts={**zones, "localtime": "/absent"})


# --- systemd ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words, mode, wanted", [
    (("/sbin/init",), None, True), (("/usr/sbin/init",), None, True), (("systemd",), None, True),
    (("/lib/systemd/systemd",), "true", True), (("/sbin/init",), "false", False),
    (("sh",), None, False), (("sh",), "true", False), (("sh",), "always", True),
    (("init",), None, False),
])  # fmt: skip
def test_systemd(words, mode, wanted):
    spec = make(*words, systemd=mode, facts={"cgroup_writable": True})
    assert spec["rl"]["systemd"] is wanted
    assert (spec["rl"]["stopSignal"] == 37) == wanted
    assert (environ(spec).get("container_uuid") == ID[:32]) == wanted
    assert (mount(spec, "/run/lock") is not None) == wanted
    assert ("ro" not in options(spec, "/sys/fs/cgroup")) == wanted


def test_systemd_without_a_cgroup():
    with pytest.raises(BadOption):
        make(systemd="always")
    assert len(make("/sbin/init")["rl"]["warnings"]) == 1
    with pytest.raises(BadOption):
        make(systemd="maybe")


# --- one id, entries of passwd -----------------------------------------------------------------


def test_apt_is_told_that_there_is_one_user():
    [text] = make(facts={"ids": ONE})["rl"]["texts"]
    assert text["path"].startswith(text["only_if"] + "/") and 'User "root";' in text["text"]
    assert make()["rl"]["texts"] == []


def test_passwd():
    assert make()["rl"]["passwd"] == {"accounts": [], "entry": None, "groupEntry": None}
    assert make(passwd=False)["rl"]["passwd"] is None
    kept = make(userns="keep-id:uid=5,gid=6", facts={"uid": os.getuid()})["rl"]["passwd"]
    assert kept["accounts"][0][1:3] == [5, 6]
    mine = make(hostuser="root")["rl"]["passwd"]["accounts"]
    assert mine[0][:3] == ["root", 0, 0]
    assert make(hostuser="0")["rl"]["passwd"]["accounts"] == mine
    with pytest.raises(BadOption):
        make(hostuser="no-such-user")
    with pytest.raises(BadOption):
        make(passwd=False, hostuser="root")
    for bad in ({"passwd_entry": "a:b"}, {"group_entry": "a\nb:x:1:"}):
        with pytest.raises(users.BadEntry):
            make(**bad)


# --- this machine ------------------------------------------------------------------------------


def test_gather():
    ids = Ids(stack(os.getuid(), []), stack(os.getgid(), []), "single")
    facts = gather(ids, {"A": "1"}, container=ID)
    assert facts.uid == os.getuid() and facts.environ == {"A": "1"}
    assert facts.cwd == os.getcwd() and facts.container == ID
    assert set(facts.limits) == {"nofile", "nproc"} and facts.cgroup in (0, 1, 2)
    assert facts.capabilities & 1 and make_spec(request("x"), {}, facts)


def test_modules_of_the_usual_path():
    """What ``rl run IMAGE`` may load; the rest costs milliseconds (docs: start-up budget)."""
    code = (
        "import sys\n"
        "from rootless.engine.spec.host import gather\n"
        "from rootless.engine.spec.spec import make_spec\n"
        "from rootless.model.idmap import Ids, stack\n"
        "from rootless.model.request import Request\n"
        "ids = Ids(stack(0, []), stack(0, []), 'single')\n"
        "given = {'http_proxy': True, 'passwd': True, 'tty': True}\n"
        "make_spec(Request('run', given, ('i', 'c')), {}, gather(ids, {}))\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    unwanted = {"re", "json", "enum", "typing", "dataclasses", "pathlib", "logging", "contextlib",
                "subprocess", "pwd", "fnmatch", "rootless.engine.spec.volumes",
                "rootless.engine.spec.devices", "rootless.engine.spec.idmaps",
                "rootless.runtime.profile"}
    assert not loaded & unwanted
