"""Traffic control (tc(8)) in raw rtnetlink messages: queues that hold a rate, and filters
that send packets through them.

The functions take a ``netlink.Route`` of the network namespace in question.
"""

import struct

from rootless.kernel import netlink
from rootless.kernel.netlink import attribute

RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER = 36, 37, 44
ROOT = 0xFFFFFFFF
_CLSACT_HANDLE, _CLSACT = 0xFFFF0000, 0xFFFFFFF1
INGRESS, EGRESS = 0xFFFFFFF2, 0xFFFFFFF3  # where a filter sits on an interface with clsact
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TBF_PARAMETERS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_BPF_ACT, _BPF_OPS_LEN, _BPF_OPS, _BPF_FLAGS = 1, 4, 5, 8
_ACT_KIND, _ACT_OPTIONS, _MIRRED_PARAMETERS = 1, 2, 2
_SHOT, _STOLEN, _REDIRECT = 2, 4, 1  # TC_ACT_SHOT, TC_ACT_STOLEN, TCA_EGRESS_REDIR
_ETHERNET = 1
_NEWEST = 0xFFFFFFFF  # a rate that needs RATE64 says this in the old field
_ENOENT, _EINVAL = 2, 22
_REPLACE = 0x100

_TC = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_RATE = struct.Struct("=BBHhHI")  # cell_log, link layer, overhead, cell_align, mpu, rate
_TBF = struct.Struct("=III")  # limit, buffer, mtu, behind the two rates
_MIRRED = struct.Struct("=IIiiiiI")  # index, capab, action, refcnt, bindcnt, eaction, ifindex
_FILTER = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k

# Classic BPF (linux/filter.h), as far as the filters here need it.
LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_NOT_LESS, RETURN = 0x05, 0x15, 0x25, 0x35, 0x06
PROTOCOL, MARK = 0xFFFFF000, 0xFFFFF014  # SKF_AD_OFF + SKF_AD_PROTOCOL, SKF_AD_MARK
NETWORK = 0xFFF00000  # SKF_NET_OFF: where the IP header begins
MATCH, PASS = (RETURN, 0, 0, 0xFFFFFFFF), (RETURN, 0, 0, 0)


def add_ifb(route, name):
    """Make an interface that only queues what is sent to it, up; its index.

    OSError EOPNOTSUPP where the kernel has none (module ifb).
    """
    attrs = attribute(netlink.IFLA_IFNAME, name.encode() + b"\0")
    attrs += attribute(18, attribute(1, b"ifb\0"))  # IFLA_LINKINFO, IFLA_INFO_KIND
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    body = netlink._LINK.pack(0, 0, 0, 0, 0) + attrs
    route.change(netlink.RTM_NEWLINK, body, flags, f"interface {name} (module ifb)")
    index = route.index(name)
    route.set_link(index, up=True)
    return index


def set_bucket(route, index, *, rate, burst, limit):
    """Hold an interface's output to ``rate`` bytes a second: a token bucket of ``burst`` bytes
    and a queue of ``limit`` bytes (tc-tbf(8)).  Replaces the one that is there."""
    spec = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(rate, _NEWEST))
    parameters = spec + bytes(_RATE.size) + _TBF.pack(limit, 0, 0)
    options = attribute(_TBF_PARAMETERS, parameters) + attribute(_TBF_BURST, burst)
    if rate >= _NEWEST:
        options += attribute(_TBF_RATE64, struct.pack("=Q", rate))
    body = _TC.pack(0, index, 0x10000, ROOT, 0)
    body += attribute(_TCA_KIND, b"tbf\0") + attribute(_TCA_OPTIONS, options)
    flags = netlink.NLM_F_CREATE | _REPLACE
    route.change(RTM_NEWQDISC, body, flags, "queue (module sch_tbf)")


def open_filters(route, index):
    """Make room for filters on an interface, without those that it may have."""
    body = _TC.pack(0, index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_TCA_KIND, b"clsact\0")
    close_filters(route, index)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    route.change(RTM_NEWQDISC, body, flags, "filters (module sch_ingress)")


def close_filters(route, index):
    """Remove the filters of an interface, if there are any."""
    body = _TC.pack(0, index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_TCA_KIND, b"clsact\0")
    try:
        route.change(RTM_DELQDISC, body, 0, "filters")
    except OSError as error:
        if error.errno not in (_ENOENT, _EINVAL):
            raise


def redirect(route, index, side, priority, program, target):
    """Send what ``program`` matches on one side (INGRESS, EGRESS) of an interface to ``target``.

    ``program`` is a list of (code, jt, jf, k); ``target`` an interface's index.
    """
    parameters = _MIRRED.pack(0, 0, _STOLEN, 0, 0, _REDIRECT, target)
    action = attribute(_ACT_KIND, b"mirred\0")
    action += attribute(_ACT_OPTIONS, attribute(_MIRRED_PARAMETERS, parameters))
    _filter(route, index, side, priority, program, attribute(_BPF_ACT, attribute(1, action)))


def drop(route, index, side, priority):
    """Drop what no filter of a lower ``priority`` has taken, on one side of an interface."""
    program = [(RETURN, 0, 0, _SHOT)]
    direct = attribute(_BPF_FLAGS, struct.pack("=I", 1))  # the program's result is the verdict
    _filter(route, index, side, priority, program, direct)


def _filter(route, index, side, priority, program, options):
    code = b"".join(_FILTER.pack(*line) for line in program)
    options += attribute(_BPF_OPS_LEN, struct.pack("=H", len(program)))
    options += attribute(_BPF_OPS, code)
    info = priority << 16 | 0x0300  # ETH_P_ALL in network order
    body = _TC.pack(0, index, 0, side, info)
    body += attribute(_TCA_KIND, b"bpf\0") + attribute(_TCA_OPTIONS, options)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    route.change(RTM_NEWTFILTER, body, flags, "filter (modules cls_bpf, act_mirred)")
