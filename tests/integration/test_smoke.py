"""The first thing that everybody does, on every rung of the id ladder and by root."""

import pytest

pytestmark = pytest.mark.integration

GREETING = "Hello from rl! Your installation works."


@pytest.mark.one_id
def test_hello(rl):
    assert GREETING in rl.ok("run", "--rm", "hello").stdout


@pytest.mark.one_id
def test_a_program_of_this_machine(rl):
    done = rl.ok("run", "--rm", "--network", "none", "elf:/usr/bin/env", "A=1")
    assert "A=1" in done.lines


@pytest.mark.one_id
def test_a_shell_in_a_small_image(rl, busybox):
    done = rl.ok("run", "--rm", "--network", "none", busybox, "sh", "-c", "id -u; cat /etc/group")
    assert done.lines[0] == "0" and "staff:x:50:user" in done.lines


@pytest.mark.one_id
def test_debian_runs(rl, debian_image):
    rl.ok("load", "--input", debian_image, timeout=120)
    image = rl.ok("images", "--quiet").text
    done = rl.ok("run", "--rm", "--network", "none", image, "cat", "/etc/os-release")
    assert "ID=debian" in done.lines


@pytest.mark.as_root
@pytest.mark.parametrize("user", ["rl-test", "rl-test-2", "rl-test-one"])
def test_hello_by_each_user(user_rl, user):
    assert GREETING in user_rl(user).ok("run", "--rm", "hello").stdout


@pytest.mark.as_root
def test_hello_by_root(rl):
    assert GREETING in rl.ok("run", "--rm", "hello").stdout


def test_hello_on_each_driver(rl_on):
    assert GREETING in rl_on.ok("run", "--rm", "hello").stdout
