"""Clients of the monitor: many, slow, stuck, dead, and talking nonsense."""

import os
import random
import re
import signal
import socket
import struct
import sys
import time

import pytest

from support.monitored import ERR, IN, OUT, Monitored, build, eventually, output
from support.tools import find

SUBMIT = 32768


def feed(client, data):
    """Send stdin as a client should: piece by piece, waiting for the credit."""
    packets = []
    for at in range(0, len(data), SUBMIT):
        client.send(b"I", data[at : at + SUBMIT])
        packets += client.until(b"i")[1]
    return packets


def hear(client, text):
    """Wait until stdout, in however many pieces, has said exactly this."""
    said = b""
    while said != text:
        said += client.until(b"o")[0]
        assert text.startswith(said)


def test_stdin_reaches_the_program(workdir):
    data = random.Random(3).randbytes(1000000)
    with Monitored(workdir, ["cat"], words=["log=none"]) as box:
        got = feed(box.founder, data)
        box.founder.send(b"E")
        _, packets = box.founder.until(b"x")
        assert output(got + packets) == data
        box.wait()


def test_stdin_stays_open_without_clients(workdir):
    with Monitored(workdir, ["cat"], words=["log=k8s-file"], attach=0) as box:
        box.started()
        box.founder.close()
        for line in (b"one\n", b"two\n"):
            client = box.connect()
            client.send(b"A", bytes([IN]))
            client.send(b"I", line)
            client.until(b"i")
            client.send(b"D")
            client.close()
        last = box.connect()
        last.send(b"E")
        last.until(b"x")
        box.wait()
        assert box.said()["stdout"] == b"one\ntwo\n"


def test_a_client_that_dies_with_stdin_is_the_end_of_it(workdir):
    with Monitored(workdir, ["sh", "-c", "cat; exit 8"]) as box:
        box.started()
        box.founder.send(b"I", b"last words")
        box.founder.close()
        box.wait()
        assert box.record()["code"] == 8


def test_control_is_heard_while_stdin_is_stuck(workdir):
    with Monitored(workdir, ["sleep", "1000"]) as box:
        box.started()
        # The pipe's 64 kB are full after two of these.
        for _ in range(2):
            box.founder.send(b"I", bytes(SUBMIT))
            box.founder.until(b"i")
        box.founder.send(b"I", bytes(SUBMIT))
        other = box.connect()
        other.send(b"A", bytes([IN]))
        other.send(b"I", b"waits for its turn")
        box.founder.send(b"K", b"\x0f\x01")
        assert box.founder.until(b"x")[0] == bytes([143, 15, 2])
        box.wait()


def test_a_program_that_closes_stdin_gives_no_credit(workdir):
    with Monitored(workdir, ["sh", "-c", "exec 0<&-; echo closed; exec sleep 1000"]) as box:
        box.founder.until(b"o")
        box.founder.send(b"I", b"nobody reads this")
        box.founder.send(b"E")
        box.founder.send(b"K", b"\x09\x00")
        _, packets = box.founder.until(b"x")
        assert b"i" not in packets
        box.wait()


def test_stdin_without_a_pipe(workdir):
    with Monitored(workdir, ["cat"], stdin=False) as box:
        box.founder.send(b"I", b"nobody reads this")
        assert box.founder.until(b"x")[0] == bytes(3)
        box.wait()


def test_two_clients_see_the_same(workdir):
    with Monitored(workdir, ["sh", "-c", "read x; head -c 3000000 /dev/zero; echo end >&2"]) as box:
        box.started()
        other = box.connect()
        other.send(b"A", bytes([OUT | ERR]))
        errors = box.connect()
        errors.send(b"A", bytes([ERR]))
        for client in (other, errors):
            client.until(b"s")
            client.send(b"R", bytes(4))  # what follows is answered after what was sent before
        time.sleep(0.05)
        box.founder.send(b"I", b"\n")
        seen = {}
        pending = {box.founder: "founder", other: "other", errors: "errors"}
        packets = {name: [] for name in pending.values()}
        import select

        while pending:
            sockets = {client.socket: client for client in pending}
            for ready in select.select(list(sockets), [], [], 20)[0]:
                client = sockets[ready]
                packet = client.packet()
                packets[pending[client]].append(packet)
                if packet[:1] == b"x":
                    seen[pending.pop(client)] = packet
        assert len(seen) == 3
        for name in ("founder", "other"):
            assert output(packets[name]) == bytes(3000000)
        assert output(packets["errors"]) == b""
        assert all(output(list_, b"e") == b"end\n" for list_ in packets.values())
        box.wait()


