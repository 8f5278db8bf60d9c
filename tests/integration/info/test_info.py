"""rl info and rl doctor on this machine, and on worse ones made for them."""

import json
import os
import stat

import pytest

pytestmark = pytest.mark.integration

LADDERS = ["ids", "layer", "layer size", "limits", "network", "user networks",
           "runtime directory", "confinement"]


def findings(rl, **how):
    """{name: finding} of rl doctor."""
    found = rl("doctor", "--format", "json", **how)
    assert found.code in (0, 1), repr(found)
    document = found.json()
    assert document["able"] == (found.code == 0)
    return {finding["name"]: finding for finding in document["findings"]}


def rungs(rl, ladder, **how):
    rows = rl.ok("info", "--why", "--format", "json", **how).json()[ladder]
    return {row["rung"]: row for row in rows}


def test_info_names_the_rung_of_every_ladder(rl):
    found = rl.ok("info", "--format", "json").json()
    assert list(found["ladders"]) == LADDERS
    for name, rows in found["ladders"].items():
        assert any(row["ok"] for row in rows), name
        assert all(row["reason"] or row["ok"] for row in rows), name
    assert found["store"]["graphRoot"] == rl.root
    assert found["store"]["runRoot"] == f"{rl.run}/rl"
    assert found["host"]["uid"] == os.getuid()
    assert found["host"]["kernel"] == os.uname().release
    assert found["host"]["memTotal"] > found["host"]["memFree"] > 0
    maps = found["host"]["idMappings"]["uidmap"]
    assert maps[0] == {"container_id": 0, "host_id": os.getuid(), "size": 1}


def test_info_as_text_is_yaml(rl):
    text = rl.ok("info").stdout
    assert text.startswith("host:\n  arch: ")
    assert f"\n  graphRoot: {rl.root}\n" in text
    for ladder in LADDERS:
        assert f"\n  {ladder}: " in text


def test_templates(rl):
    assert rl.ok("info", "--format", "{{.Store.GraphRoot}}").text == rl.root
    assert rl.ok("system", "info", "-f", "{{.Host.Kernel}}").text == os.uname().release


def test_why_shows_every_rung(rl):
    text = rl.ok("info", "--why").stdout
    for rung in ("range", "single", "overlay", "fuse-overlayfs", "clone", "seccomp"):
        assert f" {rung} " in text
    assert text.count("in use") == len(LADDERS)


def test_why_shows_where_settings_come_from(rl):
    os.makedirs(f"{rl.home}/config/rl")
    with open(f"{rl.home}/config/rl/rl.toml", "w") as file:
        file.write("[engine]\nstop_timeout = 3\n")
    lines = rl.ok("info", "--why", env={"RL_NETWORK": "none"}).lines
    assert any(line.split() == ["network", "RL_NETWORK"] for line in lines)
    assert any(line.split() == ["stop_timeout", f"{rl.home}/config/rl/rl.toml"] for line in lines)


def test_counts(rl, busybox):
    found = rl.ok("info", "--format", "json").json()["store"]
    assert found["imageStore"]["number"] == 1
    assert found["containerStore"] == {"number": 0, "paused": 0, "running": 0, "stopped": 0}
    rl.ok("volume", "create", "v")
    rl.ok("create", busybox, "true")
    found = rl.ok("info", "--format", "json").json()["store"]
    assert found["volumeStore"]["number"] == 1
    assert found["containerStore"]["stopped"] == 1


def test_results_are_remembered_and_doctor_looks_afresh(rl):
    rl.ok("info", "--why")
    cache = f"{rl.run}/rl/probes.json"
    with open(cache) as file:
        kept = json.load(file)
    assert set(kept["entries"]) >= {"layer", "network"}
    kept["entries"]["layer"]["value"] = [{"rung": "overlay", "ok": True, "reason": "remembered"}]
    with open(cache, "w") as file:
        json.dump(kept, file)
    assert rungs(rl, "layer")["overlay"]["reason"] == "remembered"
    rl("doctor")
    assert rungs(rl, "layer")["overlay"]["reason"] != "remembered"


def test_a_driver_named_by_the_user_is_the_only_rung(rl):
    found = rungs(rl, "layer", env={"RL_STORAGE_DRIVER": "clone"})
    assert list(found) == ["clone"]
    assert "RL_STORAGE_DRIVER" in found["clone"]["reason"]


