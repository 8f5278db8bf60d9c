"""Networks with names: who reaches whom by which name and address, and what stays behind."""

import os
import signal
import socket
import time

import pytest

from integration.network import world

pytestmark = [pytest.mark.integration, pytest.mark.one_id]
SLEEP = ("sleep", "1000")


class Member(world.Container):
    """A running container, to act from within its network."""

    def __init__(self, rl, name):
        self.pid = int(rl.ok("inspect", "--format", "{{.State.Pid}}", name).text)


def address(rl, name, network):
    """The IPv4 address of a container."""
    found = rl.ok("inspect", name).json()[0]["NetworkSettings"]["Networks"]
    return found[network]["IPAddress"]


def start(rl, image, name, *options):
    rl.ok("run", "--detach", "--name", name, *options, image, *SLEEP)


def processes(rl, word):
    """The processes of this store's networks whose command line holds ``word``: pids."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode()
            with open(f"/proc/{pid}/status", "rb") as file:
                status = file.read()
        except OSError:
            continue
        own = f"Uid:\t{os.geteuid()}\t".encode() in status
        if pid.isdecimal() and own and word in line and b"State:\tZ" not in status:
            found.append(int(pid))
    return found


def holder(rl):
    """(pid of the holder, pid of the process inside, pid of the helper or None)."""
    lock = os.stat(f"{rl.root}/networks/.run/alive")
    wanted = f"{lock.st_dev >> 8:02x}:{lock.st_dev & 0xFF:02x}:{lock.st_ino}"
    for pid in processes(rl, "netholder"):
        with open(f"/proc/{pid}/fdinfo/4", encoding="ascii") as file:
            if wanted in file.read():
                break
    else:
        raise AssertionError("there is no holder")
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        children = [int(word) for word in file.read().split()]
    inside = [child for child in children if child in processes(rl, "netholder")]
    helpers = [child for child in children if child not in inside]
    return pid, inside[0], helpers[0] if helpers else None


def until(what, patience=20):
    """Wait until ``what()`` is true."""
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.02)


def ping(rl, name, target, code=0):
    """Whether packets get there: a refused connection says so without any right."""
    said = Member(rl, name).do(world.connect, target, 9)
    assert ("refused" in said) == (code == 0), said


def serve(port, text):
    """Answer one connection with ``text``; called inside a container."""
    with socket.create_server(("", port)) as server:
        server.settimeout(20)
        connection, client = server.accept()
        connection.sendall(text.encode())
        connection.close()
        return client[0]


def fetch(host, port, patience=10.0):
    """What a server says; called inside a container."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((host, port), 3) as client:
                return client.recv(100).decode()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def lookup(rl, name, what, *options):
    """The addresses that a container finds for a name."""
    result = rl("exec", name, "nslookup", *options, what)
    lines = result.stdout.split("Name:", 1)
    return [line.split()[-1] for line in lines[-1].splitlines() if line.startswith("Address")
            ] if len(lines) > 1 else []


def test_containers_find_and_reach_each_other(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "web", "--network", "shop:alias=www")
    start(rl, busybox, "user", "--network", "shop", "--network-alias", "client")
    own = address(rl, "web", "shop")
    web_id = rl.ok("inspect", "--format", "{{.Id}}", "web").text
    for name in ("web", "www", "WEB", web_id[:12]):
        assert lookup(rl, "user", name) == [own], name
    assert lookup(rl, "web", "client") == [address(rl, "user", "shop")]
    answer = Member(rl, "web").start(serve, 8080, "hello")
    assert Member(rl, "user").do(fetch, own, 8080) == "hello"
    assert answer() == address(rl, "user", "shop")
    reverse = ".".join(reversed(own.split("."))) + ".in-addr.arpa"
    assert "web" in rl.ok("exec", "user", "nslookup", "-type=ptr", reverse).stdout


