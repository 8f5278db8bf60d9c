"""Logins in files and from credential helpers."""

import base64
import json
import os

import pytest

from rootless.image.credentials import BadAuthFile, HelperFailed, Keyring, NotLoggedIn
from rootless.image.registry.auth import Login


def entry(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path):
    for name in ("run", "home/.docker", "home/.config/containers", "bin"):
        os.makedirs(tmp_path / name)
    return tmp_path


def ring(home, **more):
    environ = {"XDG_RUNTIME_DIR": f"{home}/run", "PATH": "/usr/bin:/bin"}
    return Keyring(environ, f"{home}/home", find_program=lambda n: _program(home, n), **more)


def _program(home, name):
    path = f"{home}/bin/{name}"
    return path if os.path.exists(path) else None


def write(path, document):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(document if isinstance(document, str) else json.dumps(document))


def user(login):
    return login and login.user


def test_nothing_anywhere(home):
    assert ring(home).find("quay.io") is None


def test_the_order_of_files(home):
    write(f"{home}/home/.docker/config.json", {"auths": {"a.io": entry("docker", "1"),
          "b.io": entry("docker", "1"), "c.io": entry("docker", "1")}})  # fmt: skip
    write(f"{home}/home/.config/containers/auth.json",
          {"auths": {"a.io": entry("config", "1"), "b.io": entry("config", "1")}})  # fmt: skip
    write(f"{home}/run/containers/auth.json", {"auths": {"a.io": entry("run", "1")}})
    found = ring(home)
    assert [user(found.find(name)) for name in ("a.io", "b.io", "c.io", "d.io")] == [
        "run", "config", "docker", None,
    ]  # fmt: skip
    write(f"{home}/mine.json", {"auths": {"b.io": entry("mine", "1")}})
    assert user(ring(home, authfile=f"{home}/mine.json").find("b.io")) == "mine"
    assert ring(home, authfile=f"{home}/mine.json").find("a.io") is None


def test_the_longest_path_counts(home):
    write(f"{home}/run/containers/auth.json", {"auths": {
        "q.io": entry("all", "1"), "q.io/team": entry("team", "1"),
        "q.io/team/app": entry("app", "1")}})  # fmt: skip
    found = ring(home)
    assert user(found.find("q.io", "team/app")) == "app"
    assert user(found.find("q.io", "team/other")) == "team"
    assert user(found.find("q.io", "teamwork/app")) == "all"
    assert user(found.find("q.io")) == "all"
    assert found.find("xq.io") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_has_many_names(home, key):
    write(f"{home}/home/.docker/config.json", {"auths": {key: entry("me", "a:b")}})
    login = ring(home).find("docker.io", "library/debian")
    assert (login.user, login.password) == ("me", "a:b")


def test_keys_that_are_addresses(home):
    auths = {"https://r.io:5000/v1/": entry("me", "1")}
    write(f"{home}/home/.docker/config.json", {"auths": auths})
    assert user(ring(home).find("r.io:5000")) == "me"


def test_identity_tokens(home):
    write(f"{home}/home/.docker/config.json", {"auths": {"r.io": {"identitytoken": "tok"}}})
    assert ring(home).find("r.io").token == "tok"


@pytest.mark.parametrize(
    "document",
    ["{", "[]", '{"auths": [1]}', '{"auths": {"r.io": 5}}', '{"auths": {"r.io": {"auth": "%%"}}}',
     '{"auths": {"r.io": {"auth": "bm9jb2xvbg=="}}}', '{"credHelpers": [1]}'],
)  # fmt: skip
def test_files_that_make_no_sense(home, document):
    path = f"{home}/run/containers/auth.json"
    write(path, document)
    with pytest.raises(BadAuthFile) as error:
        ring(home).find("r.io")
    assert path in error.value.message


def test_a_fifo_does_not_hang(home):
    os.makedirs(f"{home}/run/containers")
    os.mkfifo(f"{home}/run/containers/auth.json")
    assert ring(home).find("r.io") is None


