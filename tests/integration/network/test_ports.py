"""-p, -P, rl port: from the command line to a client of the service, and to every end."""

import os
import signal
import socket

import pytest

from integration.network.conftest import fetch, listening

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


def test_a_published_port(net):
    net.web("web", "-p", "127.0.0.1::80")
    port = net.port("web", "80/tcp")
    assert net.until(lambda: fetch(port), "an answer") == "web\n"
    assert f"127.0.0.1:{port}->80/tcp" in net.ok("ps").text
    (row,) = net.ok("ps", "--format", "json").json()
    assert row["Ports"] == [{"host_ip": "127.0.0.1", "host_port": port, "container_port": 80,
                             "protocol": "tcp", "range": 1}]  # fmt: skip
    found = net.ok("inspect", "web").json()[0]
    assert found["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    }
    assert found["HostConfig"]["PortBindings"].keys() == {"80/tcp"}
    net.fails("port", "web", "81")
    net.ok("stop", "--time", "0", "web")
    assert not listening(port)
    assert net.ok("port", "web").text == ""


def test_a_fixed_port_comes_back_with_each_start(net):
    net.web("first", "-p", "127.0.0.1::80")
    port = net.port("first", "80")
    net.ok("rm", "--force", "--time", "0", "first")
    net.ok("create", "--name", "web", "-p", f"127.0.0.1:{port}:80", net.image, "httpd", "-f",
           "-h", "/etc")  # fmt: skip
    assert not listening(port)
    assert f"127.0.0.1:{port}->80/tcp" in net.ok("ps", "-a").text
    for verb in ("start", "restart"):
        net.ok(verb, *(("--time", "0") if verb == "restart" else ()), "web")
        assert net.until(lambda: fetch(port, path="/passwd"), "an answer").startswith("root:")


def test_ranges_and_udp(net):
    net.run("many", "-p", "127.0.0.1::90-92", "-p", "127.0.0.1::53/udp")
    lines = net.ok("port", "many").lines
    assert [line.split(" -> ")[0] for line in lines] == ["90/tcp", "91/tcp", "92/tcp", "53/udp"]
    first = net.port("many", "90")
    assert [net.port("many", name) for name in ("91/tcp", "92")] == [first + 1, first + 2]
    assert f"127.0.0.1:{first}-{first + 2}->90-92/tcp" in net.ok("ps").text
    port = net.port("many", "53/udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        for _ in range(3):  # nobody is there: the forwarder takes it, and goes on
            client.sendto(b"anyone there", ("127.0.0.1", port))
    assert net.port("many", "53/udp") == port


def test_publish_all_takes_what_is_exposed(net):
    net.web("web", "-P", "--expose", "80", "--expose", "90-91/udp", "-p", "127.0.0.1::80")
    found = net.ok("inspect", "web").json()[0]
    assert set(found["NetworkSettings"]["Ports"]) == {"80/tcp", "90/udp", "91/udp"}
    assert found["HostConfig"]["PublishAllPorts"]
    assert set(found["Config"]["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
    net.ok("create", "--name", "told", "--expose", "80", net.image)
    found = net.ok("inspect", "told").json()[0]
    assert found["NetworkSettings"]["Ports"] == {"80/tcp": None}


def test_the_default_network_shows_the_clients_address(net):
    """The container is its own client here, through an address of the host."""
    net.web("web", "-p", "80")
    port = net.port("web", "80")
    assert net.until(lambda: fetch(port), "an answer") == "web\n"
    net.ok("exec", "web", "wget", "-q", "-O", "-", f"http://host.containers.internal:{port}/name")
    said = net.until(lambda: net.ok("logs", "web").stderr + net.ok("logs", "web").stdout)
    # The host's loopback is seen as the gateway, an address of the host as itself.
    assert "10.0.2.2" in said or "10.0." in said


def test_a_port_in_use_is_an_error_before_the_start(net):
    net.web("web", "-p", "127.0.0.1::80")
    port = net.port("web", "80")
    said = net.fails("run", "--name", "other", "-p", f"{port}:80", net.image, "true")
    assert f"port {port}/tcp of the host is in use by container web" in said.stderr
    assert net.ok("ps", "-aq", "--filter", "name=other").text == ""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        said = net.fails("run", "--rm", "-p", f"127.0.0.1:{taken}:80", net.image, "true")
        assert f"(pid {os.getpid()})" in said.stderr


@pytest.mark.parametrize("mode", ["host", "none"])
def test_networks_without_an_outside(net, mode):
    if mode == "host":
        done = net.ok("run", "--rm", "--network", "host", "-p", "8080:80", net.image, "true")
        assert "do nothing with --network host" in done.stderr
        return
    net.web("web", "--network", "none", "-p", "127.0.0.1::80")
    assert net.until(lambda: fetch(net.port("web", "80")), "an answer") == "web\n"
    assert net.ok("exec", "web", "ls", "/sys/class/net").text == "lo"


def test_a_shared_network_publishes_nothing_of_its_own(net):
    net.run("base")
    said = net.fails("run", "--rm", "--network", "container:base", "-p", "80", net.image, "true")
    assert "-p and -P" in said.stderr


# --- ends -----------------------------------------------------------------------------------


def test_a_restarted_container_has_its_port_again(net):
    net.run("web", "-p", "127.0.0.1::80", "--restart", "always",
            command=("sh", "-c", "httpd -p 80 -h /etc && exec sleep 1000"))  # fmt: skip
    port = net.port("web", "80")
    assert net.until(lambda: fetch(port, path="/passwd"), "an answer")
    os.kill(int(net.inspect("web", "{{.State.Pid}}")), signal.SIGKILL)

    def again():
        if net.inspect("web", "{{.RestartCount}}") == "0":
            return False
        line = net.rl("port", "web", "80").text
        return line and fetch(int(line.rpartition(":")[2]), path="/passwd")

    assert net.until(again, "a restart")


def test_a_killed_forwarder_is_told_and_repaired(net):
    container = net.web("web", "-p", "127.0.0.1::80")
    port = net.port("web", "80")
    net.until(lambda: fetch(port), "an answer")
    os.kill(net.child(container, "forward"), signal.SIGKILL)
    net.until(lambda: not listening(port), "its end")
    said = net.fails("port", "web")
    assert "the process that carried them was killed" in said.stderr and "restart" in said.stderr
    assert "->80" not in net.ok("ps").text
    assert net.inspect("web", "{{.State.Running}}") == "true"
    net.ok("restart", "--time", "0", "web")
    assert net.until(lambda: fetch(net.port("web", "80")), "an answer") == "web\n"


def test_a_killed_monitor_leaves_no_port(net):
    container = net.web("web", "-p", "127.0.0.1::80")
    port = net.port("web", "80")
    os.kill(net.monitor(container), signal.SIGKILL)
    net.until(lambda: not listening(port), "the end")
    net.until(lambda: net.rl("inspect", "--format", "{{.State.Status}}", "web").text == "exited")
    assert net.ok("port", "web").text == ""


def test_an_initialized_container_holds_no_port_itself(net):
    net.ok("create", "--name", "web", "-p", "127.0.0.1::80", net.image, "httpd", "-f", "-h", "/etc")
    net.ok("init", "web")
    container = net.inspect("web", "{{.Id}}")
    port = net.port("web", "80")
    assert listening(port)
    os.kill(net.child(container, "forward"), signal.SIGKILL)
    net.until(lambda: not listening(port), "its end")


def test_a_container_that_ends_at_once(net):
    for _ in range(3):
        net.ok("run", "--rm", "-p", "127.0.0.1::80", net.image, "true")


def test_the_container_cannot_listen_to_or_signal_its_forwarder(net):
    net.web("web", "-p", "127.0.0.1::80")
    for command in (
        "ip rule add fwmark 1 table 5",
        "ip route add local 0.0.0.0/0 dev lo table 5",
        "echo 0 >/proc/sys/net/ipv4/tcp_fwmark_accept",
    ):
        assert net.rl("exec", "web", "sh", "-c", command).code != 0, command
    assert "forward" not in net.ok("exec", "web", "ps").text
