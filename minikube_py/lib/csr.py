"""Certificates for requests that others made: what they ask for, and signing it.

The life of what is signed is upstream's (pkg/controller/certificates/authority): a short one
begins five minutes early and is that much longer, a long one only begins early.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from minikube_py.lib import pki
from minikube_py.lib.pki import Pair

BACKDATED = timedelta(minutes=5)
SHORT = timedelta(hours=8)
"""Lives up to this are not cut by the five minutes."""
EXTENDED: dict[str, ObjectIdentifier] = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}
"""Usages of certificates.k8s.io that are extended key usages."""
PLAIN = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
"""Usages that are bits of the key usage."""


class SigningError(ValueError):
    """What is asked for cannot be signed."""


@dataclass(frozen=True)
class Request:
    """A certificate signing request (RFC 2986)."""

    parsed: x509.CertificateSigningRequest

    @classmethod
    def of(cls, pem: bytes) -> "Request":
        """Read one; raises SigningError where it is none or its signature does not hold."""
        try:
            parsed = x509.load_pem_x509_csr(pem)
            holds = parsed.is_signature_valid
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SigningError(f"unable to parse csr: {error}") from error
        if not holds:
            raise SigningError("unable to verify certificate request signature")
        return cls(parsed)

    @property
    def common_name(self) -> str:
        """The name in the subject, "" where there is none."""
        return next(iter(self._subject(NameOID.COMMON_NAME)), "")

    @property
    def organizations(self) -> tuple[str, ...]:
        """The organizations in the subject: groups of a user."""
        return self._subject(NameOID.ORGANIZATION_NAME)

    @property
    def dns_names(self) -> tuple[str, ...]:
        """Alternative names that are DNS names."""
        return self._alternatives(x509.DNSName)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Alternative names that are IP addresses."""
        return self._alternatives(x509.IPAddress)

    @property
    def emails(self) -> tuple[str, ...]:
        """Alternative names that are mail addresses."""
        return self._alternatives(x509.RFC822Name)

    @property
    def uris(self) -> tuple[str, ...]:
        """Alternative names that are URIs."""
        return self._alternatives(x509.UniformResourceIdentifier)

    def _subject(self, kind: ObjectIdentifier) -> tuple[str, ...]:
        return tuple(str(n.value) for n in self.parsed.subject.get_attributes_for_oid(kind))

    def _alternatives(self, kind: Any) -> tuple[str, ...]:
        found = self.names
        if found is None:
            return ()
        return tuple(str(name) for name in found.get_values_for_type(kind))

    @cached_property
    def names(self) -> x509.SubjectAlternativeName | None:
        """The extension of alternative names."""
        try:
            extensions = self.parsed.extensions
            return extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, ValueError):
            return None


def sign(
    ca: Pair, request: Request, usages: Sequence[str], life: timedelta, *, now: datetime
) -> bytes:
    """Return the certificate that a request asks for, as PEM text.

    Raises:
        SigningError: a usage is not known, or the authority has ended.

    """
    start, end = _life(ca, life, now)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.parsed.subject)
        .issuer_name(ca.certificate.subject)
        .public_key(request.parsed.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(ca, request, usages):
        builder = builder.add_extension(extension, critical=critical)
    text = builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return text + ca.chain_pem


def _life(ca: Pair, life: timedelta, now: datetime) -> tuple[datetime, datetime]:
    last = ca.certificate.not_valid_after_utc
    if last <= now:
        raise SigningError(f"the signer has expired: NotAfter={last:%Y-%m-%d %H:%M:%S +0000 UTC}")
    end = now + life if life <= SHORT else now + life - BACKDATED
    return now - BACKDATED, min(end, last)


def _extensions(
    ca: Pair, request: Request, usages: Sequence[str]
) -> list[tuple[x509.ExtensionType, bool]]:
    unknown = [usage for usage in usages if usage not in EXTENDED and usage not in PLAIN]
    if unknown:
        raise SigningError(f"unrecognized usage values: {unknown}")
    bits = {PLAIN[usage] for usage in usages if usage in PLAIN}
    extended = [EXTENDED[usage] for usage in usages if usage in EXTENDED]
    found: list[tuple[x509.ExtensionType, bool]] = [
        (_key_usage(bits), True),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (pki.authority_of(ca), False),
    ]
    if extended:
        found.append((x509.ExtendedKeyUsage(dict.fromkeys(extended)), False))
    if request.names is not None:
        found.append((request.names, False))
    return found


def _key_usage(bits: set[str]) -> x509.KeyUsage:
    names = dict.fromkeys(PLAIN.values(), False) | dict.fromkeys(bits, True)
    if not names["key_agreement"]:  # RFC 5280, 4.2.1.3: these two mean nothing without it
        names["encipher_only"] = names["decipher_only"] = False
    return x509.KeyUsage(**names)
