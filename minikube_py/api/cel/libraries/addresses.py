"""Kubernetes' `ip(text)` and `cidr(text)`."""

import ipaddress
from typing import Any, Final

from minikube_py.api import addresses
from minikube_py.api.cel import cost
from minikube_py.api.cel.errors import CelEvaluationError
from minikube_py.api.cel.functions import Overload, member
from minikube_py.api.cel.types import BOOL, INT, STRING, Type
from minikube_py.api.cel.values import Opaque

IP: Final = Type("net.IP")
CIDR: Final = Type("net.CIDR")
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _parse_ip(text: str) -> addresses.Address:
    """Parse strictly: no zone, no IPv4 in IPv6.

    Raises:
        CelEvaluationError: the text is no such address.

    """
    found = addresses.parse(text)
    if found is None:
        raise CelEvaluationError(f"IP Address {text!r} parse error during conversion from string")
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        raise CelEvaluationError(f"IPv4-mapped IPv6 address {text!r} is not allowed")
    return found


def _parse_cidr(text: str) -> Interface:
    head, slash, length = text.partition("/")
    address = _parse_ip(head)
    digits = length.isascii() and length.isdigit() and (length == "0" or length[0] != "0")
    if not slash or not digits or int(length[:4]) > address.max_prefixlen:
        raise CelEvaluationError(
            f"network address parse error during conversion from string: {text!r}"
        )
    return ipaddress.ip_interface(f"{address}/{length}")


def _is(parse: Any) -> Any:
    def run(text: str) -> bool:
        try:
            parse(text)
        except CelEvaluationError:
            return False
        return True

    return run


def _is_global_unicast(ip: Opaque) -> bool:
    return addresses.is_global_unicast(ip.value)


def _is_link_local(ip: Opaque) -> bool:
    return bool(ip.value.is_link_local)


def _is_link_local_multicast(ip: Opaque) -> bool:
    value = ip.value
    if value.version == 4:
        return value in ipaddress.ip_network("224.0.0.0/24")
    return bool(value.is_multicast) and value.packed[1] & 0x0F == 2


def _contains_ip(cidr: Opaque, ip: Any) -> bool:
    address = ip.value if isinstance(ip, Opaque) else _parse_ip(ip)
    return address in cidr.value.network


def _contains_cidr(cidr: Opaque, other: Any) -> bool:
    inner = other.value if isinstance(other, Opaque) else _parse_cidr(other)
    outer = cidr.value.network
    return inner.version == outer.version and bool(inner.network.subnet_of(outer))


def _masked(cidr: Opaque) -> Opaque:
    network = cidr.value.network
    return Opaque(CIDR, ipaddress.ip_interface(str(network)))


OVERLOADS: Final = (
    Overload("ip", (STRING,), IP, lambda text: Opaque(IP, _parse_ip(text)), cost=cost.first),
    Overload("isIP", (STRING,), BOOL, _is(_parse_ip), cost=cost.first),
    Overload(
        "ip.isCanonical",
        (STRING,),
        BOOL,
        lambda text: str(_parse_ip(text)) == text,
        cost=cost.first,
    ),
    Overload("string", (IP,), STRING, lambda ip: str(ip.value)),
    member("family", (IP,), INT, lambda ip: ip.value.version),
    member("isUnspecified", (IP,), BOOL, lambda ip: ip.value.is_unspecified),
    member("isLoopback", (IP,), BOOL, lambda ip: ip.value.is_loopback),
    member("isLinkLocalMulticast", (IP,), BOOL, _is_link_local_multicast),
    member("isLinkLocalUnicast", (IP,), BOOL, _is_link_local),
    member("isGlobalUnicast", (IP,), BOOL, _is_global_unicast),
    Overload(
        "cidr", (STRING,), CIDR, lambda text: Opaque(CIDR, _parse_cidr(text)), cost=cost.first
    ),
    Overload("isCIDR", (STRING,), BOOL, _is(_parse_cidr), cost=cost.first),
    Overload("string", (CIDR,), STRING, lambda cidr: str(cidr.value)),
    member("ip", (CIDR,), IP, lambda cidr: Opaque(IP, cidr.value.ip)),
    member("prefixLength", (CIDR,), INT, lambda cidr: cidr.value.network.prefixlen),
    member("masked", (CIDR,), CIDR, _masked),
    member("containsIP", (CIDR, IP), BOOL, _contains_ip),
    member("containsIP", (CIDR, STRING), BOOL, _contains_ip, cost.affix),
    member("containsCIDR", (CIDR, CIDR), BOOL, _contains_cidr),
    member("containsCIDR", (CIDR, STRING), BOOL, _contains_cidr, cost.affix),
)
