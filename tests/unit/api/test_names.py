"""Names: what is accepted, and the words in which the rest is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import names

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
ANY = st.text(max_size=70)


@given(LABELS)
def test_a_label_is_also_a_subdomain_and_a_label_value(label: str) -> None:
    assert names.dns1123_label(label) == ()
    assert names.dns1123_subdomain(label) == ()
    assert names.label_value(label) == ()
    assert names.qualified_name(label) == ()


@given(ANY)
def test_a_text_that_passes_matches_the_expression_in_the_message(text: str) -> None:
    for check in (names.dns1123_label, names.dns1123_subdomain, names.label_value):
        messages = check(text)
        expression = re.search(r"validation is '(.*)'\)", "".join(check("-_-/")))
        assert expression is not None
        matches = re.fullmatch(expression[1], text) is not None
        assert matches or messages


@given(st.text(alphabet="é", min_size=32, max_size=40))
def test_lengths_are_counted_in_bytes(text: str) -> None:
    assert "must be no more than 63 characters" in names.dns1123_label(text)


@pytest.mark.parametrize(
    ("check", "text", "beginnings"),
    [
        (names.dns1123_label, "a.b", ["must not contain dots"]),
        (names.dns1123_label, "", ["a lowercase RFC 1123 label"]),
        (names.dns1123_label, "A" * 64, ["must be no more than 63", "a lowercase RFC 1123 label"]),
        (names.dns1123_subdomain, "a" * 254, ["must be no more than 253 characters"]),
        (names.dns1123_subdomain, "a..b", ["a lowercase RFC 1123 subdomain"]),
        (names.dns1035_label, "1a", ["a DNS-1035 label"]),
        (names.wildcard_dns1123_subdomain, "*.b_", ["a wildcard DNS-1123 subdomain"]),
        (names.qualified_name, "a/b/c", ["a valid label key must consist"]),
        (names.qualified_name, "/b", ["prefix part must be non-empty"]),
        (names.qualified_name, "a/", ["name part must be non-empty", "name part must consist"]),
        (names.qualified_name, "A_/b", ["prefix part a lowercase RFC 1123 subdomain"]),
        (names.qualified_name, "a" * 64, ["name part must be no more than 63 bytes"]),
        (names.label_value, "a b", ["a valid label must be an empty string"]),
        (names.label_value, "a" * 64, ["must be no more than 63 bytes"]),
        (names.c_identifier, "1x", ["a valid C identifier"]),
        (names.env_var_name, "", ["environment variable name must be non-empty"]),
        (names.env_var_name, "a=b", ["a valid environment variable name"]),
        (names.config_map_key, "..", ["must not be '..'"]),
        (names.config_map_key, "..x", ["must not start with '..'"]),
        (names.config_map_key, "a/b", ["a valid config key"]),
        (names.port_name, "a--b", ["must not contain consecutive hyphens"]),
        (names.port_name, "80", ["must contain at least one letter"]),
        (names.port_name, "-a", ["must not begin or end with a hyphen"]),
        (names.port_name, "a" * 16, ["must be no more than 15 characters"]),
        (names.percent, "5", ["a valid percent string"]),
        (names.http_header_name, "a b", ["a valid HTTP header"]),
        (names.condition_reason, "1", ["a condition reason must start"]),
        (names.path_segment, "a/b%", ["may not contain '/'", "may not contain '%'"]),
        (names.path_segment, "..", ["may not be '..'"]),
    ],
)
def test_every_fault_is_told(check: names.Check, text: str, beginnings: list[str]) -> None:
    messages = check(text)
    assert len(messages) == len(beginnings)
    for message, beginning in zip(messages, beginnings, strict=True):
        assert message.startswith(beginning)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (names.dns1123_subdomain_with_underscore, "_a._b"),
        (names.qualified_name, "example.com/My_Name.1"),
        (names.label_value, ""),
        (names.env_var_name, "with space-and.dots"),
        (names.config_map_key, ".hidden"),
        (names.port_name, "http-2"),
        (names.path_segment, "system:node"),
    ],
)
def test_what_looks_odd_may_be_right(check: names.Check, text: str) -> None:
    assert check(text) == ()


@pytest.mark.parametrize("number", [1, 65535])
def test_a_port_is_a_number_of_16_bits(number: int) -> None:
    assert names.port_number(number) == ()


@pytest.mark.parametrize("number", [-1, 0, 65536])
def test_there_are_no_other_ports(number: int) -> None:
    assert names.port_number(number) == ("must be between 1 and 65535, inclusive",)


def test_a_prefix_of_a_name_may_end_in_a_dash() -> None:
    assert names.dns1123_label(names.as_prefix("my-app-")) == ()