# -- doctor --------------------------------------------------------------------------------


def test_doctor_as_text(rl):
    found = rl("doctor")
    assert found.code == 0, repr(found)
    for ladder in LADDERS:
        assert f" {ladder}: " in found.stdout
    assert found.stderr == ""


def test_doctor_leaves_nothing_behind(rl):
    rl("doctor")
    left = [name for name in os.listdir(rl.root) if name.startswith(".")]
    assert left == [] and os.listdir(f"{rl.root}/tmp") == []


def fake(rl, name, text="#!/bin/sh\nexit 1\n", mode=0o755):
    """A helper program that comes before the real one."""
    directory = f"{rl.home}/fake"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{name}", "w") as file:
        file.write(text)
    os.chmod(f"{directory}/{name}", mode)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def test_newuidmap_without_its_privilege(rl):
    found = findings(rl, env=fake(rl, "newuidmap"))
    finding = found["newuidmap-powerless"]
    assert "mode 0755" in finding["evidence"][0]
    assert f"setcap cap_setuid+ep {rl.home}/fake/newuidmap" in finding["root"]


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 0\n", "#!/bin/sh\nexit 3\n", "not a program"])
def test_a_newuidmap_that_lies_or_fails_leaves_one_id(rl, text):
    """It may fail, or claim success and do nothing."""
    env = fake(rl, "newuidmap", text)
    fake(rl, "newgidmap", text)
    found = rungs(rl, "ids", env=env)
    assert not found["range"]["ok"] and found["single"]["ok"]
    assert found["range"]["reason"]


def test_a_runtime_directory_that_is_not_ours(rl):
    os.symlink("/", f"{rl.run}/rl")
    finding = findings(rl)["runtime-not-ours"]
    assert finding["level"] == "fatal"
    assert f"{rl.run}/rl" in finding["evidence"][0]
    rl.fails("run", "--rm", "hello", says="a runtime directory that isn't ours")
    os.unlink(f"{rl.run}/rl")


def test_a_store_that_belongs_to_somebody_else(rl):
    env = {"RL_ROOT": "/usr"}
    finding = findings(rl, env=env)["store-owner"]
    assert "uid 0" in finding["cause"]
    rl.fails("volume", "create", "v", env=env, says="belongs to somebody else")


def test_a_store_in_memory(rl):
    if os.statvfs("/dev/shm").f_flag & os.ST_NOEXEC:
        wanted = "store-noexec"
    else:
        wanted = "store-memory"
    path = f"/dev/shm/rlt-{os.getpid()}"
    os.mkdir(path, 0o700)
    try:
        assert wanted in findings(rl, env={"RL_ROOT": f"{path}/s"})
    finally:
        import subprocess

        subprocess.run(["rm", "-rf", path], check=True)


def test_a_store_that_cannot_be_written_to(rl):
    os.chmod(f"{rl.home}/data", 0o500)
    finding = findings(rl)["store-unwritable"]
    assert "EACCES" in finding["evidence"][0]
    os.chmod(f"{rl.home}/data", 0o700)


def test_no_new_privs(rl):
    """As in a CI job or a hardened service: newuidmap gains nothing."""
    import ctypes

    def lose():
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)

    found = findings(rl, preexec_fn=lose)
    assert found["no-new-privs"]["level"] == "missing"
    rows = rl.ok("info", "--why", "--format", "json", preexec_fn=lose).json()["ids"]
    assert [row["ok"] for row in rows] == [False, True]


def test_low_limits(rl):
    import resource

    def shrink():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    assert "256" in findings(rl, preexec_fn=shrink)["nofile"]["cause"]


def test_nothing_in_a_cache_makes_info_fail(rl):
    rl.ok("info")
    cache = f"{rl.run}/rl/probes.json"
    for text in ("", "{", "[[[", '{"key": 3}'):
        with open(cache, "w") as file:
            file.write(text)
        rl.ok("info")
    os.unlink(cache)
    os.mkfifo(cache)
    rl.ok("info")
    assert stat.S_ISREG(os.stat(cache).st_mode)


def test_no_home(rl):
    """rl says what it needs, and doctor still runs."""
    rl.ok("info", env={"HOME": None})


def test_user_networks_are_tried(rl):
    found = rungs(rl, "user networks")
    assert found["bridges"]["ok"] and "serve all" in found["bridges"]["reason"]
    assert not os.path.exists(f"{rl.root}/networks")
