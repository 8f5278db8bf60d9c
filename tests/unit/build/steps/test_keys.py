"""Keys in files: an agent that has them, ends with the build, and says what is wrong."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from rootless.engine.build.options import Options
from rootless.engine.build.secrets import BadSsh, Secrets
from rootless.engine.build.step_keys import BadKey, KeyAgent, NoAgentProgram

TOOLS = ("ssh-agent", "ssh-add", "ssh-keygen")
pytestmark = pytest.mark.skipif(
    not all(shutil.which(name) for name in TOOLS), reason="OpenSSH is not installed"
)
ENVIRON = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}


@pytest.fixture
def key(workdir):
    """A function that makes a key: its path."""

    def make(name, passphrase=""):
        path = f"{workdir}/{name}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C",
                        f"comment of {name}", "-f", path], check=True)  # fmt: skip
        return path

    return make


def identities(path):
    """What an agent answers to "which keys do you have?" (draft-miller-ssh-agent)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.sendall(b"\0\0\0\1\x0b")
        return connection.recv(1 << 16)


def ended(pid):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_an_agent_has_the_keys_until_it_is_closed(key):
    agent = KeyAgent(shutil.which, ENVIRON, "x", [key("one"), key("two")])
    try:
        found = identities(agent.socket)
        assert b"comment of one" in found and b"comment of two" in found
        path, pid = agent.socket, agent.pid
    finally:
        agent.close()
    assert ended(pid) and not os.path.exists(path)
    agent.close()


@pytest.mark.parametrize("content", ["no key at all\n", ""])
def test_what_is_no_key(workdir, content):
    with open(f"{workdir}/bad", "w", encoding="ascii", opener=_private) as file:
        file.write(content)
    with pytest.raises(BadKey) as caught:
        KeyAgent(shutil.which, ENVIRON, f"x={workdir}/bad", [f"{workdir}/bad"])
    assert f"{workdir}/bad" in caught.value.message and caught.value.advice


def _private(path, flags):
    return os.open(path, flags, 0o600)


def test_nobody_is_asked_for_a_passphrase(key):
    path = key("locked", "secret phrase")
    with pytest.raises(BadKey) as caught:
        KeyAgent(shutil.which, ENVIRON, f"x={path}", [path])
    assert "passphrase" in caught.value.message and "ssh-add KEY" in caught.value.advice


def test_without_openssh():
    with pytest.raises(NoAgentProgram) as caught:
        KeyAgent(lambda name: None, ENVIRON, "x=/k", ["/k"])
    assert "ssh-agent" in caught.value.message and "openssh-client" in caught.value.advice


def test_a_build_that_is_killed_leaves_no_agent(key):
    program = (
        "import shutil, sys, time\n"
        "from rootless.engine.build.step_keys import KeyAgent\n"
        f"agent = KeyAgent(shutil.which, {ENVIRON!r}, 'x', [sys.argv[1]])\n"
        "print(agent.pid, agent.socket, flush=True)\n"
        "time.sleep(600)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program, key("k")], env=environ,
                          stdout=subprocess.PIPE, text=True) as child:  # fmt: skip
        pid, path = child.stdout.readline().split()
        assert b"comment of k" in identities(path)
        child.send_signal(signal.SIGKILL)
    assert ended(int(pid))
    deadline = time.monotonic() + 60
    while os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(path)


def test_sockets_and_keys_of_the_command_line(key, workdir):
    one, two = key("one"), key("two")
    secrets = Secrets(Options(ssh=[f"a={one},{two}", f"b={one}"]), ENVIRON, shutil.which)
    try:
        found = [secrets._socket(name) for name in ("a", "b", "a")]
        assert found[0] == found[2] != found[1]
        assert b"comment of two" in identities(found[0])
        assert b"comment of two" not in identities(found[1])
    finally:
        secrets.close()
    assert not os.path.exists(found[0])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{workdir}/s")
        for text in (f"x={workdir}/s,{one}", f"x={workdir}", f"x={one},{workdir}/none", "x="):
            with pytest.raises(BadSsh):
                Secrets(Options(ssh=[text]), {})
