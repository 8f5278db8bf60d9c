"""pasta and slirp4netns for real: what a container reaches, and what it must not."""

import os
import socket
import time

import pytest

from integration.network import world
from rootless.model.network import parse
from rootless.network import host, start
from rootless.network import plan as planning

HELPERS = ("pasta", "slirp4netns")
pytestmark = pytest.mark.integration


def connected(container, directory, *values, **options):
    """Start what --network ``values`` asks for; (plan, result of start)."""
    plan = planning.make_plan(parse(values), world.PROGRAMS, facts=host.look(), **options)
    return plan, start.start(plan, pid=container.pid, run_dir=directory)


def _reach(directory, mode):
    everywhere = world.listen("0.0.0.0")
    six = world.listen("::")
    with world.Container() as box:
        plan, result = connected(box, directory, mode)
        found = {
            "rung": result["rung"],
            "server": box.do(world.connect, world.SERVER4, world.port_of(everywhere)),
            "host": box.do(world.connect, plan["host"], world.port_of(everywhere)),
            "gateway": box.do(world.connect, plan["gateway"], world.port_of(everywhere), 0.5),
        }
        # slirp4netns's IPv6 address comes by autoconfiguration, some milliseconds later.
        found["six"] = box.do(world.keep_trying, world.SERVER6, world.port_of(six))
        world.end(result["pid"])
    return found


@pytest.mark.parametrize("mode", HELPERS)
def test_a_container_reaches_out(workdir, mode):
    found = world.run(_reach, workdir, mode)
    gateway = found.pop("gateway")
    assert found.pop("rung") == mode
    assert set(found.values()) == {"connected"}, found
    assert "connected" not in gateway


def _loopback(directory, mode):
    local, six = world.listen("127.0.0.1"), world.listen("::1")
    with world.Container() as box:
        plan, result = connected(box, directory, mode)
        port = world.port_of(local)
        targets = (plan["gateway"], plan["host"], "127.0.0.1", plan["addresses"][0])
        found = [box.do(world.connect, target, port, 0.5) for target in targets]
        found += [
            box.do(world.connect, target, world.port_of(six), 0.5)
            for target in (world.HOST6, "::1", "fd00::2", "fd72:6c:2::2")
        ]
        world.end(result["pid"])
    return found


@pytest.mark.parametrize("mode", HELPERS)
def test_the_hosts_loopback_is_out_of_reach(workdir, mode):
    assert "connected" not in world.run(_loopback, workdir, mode)


def _asked_loopback(directory, mode, own):
    local = world.listen("127.0.0.1")
    port = world.port_of(local)
    with world.Container() as box:
        plan, result = connected(box, directory, mode.format(port=port))
        found = box.do(world.connect, "127.0.0.1" if own else plan["gateway"], port)
        world.end(result["pid"])
    return found


@pytest.mark.parametrize(
    "mode, own",
    [("slirp4netns:allow_host_loopback=true", False), ("pasta:--map-gw", False),
     ("pasta:-T,{port}", True)],
)  # fmt: skip
def test_the_hosts_loopback_can_be_asked_for(workdir, mode, own):
    assert world.run(_asked_loopback, workdir, mode, own) == "connected"


def _forward(directory, mode):
    world.replace_file("/etc/resolv.conf", "nameserver 127.0.0.53\n")
    resolver = world.listen("127.0.0.53", 53, socket.SOCK_DGRAM)
    with world.Container() as box:
        plan, result = connected(box, directory, mode, forward=True)
        wait = box.start(world.ask, plan["forwarder"], 53, "a query of some length")
        asked, _ = world.answer(resolver, "an answer of some length")
        found = wait()
        world.end(result["pid"])
    return asked, found


@pytest.mark.parametrize("mode", HELPERS)
def test_a_resolver_on_the_hosts_loopback_is_forwarded_to(workdir, mode):
    answer = ("a query of some length", "an answer of some length")
    assert world.run(_forward, workdir, mode) == answer


def _write_resolver(directory, address):
    with open(f"{directory}/resolv.new", "w", encoding="ascii") as file:
        file.write(f"nameserver {address}\n")
    os.rename(f"{directory}/resolv.new", f"{directory}/resolv.conf")


def _follow(directory):
    """The host moves to another network while the container runs."""
    from rootless.kernel import mount

    os.mkdir(f"{directory}/etc")
    _write_resolver(f"{directory}/etc", "127.0.0.53")
    mount.mount(f"{directory}/etc", "/etc", None, mount.MS_BIND)
    resolvers = [world.listen(f"127.0.0.{n}", 53, socket.SOCK_DGRAM) for n in (53, 54)]
    asked = []
    with world.Container() as box:
        plan, result = connected(box, directory, "slirp4netns", forward=True)
        for number, resolver in enumerate(resolvers):
            wait = box.start(world.ask, plan["forwarder"], 53, f"a query, number {number}")
            asked.append(world.answer(resolver, "an answer of some length")[0])
            wait()
            _write_resolver("/etc", "127.0.0.54")
            time.sleep(1.5)  # it looks at the file once a second
        world.end(result["pid"])
    return asked


def test_name_resolution_follows_the_host(workdir):
    assert world.run(_follow, workdir) == ["a query, number 0", "a query, number 1"]


def _configured(directory, mode):
    with world.Container() as box:
        plan, result = connected(box, directory, mode, mac="92:d0:c6:0a:29:33")
        found = eval(box.do(_interface, plan["interface"]), {})
        world.end(result["pid"])
    return plan, found


def _interface(name):
    from rootless.kernel import netlink

    with netlink.Route() as route:
        links = {link["name"]: link for link in route.links()}
        return {
            "mtu": links[name]["mtu"],
            "mac": links[name]["address"],
            "lo": bool(links["lo"]["flags"] & netlink.IFF_UP),
            "addresses": [entry["address"] for entry in route.addresses()],
        }


@pytest.mark.parametrize("mode", HELPERS)
def test_the_interface_is_as_planned(workdir, mode):
    plan, found = world.run(_configured, workdir, mode)
    assert found["mtu"] == 65520 and found["mac"] == "92:d0:c6:0a:29:33" and found["lo"]
    assert set(plan["addresses"]) <= set(found["addresses"])


def _offline(directory):
    world.without_default_routes()
    everywhere = world.listen("0.0.0.0")
    with world.Container() as box:
        plan, result = connected(box, directory, order=("pasta", "slirp4netns"))
        found = box.do(world.connect, plan["host"], world.port_of(everywhere))
        world.end(result["pid"])
    return result["rung"], result["failed"], found


def test_an_offline_host_takes_the_next_rung(workdir):
    rung, failed, found = world.run(_offline, workdir)
    assert rung == "slirp4netns" and failed[0][0] == "pasta"
    assert found == "connected"


def _orphaned(directory, mode, ready):
    with world.Container() as box:
        _, result = connected(box, directory, mode)
        os.write(ready, str(result["pid"]).encode())
        os.kill(os.getpid(), 9)


@pytest.mark.parametrize("mode", HELPERS)
def test_a_helper_does_not_outlive_a_killed_parent(workdir, mode):
    from rootless.kernel import userns

    read, write = os.pipe()
    with pytest.raises(userns.ChildDied):
        world.run(_orphaned, workdir, mode, write)
    pid = int(os.read(read, 32))
    os.close(read)
    os.close(write)
    assert world.gone(pid)