# --- helpers -------------------------------------------------------------------------------


def helper(home, name, body):
    path = f"{home}/bin/docker-credential-{name}"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{body}\n")
    os.chmod(path, 0o755)


def test_a_helper_for_one_registry(home):
    helper(home, "one", f'cat > {home}/asked; echo "$1" >> {home}/asked\n'
           'echo \'{"ServerURL":"r.io","Username":"me","Secret":"s3"}\'')  # fmt: skip
    write(f"{home}/home/.docker/config.json", {"credHelpers": {"r.io": "one"}})
    login = ring(home).find("r.io", "x")
    assert (login.user, login.password) == ("me", "s3")
    assert open(f"{home}/asked").read() == "r.ioget\n"
    assert ring(home).find("other.io") is None


def test_a_helper_for_all(home):
    helper(home, "all", "echo '{\"Username\":\"<token>\",\"Secret\":\"tok\"}'")
    write(f"{home}/home/.docker/config.json", {"credsStore": "all", "auths": {"r.io": {}}})
    assert ring(home).find("r.io").token == "tok"


def test_helpers_of_the_registries_file(home):
    helper(home, "conf", "echo '{\"Username\":\"me\",\"Secret\":\"x\"}'")
    assert user(ring(home, helpers=("conf",)).find("r.io")) == "me"


def test_a_helper_that_knows_nothing(home):
    helper(home, "none", "echo credentials not found in native keychain; exit 1")
    write(f"{home}/home/.docker/config.json", {"credsStore": "none"})
    assert ring(home).find("r.io") is None


@pytest.mark.parametrize(
    ("body", "says"),
    [("echo keychain is locked; exit 1", "keychain is locked"), ("exit 3", "exit code 3"),
     ("echo hello", "makes no sense"), ("echo '{}'", "makes no sense")],
)  # fmt: skip
def test_helpers_that_fail(home, body, says):
    helper(home, "bad", body)
    write(f"{home}/home/.docker/config.json", {"credsStore": "bad"})
    with pytest.raises(HelperFailed, match=says):
        ring(home).find("r.io")


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "", "x;id", "/bin/sh"])
def test_names_of_helpers_are_no_paths(home, name):
    write(f"{home}/home/.docker/config.json", {"credHelpers": {"r.io": name or "-/"}})
    with pytest.raises(HelperFailed, match="not the name"):
        ring(home).find("r.io")


def test_a_helper_that_is_missing(home):
    write(f"{home}/home/.docker/config.json", {"credsStore": "gone"})
    with pytest.raises(HelperFailed, match="docker-credential-gone failed: it is not installed"):
        ring(home).find("r.io")


# --- keeping -------------------------------------------------------------------------------


def test_keeping_and_forgetting(home):
    found = ring(home)
    found.store("r.io", Login("me", "pässword:x"))
    found.store("s.io/team", Login("you", "1"))
    path = f"{home}/run/containers/auth.json"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert found.find("r.io").password == "pässword:x"
    assert found.listed() == {"r.io": "me", "s.io/team": "you"}
    found.erase("r.io")
    assert found.find("r.io") is None and user(found.find("s.io", "team/x")) == "you"
    with pytest.raises(NotLoggedIn):
        found.erase("r.io")
    found.erase_all()
    assert found.listed() == {}


def test_what_else_is_in_the_file_stays(home):
    path = f"{home}/mine.json"
    write(path, {"auths": {"a.io": entry("a", "1")}, "credHelpers": {"x.io": "y"}, "new": [1]})
    os.chmod(path, 0o644)
    ring(home, authfile=path).store("b.io", Login("b", "2"))
    document = json.load(open(path))
    assert document["new"] == [1] and document["credHelpers"] == {"x.io": "y"}
    assert set(document["auths"]) == {"a.io", "b.io"}
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_nowhere_to_keep_it():
    with pytest.raises(BadAuthFile, match="no home"):
        Keyring({}, None).store("r.io", Login("a", "b"))
