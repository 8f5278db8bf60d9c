"""What the log files hold: every byte, in order, readable."""

import json
import os
import random
import re
import socket
import struct
import sys

import pytest

from support.monitored import OUT, Monitored, eventually, output

K8S = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z std(out|err) [FP] ")


def write(*pieces):
    """argv of a program that writes pieces (fd, bytes), each in a write of its own, and
    waits after each until the monitor has had time to read it."""
    code = (
        "import os, sys, time, fcntl, termios, array\n"
        f"for fd, data in {pieces!r}:\n"
        "    os.write(fd, data)\n"
        "    left = array.array('i', [1])\n"
        "    while left[0]:\n"
        "        fcntl.ioctl(fd, termios.FIONREAD, left)\n"
        "    time.sleep(0.01)\n"
    )
    return [sys.executable, "-S", "-c", code]


def json_said(box, name="ctr.log"):
    """A json-file log as {stream: text}."""
    said = {"stdout": [], "stderr": []}
    for line in box.log(name).decode("ascii", "surrogateescape").splitlines():
        entry = json.loads(line.encode("ascii", "surrogateescape"))
        assert sorted(entry) == ["log", "stream", "time"]
        assert entry["log"]
        said[entry["stream"]].append(entry["log"])
    return {stream: "".join(texts) for stream, texts in said.items()}


def test_k8s_lines_and_pieces(workdir):
    program = write((1, b"one\ntwo\n"), (1, b"pro"), (2, b"err\n"), (1, b"mpt> "), (1, b"\n\nend"))
    with Monitored(workdir, program, words=["log=k8s-file"]) as box:
        box.wait()
        assert box.entries() == [
            ("stdout", "F", b"one"),
            ("stdout", "F", b"two"),
            ("stdout", "P", b"pro"),
            ("stderr", "F", b"err"),
            ("stdout", "P", b"mpt> "),
            ("stdout", "F", b""),
            ("stdout", "F", b""),
            ("stdout", "P", b"end"),
        ]
        assert all(K8S.match(line) for line in box.log().splitlines())
        assert os.stat(f"{box.dir}/ctr.log").st_mode & 0o777 == 0o600


def test_k8s_holds_any_bytes(workdir):
    data = random.Random(1).randbytes(400000)
    with open(f"{workdir}/data", "wb") as file:
        file.write(data)
    with Monitored(workdir, ["cat", f"{workdir}/data"], words=["log=k8s-file"], attach=0) as box:
        box.wait()
        assert box.said()["stdout"] == data
        assert all(len(text) <= 32768 for _, _, text in box.entries())


def test_much_output_in_both_streams(workdir):
    script = "yes out | head -c 1000000 & yes error | head -c 1000000 >&2; wait"
    with Monitored(workdir, ["sh", "-c", script], words=["log=k8s-file"], attach=3) as box:
        _, packets = box.founder.until(b"x")
        box.wait()
        said = box.said()
        assert said["stdout"] == b"out\n" * 250000 == output(packets)
        assert said["stderr"] == (b"error\n" * 170000)[:1000000] == output(packets, b"e")


def test_a_log_is_continued(workdir):
    for _ in range(2):
        with Monitored(workdir, ["echo", "again"], words=["log=k8s-file"]) as box:
            box.wait()
    assert [text for _, _, text in box.entries()] == [b"again", b"again"]


@pytest.mark.parametrize("most", [1000, 70000])
@pytest.mark.parametrize("driver", ["k8s-file", "json-file"])
def test_rotation(workdir, driver, most):
    script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done"
    words = [f"log={driver}", f"log-max={most}"]
    with Monitored(workdir, ["sh", "-c", script], words=words, attach=0) as box:
        box.wait()
        assert sorted(name for name in os.listdir(box.dir) if "log" in name) == [
            "ctr.log",
            "ctr.log.1",
        ]
        old, new = box.log("ctr.log.1"), box.log()
        assert 0 < len(old) <= most and 0 < len(new) <= most
        assert old.endswith(b"\n") and new.endswith(b"\n")
        if driver == "json-file":
            text = json_said(box, "ctr.log.1")["stdout"] + json_said(box)["stdout"]
        else:
            text = (box.said("ctr.log.1")["stdout"] + box.said()["stdout"]).decode()
        numbers = [int(line.split()[1]) for line in text.splitlines()]
        assert numbers == list(range(numbers[0], 3001))
        assert len(old) + len(new) > most


def test_rotation_counts_what_is_there(workdir):
    os.mkdir(f"{workdir}/durable")
    with open(f"{workdir}/durable/ctr.log", "w", encoding="ascii") as file:
        file.write("x" * 999 + "\n")
    words = ["log=k8s-file", "log-max=1020"]
    with Monitored(workdir, ["echo", "hello"], words=words) as box:
        box.wait()
        assert box.log("ctr.log.1") == b"x" * 999 + b"\n"
        assert len(box.entries()) == 1


def test_an_entry_larger_than_the_limit(workdir):
    program = write((1, bytes(5000)), (1, b"end\n"))
    with Monitored(workdir, program, words=["log=k8s-file", "log-max=1000"]) as box:
        box.wait()
        assert box.said("ctr.log.1")["stdout"] == bytes(5000)
        assert box.said()["stdout"] == b"end\n"


def test_an_absolute_path(workdir):
    path = f"{workdir}/elsewhere.log"
    with Monitored(workdir, ["echo", "hi"], words=["log=k8s-file", f"log-path={path}"]) as box:
        box.wait()
    with open(path, "rb") as file:
        assert file.read().endswith(b" stdout F hi\n")
    assert "ctr.log" not in os.listdir(f"{workdir}/durable")