def test_attaching_and_detaching_again(workdir):
    script = "while read line; do echo $line; done"
    with Monitored(workdir, ["sh", "-c", script], attach=IN, words=["log=k8s-file"]) as box:
        box.started()
        feed(box.founder, b"unseen\n")
        eventually(lambda: box.said()["stdout"] == b"unseen\n")
        box.founder.send(b"A", bytes([IN | OUT]))
        box.founder.send(b"I", b"seen\n")
        assert box.founder.until(b"o")[0] == b"seen\n"
        box.founder.send(b"A", bytes([IN]))
        feed(box.founder, b"unseen\n")
        box.founder.send(b"E")
        assert output(box.founder.until(b"x")[1]) == b""
        box.wait()


def test_a_stuck_client_is_dropped(workdir):
    with Monitored(workdir, ["sh", "-c", "read x; yes | head -c 4000000"], attach=IN,
                   words=["log=k8s-file", "patience=300"]) as box:  # fmt: skip
        box.started()
        stuck = box.connect()
        stuck.send(b"A", bytes([OUT]))
        stuck.until(b"s")
        box.founder.send(b"I", b"\n")
        assert box.founder.until(b"x")[0] == bytes(3)
        box.wait()
        assert len(box.said()["stdout"]) == 4000000
        packets = stuck.rest()
        assert 0 < len(output(packets)) < 4000000
        assert all(packet[:1] == b"o" for packet in packets)


def test_a_slow_client_loses_nothing(workdir):
    with Monitored(workdir, ["sh", "-c", "read x; yes | head -c 2000000"], attach=IN,
                   words=["patience=400"]) as box:  # fmt: skip
        box.started()
        slow = box.connect()
        slow.send(b"A", bytes([OUT]))
        slow.until(b"s")
        box.founder.send(b"I", b"\n")
        total = b""
        while (packet := slow.packet())[:1] != b"x":
            total += packet[1:]
            time.sleep(0.005)
        assert total == b"y\n" * 1000000
        box.wait()


def test_a_stuck_founder_holds_up_only_the_output(workdir):
    with Monitored(workdir, ["sh", "-c", "yes | head -c 2000000; exit 3"],
                   words=["patience=50", "log=k8s-file"]) as box:  # fmt: skip
        eventually(lambda: os.path.exists(f"{box.dir}/ctr.log") and len(box.log()) > 1000)
        other = box.connect()
        other.until(b"s")
        time.sleep(0.3)
        assert not os.path.exists(f"{box.dir}/exit")
        _, packets = box.founder.until(b"x")
        assert output(packets) == b"y\n" * 1000000
        assert other.until(b"x")[0][0] == 3
        box.wait()


def test_the_record_does_not_wait_for_a_stuck_founder(workdir):
    with Monitored(workdir, ["sh", "-c", "yes | head -c 2000000"], words=["log=none"]) as box:
        box.started()
        other = box.connect()
        other.send(b"K", b"\x09\x01")
        eventually(lambda: os.path.exists(f"{box.dir}/exit"), "the record")
        assert (box.record()["code"], box.record()["stopped"]) == (137, True)
        assert box.founder.until(b"x")[0] == bytes([137, 9, 2])
        box.wait()


MUCH = ["head", "-c", "2000000", "/dev/zero"]


def stuck(box, pid=None):
    """Whether a program waits for somebody to read what it writes."""
    with open(f"/proc/{pid or box.container_pid()}/wchan", encoding="ascii") as file:
        return "pipe_write" in file.read()


def test_stopping_does_not_wait_for_a_stuck_founder(workdir):
    with Monitored(workdir, MUCH, words=["log=none", "patience=300"]) as box:
        box.started()
        eventually(lambda: stuck(box), "filling everything")
        other = box.connect()
        other.send(b"T", b"\x09\xff\xff\xff\xff")
        assert other.until(b"x")[0] == bytes([137, 9, 2])
        assert other.rest() == []  # one end is enough
        assert box.wait() == 0
        assert 0 < len(output(box.founder.rest())) < 2000000


