"""Options about names and addresses on the default network."""

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.one_id]


def inside(net, *options, command):
    """What a command in a new container says, as lines."""
    return net.ok("run", "--rm", *options, net.image, "sh", "-c", command).lines


def test_hosts_files(net, workdir):
    with open(f"{workdir}/hosts", "w", encoding="ascii") as file:
        file.write("192.0.2.77 fromfile\n")
    hosts = "cat /etc/hosts"
    found = inside(net, "--hosts-file", f"{workdir}/hosts", "--add-host", "a;b:192.0.2.1",
                   command=hosts)  # fmt: skip
    assert "192.0.2.77\tfromfile" in found and "192.0.2.1\ta b" in found
    for word in ("none", "image"):  # busybox has none
        names = inside(net, "--hosts-file", word, "--network", "none", "--hostname", "box",
                       "--name", "box", command=hosts)  # fmt: skip
        assert names == ["127.0.0.1\tlocalhost", "::1\tlocalhost", "127.0.0.1\tbox"]
    said = net.fails("run", "--rm", "--hosts-file", f"{workdir}/nosuch", net.image, "true")
    assert "there is no such file" in said.stderr


def test_the_images_own_hosts_file(net):
    net.ok("run", "--name", "made", "--no-hosts", net.image, "sh", "-c",
           "echo 192.0.2.88 fromimage >/etc/hosts")  # fmt: skip
    net.ok("commit", "--quiet", "made", "localhost/withhosts")
    try:
        found = net.ok("run", "--rm", "--network", "none", "--hosts-file", "image",
                       "localhost/withhosts", "cat", "/etc/hosts").lines  # fmt: skip
        assert "192.0.2.88\tfromimage" in found
    finally:
        net.ok("rm", "made")
        net.ok("rmi", "localhost/withhosts")


def test_no_hostname(net):
    command = "hostname; test -e /etc/hostname || echo none"
    assert inside(net, "--no-hostname", "--hostname", "box", command=command) == ["box", "none"]


def test_a_mac_address_on_the_default_network(net):
    command = "cat /sys/class/net/eth0/address"
    assert inside(net, "--mac-address", "92:d0:c6:0a:29:33", command=command) == [
        "92:d0:c6:0a:29:33"
    ]
    net.fails("run", "--rm", "--mac-address", "nonsense", net.image, "true")


@pytest.mark.parametrize("words", [("--ip", "10.0.2.9"), ("--ip6", "fd00::9"),
                                   ("--network-alias", "other")])  # fmt: skip
def test_what_needs_a_network_with_a_name(net, words):
    said = net.fails("run", "--rm", *words, net.image, "true")
    assert words[0] in said.stderr and "rl network create" in said.stderr


def test_the_resolver_of_the_helper_comes_first(net):
    with open("/etc/resolv.conf", encoding="utf-8") as file:
        servers = [line.split()[1] for line in file if line.startswith("nameserver")]
    found = inside(net, command="cat /etc/resolv.conf")
    asked = [line.split()[1] for line in found if line.startswith("nameserver")]
    if servers and ":" not in servers[0]:
        assert asked[0].endswith(".3") and asked[0] not in servers
    given = inside(net, "--dns", "192.0.2.53", command="cat /etc/resolv.conf")
    assert "nameserver 192.0.2.53" in given and f"nameserver {asked[0]}" not in given
