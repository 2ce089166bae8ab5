"""What is signed for others is what they asked for, no longer than they may have it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.lib import authority, csr, pki
from minikube_py.lib.csr import Request, SigningError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NODE = pki.Subject(name="system:node:a", organizations=("system:nodes",), alternatives=("a", "::1"))


def request(subject: pki.Subject = NODE) -> Request:
    return Request.of(pki.request(subject, pki.new_key()))


def signed(folder: Path, life: timedelta, *usages: str) -> x509.Certificate:
    ca = authority.ensure_ca(folder, "ca", "test", NOW)
    pem = csr.sign(ca, request(), usages, life, now=NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(ca.certificate)
    return certificate


def test_a_request_says_who_asks_for_what() -> None:
    found = request()
    assert (found.common_name, found.organizations) == ("system:node:a", ("system:nodes",))
    assert (found.dns_names, found.addresses) == (("a",), ("::1",))
    assert (found.emails, found.uris) == ((), ())


def test_usages_become_extensions(tmp_path: Path) -> None:
    usages = ("digital signature", "key encipherment", "client auth", "encipher only")
    made = signed(tmp_path, timedelta(days=1), *usages)
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    plain = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert plain.digital_signature
    assert plain.key_encipherment
    assert not plain.key_cert_sign
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]


@pytest.mark.parametrize(
    ("life", "end"),
    [
        (timedelta(minutes=10), NOW + timedelta(minutes=10)),
        (timedelta(hours=8), NOW + timedelta(hours=8)),
        (timedelta(days=365), NOW + timedelta(days=365) - timedelta(minutes=5)),
        (timedelta(days=36500), NOW + authority.LIFE),
    ],
)
def test_a_life_begins_early_and_ends_with_its_authority(
    tmp_path: Path, life: timedelta, end: datetime
) -> None:
    made = signed(tmp_path, life, "client auth")
    assert made.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert made.not_valid_after_utc == end


def test_an_authority_that_has_ended_signs_nothing(tmp_path: Path) -> None:
    ca = authority.ensure_ca(tmp_path, "ca", "test", NOW)
    with pytest.raises(SigningError, match="the signer has expired: NotAfter="):
        csr.sign(ca, request(), (), timedelta(days=1), now=NOW + timedelta(days=4000))


def test_an_unknown_usage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=r"unrecognized usage values: \['fly'\]"):
        signed(tmp_path, timedelta(days=1), "fly")


def test_keys_of_every_kind_are_signed(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(pki.subject_name(NODE))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    ca = authority.ensure_ca(tmp_path, "ca", "test", NOW)
    made = csr.sign(ca, Request.of(pem), ("client auth",), timedelta(days=1), now=NOW)
    assert x509.load_pem_x509_certificate(made).public_key() == key.public_key()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 400))
def test_a_mangled_request_is_refused(junk: bytes, at: int) -> None:
    good = pki.request(NODE, pki.new_key())
    mangled = good[:at] + junk + good[at + len(junk) :]
    try:
        found = Request.of(mangled)
    except SigningError:
        return
    assert found.parsed.is_signature_valid
