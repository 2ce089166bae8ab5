"""IP addresses and CIDRs in fields: parsing and checks in the words of apimachinery.

Values are checked strictly since v1.36 (no leading zeros, no IPv4 in IPv6). A value of an older
field that Go's old parser took once stays valid while it does not change.
"""

import ipaddress
from collections.abc import Container, Iterable, Iterator
from typing import Final

from minikube_py.api.fields import Field, FieldError, quote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Errors = Iterable[FieldError]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ADDRESS: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse(text: str) -> Address | None:
    """Return the address in its strict form, or None; no zone is allowed."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_sloppy(text: str) -> Address | None:
    """Return the address as Go's old parser reads it: leading zeros of IPv4 count for nothing."""
    address = parse(text)
    if address is None and "." in text:
        head, _, tail = text.rpartition(":")
        plain = ".".join(part.lstrip("0") or "0" for part in tail.split(".") if part.isdigit())
        if plain.count(".") == tail.count("."):
            address = parse(f"{head}:{plain}" if head else plain)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def parse_cidr_sloppy(text: str) -> Network | None:
    """Return the network of a CIDR (its host bits dropped), or None."""
    head, slash, bits = text.partition("/")
    address = parse_sloppy(head)
    if address is None or not slash or not bits.isdigit() or not bits.isascii():
        return None
    length = int(bits)
    if ":" in head and isinstance(address, ipaddress.IPv4Address):
        length -= 96
    if not 0 <= length <= address.max_prefixlen:
        return None
    return ipaddress.ip_network(f"{address}/{length}", strict=False)


def is_global_unicast(address: Address) -> bool:
    """Tell whether one machine beyond this link has the address, as Go's `IsGlobalUnicast` does.

    Addresses of private networks count.
    """
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
        or str(address) == "255.255.255.255"
    )


def family(text: str) -> str:
    """Return `IPv4` or `IPv6`, or "" where the text is no address or CIDR."""
    address = parse_sloppy(text.partition("/")[0])
    if address is None:
        return ""
    return "IPv4" if address.version == 4 else "IPv6"


def validate_ip(path: Field, value: str) -> Iterator[FieldError]:
    """Report what is not an address in canonical form (fields that are newer than the rule)."""
    errors = tuple(_strict_ip(path, value))
    yield from errors
    if not errors and (canonical := str(parse(value))) != value:
        yield path.invalid(value, f"must be in canonical form ({quote(canonical)})")


def validate_legacy_ip(path: Field, value: str, valid_old: Container[str] = ()) -> Errors:
    """Report what is no address; what stood there before is let stand as it is."""
    return () if value in valid_old else _strict_ip(path, value)


def _strict_ip(path: Field, value: str) -> Iterator[FieldError]:
    address = parse_sloppy(value)
    strict = parse(value)
    if address is None:
        yield path.invalid(value, _ADDRESS)
    elif strict is None:
        yield path.invalid(value, "must not have leading 0s")
    elif strict.version != address.version:
        yield path.invalid(value, "must not be an IPv4-mapped IPv6 address")


def validate_cidr(path: Field, value: str) -> Iterator[FieldError]:
    """Report what is not a CIDR in canonical form (fields that are newer than the rule)."""
    errors = tuple(_strict_cidr(path, value))
    yield from errors
    if not errors and (canonical := str(parse_cidr_sloppy(value))) != value:
        yield path.invalid(value, f"must be in canonical form ({quote(canonical)})")


def validate_legacy_cidr(path: Field, value: str, valid_old: Container[str] = ()) -> Errors:
    """Report what is no CIDR; what stood there before is let stand as it is."""
    return () if value in valid_old else _strict_cidr(path, value)


def validate_interface(value: str, path: Field) -> Iterator[FieldError]:
    """Report what is not the address of an interface with its prefix, in canonical form."""
    network, address = parse_cidr_sloppy(value), parse_sloppy(value.partition("/")[0])
    if network is None or address is None:
        yield path.invalid(
            value, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        )
    elif (canonical := f"{address}/{network.prefixlen}") != value:
        yield path.invalid(value, f"must be in canonical form ({quote(canonical)})")


def _strict_cidr(path: Field, value: str) -> Iterator[FieldError]:
    network = parse_cidr_sloppy(value)
    head, _, bits = value.partition("/")
    strict = parse(head)
    if network is None:
        yield path.invalid(value, _CIDR)
    elif strict is None or (len(bits) > 1 and bits.startswith("0")):
        yield path.invalid(value, "must not have leading 0s in IP or prefix length")
    elif strict.version != network.version:
        yield path.invalid(value, "must not have an IPv4-mapped IPv6 address")
    elif strict != network.network_address:
        yield path.invalid(value, "must not have bits set beyond the prefix length")


def warn_ip(path: Field, value: str) -> Iterator[str]:
    """Tell of an address that is valid but not written as it should be."""
    strict, address = parse(value), parse_sloppy(value)
    if address is None:
        return
    if strict is None or strict.version != address.version:
        yield (
            f"{path}: non-standard IP address {quote(value)} will be considered invalid in a "
            f"future Kubernetes release: use {quote(str(address))}"
        )
    elif strict.version == 6 and str(strict) != value:
        yield (
            f"{path}: IPv6 address {quote(value)} should be in RFC 5952 canonical format "
            f"({quote(str(strict))})"
        )


def warn_cidr(path: Field, value: str) -> Iterator[str]:
    """Tell of a CIDR that is valid but not written as it should be."""
    network = parse_cidr_sloppy(value)
    head, _, bits = value.partition("/")
    strict = parse(head)
    if network is None:
        return
    if strict is None or strict.version != network.version or (bits != "0" and bits[0] == "0"):
        yield (
            f"{path}: non-standard CIDR value {quote(value)} will be considered invalid in a "
            f"future Kubernetes release: use {quote(str(network))}"
        )
    elif strict != network.network_address:
        alone = f"{strict}/{strict.max_prefixlen}"
        yield (
            f"{path}: CIDR value {quote(value)} is ambiguous in this context "
            f"(should be {quote(str(network))} or {quote(alone)}?)"
        )
    elif strict.version == 6 and str(network) != value:
        yield (
            f"{path}: IPv6 CIDR value {quote(value)} should be in RFC 5952 canonical format "
            f"({quote(str(network))})"
        )