def test_json_of_awkward_text(workdir):
    text = 'quote " back \\ tab \t bell \a escape \x1b[1m del \x7f nul \0 é € 🎉 end\r\n'
    with open(f"{workdir}/data", "wb") as file:
        file.write(text.encode())
    with Monitored(workdir, ["cat", f"{workdir}/data"], words=["log=json-file"], attach=0) as box:
        box.wait()
        assert json_said(box)["stdout"] == text
        entry = json.loads(box.log())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["time"])


def test_json_keeps_characters_that_are_read_in_pieces(workdir):
    text = "é€🎉".encode()
    program = write(*((1, text[i : i + 1]) for i in range(len(text))), (1, b"!\n"))
    with Monitored(workdir, program, words=["log=json-file"]) as box:
        box.wait()
        assert json_said(box)["stdout"] == "é€🎉!\n"


# What Python's decoder does with each; it follows the Unicode standard's advice on how many
# replacement characters a broken sequence becomes.
BROKEN = [
    b"\xff", b"\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80", b"\xe2\x82", b"\xf0\x9f\x8e", b"\xe2\x82x", b"\xe2\xe2\x82\xac",
    b"\xc3\xc3\xa9", b"a\xf0\x9f\"b", b"\xc2\n\xc2",
]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: data.hex())
def test_json_replaces_what_is_not_utf8(workdir, data):
    with Monitored(workdir, write((1, data)), words=["log=json-file"]) as box:
        box.wait()
        assert json_said(box)["stdout"] == data.decode("utf-8", "replace")


def test_json_of_random_bytes(workdir):
    chance = random.Random(2)
    data = bytes(chance.choice(b'\x00\n"\\ab\x80\xbf\xc3\xe2\xf0\x9f\xff') for _ in range(300000))
    with open(f"{workdir}/data", "wb") as file:
        file.write(data)
    with Monitored(workdir, ["cat", f"{workdir}/data"], words=["log=json-file"], attach=0) as box:
        box.wait()
        assert json_said(box)["stdout"] == data.decode("utf-8", "replace")


def test_no_log(workdir):
    for driver in ("none", "passthrough"):
        with Monitored(workdir, ["echo", "hi"], words=[f"log={driver}"]) as box:
            box.wait()
            assert os.listdir(box.dir) == ["exit"]


def test_passthrough_owns_no_stdio(workdir):
    with Monitored(workdir, ["sh", "-c", "exit 4"], stdio="none", words=["log=passthrough"]) as box:
        assert box.founder.until(b"x") == (
            bytes([4, 0, 0]),
            [b"s" + box.container_pid().to_bytes(4, "little")],
        )
        box.wait()


def test_a_full_disk_costs_log_entries_and_is_told(workdir):
    # A file size limit stands in for the full disk: it makes write fail half-way as well.
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, limits[1]))
    try:
        with Monitored(
            workdir,
            ["sh", "-c", "yes | head -c 100000; echo err >&2; exit 7"],
            words=["log=k8s-file"],
        ) as box:
            payload, packets = box.founder.until(b"x")
            assert payload[0] == 7
            assert output(packets) == b"y\n" * 50000
            box.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    assert box.record()["log_lost"] > 1000000
    log = box.log()
    assert len(log) <= 100000 and log.endswith(b"\n")
    assert all(K8S.match(line) for line in log.splitlines())


def journal_fields(datagram):
    """A native journal entry as {name: value (bytes)}."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", datagram[:8])
            value, datagram = datagram[8 : 8 + size], datagram[9 + size :]
        fields[name.decode()] = value
    return fields


def test_journald(workdir):
    path = f"{workdir}/journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        journal.settimeout(20)
        words = ["log=journald", f"journal={path}", "log-tag=web"]
        program = write((1, b"one\nMESSAGE=two\n\xff"), (2, b"bad\n"))
        with Monitored(workdir, program, words=words) as box:
            box.wait()
        entries = [journal_fields(journal.recv(1 << 16)) for _ in range(4)]
    common = {
        "CONTAINER_ID_FULL": b"0123456789abcdef",
        "CONTAINER_ID": b"0123456789ab",
        "CONTAINER_NAME": b"box",
        "SYSLOG_IDENTIFIER": b"box",
        "CONTAINER_TAG": b"web",
    }
    assert entries == [
        {**common, "PRIORITY": b"6", "MESSAGE": b"one"},
        {**common, "PRIORITY": b"6", "MESSAGE": b"MESSAGE=two"},
        {**common, "PRIORITY": b"6", "MESSAGE": b"\xff", "CONTAINER_PARTIAL_MESSAGE": b"true"},
        {**common, "PRIORITY": b"3", "MESSAGE": b"bad"},
    ]


def test_a_journal_that_is_gone_costs_entries_only(workdir):
    words = ["log=journald", f"journal={workdir}/none"]
    with Monitored(workdir, ["echo", "hello"], words=words, attach=OUT) as box:
        _, packets = box.founder.until(b"x")
        assert output(packets) == b"hello\n"
        box.wait()
        assert box.record()["log_lost"] == 5


def test_memory_stays_small(workdir):
    script = "yes | head -c 2000000; read line; echo more; read line"
    with Monitored(workdir, ["sh", "-c", script], words=["log=json-file"]) as box:
        seen = 0
        while seen < 2000000:
            seen += len(box.founder.until(b"o")[0])
        # Given back after a second without traffic.
        eventually(lambda: box.memory()["Anonymous"] <= 60, "giving memory back")
        assert box.memory()["Rss"] <= 200
        box.founder.send(b"I", b"\n")
        assert box.founder.until(b"o")[0] == b"more\n"
        box.founder.send(b"E")
        box.founder.until(b"x")
        box.wait()
        assert json_said(box)["stdout"] == "y\n" * 1000000 + "more\n"
