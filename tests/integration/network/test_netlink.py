"""kernel/netlink.py against the kernel, compared with pyroute2."""

import pytest

from integration.network import world
from rootless.kernel import netlink, netns

pytestmark = pytest.mark.integration


def _build():
    with netlink.Route() as route:
        index = route.index("up0")
        route.set_link(index, up=False)
        route.set_link(index, name="lan0", mtu=9000, mac="92:d0:c6:0a:29:33", queue=77)
        route.set_link(index, up=True)
        route.add_address(index, "10.1.2.3", 24)
        route.add_address(index, "fd11::3", 64)
        route.add_route(None, 0, gateway="10.1.2.1", index=index)
        route.add_route("10.5.0.0", 16, index=index, source="10.1.2.3")
        route.add_route("fd12::", 32, gateway="fd11::1", index=index)
        return route.links(), route.addresses(), route.routes(), _pyroute2()


def _pyroute2():
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        link = ip.get_links(ifname="lan0")[0]
        queue = link.get_attr("IFLA_TXQLEN")
        four = {a.get_attr("IFA_LOCAL") for a in ip.get_addr(family=2)}
        six = {a.get_attr("IFA_ADDRESS") for a in ip.get_addr(family=10)}
        routes = {(r.get_attr("RTA_DST"), r["dst_len"]) for r in ip.get_routes(table=254)}
    return queue, sorted(four | six), sorted((d or "", n) for d, n in routes)


def test_links_addresses_routes():
    links, addresses, routes, (queue, theirs, their_routes) = world.run(_build)
    lan = next(link for link in links if link["name"] == "lan0")
    assert (lan["mtu"], lan["address"], queue) == (9000, "92:d0:c6:0a:29:33", 77)
    assert sorted({entry["address"] for entry in addresses}) == theirs
    ours = {(r["destination"] or "", r["prefix"]) for r in routes}
    assert ours == {entry for entry in their_routes if not entry[0].startswith("ff00")}
    default = next(r for r in routes if r["family"] == 4 and r["destination"] is None)
    assert (default["gateway"], default["prefix"]) == ("10.1.2.1", 0)


def _failures():
    found = []
    with netlink.Route() as route:
        for call in (
            lambda: route.index("nothing0"),
            lambda: route.set_link(4711, up=True),
            lambda: route.add_route(None, 0, gateway="192.0.2.99"),
            lambda: route.add_address(1, "127.0.0.1", 8),
        ):
            try:
                call()
            except OSError as error:
                found.append((error.errno, error.strerror))
    return found


def test_errors_name_the_thing():
    numbers = [errno for errno, _ in world.run(_failures)]
    assert numbers == [19, 19, 101, 17]


def _loopback():
    from rootless.kernel import userns

    userns.unshare(userns.CLONE_NEWNET)
    with netlink.Route() as route:
        before = route.addresses()
        netns.loopback_up()
        return before, [entry["address"] for entry in route.addresses()]


def test_loopback_up():
    assert world.run(_loopback) == ([], ["127.0.0.1", "::1"])


def _many():
    with netlink.Route() as route:
        for number in range(300):
            route.add_address(1, f"10.20.{number >> 8}.{number & 255}", 32)
        return len(route.addresses())


def test_a_dump_of_more_than_one_message():
    assert world.run(_many) > 300
