"""Names and numbers of capabilities, and the five sets as the kernel shows them."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.kernel import caps
from rootless.kernel import seccomp as kernel


def test_names_are_the_kernels():
    assert len(caps.NAMES) == 41 and caps.ALL == 0x1FFFFFFFFFF
    assert caps.NUMBERS["CAP_CHOWN"] == 0
    assert caps.NUMBERS["CAP_SYS_ADMIN"] == 21
    assert caps.NUMBERS["CAP_AUDIT_READ"] == 37
    assert caps.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40


@pytest.mark.parametrize("text", ["NET_RAW", "net_raw", "CAP_NET_RAW", "cap_net_raw", "Net_raw"])
def test_parse(text):
    assert caps.parse(text) == 1 << 13


def test_parse_all():
    assert caps.parse("all") == caps.parse("ALL") == caps.ALL


@pytest.mark.parametrize("text", ["", "NET", "CAP_", "CAP_CAP_NET_RAW", "NET_RAW ", "13", "none"])
def test_unknown(text):
    with pytest.raises(caps.UnknownCapability) as caught:
        caps.parse(text)
    assert caught.value.exit_code == 125 and repr(text) in caught.value.message


@given(st.integers(0, caps.ALL))
def test_there_and_back(mask):
    assert caps.union(caps.names(mask)) == mask


def test_kernel_last():
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert caps.kernel_last() == int(file.read())


def status(pid="self"):
    with open(f"/proc/{pid}/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return {name: lines[name].strip() for name in
            ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
             "NoNewPrivs", "Seccomp")}


def test_current():
    effective, permitted, inheritable = caps.current()
    shown = status()
    assert int(shown["CapEff"], 16) == effective
    assert int(shown["CapPrm"], 16) == permitted
    assert int(shown["CapInh"], 16) == inheritable
    assert int(shown["CapBnd"], 16) == caps.bounding()


DEFAULT = 0x800405FB
RAW = 1 << 13
# One instruction: allow everything.
ALLOW = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
NO_CAPSET = (
    b"\x20\x00\x00\x00\x00\x00\x00\x00" b"\x15\x00\x00\x01\x7e\x00\x00\x00"
    b"\x06\x00\x00\x00\x01\x00\x05\x00" b"\x06\x00\x00\x00\x00\x00\xff\x7f"
)  # fmt: skip


def in_namespace(function):
    """What ``function`` returns in a child that is root of a user namespace of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            from rootless.kernel import libc

            uid, gid = os.getuid(), os.getgid()
            libc.syscall("unshare", 0x10000000)
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"),
                               ("gid_map", f"0 {gid} 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
            os.write(write, repr(function()).encode())
        except BaseException as error:
            os.write(write, repr(f"{type(error).__name__}: {error}").encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        text = file.read().decode()
    os.waitpid(pid, 0)
    from ast import literal_eval

    return literal_eval(text)


@pytest.mark.parametrize("filters", [(), [ALLOW], [(ALLOW, 0), (ALLOW, 0)]])
@pytest.mark.parametrize("no_new_privs", [False, True])
@pytest.mark.parametrize("sets", [
    (DEFAULT, DEFAULT, DEFAULT, 0, 0),
    (0, 0, 0, 0, 0),
    (caps.ALL, caps.ALL, caps.ALL, 0, 0),
    (DEFAULT | RAW, RAW, RAW, RAW, RAW),
    (DEFAULT, 0, 0, 0, 0),
])  # fmt: skip
def test_become(sets, no_new_privs, filters):
    def child():
        caps.become(0, 0, None, sets, no_new_privs=no_new_privs, filters=filters)
        return status()

    shown = in_namespace(child)
    known = caps.kernel_all()
    wanted = dict(zip(("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"), sets, strict=True))
    assert {name: int(shown[name], 16) for name in wanted} == {
        name: value & known for name, value in wanted.items()
    }
    assert shown["NoNewPrivs"] == str(int(no_new_privs))
    assert shown["Seccomp"] == ("2" if filters else "0")


def test_a_filter_that_forbids_the_last_steps_fails_loudly():
    sets = (DEFAULT, DEFAULT, DEFAULT, 0, 0)
    said = in_namespace(lambda: caps.become(0, 0, None, sets, filters=[NO_CAPSET]))
    assert said.startswith("FilterTooStrict: the seccomp profile forbids")


def test_the_death_signal_outlives_what_follows():
    def child():
        import ctypes

        caps.become(0, 0, None, (DEFAULT, DEFAULT, DEFAULT, 0, 0), filters=[ALLOW], death_signal=9)
        found = ctypes.c_int()
        ctypes.CDLL(None).prctl(2, ctypes.byref(found), 0, 0, 0)  # PR_GET_PDEATHSIG
        return found.value

    assert in_namespace(child) == 9


def test_apply_leaves_exactly_what_is_asked():
    def child():
        caps.apply(DEFAULT | RAW, RAW, 0, RAW, RAW)
        return status()

    shown = in_namespace(child)
    names = ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")
    assert [int(shown[name], 16) for name in names] == [DEFAULT | RAW, RAW, 0, RAW, RAW]


def test_nothing_is_installed_that_is_no_filter():
    for program in (b"", b"\0" * 7, b"\0" * 8 * 4097):
        with pytest.raises(ValueError):
            kernel.install(program)
