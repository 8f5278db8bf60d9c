"""Containers whose files are not what they should be: every verb says so, and rm removes them."""

import os
import signal

import pytest

IMAGE = "localhost/busybox:latest"
JUNK = {"empty": b"", "object": b"{}", "list": b"[]", "binary": b"\xff\xfe\0",
        "other": b'{"id": 5, "name": 7, "created": [], "layers": 7}',
        "pipe": None}  # fmt: skip
# Those that show everything leave it out or show it as damaged; the others refuse it.
SHOW = (("ps", "-a"), ("ps", "-a", "--size", "--format", "json"), ("images", "-a"), ("info",),
        ("system", "df", "-v"), ("stats", "--no-stream"))  # fmt: skip
REFUSE = ("inspect", "start", "logs", "commit", "diff", "wait", "export", "port")


@pytest.fixture
def store(rl, busybox_image):
    rl.ok("load", "--input", busybox_image)
    return rl


def spoil(path, junk):
    if os.path.lexists(path):
        os.unlink(path)
    if junk is None:
        os.mkfifo(path)
    else:
        with open(path, "wb") as file:
            file.write(junk)


def place(store, name):
    return f"{store.root}/containers/{store.ok('inspect', '-f', '{{.Id}}', name).text}"


@pytest.mark.parametrize("junk", JUNK)
def test_a_damaged_record(store, junk):
    store.ok("create", "--name", "web", IMAGE, "true")
    store.ok("create", "--name", "well", IMAGE, "true")
    spoil(f"{place(store, 'web')}/record.json", JUNK[junk])
    for words in SHOW:
        store.ok(*words)
    assert any("damaged" in line.lower() for line in store.ok("ps", "-a").lines)
    for verb in REFUSE:
        done = store(verb, "web", timeout=30)
        assert done.code == 125 and "damaged" in done.stderr and "hint: " in done.stderr, done
    for words in (("rename", "web", "other"), ("update", "--restart", "no", "web")):
        assert "damaged" in store(*words).stderr
    assert store("system", "check").code != 0
    store.ok("start", "--all")  # the one that is well
    store.ok("rm", "--force", "web")
    store.ok("create", "--name", "web", IMAGE, "true")
    store.ok("rm", "--all", "--force")
    store.ok("system", "check")


@pytest.mark.parametrize("junk", ["object", "list", "binary"])
def test_the_layers_of_a_damaged_container_stay(store, junk):
    """Nobody knows which they are."""
    store.ok("create", "--name", "web", IMAGE, "true")
    path = f"{place(store, 'web')}/record.json"
    with open(path, "rb") as file:
        good = file.read()
    spoil(path, JUNK[junk])
    store.ok("rmi", "--force", IMAGE)
    store.ok("system", "prune", "-f")
    spoil(path, good)
    assert store.ok("start", "--attach", "web").code == 0


@pytest.mark.parametrize("name", ["exit", "spec.json"])
@pytest.mark.parametrize("junk", ["empty", "object", "other", "pipe"])
def test_other_damaged_files(store, name, junk):
    store.ok("run", "--name", "web", "--network", "none", IMAGE, "true")
    spoil(f"{place(store, 'web')}/{name}", JUNK[junk])
    row = store.ok("ps", "-a", "--format", "json").json()[0]
    assert row["State"] == "exited"
    for words in SHOW[1:-1]:
        store.ok(*words)
    for verb in ("inspect", "start", "commit", "exec"):
        done = store(verb, "web", *(["true"] if verb == "exec" else []), timeout=30)
        assert "defect" not in done.stderr, done
    store.ok("rm", "--force", "web")


def test_a_running_container_without_its_record_can_be_ended(store):
    store.ok("run", "-d", "--name", "web", "--network", "none", IMAGE, "sleep", "1000")
    pid = int(store.ok("inspect", "-f", "{{.State.Pid}}", "web").text)
    spoil(f"{place(store, 'web')}/record.json", b"{}")
    store.fails("rm", "web", code=2, says="running")
    store.ok("rm", "--force", "--time", "0", "web")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_container_of_a_newer_rl_is_not_pruned(store):
    store.ok("create", "--name", "web", IMAGE, "true")
    path = f"{place(store, 'web')}/record.json"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"version":1', '"version":2', 1))
    store.fails("start", "web", says="newer rl (version 2)")
    store.ok("system", "prune", "-af")
    assert os.path.exists(path)
    store.ok("rm", "--force", "web")


def test_a_start_that_fails_forgets_no_end(store, workdir):
    os.mkdir(f"{workdir}/bound")
    store("run", "--name", "web", "--network", "none", "-v", f"{workdir}/bound:/d", IMAGE,
          "sh", "-c", "exit 3")  # fmt: skip
    os.rmdir(f"{workdir}/bound")
    for _ in range(2):
        store.fails("start", "web", says="No such file", hint=False)
        row = store.ok("ps", "-a", "--format", "json").json()[0]
        assert (row["State"], row["ExitCode"]) == ("exited", 3)
        assert store.ok("wait", "web").text == "3"
    os.mkdir(f"{workdir}/bound")
    assert store("start", "--attach", "web").code == 3