def test_what_is_shown(rl, busybox):
    rl.ok("network", "create", "--label", "tier=front", "--subnet", "10.201.7.0/24", "shop")
    start(rl, busybox, "web", "--network", "shop:ip=10.201.7.9,mac=92:d0:c6:0a:29:33")
    (found,) = rl.ok("network", "inspect", "shop").json()
    assert found["subnets"] == [{"subnet": "10.201.7.0/24", "gateway": "10.201.7.1"}]
    assert (found["driver"], found["dns_enabled"], found["internal"]) == ("bridge", True, False)
    (member,) = found["containers"].values()
    assert member["name"] == "web"
    assert member["interfaces"]["eth0"]["subnets"][0]["ipnet"] == "10.201.7.9/24"
    shown = rl.ok("inspect", "web").json()[0]["NetworkSettings"]["Networks"]["shop"]
    assert shown["IPAddress"] == "10.201.7.9" and shown["Gateway"] == "10.201.7.1"
    assert shown["MacAddress"] == "92:d0:c6:0a:29:33" and shown["IPPrefixLen"] == 24
    assert rl.ok("ps", "--format", "{{.Networks}}").text == "shop"
    assert rl.ok("ps", "--quiet", "--filter", "network=shop").text
    rows = rl.ok("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}").lines
    assert rows == ["bridge bridge ", "shop bridge tier=front"] or "shop bridge tier=front" in rows
    assert rl.ok("network", "ls", "--quiet", "--filter", "label=tier=front").lines == ["shop"]
    assert "10.201.7.9" in rl.ok("exec", "web", "cat", "/etc/hosts").text
    assert "92:d0:c6:0a:29:33" in rl.ok("exec", "web", "ip", "link").text


def test_templates_name_fields_as_podman_does(rl, busybox):
    rl.ok("network", "create", "--internal", "--label", "size=s", "shop")
    words = "{{.Name}} {{.Internal}} {{.DNSEnabled}} {{.NetworkDNSServers}} {{.Labels.size}}"
    assert rl.ok("network", "inspect", "--format", words, "shop").text == "shop true true [] s"
    words = "{{.NetworkInterface}} {{.IPv6Enabled}} {{.ipv6_enabled}} {{len .Containers}}"
    for verb in (("network", "inspect"), ("inspect", "--type", "network")):
        said = rl.ok(*verb, "--format", words, "shop").text.split()
        assert said[0].startswith("rl") and said[1:] == ["false", "false", "0"]
        shown = rl.ok(*verb, "--format", "{{json .}}", "shop").json()
        assert "name" in shown and "Name" not in shown


def test_the_default_network_needs_no_create(rl, busybox):
    start(rl, busybox, "web", "--network", "bridge")
    assert lookup(rl, "web", "web") == [address(rl, "web", "bridge")]
    assert rl("network", "exists", "bridge").code == 0
    rl.fails("network", "rm", "bridge", says="cannot be removed")


def test_several_networks_at_once(rl, busybox):
    rl.ok("network", "create", "front")
    rl.ok("network", "create", "back")
    start(rl, busybox, "both", "--network", "front:interface_name=lan0", "--network", "back")
    start(rl, busybox, "deep", "--network", "back")
    shown = rl.ok("exec", "both", "ip", "-4", "address").text
    assert "lan0" in shown and "eth0" in shown
    assert lookup(rl, "deep", "both") == [address(rl, "both", "back")]
    assert rl.ok("exec", "both", "ip", "route").text.count("default") == 2
    ping(rl, "both", address(rl, "deep", "back"))


def test_connect_and_disconnect_while_it_runs(rl, busybox):
    rl.ok("network", "create", "front")
    rl.ok("network", "create", "back")
    start(rl, busybox, "web", "--network", "front")
    start(rl, busybox, "deep", "--network", "back")
    rl.ok("network", "connect", "--alias", "www", "back", "web")
    own = address(rl, "web", "back")
    assert lookup(rl, "deep", "www") == [own]
    assert own in rl.ok("exec", "web", "cat", "/etc/hosts").text
    ping(rl, "deep", own)
    rl.fails("network", "connect", "back", "web", says="on the network back already")
    rl.ok("network", "disconnect", "back", "web")
    assert lookup(rl, "deep", "www") == []
    assert own not in rl.ok("exec", "web", "cat", "/etc/hosts").text
    assert "eth1" not in rl.ok("exec", "web", "ip", "link").text
    rl.fails("network", "disconnect", "back", "web", says="not on the network back")


