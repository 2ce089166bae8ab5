"""Certificates for further names: what the option says, and which certificate a name gets."""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minikube_py.lib import authority, pki
from minikube_py.server.named_certificates import NamedPair, by_name, chosen, parse

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.crt,a.key", NamedPair(Path("a.crt"), Path("a.key"))),
        ("/x/a.crt, /x/a.key", NamedPair(Path("/x/a.crt"), Path("/x/a.key"))),
        ("a.crt,a.key:Foo.com,*.foo.com",
         NamedPair(Path("a.crt"), Path("a.key"), ("foo.com", "*.foo.com"))),
    ],
)  # fmt: skip
def test_a_value_names_two_files_and_maybe_names(value: str, expected: NamedPair) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    "value", ["", "a.crt", "a.crt,", "a.crt,b.key,c", "a.crt,a.key:", "a.crt,a.key:no name"]
)
def test_what_names_no_two_files_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"two files|there are names"):
        parse(value)


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def test_the_nearest_name_wins() -> None:
    whole, wide, wider = context(), context(), context()
    known: Mapping[str, ssl.SSLContext] = {
        "a.foo.com": whole,
        "*.foo.com": wide,
        "*.*.com": wider,
    }
    assert chosen(known, "A.foo.com.") is whole
    assert chosen(known, "b.foo.com") is wide
    assert chosen(known, "b.bar.com") is wider
    assert chosen(known, "foo.com") is None
    assert chosen(known, "") is None


def test_given_names_go_before_those_of_certificates_and_the_first_before_the_last(
    tmp_path: Path,
) -> None:
    ca = authority.ensure_ca(tmp_path, "ca", "ca", NOW)
    subject = pki.Subject(name="Not a host", alternatives=("one.example", "192.0.2.7"))
    leaf = pki.ensure_leaf(tmp_path, "leaf", ca, subject, "server", now=NOW)
    own = NamedPair(leaf.certificate_path, leaf.key_path)
    first, second, third, last = context(), context(), context(), context()
    assert by_name([(own, first), (own, second)]) == {"one.example": first}
    given = NamedPair(Path("x"), Path("y"), ("one.example", "two.example"))
    assert by_name([(own, first), (given, third), (given, last)]) == {
        "one.example": third,
        "two.example": third,
    }
