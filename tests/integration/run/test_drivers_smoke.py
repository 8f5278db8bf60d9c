"""The same containers on each storage driver."""

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]

SCRIPTS = (
    ("echo new > /file; cat /file; rm /etc/group; ls /etc/group 2>/dev/null || echo deleted",
     ["new", "deleted"]),
    ("mv /home /house && ls -d /house; mkdir /home; ls -A /home | wc -l", ["/house", "0"]),
    ("ln /bin/busybox /bin/again && stat -c %a /bin/again; chmod 4711 /bin/again; stat -c %a "
     "/bin/again", ["755", "4711"]),
    ("ln -s /etc/passwd /l; head -c4 /l; echo; mkfifo /p; test -p /p && echo fifo", ["root",
                                                                                  "fifo"]),
    ("dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null; stat -c %s /big", ["20971520"]),
    ("echo more >> /etc/passwd; tail -1 /etc/passwd; touch /tmp/t; stat -c %a /tmp",
     ["more", "1777"]),
)  # fmt: skip


@pytest.fixture
def loaded(rl_on, busybox_image):
    rl_on.ok("load", "--input", busybox_image)
    return rl_on


def test_changing_files(loaded):
    for script, wanted in SCRIPTS:
        result = loaded.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
        assert result.lines == wanted, repr(result)
    # Nothing of it reached the image.
    assert loaded.ok("run", "--rm", "--network", "none", "busybox", "sh", "-c",
                     "ls /etc/group /home/user -d; tail -1 /etc/passwd").lines[:2] == [
        "/etc/group", "/home/user"]  # fmt: skip


@pytest.mark.parametrize("options", [
    (), ("--userns", "keep-id"), ("--read-only",), ("--userns", "keep-id", "--read-only"),
    ("--init", "-t"), ("-v", "v:/etc"), ("--privileged",),
])  # fmt: skip
def test_options(loaded, options):
    result = loaded.ok("run", "--rm", "--network", "none", *options, "busybox", "sh", "-c",
                       "cat /etc/passwd | head -1; cat /proc/1/comm")
    assert result.text.startswith("root:"), repr(result)
    loaded("volume", "rm", "v")


def test_a_container_keeps_its_changes(loaded):
    loaded.ok("run", "--network", "none", "--name", "c", "busybox", "sh", "-c",
              "echo x >> /count; wc -l < /count")
    for number in (2, 3):
        assert loaded.ok("start", "--attach", "c").text == str(number)
    assert "A /count" in loaded.ok("diff", "c").lines
    loaded.ok("rm", "c")


def test_many_at_once(loaded):
    words = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo $$ > /f; cat /f"]
    for process in [loaded.start(*words) for _ in range(6)]:
        output, errors = process.communicate(timeout=60)
        assert (output, errors, process.returncode) == (b"1\n", b"", 0)
