"""Keys and the certificates that authorities sign for a year, on P-256.

A key is written before its certificate and each file is whole or absent, so a start that was
killed anywhere goes on: a key without a certificate gets one, a leaf that does not fit is made
anew. Curves rather than RSA, because a key takes 0.4 ms rather than 150.

A machine without a battery wakes up in 1970. What it signs then must be valid once its clock is
set, so that lives are counted from no earlier than the day that kpy was made.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there, write_atomic
from minikube_py.lib.net import is_address

Usage = Literal["server", "client", "both"]
PrivateKey = ec.EllipticCurvePrivateKey
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""What signs tokens."""
Certificate = x509.Certificate

LEAF_LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=90)
"""A leaf with less than this left is renewed, as in k3s."""
CLOCK_SKEW = timedelta(minutes=5)
"""Certificates begin that long ago, for machines whose clocks are behind."""
MADE = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that shows an earlier time is right."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, and where both are kept."""

    certificate: Certificate
    key: PrivateKey
    certificate_path: Path
    key_path: Path
    chain_pem: bytes = b""
    """What leads from the certificate to older authorities (see `lib.authority`)."""

    @property
    def bundle_pem(self) -> bytes:
        """What the certificate's file holds: of an authority all that is to be trusted."""
        return self.certificate_path.read_bytes()

    @cached_property
    def certificate_pem(self) -> bytes:
        """The certificate as text, without its chain."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @cached_property
    def key_pem(self) -> bytes:
        """The key as text; never to be logged."""
        return key_to_pem(self.key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate's PEM text, in hex, as join tokens hold it."""
        return fingerprint(self.certificate)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom a leaf is for."""

    name: str
    organizations: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    """DNS names and IP addresses."""


def fingerprint(certificate: Certificate) -> str:
    """Return the SHA-256 of a certificate's PEM text, in hex."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.PEM)).hexdigest()


def trusted_time(now: datetime) -> datetime:
    """Return the time, as far as it can be right."""
    return max(now, MADE)


