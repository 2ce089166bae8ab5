"""Addresses and CIDRs: Go's parsers, old and strict."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import addresses
from minikube_py.api.fields import Field

PATH = Field("ip")


@given(st.ip_addresses())
def test_an_address_in_canonical_form_is_valid(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    text = str(address)
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
    assert bool(list(addresses.validate_ip(PATH, text))) is bool(mapped)
    assert addresses.family(text) == ("IPv6" if address.version == 6 and not mapped else "IPv4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bad", "must be a valid IP address"),
        ("", "must be a valid IP address"),
        ("1.2.3", "must be a valid IP address"),
        ("fe80::1%eth0", "must be a valid IP address"),
        ("010.1.2.3", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
        ("2001:DB8::1", 'must be in canonical form ("2001:db8::1")'),
    ],
)
def test_a_bad_address_is_refused(text: str, message: str) -> None:
    (error,) = addresses.validate_ip(PATH, text)
    assert message in error.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.0", "must be a valid CIDR value"),
        ("10.0.0.0/33", "must be a valid CIDR value"),
        ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
        ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        ("2001:DB8::/64", 'must be in canonical form ("2001:db8::/64")'),
    ],
)
def test_a_bad_cidr_is_refused(text: str, message: str) -> None:
    (error,) = addresses.validate_cidr(PATH, text)
    assert message in error.text


@pytest.mark.parametrize("text", ["010.1.2.3", "::ffff:1.2.3.4"])
def test_what_stood_there_before_may_stay(text: str) -> None:
    assert list(addresses.validate_legacy_ip(PATH, text))
    assert not list(addresses.validate_legacy_ip(PATH, text, {text}))


def test_the_old_parser_reads_zeros_and_mapped_addresses_as_ipv4() -> None:
    assert addresses.parse_sloppy("010.001.2.3") == ipaddress.ip_address("10.1.2.3")
    assert addresses.parse_sloppy("::ffff:1.2.3.4") == ipaddress.ip_address("1.2.3.4")
    assert addresses.parse("010.001.2.3") is None
    assert str(addresses.parse_cidr_sloppy("10.1.2.3/8")) == "10.0.0.0/8"
    assert str(addresses.parse_cidr_sloppy("::ffff:10.0.0.0/104")) == "10.0.0.0/8"


def test_only_an_address_of_one_machine_beyond_the_link_is_global_unicast() -> None:
    def told(text: str) -> bool:
        address = addresses.parse_sloppy(text)
        assert address is not None
        return addresses.is_global_unicast(address)

    for text in ("10.42.0.9", "192.0.2.2", "2001:db8::1", "fd00::1"):
        assert told(text), text
    here = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1")
    for text in (*here, "224.0.0.1", "255.255.255.255", "0.0.0.0", "::"):
        assert not told(text), text
