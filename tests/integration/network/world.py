"""A host of our own: user, network and mount namespace with an uplink that leads nowhere.

Nothing a test sends leaves it.  ``run(scenario)`` calls the function as root in there;
``Container`` is a second user and network namespace below, as rl would make one.
"""

import os
import select
import signal
import socket
import tempfile
import time

from rootless.kernel import netlink, netns, process, userns
from rootless.network import plan as planning

HOST4, GATEWAY4 = "198.51.100.2", "198.51.100.1"
HOST6, GATEWAY6 = "2001:db8::2", "2001:db8::1"
SERVER4, SERVER6 = "203.0.113.9", "2001:db8:9::9"  # "the internet": also addresses of ours


def find(name):
    """The absolute path of a program of this machine, or None."""
    for directory in ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"):
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    return None


PROGRAMS = {name: find(name) for name in planning.PROGRAMS}


def run(scenario, *args):
    """What ``scenario(*args)`` returned inside a new host (plain data)."""
    return userns.call_in(userns.single_ids(), _enter, scenario, args, mount_ns=True)


def _enter(scenario, args):
    userns.unshare(userns.CLONE_NEWNET)
    from pyroute2 import IPRoute

    netns.loopback_up()
    with IPRoute() as ip:
        ip.link("add", ifname="up0", kind="veth", peer={"ifname": "up1"})
    with netlink.Route() as route:
        for name in ("up1", "up0"):
            route.set_link(route.index(name), up=True)
        index = route.index("up0")
        for address, prefix in ((HOST4, 24), (HOST6, 64)):
            route.add_address(index, address, prefix)
        for address, prefix in ((SERVER4, 32), (SERVER6, 128)):
            route.add_address(netlink.LOOPBACK_INDEX, address, prefix)
        route.add_route(None, 0, gateway=GATEWAY4, index=index)
        route.add_route(None, 0, gateway=GATEWAY6, index=index)
    return scenario(*args)


def without_default_routes():
    """Take the uplink away: an offline host."""
    with netlink.Route() as route:
        route.set_link(route.index("up0"), up=False)


def replace_file(path, text):
    """Let ``path`` have another content in this host's mount namespace."""
    from rootless.kernel import mount

    descriptor, name = tempfile.mkstemp()
    os.write(descriptor, text.encode())
    os.close(descriptor)
    os.chmod(name, 0o644)
    mount.mount(name, os.path.realpath(path), None, mount.MS_BIND)
    os.unlink(name)


def listen(address, port=0, kind=socket.SOCK_STREAM):
    """A listening (or bound datagram) socket of the host."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, kind)
    if family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    found.bind((address, port))
    if kind == socket.SOCK_STREAM:
        found.listen(16)
    return found


def port_of(bound):
    """The port of a bound socket."""
    return bound.getsockname()[1]


class Container:
    """User and network namespaces with nothing in them, and a way to act from within."""

    def __init__(self):
        entered, ready = os.pipe()
        self.child = userns.start_in(userns.single_ids(), _hold, ready)
        os.close(ready)
        assert os.read(entered, 1) == b"n"
        os.close(entered)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()

    def start(self, function, *args):
        """Run ``function`` inside; returns a callable that waits for its result's repr."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for kind in ("user", "net"):
                    descriptor = os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY)
                    userns.setns(descriptor)
                said = function(*args)
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, str(said).encode())
            os._exit(0)
        os.close(write)

        def wait():
            said = b""
            while chunk := os.read(read, 4096):
                said += chunk
            os.close(read)
            process.wait_exit(pid)
            return said.decode()

        return wait

    def do(self, function, *args):
        """What ``function(*args)`` says inside, as text; an error's type and words."""
        return self.start(function, *args)()


def _hold(ready):
    userns.unshare(userns.CLONE_NEWNET)
    netns.no_duplicate_checks()
    os.write(ready, b"n")
    os.close(ready)
    signal.pause()


class Remote(Container):
    """Another machine: the far end of this host's uplink, with the gateway's addresses."""

    def __init__(self):
        from pyroute2 import IPRoute

        super().__init__()
        with IPRoute() as ip:
            ip.link("set", index=ip.link_lookup(ifname="up1")[0], net_ns_pid=self.pid)
        assert self.do(_take_address) == "ready"


def _take_address():
    netns.loopback_up()
    with netlink.Route() as route:
        index = route.index("up1")
        route.set_link(index, up=True)
        route.add_address(index, GATEWAY4, 24)
        route.add_address(index, GATEWAY6, 64)
    return "ready"


def connect(address, port, patience=3.0):
    """ "connected", or why not; called inside a container."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(patience)
        client.connect((address, port))
        return "connected"


def keep_trying(address, port, patience=5.0):
    """``connect``, again and again for a while; called inside a container."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return connect(address, port, 1.0)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def ask(address, port, text, patience=3.0):
    """Send a datagram and return the answer; called inside a container."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(patience)
        client.sendto(text.encode(), (address, port))
        return client.recv(512).decode()


def answer(bound, reply, patience=3.0):
    """Wait for one datagram and answer it; (what came, from whom)."""
    assert select.select([bound], [], [], patience)[0], "no datagram came"
    data, sender = bound.recvfrom(512)
    bound.sendto(reply.encode(), sender)
    return data.decode(), sender[0]


def end(pid):
    """End a helper as the monitor does and reap it."""
    os.kill(pid, signal.SIGTERM)
    process.wait_exit(pid)


def gone(pid, patience=5.0):
    """Whether the process has ended (or is a zombie) within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.start_time(pid) is None:
            return True
        time.sleep(0.01)
    return False
