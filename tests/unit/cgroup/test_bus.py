"""The user's bus, played by a thread: what rl sends, and what it makes of the answers."""

import os
import socket
import threading
from struct import pack

import pytest

from rootless.cgroup import bus, files, group, place, systemd, wire


class FakeBus:
    """Answers one connection: ``answers(message)`` gives bytes to send for each call."""

    def __init__(self, path, answers, greeting=b"OK 1234\r\n"):
        self.seen = []
        self.hello = b""
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen(2)
        self.answers, self.greeting = answers, greeting
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        self.listening.settimeout(20)
        peer, _ = self.listening.accept()
        with peer:
            peer.settimeout(20)
            data = b""
            while b"BEGIN\r\n" not in data:
                data += peer.recv(4096)
            self.hello, _, data = data.partition(b"BEGIN\r\n")
            peer.sendall(self.greeting)
            while True:
                message, used = wire.parse(data)
                if message is None:
                    try:
                        more = peer.recv(4096)
                    except OSError:
                        return
                    if not more:
                        return
                    data += more
                    continue
                serial = int.from_bytes(data[8:12], "little")
                data = data[used:]
                self.seen.append(message)
                answer = self.answers(message, serial)
                if answer is None:
                    return  # it dies
                try:
                    peer.sendall(answer)
                except BrokenPipeError:
                    return

    def close(self):
        self.thread.join()
        self.listening.close()


def reply(serial, signature="", *values, kind=wire.RETURN, **more):
    """A message from the bus."""
    body = bytearray()
    for one, value in zip(wire.types(signature), values, strict=True):
        wire.put(body, one, value)
    fields = [(wire.REPLY_SERIAL, ("u", serial))] if kind != wire.SIGNAL else []
    if signature:
        fields.append((wire.SIGNATURE, ("g", signature)))
    for name, value in more.items():
        code = getattr(wire, name.upper())
        fields.append((code, ("s", value)))
    data = bytearray(b"l" + bytes([kind, 0, 1]) + pack("<II", len(body), 99))
    wire.put(data, "a(yv)", fields)
    data += bytes(-len(data) % 8)
    return bytes(data + body)


JOB = "/org/freedesktop/systemd1/job/7"


def removed(result="done", job=JOB):
    return reply(0, "uoss", 7, job, "x.scope", result, kind=wire.SIGNAL, member="JobRemoved")


def healthy(message, serial, result="done"):
    member = message.fields[wire.MEMBER]
    if member == "Hello":
        return reply(serial, "s", ":1.5")
    if member == "StartTransientUnit":
        other = removed(job="/org/freedesktop/systemd1/job/6")
        return other + reply(serial, "o", JOB) + removed(result)
    return reply(serial)


@pytest.fixture
def serve(workdir):
    """A function that starts a FakeBus and gives (it, a connection to it)."""
    made = []

    def start(answers, patience=10.0, **how):
        fake = FakeBus(f"{workdir}/bus", answers, **how)
        connection = bus.Bus(f"{workdir}/bus", 1234, patience)
        made.extend([connection, fake])
        return fake, connection

    yield start
    for one in made:
        one.close()


def scope(connection):
    serial = systemd.request_scope(connection, "rl-1.scope", [10, 11], "work.slice", "a container")
    systemd.await_scope(connection, serial, "rl-1.scope")


def test_a_scope(serve):
    fake, connection = serve(healthy)
    scope(connection)
    connection.close()
    fake.thread.join()
    assert fake.hello == b"\0AUTH EXTERNAL " + b"1234".hex().encode() + b"\r\n"
    assert [one.fields[wire.MEMBER] for one in fake.seen] == [
        "Hello", "AddMatch", "StartTransientUnit"]  # fmt: skip
    name, mode, properties, auxiliary = fake.seen[-1].body
    assert (name, mode, auxiliary) == ("rl-1.scope", "fail", [])
    assert dict(properties) == {
        "Description": "a container",
        "Delegate": True,
        "PIDs": [10, 11],
        "Slice": "work.slice",
        "CollectMode": "inactive-or-failed",
    }


def test_a_signal_may_come_before_the_answer(serve):
    def early(message, serial):
        if message.fields[wire.MEMBER] == "StartTransientUnit":
            return removed() + reply(serial, "o", JOB)
        return healthy(message, serial)

    scope(serve(early)[1])


def test_a_job_that_fails(serve):
    _, connection = serve(lambda message, serial: healthy(message, serial, "failed"))
    with pytest.raises(bus.Refused, match="could not be started"):
        scope(connection)


def test_an_error_is_told(serve):
    def refuse(message, serial):
        if message.fields[wire.MEMBER] == "StartTransientUnit":
            return reply(serial, "s", "Unit x exists", kind=wire.ERROR,
                         error_name="org.freedesktop.systemd1.UnitExists")  # fmt: skip
        return healthy(message, serial)

    with pytest.raises(bus.Refused) as error:
        scope(serve(refuse)[1])
    assert systemd.is_taken(error.value) and "Unit x exists" in error.value.message


@pytest.mark.parametrize(("answers", "how", "says"), [
    (lambda message, serial: b"", {}, "does not answer"),
    (lambda message, serial: None, {}, "ended the connection"),
    (healthy, {"greeting": b"REJECTED EXTERNAL\r\n"}, "does not let us in"),
    (healthy, {"greeting": b"x" * 5000}, "does not speak D-Bus"),
    (lambda message, serial: b"\0" * 64, {}, "no message"),
])  # fmt: skip
def test_a_sick_bus(serve, answers, how, says):
    _, connection = serve(answers, patience=1.0, **how)
    with pytest.raises(bus.BusTrouble, match=says):
        scope(connection)


