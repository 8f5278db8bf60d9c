"""What a network namespace needs at once, without the messages of kernel/netlink.py."""

import os

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ = 40  # netdevice(7): the size of struct ifreq on 64-bit machines


def loopback_up():
    """Bring up lo in this process's network namespace; the kernel gives it its addresses."""
    from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket
    from fcntl import ioctl

    request = b"lo".ljust(16, b"\0") + _IFF_UP.to_bytes(2, "little")
    any_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    try:
        ioctl(any_socket.fileno(), _SIOCSIFFLAGS, request.ljust(_IFREQ, b"\0"))
    finally:
        any_socket.close()


def no_duplicate_checks():
    """Let IPv6 addresses of this network namespace be usable at once (RFC 4862, 5.4).

    Nobody else is on a container's own link, and the check holds up packets for a second
    or two after the start.  Interfaces that come later take it over.
    """
    try:
        path = "/proc/sys/net/ipv6/conf/default/accept_dad"
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # no IPv6 here: the check stays
    try:
        os.write(descriptor, b"0")
    except OSError:
        pass  # /proc/sys may not be written: the same
    finally:
        os.close(descriptor)
