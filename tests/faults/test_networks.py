"""User networks when helpers misbehave, processes are killed and files are damaged."""

import os
import random
import signal
import time

import pytest

from integration.network import test_user_networks as user_networks

pytestmark = pytest.mark.integration
SLEEP = ("sleep", "1000")
PASTA, SLIRP = "pasta", "slirp4netns"


def fakes(directory, body):
    """Programs called as the helpers in a directory of their own: a PATH that begins there."""
    path = f"{directory}/fakes"
    os.makedirs(path, exist_ok=True)
    for name in (PASTA, SLIRP):
        with open(f"{path}/{name}", "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexec 3>&3 2>&2\n{body}\n")
        os.chmod(f"{path}/{name}", 0o755)
    return {"PATH": f"{path}:/usr/bin:/bin:/usr/sbin:/sbin"}


@pytest.mark.parametrize(
    "body",
    ["sleep 1000 & wait", "exit 1", "exit 0", "echo 1 >&3; echo 1; sleep 1000 & wait",
     "kill -9 $$"],
)  # fmt: skip
def test_without_a_way_out_containers_still_reach_each_other(rl, busybox, workdir, body):
    env = fakes(workdir, body)
    rl.ok("network", "create", "shop")
    first = rl.ok("run", "-d", "--name", "web", "--network", "shop", busybox, *SLEEP, env=env)
    assert "containers on networks reach only each other" in first.stderr
    rl.ok("run", "-d", "--name", "user", "--network", "shop", busybox, *SLEEP, env=env)
    own = user_networks.address(rl, "web", "shop")
    assert user_networks.lookup(rl, "user", "web") == [own]
    user_networks.ping(rl, "user", own)


@pytest.mark.parametrize("body", ["sleep 1000 & wait", "echo 'no luck today' >&2; exit 1"])
def test_helpers_that_worked_and_now_fail(rl, busybox, workdir, body):
    switch = f"{workdir}/works"
    real = f'test -e {switch} && exec /usr/bin/$(basename "$0") "$@"\n'
    env = fakes(workdir, real + body)
    rl.ok("network", "create", "shop")
    with open(switch, "wb"):
        pass
    rl.ok("run", "--rm", "--network", "shop", busybox, "true", env=env)
    # The next start needs a helper of its own once the holder of the first is gone.
    user_networks.until(lambda: not user_networks.processes(rl, "netholder"))
    os.unlink(switch)
    run = ("run", "--rm", "--network", "shop", busybox, "true")
    rl.fails(*run, env=env, says="not ready" if "sleep" in body else "no luck today")
    assert rl.ok("ps", "--all", "--quiet").text == ""
    rl.ok(*run)


def test_starts_killed_at_any_moment(rl, busybox):
    rl.ok("network", "create", "--subnet", "10.201.9.0/29", "shop")  # five addresses
    generator = random.Random(5)
    for round_ in range(12):
        process = rl.start("run", "--rm", "--network", "shop", busybox, "sleep", "1000",
                           start_new_session=True)  # fmt: skip
        time.sleep(generator.random() * 0.4)
        children = _below(process.pid)
        for pid in [process.pid, *children][: generator.randrange(1, 5)]:
            _kill(pid)
        process.communicate()
        if round_ % 4 == 3:
            rl.ok("run", "--rm", "--network", "shop", busybox, "true")
        for line in rl.ok("ps", "--quiet").lines:  # those whose rl alone was killed
            rl.ok("rm", "--force", "--time", "0", line)
    rl.ok("run", "-d", "--name", "web", "--network", "shop", busybox, *SLEEP)
    assert user_networks.lookup(rl, "web", "web")
    rl.ok("rm", "--force", "--time", "0", "web")


def _below(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            found = [int(word) for word in file.read().split()]
    except OSError:
        return []
    return found + [deeper for child in found for deeper in _below(child)]


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def test_the_holder_s_processes_killed_one_by_one(rl, busybox):
    rl.ok("network", "create", "shop")
    rl.ok("run", "-d", "--name", "web", "--network", "shop", busybox, *SLEEP)
    own = user_networks.address(rl, "web", "shop")
    for which in (0, 1, 2):
        pids = user_networks.holder(rl)
        os.kill(pids[which], signal.SIGKILL)
        if which < 2:
            user_networks.until(lambda pids=pids: not set(pids) & set(_all(rl)))
        rl.ok("run", "--rm", "--network", "shop", busybox, "true")
        user_networks.ping(rl, "web", own)
        rl.ok("run", "--rm", "--network", "shop", busybox, "nslookup", "web")


def test_a_holder_that_does_not_answer(rl, busybox):
    rl.ok("network", "create", "shop")
    rl.ok("run", "-d", "--name", "web", "--network", "shop", busybox, *SLEEP)
    pid = user_networks.holder(rl)[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        run = ("run", "--rm", "--network", "shop", busybox, "true")
        said = rl.fails(*run, says=f"process {pid}, does not answer").stderr
        assert f"kill -9 {pid}" in said
        assert rl.ok("ps", "--all", "--format", "{{.Names}}").lines == ["web"]
    finally:
        os.kill(pid, signal.SIGCONT)
    rl.ok(*run)


def _all(rl):
    return user_networks.processes(rl, "")


def test_many_starts_at_once(rl, busybox):
    rl.ok("network", "create", "--subnet", "10.201.10.0/28", "shop")
    running = [
        rl.start("run", "-d", "--name", f"web{number}", "--network", "shop", busybox, *SLEEP)
        for number in range(6)
    ]
    for process in running:
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
    found = [user_networks.address(rl, f"web{number}", "shop") for number in range(6)]
    assert len(set(found)) == 6
    for number in range(6):
        assert user_networks.lookup(rl, "web0", f"web{number}") == [found[number]]
    assert len([pid for pid in _all(rl) if pid == user_networks.holder(rl)[0]]) == 1


def test_damaged_definitions(rl, busybox):
    rl.ok("network", "create", "shop")
    rl.ok("network", "create", "other")
    for content in (b"", b"{", b"[]", b'{"name":"shop"}', b'{"name":"other","subnets":[1]}'):
        with open(f"{rl.root}/networks/shop.json", "wb") as file:
            file.write(content)
        assert "other" in rl.ok("network", "ls", "--quiet").lines
        rl.fails("network", "inspect", "shop", says="the network shop is damaged")
        run = ("run", "--rm", "--network")
        rl.fails(*run, "shop", busybox, "true", says="the network shop is damaged")
        rl.ok(*run, "other", busybox, "true")
    assert rl.ok("network", "rm", "--force", "shop").lines == ["shop"]
    rl.ok("network", "create", "shop")


def test_damaged_runtime_files(rl, busybox):
    rl.ok("network", "create", "shop")
    rl.ok("run", "-d", "--name", "web", "--network", "shop", busybox, *SLEEP)
    leases = f"{rl.root}/networks/.run/leases/shop"
    for name in os.listdir(leases):
        with open(f"{leases}/{name}", "wb") as file:
            file.write(b"[}")
    rl.ok("run", "--rm", "--network", "shop", busybox, "true")
    rl.ok("inspect", "web")
    os.unlink(f"{rl.root}/networks/.run/control")
    rl.ok("rm", "--all", "--force", "--time", "0")
    rl.ok("run", "--rm", "--network", "shop", busybox, "true")
