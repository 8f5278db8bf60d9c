"""Capabilities: their names and numbers, and how a process gets rid of them.

A set of capabilities is an int with bit N for capability N (capabilities(7)).
"""

import os

from rootless.errors import RlError
from rootless.kernel import ctype, libc, seccomp

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}
ALL = (1 << len(NAMES)) - 1

_SYS_ADMIN = 1 << NUMBERS["CAP_SYS_ADMIN"]

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_VERSION_3 = 0x20080522  # linux/capability.h: two 32-bit words per set

_word = ctype.c_ulong
_prctl = libc.function("prctl", ctype.c_int, _word, _word, _word, _word)


class UnknownCapability(RlError):
    """there is no capability named {0!r}"""

    hint = "names are those of capabilities(7), with or without CAP_, for example NET_ADMIN; or all"


class FilterTooStrict(RlError):
    """the seccomp profile forbids {0}, which starting a program needs"""

    hint = (
        "let it allow capset, prctl and execve; with --security-opt no-new-privileges execve is"
        " enough"
    )


def parse(name):
    """The set that ``name`` stands for, as int: "CAP_NET_RAW", "net_raw" or "all".

    Raises UnknownCapability.
    """
    upper = name.upper()
    if upper in ("ALL", "CAP_ALL"):
        return ALL
    number = NUMBERS.get(upper)
    if number is None:
        number = NUMBERS.get("CAP_" + upper)
    if number is None:
        raise UnknownCapability(name)
    return 1 << number


def union(names):
    """One set out of many names, for ``parse``."""
    found = 0
    for name in names:
        found |= parse(name)
    return found


def names(mask):
    """The names (CAP_…) in the set ``mask``, in order of their numbers: a list of str."""
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


def kernel_last():
    """The number of the last capability that the running kernel knows."""
    last = NUMBERS["CAP_AUDIT_READ"]  # Linux 3.16, older than what rl needs otherwise
    while _prctl(_PR_CAPBSET_READ, last + 1, 0, 0, 0) >= 0:
        last += 1
    return last


def kernel_all():
    """Every capability that both the running kernel and this module know, as a set."""
    return ALL & ((1 << (kernel_last() + 1)) - 1)


def bounding():
    """The bounding set of this process, as a set."""
    return sum(
        1 << number for number in range(64) if _prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1
    )


def current():
    """The (effective, permitted, inheritable) sets of this thread (capget(2))."""
    # linux/capability.h: a version and a pid; the three sets' lower words, then the upper.
    header, words = (ctype.c_uint32 * 2)(_VERSION_3, 0), (ctype.c_uint32 * 6)()
    libc.syscall("capget", header, words)
    return tuple(words[kind] | words[kind + 3] << 32 for kind in range(3))


def _capset(effective, permitted, inheritable):
    sets = effective, permitted, inheritable
    words = [one >> shift & 0xFFFFFFFF for shift in (0, 32) for one in sets]
    header = (ctype.c_uint32 * 2)(_VERSION_3, 0)
    libc.syscall("capset", header, (ctype.c_uint32 * 6)(*words))


def _drop_bounding(keep):
    for number in range(kernel_last() + 1):
        if not keep >> number & 1:
            libc.call(_prctl, _PR_CAPBSET_DROP, number, 0, 0, 0)


def _set_rest(permitted, effective, inheritable, ambient):
    libc.call(_prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _capset(effective, permitted, inheritable)
    for number in range(len(NAMES)):
        if ambient >> number & 1:
            libc.call(_prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)


def apply(bounding, permitted, effective, inheritable, ambient):
    """Give this thread exactly these five sets; raises OSError.

    The bounding set goes first, because dropping from it needs CAP_SETPCAP, which the next
    step may take away.  The ambient set goes last: the kernel raises a capability there
    only if it is both permitted and inheritable.
    """
    _drop_bounding(bounding)
    _set_rest(permitted, effective, inheritable, ambient)


def sets_of(capabilities):
    """The five sets of an OCI ``capabilities`` object, in the order ``apply`` takes them.

    A name that the running kernel doesn't have is left out.  Raises UnknownCapability.
    """
    known = kernel_all()
    kinds = ("bounding", "permitted", "effective", "inheritable", "ambient")
    return tuple(union(capabilities.get(kind) or ()) & known for kind in kinds)


def become(uid, gid, groups, sets, *, no_new_privs=False, filters=(), death_signal=0):
    """Turn this process (the container's pid 1, one thread) into what will be executed.

    ``uid`` and ``gid`` are ids of this user namespace.  ``groups`` are the supplementary
    groups, the primary one among them; None leaves them alone (keep-groups, or setgroups
    denied in this namespace).  ``sets`` are as ``sets_of`` gives them.  ``filters`` are BPF
    programs (bytes), or pairs of a program and flags, for ``seccomp.install``, in this
    order.  ``death_signal`` is sent when the parent ends (0: none).  Nothing but execve
    should follow.  Raises OSError, FilterTooStrict.

    The order, and why:

    1. bounding set, while CAP_SETPCAP is there;
    2. groups before the group id before the user id, each needs what the next one loses;
       PR_SET_KEEPCAPS lets the permitted set live through the change of user, which in turn
       clears the death signal;
    3. with no_new_privs: the remaining sets, then the filters, as the very last.  Without
       it the kernel takes a filter only from CAP_SYS_ADMIN (seccomp(2)), so that one
       capability stays in force until the filters are in, and capset and prctl are the only
       calls left for them to see.
    """
    bound, permitted, effective, inheritable, ambient = sets
    _drop_bounding(bound)
    libc.call(_prctl, _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    if groups is not None:
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # Now, not at the end: the filters see one call less.
    libc.call(_prctl, _PR_SET_KEEPCAPS, 0, 0, 0, 0)
    if no_new_privs:
        _set_rest(permitted, effective, inheritable, ambient)
        libc.call(_prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    elif filters:
        _capset(effective | _SYS_ADMIN, permitted | _SYS_ADMIN, inheritable)
    if death_signal:
        libc.call(_prctl, _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    for one in filters:
        seccomp.install(*(one if isinstance(one, tuple) else (one,)))
    if not no_new_privs:
        try:
            _set_rest(permitted, effective, inheritable, ambient)
        except OSError:
            if filters:
                raise FilterTooStrict("capset or prctl") from None
            raise
