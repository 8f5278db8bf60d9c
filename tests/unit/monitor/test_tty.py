"""kernel/tty.py against real terminals."""

import os
import signal
import termios

import pytest

from rootless.kernel import tty


@pytest.fixture
def pair():
    """(master, peer) of a new terminal."""
    master = tty.open_master()
    peer = tty.open_peer(master)
    yield master, peer
    os.close(master)
    os.close(peer)


def test_both_ends_are_connected_and_close_on_exec(pair):
    master, peer = pair
    assert os.isatty(peer)
    assert not os.get_inheritable(master) and not os.get_inheritable(peer)
    os.write(master, b"typed\n")
    assert os.read(peer, 100) == b"typed\n"


def test_a_master_opened_by_somebody_else():
    directory = os.open("/dev", os.O_PATH)

    def opener(path, flags):
        return os.open(path, flags, dir_fd=directory)

    with pytest.raises(FileNotFoundError):
        tty.open_master("none", opener)
    master = tty.open_master("ptmx", opener)
    assert os.isatty(master)
    assert os.get_blocking(master)
    os.close(master)
    os.close(directory)


def test_what_is_no_ptmx(tmp_path):
    os.mkfifo(tmp_path / "fifo")  # opening one could wait for ever
    for path in ("/dev/null", "/dev/tty0", tmp_path / "fifo"):
        with pytest.raises(OSError):
            tty.open_master(path)


def test_size(pair):
    master, peer = pair
    assert tty.window_size(peer) is None  # not known yet
    tty.set_window_size(master, 40, 132)
    assert tty.window_size(peer) == (40, 132)
    with open("/dev/null", "rb") as null:
        assert tty.window_size(null.fileno()) is None


def test_raw_mode_and_back(pair):
    master, peer = pair
    before = termios.tcgetattr(peer)
    with tty.Raw(peer) as raw:
        now = termios.tcgetattr(peer)
        assert not now[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert not now[1] & termios.OPOST
        os.write(master, b"\x03x")
        assert os.read(peer, 10) == b"\x03x"
        raw.leave()
        assert termios.tcgetattr(peer) == before
        raw.leave()
        raw.enter()
        raw.enter()
        assert termios.tcgetattr(peer) == now
    assert termios.tcgetattr(peer) == before


def test_raw_mode_of_what_is_no_terminal():
    fd = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(OSError):
        tty.Raw(fd).enter()
    tty.Raw(fd).leave()
    os.close(fd)


def test_leaving_a_terminal_that_is_gone():
    master = tty.open_master()
    peer = tty.open_peer(master)
    raw = tty.Raw(peer)
    raw.enter()
    os.close(master)
    raw.leave()
    os.close(peer)


def test_attributes_are_not_changed_in_place(pair):
    _, peer = pair
    before = termios.tcgetattr(peer)
    copy = [*before[:6], list(before[6])]
    tty.raw_attributes(before)
    assert before == copy


def test_controlling_terminal(pair):
    master, peer = pair
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            tty.make_controlling(peer)
            os.close(os.open("/dev/tty", os.O_RDWR))
            signal.signal(signal.SIGINT, lambda *_: os._exit(5))
            os.write(peer, b"!")
            while True:
                signal.pause()
        finally:
            os._exit(code)
    assert os.read(master, 10) == b"!"
    os.write(master, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