def test_no_bus(workdir):
    with pytest.raises(bus.BusTrouble, match="No such file"):
        bus.Bus(f"{workdir}/nothing", os.getuid())


@pytest.mark.parametrize(("environ", "paths"), [
    ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/x/bus,guid=1"}, ["/x/bus", "/run/user/1000/bus"]),
    ({"DBUS_SESSION_BUS_ADDRESS": "tcp:host=a;unix:path=/y%20z;unix:abstract=/tmp/d",
      "XDG_RUNTIME_DIR": "/r"}, ["/y z", "@/tmp/d", "/r/bus"]),
    ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/%c3%a9%", "XDG_RUNTIME_DIR": "/r"},
     ["/é%", "/r/bus"]),
    ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/a%00b", "XDG_RUNTIME_DIR": "/r"}, ["/r/bus"]),
    ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=relative", "XDG_RUNTIME_DIR": "/r"}, ["/r/bus"]),
    ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/r/bus", "XDG_RUNTIME_DIR": "/r"}, ["/r/bus"]),
    ({"DBUS_SESSION_BUS_ADDRESS": "=;,:%;", "XDG_RUNTIME_DIR": "/r"}, ["/r/bus"]),
    ({"XDG_RUNTIME_DIR": "/r"}, ["/r/bus"]),
    ({"XDG_RUNTIME_DIR": "r"}, []),
    ({}, ["/run/user/1000/bus"]),
])  # fmt: skip
def test_where_the_bus_is(environ, paths):
    assert bus.addresses(environ, 1000) == paths


def test_transports_that_rl_does_not_speak():
    said = "unixexec:path=/x;tcp:host=a,port=1;unix:path=/y;tcp:host=b"
    assert bus.unusable({"DBUS_SESSION_BUS_ADDRESS": said}) == "unixexec, tcp"
    assert bus.unusable({}) == ""


def test_a_queue_that_is_full_is_waited_for(workdir):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{workdir}/bus")
        listening.listen(0)
        kept = []
        with pytest.raises(bus.BusTrouble, match="takes no connection"):
            for _ in range(8):
                kept.append(bus.Bus(f"{workdir}/bus", 1, patience=0.2))
        timer = threading.Timer(0.2, lambda: kept.append(listening.accept()[0]))
        timer.start()
        kept.append(bus.Bus(f"{workdir}/bus", 1, patience=30.0))
        timer.join()
        for one in kept:
            one.close()


# --- a start of a container that meets a systemd in trouble ----------------------------------

REFUSALS = {
    "taken": "org.freedesktop.systemd1.UnitExists",
    "left": "org.freedesktop.DBus.Error.NoReply",
    "absent": "org.freedesktop.DBus.Error.ServiceUnknown",
    "denied": "org.freedesktop.DBus.Error.AccessDenied",
}


@pytest.fixture
def start(workdir, monkeypatch):
    """A function that starts a container on a bus that answers as its words say, one after the
    other, to each request of a scope: the group.Group, and the names that were asked for."""
    made, names = [], []
    monkeypatch.setattr(group, "_PAUSE", 0)
    monkeypatch.setattr(group.Group, "_divide", lambda self, stage: None)
    monkeypatch.setattr(
        files, "of_process", lambda pid="self": "/".join(["/app.slice", *names[-1:]])
    )

    def begin(*words, required=True):
        left = list(words)

        def answer(message, serial):
            if message.fields[wire.MEMBER] != "StartTransientUnit":
                return healthy(message, serial)
            names.append(message.body[0])
            word = left.pop(0)
            if word in REFUSALS:
                return reply(serial, "s", word, kind=wire.ERROR, error_name=REFUSALS[word])
            return None if word == "dies" else healthy(message, serial, word)

        made.append(FakeBus(f"{workdir}/bus", answer))
        one = group.Group(place.Place("systemd", bus=f"{workdir}/bus"), "rl-x", required=required)
        one.request(os.getpid())
        one.settle(os.getpid())
        return one, names

    yield begin
    for fake in made:
        fake.close()


@pytest.mark.parametrize(("words", "last"), [
    (["done"], "rl-x.scope"),
    (["taken", "taken", "done"], "rl-x-3.scope"),
    (["left", "absent", "absent", "left", "taken", "done"], "rl-x-6.scope"),
])  # fmt: skip
def test_a_scope_is_asked_for_again(start, monkeypatch, words, last):
    # Not in the scope before systemd says so.
    monkeypatch.setattr(group.Group, "_arrived", lambda self, stage: self._scope == last)
    one, names = start(*words)
    assert names[-1] == last and len(names) == len(words)
    assert one.directory == f"{files.TOP}/app.slice/{last}"


def test_a_word_that_was_lost(start):
    """systemd has moved the process, and then its bus was gone."""
    one, names = start("dies")
    assert one.directory == f"{files.TOP}/app.slice/{names[0]}"


@pytest.mark.parametrize(("words", "error", "says"), [
    (["absent"], bus.BusTrouble, "no systemd on it"),
    (["denied"], bus.Refused, "AccessDenied"),
    (["failed"], bus.Refused, "could not be started"),
    (["dies"], bus.BusTrouble, "ended the connection"),
    (["done"], group.NoCgroup, "process namespace"),
])  # fmt: skip
def test_no_scope(start, monkeypatch, words, error, says):
    monkeypatch.setattr(group.Group, "_arrived", lambda self, stage: False)
    with pytest.raises(error) as caught:
        start(*words)
    assert says in caught.value.message and caught.value.advice


@pytest.mark.parametrize("word", ["absent", "denied", "failed", "dies", "done"])
def test_no_scope_and_nobody_insists(start, monkeypatch, word):
    monkeypatch.setattr(group.Group, "_arrived", lambda self, stage: False)
    one, _ = start(word, required=False)
    assert one.directory is None and one.container is None