def new_key() -> PrivateKey:
    """Make a key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: SigningKey) -> bytes:
    """Return a key as PKCS 8 text, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_signing_key(path: Path) -> SigningKey | None:
    """Return the EC or RSA key of a file, or None where there is none.

    Raises:
        StartError: the file holds something else.

    """
    data = read_if_there(path)
    if data is None:
        return None
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise StartError(f"{path} holds no key; restore it or remove it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise StartError(f"{path} holds a key that is neither EC nor RSA; remove it")
    return key


def load_key(path: Path) -> PrivateKey | None:
    """Return the EC key of a file, or None where there is none.

    Raises:
        StartError: the file holds something else.

    """
    key = load_signing_key(path)
    if isinstance(key, rsa.RSAPrivateKey):
        raise StartError(f"{path} holds an RSA key, not an EC key; remove it")
    return key


def load_certificate(path: Path) -> Certificate | None:
    """Return the certificate of a file, or None where there is none.

    Raises:
        StartError: the file holds something else.

    """
    data = read_if_there(path)
    if data is None:
        return None
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise StartError(f"{path} holds no certificate; restore it or remove it") from error


def ensure_key(path: Path) -> PrivateKey:
    """Return the key of a file; make both where there is none."""
    key = load_key(path)
    if key is None:
        key = new_key()
        write_atomic(path, key_to_pem(key))
    return key


def ensure_signing_key(path: Path) -> SigningKey:
    """Return the key of a file; make an RSA key of 2048 bits where there is none (25 ms)."""
    key = load_signing_key(path)
    if key is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_atomic(path, key_to_pem(key))
    return key


def ensure_leaf(
    folder: Path, name: str, ca: Pair, subject: Subject, usage: Usage, *, now: datetime
) -> Pair:
    """Return the leaf kept as `name.crt` and `name.key`; make it anew where it does not fit.

    It fits when its key is there, this CA signed it for this subject (more alternative names may
    be in it), and at least `RENEW_BEFORE` of its life is left.
    """
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    key, certificate = load_key(key_path), load_certificate(certificate_path)
    if key is None or certificate is None or not _fits(certificate, key, ca, subject, now):
        key = new_key()
        certificate = sign(ca, subject, key.public_key(), usage, now=now)
        write_atomic(key_path, key_to_pem(key))
        text = certificate.public_bytes(serialization.Encoding.PEM) + ca.chain_pem
        write_atomic(certificate_path, text)
    return Pair(certificate, key, certificate_path, key_path, chain_pem=ca.chain_pem)


def sign(
    ca: Pair,
    subject: Subject,
    public_key: ec.EllipticCurvePublicKey,
    usage: Usage,
    *,
    now: datetime,
    life: timedelta = LEAF_LIFE,
) -> Certificate:
    """Sign a leaf; it never outlives its CA."""
    end = min(trusted_time(now) + life, ca.certificate.not_valid_after_utc)
    start = now - CLOCK_SKEW
    made = (
        builder(subject_name(subject), ca.certificate.subject, public_key, (start, end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_EXTENDED[usage]), critical=False)
        .add_extension(authority_of(ca), critical=False)
    )
    if subject.alternatives:
        names = [_general_name(name) for name in subject.alternatives]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(ca.key, hashes.SHA256())


def sign_again(
    ca: Pair, old: Certificate, public_key: ec.EllipticCurvePublicKey, *, now: datetime
) -> Certificate:
    """Sign a leaf for whom an older one is, and for what."""
    names, organizations = (
        [str(found.value) for found in old.subject.get_attributes_for_oid(kind)]
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    )
    subject = Subject(
        name=names[0],
        organizations=tuple(organizations),
        alternatives=tuple(sorted(alternatives_of(old))),
    )
    extended = old.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    usage: Usage = "server" if ExtendedKeyUsageOID.SERVER_AUTH in extended else "client"
    return sign(ca, subject, public_key, usage, now=now)


def request(subject: Subject, key: PrivateKey) -> bytes:
    """Return a certificate signing request as PEM text (RFC 2986)."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject_name(subject))
    if subject.alternatives:
        names = [_general_name(name) for name in subject.alternatives]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def requested_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a signing request whose own signature holds.

    Raises:
        ValueError: the text is no request, its signature is wrong, or its key is not EC.

    """
    csr = x509.load_pem_x509_csr(pem)
    if not csr.is_signature_valid:
        raise ValueError("the signature of the certificate request is wrong")
    key = csr.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("the key of the certificate request is not an EC key")  # noqa: TRY004
    return key


def public_key_of(pem: bytes) -> object:
    """Return the key that a certificate is for, the first one of the text.

    Raises:
        ValueError: the text begins with no certificate.

    """
    return x509.load_pem_x509_certificate(pem).public_key()


def subject_name(subject: Subject) -> x509.Name:
    """Return the distinguished name, organizations first as upstream writes it."""
    organizations = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in subject.organizations
    ]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])


def common_name(certificate: Certificate) -> str:
    """Return the common name of a certificate's subject, "" where it has none."""
    found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def alternatives_of(certificate: Certificate) -> set[str]:
    """Return the DNS names and IP addresses of a certificate."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return {*names, *(str(address) for address in addresses)}


def alternatives(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without those that are empty or repeated, in their order."""
    return tuple(dict.fromkeys(name for name in names if name))


_EXTENDED = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


def _fits(
    certificate: Certificate, key: PrivateKey, ca: Pair, subject: Subject, now: datetime
) -> bool:
    wanted = {_canonical(name) for name in subject.alternatives}
    return (
        certificate.public_key() == key.public_key()
        and _signed_by(certificate, ca)
        and certificate.subject == subject_name(subject)
        and certificate.not_valid_before_utc <= now
        and certificate.not_valid_after_utc - now >= RENEW_BEFORE
        and wanted <= alternatives_of(certificate)
    )


def _signed_by(certificate: Certificate, ca: Pair) -> bool:
    try:
        certificate.verify_directly_issued_by(ca.certificate)
    except (ValueError, InvalidSignature):
        return False
    return True


def builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    life: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    """Return a certificate without extensions, valid between two times."""
    start, end = life
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """RFC 5280, 4.2.1.3: a CA signs certificates, a leaf signs handshakes."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def authority_of(ca: Pair) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names the key which signs (RFC 5280, 4.2.1.1)."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())


def _general_name(name: str) -> x509.GeneralName:
    if is_address(name):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _canonical(name: str) -> str:
    return str(ipaddress.ip_address(name)) if is_address(name) else name
