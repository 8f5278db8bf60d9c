"""The nftables rules of the holder's network namespace, as netlink messages.

This is where pyroute2 is used, and the only place: importing it takes 110 ms (0.7) to 250 ms
(0.9).  The rules don't change while networks come and go, only the sets of interface names do,
so what it makes are bytes that are kept (engine/networks_rules.py) and sent again.

    set outward    bridges that may reach the outside        (not internal)
    set routed     bridges that may reach other bridges       (not internal, not strict)
    set isolated   those of them that may not reach each other (isolate=true)

    forward   established ones; outward → uplink; isolated ↛ isolated; routed → routed; no more
    input     from bridges: DNS, pings, neighbours; from the uplink: answers
    nat       what leaves by the uplink is masqueraded
"""

TABLE = "rl"
OUTWARD, ROUTED, ISOLATED, BRIDGES = "outward", "routed", "isolated", "bridges"
SETS = (OUTWARD, ROUTED, ISOLATED, BRIDGES)
_NAME_LENGTH = 16  # IFNAMSIZ
_INET = 1  # NFPROTO_INET
_IFNAME = 41  # how nft(8) shows the key of a set
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_BATCH_BEGIN, _BATCH_END, _SUBSYSTEM = 0x10, 0x11, 10
_PREROUTING, _INPUT, _FORWARD, _OUTPUT, _POSTROUTING = range(5)
_DROP, _ACCEPT = 0, 1
_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58


class _Batch:
    """Messages of one transaction: all of them take effect, or none."""

    def __init__(self):
        from pyroute2.netlink.nfnetlink import nfgen_msg, nftsocket

        self.nft = nftsocket
        self._plain = nfgen_msg
        self.data = b""
        self._count = 0
        self._edge(_BATCH_BEGIN)

    def _edge(self, kind):
        message = self._plain()
        message["res_id"] = _SUBSYSTEM
        self._put(message, kind, _REQUEST)

    def _put(self, message, kind, flags):
        self._count += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._count
        message.encode()
        self.data += bytes(message.data)

    def add(self, name, message, attributes, flags=_CREATE):
        """One message: NFT_MSG_<name>."""
        message["attrs"] = attributes
        message["nfgen_family"] = _INET
        kind = getattr(self.nft, f"NFT_MSG_{name}")
        self._put(message, _SUBSYSTEM << 8 | kind, _REQUEST | _ACK | flags)

    def table(self, name="NEWTABLE", flags=_CREATE):
        self.add(name, self.nft.nft_table_msg(), [("NFTA_TABLE_NAME", TABLE)], flags)

    def set(self, name, number):
        self.add(
            "NEWSET",
            self.nft.nft_set_msg(),
            [
                ("NFTA_SET_TABLE", TABLE),
                ("NFTA_SET_NAME", name),
                ("NFTA_SET_ID", number),
                ("NFTA_SET_KEY_TYPE", _IFNAME),
                ("NFTA_SET_KEY_LEN", _NAME_LENGTH),
            ],
        )

    def chain(self, name, hook, priority, policy, kind="filter"):
        self.add(
            "NEWCHAIN",
            self.nft.nft_chain_msg(),
            [
                ("NFTA_CHAIN_TABLE", TABLE),
                ("NFTA_CHAIN_NAME", name),
                ("NFTA_CHAIN_TYPE", kind),
                (
                    "NFTA_CHAIN_HOOK",
                    {"attrs": [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]},
                ),
                ("NFTA_CHAIN_POLICY", policy),
            ],
        )

    def rule(self, chain, *expressions):
        self.add(
            "NEWRULE",
            self.nft.nft_rule_msg(),
            [
                ("NFTA_RULE_TABLE", TABLE),
                ("NFTA_RULE_CHAIN", chain),
                ("NFTA_RULE_EXPRESSIONS", [one for group in expressions for one in group]),
            ],
            _CREATE | _APPEND,
        )

    def element(self, which, set_name, interface, new=True):
        key = {"attrs": [("NFTA_DATA_VALUE", _padded(interface))]}
        self.add(
            which,
            self.nft.nft_set_elem_list_msg(),
            [
                ("NFTA_SET_ELEM_LIST_TABLE", TABLE),
                ("NFTA_SET_ELEM_LIST_SET", set_name),
                ("NFTA_SET_ELEM_LIST_ELEMENTS", [{"attrs": [("NFTA_SET_ELEM_KEY", key)]}]),
            ],
            _CREATE if new else 0,
        )

    def close(self):
        self._edge(_BATCH_END)
        return self.data


