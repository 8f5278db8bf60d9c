"""rl inside a container of rl, and rl run by real root: the same ladder, other rungs."""

import os
import sys

import pytest

from support.command import program


def binds():
    """What an rl of this machine needs inside a busybox container."""
    paths = ["/usr", "/lib", "/lib64", sys.prefix, os.path.dirname(os.path.realpath(_package()))]
    found = []
    for path in dict.fromkeys(path for path in paths if os.path.exists(path)):
        if not any(path.startswith(f"{other}/") for other in ("/usr", "/lib")):
            found += ["-v", f"{path}:{path}:ro"]
    return found


def _package():
    import rootless

    return os.path.dirname(rootless.__file__)


def inside(script):
    """A shell script in which ``rl`` is the rl that is tested."""
    words = " ".join(f"'{word}'" for word in program())
    return (
        "export HOME=/tmp/home XDG_RUNTIME_DIR=; mkdir -p $HOME; cd /;"
        f' rl() {{ {words} "$@"; }}; {script}'
    )


@pytest.mark.integration
@pytest.mark.one_id
@pytest.mark.parametrize("options", [
    (), ("--privileged",), ("--userns", "keep-id"), ("--read-only", "--tmpfs", "/tmp"),
    ("--security-opt", "seccomp=unconfined"),
])  # fmt: skip
def test_rl_in_a_container(box, options):
    script = inside(
        "rl run --rm --network none hello | grep -c Hello;"
        " rl run --network none --name n hello > /dev/null && rl ps -a --format '{{.Names}}' &&"
        " rl rm n; rl run --rm --network none --entrypoint /no hello 2>/dev/null; echo $?"
    )
    result = box.rl(*box.words([*binds(), *options], ["sh", "-c", script]))
    assert result.lines == ["1", "n", "n", "127"], repr(result)


@pytest.mark.integration
def test_a_container_of_a_container(box):
    """Its own changes, ids and processes; with what the outer one let it have."""
    script = inside(
        "rl run --rm --network none elf:/bin/busybox sh -c 'echo $$; id -u; echo x > /x; cat /x'"
    )
    result = box.rl(*box.words(binds(), ["sh", "-c", script]))
    assert result.lines == ["1", "0", "x"], repr(result)


@pytest.mark.as_root
@pytest.mark.parametrize("options, wanted", [
    ((), ["0", "x"]), (("-u", "1000"), ["1000"]), (("--userns", "keep-id"), ["0", "x"]),
    (("--read-only",), ["0"]), (("--privileged",), ["0", "x"]),
])  # fmt: skip
def test_rl_by_root(rl, busybox, options, wanted):
    result = rl("run", "--rm", "--network", "none", *options, busybox, "sh", "-c",
                "id -u; (echo x > /x) 2>/dev/null && cat /x; true")
    assert result.lines == wanted and result.stderr == "", repr(result)
    found = rl.ok("run", "--rm", "--network", "none", *options, busybox, "readlink",
                  "/proc/self/ns/user").text
    assert found != os.readlink("/proc/self/ns/user")


@pytest.mark.as_root
def test_root_without_a_namespace_to_spare_says_so(rl, busybox):
    for mode in ("auto", "nomap"):
        rl.fails("run", "--rm", "--userns", mode, busybox, "true", says=mode)


@pytest.mark.as_root
def test_the_store_of_root_is_its_own(rl, busybox, user_rl):
    other = user_rl("rl-test")
    other.fails("--root", rl.root, "images", says=rl.root)
