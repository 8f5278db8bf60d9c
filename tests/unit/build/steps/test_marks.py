"""Owners that are noted: their marks, and the filter that asks for them."""

from stat import S_IFCHR, S_IFIFO

import pytest

from rootless.build.steps import owners
from rootless.runtime import fakeowner
from rootless.store import capture
from unit.confinement import bpf


@pytest.mark.parametrize("owner", [(0, 0), (33, 44), (None, 5), (4294967294, None)])
def test_a_mark_says_an_owner(owner):
    assert capture.parse_owner(capture.owner_text(owner)) == owner


@pytest.mark.parametrize("value, short, wanted", [
    (0xFFFFFFFF, False, None), (0xFFFFFFFFFFFFFFFF, False, None), (33, False, 33),
    (0xFFFF, True, None), (0xFFFF, False, 0xFFFF), (0x1_0000_0021, False, 33),
])  # fmt: skip
def test_ids_among_arguments(value, short, wanted):
    assert owners._id(value, short) == wanted


def test_what_is_left_alone_keeps_the_older_owner():
    assert owners._over((None, 5), (1, 2)) == (1, 5)
    assert owners._over((0, None), (None, 2)) == (0, 2)


def test_every_call_that_is_asked_about_is_understood():
    for machine in fakeowner.TABLES:
        for name in fakeowner.calls(machine).values():
            if "chown" in name:
                assert name.removesuffix("16") in owners._CHOWN
            elif name.startswith("mknod"):
                assert name in owners._NODE


ALLOW, ASK, DONE, LEAVE = 0x7FFF0000, 0x7FC00000, 0x00050000, 0xFFFFFFFF


@pytest.mark.parametrize("name, args, wanted", [
    ("chown", (1, 33, 33), ASK), ("chown", (1, 0, 0), ASK), ("chown", (1, LEAVE, 5), ASK),
    ("chown", (1, 5, LEAVE), ASK), ("chown", (1, LEAVE, LEAVE), ALLOW),
    ("fchownat", (1, 1, 5, 5, 0), ASK), ("fchownat", (5, 5, LEAVE, LEAVE, 0), ALLOW),
    ("mknod", (1, S_IFCHR, 0x103), ASK), ("mknod", (1, S_IFCHR, 0), ALLOW),
    ("mknod", (1, S_IFIFO, 0), ALLOW), ("setuid", (5,), DONE), ("setgroups", (1, 1), DONE),
])  # fmt: skip
def test_the_filter_asks_about_files_only(name, args, wanted):
    program = fakeowner.program(0, 0, "x86_64", ask=True)
    for architecture, numbers in fakeowner.TABLES["x86_64"]:
        assert bpf.run(program, architecture, numbers[name], args) == wanted