def test_a_renamed_container_is_found_by_its_new_name(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "old", "--network", "shop:alias=db")
    start(rl, busybox, "user", "--network", "shop")
    own = address(rl, "old", "shop")
    rl.ok("rename", "old", "new")
    assert lookup(rl, "user", "new") == lookup(rl, "user", "db") == [own]
    assert lookup(rl, "user", "old") == []
    ping(rl, "user", own)


def test_connect_before_the_start(rl, busybox):
    rl.ok("network", "create", "front")
    rl.ok("network", "create", "back")
    rl.ok("create", "--name", "web", "--network", "front", busybox, *SLEEP)
    rl.ok("network", "connect", "back", "web")
    rl.ok("network", "disconnect", "front", "web")
    rl.ok("start", "web")
    assert list(rl.ok("inspect", "web").json()[0]["NetworkSettings"]["Networks"]) == ["back"]
    assert address(rl, "web", "back")
    own = address(rl, "web", "back")
    rl.ok("restart", "--time", "0", "web")
    assert lookup(rl, "web", "web") == [address(rl, "web", "back")] == [own]


@pytest.mark.parametrize("mode", ["none", "private", "host"])
def test_others_cannot_be_connected(rl, busybox, mode):
    rl.ok("network", "create", "shop")
    rl.ok("create", "--name", "web", "--network", mode, busybox, *SLEEP)
    rl.fails("network", "connect", "shop", "web", says=f"--network {mode}")


def test_a_shared_namespace_is_of_its_owner_s_networks(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "web", "--network", "shop")
    own = address(rl, "web", "shop")
    said = rl.ok("run", "--rm", "--network", "container:web", busybox, "ip", "-4", "address").text
    assert own in said


# --- who reaches whom ------------------------------------------------------------------------


def pair(rl, busybox, first, second):
    rl.ok("network", "create", *first, "one")
    rl.ok("network", "create", *second, "two")
    start(rl, busybox, "left", "--network", "one")
    start(rl, busybox, "right", "--network", "two")
    return address(rl, "right", "two")


@pytest.mark.parametrize(
    "first, second, code",
    [
        ((), (), 0),
        (("--opt", "isolate=true"), ("--opt", "isolate=true"), 1),
        (("--opt", "isolate=true"), (), 0),
        (("--opt", "isolate=strict"), (), 1),
        (("--internal",), (), 1),
    ],
)
def test_between_networks(rl, busybox, first, second, code):
    ping(rl, "left", pair(rl, busybox, first, second), code)
    assert lookup(rl, "left", "right") == []


def test_an_internal_network_leads_nowhere(rl, busybox):
    rl.ok("network", "create", "--internal", "back")
    start(rl, busybox, "one", "--network", "back")
    start(rl, busybox, "two", "--network", "back")
    assert "default" not in rl.ok("exec", "one", "ip", "route").text
    ping(rl, "one", address(rl, "two", "back"))
    said = rl("exec", "one", "nslookup", "example.org").stdout
    assert "NXDOMAIN" in said
    assert "host.containers.internal" not in rl.ok("exec", "one", "cat", "/etc/hosts").text


def test_ipv6(rl, busybox):
    rl.ok("network", "create", "--ipv6", "--subnet", "fd99:1::/64", "six")
    start(rl, busybox, "web", "--network", "six:ip6=fd99:1::77")
    start(rl, busybox, "user", "--network", "six")
    found = rl.ok("inspect", "web").json()[0]["NetworkSettings"]["Networks"]["six"]
    assert found["GlobalIPv6Address"] == "fd99:1::77" and found["IPAddress"] == ""
    assert lookup(rl, "user", "web", "-type=aaaa") == ["fd99:1::77"]
    assert "refused" in Member(rl, "user").do(world.connect, "fd99:1::77", 9)


