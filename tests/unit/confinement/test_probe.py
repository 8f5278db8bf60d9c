"""The filters at work: real calls of a process in a user namespace of its own."""

import ctypes
import errno
import os
import socket

import pytest

from rootless.engine.spec.security import DEFAULT_CAPS
from rootless.kernel import caps
from rootless.model.idmap import Ids, stack
from rootless.runtime import fakeowner, profile, seccomp
from unit.confinement.test_caps import in_namespace

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers are x86_64's")

SETS = (DEFAULT_CAPS, DEFAULT_CAPS, DEFAULT_CAPS, 0, 0)
_NULL = 0
# name: (number, arguments, error wanted; 0 for success)
PROBES = {
    "unshare(NEWUSER)": (272, (0x10000000,), 0),
    "mount": (165, (_NULL, _NULL, _NULL, 0, _NULL), errno.EFAULT),
    "keyctl": (250, (0, -3, 0), 0),
    "add_key": (248, (_NULL,) * 5, errno.ENOSYS),
    "request_key": (249, (_NULL,) * 4, errno.ENOSYS),
    "io_uring_setup": (425, (1, _NULL), errno.ENOSYS),
    "1000": (1000, (), errno.ENOSYS),
    "bpf": (321, (0, _NULL, 0), errno.EPERM),
    "perf_event_open": (298, (_NULL, 0, -1, -1, 0), errno.EPERM),
    "userfaultfd": (323, (0,), errno.EPERM),
    "kexec_load": (246, (0, 0, _NULL, 0), errno.EPERM),
    "kexec_file_load": (320, (-1, -1, 0, _NULL, 0), errno.EPERM),
    "init_module": (175, (_NULL, 0, _NULL), errno.EPERM),
    "open_by_handle_at": (304, (-1, _NULL, 0), errno.EPERM),
    "reboot": (169, (0, 0, 0, _NULL), errno.EPERM),
    "swapon": (167, (_NULL, 0), errno.EPERM),
    "settimeofday": (164, (_NULL, _NULL), errno.EPERM),
    "quotactl": (179, (0, _NULL, 0, _NULL), errno.EPERM),
    "acct": (163, (_NULL,), errno.EPERM),
    "move_pages": (279, (0, 0, _NULL, _NULL, _NULL, 0), errno.EPERM),
    "clone3": (435, (_NULL, 0), errno.EINVAL),
    "socket(AF_PACKET)": (41, (17, 3, 0), errno.EPERM),
    "socket(AF_VSOCK)": (41, (40, 1, 0), errno.EAFNOSUPPORT),
    "socket(AF_ALG)": (41, (38, 5, 0), errno.EAFNOSUPPORT),
    "socket(AF_ALG) in a dirty register": (41, (38 | 1 << 32, 5, 0), errno.EAFNOSUPPORT),
    "socket(AF_NETLINK, NETLINK_AUDIT)": (41, (16, 3, 9), errno.EINVAL),
    "socket(AF_NETLINK, NETLINK_ROUTE)": (41, (16, 3, 0), 0),
    "socket(AF_UNIX)": (41, (1, 1, 0), 0),
    "socket(AF_INET)": (41, (2, 1, 0), 0),
    "personality(asks)": (135, (0xFFFFFFFF,), 0),
    "personality(ADDR_NO_RANDOMIZE)": (135, (0x0040000,), errno.ENOSYS),
}


def call(number, *args):
    """The error number of a system call made with whole registers; 0 for success."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    ctypes.set_errno(0)
    words = [ctypes.c_long(arg) for arg in args]
    return 0 if libc.syscall(ctypes.c_long(number), *words) >= 0 else ctypes.get_errno()


def test_probes(tmp_path):
    program = seccomp.cached(str(tmp_path), DEFAULT_CAPS)

    def child():
        caps.become(0, 0, None, SETS, filters=[program])
        return {name: call(number, *args) for name, (number, args, _) in PROBES.items()}

    found = in_namespace(child)
    assert {name: errno.errorcode.get(code, "OK") for name, code in found.items()} == {
        name: errno.errorcode.get(code, "OK") for name, (_, _, code) in PROBES.items()
    }


def one_id(function, directory, *more):
    """``function`` in a namespace with one id, behind the filters that a launch installs."""
    ids = Ids(stack(os.getuid(), []), stack(os.getgid(), []), "single")
    spec = {"process": {"capabilities": {"bounding": caps.names(DEFAULT_CAPS)}}, "linux": {}}
    filters = [*seccomp.programs(spec, ids, directory), *more]

    def child():
        caps.become(0, 0, None, SETS, filters=filters)
        return function()

    return in_namespace(child)


def test_owners_are_faked_where_there_is_one_id(tmp_path):
    path = str(tmp_path / "file")
    fifo = str(tmp_path / "fifo")
    node = str(tmp_path / "node")
    with open(path, "w"):
        pass

    def child():
        os.setgroups([42])
        os.chown(path, 42, 42)
        os.lchown(path, -1, 7)
        os.setresgid(42, 42, 42)
        os.setresuid(42, 42, 42)
        os.mkfifo(fifo)
        os.mknod(node, 0o20644, os.makedev(1, 3))
        status = os.stat(path)
        return (status.st_uid, status.st_gid, os.getuid(), os.getgid(), os.path.exists(fifo),
                os.path.lexists(node))

    assert one_id(child, str(tmp_path / "kept")) == (0, 0, 0, 0, True, False)


def test_what_can_be_done_is_done(tmp_path):
    def child():
        seen = []
        for function in (lambda: os.chown(str(tmp_path / "absent"), 0, 0),
                         lambda: os.chown(str(tmp_path / "absent"), -1, -1),
                         lambda: os.setresuid(0, 0, -1)):
            try:
                function()
                seen.append(0)
            except OSError as error:
                seen.append(error.errno)
        return seen

    assert one_id(child, str(tmp_path / "kept")) == [errno.ENOENT, errno.ENOENT, 0]


def test_without_the_filter_they_fail(tmp_path):
    """What the filter is for: if these succeeded, nobody would need it."""
    path = str(tmp_path / "file")
    with open(path, "w"):
        pass

    def child():
        seen = []
        for function in (lambda: os.setgroups([42]), lambda: os.chown(path, 42, 42),
                         lambda: os.setresuid(42, 42, 42)):
            try:
                function()
                seen.append(0)
            except OSError as error:
                seen.append(error.errno)
        return seen

    assert in_namespace(child) == [errno.EPERM, errno.EINVAL, errno.EINVAL]


def test_the_profile_of_the_container_counts_for_more(tmp_path):
    """Both filters answer with an error number: the one installed last decides."""
    refusing = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["setgroups"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}]}
    program = profile.compile(refusing)

    def child():
        try:
            os.setgroups([42])
        except OSError as error:
            return error.errno
        return 0

    assert one_id(child, str(tmp_path / "kept"), program) == errno.EXDEV


def test_a_filter_alone_changes_nothing_else(tmp_path):
    def child():
        caps.become(0, 0, None, SETS, filters=[fakeowner.program()])
        left, right = socket.socketpair()
        left.send(b"x")
        return right.recv(1), os.getuid(), sorted(os.listdir("/"))[:1] != []

    assert in_namespace(child) == (b"x", 0, True)