def test_stopping_what_has_ended_but_is_held_up(workdir):
    program = ["sh", "-c", f"{' '.join(MUCH)} & read line"]
    with Monitored(workdir, program, words=["log=none", "patience=300"]) as box:
        box.started()
        path = f"/proc/{box.container_pid()}/task/{box.container_pid()}/children"

        def writer():
            with open(path, encoding="ascii") as file:
                return int(file.read() or "0")

        eventually(lambda: writer() and stuck(box, writer()), "filling everything")
        box.founder.send(b"I", b"\n")
        eventually(lambda: os.path.exists(f"{box.dir}/exit"), "the record")
        time.sleep(0.5)  # longer than the patience with others
        other = box.connect()
        assert other.until(b"x")[0] == bytes(3)
        other.send(b"T", bytes(5))
        assert box.wait() == 0
        assert 0 < len(output(box.founder.rest())) < 2000000


def test_a_founder_that_interrupts_gets_the_rest(workdir):
    with Monitored(workdir, MUCH, words=["log=none", "patience=100"]) as box:
        box.started()
        eventually(lambda: stuck(box), "filling everything")
        box.founder.send(b"K", b"\x09\x01")
        eventually(lambda: os.path.exists(f"{box.dir}/exit"), "the record")
        time.sleep(0.3)  # longer than the patience with others
        payload, packets = box.founder.until(b"x")
        assert payload == bytes([137, 9, 2])
        # All that left the program: the socket's part and what was in the pipe.
        assert len(output(packets)) > 65536
        box.wait()