def test_no_names_where_dns_is_off(rl, busybox):
    rl.ok("network", "create", "--disable-dns", "mute")
    start(rl, busybox, "web", "--network", "mute")
    gateway = rl.ok("network", "inspect", "mute").json()[0]["subnets"][0]["gateway"]
    assert gateway not in rl.ok("exec", "web", "cat", "/etc/resolv.conf").text


# --- addresses that can't be had -------------------------------------------------------------


def test_bad_addresses_are_refused(rl, busybox):
    rl.ok("network", "create", "--subnet", "10.201.8.0/30", "tiny")
    run = ("run", "--rm", "--network")
    rl.fails(*run, "tiny:ip=10.201.9.2", busybox, "true", says="in no subnet of the network tiny")
    rl.fails(*run, "tiny:ip=10.201.8.1", busybox, "true", says="the gateway of the network tiny")
    rl.fails(*run, "tiny:ip=10.201.8.3", busybox, "true", says="broadcast")
    rl.fails(*run, "nirvana", busybox, "true", says="no network has the name")
    start(rl, busybox, "only", "--network", "tiny:ip=10.201.8.2,mac=92:d0:c6:0a:29:33")
    rl.fails(*run, "tiny:ip=10.201.8.2", busybox, "true", says="in use on the network tiny")
    rl.fails(*run, "tiny", busybox, "true", says="no free address left")
    rl.ok("rm", "--force", "--time", "0", "only")
    rl.ok(*run, "tiny", busybox, "true")


def test_networks_that_are_in_use_stay(rl, busybox):
    rl.ok("network", "create", "shop")
    rl.ok("network", "create", "spare")
    start(rl, busybox, "web", "--network", "shop")
    rl.fails("network", "rm", "shop", code=2, says="used by the container web")
    rl.fails("network", "rm", "nirvana", code=1, says="no network")
    rl.fails("network", "create", "shop", says="there is a network shop already")
    assert rl.ok("network", "create", "--ignore", "shop").text == "shop"
    assert rl.ok("network", "prune", "--force").lines == ["spare"]
    assert rl.ok("network", "rm", "--force", "--time", "0", "shop").lines == ["shop"]
    assert rl("network", "exists", "shop").code == 1
    assert rl.ok("ps", "--all", "--quiet").text == ""


# --- the holder ---------------------------------------------------------------------------------


def test_a_removed_network_leaves_no_rules(rl, busybox):
    rl.ok("network", "create", "stays")
    before = sorted(os.listdir(f"{rl.root}/networks/.rules"))
    for options in ((), ("--internal",), ("--opt", "isolate=true", "--interface-name", "join-x")):
        rl.ok("network", "create", *options, "goes")
        start(rl, busybox, "web", "--network", "goes")
        assert sorted(os.listdir(f"{rl.root}/networks/.rules")) != before
        rl.ok("network", "rm", "--force", "--time", "0", "goes")
        assert sorted(os.listdir(f"{rl.root}/networks/.rules")) == before


def test_one_holder_and_one_forwarder_for_all(rl, busybox):
    rl.ok("network", "create", "shop")
    for number in range(5):
        start(rl, busybox, f"web{number}", "--network", "shop")
    pid, inside, helper = holder(rl)
    assert helper is not None
    for one in (pid, inside):
        with open(f"/proc/{one}/statm", encoding="ascii") as file:
            assert int(file.read().split()[1]) * 4 < 300
    rl.ok("rm", "--all", "--force", "--time", "0")
    until(lambda: not {pid, inside, helper} & set(processes(rl, "")))


def test_a_killed_holder_is_replaced_by_the_next_start(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "web", "--network", "shop")
    own = address(rl, "web", "shop")
    pid, inside, helper = holder(rl)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not {pid, inside, helper} & set(processes(rl, "")))
    start(rl, busybox, "user", "--network", "shop")
    assert address(rl, "web", "shop") == own
    ping(rl, "user", own)
    assert lookup(rl, "user", "web") == [own]
    assert lookup(rl, "web", "user") == [address(rl, "user", "shop")]