def _padded(name):
    return name.encode().ljust(_NAME_LENGTH, b"\0")


# --- expressions: lists, because a rule is a chain of them ---------------------------------


def _expression(name, **attributes):
    data = [(f"NFTA_{name.upper()}_{key.upper()}", value) for key, value in attributes.items()]
    return [{"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": data})]}]


def _value(data):
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _meta(key):
    return _expression("meta", key=key, dreg=1)


def _equals(data, different=False):
    return _expression("cmp", sreg=1, op=int(different), data=_value(data))


def _from_any(set_name):
    return _meta(6) + _expression("lookup", set=set_name, sreg=1)  # iifname


def _to_any(set_name):
    return _meta(7) + _expression("lookup", set=set_name, sreg=1)  # oifname


def _from(interface):
    return _meta(6) + _equals(_padded(interface))


def _to(interface):
    return _meta(7) + _equals(_padded(interface))


def _protocol(number):
    return _meta(16) + _equals(bytes([number]))  # l4proto


def _transport(offset, data):
    """The bytes at ``offset`` of the transport header."""
    return _expression("payload", dreg=1, base=2, offset=offset, len=len(data)) + _equals(data)


def _established():
    """ct state established,related."""
    bits = (0x02 | 0x04).to_bytes(4, "little" if _little() else "big")
    zero = b"\0" * 4
    return (
        _expression("ct", key=0, dreg=1)
        + _expression("bitwise", sreg=1, dreg=1, len=4, mask=_value(bits), xor=_value(zero))
        + _equals(zero, different=True)
    )


def _little():
    import sys

    return sys.byteorder == "little"


def _verdict(code):
    chosen = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", code)]})]}
    return _expression("immediate", dreg=0, data=chosen)


# --- what is kept -----------------------------------------------------------------------------


def base(uplink):
    """The whole table, without a network yet, for the interface ``uplink``: bytes."""
    batch = _Batch()
    batch.table()
    batch.table("DELTABLE", 0)  # adding it first makes this right whether it was there or not
    batch.table()
    for number, name in enumerate(SETS, 1):
        batch.set(name, number)
    accept, drop = _verdict(_ACCEPT), _verdict(_DROP)
    batch.chain("forward", _FORWARD, 0, _DROP)
    batch.rule("forward", _established(), accept)
    batch.rule("forward", _from_any(OUTWARD), _to(uplink), accept)
    batch.rule("forward", _from_any(ISOLATED), _to_any(ISOLATED), drop)
    batch.rule("forward", _from_any(ROUTED), _to_any(ROUTED), accept)
    batch.chain("input", _INPUT, 0, _ACCEPT)
    batch.rule("input", _established(), accept)
    for protocol in (_UDP, _TCP):
        batch.rule(
            "input",
            _from_any(BRIDGES),
            _protocol(protocol),
            _transport(2, (53).to_bytes(2, "big")),
            accept,
        )
    batch.rule("input", _from_any(BRIDGES), _protocol(_ICMP), accept)
    batch.rule("input", _from_any(BRIDGES), _protocol(_ICMP6), _transport(0, b"\x86"), drop)
    batch.rule("input", _from_any(BRIDGES), _protocol(_ICMP6), accept)
    batch.rule("input", _from_any(BRIDGES), drop)
    batch.rule("input", _from(uplink), _protocol(_TCP), drop)
    batch.chain("nat", _POSTROUTING, 100, _ACCEPT, "nat")
    batch.rule("nat", _to(uplink), _expression("masq"))
    return batch.close()


def sets_of(definition):
    """The sets that a network's bridge is in."""
    found = [BRIDGES]
    if definition["internal"]:
        return found
    found.append(OUTWARD)
    isolate = definition["options"].get("isolate", "false")
    if isolate != "strict":
        found.append(ROUTED)
    if isolate not in ("", "false", "strict"):
        found.append(ISOLATED)
    return found


def join(interface, sets):
    """Put a bridge into sets: bytes."""
    batch = _Batch()
    for name in sets:
        batch.element("NEWSETELEM", name, interface)
    return batch.close()


def leave(interface, sets):
    """Take a bridge out of sets: bytes."""
    batch = _Batch()
    for name in sets:
        batch.element("DELSETELEM", name, interface, new=False)
    return batch.close()