def test_a_client_that_is_killed(workdir):
    with Monitored(workdir, ["sh", "-c", "read x; yes | head -c 3000000"], attach=IN) as box:
        box.started()
        pid = os.fork()
        if pid == 0:
            client = box.connect()
            client.send(b"A", bytes([OUT]))
            client.until(b"s")
            client.send(b"H")
            os.kill(os.getpid(), signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        box.founder.send(b"I", b"\n")
        box.founder.until(b"i")
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert box.founder.until(b"x")[0] == bytes(3)
        box.wait()


def _stopped(box):
    """Keep the monitor from doing anything, as a busy machine may."""
    os.kill(box.pid, signal.SIGSTOP)
    os.waitpid(box.pid, os.WUNTRACED)


@pytest.mark.parametrize("known", [False, True])
def test_who_does_not_wait_is_heard(workdir, known):
    """`rl kill` leaves at once: before it was let in, or with a packet of ours unread."""
    with Monitored(workdir, ["sleep", "1000"], attach=0) as box:
        box.started()
        if known:
            client = box.connect()
            client.socket.recv(64, socket.MSG_PEEK)  # it is let in: the start was told
        _stopped(box)
        if not known:
            client = box.connect()
        client.send(b"K", bytes([signal.SIGUSR1, 0]))
        client.close()
        os.kill(box.pid, signal.SIGCONT)
        box.wait()
        assert box.record()["signal"] == signal.SIGUSR1


def test_who_detaches_with_output_unread_is_heard(workdir):
    """The goodbye counts: it is not the end of the program's stdin."""
    with Monitored(workdir, ["sh", "-c", "echo one; cat; exit 6"], attach=0) as box:
        box.started()
        client = box.connect()
        client.send(b"A", bytes([OUT | IN]))
        client.socket.recv(64, socket.MSG_PEEK)  # at least the start is unread
        _stopped(box)
        client.send(b"D")
        client.close()
        os.kill(box.pid, signal.SIGCONT)
        other = box.connect()
        other.send(b"A", bytes([OUT | IN]))
        other.send(b"I", b"still open")
        said = b""
        while b"still open" not in said:
            said += other.until(b"o")[0]
        other.send(b"E")
        other.until(b"x")
        box.wait()
        assert box.record()["code"] == 6


def test_too_many_clients(workdir):
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        clients = [box.connect() for _ in range(31)]
        for client in clients:
            client.until(b"s")
        extra = box.connect()
        assert extra.until(b"b")[0] == b"too many clients"
        assert extra.rest() == []
        clients.pop().close()
        again = eventually(lambda: self_made(box), "room for another")
        again.close()
        box.founder.send(b"E")
        for client in clients:
            client.until(b"x")
        box.wait()


def self_made(box):
    """A client that was let in, or None."""
    client = box.connect()
    if client.packet()[:1] == b"s":
        return client
    client.close()
    return None


def test_no_descriptor_is_kept(workdir):
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        before = len(os.listdir(f"/proc/{box.pid}/fd"))
        for kind in (b"A\7", b"H", b"nonsense", b"D"):
            for _ in range(10):
                client = box.connect()
                client.send(kind)
                client.until(b"s")
                client.send(b"D") if kind != b"nonsense" else None
                client.close()
            eventually(lambda: len(os.listdir(f"/proc/{box.pid}/fd")) == before)
        box.founder.send(b"E")
        box.wait()


BAD = [b"", b"Z", b"A", b"A\0\0", b"E1", b"R\0\0\0", b"K\x09", b"K\0\0", b"K\x41\0", b"T\0",
       b"T\x41\0\0\0\0", b"H?", b"Sx", b"o", b"x\0\0\0", b"Inot attached", b"A" * 40000,
       b"I" * 40000]  # fmt: skip


@pytest.mark.parametrize("packet", BAD, ids=lambda packet: repr(packet[:8]))
def test_nonsense_ends_the_connection_only(workdir, packet):
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        client = box.connect()
        client.until(b"s")
        client.socket.send(packet)
        assert client.rest() == []
        feed(box.founder, b"fine\n")
        box.founder.send(b"E")
        assert box.founder.until(b"x")[0] == bytes(3)
        box.wait()


def test_descriptors_that_are_sent_along_are_not_kept(workdir):
    with Monitored(workdir, ["cat"]) as box:
        box.started()
        before = len(os.listdir(f"/proc/{box.pid}/fd"))
        with open("/dev/null", "rb") as file:
            socket.send_fds(box.founder.socket, [b"R\1\0\1\0"], [file.fileno()] * 20)
        feed(box.founder, b"x")
        assert len(os.listdir(f"/proc/{box.pid}/fd")) == before
        box.founder.send(b"E")
        box.wait()


def junk(chance):
    """A random packet: often nearly right."""
    kind = chance.choice([b"A", b"I", b"E", b"R", b"S", b"D", b"H", b"T", b"K", b"?"])
    if kind in b"K":
        return b"K" + bytes([chance.choice([0, 18, 28, 65, 255]), chance.randrange(256)])
    if kind == b"T":
        return b"T" + chance.randbytes(chance.choice([0, 1, 4, 6]))
    if chance.random() < 0.5:
        length = {b"A": 1, b"R": 4}.get(kind, 0)
        return kind + chance.randbytes(length)
    return kind + chance.randbytes(chance.choice([0, 1, 2, 5, 100, 32768, 32769]))


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A monitor with the address and undefined behaviour sanitizers in it."""
    directory = tmp_path_factory.mktemp("checked")
    return build(str(directory), "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
                 "-U_FORTIFY_SOURCE")  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("stdio", ["pipes", "tty"])
def test_fuzz(workdir, checked, seed, stdio):
    print(f"seed {seed}")
    chance = random.Random(seed)
    # Deaf also to the keys that random typing may hit.
    script = "trap '' TERM INT QUIT TSTP; while :; do head -c 5000 /dev/zero; sleep 0.002; done"
    program = ["sh", "-c", script]
    words = [f"log={chance.choice(['json-file', 'k8s-file'])}", "log-max=9000", "patience=100",
             "health=2", "/bin/echo", "checked", "health-interval=10"]  # fmt: skip
    with Monitored(workdir, program, stdio=stdio, words=words, monitor=checked, attach=IN) as box:
        box.started()
        clients = []
        for _ in range(400):
            if len(clients) < 8 and chance.random() < 0.4:
                client = box.connect()
                client.socket.setblocking(False)
                clients.append(client)
            client = chance.choice(clients or [None])
            if client is None:
                continue
            try:
                if chance.random() < 0.3:
                    client.socket.recv(1 << 17)
                elif chance.random() < 0.1:
                    client.close()
                    clients.remove(client)
                else:
                    client.socket.send(junk(chance))
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                clients.remove(client)
        last = eventually(lambda: self_made(box), "room for another")
        last.send(b"K", b"\x09\x00")
        last.until(b"x")
        for client in clients:
            client.close()
        assert box.wait() == 0
        assert box.record()["code"] == 137


def test_the_sanitized_monitor_in_ordinary_life(workdir, checked):
    for driver in ("json-file", "k8s-file", "journald"):
        words = [f"log={driver}", "log-max=2000", "timeout=1000", "restart=always",
                 "on-exit=1", "/bin/true", "journal=/nowhere"]  # fmt: skip
        script = "cat; echo error >&2; head -c 100000 /dev/urandom; exit 5"
        with Monitored(workdir, ["sh", "-c", script], words=words, monitor=checked) as box:
            got = feed(box.founder, b"\xff\xc3\n" * 30000)
            box.founder.send(b"E")
            payload, packets = box.founder.until(b"x")
            assert payload == bytes([5, 0, 4])
            assert len(output(got + packets)) == 190000
            assert box.wait() == 0


def test_valgrind_finds_nothing(workdir, tmp_path):
    plain = build(str(tmp_path))
    shim = f"{tmp_path}/under-valgrind"
    report = f"{tmp_path}/report"
    with open(shim, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nexec {find('valgrind')} -q --error-exitcode=99 "
                   f"--track-origins=yes --log-file={report} {plain} \"$@\"\n")  # fmt: skip
    os.chmod(shim, 0o755)
    words = ["log=json-file", "health=2", "/bin/echo", "well", "health-interval=50"]
    with Monitored(workdir, ["sh", "-c", "cat; exit 4"], words=words, monitor=shim) as box:
        box.started()
        feed(box.founder, b"hello\n" * 1000)
        other = box.connect()
        other.until(b"s")
        eventually(lambda: os.path.exists(f"{box.run}/health"))
        other.send(b"H")
        other.until(b"h")
        box.founder.send(b"E")
        box.founder.until(b"x")
        assert box.wait() == 0
    with open(report, encoding="utf-8") as file:
        errors = [line for line in file if re.match(r"==\d+== [A-Z]", line)]
    assert errors == []


def test_a_terminal(workdir):
    program = ["sh", "-c", "stty size; read line; echo got $line; stty size; exit 2"]
    with Monitored(workdir, program, stdio="tty", words=["log=k8s-file"]) as box:
        box.founder.send(b"R", struct.pack("<HH", 30, 90))
        seen, _ = box.founder.until(b"o")
        box.founder.send(b"E")  # means nothing to a terminal
        box.founder.send(b"R", struct.pack("<HH", 40, 100))
        box.founder.send(b"I", b"typed\r")
        _, packets = box.founder.until(b"x")
        text = seen + output(packets)
        assert b"typed\r\n" in text and b"got typed\r\n40 100\r\n" in text
        box.wait()
        assert box.record()["code"] == 2
        assert box.said()["stdout"].endswith(b"got typed\r\n40 100\r\n")


def test_the_window_size_reaches_the_program(workdir):
    code = (
        "import signal, os, time\n"
        "say = lambda *a: os.write(1, b'%d %d\\n' % os.get_terminal_size())\n"
        "signal.signal(signal.SIGWINCH, say)\n"
        # A print that the signal interrupts could not print again.
        "os.write(1, b'ready\\n')\n"
        "while True: time.sleep(10)\n"
    )
    with Monitored(workdir, [sys.executable, "-S", "-c", code], stdio="tty") as box:
        hear(box.founder, b"ready\r\n")
        box.founder.send(b"R", struct.pack("<HH", 11, 22))
        hear(box.founder, b"22 11\r\n")
        box.founder.send(b"K", b"\x09\x00")
        box.founder.until(b"x")
        box.wait()


def test_a_terminals_last_words(workdir):
    with Monitored(workdir, ["sh", "-c", "seq 20000"], stdio="tty", words=["log=none"]) as box:
        _, packets = box.founder.until(b"x")
        assert output(packets) == b"".join(b"%d\r\n" % number for number in range(1, 20001))
        box.wait()


def test_a_terminal_that_its_program_closes_for_a_while(workdir):
    script = "exec <&- >&- 2>&-; sleep 0.3; exec >/dev/tty; echo back"
    with Monitored(workdir, ["sh", "-c", script], stdio="tty") as box:
        box.started()
        with open(f"/proc/{box.pid}/stat", encoding="ascii") as file:
            before = int(file.read().rsplit(")", 1)[1].split()[11])
        _, packets = box.founder.until(b"x")
        assert output(packets) == b"back\r\n"
        assert before < 100
        box.wait()


def test_typing_at_a_terminal_that_nobody_reads(workdir):
    with Monitored(workdir, ["sleep", "1000"], stdio="tty", words=["log=none"]) as box:
        box.started()
        for _ in range(3):
            box.founder.send(b"I", b"x" * 4000)
            time.sleep(0.02)
            box.founder.socket.setblocking(False)
            packets = []
            try:
                while True:
                    packets.append(box.founder.socket.recv(1 << 17))
            except BlockingIOError:
                pass
            box.founder.socket.settimeout(20)
            if b"i" not in packets:
                break
        box.founder.send(b"K", b"\x09\x00")
        assert box.founder.until(b"x")[0] == bytes([137, 9, 0])
        box.wait()