def test_reload_repairs_running_containers(rl, busybox):
    rl.ok("network", "create", "one")
    rl.ok("network", "create", "two")
    start(rl, busybox, "web", "--network", "one", "--network", "two")
    start(rl, busybox, "user", "--network", "two")
    os.kill(holder(rl)[0], signal.SIGKILL)
    assert len(rl.ok("network", "reload", "--all").lines) == 2
    ping(rl, "user", address(rl, "web", "two"))
    assert lookup(rl, "web", "user") == [address(rl, "user", "two")]
    assert len(rl.ok("network", "reload", "web").lines) == 1
    ping(rl, "web", address(rl, "user", "two"))


def test_a_killed_forwarder_comes_back(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "web", "--network", "shop")
    helper = holder(rl)[2]
    os.kill(helper, signal.SIGKILL)
    until(lambda: holder(rl)[2] not in (None, helper))


def test_a_forwarder_that_always_ends_is_left_to_a_reload(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "web", "--network", "shop")
    helper = None
    for _ in range(6):  # the first one and five that follow it
        until(lambda last=helper: holder(rl)[2] not in (None, last))
        helper = holder(rl)[2]
        os.kill(helper, signal.SIGKILL)
    until(lambda: holder(rl)[2] is None)
    time.sleep(1.5)  # three times what it waits before another try
    assert holder(rl)[2] is None
    rl.ok("network", "reload", "--all")
    assert holder(rl)[2] is not None


def test_a_killed_member_gives_everything_back(rl, busybox):
    rl.ok("network", "create", "shop")
    start(rl, busybox, "user", "--network", "shop")
    start(rl, busybox, "web", "--network", "shop")
    own = address(rl, "web", "shop")
    pid = Member(rl, "web").pid
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        monitor = next(int(line.split()[1]) for line in file if line.startswith("PPid"))
    os.kill(monitor, signal.SIGKILL)
    until(lambda: lookup(rl, "user", "web") == [])
    start(rl, busybox, "other", "--network", f"shop:ip={own}")
    ping(rl, "user", own)


def test_another_session_joins_the_same_networks(rl, busybox, workdir):
    """cron and a login may have different runtime directories."""
    other = {"XDG_RUNTIME_DIR": f"{workdir}/other"}
    os.mkdir(f"{workdir}/other", 0o700)
    rl.ok("network", "create", "shop")
    start(rl, busybox, "one", "--network", "shop")
    rl.ok("run", "-d", "--name", "two", "--network", "shop", busybox, *SLEEP, env=other)
    own = address(rl, "one", "shop")
    assert address(rl, "two", "shop") != own
    ping(rl, "two", own)
    os.kill(holder(rl)[0], signal.SIGKILL)
    assert len(rl.ok("network", "reload", "--all", env=other).lines) == 2
    assert lookup(rl, "two", "one") == [own]


def test_stores_that_share_a_runtime_directory(rl, busybox, busybox_image, workdir):
    other = ("--root", f"{workdir}/data/second")
    rl.ok(*other, "load", "--input", busybox_image)
    rl.ok("network", "create", "--subnet", "10.201.11.0/24", "shop")
    rl.ok(*other, "network", "create", "--subnet", "10.201.12.0/24", "shop")
    start(rl, busybox, "web", "--network", "shop")
    rl.ok(*other, "run", "-d", "--name", "web", "--network", "shop", busybox, *SLEEP)
    found = rl.ok(*other, "inspect", "web").json()[0]["NetworkSettings"]["Networks"]["shop"]
    assert found["IPAddress"] == "10.201.12.2" and address(rl, "web", "shop") == "10.201.11.2"
    assert rl.ok(*other, "exec", "web", "nslookup", "web").stdout.count("10.201.12.2") == 1
    rl.ok(*other, "rm", "--all", "--force", "--time", "0")
