"""Addresses and ports of this machine, asked of the kernel."""

import ipaddress
import socket

from minikube_py.lib.errors import StartError


def nth_address(network: str, index: int) -> str:
    """Return an address of a network by its number: 1 is the first that a host may have."""
    return str(ipaddress.ip_network(network)[index])


def default_route_address(family: socket.AddressFamily = socket.AF_INET) -> str:
    """Return the address that this machine sends from by default, "" where it has no route.

    Connecting a datagram socket only looks up the route; nothing is sent. The far end is an
    address that documentation may use (RFC 5737, RFC 3849).
    """
    far = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def is_address(text: str) -> bool:
    """Tell whether the text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def in_url(address: str) -> str:
    """Return an address as URLs have it: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def is_unspecified(address: str) -> bool:
    """Tell whether the address means all of the machine's: `0.0.0.0` or `::`."""
    return ipaddress.ip_address(address).is_unspecified


def is_loopback(address: str) -> bool:
    """Tell whether only this machine reaches the address."""
    return ipaddress.ip_address(address).is_loopback


def check_port(address: str, port: int, *, flag: str) -> None:
    """Make sure that a server can listen there.

    Raises:
        StartError: the port is taken, or the address is not of this machine; names `flag`.

    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise StartError(
                f"cannot listen on {address} port {port}: {why}; "
                f"stop the other server or pass {flag}"
            ) from error
